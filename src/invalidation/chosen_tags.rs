//! The tags of an invalidation, and their effects.

use super::ByPhase;

/// Some tags, with the stale paths that they cover and the unchanged objects that they evict.
pub(super) struct ChosenTags {
    /// The tags as items.
    pub(super) items: ByPhase<Vec<String>>,
    /// For each stale path, whether a tag covers it.
    pub(super) covered: ByPhase<Vec<bool>>,
    /// For each live key, whether a tag evicts its object.
    pub(super) evicted: ByPhase<Vec<bool>>,
}

impl ChosenTags {
    /// Returns the choice of no tags, given the numbers of stale paths and of live keys.
    pub(super) fn none(stale_paths: ByPhase<usize>, live_keys: usize) -> Self {
        Self {
            items: ByPhase::default(),
            covered: stale_paths.map(|count| vec![false; count]),
            evicted: [vec![false; live_keys], vec![false; live_keys]],
        }
    }

    pub(super) fn count(&self) -> usize {
        self.items.iter().map(Vec::len).sum()
    }

    /// Whether a tag of either phase evicts the object of the key with the given index.
    pub(super) fn evicts(&self, key: usize) -> bool {
        self.evicted.iter().any(|evicted| evicted[key])
    }

    /// Returns how many stale paths are left to wildcards and exact items.
    pub(super) fn uncovered_paths(&self) -> usize {
        self.covered.iter().flatten().filter(|is_covered| !**is_covered).count()
    }

    /// Returns how many unchanged objects the tags alone evict.
    pub(super) fn collateral(&self) -> usize {
        let [first, last] = &self.evicted;
        first.iter().zip(last).filter(|(first, last)| **first || **last).count()
    }
}
