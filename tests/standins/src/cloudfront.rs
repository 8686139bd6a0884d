//! CloudFront's API: distributions, invalidations and their quotas.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, SecondsFormat, Utc};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use s3s::Body;

use crate::edge::Cache;
use crate::{REGION, server};

/// "3,000 files per distribution" in progress at one time (InvalidationLimits).
const MAX_PATHS_IN_PROGRESS: usize = 3000;

/// "15 invalidation requests that include the * wildcard" in progress (InvalidationLimits).
const MAX_WILDCARDS_IN_PROGRESS: usize = 15;

/// "The maximum length of a path is 4,000 characters" (Invalidation).
const MAX_PATH_CHARS: usize = 4000;

/// What an operator configures; all of it can be read with `GetDistribution`.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub id: String,
    /// The first one serves the default behaviour.
    pub origins: Vec<Origin>,
    /// Without a leading slash; "" for none.
    pub default_root_object: String,
    pub custom_errors: Vec<CustomError>,
    /// Query strings are part of the cache key.
    pub cache_query_strings: bool,
    /// An index function or a website endpoint: `/docs/` and `/docs` are `docs/index.html`.
    pub index_documents: bool,
    /// A function that makes `/about` mean `about.html`.
    pub clean_urls: bool,
    /// The header that carries cache tags, such as `x-amz-meta-cache-tag`.
    pub cache_tag_header: Option<String>,
    /// Whether the configuration has reached every edge location.
    pub is_deployed: bool,
    /// When the configuration was last changed.
    pub modified_at: DateTime<Utc>,
}

/// A bucket behind a distribution.
#[derive(Clone, Debug)]
pub struct Origin {
    pub bucket: String,
    /// The OriginPath: "" or `/folder`.
    pub path: String,
    pub domain: Domain,
    /// The behaviour's path pattern, such as `/en/*`; None for the default behaviour.
    pub path_pattern: Option<String>,
}

/// How the origin's domain name is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Domain {
    Regional,
    Global,
    DualStack,
    Website,
    /// `bucket.s3-website.region…`, as the newer Regions have it.
    WebsiteDotted,
    Accelerate,
    Other(String),
}

impl Origin {
    fn domain_name(&self) -> String {
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
    /// The error page's path and the status it is served with.
    pub page: Option<(String, u16)>,
    pub min_ttl_seconds: u64,
}

impl Distribution {
    /// A distribution with one origin, the whole of a bucket.
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

    /// The same with cache tags in a header.
    pub fn with_cache_tags(mut self, header: &str) -> Self {
        self.cache_tag_header = Some(header.to_owned());
        self
    }

    /// The same with an OriginPath, "" or `/folder`.
    pub fn with_origin_path(mut self, path: &str) -> Self {
        self.origins[0].path = path.to_owned();
        self
    }
}

/// How a caller reference that was used before is answered.
///
/// The documentation and field reports disagree (aws/aws-cdk#3878).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferenceConflict {
    /// The same paths: the invalidation of then. Others: `InvalidationBatchAlreadyExists`.
    #[default]
    Documented,
    /// The same paths: the invalidation of then. Others: `InvalidArgument`.
    InvalidArgument,
    /// `InvalidArgument` whatever the paths.
    AlwaysInvalidArgument,
}

/// An accepted invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    pub id: String,
    pub caller_reference: String,
    /// As sent, in the order sent.
    pub items: Vec<String>,
    /// The sequence number of the call that was accepted.
    pub accepted_at_sequence: usize,
    pub in_progress: bool,
    created: String,
}

/// Why a request was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

fn refuse<T>(status: u16, code: &'static str, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, code, message: message.into() })
}

/// The distributions of the account, each with its edge cache.
#[derive(Default)]
pub(crate) struct CloudFront {
    distributions: Mutex<BTreeMap<String, State>>,
}

pub(crate) struct State {
    pub(crate) config: Distribution,
    /// Of the configuration; goes up with each change.
    version: usize,
    pub(crate) cache: Cache,
    invalidations: Vec<Invalidation>,
    held: bool,
    foreign_paths: usize,
    foreign_wildcards: usize,
    conflict: ReferenceConflict,
}

impl CloudFront {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.distributions.lock().expect("no holder of this lock panics")
    }

    /// Runs `with` on a distribution that a test relies on.
    pub(crate) fn open<T>(&self, id: &str, with: impl FnOnce(&mut State) -> T) -> T {
        let mut distributions = self.lock();
        match distributions.get_mut(id) {
            Some(state) => with(state),
            None => {
                drop(distributions);
                panic!("the test created no distribution `{id}`")
            }
        }
    }

    pub(crate) fn create(&self, config: Distribution) {
        let mut distributions = self.lock();
        if let Some(state) = distributions.get_mut(&config.id) {
            state.config = config;
            state.cache = Cache::default();
            return;
        }
        let id = config.id.clone();
        let state = State {
            config,
            version: 1,
            cache: Cache::default(),
            invalidations: Vec::new(),
            held: false,
            foreign_paths: 0,
            foreign_wildcards: 0,
            conflict: ReferenceConflict::default(),
        };
        distributions.insert(id, state);
    }

    /// Changes what is configured; what is cached stays.
    pub(crate) fn change(&self, config: Distribution) {
        let id = config.id.clone();
        self.open(&id, |state| {
            state.config = config;
            state.version += 1;
        });
    }

    pub(crate) fn invalidations(&self, id: &str) -> Vec<Invalidation> {
        self.open(id, |state| state.invalidations.clone())
    }

    pub(crate) fn hold(&self, id: &str) {
        self.open(id, |state| state.held = true);
    }

    pub(crate) fn complete(&self, id: &str) {
        self.open(id, |state| {
            state.held = false;
            for invalidation in &mut state.invalidations {
                invalidation.in_progress = false;
            }
        });
    }

    pub(crate) fn occupy(&self, id: &str, paths: usize, wildcards: usize) {
        self.open(id, |state| {
            state.foreign_paths = paths;
            state.foreign_wildcards = wildcards;
        });
    }

    pub(crate) fn set_reference_conflict(&self, id: &str, conflict: ReferenceConflict) {
        self.open(id, |state| state.conflict = conflict);
    }

    pub(crate) fn answer(&self, parts: &Parts, body: &str, sequence: usize) -> Result<Response<Body>, Refusal> {
        let segments: Vec<&str> = parts.uri.path().split('/').skip(2).collect();
        let ["distribution", id, rest @ ..] = segments.as_slice() else {
            return refuse(501, "NotImplemented", format!("{} is not emulated", parts.uri));
        };
        let mut distributions = self.lock();
        let Some(distribution) = distributions.get_mut(*id) else {
            return refuse(404, "NoSuchDistribution", "The specified distribution does not exist.");
        };
        match (&parts.method, rest) {
            (&Method::GET, []) => Ok(distribution.describe()),
            (&Method::POST, ["invalidation"]) => distribution.create_invalidation(body, sequence),
            (&Method::GET, ["invalidation"]) => Ok(distribution.list_invalidations()),
            (&Method::GET, ["invalidation", id]) => distribution.get_invalidation(id),
            _ => refuse(501, "NotImplemented", format!("{} {} is not emulated", parts.method, parts.uri)),
        }
    }
}

impl State {
    fn create_invalidation(&mut self, body: &str, sequence: usize) -> Result<Response<Body>, Refusal> {
        let items = texts(body, "Path");
        let quantity = texts(body, "Quantity").into_iter().next();
        let reference = texts(body, "CallerReference").into_iter().next();
        let (Some(quantity), Some(reference)) = (quantity, reference) else {
            return refuse(400, "MissingBody", "This operation requires a body. Ensure that the body is present.");
        };
        if quantity.parse() != Ok(items.len()) {
            return refuse(400, "InconsistentQuantities", "The value of Quantity and the size of Items don't match.");
        }
        if let Some(item) = items.iter().find(|item| !is_valid(item)) {
            return refuse(
                400,
                "InvalidArgument",
                format!("Your request contains one or more invalid invalidation paths: {item}"),
            );
        }
        if items.is_empty() || reference.is_empty() {
            return refuse(400, "InvalidArgument", "Your request contains an empty value.");
        }
        let used = self.invalidations.iter().find(|earlier| earlier.caller_reference == reference);
        if let Some(earlier) = used {
            let same = earlier.items.iter().collect::<BTreeSet<_>>() == items.iter().collect::<BTreeSet<_>>();
            return match (self.conflict, same) {
                (ReferenceConflict::Documented | ReferenceConflict::InvalidArgument, true) => Ok(self.created(earlier)),
                (ReferenceConflict::Documented, false) => refuse(
                    400,
                    "InvalidationBatchAlreadyExists",
                    "An invalidation batch with this caller reference exists already.",
                ),
                _ => refuse(
                    400,
                    "InvalidArgument",
                    "Your request contains a caller reference that was used for a previous invalidation batch for the same distribution.",
                ),
            };
        }
        let in_progress = self.invalidations.iter().filter(|it| it.in_progress);
        let busy = in_progress.flat_map(|it| &it.items).chain(&items);
        let (wildcards, paths): (Vec<_>, Vec<_>) = busy.partition(|item| item.ends_with('*'));
        if paths.len() + self.foreign_paths > MAX_PATHS_IN_PROGRESS
            || wildcards.len() + self.foreign_wildcards > MAX_WILDCARDS_IN_PROGRESS
        {
            return refuse(
                400,
                "TooManyInvalidationsInProgress",
                "Processing your request will cause you to exceed the maximum number of in-progress wildcard invalidations or invalidation paths.",
            );
        }
        self.cache.invalidate(&self.config, &items);
        let invalidation = Invalidation {
            id: format!("I{:013}", self.invalidations.len() + 1),
            caller_reference: reference,
            items,
            accepted_at_sequence: sequence,
            in_progress: self.held,
            created: now(),
        };
        let answer = self.created(&invalidation);
        self.invalidations.push(invalidation);
        Ok(answer)
    }

    fn created(&self, invalidation: &Invalidation) -> Response<Body> {
        server::respond(201, "text/xml", invalidation.xml())
    }

    fn get_invalidation(&self, id: &str) -> Result<Response<Body>, Refusal> {
        match self.invalidations.iter().find(|it| it.id == id) {
            Some(invalidation) => Ok(server::respond(200, "text/xml", invalidation.xml())),
            None => refuse(404, "NoSuchInvalidation", "The specified invalidation does not exist."),
        }
    }

    fn list_invalidations(&self) -> Response<Body> {
        let summaries: String = (self.invalidations.iter().rev())
            .map(|it| {
                format!(
                    "<InvalidationSummary><Id>{}</Id><CreateTime>{}</CreateTime><Status>{}</Status></InvalidationSummary>",
                    it.id,
                    it.created,
                    it.status()
                )
            })
            .collect();
        let quantity = self.invalidations.len();
        let list = format!(
            "<InvalidationList xmlns=\"{XMLNS}\"><Marker></Marker><MaxItems>{quantity}</MaxItems><IsTruncated>false</IsTruncated><Quantity>{quantity}</Quantity><Items>{summaries}</Items></InvalidationList>"
        );
        server::respond(200, "text/xml", list)
    }

    fn describe(&self) -> Response<Body> {
        let in_progress = self.invalidations.iter().filter(|it| it.in_progress).count();
        let body = distribution_xml(&self.config, in_progress);
        let mut response = server::respond(200, "text/xml", body);
        let etag = format!("E{:013}", self.version);
        let etag = etag.parse().expect("letters and digits make a header value");
        response.headers_mut().insert("etag", etag);
        response
    }
}

/// Tells whether CloudFront takes an item: a path, or a `#tag`.
fn is_valid(item: &str) -> bool {
    if let Some(tag) = item.strip_prefix('#') {
        // ASCII 33 to 126 without a comma, at most 256 (invalidation-specifying-tags).
        let tag_char = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        return (1..=256).contains(&tag.len()) && tag.bytes().all(tag_char);
    }
    item.starts_with('/')
        && item.chars().count() <= MAX_PATH_CHARS
        && item.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'~')
        && !item[..item.len() - 1].contains('*')
}

const XMLNS: &str = "http://cloudfront.amazonaws.com/doc/2020-05-31/";

impl Invalidation {
    fn status(&self) -> &'static str {
        match self.in_progress {
            true => "InProgress",
            false => "Completed",
        }
    }

    fn xml(&self) -> String {
        let items: String = (self.items.iter()).map(|item| format!("<Path>{}</Path>", escaped(item))).collect();
        format!(
            "<?xml version=\"1.0\"?>\n<Invalidation xmlns=\"{XMLNS}\"><Id>{}</Id><Status>{}</Status><CreateTime>{}</CreateTime><InvalidationBatch><Paths><Quantity>{}</Quantity><Items>{items}</Items></Paths><CallerReference>{}</CallerReference></InvalidationBatch></Invalidation>",
            self.id,
            self.status(),
            self.created,
            self.items.len(),
            escaped(&self.caller_reference),
        )
    }
}

fn distribution_xml(config: &Distribution, in_progress: usize) -> String {
    let id = &config.id;
    let origins: String =
        (config.origins.iter().enumerate()).map(|(index, origin)| origin_xml(index, origin)).collect();
    let behaviour = |index: usize| {
        format!(
            "<TargetOriginId>origin-{index}</TargetOriginId><TrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></TrustedSigners><ViewerProtocolPolicy>redirect-to-https</ViewerProtocolPolicy><Compress>true</Compress><CachePolicyId>658327ea-f89d-4fab-a63d-7e88639e58f6</CachePolicyId>"
        )
    };
    let behaviours: Vec<String> = (config.origins.iter().enumerate())
        .filter_map(|(index, origin)| {
            let pattern = escaped(origin.path_pattern.as_ref()?);
            let behaviour = behaviour(index);
            Some(format!("<CacheBehavior><PathPattern>{pattern}</PathPattern>{behaviour}</CacheBehavior>"))
        })
        .collect();
    let errors: String = config
        .custom_errors
        .iter()
        .map(|error| {
            let page = error.page.as_ref().map_or_else(String::new, |(path, status)| {
                let path = escaped(path);
                format!("<ResponsePagePath>{path}</ResponsePagePath><ResponseCode>{status}</ResponseCode>")
            });
            format!(
                "<CustomErrorResponse><ErrorCode>{}</ErrorCode>{page}<ErrorCachingMinTTL>{}</ErrorCachingMinTTL></CustomErrorResponse>",
                error.code, error.min_ttl_seconds
            )
        })
        .collect();
    let tags = config.cache_tag_header.as_ref().map_or_else(String::new, |name| {
        format!("<CacheTagConfig><HeaderName>{}</HeaderName></CacheTagConfig>", escaped(name))
    });
    format!(
        "<?xml version=\"1.0\"?>\n<Distribution xmlns=\"{XMLNS}\"><Id>{id}</Id><ARN>arn:aws:cloudfront::123456789012:distribution/{id}</ARN><Status>{}</Status><LastModifiedTime>{}</LastModifiedTime><InProgressInvalidationBatches>{in_progress}</InProgressInvalidationBatches><DomainName>{}.cloudfront.net</DomainName><ActiveTrustedSigners><Enabled>false</Enabled><Quantity>0</Quantity></ActiveTrustedSigners><DistributionConfig><CallerReference>{id}</CallerReference><Aliases><Quantity>0</Quantity></Aliases><DefaultRootObject>{}</DefaultRootObject><Origins><Quantity>{}</Quantity><Items>{origins}</Items></Origins><DefaultCacheBehavior>{}</DefaultCacheBehavior><CacheBehaviors><Quantity>{}</Quantity><Items>{}</Items></CacheBehaviors><CustomErrorResponses><Quantity>{}</Quantity><Items>{errors}</Items></CustomErrorResponses><Comment></Comment><PriceClass>PriceClass_All</PriceClass><Enabled>true</Enabled>{tags}</DistributionConfig></Distribution>",
        match config.is_deployed {
            true => "Deployed",
            false => "InProgress",
        },
        config.modified_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        id.to_lowercase(),
        escaped(&config.default_root_object),
        config.origins.len(),
        behaviour(0),
        behaviours.len(),
        behaviours.concat(),
        config.custom_errors.len(),
    )
}

fn origin_xml(index: usize, origin: &Origin) -> String {
    let website = matches!(origin.domain, Domain::Website | Domain::WebsiteDotted);
    // A website endpoint is no S3 origin to CloudFront, but a custom one over HTTP.
    let kind = match website {
        true => {
            "<CustomOriginConfig><HTTPPort>80</HTTPPort><HTTPSPort>443</HTTPSPort><OriginProtocolPolicy>http-only</OriginProtocolPolicy></CustomOriginConfig>"
        }
        false => "<S3OriginConfig><OriginAccessIdentity></OriginAccessIdentity></S3OriginConfig>",
    };
    format!(
        "<Origin><Id>origin-{index}</Id><DomainName>{}</DomainName><OriginPath>{}</OriginPath><CustomHeaders><Quantity>0</Quantity></CustomHeaders>{kind}<ConnectionAttempts>3</ConnectionAttempts><ConnectionTimeout>10</ConnectionTimeout></Origin>",
        escaped(&origin.domain_name()),
        escaped(&origin.path),
    )
}

fn now() -> String {
    let now = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
    now.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Returns the text of every element of a name, in document order.
///
/// Enough for what SDKs send: elements with text alone, no CDATA, no comments.
pub(crate) fn texts(xml: &str, name: &str) -> Vec<String> {
    let open = format!("<{name}>");
    let close = format!("</{name}>");
    xml.split(&open).skip(1).filter_map(|rest| Some(unescaped(rest.split_once(&close)?.0))).collect()
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let (entity, after) = after.split_once(';').unwrap_or((after, ""));
        let character = match entity {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match entity.strip_prefix("#x") {
                Some(digits) => u32::from_str_radix(digits, 16).ok(),
                None => entity.strip_prefix('#').and_then(|digits| digits.parse().ok()),
            }
            .and_then(char::from_u32),
        };
        plain.extend(character);
        rest = after;
    }
    plain.push_str(rest);
    plain
}
