//! The ways to cover a part of the trie of which none is better than another.

use super::{Budget, ByPhase};

/// The prefixes of the wildcards that one node contributes, one for each phase at most.
pub(super) type Cover<'a> = ByPhase<Option<&'a str>>;

/// One way to cover everything below a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) items: usize,
    /// How many unchanged live objects it evicts.
    pub(super) collateral: usize,
    pub(super) choice: Choice,
}

/// The wildcards of a point: an index into [`Choices`], or `None` where there are none.
pub(super) type Choice = Option<u32>;

/// The wildcards of all points.
///
/// Points share them: merging two points stores a link to the wildcards of each instead of a copy.
#[derive(Default)]
pub(super) struct Choices<'a>(Vec<Link<'a>>);

enum Link<'a> {
    Cover(Cover<'a>),
    Both(u32, u32),
}

impl<'a> Choices<'a> {
    pub(super) fn add(&mut self, cover: Cover<'a>) -> Choice {
        self.push(Link::Cover(cover))
    }

    fn join(&mut self, one: Choice, other: Choice) -> Choice {
        match (one, other) {
            (Some(one), Some(other)) => self.push(Link::Both(one, other)),
            (choice, None) | (None, choice) => choice,
        }
    }

    fn push(&mut self, link: Link<'a>) -> Choice {
        // Memory runs out before 4 billion links do.
        let index = u32::try_from(self.0.len()).ok();
        self.0.push(link);
        index
    }

    /// Returns all wildcards of `point`.
    pub(super) fn covers(&self, point: &Point) -> Vec<Cover<'a>> {
        let mut covers = Vec::new();
        let mut pending: Vec<u32> = point.choice.into_iter().collect();
        while let Some(index) = pending.pop() {
            match self.0[index as usize] {
                Link::Cover(cover) => covers.push(cover),
                Link::Both(one, other) => pending.extend([one, other]),
            }
        }
        covers
    }
}

/// The best points, in a row for each number of wildcards.
///
/// A row is sorted by items, and its points with more items have less collateral. Every point has less collateral than
/// the points with fewer wildcards and at most as many items. The front is empty if nothing covers everything below the
/// node.
#[derive(Default)]
pub(super) struct ParetoFront(Vec<Vec<Point>>);

impl ParetoFront {
    /// Returns the front where there is nothing to cover.
    pub(super) fn of_nothing() -> Self {
        Self(vec![vec![Point { items: 0, collateral: 0, choice: None }]])
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds exact items to every point, `wildcards` of which end in `*`.
    pub(super) fn charge(&mut self, items: usize, wildcards: usize, budget: Budget) {
        if wildcards > 0 {
            self.0.splice(..0, std::iter::repeat_with(Vec::new).take(wildcards));
            self.0.truncate(budget.wildcards + 1);
        }
        for row in &mut self.0 {
            row.iter_mut().for_each(|point| point.items += items);
            row.truncate(row.partition_point(|point| point.items <= budget.items));
        }
    }

    /// Returns the items, and the wildcards among them, of a front whose only point consists of exact items.
    fn exact_items(&self) -> Option<(usize, usize)> {
        let (row, fewer) = self.0.split_last()?;
        match row[..] {
            [Point { items, collateral: 0, choice: None }] if fewer.iter().all(Vec::is_empty) => {
                Some((items, fewer.len()))
            }
            _ => None,
        }
    }

    /// Returns the most items of any point; `None` when there is no point.
    fn most_items(&self) -> Option<usize> {
        self.0.iter().filter_map(|row| row.last()).map(|point| point.items).max()
    }

    /// Returns the best ways to cover the nodes of both fronts.
    pub(super) fn merge(mut self, mut other: Self, budget: Budget, choices: &mut Choices<'_>) -> Self {
        // Most nodes have one path below them, or paths that exact items name.
        if let Some((items, wildcards)) = other.exact_items() {
            self.charge(items, wildcards, budget);
            return self;
        }
        if let Some((items, wildcards)) = self.exact_items() {
            other.charge(items, wildcards, budget);
            return other;
        }
        let (Some(here), Some(there)) = (self.most_items(), other.most_items()) else {
            return Self::default();
        };
        let mut merger = RowMerger::new(budget.items.min(here + there));
        let most_wildcards = budget.wildcards.min(self.0.len() + other.0.len() - 2);
        let rows = (0..=most_wildcards).map(|wildcards| {
            for (here, row) in self.0.iter().enumerate().take(wildcards + 1) {
                if let Some(other_row) = other.0.get(wildcards - here) {
                    merger.add_pairs(row, other_row);
                }
            }
            merger.finish_row(choices)
        });
        Self(rows.collect())
    }

    /// Whether the front has no point that is as good in all three respects.
    pub(super) fn lacks(&self, wildcards: usize, items: usize, collateral: usize) -> bool {
        !self.0.iter().take(wildcards + 1).any(|row| {
            let fewer = row.partition_point(|point| point.items <= items);
            row[..fewer].last().is_some_and(|point| point.collateral <= collateral)
        })
    }

    /// Inserts a point that the front [lacks](Self::lacks), and removes those that are no better.
    pub(super) fn insert(&mut self, wildcards: usize, point: Point, budget: Budget) {
        if wildcards > budget.wildcards {
            return;
        }
        if self.0.len() <= wildcards {
            self.0.resize_with(wildcards + 1, Vec::new);
        }
        for row in &mut self.0[wildcards..] {
            row.retain(|old| old.items < point.items || old.collateral < point.collateral);
        }
        let row = &mut self.0[wildcards];
        let index = row.partition_point(|old| old.items < point.items);
        row.insert(index, point);
    }

    /// Returns the point with the least collateral, then wildcards, then items, within the budget.
    pub(super) fn cheapest(&self, budget: Budget) -> Option<Point> {
        let rows = self.0.iter().take(budget.wildcards + 1);
        let best_of_rows = rows.filter_map(|row| {
            let within = row.partition_point(|point| point.items <= budget.items);
            row[..within].last()
        });
        best_of_rows.min_by_key(|point| point.collateral).copied()
    }
}

/// Builds the rows of a merged front, from no wildcards upwards: of all pairs of points, one from each front, the best
/// become the points of the merged front.
struct RowMerger {
    /// For each number of items, the pair of the current row with the least collateral.
    cheapest: Vec<Option<Pair>>,
    /// For each number of items, the least collateral in the rows before with at most as many items.
    least_before: Vec<usize>,
}

/// One point of each front, which together cover both nodes.
#[derive(Clone, Copy)]
struct Pair {
    collateral: usize,
    choices: (Choice, Choice),
}

impl RowMerger {
    fn new(max_items: usize) -> Self {
        Self { cheapest: vec![None; max_items + 1], least_before: vec![usize::MAX; max_items + 1] }
    }

    /// Adds every pair of points from two rows whose wildcards add up to those of the current row.
    fn add_pairs(&mut self, row: &[Point], other_row: &[Point]) {
        for point in row {
            for other in other_row {
                // Each further point of the other row has more items.
                let Some(cheapest) = self.cheapest.get_mut(point.items + other.items) else {
                    break;
                };
                let collateral = point.collateral + other.collateral;
                if cheapest.is_none_or(|pair| collateral < pair.collateral) {
                    *cheapest = Some(Pair { collateral, choices: (point.choice, other.choice) });
                }
            }
        }
    }

    /// Returns the points of the current row, and begins the next row.
    ///
    /// A pair becomes a point if it has less collateral than every pair of the row with fewer items (`least`), and than
    /// every point of the rows before with at most as many items (`least_before`).
    fn finish_row(&mut self, choices: &mut Choices<'_>) -> Vec<Point> {
        let mut row = Vec::new();
        let mut least = usize::MAX;
        for (items, (cheapest, least_before)) in self.cheapest.iter_mut().zip(&mut self.least_before).enumerate() {
            if let Some(Pair { collateral, choices: (one, other) }) = cheapest.take()
                && collateral < least.min(*least_before)
            {
                row.push(Point { items, collateral, choice: choices.join(one, other) });
                least = collateral;
            }
            *least_before = least.min(*least_before);
        }
        row
    }
}
