//! An edge cache in front of a distribution's origins, as a viewer sees it.
//!
//! It never expires an entry: what it may cache it keeps until an accepted invalidation matches it, so a missing
//! invalidation shows as a stale page. The rules come from CloudFront's documentation, not from the code under test:
//!
//! - The cache key is the viewer's path as sent, plus the query string if the distribution says so. A character that
//!   browsers may or may not escape (the unsafe characters of RFC 1738, except `~`) counts the same raw and escaped.
//! - An item matches the whole key, case-sensitively. A trailing `*` matches any rest. An item with a raw unsafe
//!   character, or with `%7E`, is accepted and matches nothing.
//! - `/`, `/index.html`, `/docs/`, `/docs` and `/docs/index.html` are five entries, unless a function maps them to
//!   fewer before the cache is asked ([`IndexFunction`](crate::IndexFunction), or the real ones as [`EdgeFunctions`]).
//! - A tag invalidates the answers that had it in the configured header when they were cached. Later changes of the
//!   object or the configuration add no tag. Error pages have no tags.
//! - Errors are cached only if a custom error response keeps their code for longer than 10 s, the default. They then
//!   stay until they are invalidated, like everything else. The same holds for error pages, whatever their status.
//! - Behind the edge locations is a regional tier, which also caches. A request that misses both begins with a read of
//!   the origin and ends, possibly much later, when the answer is stored. An invalidation in between voids it
//!   ([`Spread`]).

mod cache;
mod functions;
mod origin;

use std::collections::BTreeMap;
use std::str::FromStr as _;

use bytes::Bytes;
use hyper::Response;
use hyper::header::{HeaderName, HeaderValue};
use s3s::Body;

pub(crate) use cache::Cache;
pub use cache::Spread;
use cache::{Reached, cache_key, is_cacheable};
use functions::Outcome;
pub use functions::{EdgeFunctions, Spelling};
use origin::fetch;

use crate::{Cloud, Distribution, server};

/// One edge location of a distribution, whose answers viewers get.
#[derive(Clone)]
pub struct Edge {
    cloud: Cloud,
    distribution: String,
    location: u8,
    host: String,
}

/// A viewer's request that has got as far as the caches and the origin know the answer.
#[derive(Debug)]
pub enum Begun {
    /// The edge location had the answer, or a function has given it.
    Hit(EdgeAnswer),
    /// The answer is on its way from the regional tier or the origin.
    Miss(Fetch),
}

/// An answer that is on its way into the caches.
#[derive(Debug)]
pub struct Fetch {
    key: String,
    viewers: String,
    answer: EdgeAnswer,
    is_found: bool,
    is_cacheable: bool,
    begun: Reached,
}

/// The answer to a viewer.
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
        let host = format!("{}.cloudfront.net", distribution.to_lowercase());
        Self { cloud, distribution: distribution.to_owned(), location: 0, host }
    }

    /// Returns the same location for viewers who ask by this host name.
    #[must_use]
    pub fn on_host(&self, host: &str) -> Self {
        Self { host: host.to_owned(), ..self.clone() }
    }

    /// Returns another edge location of the same distribution.
    #[must_use]
    pub fn at(&self, location: u8) -> Self {
        Self { location, ..self.clone() }
    }

    /// Answers a viewer's request for a path with an optional query string, such as `/docs/a%20b.html?x=1`.
    pub fn get(&self, path_and_query: &str) -> EdgeAnswer {
        match self.begin(path_and_query) {
            Begun::Hit(answer) => answer,
            Begun::Miss(fetch) => self.store(fetch),
        }
    }

    /// Looks a viewer's request up, and on a miss reads the answer that will be [stored](Self::store).
    pub fn begin(&self, path_and_query: &str) -> Begun {
        let inner = &self.cloud.inner;
        inner.cloudfront.open(&self.distribution, |state| {
            let viewers = path_and_query.to_owned();
            let mapped = state.config.functions.as_ref().map(|it| it.on_request(&self.host, path_and_query));
            let path_and_query = match &mapped {
                Some(Outcome::Answers(answer)) => return Begun::Hit(answer.clone()),
                Some(Outcome::Continues(path)) => path,
                None => path_and_query,
            };
            let key = cache_key(&state.config, path_and_query);
            if let Some(answer) = state.cache.get(self.location, &key) {
                let answer = self.answered(&state.config, &viewers, answer);
                return Begun::Hit(EdgeAnswer { from_cache: true, ..answer });
            }
            let begun = state.cache.reached();
            let (answer, is_found) = match state.cache.get_regional(&key) {
                Some(cached) => cached,
                None => fetch(&state.config, &inner.buckets, path_and_query),
            };
            let is_cacheable = is_cacheable(&state.config, &answer, is_found);
            Begun::Miss(Fetch { key, viewers, answer, is_found, is_cacheable, begun })
        })
    }

    /// Stores an answer in the caches, unless it may not be cached or an invalidation has voided it, and answers the
    /// viewer.
    pub fn store(&self, fetch: Fetch) -> EdgeAnswer {
        let Fetch { key, viewers, answer, is_found, is_cacheable, begun } = fetch;
        self.cloud.inner.cloudfront.open(&self.distribution, |state| {
            if is_cacheable {
                let slot = (self.location, key);
                state.cache.store(&state.config, slot, (&viewers, &answer), is_found, begun);
            }
            self.answered(&state.config, &viewers, answer)
        })
    }

    /// Returns an answer as the viewer gets it, after the function on viewer responses.
    fn answered(&self, config: &Distribution, path_and_query: &str, answer: EdgeAnswer) -> EdgeAnswer {
        match &config.functions {
            Some(functions) => functions.on_response(&self.host, path_and_query, answer),
            None => answer,
        }
    }

    /// Requests every path, so that the answers that may be cached are.
    pub fn warm_all<P: AsRef<str>>(&self, paths: impl IntoIterator<Item = P>) {
        for path in paths {
            self.get(path.as_ref());
        }
    }

    /// Returns the location's cached answers by cache key, which is the path as CloudFront sees it.
    pub fn cached(&self) -> BTreeMap<String, EdgeAnswer> {
        let cloudfront = &self.cloud.inner.cloudfront;
        cloudfront.open(&self.distribution, |state| {
            let answers = state.cache.answers_at(self.location);
            answers.map(|(key, answer)| (key.clone(), answer.clone())).collect()
        })
    }

    pub fn distribution(&self) -> &str {
        &self.distribution
    }

    /// Returns the paths that any cache of the distribution answers differently from a cold one.
    pub fn stale(&self) -> Vec<String> {
        self.stale_answers().into_keys().collect()
    }

    /// Returns these paths with the cached answer and that of a cold cache.
    pub fn stale_answers(&self) -> BTreeMap<String, [EdgeAnswer; 2]> {
        let inner = &self.cloud.inner;
        inner.cloudfront.open(&self.distribution, |state| {
            let answers = state.cache.answers();
            answers
                .map(|(path, cached)| (path, [cached.clone(), fetch(&state.config, &inner.buckets, path).0]))
                .filter(|(_, [cached, fresh])| cached != fresh)
                .map(|(path, answers)| (path.clone(), answers))
                .collect()
        })
    }

    /// Empties all caches of the distribution.
    pub fn clear(&self) {
        self.cloud.inner.cloudfront.open(&self.distribution, |state| state.cache.clear(&state.config));
    }

    /// Serves the site over HTTP on a free port of the loopback interface, as long as the runtime lives, and returns
    /// its address, `http://127.0.0.1:PORT`.
    pub async fn serve(&self) -> String {
        let (socket, address) = server::bind().await;
        let edge = self.clone();
        tokio::spawn(server::accept(socket, move |request| {
            let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
            let host = host.split(':').next().unwrap_or_default();
            let edge = if host.is_empty() { edge.clone() } else { edge.on_host(host) };
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
            // A test may store headers that HTTP cannot carry.
            if let (Ok(name), Ok(value)) = (HeaderName::from_str(name), HeaderValue::from_bytes(value.as_bytes())) {
                response = response.header(name, value);
            }
        }
        response.body(Body::from(self.body)).expect("the status of an error page is valid")
    }
}
