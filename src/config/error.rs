//! The errors in the settings.

use std::fmt;

use thiserror::Error;

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
    #[error("{variable} is not set; set it to {allowed}")]
    Missing { variable: &'static str, allowed: &'static str },
    #[error("{variable} is `{value}`; it must be {allowed}")]
    Invalid { variable: &'static str, value: String, allowed: String },
    #[error("{variable}: {bad}; correct it, as in `*.map,/drafts/` (the syntax of `.gitignore`, with commas)")]
    Pattern { variable: &'static str, bad: BadPattern },
    /// Every object that a deployment writes would be an upload, and every archive an object that the next
    /// deployment deletes because the site's archive lacks it.
    #[error(
        "LIVE_BUCKET and STAGING_BUCKET are both `{bucket}`; give the site a bucket of its own, otherwise each \
         deployment deletes archives and starts the next deployment"
    )]
    OneBucket { bucket: String },
    #[error("DISTRIBUTION_IDS lists `{id}` more than once; name each distribution once")]
    Repeated { id: String },
    #[error(
        "DISTRIBUTION_IDS has `{id}={origin_path}`, but LIVE_PREFIX is `{live_prefix}`, and that origin path reaches \
         nothing under it; correct one of them"
    )]
    OutsideOrigin { id: String, origin_path: String, live_prefix: String },
}
