//! The errors in the settings.

use std::fmt;

use thiserror::Error;

use super::parameter::named;
use crate::patterns::BadPattern;

/// All errors in the settings, one sentence each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// A setting that is missing or invalid.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ConfigError {
    #[error("{} is not set; set it to {allowed}", named(.variable))]
    Missing { variable: &'static str, allowed: &'static str },
    #[error("{} is `{value}`; it must be {allowed}", named(.variable))]
    Invalid { variable: &'static str, value: String, allowed: String },
    #[error("{}: {bad}; correct it, as in `*.map,/drafts/` (the syntax of `.gitignore`, with commas)", named(.variable))]
    Pattern { variable: &'static str, bad: BadPattern },
    /// Every object that a deployment writes would be an upload, and every archive an object that the next
    /// deployment deletes because the site's archive lacks it.
    #[error(
        "{} and STAGING_BUCKET are both `{bucket}`; give the site a bucket of its own, otherwise each deployment deletes \
         archives and starts the next deployment",
        named("LIVE_BUCKET")
    )]
    OneBucket { bucket: String },
    #[error("{} lists `{id}` more than once; name each distribution once", named("DISTRIBUTION_IDS"))]
    Repeated { id: String },
    #[error(
        "OriginPaths (in DISTRIBUTION_IDS) has `{id}={origin_path}`, but {} is `{live_prefix}`, and that origin path \
         reaches nothing under it; correct one of them",
        named("LIVE_PREFIX")
    )]
    OutsideOrigin { id: String, origin_path: String, live_prefix: String },
}
