//! Which wildcards cover the stale paths within the budget at the least collateral.
//!
//! Dynamic programming over the trie of the stale paths, in which each node stands for the
//! wildcard that repeats the path from the root to it. A node's [`ParetoFront`] holds, for each
//! number of wildcards, the cheapest ways to cover everything below with so many items. Only the
//! wildcards are chosen here: what none of them covers is named alone.
//!
//! Both phases are planned at once, for they share the budget, and an object that the wildcards
//! of both evict is counted once: below a wildcard of one phase the other phase evicts for free,
//! so that one wildcard is all that it can want there.

mod pareto;

use std::ops::Range;

use self::pareto::{Choices, Cover, ParetoFront, Point};
use super::Phase;

/// What one phase wants of a place in the trie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    Nothing,
    /// A path that can be named without evicting anything else, at this price: a few spellings at most. There may
    /// be hundreds of thousands of them, so that they had better be short.
    Alone {
        items: u8,
        wildcards: u8,
    },
    /// Something that only a wildcard here or further up covers.
    Wildcard,
}

impl Need {
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, need) | (need, Self::Nothing) => need,
            (Self::Wildcard, _) | (_, Self::Wildcard) => Self::Wildcard,
            (Self::Alone { .. }, Self::Alone { .. }) => self,
        }
    }
}

/// A place in the trie where something has to be covered.
#[derive(Debug)]
pub(super) struct Spot<'a> {
    /// The decoded path to it.
    pub(super) at: &'a str,
    /// How much of `at` a wildcard may repeat; at least the first slash.
    pub(super) wildcard_bytes: usize,
    /// By [`Phase`].
    pub(super) needs: [Need; 2],
}

impl<'a> Spot<'a> {
    pub(super) fn of(phase: Phase, at: &'a str, wildcard_bytes: usize, need: Need) -> Self {
        let mut needs = [Need::Nothing; 2];
        needs[phase as usize] = need;
        Self { at, wildcard_bytes, needs }
    }

    /// Takes in what else is wanted at the same place.
    pub(super) fn add(&mut self, other: &Self) {
        for (need, other) in self.needs.iter_mut().zip(other.needs) {
            *need = need.and(other);
        }
    }

    /// The longest prefix for a wildcard that repeats at most `depth` bytes of the path.
    fn prefix(&self, depth: usize) -> &'a str {
        &self.at[..self.at.floor_char_boundary(depth.min(self.wildcard_bytes))]
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) items: usize,
    pub(super) wildcards: usize,
}

/// What a wildcard costs: the live paths, and how many of them are to be spared.
pub(super) struct LivePaths<'a> {
    /// Sorted.
    paths: &'a [String],
    /// For each path, how many of those before it count; one more at the end.
    before: Vec<usize>,
}

impl<'a> LivePaths<'a> {
    /// `counts` says of each path whether its eviction costs anything.
    pub(super) fn new(paths: &'a [String], counts: impl Iterator<Item = bool>) -> Self {
        let mut total = 0;
        let sums = counts.map(|counts| {
            total += usize::from(counts);
            total
        });
        let before = std::iter::once(0).chain(sums).collect();
        Self { paths, before }
    }

    /// Where each of the spots, which are sorted, would stand among the paths.
    fn places(&self, spots: &[Spot<'_>]) -> Vec<usize> {
        let mut place = 0;
        let place_of = |spot: &Spot<'_>| {
            let before = self.paths[place..].iter().take_while(|path| path.as_str() < spot.at);
            place += before.count();
            place
        };
        spots.iter().map(place_of).collect()
    }

    /// How many of the paths under `prefix` count; something that starts with it stands at `place`.
    ///
    /// Most prefixes have few paths, so that looking outwards from the place is a third of the work of
    /// searching all paths for each.
    fn collateral(&self, prefix: &str, place: usize) -> usize {
        let is_under = |path: &String| path.starts_with(prefix);
        let reach = |is_under: &dyn Fn(usize) -> bool, most: usize| {
            let mut reach = 1;
            while reach <= most && is_under(reach) {
                reach *= 2;
            }
            (reach / 2, reach.min(most + 1))
        };
        let (least, most) = reach(&|back| is_under(&self.paths[place - back]), place);
        let first = place + 1 - most;
        let start = first + self.paths[first..place - least].partition_point(|path| !is_under(path));
        let (least, most) = reach(&|onward| is_under(&self.paths[place + onward - 1]), self.paths.len() - place);
        let (first, last) = (place + least, place + most - 1);
        let end = first + self.paths[first..last].partition_point(is_under);
        self.before[end] - self.before[start]
    }
}

/// The prefixes of the wildcards to send, by [`Phase`] and sorted; what does not start with one of
/// them is to be named alone. `spots` is sorted and unique.
pub(super) fn wildcards<'a>(spots: &[Spot<'a>], live: &LivePaths<'_>, limits: Budget) -> [Vec<&'a str>; 2] {
    let wants = |phase: Phase| spots.iter().any(|spot| spot.needs[phase as usize] != Need::Nothing);
    let phases = Phase::ALL.into_iter().filter(|&phase| wants(phase)).count();
    // With one wildcard for each phase, the root's, there always is a cover.
    let bounds = Budget { items: limits.items.max(phases), wildcards: limits.wildcards.max(phases) };
    let mut planner = Planner { spots, live, bounds, choices: Choices::default() };
    let Some(root) = planner.root() else {
        return Default::default();
    };
    let best = (root.cheapest(limits)).or_else(|| root.cheapest(bounds));
    // The root's front is never empty, as said above.
    let mut covers = best.map(|point| planner.choices.covers(&point)).unwrap_or_default();
    fill(&mut covers, spots, limits.wildcards);
    Phase::ALL.map(|phase| {
        let mut prefixes: Vec<&str> = covers.iter().filter_map(|cover| cover[phase as usize]).collect();
        prefixes.sort_unstable();
        prefixes
    })
}

/// Spends the wildcards that are left on what the other phase's wildcards evict anyway: the
/// planner takes the fewest, but each item has its price, and these spare many of them.
fn fill<'a>(covers: &mut [Cover<'a>], spots: &[Spot<'a>], max_wildcards: usize) {
    let mut left = max_wildcards.saturating_sub(covers.iter().flatten().flatten().count());
    let mut fillings: Vec<(usize, usize, Phase, &str)> = Vec::new();
    for (index, cover) in covers.iter().enumerate() {
        let (outer, phase) = match *cover {
            [Some(outer), None] => (outer, Phase::Deleted),
            [None, Some(outer)] => (outer, Phase::Changed),
            _ => continue,
        };
        let start = spots.partition_point(|spot| spot.at < outer);
        let below: Vec<&Spot<'a>> = (spots[start..].iter())
            .take_while(|spot| spot.at.starts_with(outer))
            .filter(|spot| spot.needs[phase as usize] != Need::Nothing)
            .collect();
        if let [first, .., last] = below[..] {
            let inner = first.prefix(shared_bytes(first.at, last.at));
            fillings.push((below.len(), index, phase, inner));
        }
    }
    fillings.sort_unstable_by_key(|&(items, _, _, inner)| (std::cmp::Reverse(items), inner));
    for (_, index, phase, inner) in fillings {
        if left > 0 {
            covers[index][phase as usize] = Some(inner);
            left -= 1;
        }
    }
}

/// Which of `sorted` start with `prefix`.
pub(super) fn range(sorted: &[String], prefix: &str) -> Range<usize> {
    let start = sorted.partition_point(|text| text.as_str() < prefix);
    let len = sorted[start..].partition_point(|text| text.starts_with(prefix));
    start..start + len
}

/// What lies below a node, as far as one phase goes.
#[derive(Clone, Copy, Default)]
struct Below<'a> {
    /// What it takes to name everything without a wildcard, where that can be done.
    items: Option<usize>,
    /// The tightest wildcard over everything; `None` when there is nothing.
    prefix: Option<&'a str>,
}

impl<'a> Below<'a> {
    fn of(need: Need, prefix: &'a str) -> Self {
        let items = match need {
            Need::Nothing => {
                return Self { items: Some(0), prefix: None };
            }
            Need::Alone { items, wildcards: 0 } => Some(items.into()),
            Need::Alone { .. } | Need::Wildcard => None,
        };
        Self { items, prefix: Some(prefix) }
    }

    /// Takes in what lies below another child; `prefix` is the wildcard of the node itself.
    fn add(&mut self, other: Self, prefix: &'a str) {
        self.items = self.items.zip(other.items).map(|(here, there)| here + there);
        self.prefix = match (self.prefix, other.prefix) {
            (Some(_), Some(_)) => Some(prefix),
            (here, there) => here.or(there),
        };
    }
}

/// A node of the trie whose children are still coming in.
struct Node<'a> {
    /// Bytes from the root.
    depth: usize,
    /// The wildcard that repeats as much of them as it may.
    prefix: &'a str,
    /// Where the first spot below stands among the live paths.
    place: usize,
    below: [Below<'a>; 2],
    /// The covers of everything below, without this node's own wildcards.
    front: ParetoFront,
}

impl<'a> Node<'a> {
    /// Where `spot` branches off from the spots before it, `depth` bytes from the root.
    fn fork(spot: &Spot<'a>, depth: usize, place: usize) -> Self {
        Self {
            depth,
            prefix: spot.prefix(depth),
            place,
            below: [Below::of(Need::Nothing, ""); 2],
            front: ParetoFront::of_nothing(),
        }
    }
}

struct Planner<'a, 's> {
    spots: &'s [Spot<'a>],
    live: &'s LivePaths<'s>,
    bounds: Budget,
    choices: Choices<'a>,
}

impl<'a> Planner<'a, '_> {
    /// The covers of all spots; `None` when there is none.
    ///
    /// The compressed trie is never built: the spots are sorted, so that its nodes open and
    /// close in the order of a walk, told by the prefix that two neighbours share.
    fn root(&mut self) -> Option<ParetoFront> {
        let spots = self.spots;
        let places = self.live.places(spots);
        let mut open: Vec<Node<'a>> = Vec::new();
        for (index, spot) in spots.iter().enumerate() {
            // Not 0 but for the first spot: all paths start with a slash.
            let shared = match index.checked_sub(1) {
                Some(before) => shared_bytes(spots[before].at, spot.at),
                None => 0,
            };
            while let Some(node) = open.pop_if(|node| node.depth > shared) {
                if open.last().is_none_or(|parent| parent.depth < shared) {
                    open.push(Node::fork(spot, shared, node.place));
                }
                self.close(node, &mut open);
            }
            open.push(self.leaf(spot, places[index]));
        }
        let mut root = loop {
            let node = open.pop()?;
            if open.is_empty() {
                break node;
            }
            self.close(node, &mut open);
        };
        self.complete(&mut root, 0);
        Some(root.front)
    }

    /// Hands `node`, whose children are all in, to its parent, the last of `open`.
    fn close(&mut self, mut node: Node<'a>, open: &mut [Node<'a>]) {
        let Some(parent) = open.last_mut() else {
            return;
        };
        self.complete(&mut node, parent.depth);
        for (here, there) in parent.below.iter_mut().zip(node.below) {
            here.add(there, parent.prefix);
        }
        let here = std::mem::take(&mut parent.front);
        parent.front = here.merge(node.front, self.bounds, &mut self.choices);
    }

    fn leaf(&self, spot: &Spot<'a>, place: usize) -> Node<'a> {
        let prefix = spot.prefix(spot.at.len());
        let mut front = ParetoFront::of_nothing();
        for need in spot.needs {
            match need {
                Need::Nothing => {}
                Need::Alone { items, wildcards } => front.charge(items.into(), wildcards.into(), self.bounds),
                Need::Wildcard => front.clear(),
            }
        }
        Node { depth: spot.at.len(), prefix, place, below: spot.needs.map(|need| Below::of(need, prefix)), front }
    }

    /// Offers the wildcards that end on the edge from the parent, `parent_depth` bytes down, to
    /// the node. One that ends higher up is the parent's to offer.
    fn complete(&mut self, node: &mut Node<'a>, parent_depth: usize) {
        let edge = parent_depth + 1..=node.depth;
        for phase in Phase::ALL {
            let [this, other] = [node.below[phase as usize], node.below[1 - phase as usize]];
            let Some(prefix) = this.prefix.filter(|prefix| edge.contains(&prefix.len())) else {
                continue;
            };
            let mut covers = Vec::with_capacity(2);
            if let Some(items) = other.items {
                let mut cover: Cover<'a> = [None; 2];
                cover[phase as usize] = Some(prefix);
                covers.push((cover, 1 + items));
            }
            // The shorter prefix evicts all that the longer one does.
            if let Some(inner) = other.prefix.filter(|inner| inner.len() >= prefix.len()) {
                let mut cover = [Some(inner); 2];
                cover[phase as usize] = Some(prefix);
                covers.push((cover, 2));
            }
            // At most nodes, one path's, a wildcard is no help even if it evicts nothing.
            covers.retain(|(cover, items)| {
                let wildcards = cover.iter().flatten().count();
                node.front.lacks(wildcards, *items, 0)
            });
            if !covers.is_empty() {
                let collateral = self.live.collateral(prefix, node.place);
                for (cover, items) in covers {
                    self.offer(node, cover, items, collateral);
                }
            }
        }
    }

    fn offer(&mut self, node: &mut Node<'a>, cover: Cover<'a>, items: usize, collateral: usize) {
        let wildcards = cover.iter().flatten().count();
        if items <= self.bounds.items && node.front.lacks(wildcards, items, collateral) {
            let choice = self.choices.one(cover);
            let point = Point { items, collateral, choice };
            node.front.insert(wildcards, point, self.bounds);
        }
    }
}

fn shared_bytes(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}
