//! An edge cache in front of a distribution's origins, as a viewer meets it.
//!
//! It never forgets on its own: what it may cache it keeps until an item of an accepted
//! invalidation matches it, so that a missed path shows as a stale page. Its rules come
//! from CloudFront's documentation, not from the code under test:
//!
//! - The key is the viewer's path as sent, with the query string where the distribution
//!   says so. A character that browsers may or may not escape (RFC 1738's unsafe ones,
//!   except `~`) counts the same raw and escaped.
//! - An item matches the whole key, case sensitive; a trailing `*` matches any rest.
//!   An item with a raw unsafe character, or with `%7E`, is accepted and matches nothing.
//! - `/`, `/index.html`, `/docs/`, `/docs` and `/docs/index.html` are five entries.
//! - A tag is one that the answer had in the configured header when it was cached; later
//!   changes of object or configuration add none. What is no object's own answer has none.
//! - Errors are cached only where a custom error response keeps that code for more than
//!   10 s (the default), and then, like all else, until invalidated. So are error pages,
//!   whatever the status that they are served with.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::Response;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use s3s::Body;
use tokio::net::TcpListener;

use crate::bucket::Buckets;
use crate::cloudfront::{Distribution, Origin};
use crate::faults::matches_pattern;
use crate::{Cloud, Object, server};

/// RFC 1738's unsafe characters in a path but `~`, and `%`, which begins an escape.
const UNSAFE: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'`');

/// The error caching minimum TTL that a distribution has without configuration.
const DEFAULT_ERROR_TTL_SECONDS: u64 = 10;

/// "CloudFront processes up to 50 tags per cached object" (invalidation-specifying-tags).
const MAX_TAGS: usize = 50;

/// The edge of one distribution.
#[derive(Clone)]
pub struct Edge {
    cloud: Cloud,
    distribution: String,
}

/// What a viewer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeAnswer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
    pub from_cache: bool,
}

impl Edge {
    pub(crate) fn of(cloud: Cloud, distribution: &str) -> Self {
        cloud.inner.cloudfront.open(distribution, |_| ());
        Self { cloud, distribution: distribution.to_owned() }
    }

    /// Answers a viewer's request for a path with or without a query string,
    /// such as `/docs/a%20b.html?x=1`.
    pub fn get(&self, path_and_query: &str) -> EdgeAnswer {
        let inner = &self.cloud.inner;
        // One lock over look-up, fetch and storing: an invalidation falls before or after.
        inner.cloudfront.open(&self.distribution, |state| {
            let key = cache_key(&state.config, path_and_query);
            if let Some(entry) = state.cache.entries.get(&key) {
                let mut answer = entry.answer.clone();
                answer.from_cache = true;
                return answer;
            }
            let (answer, is_found) = fetch(&state.config, &inner.buckets, path_and_query);
            if is_cacheable(&state.config, &answer, is_found) {
                let tags = match is_found {
                    true => Tags::read(&state.config, &answer),
                    false => Tags::default(),
                };
                let entry = Entry { answer: answer.clone(), tags };
                state.cache.entries.insert(key, entry);
            }
            answer
        })
    }

    /// Asks for every path, so that what may be cached is.
    pub fn warm_all<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) {
        for path in paths {
            self.get(path.as_ref());
        }
    }

    /// Returns what is cached, by cache key (the path as CloudFront sees it).
    pub fn cached(&self) -> BTreeMap<String, EdgeAnswer> {
        let cloudfront = &self.cloud.inner.cloudfront;
        cloudfront.open(&self.distribution, |state| {
            let entries = state.cache.entries.iter();
            entries.map(|(key, entry)| (key.clone(), entry.answer.clone())).collect()
        })
    }

    /// Returns the cached paths that a cold cache would now answer otherwise.
    pub fn stale(&self) -> Vec<String> {
        let inner = &self.cloud.inner;
        inner.cloudfront.open(&self.distribution, |state| {
            let entries = state.cache.entries.iter();
            entries
                .filter(|(path, cached)| fetch(&state.config, &inner.buckets, path).0 != cached.answer)
                .map(|(path, _)| path.clone())
                .collect()
        })
    }

    /// Empties the cache, as if it had been cold.
    pub fn clear(&self) {
        let cloudfront = &self.cloud.inner.cloudfront;
        cloudfront.open(&self.distribution, |state| state.cache.entries.clear());
    }

    /// Serves the site over HTTP on a free port of the loopback interface, as long as
    /// the runtime lives, and returns its address, `http://127.0.0.1:PORT`.
    pub async fn serve(&self) -> String {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface has a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        let edge = self.clone();
        tokio::spawn(server::accept(socket, move |request| {
            let answer = edge.get(request.uri().path_and_query().map_or("/", |it| it.as_str()));
            async move { Ok(answer.into_response()) }
        }));
        format!("http://{address}")
    }
}

impl EdgeAnswer {
    fn into_response(self) -> Response<Body> {
        let cache = match (self.from_cache, self.status) {
            (true, _) => "Hit from cloudfront",
            (false, 200) => "Miss from cloudfront",
            (false, _) => "Error from cloudfront",
        };
        let mut response = Response::builder().status(self.status).header("x-cache", cache);
        for (name, value) in &self.headers {
            response = response.header(name, value);
        }
        response.body(Body::from(self.body)).expect("headers that came over HTTP are valid")
    }
}

/// What one distribution has cached.
#[derive(Default)]
pub(crate) struct Cache {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    answer: EdgeAnswer,
    tags: Tags,
}

/// The tags that an answer had when it was cached, by the configuration of then.
#[derive(Default)]
struct Tags {
    /// The header that they were read from, in lower case; none where no tags were read.
    header: Option<String>,
    names: Vec<String>,
}

impl Tags {
    fn read(config: &Distribution, answer: &EdgeAnswer) -> Self {
        let header = config.cache_tag_header.as_ref().map(|it| it.to_lowercase());
        let names = header.as_ref().and_then(|name| answer.headers.get(name));
        let names = names.into_iter().flat_map(|names| names.split(','));
        Self { names: names.take(MAX_TAGS).map(|name| name.trim().to_ascii_lowercase()).collect(), header }
    }

    /// Whether an item means these: another header since then has made them unknown.
    fn have(&self, config: &Distribution, wanted: &str) -> bool {
        let header = config.cache_tag_header.as_ref().map(|it| it.to_lowercase());
        header.is_some() && header == self.header && self.names.contains(&wanted.to_ascii_lowercase())
    }
}

impl Cache {
    /// Drops every entry that an item matches.
    pub(crate) fn invalidate(&mut self, config: &Distribution, items: &[String]) {
        self.entries.retain(|key, entry| {
            !items.iter().any(|item| match item.strip_prefix('#') {
                Some(tag) => entry.tags.have(config, tag),
                None => item_matches(item, key),
            })
        });
    }
}

/// Tells whether an invalidation item names a cache key.
fn item_matches(item: &str, key: &str) -> bool {
    let escapes_tilde = item.to_ascii_uppercase().contains("%7E");
    if escapes_tilde || escaped(item) != item {
        return false;
    }
    match item.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => key == item,
    }
}

/// Escapes what browsers may leave raw. Escapes that are there stay as they are.
fn escaped(path: &str) -> String {
    utf8_percent_encode(path, &UNSAFE).to_string()
}

fn cache_key(config: &Distribution, path_and_query: &str) -> String {
    let (path, query) = split(path_and_query);
    match query.filter(|_| config.cache_query_strings) {
        Some(query) => format!("{}?{query}", escaped(path)),
        None => escaped(path),
    }
}

fn split(path_and_query: &str) -> (&str, Option<&str>) {
    match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    }
}

/// Asks the origin, and for an error the error page; says which it was.
fn fetch(config: &Distribution, buckets: &Buckets, path_and_query: &str) -> (EdgeAnswer, bool) {
    let (path, _) = split(path_and_query);
    if let Some(object) = find(config, buckets, path) {
        return (answer(200, object), true);
    }
    let custom = config.custom_errors.iter().find(|error| error.code == 404);
    let page = custom.and_then(|error| error.page.as_ref());
    let error = match page {
        Some((page, status)) => match find(config, buckets, page) {
            Some(object) => answer(*status, object),
            None => not_found(),
        },
        None => not_found(),
    };
    (error, false)
}

fn not_found() -> EdgeAnswer {
    EdgeAnswer {
        status: 404,
        headers: BTreeMap::from([("content-type".to_owned(), "application/xml".to_owned())]),
        body: Bytes::from_static(b"<Error><Code>NoSuchKey</Code></Error>"),
        from_cache: false,
    }
}

fn answer(status: u16, object: Object) -> EdgeAnswer {
    let kept = object.headers;
    let mut headers: BTreeMap<String, String> = [
        ("content-type", kept.content_type),
        ("cache-control", kept.cache_control),
        ("content-encoding", kept.content_encoding),
        ("content-language", kept.content_language),
        ("content-disposition", kept.content_disposition),
        ("etag", Some(object.etag)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    for (name, value) in kept.metadata {
        headers.insert(format!("x-amz-meta-{}", name.to_lowercase()), value);
    }
    EdgeAnswer { status, headers, body: object.body, from_cache: false }
}

/// Finds the object behind a viewer's path.
fn find(config: &Distribution, buckets: &Buckets, path: &str) -> Option<Object> {
    let origin = origin_of(config, path)?;
    let bucket = buckets.get(&origin.bucket)?;
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let name = path.strip_prefix('/').unwrap_or(&path);
    let folder = origin.path.trim_matches('/');
    let look_up = |name: &str| match folder {
        "" => bucket.object(name),
        folder => bucket.object(&format!("{folder}/{name}")),
    };
    if name.is_empty() && !config.default_root_object.is_empty() {
        return look_up(&config.default_root_object);
    }
    let index = || match name.is_empty() || name.ends_with('/') {
        true => look_up(&format!("{name}index.html")),
        false => look_up(&format!("{name}/index.html")),
    };
    look_up(name)
        .or_else(|| config.index_documents.then(index)?)
        .or_else(|| config.clean_urls.then(|| look_up(&format!("{name}.html")))?)
}

fn origin_of<'a>(config: &'a Distribution, path: &str) -> Option<&'a Origin> {
    let matching = config
        .origins
        .iter()
        .find(|origin| (origin.path_pattern.as_ref()).is_some_and(|pattern| matches_pattern(pattern, path)));
    matching.or(config.origins.first())
}

fn is_cacheable(config: &Distribution, answer: &EdgeAnswer, is_found: bool) -> bool {
    if !is_found {
        let custom = config.custom_errors.iter().find(|error| error.code == 404);
        let ttl_seconds = custom.map_or(DEFAULT_ERROR_TTL_SECONDS, |error| error.min_ttl_seconds);
        return ttl_seconds > DEFAULT_ERROR_TTL_SECONDS;
    }
    let cache_control = answer.headers.get("cache-control");
    let forbids = |directive: &str| ["no-store", "private"].contains(&directive.trim());
    !cache_control.is_some_and(|value| value.split(',').any(forbids))
}
