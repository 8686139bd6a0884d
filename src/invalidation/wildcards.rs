//! The wildcards that cover the targets within the budget and evict the fewest unchanged objects.
//!
//! A wildcard is the start of a path followed by `*`. The search is dynamic programming over the trie of the targets'
//! paths, in which each node stands for the wildcard that repeats the path from the root to the node. Each node has a
//! *Pareto front*: for each number of wildcards, the ways to cover everything below the node of which none is better
//! than another, since each has either fewer items or less collateral. The front of a node is made in three steps:
//!
//! 1. A target that ends at the node is charged the price of its exact items.
//! 2. The fronts of the children are merged into it: each way to cover one child is combined with each way to cover the
//!    others.
//! 3. The node's own wildcards are offered as alternatives to everything below it.
//!
//! The front of the root then holds the cheapest cover for every budget. `trie` walks the nodes and offers the
//! wildcards, and `pareto` keeps the fronts.
//!
//! Both phases are planned together, because they share the budget and because an object that wildcards of both phases
//! evict is counted once. Hence, below a wildcard of one phase, wildcards of the other phase evict nothing more. The
//! other phase needs at most one there: the tightest wildcard over all its targets. So each node offers, for each
//! phase, a wildcard of that phase next to the exact items of the other phase, and a wildcard of that phase around one
//! of the other.
//!
//! Of the covers that evict the fewest unchanged objects, the one with the fewest wildcards is taken: CloudFront accepts
//! only one a second. Hence there is none where exact items cover everything within the budget.
//!
//! Only wildcards are chosen here. The caller adds the exact items of the targets that no wildcard covers.

mod pareto;
mod trie;

use self::trie::Planner;
use super::live_paths::LivePaths;
use super::target::{Need, Target};
use super::{ByPhase, Phase};

/// How many items an invalidation may have, and how many of them may be wildcards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) items: usize,
    pub(super) wildcards: usize,
}

/// Returns the prefixes of the wildcards to send, sorted.
///
/// Exact items must name the targets that start with none of them. The targets must be sorted and unique.
pub(super) fn wildcards<'a>(
    targets: &'a [Target<'a>],
    live: &'a LivePaths<'a>,
    budget: Budget,
) -> ByPhase<Vec<&'a str>> {
    let phases = Phase::ALL.iter().filter(|phase| targets.iter().any(|target| target.is_needed_in(**phase))).count();
    // With a wildcard for each phase there is always a cover: the root's wildcards.
    let sufficient = Budget { items: budget.items.max(phases), wildcards: budget.wildcards.max(phases) };
    let mut planner = Planner::new(targets, live, sufficient);
    let Some(root) = planner.root_front() else {
        return ByPhase::default();
    };
    let best = root.cheapest(budget).or_else(|| root.cheapest(sufficient));
    let covers = best.map(|point| planner.covers(&point)).unwrap_or_default();
    Phase::ALL.map(|phase| {
        let mut prefixes: Vec<&str> = covers.iter().filter_map(|cover| cover[phase as usize]).collect();
        prefixes.sort_unstable();
        prefixes
    })
}

fn shared_bytes(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}
