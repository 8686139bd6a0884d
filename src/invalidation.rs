//! Decides what CloudFront has to invalidate when keys go stale. These modules do no I/O.
//!
//! The steps, in order:
//!
//! 1. [`paths`] lists the URL paths under which viewers ask for a key.
//! 2. `item` spells each path as CloudFront expects it. The *exact* items of a path name that path and nothing else:
//!    usually one item, several where viewers can spell the path in several ways, and none where CloudFront cannot name
//!    the path.
//! 3. `inventory` collects what a distribution may have cached: the stale paths, by phase, and the unchanged objects.
//! 4. `wildcards` chooses the wildcards that keep the items within the budget and evict the fewest unchanged objects.
//!    The exact items of the remaining stale paths complete the invalidation.
//! 5. [`Tags`] take the place of wildcards where they evict fewer unchanged objects.
//! 6. [`batches`] splits the items into requests and names them, so that each can be recorded before it is sent.
//!
//! One law holds throughout: an item of the right phase matches every stale path, whatever the budget.

mod batch;
mod chosen_tags;
mod distribution;
mod inventory;
mod item;
mod live_objects;
mod live_paths;
mod path;
mod stale_keys;
mod stale_path;
mod tags;
mod target;
mod wildcards;

pub use self::batch::{Batch, References, batches};
pub use self::distribution::{Distribution, Folders, Origin, Tagging, fingerprint};
pub use self::item::{InvalidItem, is_tag, matches, validate};
pub use self::path::paths;
pub use self::stale_keys::StaleKeys;
pub use self::tags::Tags;

use self::inventory::Inventory;
use self::item::Spelling;

/// The operator's settings for invalidations.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InvalidationRules<'a> {
    /// The most items of one deployment on one distribution, both phases together.
    pub max_items: usize,
    /// The most wildcards among them. CloudFront accepts one a second, or has room for 15 at a time.
    pub max_wildcards: usize,
    /// Whether the site answers `/about` with `about.html`.
    pub clean_urls: bool,
    /// The name of the files that answer for their folders.
    pub index_document: &'a str,
}

impl Default for InvalidationRules<'_> {
    /// Returns the rules of a stack that sets none.
    fn default() -> Self {
        Self { max_items: 200, max_wildcards: MAX_WILDCARDS, clean_urls: false, index_document: "index.html" }
    }
}

/// How many wildcards one deployment sends to one distribution. CloudFront takes 15 in progress; the rest is left to
/// the site's owner.
const MAX_WILDCARDS: usize = 10;

/// The items of one phase.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Items {
    /// Paths, wildcards and tags: sorted, unique, encoded and [valid](validate).
    pub list: Vec<String>,
    /// How many of them end in `*`.
    pub wildcards: usize,
    /// How many unchanged live objects the wildcards and tags evict.
    ///
    /// An object counts if its own path is evicted. Its aliases are prefixes of that path, so a wildcard that matches
    /// an alias matches the path too.
    pub collateral: usize,
}

/// Everything that one deployment invalidates on one distribution.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Invalidation {
    /// Sent after the writes of assets and pages.
    pub first: Items,
    /// Sent after the writes of entry points and after the deletes.
    pub last: Items,
    /// How many unchanged live objects either phase evicts, each counted once.
    pub collateral: usize,
    /// A fallback page that went stale. The distribution may have cached it under any path that no key answers, so
    /// everything is evicted.
    pub fallback: Option<String>,
}

/// When an item is sent.
///
/// A stale path must be matched by an item of the phase that makes it stale: after an earlier item, the edge may cache
/// the old object again.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    /// After the writes of assets and pages.
    First,
    /// After the writes of entry points and after the deletes.
    Last,
}

/// A value for each phase, indexed by `phase as usize`.
type ByPhase<T> = [T; 2];

impl Phase {
    const ALL: ByPhase<Self> = [Self::First, Self::Last];

    fn other(self) -> Self {
        match self {
            Self::First => Self::Last,
            Self::Last => Self::First,
        }
    }
}

/// Returns the items that cover every stale path of `distribution` within the budget.
///
/// They evict as few unchanged objects as possible; among equals, they are the ones with the fewest wildcards, then
/// with the fewest items. Neither the order of the keys nor repetition changes the answer. Where several origin paths
/// show an object at several places, the planner counts it once for each.
///
/// Coverage goes before the budget: each phase with stale paths gets one item, and one wildcard if it needs one, even
/// where `max_items` or `max_wildcards` is lower.
pub fn invalidation(distribution: &Distribution, stale: &StaleKeys<'_>, rules: &InvalidationRules<'_>) -> Invalidation {
    let inventory = Inventory::new(distribution, stale, rules);
    inventory.cheapest_invalidation(&inventory.no_tags())
}

/// Returns the items that evict everything under a live prefix and nothing beside it, whatever the budget.
///
/// They are a wildcard of its folder, and the exact items of the paths outside that show the folder's index document.
/// [`invalidation`] may merge both, as `/previews/a*`, and so evict `/previews/ab/` too.
pub fn folder_alone(distribution: &Distribution, live_prefix: &str) -> Items {
    let spelling = |path: &str| Spelling::of(path, distribution.query_strings);
    let folders = path::folders(live_prefix, distribution);
    let wildcards: Vec<String> =
        folders.iter().map(|folder| item::wildcard(&folder[..spelling(folder).wildcard_bytes])).collect();
    let outside = path::outer_aliases(live_prefix, distribution);
    let mut list: Vec<String> = outside.iter().flat_map(|path| spelling(path).items).chain(wildcards.clone()).collect();
    list.sort_unstable();
    list.dedup();
    list.retain(|item| !wildcards.iter().any(|wildcard| wildcard != item && matches(wildcard, item)));
    Items { wildcards: list.iter().filter(|item| item.ends_with('*')).count(), collateral: 0, list }
}

/// Returns [`invalidation`], or one with tags if it evicts fewer unchanged objects.
///
/// `tags` is called only where the invalidation without tags evicts any.
pub fn tagged_invalidation<'k>(
    distribution: &Distribution,
    stale: &StaleKeys<'_>,
    rules: &InvalidationRules<'_>,
    tags: impl FnOnce() -> Tags<'k>,
) -> Invalidation {
    let inventory = Inventory::new(distribution, stale, rules);
    let untagged = inventory.cheapest_invalidation(&inventory.no_tags());
    // A stale fallback evicts everything, tagged or not.
    if untagged.collateral == 0 || untagged.fallback.is_some() {
        return untagged;
    }
    tags::improve(untagged, &inventory, &tags())
}

#[cfg(test)]
mod tests;
