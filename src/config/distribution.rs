//! The distributions that a stack names.

use std::collections::BTreeSet;

use super::error::ConfigError;
use super::names::is_relative_path;
use super::variables::Variables;

/// A CloudFront distribution that serves the live bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DistributionConfig {
    pub id: String,
    /// The origin path as CloudFront writes it: empty, or `/folder` without a slash at its end. If `None`, it is read
    /// from the distribution.
    pub origin_path: Option<String>,
}

const ALLOWED: &str = "a list of distribution ids separated by commas, each with its origin path if that cannot be \
                       read from the distribution (`E1EXAMPLE,E2EXAMPLE=/docs`)";

/// Reads the list of distributions.
pub(super) fn read(
    variables: &mut Variables<impl Fn(&str) -> Option<String>>,
    live_prefix: &str,
) -> Vec<DistributionConfig> {
    let mut distributions = Vec::new();
    let mut ids = BTreeSet::new();
    let list = variables.text("DISTRIBUTION_IDS").unwrap_or_default();
    for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let Some(distribution) = distribution(item) else {
            variables.errors.push(ConfigError::Invalid {
                variable: "DISTRIBUTION_IDS",
                value: item.to_owned(),
                allowed: ALLOWED.to_owned(),
            });
            continue;
        };
        let DistributionConfig { id, origin_path } = distribution.clone();
        if let Some(origin_path) = origin_path.filter(|path| !reaches(path, live_prefix)) {
            variables.errors.push(ConfigError::OutsideOrigin {
                id: id.clone(),
                origin_path,
                live_prefix: live_prefix.to_owned(),
            });
        }
        if ids.insert(id.clone()) {
            distributions.push(distribution);
        } else {
            variables.errors.push(ConfigError::Repeated { id });
        }
    }
    distributions
}

fn distribution(item: &str) -> Option<DistributionConfig> {
    let (id, origin_path) = match item.split_once('=') {
        None => (item, None),
        Some((id, path)) => (id.trim_end(), Some(origin_path(path.trim_start())?)),
    };
    is_id(id).then(|| DistributionConfig { id: id.to_owned(), origin_path })
}

pub(super) fn is_id(id: &str) -> bool {
    id.len() > 1 && id.starts_with('E') && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

/// Reads an origin path as CloudFront writes one. `/` means the bucket's root.
fn origin_path(value: &str) -> Option<String> {
    let path = value.strip_suffix('/').unwrap_or(value);
    match path.strip_prefix('/') {
        None => path.is_empty().then(String::new),
        Some(folder) => is_relative_path(folder).then(|| path.to_owned()),
    }
}

/// Returns whether viewers reach keys under the live prefix through an origin path.
pub fn reaches(origin_path: &str, live_prefix: &str) -> bool {
    let origin_prefix = match origin_path.strip_prefix('/') {
        None => String::new(),
        Some(folder) => format!("{folder}/"),
    };
    origin_prefix.starts_with(live_prefix) || live_prefix.starts_with(&origin_prefix)
}
