//! A planner that tries everything, to compare with.

use std::collections::BTreeSet;

use super::site::{Site, Verdict};
use super::*;

/// Returns the least collateral, then wildcards, then items, of all sets of wildcards within the limits.
pub(super) fn cheapest_by_brute_force(
    site: &Site,
    distribution: &Distribution,
    rules: &InvalidationRules<'_>,
) -> Option<(usize, usize, usize)> {
    let phases = [&[Verdict::Changed][..], &[Verdict::ChangedEntryPoint, Verdict::Deleted]];
    let stale = phases.map(|verdicts| -> BTreeSet<String> {
        let keys = verdicts.iter().flat_map(|verdict| site.keys(*verdict));
        keys.flat_map(|key| paths(key, distribution, rules)).collect()
    });
    let kept: Vec<String> = (site.keys(Verdict::Kept).iter())
        .map(|key| format!("/{key}"))
        .filter(|path| !stale.iter().any(|stale| stale.contains(path)))
        .collect();
    let covers = [0, 1].map(|phase| covers(&stale[phase], distribution, rules));
    let mut best = None;
    for (changed, changed_wildcards, changed_items) in &covers[0] {
        for (deleted, deleted_wildcards, deleted_items) in &covers[1] {
            let wildcards = changed_wildcards + deleted_wildcards;
            let items = changed_items + deleted_items;
            if wildcards > rules.max_wildcards || items > rules.max_items {
                continue;
            }
            let prefixes: Vec<_> = changed.iter().chain(deleted).collect();
            let lost = |path: &&String| prefixes.iter().any(|prefix| path.starts_with(**prefix));
            let found = (kept.iter().filter(lost).count(), wildcards, items);
            best = Some(best.map_or(found, |best: (usize, usize, usize)| best.min(found)));
        }
    }
    best
}

/// Returns all sets of up to `max_wildcards` prefixes such that exact items can name the remaining paths, each with the
/// number of its wildcards and of its items.
fn covers<'a>(
    stale: &'a BTreeSet<String>,
    distribution: &Distribution,
    rules: &InvalidationRules<'_>,
) -> Vec<(Vec<&'a str>, usize, usize)> {
    let prefixes: BTreeSet<&str> = stale
        .iter()
        .flat_map(|path| (1..=path.len()).filter_map(|end| path.get(..end)))
        .filter(|prefix| !prefix.contains(['~', '+']))
        .collect();
    let mut sets: Vec<Vec<&str>> = vec![vec![]];
    for prefix in prefixes {
        for index in 0..sets.len() {
            let set = &sets[index];
            let nested = set.iter().any(|other| prefix.starts_with(other));
            if set.len() < rules.max_wildcards && !nested {
                let larger = set.iter().copied().chain([prefix]).collect();
                sets.push(larger);
            }
        }
    }
    (sets.into_iter())
        .filter_map(|set| {
            let alone: Vec<&String> =
                (stale.iter()).filter(|path| !set.iter().any(|prefix| path.starts_with(prefix))).collect();
            if alone.iter().any(|path| path.contains('~')) {
                return None;
            }
            let names: usize = alone.iter().map(|path| if path.contains('+') { 2 } else { 1 }).sum();
            let queries = if distribution.query_strings { names } else { 0 };
            let wildcards = set.len() + queries;
            Some((set, wildcards, wildcards + names))
        })
        .collect()
}
