//! The tags of an invalidation, and their effects.

use crate::invalidation::ByPhase;

/// Some tags, with the stale paths that they cover and the unchanged objects that they evict.
pub(in crate::invalidation) struct ChosenTags {
    /// The tags as items.
    pub(in crate::invalidation) items: ByPhase<Vec<String>>,
    /// For each stale path, whether a tag covers it.
    pub(in crate::invalidation) covered: ByPhase<Vec<bool>>,
    /// For each live key, whether a tag evicts its object.
    pub(in crate::invalidation) evicted: ByPhase<Vec<bool>>,
}

impl ChosenTags {
    /// Returns the choice of no tags, for so many stale paths and live keys.
    pub(in crate::invalidation) fn none(stale_paths: ByPhase<usize>, live_keys: usize) -> Self {
        Self {
            items: ByPhase::default(),
            covered: stale_paths.map(|count| vec![false; count]),
            evicted: [vec![false; live_keys], vec![false; live_keys]],
        }
    }

    pub(in crate::invalidation) fn count(&self) -> usize {
        self.items.iter().map(Vec::len).sum()
    }

    /// Whether a tag of either phase evicts the object of the key with the given index.
    pub(in crate::invalidation) fn evict(&self, key: usize) -> bool {
        self.evicted.iter().any(|evicted| evicted[key])
    }

    /// Returns how many stale paths are left to wildcards and exact items.
    pub(in crate::invalidation) fn uncovered_paths(&self) -> usize {
        self.covered.iter().flatten().filter(|is_covered| !**is_covered).count()
    }

    /// Returns how many unchanged objects the tags alone evict.
    pub(super) fn collateral(&self) -> usize {
        let [changed, deleted] = &self.evicted;
        changed.iter().zip(deleted).filter(|(changed, deleted)| **changed || **deleted).count()
    }
}
