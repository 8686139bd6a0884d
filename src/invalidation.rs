//! From stale keys to what CloudFront is told: paths, items, batches. Pure.
//!
//! A *key* becomes the *paths* under which viewers ask for it ([`paths`]), a path becomes one or
//! more *items* in CloudFront's own spelling, and the items are kept within a budget by the
//! wildcards that evict the fewest unchanged objects, or by cache [`tags`](Tags) where these evict
//! fewer still. [`batches`] then gives them the names under which they are recorded and sent.

mod batch;
mod budget;
mod item;
mod path;
mod stale_keys;
mod survey;
mod tag;

pub use self::batch::{Batch, batches, reference};
pub use self::item::{InvalidItem, is_tag, matches, validate};
pub use self::path::paths;
pub use self::stale_keys::StaleKeys;
pub use self::tag::Tags;

use self::survey::Survey;

/// What CloudFront does in front of the live bucket, as far as paths are concerned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Distribution {
    pub id: String,
    /// Each `""` or `/prod`, without a trailing slash; several when several origins are the live
    /// bucket. A distribution without any has no paths at all, so there must be one.
    pub origin_paths: Vec<String>,
    /// What `/` answers, relative to the origin path and without a leading slash.
    pub default_root_object: Option<String>,
    /// Whether some error answer is cached for over 10 seconds, so that a key that is new may
    /// have been asked for, and its absence remembered.
    pub caches_errors: bool,
    /// The viewer paths, decoded, of pages that are served with a success status in place of any
    /// key that is missing, and are remembered there for over 10 seconds: a single-page
    /// application's `/index.html`.
    pub fallbacks: Vec<String>,
    /// Where it takes cache tags.
    pub tags: Option<Tagging>,
}

#[cfg(test)]
impl Distribution {
    /// One that shows a whole bucket as it is.
    pub fn plain() -> Self {
        Self {
            id: "E1".to_owned(),
            origin_paths: vec![String::new()],
            default_root_object: None,
            caches_errors: false,
            fallbacks: Vec::new(),
            tags: None,
        }
    }
}

/// How a distribution learns the cache tags of what it caches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tagging {
    /// The user metadata that it reads them from: in lower case, without `x-amz-meta-`.
    pub metadata: String,
    /// From when on it has cached nothing without its tags, in epoch seconds; none while its
    /// configuration is still on its way to the edge.
    pub since: Option<i64>,
    /// The version of the configuration that says so.
    pub version: String,
}

/// What the operator chose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidationRules {
    /// Items of one deployment on one distribution, both phases together.
    pub max_items: usize,
    /// Wildcards among them. CloudFront has room for 15 at a time.
    pub max_wildcards: usize,
    /// Whether the site answers `/about` with `about.html`.
    pub clean_urls: bool,
    /// Whether new keys are stale even where errors are not cached for long.
    pub invalidate_new: bool,
    /// Whether query strings are part of the cache key, so that each path has unknown variants.
    pub query_strings: bool,
}

/// The items of one phase.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Items {
    /// Sorted, unique, encoded, and each of them [`valid`](validate): paths, wildcards and tags.
    pub paths: Vec<String>,
    /// How many of them end in `*`.
    pub wildcards: usize,
    /// Unchanged live objects that wildcards and tags evict. An object counts by its own path: a
    /// wildcard that matches any of its aliases matches that path too, for it is the longest.
    pub collateral: usize,
}

/// Everything that one deployment invalidates on one distribution.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Invalidation {
    /// Sent after the puts.
    pub changed: Items,
    /// Sent after the deletes.
    pub deleted: Items,
    /// Unchanged live objects that either phase evicts, each counted once.
    pub collateral: usize,
    /// A fallback that went stale, and with it every path that no key answers: all is evicted.
    pub fallback: Option<String>,
}

/// When an item is sent. A path must be matched by an item of the phase that makes it stale: an
/// earlier item leaves the edge free to cache the old object anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Changed,
    Deleted,
}

impl Phase {
    const ALL: [Self; 2] = [Self::Changed, Self::Deleted];
}

/// Finds the items that cover every stale path of `distribution` within the budget, evicting as
/// few unchanged objects as possible; among equals, with the fewest wildcards, then items.
///
/// Neither the order of the keys nor repetition changes the answer. Coverage goes before the
/// budget: each phase with stale paths gets its one item, and its one wildcard where it cannot
/// do without, even if `max_items` or `max_wildcards` is less than that. Where several origin
/// paths show an object at several places, the planner counts it once for each.
pub fn invalidation(distribution: &Distribution, stale: &StaleKeys<'_>, rules: &InvalidationRules) -> Invalidation {
    let survey = Survey::new(distribution, stale, rules);
    survey.cover(&survey.untagged())
}

/// The same, with tags among the items where they evict fewer unchanged objects than wildcards
/// alone; `tags` is only asked for where these evict any.
pub fn tagged_invalidation<'a>(
    distribution: &'a Distribution,
    stale: &StaleKeys<'a>,
    rules: &InvalidationRules,
    tags: impl FnOnce() -> Tags<'a>,
) -> Invalidation {
    let survey = Survey::new(distribution, stale, rules);
    let plain = survey.cover(&survey.untagged());
    // A fallback takes everything with it, tagged or not.
    if plain.collateral == 0 || plain.fallback.is_some() {
        return plain;
    }
    tag::improve(plain, &survey, &tags())
}

#[cfg(test)]
mod tests;
