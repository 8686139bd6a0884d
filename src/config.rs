//! The stack's settings, read from the environment.
//!
//! All settings are checked before the first call to AWS, and all errors are reported together, because correcting a
//! setting takes a deployment of the stack, which takes minutes.

mod cache_control;
mod distribution;
mod encryption;
mod entry_points;
mod error;
mod exclude;
mod names;
mod parameter;
mod previews;
mod variables;

use crate::archive::{Limits, max_directory_bytes};
use crate::preview::PreviewName;
use variables::Variables;

pub use cache_control::CacheControl;
pub use distribution::{DistributionConfig, reaches};
pub use encryption::Encryption;
pub use entry_points::EntryPoints;
pub use error::{ConfigError, ConfigErrors};
pub use exclude::Exclude;
pub use parameter::parameters;
pub use previews::Previews;

/// S3's longest key in bytes (S3 user guide, "Object key naming").
const MAX_KEY_BYTES: usize = 1_024;

/// The memory that comes with one whole processor, in MiB (Lambda Developer Guide, "Configure Lambda function memory").
pub const ONE_VCPU_MIB: u64 = 1_769;

/// The settings of one stack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The bucket to which CI uploads archives. It also holds the manifests, under `.dropship/`.
    pub staging_bucket: String,
    /// The bucket behind the distributions; never the staging bucket.
    pub live_bucket: String,
    pub table_name: String,
    /// The part of the live bucket that holds the site: empty, or ending in `/`.
    pub live_prefix: String,
    /// The folder of the staging bucket to which archives are uploaded, ending in `/`.
    pub upload_prefix: String,
    /// The distributions to invalidate; if empty, nothing is invalidated.
    pub distributions: Vec<DistributionConfig>,
    /// The name of the site in the ledger, and of its folder under `.dropship/`.
    pub site: String,
    /// The folder of the archive to deploy, ending in `/`; empty if the archive's root is said to be meant.
    pub archive_root: Option<String>,
    /// The files of the archive that are not deployed.
    pub exclude: Exclude,
    /// The files that are written last.
    pub entry_points: EntryPoints,
    /// The account that must own both buckets (`ExpectedBucketOwner`).
    pub account_id: Option<String>,
    pub prune: Prune,
    /// A plan that deletes more than this share of the site is refused; 100 allows any.
    pub max_delete_percent: u8,
    pub retain_removed_days: u32,
    /// The most invalidation items per deployment and distribution.
    pub max_invalidation_paths: usize,
    pub clean_urls: bool,
    /// The name of the files that answer for their folders.
    pub index_document: String,
    /// Whether an invocation waits until CloudFront reports its invalidations as completed.
    pub wait_for_invalidation: bool,
    pub history_days: u32,
    pub max_entries: u64,
    /// The limit for all entries together, expanded.
    pub max_archive_bytes: u64,
    /// The largest ratio of expanded to compressed size of one entry.
    pub max_ratio: u64,
    pub cache_control: CacheControl,
    pub encryption: Encryption,
    /// Whether compressible text is stored as gzip.
    pub gzip: bool,
    pub s3_force_path_style: bool,
    /// The most objects that are put or copied in a second.
    pub max_writes_per_second: u32,
    /// The function's memory.
    pub memory_mib: u64,
    /// The settings of previews; `None` if there are none.
    pub previews: Option<Previews>,
    /// The name of the preview, if the site is one.
    pub preview: Option<PreviewName>,
}

/// The keys under the live prefix that a deployment may delete because the archive lacks them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prune {
    /// Every key, as `aws s3 sync --delete` does.
    All,
    /// Only keys that an earlier deployment wrote.
    Owned,
    /// None.
    Off,
}

/// Every variable that a stack may set.
///
/// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` is read too, but Lambda sets it and reserves its name.
pub const VARIABLES: &[&str] = &[
    "ACCOUNT_ID",
    "ARCHIVE_ROOT",
    "CACHE_CONTROL_ASSETS",
    "CACHE_CONTROL_PAGES",
    "CLEAN_URLS",
    "DISTRIBUTION_IDS",
    "EXCLUDE",
    "GZIP",
    "HISTORY_DAYS",
    "INDEX_DOCUMENT",
    "LAST",
    "LIVE_BUCKET",
    "LIVE_PREFIX",
    "MAX_ARCHIVE_BYTES",
    "MAX_DELETE_PERCENT",
    "MAX_ENTRIES",
    "MAX_INVALIDATION_PATHS",
    "MAX_RATIO",
    "MAX_WRITES_PER_SECOND",
    "PREVIEWS",
    "PREVIEW_DAYS",
    "PREVIEW_DISTRIBUTION_ID",
    "PREVIEW_DOMAIN",
    "PRUNE",
    "RETAIN_REMOVED_DAYS",
    "S3_FORCE_PATH_STYLE",
    "SITE",
    "SSE",
    "STAGING_BUCKET",
    "TABLE_NAME",
    "UPLOAD_PREFIX",
    "WAIT_FOR_INVALIDATION",
];

impl Config {
    /// Reads and checks all settings.
    ///
    /// A variable that is empty or only white space counts as unset: CloudFormation cannot omit a variable, only
    /// leave it empty.
    ///
    /// # Errors
    /// Every setting that is missing or invalid.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
        let mut variables = Variables::new(get);
        let staging_bucket = variables.required("STAGING_BUCKET", names::BUCKET, names::bucket);
        let live_bucket = variables.required("LIVE_BUCKET", names::BUCKET, names::bucket);
        let table_name = variables.required("TABLE_NAME", names::TABLE, names::table);
        let live_prefix = variables.read("LIVE_PREFIX", names::FOLDER, names::folder).unwrap_or_default();
        let distributions = distribution::read(&mut variables, &live_prefix);
        if !live_bucket.is_empty() && live_bucket == staging_bucket {
            variables.errors.push(ConfigError::OneBucket { bucket: live_bucket.clone() });
        }
        let config = Config {
            site: variables
                .read("SITE", names::SITE, names::site)
                .unwrap_or_else(|| names::default_site(&live_bucket, &live_prefix)),
            archive_root: variables.read("ARCHIVE_ROOT", &names::archive_root_words(), names::archive_root),
            exclude: Exclude::read(&mut variables),
            entry_points: EntryPoints::read(&mut variables),
            upload_prefix: variables
                .read("UPLOAD_PREFIX", names::FOLDER, names::folder)
                .unwrap_or_else(|| "uploads/".to_owned()),
            account_id: variables.read("ACCOUNT_ID", names::ACCOUNT, names::account),
            prune: variables.read("PRUNE", "`all`, `owned` or `off`", Prune::parse).unwrap_or(Prune::All),
            max_delete_percent: variables.number("MAX_DELETE_PERCENT", 0..=100, 90),
            retain_removed_days: variables.number("RETAIN_REMOVED_DAYS", 0..=3_650, 0),
            // A distribution can have at most 3,000 paths in progress at a time
            // (CloudFront Developer Guide, "Concurrent invalidation request maximum").
            max_invalidation_paths: variables.number("MAX_INVALIDATION_PATHS", 1..=3_000, 200),
            clean_urls: variables.flag("CLEAN_URLS"),
            index_document: variables
                .read("INDEX_DOCUMENT", names::FILE, names::file)
                .unwrap_or_else(|| "index.html".to_owned()),
            wait_for_invalidation: variables.flag("WAIT_FOR_INVALIDATION"),
            history_days: variables.number("HISTORY_DAYS", 1..=3_650, 365),
            max_entries: variables.number("MAX_ENTRIES", 1..=10_000_000, 1_000_000),
            max_archive_bytes: variables.number("MAX_ARCHIVE_BYTES", 1..=5 << 40, 20 << 30),
            max_ratio: variables.number("MAX_RATIO", 1..=1_000_000, 1_000),
            cache_control: cache_control::read(&mut variables, !distributions.is_empty()),
            encryption: variables.read("SSE", encryption::WORDS, encryption::parse).unwrap_or_default(),
            gzip: variables.flag("GZIP"),
            s3_force_path_style: variables.flag("S3_FORCE_PATH_STYLE"),
            // "At least 3,500 PUT/COPY/POST/DELETE requests per second per partitioned prefix"
            // (S3 user guide, "Optimizing Amazon S3 performance"). Endpoints other than S3 may take more or fewer.
            max_writes_per_second: variables.number("MAX_WRITES_PER_SECOND", 1..=1_000_000, 3_500),
            memory_mib: variables.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 128..=32_768, 512),
            previews: previews::read(&mut variables),
            preview: None,
            staging_bucket,
            live_bucket,
            table_name,
            live_prefix,
            distributions,
        };
        if variables.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(variables.errors)) }
    }
}

impl Config {
    /// Returns how much an archive may hold.
    pub fn archive_limits(&self) -> Limits {
        Limits {
            max_entries: self.max_entries,
            max_expanded_bytes: self.max_archive_bytes,
            max_ratio: self.max_ratio,
            max_directory_bytes: max_directory_bytes(self.memory_mib),
            max_name_bytes: MAX_KEY_BYTES.saturating_sub(self.live_prefix.len()),
        }
    }
}

impl Prune {
    fn parse(value: &str) -> Option<Self> {
        match value.to_ascii_lowercase().as_str() {
            "all" => Some(Self::All),
            "owned" => Some(Self::Owned),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
