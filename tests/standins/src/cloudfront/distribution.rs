//! The configuration of a distribution.

use chrono::{DateTime, Utc};

use crate::REGION;

/// The settings of a distribution that an operator makes. `GetDistribution` returns all that CloudFront itself has.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub id: String,
    /// The first origin serves the default behaviour.
    pub origins: Vec<Origin>,
    /// Without a leading slash; "" for none.
    pub default_root_object: String,
    pub custom_errors: Vec<CustomError>,
    /// Whether query strings are part of the cache key.
    pub cache_query_strings: bool,
    /// Whether an index function or a website endpoint maps `/docs/` and `/docs` to `docs/index.html`.
    pub index_documents: bool,
    /// Whether a function maps `/about` to `about.html`.
    pub clean_urls: bool,
    /// The header with the cache tags, such as `x-amz-meta-cache-tag`.
    pub cache_tag_header: Option<String>,
    /// Whether the configuration has reached every edge location.
    pub is_deployed: bool,
    /// The time of the last change of the configuration.
    pub modified_at: DateTime<Utc>,
}

/// A bucket behind a distribution.
#[derive(Clone, Debug)]
pub struct Origin {
    pub bucket: String,
    /// The `OriginPath`: "" or `/folder`.
    pub path: String,
    pub domain: Domain,
    /// The path pattern of its behaviour, such as `/en/*`; None for the default behaviour.
    pub path_pattern: Option<String>,
}

/// The form of an origin's domain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    Regional,
    Global,
    DualStack,
    Website,
    /// `bucket.s3-website.region…`, the form in newer Regions.
    WebsiteDotted,
    Accelerate,
    Other(String),
}

impl Origin {
    pub(super) fn domain_name(&self) -> String {
        let bucket = &self.bucket;
        match &self.domain {
            Domain::Regional => format!("{bucket}.s3.{REGION}.amazonaws.com"),
            Domain::Global => format!("{bucket}.s3.amazonaws.com"),
            Domain::DualStack => format!("{bucket}.s3.dualstack.{REGION}.amazonaws.com"),
            Domain::Website => format!("{bucket}.s3-website-{REGION}.amazonaws.com"),
            Domain::WebsiteDotted => format!("{bucket}.s3-website.{REGION}.amazonaws.com"),
            Domain::Accelerate => format!("{bucket}.s3-accelerate.amazonaws.com"),
            Domain::Other(name) => name.clone(),
        }
    }
}

/// A custom error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomError {
    pub code: u16,
    /// The path of the error page, and the status to serve it with.
    pub page: Option<(String, u16)>,
    pub min_ttl_seconds: u64,
}

impl Distribution {
    /// Returns a distribution whose only origin is a whole bucket.
    pub fn of(id: &str, bucket: &str) -> Self {
        Self {
            id: id.to_owned(),
            origins: vec![Origin {
                bucket: bucket.to_owned(),
                path: String::new(),
                domain: Domain::Regional,
                path_pattern: None,
            }],
            default_root_object: "index.html".to_owned(),
            custom_errors: Vec::new(),
            cache_query_strings: false,
            index_documents: true,
            clean_urls: false,
            cache_tag_header: None,
            is_deployed: true,
            modified_at: DateTime::UNIX_EPOCH,
        }
    }

    /// Sets the header with the cache tags.
    #[must_use]
    pub fn with_cache_tags(mut self, header: &str) -> Self {
        self.cache_tag_header = Some(header.to_owned());
        self
    }

    /// Sets the `OriginPath`, "" or `/folder`, of the first origin.
    #[must_use]
    pub fn with_origin_path(mut self, path: &str) -> Self {
        self.origins[0].path = path.to_owned();
        self
    }
}
