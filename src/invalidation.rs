//! From stale keys to what CloudFront is told: paths, items, batches. Pure.
//!
//! A *key* becomes the *paths* under which viewers ask for it ([`paths`]), a path becomes one or
//! more *items* in CloudFront's own spelling, and the items are kept within a budget by the
//! wildcards that evict the fewest unchanged objects. [`batches`] then gives them the names under
//! which they are recorded and sent.

mod batch;
mod budget;
mod item;
mod path;

use std::collections::{BTreeMap, BTreeSet, HashSet};

pub use self::batch::{Batch, batches, reference};
pub use self::item::{InvalidItem, matches, validate};
pub use self::path::paths;

use self::budget::{Limits, Need, Spot};
use self::item::Spelling;

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
}

/// What the operator chose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
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

/// The keys of the live bucket, whole, by what happens to them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stale<'a> {
    /// Other bytes or other headers.
    pub changed: &'a [&'a str],
    pub new: &'a [&'a str],
    pub deleted: &'a [&'a str],
    /// The unchanged live keys: what a wildcard would evict in vain.
    pub kept: &'a [&'a str],
}

/// The items of one phase.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Items {
    /// Sorted, unique, encoded, and each of them [`valid`](validate).
    pub paths: Vec<String>,
    /// How many of them end in `*`.
    pub wildcards: usize,
    /// Unchanged live objects that the wildcards evict. An object counts by its own path: a
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
pub fn invalidation(
    distribution: &Distribution,
    stale: &Stale<'_>,
    options: &Options,
) -> Invalidation {
    let stale_paths = stale_paths(distribution, stale, options);
    let live = Live::new(distribution, stale.kept, &stale_paths);
    let fallbacks = stale_paths.each_ref().map(|paths| {
        let mut fallbacks = distribution.fallbacks.iter();
        fallbacks.find(|fallback| paths.contains(*fallback))
    });
    let spots = spots(&stale_paths, fallbacks, options.query_strings);
    let limits = Limits {
        items: options.max_items,
        wildcards: options.max_wildcards,
    };
    let chosen = budget::wildcards(&spots, &live.paths, limits);

    let items = |phase: Phase| {
        let prefixes = &chosen[phase as usize];
        let mut paths: BTreeSet<String> = (prefixes.iter())
            .map(|prefix| item::wildcard(prefix))
            .collect();
        for path in &stale_paths[phase as usize] {
            if !prefixes.iter().any(|prefix| path.starts_with(prefix)) {
                paths.extend(Spelling::of(path, options.query_strings).items);
            }
        }
        Items {
            wildcards: paths.iter().filter(|item| item.ends_with('*')).count(),
            collateral: live.under(prefixes).len(),
            paths: paths.into_iter().collect(),
        }
    };
    Invalidation {
        changed: items(Phase::Changed),
        deleted: items(Phase::Deleted),
        collateral: live.under(chosen.iter().flatten()).len(),
        fallback: fallbacks.into_iter().flatten().next().cloned(),
    }
}

/// The viewer paths that go stale, by phase.
fn stale_paths(
    distribution: &Distribution,
    stale: &Stale<'_>,
    options: &Options,
) -> [BTreeSet<String>; 2] {
    let paths_of = |key: &&str| paths(key, distribution, options.clean_urls);
    let mut changed: BTreeSet<String> = stale.changed.iter().flat_map(paths_of).collect();
    let deleted = stale.deleted.iter().flat_map(paths_of).collect();
    let new: HashSet<String> = stale.new.iter().flat_map(paths_of).collect();
    if distribution.caches_errors || options.invalidate_new {
        changed.extend(new);
    } else if !new.is_empty() {
        // Nobody holds an answer of a key that did not exist, but for an alias that another
        // object answered until now: a new `about.html` beside `about/index.html`.
        let taken_over = (stale.kept.iter().flat_map(paths_of)).filter(|path| new.contains(path));
        changed.extend(taken_over);
    }
    [changed, deleted]
}

/// The places in the trie of paths where something has to be covered, sorted and unique.
fn spots<'a>(
    stale_paths: &'a [BTreeSet<String>; 2],
    fallbacks: [Option<&String>; 2],
    query_strings: bool,
) -> Vec<Spot<'a>> {
    let mut spots: BTreeMap<&str, Spot<'_>> = BTreeMap::new();
    for phase in Phase::ALL {
        if fallbacks[phase as usize].is_some() {
            // Which paths it was served under nobody knows: only the root's wildcard has them all.
            let root = spots.entry("/").or_insert(Spot {
                at: "/",
                wildcard_bytes: 1,
                needs: [Need::Nothing; 2],
            });
            root.needs[phase as usize] = Need::Wildcard;
        }
        for path in &stale_paths[phase as usize] {
            let spelling = Spelling::of(path, query_strings);
            let (at, need) = if spelling.items.is_empty() {
                (&path[..spelling.wildcard_bytes], Need::Wildcard)
            } else {
                let wildcards = spelling
                    .items
                    .iter()
                    .filter(|item| item.ends_with('*'))
                    .count();
                let items = spelling.items.len();
                (path.as_str(), Need::Alone { items, wildcards })
            };
            let spot = spots.entry(at).or_insert(Spot {
                at,
                wildcard_bytes: spelling.wildcard_bytes.min(at.len()),
                needs: [Need::Nothing; 2],
            });
            let needed = &mut spot.needs[phase as usize];
            *needed = needed.and(need);
        }
    }
    spots.into_values().collect()
}

/// The unchanged live objects as the edge sees them, without those whose path is stale through
/// another key: these cannot be spared.
struct Live<'a> {
    /// Sorted.
    paths: Vec<String>,
    /// The key of the path at the same index.
    keys: Vec<&'a str>,
}

impl<'a> Live<'a> {
    fn new(
        distribution: &Distribution,
        kept: &[&'a str],
        stale_paths: &[BTreeSet<String>; 2],
    ) -> Self {
        let is_stale = |path: &String| stale_paths.iter().any(|paths| paths.contains(path));
        let mut live: Vec<(String, &str)> = kept
            .iter()
            .flat_map(|key| path::own_paths(key, distribution).map(move |path| (path, *key)))
            .filter(|(path, _)| !is_stale(path))
            .collect();
        live.sort_unstable();
        live.dedup();
        let (paths, keys) = live.into_iter().unzip();
        Self { paths, keys }
    }

    /// The keys whose own path starts with one of `prefixes`.
    fn under<'p>(&self, prefixes: impl IntoIterator<Item = &'p &'p str>) -> HashSet<&'a str> {
        (prefixes.into_iter())
            .flat_map(|prefix| &self.keys[budget::range(&self.paths, prefix)])
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests;
