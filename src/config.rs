//! The stack's settings, read from the environment.
//!
//! Everything is checked before the first AWS call, and everything that is wrong is said at
//! once: a setting is corrected by a deployment of the stack, which takes minutes.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

/// What one stack deploys, from where to where, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Where CI uploads archives; also holds the manifests, under `.dropship/`.
    pub staging_bucket: String,
    /// The bucket behind the distributions; never the staging bucket.
    pub live_bucket: String,
    pub table_name: String,
    /// The part of the live bucket that is the site: empty, or ending in `/`.
    pub live_prefix: String,
    /// Where to invalidate; none means no invalidation.
    pub distributions: Vec<DistributionConfig>,
    /// The name of the site in the ledger.
    pub site: String,
    /// The folder of the archive that is deployed: empty, or ending in `/`.
    pub archive_root: String,
    /// The account that must own both buckets (ExpectedBucketOwner).
    pub account_id: Option<String>,
    pub prune: Prune,
    pub compare: Compare,
    /// A plan that deletes more than this share of the site is refused; 100 allows any.
    pub max_delete_percent: u8,
    pub retain_removed_days: u32,
    /// For each deployment and distribution.
    pub max_invalidation_paths: usize,
    pub clean_urls: bool,
    pub invalidate_new: bool,
    pub invalidate_query_strings: bool,
    /// Whether an invocation stays until CloudFront reports its invalidations as completed.
    pub wait_for_invalidation: bool,
    pub history_days: u32,
    pub max_entries: u64,
    /// All entries together, expanded.
    pub max_archive_bytes: u64,
    /// Expanded to compressed size, of one entry.
    pub max_ratio: u64,
    pub cache_control: CacheControl,
    /// Whether compressible text is stored as gzip.
    pub gzip: bool,
    pub s3_force_path_style: bool,
    /// Objects put or copied; S3's own measure for a prefix, unless the endpoint is another.
    pub max_writes_per_second: u32,
    /// What Lambda gives this function.
    pub memory_mib: u64,
}

/// A CloudFront distribution that serves the live bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DistributionConfig {
    pub id: String,
    /// The origin path as CloudFront writes it: empty, or `/folder` without a slash at its end.
    /// `None` leaves it to be discovered.
    pub origin_path: Option<String>,
}

/// Which keys under the live prefix may be deleted because the archive lacks them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prune {
    /// Every key, as `aws s3 sync --delete` does.
    All,
    /// Only keys that an earlier deployment wrote.
    Owned,
    /// None.
    Off,
}

/// How an entry is recognised as unchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compare {
    /// By size and CRC-32 from the archive's central directory.
    Crc32,
    /// By reading and hashing it.
    Content,
}

/// The Cache-Control values of a stack, before `_headers` has its say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CacheControl {
    pub pages: String,
    pub assets: String,
}

/// Every variable that a stack may set.
///
/// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE` is read besides; Lambda sets it and reserves its name.
pub const VARIABLES: &[&str] = &[
    "ACCOUNT_ID",
    "ARCHIVE_ROOT",
    "CACHE_CONTROL_ASSETS",
    "CACHE_CONTROL_PAGES",
    "CLEAN_URLS",
    "COMPARE",
    "DISTRIBUTION_IDS",
    "GZIP",
    "HISTORY_DAYS",
    "INVALIDATE_NEW",
    "INVALIDATE_QUERY_STRINGS",
    "LIVE_BUCKET",
    "LIVE_PREFIX",
    "MAX_ARCHIVE_BYTES",
    "MAX_DELETE_PERCENT",
    "MAX_ENTRIES",
    "MAX_INVALIDATION_PATHS",
    "MAX_RATIO",
    "MAX_WRITES_PER_SECOND",
    "PRUNE",
    "RETAIN_REMOVED_DAYS",
    "S3_FORCE_PATH_STYLE",
    "SITE",
    "STAGING_BUCKET",
    "TABLE_NAME",
    "WAIT_FOR_INVALIDATION",
];

impl Config {
    /// Reads and checks every setting.
    ///
    /// A variable that is empty, or nothing but white space, counts as unset: CloudFormation
    /// cannot leave a variable out, only leave it empty.
    pub fn from_variables(get: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
        let mut variables = Variables { get, errors: Vec::new() };
        let staging_bucket = variables.required("STAGING_BUCKET", BUCKET_NAME, bucket_name);
        let live_bucket = variables.required("LIVE_BUCKET", BUCKET_NAME, bucket_name);
        let table_name = variables.required("TABLE_NAME", TABLE_NAME, table_name);
        let live_prefix = variables.read("LIVE_PREFIX", FOLDER, folder);
        let live_prefix = live_prefix.unwrap_or_default();
        let distributions = variables.distributions(&live_prefix);
        if !live_bucket.is_empty() && live_bucket == staging_bucket {
            variables.errors.push(ConfigError::OneBucket { bucket: live_bucket.clone() });
        }
        let config = Config {
            site: variables
                .read("SITE", SITE, |value| is_relative_path(value).then(|| value.to_owned()))
                .unwrap_or_else(|| default_site(&live_bucket, &live_prefix)),
            archive_root: variables.read("ARCHIVE_ROOT", FOLDER, folder).unwrap_or_default(),
            account_id: variables.read("ACCOUNT_ID", "12 digits", account_id),
            prune: variables.read("PRUNE", "`all`, `owned` or `off`", prune).unwrap_or(Prune::All),
            compare: variables.read("COMPARE", "`crc32` or `content`", compare).unwrap_or(Compare::Crc32),
            max_delete_percent: variables.number("MAX_DELETE_PERCENT", 0..=100, 90),
            retain_removed_days: variables.number("RETAIN_REMOVED_DAYS", 0..=3_650, 0),
            // CloudFront has at most 3,000 paths of a distribution in progress at a time
            // (CloudFront Developer Guide, "Concurrent invalidation request maximum").
            max_invalidation_paths: variables.number("MAX_INVALIDATION_PATHS", 1..=3_000, 200),
            clean_urls: variables.flag("CLEAN_URLS"),
            invalidate_new: variables.flag("INVALIDATE_NEW"),
            invalidate_query_strings: variables.flag("INVALIDATE_QUERY_STRINGS"),
            wait_for_invalidation: variables.flag("WAIT_FOR_INVALIDATION"),
            history_days: variables.number("HISTORY_DAYS", 1..=3_650, 365),
            max_entries: variables.number("MAX_ENTRIES", 1..=10_000_000, 1_000_000),
            max_archive_bytes: variables.number("MAX_ARCHIVE_BYTES", 1..=5 << 40, 20 << 30),
            max_ratio: variables.number("MAX_RATIO", 1..=1_000_000, 1_000),
            cache_control: variables.cache_control(!distributions.is_empty()),
            gzip: variables.flag("GZIP"),
            s3_force_path_style: variables.flag("S3_FORCE_PATH_STYLE"),
            // "At least 3,500 PUT/COPY/POST/DELETE requests per second per partitioned prefix"
            // (S3 user guide, "Optimizing Amazon S3 performance").
            max_writes_per_second: variables.number("MAX_WRITES_PER_SECOND", 1..=1_000_000, 3_500),
            memory_mib: variables.number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 128..=32_768, 512),
            staging_bucket,
            live_bucket,
            table_name,
            live_prefix,
            distributions,
        };
        if variables.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(variables.errors)) }
    }
}

/// Everything that is wrong with the settings, one sentence each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors(Vec<ConfigError>);

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

/// One setting that is missing or wrong.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ConfigError {
    #[error("{variable} is not set; set it to {allowed}")]
    Missing { variable: &'static str, allowed: &'static str },
    #[error("{variable} has `{value}`; allowed is {allowed}")]
    Invalid { variable: &'static str, value: String, allowed: String },
    /// Each object that a deployment writes would be an upload, and each archive a foreign file
    /// of the site that the next deployment deletes.
    #[error(
        "LIVE_BUCKET and STAGING_BUCKET are both `{bucket}`; give the site a bucket of its own, \
         or each deployment would delete archives and set off the next"
    )]
    OneBucket { bucket: String },
    #[error("DISTRIBUTION_IDS has `{id}` more than once; name each distribution once")]
    Repeated { id: String },
    #[error(
        "DISTRIBUTION_IDS has `{id}={origin_path}`, but LIVE_PREFIX has `{live_prefix}`, and \
         nothing under it is reached through that origin path; correct one of them"
    )]
    OutsideOrigin { id: String, origin_path: String, live_prefix: String },
}

/// The environment, and what has been found wrong with it so far.
struct Variables<Get> {
    get: Get,
    errors: Vec<ConfigError>,
}

impl<Get: Fn(&str) -> Option<String>> Variables<Get> {
    fn text(&self, variable: &str) -> Option<String> {
        let value = (self.get)(variable)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Reads a variable; one that is wrong is noted, and then looks unset.
    fn read<T>(&mut self, variable: &'static str, allowed: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = self.text(variable)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.errors.push(ConfigError::Invalid { variable, value, allowed: allowed.to_owned() });
        }
        parsed
    }

    /// Reads a variable that has no default; the empty text that stands in for a missing or
    /// wrong one is never seen, since an error has then been noted.
    fn required(
        &mut self,
        variable: &'static str,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<String>,
    ) -> String {
        if self.text(variable).is_none() {
            self.errors.push(ConfigError::Missing { variable, allowed });
        }
        self.read(variable, allowed, parse).unwrap_or_default()
    }

    fn number<T>(&mut self, variable: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: Copy + FromStr + PartialOrd + fmt::Display,
    {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(variable, &allowed, |value| value.parse().ok().filter(|number| range.contains(number)))
            .unwrap_or(default)
    }

    fn flag(&mut self, variable: &'static str) -> bool {
        self.read(variable, "`true` or `false`", |value| value.to_ascii_lowercase().parse().ok()).unwrap_or(false)
    }

    fn distributions(&mut self, live_prefix: &str) -> Vec<DistributionConfig> {
        let mut distributions = Vec::new();
        let mut ids = BTreeSet::new();
        let list = self.text("DISTRIBUTION_IDS").unwrap_or_default();
        for item in list.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let Some(distribution) = distribution(item) else {
                self.errors.push(ConfigError::Invalid {
                    variable: "DISTRIBUTION_IDS",
                    value: item.to_owned(),
                    allowed: DISTRIBUTIONS.to_owned(),
                });
                continue;
            };
            let DistributionConfig { id, origin_path } = distribution.clone();
            if let Some(origin_path) = origin_path.filter(|path| is_apart(path, live_prefix)) {
                self.errors.push(ConfigError::OutsideOrigin {
                    id: id.clone(),
                    origin_path,
                    live_prefix: live_prefix.to_owned(),
                });
            }
            if ids.insert(id.clone()) {
                distributions.push(distribution);
            } else {
                self.errors.push(ConfigError::Repeated { id });
            }
        }
        distributions
    }

    /// By default the edge keeps an object until it is invalidated, for at most a day, and
    /// browsers revalidate. Without a distribution nothing is ever invalidated, so no shared
    /// cache may keep anything.
    fn cache_control(&mut self, has_distribution: bool) -> CacheControl {
        let default = if has_distribution {
            "public, max-age=0, s-maxage=86400, must-revalidate"
        } else {
            "public, max-age=0, must-revalidate"
        };
        let mut read = |variable| {
            self.read(variable, CACHE_CONTROL, |value| is_cache_control(value).then(|| value.to_owned()))
                .unwrap_or_else(|| default.to_owned())
        };
        CacheControl { pages: read("CACHE_CONTROL_PAGES"), assets: read("CACHE_CONTROL_ASSETS") }
    }
}

/// The site's name in the ledger, and its folder under `.dropship/`.
fn default_site(live_bucket: &str, live_prefix: &str) -> String {
    format!("{live_bucket}/{live_prefix}").trim_end_matches('/').to_owned()
}

const BUCKET_NAME: &str = "the name of a general purpose bucket (3 to 63 lower-case letters, \
                           digits, dots and hyphens, without `s3://` and without a path)";

/// Checks a bucket's name by the S3 User Guide, "General purpose bucket naming rules".
///
/// A directory bucket (`…--x-s3`) sends no events, has no versions and does not list in key
/// order, so it can be neither end of a deployment.
fn bucket_name(value: &str) -> Option<String> {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_valid = (3..=63).contains(&value.len())
        && value.bytes().all(|byte| is_alphanumeric(byte) || matches!(byte, b'.' | b'-'))
        && value.bytes().next().is_some_and(is_alphanumeric)
        && value.bytes().last().is_some_and(is_alphanumeric)
        && !value.contains("..")
        && value.parse::<std::net::Ipv4Addr>().is_err()
        && !value.ends_with("--x-s3");
    is_valid.then(|| value.to_owned())
}

const TABLE_NAME: &str = "the name of a DynamoDB table (3 to 255 letters, digits, `_`, `-` and `.`)";

fn table_name(value: &str) -> Option<String> {
    let is_valid = (3..=255).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    is_valid.then(|| value.to_owned())
}

const SITE: &str = "a name without a slash at either end, `//`, `.`, `..`, backslashes or \
                    control characters, of at most 512 bytes";

const FOLDER: &str = "a folder such as `docs` or `docs/v2/`, without a leading slash, `//`, `.`, \
                      `..`, backslashes or control characters, of at most 512 bytes";

/// Reads a folder, with or without the `/` at its end, and puts it there.
fn folder(value: &str) -> Option<String> {
    let path = value.strip_suffix('/').unwrap_or(value);
    is_relative_path(path).then(|| format!("{path}/"))
}

fn is_relative_path(value: &str) -> bool {
    value.len() <= 512
        && !value.chars().any(|character| character.is_control() || character == '\\')
        && value.split('/').all(|component| !matches!(component, "" | "." | ".."))
}

const DISTRIBUTIONS: &str = "a list of distribution ids separated by commas, each with its \
                             origin path where that is not to be discovered \
                             (`E1EXAMPLE,E2EXAMPLE=/docs`)";

fn distribution(item: &str) -> Option<DistributionConfig> {
    let (id, origin_path) = match item.split_once('=') {
        None => (item, None),
        Some((id, path)) => (id.trim_end(), Some(origin_path(path.trim_start())?)),
    };
    let is_id = id.len() > 1
        && id.starts_with('E')
        && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    is_id.then(|| DistributionConfig { id: id.to_owned(), origin_path })
}

/// Reads an origin path as CloudFront writes one; `/` is taken for the bucket's root.
fn origin_path(value: &str) -> Option<String> {
    let path = value.strip_suffix('/').unwrap_or(value);
    match path.strip_prefix('/') {
        None => path.is_empty().then(String::new),
        Some(folder) => is_relative_path(folder).then(|| path.to_owned()),
    }
}

/// Whether no key under the live prefix lies behind the origin path.
pub fn is_apart(origin_path: &str, live_prefix: &str) -> bool {
    let origin_prefix = match origin_path.strip_prefix('/') {
        None => String::new(),
        Some(folder) => format!("{folder}/"),
    };
    !origin_prefix.starts_with(live_prefix) && !live_prefix.starts_with(&origin_prefix)
}

fn account_id(value: &str) -> Option<String> {
    let is_id = value.len() == 12 && value.bytes().all(|byte| byte.is_ascii_digit());
    is_id.then(|| value.to_owned())
}

fn prune(value: &str) -> Option<Prune> {
    match value.to_ascii_lowercase().as_str() {
        "all" => Some(Prune::All),
        "owned" => Some(Prune::Owned),
        "off" => Some(Prune::Off),
        _ => None,
    }
}

fn compare(value: &str) -> Option<Compare> {
    match value.to_ascii_lowercase().as_str() {
        "crc32" => Some(Compare::Crc32),
        "content" => Some(Compare::Content),
        _ => None,
    }
}

const CACHE_CONTROL: &str = "a list of Cache-Control directives separated by commas \
                             (`public, max-age=300`)";

/// Checks the shape of RFC 9111, section 5.2: directives, each with or without a value.
///
/// A browser skips a directive that it cannot read, so that `max-age: 300` would go unnoticed.
fn is_cache_control(value: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    };
    value.split(',').all(|directive| {
        let directive = directive.trim();
        let (name, argument) = directive.split_once('=').unwrap_or((directive, "0"));
        is_token(name) && is_token(argument.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use insta::{assert_debug_snapshot, assert_snapshot};

    use super::*;

    /// The required variables, and these over them.
    fn config(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let mut all =
            BTreeMap::from([("STAGING_BUCKET", "staging"), ("LIVE_BUCKET", "live"), ("TABLE_NAME", "deployments")]);
        all.extend(variables.iter().copied());
        Config::from_variables(|name| all.get(name).map(|value| (*value).to_owned()))
    }

    fn with(variable: &str, value: &str) -> Config {
        config(&[(variable, value)]).unwrap()
    }

    /// The errors, one a line.
    fn errors(variables: &[(&str, &str)]) -> String {
        let ConfigErrors(errors) = config(variables).unwrap_err();
        errors.iter().map(|error| format!("{error}\n")).collect()
    }

    /// Whether each of these values of a variable is refused with its name and the value.
    fn assert_refused(variable: &str, values: &[&str]) {
        for value in values {
            let errors = config(&[(variable, value)]).expect_err(value).to_string();
            assert!(errors.contains(variable) && errors.contains(value), "{errors}");
        }
    }

    #[test]
    fn three_variables_are_enough() {
        assert_debug_snapshot!(config(&[]).unwrap(), @r#"
        Config {
            staging_bucket: "staging",
            live_bucket: "live",
            table_name: "deployments",
            live_prefix: "",
            distributions: [],
            site: "live",
            archive_root: "",
            account_id: None,
            prune: All,
            compare: Crc32,
            max_delete_percent: 90,
            retain_removed_days: 0,
            max_invalidation_paths: 200,
            clean_urls: false,
            invalidate_new: false,
            invalidate_query_strings: false,
            wait_for_invalidation: false,
            history_days: 365,
            max_entries: 1000000,
            max_archive_bytes: 21474836480,
            max_ratio: 1000,
            cache_control: CacheControl {
                pages: "public, max-age=0, must-revalidate",
                assets: "public, max-age=0, must-revalidate",
            },
            gzip: false,
            s3_force_path_style: false,
            max_writes_per_second: 3500,
            memory_mib: 512,
        }
        "#);
    }

    #[test]
    fn every_variable_is_heard() {
        let config = config(&[
            ("ACCOUNT_ID", "123456789012"),
            ("ARCHIVE_ROOT", "dist"),
            ("CACHE_CONTROL_ASSETS", "public, max-age=31536000, immutable"),
            ("CACHE_CONTROL_PAGES", "no-cache"),
            ("CLEAN_URLS", "true"),
            ("COMPARE", "content"),
            ("DISTRIBUTION_IDS", "E1EXAMPLE, E2EXAMPLE=/docs,E3EXAMPLE=/,"),
            ("GZIP", "true"),
            ("HISTORY_DAYS", "30"),
            ("INVALIDATE_NEW", "TRUE"),
            ("INVALIDATE_QUERY_STRINGS", "True"),
            ("LIVE_PREFIX", "docs/v2"),
            ("MAX_ARCHIVE_BYTES", "1000"),
            ("MAX_DELETE_PERCENT", "10"),
            ("MAX_ENTRIES", "20"),
            ("MAX_INVALIDATION_PATHS", "30"),
            ("MAX_RATIO", "40"),
            ("MAX_WRITES_PER_SECOND", "100"),
            ("PRUNE", "Owned"),
            ("RETAIN_REMOVED_DAYS", "7"),
            ("S3_FORCE_PATH_STYLE", "true"),
            ("SITE", "docs"),
            ("WAIT_FOR_INVALIDATION", "true"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
        ]);
        assert_debug_snapshot!(config.unwrap(), @r#"
        Config {
            staging_bucket: "staging",
            live_bucket: "live",
            table_name: "deployments",
            live_prefix: "docs/v2/",
            distributions: [
                DistributionConfig {
                    id: "E1EXAMPLE",
                    origin_path: None,
                },
                DistributionConfig {
                    id: "E2EXAMPLE",
                    origin_path: Some(
                        "/docs",
                    ),
                },
                DistributionConfig {
                    id: "E3EXAMPLE",
                    origin_path: Some(
                        "",
                    ),
                },
            ],
            site: "docs",
            archive_root: "dist/",
            account_id: Some(
                "123456789012",
            ),
            prune: Owned,
            compare: Content,
            max_delete_percent: 10,
            retain_removed_days: 7,
            max_invalidation_paths: 30,
            clean_urls: true,
            invalidate_new: true,
            invalidate_query_strings: true,
            wait_for_invalidation: true,
            history_days: 30,
            max_entries: 20,
            max_archive_bytes: 1000,
            max_ratio: 40,
            cache_control: CacheControl {
                pages: "no-cache",
                assets: "public, max-age=31536000, immutable",
            },
            gzip: true,
            s3_force_path_style: true,
            max_writes_per_second: 100,
            memory_mib: 1769,
        }
        "#);
    }

    #[test]
    fn the_variables_read_are_those_listed() {
        let asked = RefCell::new(BTreeSet::new());
        let _ = Config::from_variables(|name| {
            asked.borrow_mut().insert(name.to_owned());
            None
        });
        let mut listed: BTreeSet<String> = VARIABLES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(listed.len(), VARIABLES.len());
        listed.insert("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned());
        assert_eq!(asked.into_inner(), listed);
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let unset = config(&[]).unwrap();
        for variable in VARIABLES {
            if ["STAGING_BUCKET", "LIVE_BUCKET", "TABLE_NAME"].contains(variable) {
                let message = errors(&[(variable, " ")]);
                assert!(message.starts_with(&format!("{variable} is not set; ")), "{message}");
            } else {
                assert_eq!(with(variable, ""), unset, "{variable}");
                assert_eq!(with(variable, " \n"), unset, "{variable}");
            }
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let errors = errors(&[
            ("STAGING_BUCKET", "s3://staging"),
            ("LIVE_BUCKET", ""),
            ("TABLE_NAME", "a table"),
            ("LIVE_PREFIX", "/docs"),
            ("DISTRIBUTION_IDS", "d111111abcdef8.cloudfront.net,E1EXAMPLE=docs"),
            ("SITE", "docs/"),
            ("ARCHIVE_ROOT", "./dist"),
            ("ACCOUNT_ID", "1234"),
            ("PRUNE", "yes"),
            ("COMPARE", "md5"),
            ("MAX_DELETE_PERCENT", "101"),
            ("HISTORY_DAYS", "0"),
            ("CLEAN_URLS", "1"),
            ("CACHE_CONTROL_PAGES", "max-age: 300"),
        ]);
        assert_snapshot!(errors, @r"
        STAGING_BUCKET has `s3://staging`; allowed is the name of a general purpose bucket (3 to 63 lower-case letters, digits, dots and hyphens, without `s3://` and without a path)
        LIVE_BUCKET is not set; set it to the name of a general purpose bucket (3 to 63 lower-case letters, digits, dots and hyphens, without `s3://` and without a path)
        TABLE_NAME has `a table`; allowed is the name of a DynamoDB table (3 to 255 letters, digits, `_`, `-` and `.`)
        LIVE_PREFIX has `/docs`; allowed is a folder such as `docs` or `docs/v2/`, without a leading slash, `//`, `.`, `..`, backslashes or control characters, of at most 512 bytes
        DISTRIBUTION_IDS has `d111111abcdef8.cloudfront.net`; allowed is a list of distribution ids separated by commas, each with its origin path where that is not to be discovered (`E1EXAMPLE,E2EXAMPLE=/docs`)
        DISTRIBUTION_IDS has `E1EXAMPLE=docs`; allowed is a list of distribution ids separated by commas, each with its origin path where that is not to be discovered (`E1EXAMPLE,E2EXAMPLE=/docs`)
        SITE has `docs/`; allowed is a name without a slash at either end, `//`, `.`, `..`, backslashes or control characters, of at most 512 bytes
        ARCHIVE_ROOT has `./dist`; allowed is a folder such as `docs` or `docs/v2/`, without a leading slash, `//`, `.`, `..`, backslashes or control characters, of at most 512 bytes
        ACCOUNT_ID has `1234`; allowed is 12 digits
        PRUNE has `yes`; allowed is `all`, `owned` or `off`
        COMPARE has `md5`; allowed is `crc32` or `content`
        MAX_DELETE_PERCENT has `101`; allowed is a whole number from 0 to 100
        CLEAN_URLS has `1`; allowed is `true` or `false`
        HISTORY_DAYS has `0`; allowed is a whole number from 1 to 3650
        CACHE_CONTROL_PAGES has `max-age: 300`; allowed is a list of Cache-Control directives separated by commas (`public, max-age=300`)
        ");
    }

    #[test]
    fn what_goes_against_something_else_is_refused() {
        let errors = errors(&[
            ("STAGING_BUCKET", "site"),
            ("LIVE_BUCKET", "site"),
            ("LIVE_PREFIX", "docs"),
            ("DISTRIBUTION_IDS", "E1EXAMPLE,E2EXAMPLE=/blog,E1EXAMPLE=/docs"),
        ]);
        assert_snapshot!(errors, @r"
        DISTRIBUTION_IDS has `E2EXAMPLE=/blog`, but LIVE_PREFIX has `docs/`, and nothing under it is reached through that origin path; correct one of them
        DISTRIBUTION_IDS has `E1EXAMPLE` more than once; name each distribution once
        LIVE_BUCKET and STAGING_BUCKET are both `site`; give the site a bucket of its own, or each deployment would delete archives and set off the next
        ");
    }

    #[test]
    fn a_bucket_name_follows_s3s_rules() {
        for name in ["a.b-c", "abc", "1a2", &"a".repeat(63)] {
            assert_eq!(with("LIVE_BUCKET", name).live_bucket, name);
        }
        let refused =
            ["ab", "Live", "a_b", "-ab", "ab-", "a..b", "192.0.2.1", "a/b", "arn:aws:s3:::live", "a--use1-az4--x-s3"];
        assert_refused("LIVE_BUCKET", &refused);
        assert_refused("STAGING_BUCKET", &refused);
        assert_refused("LIVE_BUCKET", &[&"a".repeat(64)]);
    }

    #[test]
    fn a_folder_ends_in_a_slash_however_it_is_given() {
        for variable in ["LIVE_PREFIX", "ARCHIVE_ROOT"] {
            let folder = |value| {
                let config = with(variable, value);
                match variable {
                    "LIVE_PREFIX" => config.live_prefix,
                    _ => config.archive_root,
                }
            };
            assert_eq!(folder("docs"), "docs/");
            assert_eq!(folder("docs/v2/"), "docs/v2/");
            assert_eq!(folder("größe ..a/.b"), "größe ..a/.b/");
            assert_refused(
                variable,
                &["/", "/docs", "docs//", "a//b", "..", "a/../b", "./a", "a/.", "a\\b", "a\u{7}b"],
            );
            assert_refused(variable, &[&"a".repeat(513)]);
        }
    }

    #[test]
    fn a_site_is_named_after_its_bucket_and_prefix() {
        assert_eq!(config(&[]).unwrap().site, "live");
        assert_eq!(with("LIVE_PREFIX", "docs/v2/").site, "live/docs/v2");
        assert_eq!(with("SITE", "team/docs").site, "team/docs");
        assert_refused("SITE", &["/docs", "docs/", "a//b", "../a"]);
    }

    #[test]
    fn a_distribution_may_state_its_origin_path() {
        let origin_path = |value| with("DISTRIBUTION_IDS", value).distributions[0].origin_path.clone();
        assert_eq!(origin_path("E1EXAMPLE"), None);
        assert_eq!(origin_path("E1EXAMPLE="), Some(String::new()));
        assert_eq!(origin_path("E1EXAMPLE=/"), Some(String::new()));
        assert_eq!(origin_path("E1EXAMPLE=/a/b"), Some("/a/b".to_owned()));
        assert_eq!(origin_path("E1EXAMPLE = /a/"), Some("/a".to_owned()));
        assert_refused(
            "DISTRIBUTION_IDS",
            &["E", "e1example", "E1-2", "1EXAMPLE", "E1EXAMPLE=a", "E1EXAMPLE=//", "E1EXAMPLE=/a/../b", "=/a"],
        );
    }

    #[test]
    fn an_origin_path_and_the_live_prefix_lie_on_one_line() {
        let with_both = |live_prefix, origin_path: &str| {
            let id = format!("E1EXAMPLE={origin_path}");
            config(&[("LIVE_PREFIX", live_prefix), ("DISTRIBUTION_IDS", &id)])
        };
        for (live_prefix, origin_path) in [("", ""), ("", "/a"), ("a", ""), ("a", "/a"), ("a", "/a/b"), ("a/b", "/a")] {
            assert!(with_both(live_prefix, origin_path).is_ok(), "{live_prefix} {origin_path}");
        }
        for (live_prefix, origin_path) in [("a", "/b"), ("ab", "/a"), ("a", "/ab"), ("a/b", "/a/c")] {
            assert!(with_both(live_prefix, origin_path).is_err(), "{live_prefix} {origin_path}");
        }
    }

    #[test]
    fn a_number_is_taken_up_to_the_ends_of_its_range() {
        for (variable, smallest, largest) in [
            ("MAX_DELETE_PERCENT", "0", "100"),
            ("RETAIN_REMOVED_DAYS", "0", "3650"),
            ("MAX_INVALIDATION_PATHS", "1", "3000"),
            ("HISTORY_DAYS", "1", "3650"),
            ("MAX_ENTRIES", "1", "10000000"),
            ("MAX_ARCHIVE_BYTES", "1", "5497558138880"),
            ("MAX_RATIO", "1", "1000000"),
        ] {
            with(variable, smallest);
            with(variable, largest);
            let beyond = (largest.parse::<u64>().unwrap() + 1).to_string();
            assert_refused(variable, &[&beyond, "-1", "1.5", "many", "99999999999999999999"]);
            if smallest == "1" {
                assert_refused(variable, &["0"]);
            }
        }
    }

    #[test]
    fn a_shared_cache_keeps_objects_only_where_they_are_invalidated() {
        let without = config(&[]).unwrap().cache_control;
        let with = with("DISTRIBUTION_IDS", "E1EXAMPLE").cache_control;
        assert!(!without.pages.contains("s-maxage") && !without.assets.contains("s-maxage"));
        assert!(with.pages.contains("s-maxage=86400") && with.assets.contains("s-maxage=86400"));
    }

    #[test]
    fn a_cache_control_is_a_list_of_directives() {
        for value in ["no-store", "public,max-age=1", "max-age=\"1\", stale-while-revalidate=60"] {
            assert_eq!(with("CACHE_CONTROL_ASSETS", value).cache_control.assets, value);
        }
        assert_refused(
            "CACHE_CONTROL_ASSETS",
            &["max-age: 1", "max-age=1 day", "public,,private", "a=", "größe", "a\r\nb: c"],
        );
    }
}
