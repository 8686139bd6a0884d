//! What one distribution's caches may hold: the paths to evict, and the objects to spare.

use std::collections::HashSet;

use super::budget::{self, Budget, LivePaths, Need, Spot};
use super::item::{self, Spelling};
use super::{Distribution, Invalidation, InvalidationRules, Items, Phase, StaleKeys, path, paths};

/// Everything that is planned from.
pub(super) struct Survey<'a> {
    /// By [`Phase`]; sorted by path, unique.
    pub(super) stale: [Vec<StalePath<'a>>; 2],
    pub(super) live: Live<'a>,
    pub(super) rules: InvalidationRules,
    /// By [`Phase`]: the fallback that goes stale in it.
    fallbacks: [Option<&'a String>; 2],
}

/// A viewer path that goes stale.
pub(super) struct StalePath<'a> {
    /// Decoded.
    pub(super) path: String,
    /// The one key whose object every cached copy is of; none where that is not certain.
    pub(super) of: Option<&'a str>,
    pub(super) need: Need,
    wildcard_bytes: usize,
}

/// What tags take care of, so that the budget has to provide for the rest alone.
pub(super) struct Tagged {
    /// By [`Phase`]: the items, and for each stale path whether one of them covers it.
    pub(super) items: [Vec<String>; 2],
    pub(super) covered: [Vec<bool>; 2],
    /// By [`Phase`], for each of the live keys.
    pub(super) evicted: [Vec<bool>; 2],
}

impl Tagged {
    /// How many paths are left to the planner.
    pub(super) fn left(&self) -> usize {
        let covered = self.covered.iter().flatten();
        covered.filter(|is_covered| !**is_covered).count()
    }

    /// How many objects the tags evict by themselves.
    pub(super) fn collateral(&self) -> usize {
        let [changed, deleted] = &self.evicted;
        let evicted = changed.iter().zip(deleted);
        evicted.filter(|(changed, deleted)| **changed || **deleted).count()
    }
}

impl<'a> Survey<'a> {
    pub(super) fn new(distribution: &'a Distribution, stale: &StaleKeys<'a>, rules: &InvalidationRules) -> Self {
        let stale_paths = stale_paths(distribution, stale, rules);
        let live = Live::new(distribution, &stale.kept, &stale_paths);
        let fallbacks = stale_paths.each_ref().map(|paths| {
            distribution.fallbacks.iter().find(|fallback| {
                let found = paths.binary_search_by(|path| path.path.as_str().cmp(fallback));
                found.is_ok()
            })
        });
        Self { stale: stale_paths, live, rules: *rules, fallbacks }
    }

    /// No tag at all.
    pub(super) fn untagged(&self) -> Tagged {
        Tagged {
            items: Default::default(),
            covered: self.stale.each_ref().map(|paths| vec![false; paths.len()]),
            evicted: [(); 2].map(|()| vec![false; self.live.keys.len()]),
        }
    }

    /// Covers what `tagged` leaves, within what it leaves of the budget.
    pub(super) fn cover(&self, tagged: &Tagged) -> Invalidation {
        let tags: usize = tagged.items.iter().map(Vec::len).sum();
        let limits = Budget { items: self.rules.max_items.saturating_sub(tags), wildcards: self.rules.max_wildcards };
        let field = self.live.field(|key| {
            let evicted = tagged.evicted.iter();
            evicted.into_iter().any(|evicted| evicted[key])
        });
        let chosen = budget::wildcards(&self.spots(tagged), &field, limits);

        let items = |phase: Phase| {
            let prefixes = &chosen[phase as usize];
            let mut items: Vec<String> = (prefixes.iter())
                .map(|prefix| item::wildcard(prefix))
                .chain(tagged.items[phase as usize].iter().cloned())
                .collect();
            let mut under = prefixes.iter().peekable();
            for stale in self.remaining(tagged, phase) {
                // Both are sorted, and no prefix is the beginning of another one.
                while under.next_if(|prefix| is_past(&stale.path, prefix)).is_some() {}
                if !under.peek().is_some_and(|prefix| stale.path.starts_with(**prefix)) {
                    items.extend(Spelling::of(&stale.path, self.rules.query_strings).items);
                }
            }
            items.sort_unstable();
            items.dedup();
            Items {
                wildcards: items.iter().filter(|item| item.ends_with('*')).count(),
                collateral: self.live.evicted(prefixes, &tagged.evicted[phase as usize..=phase as usize]),
                paths: items,
            }
        };
        Invalidation {
            changed: items(Phase::Changed),
            deleted: items(Phase::Deleted),
            collateral: self.live.evicted(chosen.iter().flatten(), &tagged.evicted),
            fallback: self.fallbacks.into_iter().flatten().next().cloned(),
        }
    }

    /// The stale paths that no tag covers.
    fn remaining<'s, 't>(
        &'s self,
        tagged: &'t Tagged,
        phase: Phase,
    ) -> impl Iterator<Item = &'s StalePath<'a>> + use<'s, 't, 'a> {
        let stale = self.stale[phase as usize].iter();
        stale.zip(&tagged.covered[phase as usize]).filter(|(_, is_covered)| !**is_covered).map(|(stale, _)| stale)
    }

    /// The places in the trie of paths where something is left to be covered, sorted and unique.
    fn spots<'s>(&'s self, tagged: &Tagged) -> Vec<Spot<'s>> {
        let mut spots = Vec::with_capacity(tagged.left() + self.fallbacks.len());
        for phase in Phase::ALL {
            if self.fallbacks[phase as usize].is_some() {
                // Which paths it was served under nobody knows: only the root's wildcard has them all.
                spots.push(Spot::of(phase, "/", 1, Need::Wildcard));
            }
            for stale in self.remaining(tagged, phase) {
                let at = match stale.need {
                    Need::Wildcard => &stale.path[..stale.wildcard_bytes],
                    _ => stale.path.as_str(),
                };
                spots.push(Spot::of(phase, at, stale.wildcard_bytes.min(at.len()), stale.need));
            }
        }
        // Stable, for it is made for what is nearly sorted.
        spots.sort_by(|one, other| one.at.cmp(other.at));
        spots.dedup_by(|same, spot| {
            same.at == spot.at && {
                spot.add(same);
                true
            }
        });
        spots
    }
}

/// Whether a path that sorts after `prefix` does not start with it, nor does any that follows.
fn is_past(path: &str, prefix: &str) -> bool {
    path > prefix && !path.starts_with(prefix)
}

/// The viewer paths that go stale, by phase.
fn stale_paths<'a>(
    distribution: &Distribution,
    stale: &StaleKeys<'a>,
    rules: &InvalidationRules,
) -> [Vec<StalePath<'a>>; 2] {
    let of_keys = |keys: &[&'a str]| -> Vec<(String, Option<&'a str>)> {
        let paths_of = |key: &'a str| paths(key, distribution, rules.clean_urls);
        (keys.iter()).flat_map(|key| paths_of(key).into_iter().map(move |path| (path, Some(*key)))).collect()
    };
    let mut changed = of_keys(&stale.changed);
    if distribution.caches_errors || rules.invalidate_new {
        let new = of_keys(&stale.new).into_iter();
        changed.extend(new.map(|(path, _)| (path, None)));
    } else if !stale.new.is_empty() {
        // Nobody holds an answer of a key that did not exist, but for an alias that another object
        // answered until now, a new `about.html` beside `about/index.html`, or that one does for a
        // moment, where both are new and written one after the other.
        let mut keys = stale.new.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut new = HashSet::new();
        let new_paths = of_keys(&keys).into_iter();
        let shared: Vec<String> = new_paths.filter_map(|(path, _)| new.replace(path)).collect();
        let paths_of = |key: &&str| paths(key, distribution, rules.clean_urls);
        let taken_over = (stale.kept.iter().flat_map(paths_of)).filter(|path| new.contains(path));
        changed.extend(taken_over.chain(shared).map(|path| (path, None)));
    }
    [changed, of_keys(&stale.deleted)].map(|mut found| {
        found.sort_unstable();
        let mut paths: Vec<StalePath<'a>> = Vec::with_capacity(found.len());
        for (path, of) in found {
            match paths.last_mut() {
                // What several objects may have answered is of none of them for certain.
                Some(last) if last.path == path => last.of = last.of.filter(|last| Some(*last) == of),
                _ => paths.push(StalePath::new(path, of, rules.query_strings)),
            }
        }
        paths
    })
}

impl<'a> StalePath<'a> {
    fn new(path: String, of: Option<&'a str>, query_strings: bool) -> Self {
        let spelling = Spelling::of(&path, query_strings);
        let wildcards = (spelling.items.iter()).filter(|item| item.ends_with('*'));
        let price = |count: usize| u8::try_from(count).unwrap_or(u8::MAX);
        let need = match spelling.items.len() {
            0 => Need::Wildcard,
            items => Need::Alone { items: price(items), wildcards: price(wildcards.count()) },
        };
        Self { path, of, need, wildcard_bytes: spelling.wildcard_bytes }
    }
}

/// The unchanged live objects as the edge sees them, without those whose path is stale through
/// another key: these cannot be spared.
pub(super) struct Live<'a> {
    /// Sorted and unique.
    pub(super) keys: Vec<&'a str>,
    /// Sorted.
    paths: Vec<String>,
    /// The key of the path at the same index, as an index into `keys`.
    key_of: Vec<usize>,
}

impl<'a> Live<'a> {
    fn new(distribution: &Distribution, kept: &[&'a str], stale: &[Vec<StalePath<'a>>; 2]) -> Self {
        let mut keys = kept.to_vec();
        keys.sort_unstable();
        keys.dedup();
        // Most distributions have one path for each key.
        let mut live: Vec<(String, usize)> = Vec::with_capacity(keys.len());
        live.extend(
            (keys.iter().zip(0..))
                .flat_map(|(key, index)| path::own_paths(key, distribution).map(move |path| (path, index))),
        );
        // Stable, for with a single origin path it is sorted already.
        live.sort();
        live.dedup();
        for stale in stale {
            let mut stale = stale.iter().peekable();
            live.retain(|(path, _)| {
                while stale.next_if(|stale| stale.path < *path).is_some() {}
                stale.peek().is_none_or(|stale| stale.path != *path)
            });
        }
        let (paths, key_of) = live.into_iter().unzip();
        Self { keys, paths, key_of }
    }

    /// The objects for the planner, of which those that are `evicted` anyway cost nothing.
    fn field(&self, evicted: impl Fn(usize) -> bool) -> LivePaths<'_> {
        LivePaths::new(&self.paths, self.key_of.iter().map(|&key| !evicted(key)))
    }

    /// How many objects are evicted by their own path, which starts with one of `prefixes`, or by a tag.
    fn evicted<'p>(&self, prefixes: impl IntoIterator<Item = &'p &'p str>, by_tags: &[Vec<bool>]) -> usize {
        let mut evicted = vec![false; self.keys.len()];
        for by_tag in by_tags {
            for (evicted, by_tag) in evicted.iter_mut().zip(by_tag) {
                *evicted |= by_tag;
            }
        }
        for prefix in prefixes {
            for &key in &self.key_of[budget::range(&self.paths, prefix)] {
                evicted[key] = true;
            }
        }
        evicted.into_iter().filter(|evicted| *evicted).count()
    }
}
