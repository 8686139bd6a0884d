//! The paths of one distribution to evict, and the objects to spare.

use super::chosen_tags::ChosenTags;
use super::item::{self, Spelling};
use super::live_objects::LiveObjects;
use super::path::folders;
use super::stale_path::{StalePath, stale_paths};
use super::target::{Need, Target};
use super::wildcards::{Budget, wildcards};
use super::{ByPhase, Distribution, Invalidation, InvalidationRules, Items, Phase, StaleKeys};

/// The stale paths and the unchanged objects of one distribution.
pub(super) struct Inventory<'k> {
    /// Sorted by path and unique.
    pub(super) stale: ByPhase<Vec<StalePath<'k>>>,
    pub(super) live: LiveObjects<'k>,
    pub(super) budget: Budget,
    query_strings: bool,
    /// The folders under which anything may be cached.
    unknown: Vec<String>,
    /// The fallback page that goes stale.
    fallbacks: ByPhase<Option<String>>,
}

impl<'k> Inventory<'k> {
    pub(super) fn new(distribution: &Distribution, keys: &StaleKeys<'k>, rules: &InvalidationRules<'_>) -> Self {
        let stale = stale_paths(distribution, keys, rules);
        // Where anything may be cached, the kept objects are evicted in any case.
        let kept = if keys.unknown_under.is_some() { &[][..] } else { &keys.kept };
        let live = LiveObjects::new(distribution, kept, &stale);
        let [first, last] = stale.each_ref().map(|stale| stale_fallback(distribution, stale));
        let unknown = keys.unknown_under.map(|live_prefix| folders(live_prefix, distribution)).unwrap_or_default();
        let fallbacks = [first.or_else(|| unknown_fallback(distribution, &unknown)), last];
        let budget = Budget { items: rules.max_items, wildcards: rules.max_wildcards };
        Self { stale, live, budget, query_strings: distribution.query_strings, unknown, fallbacks }
    }

    /// Returns the choice of no tags at all.
    pub(super) fn no_tags(&self) -> ChosenTags {
        ChosenTags::none(self.stale.each_ref().map(Vec::len), self.live.keys.len())
    }

    /// Returns the cheapest invalidation that contains `tags`: wildcards and exact items cover the rest.
    pub(super) fn cheapest_invalidation(&self, tags: &ChosenTags) -> Invalidation {
        let budget = Budget { items: self.budget.items.saturating_sub(tags.count()), ..self.budget };
        let targets = self.targets(tags);
        let live_paths = self.live.paths(tags);
        let prefixes = wildcards(&targets, &live_paths, budget);
        let [first, last] = Phase::ALL.map(|phase| self.items(phase, &prefixes[phase as usize], tags));
        Invalidation {
            first,
            last,
            collateral: self.live.count_evicted(&prefixes.concat(), &tags.evicted),
            fallback: self.fallbacks.iter().flatten().next().cloned(),
        }
    }

    /// Returns the items of a phase: its tags, its wildcards, and the exact items of the paths that neither covers.
    fn items(&self, phase: Phase, prefixes: &[&str], tags: &ChosenTags) -> Items {
        let mut list = tags.items[phase as usize].clone();
        list.extend(prefixes.iter().map(|prefix| item::wildcard(prefix)));
        let mut prefixes_left = prefixes.iter().peekable();
        for stale in self.untagged(phase, tags) {
            // The stale paths and the prefixes are sorted, and no prefix starts with another one.
            while prefixes_left.next_if(|prefix| is_past(&stale.path, prefix)).is_some() {}
            if !prefixes_left.peek().is_some_and(|prefix| stale.path.starts_with(**prefix)) {
                list.extend(Spelling::of(&stale.path, self.query_strings).items);
            }
        }
        list.sort_unstable();
        list.dedup();
        Items {
            wildcards: list.iter().filter(|item| item.ends_with('*')).count(),
            collateral: self.live.count_evicted(prefixes, std::slice::from_ref(&tags.evicted[phase as usize])),
            list,
        }
    }

    /// Returns the stale paths that no tag covers.
    fn untagged(&self, phase: Phase, tags: &ChosenTags) -> impl Iterator<Item = &StalePath<'k>> {
        let stale = self.stale[phase as usize].iter().zip(&tags.covered[phase as usize]);
        stale.filter(|(_, is_covered)| !**is_covered).map(|(stale, _)| stale)
    }

    /// Returns the targets that the tags leave to the wildcards, sorted and unique.
    fn targets(&self, tags: &ChosenTags) -> Vec<Target<'_>> {
        let mut targets = Vec::with_capacity(tags.uncovered_paths() + self.fallbacks.len());
        for phase in Phase::ALL {
            if self.fallbacks[phase as usize].is_some() {
                // Nothing records under which paths the fallback was served: only `/*` covers them all.
                targets.push(Target::new(phase, "/", 1, Need::Wildcard));
            }
            targets.extend(self.untagged(phase, tags).map(|stale| stale.target(phase)));
        }
        for folder in &self.unknown {
            let wildcard_bytes = Spelling::of(folder, self.query_strings).wildcard_bytes;
            targets.push(Target::new(Phase::First, &folder[..wildcard_bytes], wildcard_bytes, Need::Wildcard));
        }
        // The stable sort is fast on input that is nearly sorted.
        targets.sort_by(|one, other| one.path.cmp(other.path));
        targets.dedup_by(|same, target| {
            let is_same = same.path == target.path;
            if is_same {
                target.add_needs(same);
            }
            is_same
        });
        targets
    }
}

/// Returns the fallback page that is among the stale paths, which are sorted.
fn stale_fallback(distribution: &Distribution, stale: &[StalePath<'_>]) -> Option<String> {
    let is_stale = |fallback: &&String| stale.binary_search_by(|path| path.path.as_str().cmp(fallback)).is_ok();
    distribution.fallbacks.iter().find(is_stale).cloned()
}

/// Returns the fallback page that may have changed, because it is in a folder under which anything may be cached. It may
/// then be cached outside that folder too.
fn unknown_fallback(distribution: &Distribution, unknown: &[String]) -> Option<String> {
    let is_unknown = |page: &&String| unknown.iter().any(|folder| folder != "/" && page.starts_with(folder));
    distribution.fallbacks.iter().find(is_unknown).cloned()
}

/// Whether `path` sorts after all paths that start with `prefix`.
fn is_past(path: &str, prefix: &str) -> bool {
    path > prefix && !path.starts_with(prefix)
}
