//! CloudFront's API: distributions, invalidations and their quotas.

mod distribution;
mod invalidation;
mod quota;
mod xml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use s3s::Body;

pub use distribution::{CustomError, Distribution, Domain, IndexFunction, Origin, QueryStrings};
use invalidation::is_valid;
pub use invalidation::{Invalidation, ReferenceConflict};
pub use quota::Quota;
use quota::Recent;

use crate::clock::Clock;
use crate::edge::{Cache, Spread};
use crate::response::response;
use crate::xml::texts;

/// The distributions of the account, each with its edge cache.
pub(crate) struct CloudFront {
    clock: Clock,
    distributions: Mutex<BTreeMap<String, State>>,
    /// The counts of the account's quotas.
    recent: Mutex<Recent>,
}

/// One distribution.
pub(crate) struct State {
    pub(crate) config: Distribution,
    /// Increases with every change of the configuration.
    version: usize,
    pub(crate) cache: Cache,
    invalidations: Vec<Invalidation>,
    is_held: bool,
    /// How long an invalidation is in progress that is not held.
    takes: TimeDelta,
    /// How long a caller reference is remembered; None for ever.
    memory: Option<TimeDelta>,
    foreign_paths: usize,
    foreign_wildcards: usize,
    conflict: ReferenceConflict,
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

impl CloudFront {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, distributions: Mutex::default(), recent: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, State>> {
        self.distributions.lock().expect("no holder of this lock panics")
    }

    /// Runs `with` on a distribution that a test relies on.
    ///
    /// # Panics
    /// If there is no such distribution.
    pub(crate) fn open<T>(&self, id: &str, with: impl FnOnce(&mut State) -> T) -> T {
        let mut distributions = self.lock();
        match distributions.get_mut(id) {
            Some(state) => {
                state.catch_up(self.clock.now());
                with(state)
            }
            None => {
                // A panic must not poison the lock.
                drop(distributions);
                panic!("the test created no distribution `{id}`")
            }
        }
    }

    /// Creates a distribution, or replaces its configuration and empties its cache.
    pub(crate) fn create(&self, config: Distribution) {
        let mut distributions = self.lock();
        if let Some(state) = distributions.get_mut(&config.id) {
            state.config = config;
            state.cache.clear(&state.config);
            return;
        }
        let id = config.id.clone();
        let state = State {
            config,
            version: 1,
            cache: Cache::default(),
            invalidations: Vec::new(),
            is_held: false,
            takes: TimeDelta::zero(),
            memory: None,
            foreign_paths: 0,
            foreign_wildcards: 0,
            conflict: ReferenceConflict::default(),
        };
        distributions.insert(id, state);
    }

    /// Changes the configuration and keeps the cache.
    pub(crate) fn change(&self, config: Distribution) {
        let id = config.id.clone();
        self.open(&id, |state| {
            state.config = config;
            state.version += 1;
        });
    }

    /// Returns the accepted invalidations, the oldest first.
    pub(crate) fn invalidations(&self, id: &str) -> Vec<Invalidation> {
        self.open(id, |state| state.invalidations.clone())
    }

    /// Keeps the next invalidations in progress.
    pub(crate) fn hold(&self, id: &str) {
        self.open(id, |state| state.is_held = true);
    }

    /// Completes the invalidations in progress, and from now on each one immediately.
    pub(crate) fn complete(&self, id: &str) {
        self.open(id, |state| {
            state.is_held = false;
            for invalidation in &mut state.invalidations {
                invalidation.in_progress = false;
                invalidation.completes_at = None;
            }
        });
    }

    /// Sets how many paths and wildcards another client has in progress.
    pub(crate) fn occupy(&self, id: &str, paths: usize, wildcards: usize) {
        self.open(id, |state| {
            state.foreign_paths = paths;
            state.foreign_wildcards = wildcards;
        });
    }

    /// Deletes a distribution.
    pub(crate) fn delete(&self, id: &str) {
        self.lock().remove(id);
    }

    pub(crate) fn set_quota(&self, quota: Quota) {
        self.recent().quota = quota;
    }

    pub(crate) fn set_duration(&self, id: &str, takes: TimeDelta) {
        self.open(id, |state| state.takes = takes);
    }

    pub(crate) fn set_memory(&self, id: &str, memory: Option<TimeDelta>) {
        self.open(id, |state| state.memory = memory);
    }

    pub(crate) fn set_spread(&self, id: &str, spread: Spread) {
        self.open(id, |state| state.cache.spread = spread);
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn set_reference_conflict(&self, id: &str, conflict: ReferenceConflict) {
        self.open(id, |state| state.conflict = conflict);
    }

    /// Answers a request. `sequence` is the number of its call.
    pub(crate) fn answer(&self, parts: &Parts, body: &str, sequence: usize) -> Result<Response<Body>, Refusal> {
        let segments: Vec<&str> = parts.uri.path().split('/').skip(2).collect();
        let mut distributions = self.lock();
        if (&parts.method, segments.as_slice()) == (&Method::GET, &["distribution"]) {
            let configs: Vec<&Distribution> = distributions.values().map(|state| &state.config).collect();
            return Ok(response(200, "text/xml", xml::distribution_list(&configs)));
        }
        if let (&Method::GET, ["cache-policy", id]) = (&parts.method, segments.as_slice()) {
            return cache_policy(distributions.values().map(|state| &state.config), id);
        }
        if let (&Method::GET, ["origin-access-control", id]) = (&parts.method, segments.as_slice()) {
            return match distributions.get(*id).and_then(|state| state.config.signing) {
                Some(signing) => Ok(response(200, "text/xml", xml::origin_access_control(id, signing))),
                None => refuse(404, "NoSuchOriginAccessControl", "The origin access control does not exist."),
            };
        }
        let ["distribution", id, rest @ ..] = segments.as_slice() else {
            return refuse(501, "NotImplemented", format!("{} is not emulated", parts.uri));
        };
        let Some(distribution) = distributions.get_mut(*id) else {
            return refuse(404, "NoSuchDistribution", "The specified distribution does not exist.");
        };
        let now = self.clock.now();
        distribution.catch_up(now);
        match (&parts.method, rest) {
            (&Method::GET, []) => Ok(distribution.get()),
            (&Method::GET, ["config"]) => Ok(distribution.get_config()),
            (&Method::POST, ["invalidation"]) => {
                distribution.create_invalidation(body, sequence, now, &mut self.recent())
            }
            (&Method::GET, ["invalidation"]) => Ok(distribution.list_invalidations()),
            (&Method::GET, ["invalidation", id]) => distribution.get_invalidation(id),
            _ => refuse(501, "NotImplemented", format!("{} {} is not emulated", parts.method, parts.uri)),
        }
    }
}

/// Returns AWS's own cache policy, or one that some distribution has.
fn cache_policy<'a>(
    mut configs: impl Iterator<Item = &'a Distribution>,
    wanted: &str,
) -> Result<Response<Body>, Refusal> {
    if wanted == xml::CACHING_OPTIMIZED {
        return Ok(response(200, "text/xml", xml::cache_policy(wanted, "none")));
    }
    let behavior = configs.find_map(|config| match &config.query_strings {
        QueryStrings::Policy { id, behavior } if id == wanted => Some(*behavior),
        _ => None,
    });
    match behavior {
        Some(behavior) => Ok(response(200, "text/xml", xml::cache_policy(wanted, behavior))),
        None => refuse(404, "NoSuchCachePolicy", "The cache policy does not exist."),
    }
}

impl State {
    fn get(&self) -> Response<Body> {
        let in_progress = self.invalidations.iter().filter(|it| it.in_progress).count();
        self.with_etag(response(200, "text/xml", xml::distribution(&self.config, in_progress)))
    }

    fn get_config(&self) -> Response<Body> {
        self.with_etag(response(200, "text/xml", xml::distribution_config(&self.config)))
    }

    /// Adds the ETag of the configuration.
    fn with_etag(&self, mut response: Response<Body>) -> Response<Body> {
        let etag = format!("E{:013}", self.version);
        let etag = etag.parse().expect("letters and digits make a header value");
        response.headers_mut().insert("etag", etag);
        response
    }

    fn create_invalidation(
        &mut self,
        body: &str,
        sequence: usize,
        now: DateTime<Utc>,
        recent: &mut Recent,
    ) -> Result<Response<Body>, Refusal> {
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
        let is_remembered = |earlier: &&Invalidation| {
            earlier.caller_reference == reference && self.memory.is_none_or(|memory| now - earlier.created <= memory)
        };
        if let Some(earlier) = self.invalidations.iter().find(is_remembered) {
            return self.repeated(earlier, &items);
        }
        if !recent.has_room(&items, now, || self.has_room(&items)) {
            return refuse(
                400,
                "TooManyInvalidationsInProgress",
                "Processing your request will cause you to exceed the maximum number of in-progress wildcard invalidations or invalidation paths.",
            );
        }
        self.cache.invalidate(&self.config, &items, now);
        let id = format!("I{:013}", self.invalidations.len() + 1);
        let invalidation = Invalidation::new(id, reference, items, sequence, now);
        let invalidation = if self.is_held {
            Invalidation { in_progress: true, ..invalidation }
        } else {
            invalidation.completing_in(self.takes)
        };
        let answer = response(201, "text/xml", xml::invalidation(&invalidation));
        self.invalidations.push(invalidation);
        Ok(answer)
    }

    /// Answers a request with a caller reference that `earlier` has used.
    fn repeated(&self, earlier: &Invalidation, items: &[String]) -> Result<Response<Body>, Refusal> {
        let has_same_items = earlier.items.iter().collect::<BTreeSet<_>>() == items.iter().collect::<BTreeSet<_>>();
        match (self.conflict, has_same_items) {
            (ReferenceConflict::Documented | ReferenceConflict::InvalidArgument, true) => {
                Ok(response(201, "text/xml", xml::invalidation(earlier)))
            }
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
        }
    }

    /// Whether the invalidations in progress leave room for these items.
    fn has_room(&self, items: &[String]) -> bool {
        let in_progress = self.invalidations.iter().filter(|it| it.in_progress);
        let all = in_progress.flat_map(|it| &it.items).chain(items);
        quota::fit_in_progress(all, self.foreign_paths, self.foreign_wildcards)
    }

    /// Lets everything happen whose time has come.
    fn catch_up(&mut self, now: DateTime<Utc>) {
        self.cache.catch_up(&self.config, now);
        for invalidation in &mut self.invalidations {
            invalidation.in_progress &= invalidation.completes_at.is_none_or(|at| at > now);
        }
    }

    fn get_invalidation(&self, id: &str) -> Result<Response<Body>, Refusal> {
        match self.invalidations.iter().find(|it| it.id == id) {
            Some(invalidation) => Ok(response(200, "text/xml", xml::invalidation(invalidation))),
            None => refuse(404, "NoSuchInvalidation", "The specified invalidation does not exist."),
        }
    }

    fn list_invalidations(&self) -> Response<Body> {
        response(200, "text/xml", xml::invalidation_list(&self.invalidations))
    }
}
