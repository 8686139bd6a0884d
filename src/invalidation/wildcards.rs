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
//! Only wildcards are chosen here. The caller adds the exact items of the targets that no wildcard covers.

mod pareto;
mod trie;

use std::cmp::Reverse;

use self::pareto::Cover;
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
    let mut covers = best.map(|point| planner.covers(&point)).unwrap_or_default();
    spend_leftover(&mut covers, targets, budget.wildcards);
    Phase::ALL.map(|phase| {
        let mut prefixes: Vec<&str> = covers.iter().filter_map(|cover| cover[phase as usize]).collect();
        prefixes.sort_unstable();
        prefixes
    })
}

/// A wildcard of one phase below a wildcard of the other phase, where it evicts nothing more.
struct FreeWildcard<'a> {
    /// The index of the cover that it would be added to.
    cover: usize,
    phase: Phase,
    prefix: &'a str,
    /// How many targets it covers.
    targets: usize,
}

/// Adds wildcards that evict nothing more, as many as the budget has left, in place of the most exact items.
///
/// The search takes as few wildcards as it can. But each item has its price, and one of these wildcards saves many
/// items.
fn spend_leftover<'a>(covers: &mut [Cover<'a>], targets: &[Target<'a>], max_wildcards: usize) {
    let used = covers.iter().flatten().flatten().count();
    let indexed = covers.iter().enumerate();
    let mut free: Vec<FreeWildcard<'a>> =
        indexed.filter_map(|(index, cover)| free_wildcard(index, *cover, targets)).collect();
    free.sort_unstable_by_key(|free| (Reverse(free.targets), free.prefix));
    for free in free.into_iter().take(max_wildcards.saturating_sub(used)) {
        covers[free.cover][free.phase as usize] = Some(free.prefix);
    }
}

/// Returns the wildcard that could be added to the cover with the given index.
fn free_wildcard<'a>(index: usize, cover: Cover<'a>, targets: &[Target<'a>]) -> Option<FreeWildcard<'a>> {
    let (outer, phase) = match cover {
        [Some(outer), None] => (outer, Phase::Deleted),
        [None, Some(outer)] => (outer, Phase::Changed),
        _ => return None,
    };
    let start = targets.partition_point(|target| target.path < outer);
    let below = targets[start..].iter().take_while(|target| target.path.starts_with(outer));
    let below: Vec<&Target<'a>> = below.filter(|target| target.is_needed_in(phase)).collect();
    let [first, .., last] = below[..] else {
        return None;
    };
    let prefix = first.wildcard_prefix(shared_bytes(first.path, last.path));
    Some(FreeWildcard { cover: index, phase, prefix, targets: below.len() })
}

fn shared_bytes(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}
