//! How many of the ranked tags to take.

use super::Tags;
use super::index::{TagInPhase, TagIndex};
use super::ranking::{Order, rank};
use crate::invalidation::Invalidation;
use crate::invalidation::inventory::Inventory;

/// The most stale paths that the wildcard planner is given, over all trials together.
///
/// A trial with 100,000 paths takes some tenths of a second, and one with a few thousand takes almost no time. Tags
/// that leave more paths than this hardly help.
const MAX_PLANNED_PATHS: usize = 20_000;

/// Returns an invalidation with tags that evicts fewer unchanged objects than `untagged`, or `untagged` itself.
pub(in crate::invalidation) fn improve(
    untagged: Invalidation,
    inventory: &Inventory<'_>,
    tags: &Tags<'_>,
) -> Invalidation {
    let index = TagIndex::new(inventory, tags);
    let mut rankings = [Order::LeastCollateral, Order::MostPerObject].map(|order| Ranking {
        tags: rank(&index, order),
        tried: Vec::new(),
        best_length: 0,
    });
    let mut search = TagSearch {
        // Coverage may take more than the rules allow.
        most_wildcards: inventory.budget.wildcards.max(wildcards(&untagged)),
        most_items: inventory.budget.items.max(items(&untagged)),
        index,
        best: untagged,
        planned_paths: 0,
    };
    search.try_halved_lengths(&mut rankings);
    for ranking in &mut rankings {
        search.try_lengths_near_best(ranking);
    }
    search.best
}

/// The tags in one order, of which the first few are taken.
struct Ranking {
    tags: Vec<TagInPhase>,
    /// The numbers of tags that were tried.
    tried: Vec<usize>,
    best_length: usize,
}

struct TagSearch<'a> {
    index: TagIndex<'a>,
    best: Invalidation,
    most_wildcards: usize,
    most_items: usize,
    planned_paths: usize,
}

impl TagSearch<'_> {
    /// Tries lengths that differ by a factor of two, from the longest ranking downwards.
    fn try_halved_lengths(&mut self, rankings: &mut [Ranking]) {
        let mut length = rankings.iter().map(|ranking| ranking.tags.len()).max().unwrap_or_default();
        while length > 0 {
            for ranking in &mut *rankings {
                self.try_length(ranking, length);
            }
            length /= 2;
        }
    }

    /// Tries lengths between the halved ones, ever closer to the best length so far.
    fn try_lengths_near_best(&mut self, ranking: &mut Ranking) {
        let mut step = ranking.best_length / 4;
        while step > 0 {
            for length in [ranking.best_length.saturating_sub(step), ranking.best_length + step] {
                self.try_length(ranking, length);
            }
            step /= 2;
        }
    }

    /// Takes the first `length` tags of a ranking, and lets the wildcards cover the rest.
    fn try_length(&mut self, ranking: &mut Ranking, length: usize) {
        let length = length.min(ranking.tags.len());
        if length == 0 || ranking.tried.contains(&length) || self.planned_paths >= MAX_PLANNED_PATHS {
            return;
        }
        ranking.tried.push(length);
        let chosen = self.index.choose(&ranking.tags[..length]);
        if chosen.collateral() >= self.best.collateral {
            // These tags alone evict too much.
            return;
        }
        let planned_paths = self.planned_paths + chosen.uncovered_paths();
        if planned_paths > MAX_PLANNED_PATHS {
            return;
        }
        self.planned_paths = planned_paths;
        let found = self.index.inventory.cheapest_invalidation(&chosen);
        if found.collateral < self.best.collateral
            && wildcards(&found) <= self.most_wildcards
            && items(&found) <= self.most_items
        {
            ranking.best_length = length;
            self.best = found;
        }
    }
}

fn wildcards(invalidation: &Invalidation) -> usize {
    invalidation.first.wildcards + invalidation.last.wildcards
}

fn items(invalidation: &Invalidation) -> usize {
    invalidation.first.list.len() + invalidation.last.list.len()
}
