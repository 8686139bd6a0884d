//! The configuration of a distribution.

use chrono::{DateTime, Utc};

use crate::REGION;
use crate::edge::{EdgeFunctions, Spelling};

/// The settings of a distribution that an operator makes. `GetDistribution` returns all that CloudFront itself has.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub id: String,
    /// The first origin serves the default behaviour.
    pub origins: Vec<Origin>,
    /// Without a leading slash; "" for none.
    pub default_root_object: String,
    pub custom_errors: Vec<CustomError>,
    pub query_strings: QueryStrings,
    pub index_function: IndexFunction,
    /// Real functions, in place of an emulated one.
    pub functions: Option<EdgeFunctions>,
    /// The name of the index documents that the function, or a website endpoint, serves.
    pub index_document: String,
    /// Whether a function maps `/about` to `about.html`.
    pub clean_urls: bool,
    pub is_enabled: bool,
    /// The `SigningBehavior` of the origin access control of every origin; `None` without one.
    pub signing: Option<&'static str>,
    /// The `ContinuousDeploymentPolicyId`.
    pub continuous_deployment_policy: Option<String>,
    /// Whether it is a staging distribution.
    pub is_staging: bool,
    /// The header with the cache tags, such as `x-amz-meta-cache-tag`.
    pub cache_tag_header: Option<String>,
    /// Whether the configuration has reached every edge location.
    pub is_deployed: bool,
    /// The time of the last change of the configuration.
    pub modified_at: DateTime<Utc>,
}

/// The settings that say whether query strings are part of the cache key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryStrings {
    /// Managed-CachingOptimized, which leaves them out.
    Ignored,
    /// A cache policy with this id and `QueryStringBehavior`. Unless that is `none`, the emulation takes all of them.
    Policy { id: String, behavior: &'static str },
    /// The `QueryString` of `ForwardedValues`, which older distributions have.
    Forwarded(bool),
}

impl QueryStrings {
    pub(crate) fn are_in_key(&self) -> bool {
        match self {
            Self::Ignored => false,
            Self::Policy { behavior, .. } => *behavior != "none",
            Self::Forwarded(in_key) => *in_key,
        }
    }
}

/// The function that maps `/docs/` and `/docs` to `docs/index.html`.
///
/// AWS recommends to invalidate both the path before and the one after a viewer-request function, and does not say
/// under which of them the answer is cached. So both can be emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexFunction {
    /// There is none: a website endpoint does what it does, and any other origin takes the paths for keys.
    None,
    /// A CloudFront function on viewer requests; answers are cached under the viewer's path.
    ViewerRequest,
    /// The same, but answers are cached under the path to which the function maps it. This function goes by the path
    /// alone: it takes a name without a dot for a folder.
    RewritingKey,
    /// A Lambda function on viewer requests; answers are cached under the viewer's path.
    LambdaOnViewerRequest,
    /// A Lambda function on origin requests, which runs behind the cache.
    LambdaOnOriginRequest,
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
    pub(crate) fn is_website(&self) -> bool {
        matches!(self.domain, Domain::Website | Domain::WebsiteDotted)
    }

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
    /// Returns a distribution whose only origin is a whole bucket, with a function for index documents.
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
            query_strings: QueryStrings::Ignored,
            index_function: IndexFunction::ViewerRequest,
            functions: None,
            index_document: "index.html".to_owned(),
            clean_urls: false,
            is_enabled: true,
            signing: Some("always"),
            continuous_deployment_policy: None,
            is_staging: false,
            cache_tag_header: None,
            is_deployed: true,
            modified_at: DateTime::UNIX_EPOCH,
        }
    }

    /// Sets real functions. What they do not map is taken for a key.
    #[must_use]
    pub fn with_functions(self, functions: EdgeFunctions) -> Self {
        Self { functions: Some(functions), index_function: IndexFunction::None, ..self }
    }

    pub(crate) fn evicts_by_viewers_path(&self) -> bool {
        self.functions.as_ref().is_some_and(|functions| functions.evicted_by == Spelling::Viewers)
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
