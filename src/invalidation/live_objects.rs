//! The unchanged live objects of a distribution.

use std::ops::Range;

use super::chosen_tags::ChosenTags;
use super::live_paths::LivePaths;
use super::stale_path::StalePath;
use super::{ByPhase, Distribution, path};

/// The unchanged live objects and the paths under which the edge knows them.
///
/// Paths that another key makes stale are left out, since they cannot be spared.
pub(super) struct LiveObjects<'k> {
    /// Sorted and unique.
    pub(super) keys: Vec<&'k str>,
    /// Sorted.
    paths: Vec<String>,
    /// For each path, the index of its key in `keys`.
    key_of_path: Vec<usize>,
}

impl<'k> LiveObjects<'k> {
    pub(super) fn new(distribution: &Distribution, kept: &[&'k str], stale: &ByPhase<Vec<StalePath<'k>>>) -> Self {
        let mut keys = kept.to_vec();
        keys.sort_unstable();
        keys.dedup();
        // Most distributions have one path for each key.
        let mut live: Vec<(String, usize)> = Vec::with_capacity(keys.len());
        for (index, key) in keys.iter().enumerate() {
            live.extend(path::own_paths(key, distribution).map(|path| (path, index)));
        }
        // The stable sort is fast on sorted input, which this is where there is a single origin path.
        live.sort();
        live.dedup();
        for stale in stale {
            remove_stale(&mut live, stale);
        }
        let (paths, key_of_path) = live.into_iter().unzip();
        Self { keys, paths, key_of_path }
    }

    /// Returns the paths with their costs: an object that a tag evicts anyway costs nothing.
    pub(super) fn paths(&self, tags: &ChosenTags) -> LivePaths<'_> {
        LivePaths::new(&self.paths, self.key_of_path.iter().map(|&key| !tags.evicts(key)))
    }

    /// Returns how many objects are evicted: by a wildcard over one of `prefixes`, or because they are marked in one
    /// of the lists of `by_tags`, which have an entry for each key.
    pub(super) fn count_evicted(&self, prefixes: &[&str], by_tags: &[Vec<bool>]) -> usize {
        let mut evicted = vec![false; self.keys.len()];
        for by_tags in by_tags {
            for (evicted, by_tags) in evicted.iter_mut().zip(by_tags) {
                *evicted |= by_tags;
            }
        }
        for prefix in prefixes {
            for &key in &self.key_of_path[under(&self.paths, prefix)] {
                evicted[key] = true;
            }
        }
        evicted.into_iter().filter(|evicted| *evicted).count()
    }
}

/// Removes the paths that are among the stale ones; both are sorted.
fn remove_stale(live: &mut Vec<(String, usize)>, stale: &[StalePath<'_>]) {
    let mut stale = stale.iter().peekable();
    live.retain(|(path, _)| {
        while stale.next_if(|stale| stale.path < *path).is_some() {}
        stale.peek().is_none_or(|stale| stale.path != *path)
    });
}

/// Returns the range of the sorted paths that start with `prefix`.
fn under(paths: &[String], prefix: &str) -> Range<usize> {
    let start = paths.partition_point(|path| path.as_str() < prefix);
    let len = paths[start..].partition_point(|path| path.starts_with(prefix));
    start..start + len
}
