//! The tags in the order in which it is best to take them.

use std::cmp::Reverse;
use std::mem;

use super::index::{TagInPhase, TagIndex};
use crate::invalidation::{ByPhase, Phase};

/// The most tags that are ranked, chosen by their scores at the start.
const MAX_CANDIDATES: usize = 1_000;

/// The criterion by which tags are ranked.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// The tag that evicts the fewest unchanged objects is best, even if it covers little.
    LeastCollateral,
    /// The tag that covers the most for each unchanged object that it evicts is best.
    MostPerObject,
}

/// Returns the tags that are worth a try, at most as many as there may be items. Each is the best one to add to those
/// before it.
pub(super) fn rank(index: &TagIndex<'_>, order: Order) -> Vec<TagInPhase> {
    let mut scores = Scores::new(index, order);
    let all = Phase::ALL.into_iter().flat_map(|phase| (0..index.tag_count()).map(move |tag| TagInPhase { tag, phase }));
    let mut candidates: Vec<TagInPhase> = all.filter(|tag| scores.is_gain(*tag)).collect();
    candidates.sort_unstable_by_key(|tag| Reverse(scores.score(*tag)));
    candidates.truncate(MAX_CANDIDATES);

    let mut ranked = Vec::new();
    while ranked.len() < index.inventory.budget.items {
        let gains = candidates.iter().enumerate().filter(|(_, tag)| scores.is_gain(**tag));
        let Some((position, &best)) = gains.max_by_key(|(_, tag)| scores.score(**tag)) else {
            break;
        };
        candidates.swap_remove(position);
        ranked.push(best);
        scores.take(best);
    }
    ranked
}

/// The gain and the cost of each tag, on top of the tags that are taken.
struct Scores<'a> {
    index: &'a TagIndex<'a>,
    order: Order,
    /// For each tag, the weight of the stale paths that it covers and no taken tag does.
    gains: ByPhase<Vec<usize>>,
    /// For each tag, the number of unchanged objects that it evicts and no taken tag does.
    costs: Vec<usize>,
    /// For each stale path, whether a taken tag covers it.
    covered: ByPhase<Vec<bool>>,
    /// For each live object, whether a taken tag evicts it.
    evicted: Vec<bool>,
}

impl<'a> Scores<'a> {
    fn new(index: &'a TagIndex<'a>, order: Order) -> Self {
        let gain = |tag: TagInPhase| -> usize {
            index.covered_paths(tag).iter().map(|&path| index.weight(tag.phase, path)).sum()
        };
        Self {
            index,
            order,
            gains: Phase::ALL.map(|phase| (0..index.tag_count()).map(|tag| gain(TagInPhase { tag, phase })).collect()),
            costs: (0..index.tag_count()).map(|tag| index.evicted_objects(tag).len()).collect(),
            covered: index.inventory.stale.each_ref().map(|paths| vec![false; paths.len()]),
            evicted: vec![false; index.inventory.live.keys.len()],
        }
    }

    fn gain(&self, tag: TagInPhase) -> usize {
        self.gains[tag.phase as usize][tag.tag]
    }

    /// Whether the tag covers more than a single exact item does.
    fn is_gain(&self, tag: TagInPhase) -> bool {
        self.gain(tag) > 1
    }

    /// Returns the score of a tag; the best tag has the highest one, and no two are equal.
    fn score(&self, tag: TagInPhase) -> ((Reverse<usize>, usize), Reverse<TagInPhase>) {
        let (gain, cost) = (self.gain(tag), self.costs[tag.tag]);
        let score = match self.order {
            Order::LeastCollateral => (Reverse(cost), gain),
            // In parts per million, since whole numbers compare the same on every machine.
            Order::MostPerObject => (Reverse(0), gain.saturating_mul(1_000_000) / (cost + 1)),
        };
        (score, Reverse(tag))
    }

    /// Takes a tag: what it covers and evicts no longer counts for the others.
    fn take(&mut self, taken: TagInPhase) {
        let phase = taken.phase;
        for &path in self.index.covered_paths(taken) {
            if !mem::replace(&mut self.covered[phase as usize][path], true) {
                for tag in self.index.tags_of_path(phase, path) {
                    self.gains[phase as usize][tag] -= self.index.weight(phase, path);
                }
            }
        }
        for &object in self.index.evicted_objects(taken.tag) {
            if !mem::replace(&mut self.evicted[object], true) {
                for tag in self.index.tags_of_object(object) {
                    self.costs[tag] -= 1;
                }
            }
        }
    }
}
