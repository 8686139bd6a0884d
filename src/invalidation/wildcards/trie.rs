//! The walk over the trie of the targets' paths.
//!
//! The trie is never built. The targets are sorted, so its nodes open and close in the order of a walk: two neighbours
//! branch at a node as deep as the prefix that they share. Nodes with a single child are not formed: they are part of
//! an edge. A wildcard may end within an edge, where a path may be repeated no further. It belongs to the node below.

use super::pareto::{Choices, Cover, ParetoFront, Point};
use super::{Budget, ByPhase, LivePaths, Need, Phase, Target, shared_bytes};

/// Everything below a node that one phase has to cover.
#[derive(Clone, Copy)]
struct Subtree<'a> {
    /// How many exact items name everything; `None` where that takes wildcards.
    exact_items: Option<usize>,
    /// The tightest wildcard over everything; `None` where there is nothing.
    prefix: Option<&'a str>,
}

impl<'a> Subtree<'a> {
    const EMPTY: Self = Self { exact_items: Some(0), prefix: None };

    /// Returns the subtree of one target, with the wildcard that covers it.
    fn of_target(need: Need, prefix: &'a str) -> Self {
        match need {
            Need::Nothing => Self::EMPTY,
            Need::ExactItems { items, wildcards: 0 } => Self { exact_items: Some(items.into()), prefix: Some(prefix) },
            Need::ExactItems { .. } | Need::Wildcard => Self { exact_items: None, prefix: Some(prefix) },
        }
    }

    /// Adds a child; `prefix` is the wildcard of the node itself.
    fn add(&mut self, child: Self, prefix: &'a str) {
        self.exact_items = self.exact_items.zip(child.exact_items).map(|(here, there)| here + there);
        self.prefix = match (self.prefix, child.prefix) {
            (Some(_), Some(_)) => Some(prefix),
            (here, there) => here.or(there),
        };
    }
}

/// A node of the trie.
struct Node<'a> {
    /// The length of the path from the root, in bytes.
    depth: usize,
    /// The wildcard that repeats as much of the path to the node as it may.
    prefix: &'a str,
    /// Where the first target below would stand among the live paths.
    position: usize,
    below: ByPhase<Subtree<'a>>,
    /// The covers of everything below. The node's own wildcards are added last.
    front: ParetoFront,
}

impl<'a> Node<'a> {
    /// Returns the node at which `target` branches off from the targets before it.
    fn fork(target: &Target<'a>, depth: usize, position: usize) -> Self {
        Self {
            depth,
            prefix: target.wildcard_prefix(depth),
            position,
            below: [Subtree::EMPTY; 2],
            front: ParetoFront::of_nothing(),
        }
    }

    /// Returns the node at which `target` ends.
    fn of_target(target: &Target<'a>, position: usize, budget: Budget) -> Self {
        let prefix = target.wildcard_prefix(target.path.len());
        let mut front = ParetoFront::of_nothing();
        for need in target.needs {
            match need {
                Need::Nothing => {}
                Need::ExactItems { items, wildcards } => front.charge(items.into(), wildcards.into(), budget),
                Need::Wildcard => front.clear(),
            }
        }
        let below = target.needs.map(|need| Subtree::of_target(need, prefix));
        Self { depth: target.path.len(), prefix, position, below, front }
    }

    /// Returns the covers of everything below whose outer wildcard is `prefix` and of `phase`, each with its number of
    /// items.
    fn covers(&self, phase: Phase, prefix: &'a str) -> impl Iterator<Item = (Cover<'a>, usize)> + use<'a> {
        let other = self.below[phase.other() as usize];
        let mut cover: Cover<'a> = [None; 2];
        cover[phase as usize] = Some(prefix);
        let alone = other.exact_items.map(|items| (cover, 1 + items));
        // If the wildcard of the other phase is shorter, it is the outer one, and is offered in the other phase's turn.
        let inner = other.prefix.filter(|inner| inner.len() >= prefix.len());
        cover[phase.other() as usize] = inner;
        let both = inner.map(|_| (cover, 2));
        alone.into_iter().chain(both)
    }
}

/// Finds the covers of all targets.
pub(super) struct Planner<'a> {
    targets: &'a [Target<'a>],
    live: &'a LivePaths<'a>,
    budget: Budget,
    choices: Choices<'a>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(targets: &'a [Target<'a>], live: &'a LivePaths<'a>, budget: Budget) -> Self {
        Self { targets, live, budget, choices: Choices::default() }
    }

    /// Returns the covers of all targets within the budget; `None` when there is no target.
    ///
    /// `open` is the path from the root to the current node, without the nodes whose fork is not known yet. With the
    /// targets `/a/b`, `/a/c` and `/d` it holds, after each target:
    ///
    /// ```text
    /// /a/b        /a/b
    /// /a/c        /a/, /a/c     /a/b closed into the new fork /a/
    /// /d          /, /d         /a/c closed into /a/, and /a/ into the new fork /
    /// ```
    pub(super) fn root_front(&mut self) -> Option<ParetoFront> {
        let mut open: Vec<Node<'a>> = Vec::new();
        let mut previous = "";
        for (target, position) in self.targets.iter().zip(self.live.positions(self.targets)) {
            // At least 1 after the first target, since all paths start with a slash.
            let shared = shared_bytes(previous, target.path);
            while let Some(node) = open.pop_if(|node| node.depth > shared) {
                if open.last().is_none_or(|parent| parent.depth < shared) {
                    open.push(Node::fork(target, shared, node.position));
                }
                self.close(node, &mut open);
            }
            open.push(Node::of_target(target, position, self.budget));
            previous = target.path;
        }
        loop {
            let mut node = open.pop()?;
            if open.is_empty() {
                self.offer_wildcards(&mut node, 0);
                return Some(node.front);
            }
            self.close(node, &mut open);
        }
    }

    /// Returns the wildcards of a point of the root's front.
    pub(super) fn covers(&self, point: &Point) -> Vec<Cover<'a>> {
        self.choices.covers(point)
    }

    /// Completes `node`, which has all its children, and merges it into its parent, the last node of `open`.
    fn close(&mut self, mut node: Node<'a>, open: &mut [Node<'a>]) {
        let Some(parent) = open.last_mut() else {
            return;
        };
        self.offer_wildcards(&mut node, parent.depth);
        for (subtree, child) in parent.below.iter_mut().zip(node.below) {
            subtree.add(child, parent.prefix);
        }
        let front = std::mem::take(&mut parent.front);
        parent.front = front.merge(node.front, self.budget, &mut self.choices);
    }

    /// Offers the node the wildcards that end on the edge from its parent, which is `parent_depth` bytes deep.
    ///
    /// If the path may be repeated only up to a point above that edge, an ancestor offers the wildcard.
    fn offer_wildcards(&mut self, node: &mut Node<'a>, parent_depth: usize) {
        let edge = parent_depth + 1..=node.depth;
        for phase in Phase::ALL {
            let prefix = node.below[phase as usize].prefix;
            let Some(prefix) = prefix.filter(|prefix| edge.contains(&prefix.len())) else {
                continue;
            };
            // Most nodes stand for a single path, where a wildcard is no better even if it evicts nothing. Finding that
            // out first saves counting what it evicts.
            let covers = node.covers(phase, prefix);
            let covers: Vec<_> =
                covers.filter(|(cover, items)| node.front.lacks(count_wildcards(cover), *items, 0)).collect();
            if covers.is_empty() {
                continue;
            }
            // The outer wildcard evicts everything that the inner one does.
            let collateral = self.live.collateral(prefix, node.position);
            for (cover, items) in covers {
                self.offer(node, cover, items, collateral);
            }
        }
    }

    fn offer(&mut self, node: &mut Node<'a>, cover: Cover<'a>, items: usize, collateral: usize) {
        let wildcards = count_wildcards(&cover);
        if items <= self.budget.items && node.front.lacks(wildcards, items, collateral) {
            let choice = self.choices.add(cover);
            node.front.insert(wildcards, Point { items, collateral, choice }, self.budget);
        }
    }
}

fn count_wildcards(cover: &Cover<'_>) -> usize {
    cover.iter().flatten().count()
}
