//! The ways to cover a part of the trie of which none is better than another.

use super::Budget;

/// The prefix of the wildcard of each phase, at one node.
pub(super) type Cover<'a> = [Option<&'a str>; 2];

/// One way to cover everything below a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) items: usize,
    /// Unchanged live objects evicted.
    pub(super) collateral: usize,
    pub(super) choice: Choice,
}

/// The wildcards of a point: an index into [`Choices`], or none.
pub(super) type Choice = Option<u32>;

/// The wildcards of all points, shared between them.
#[derive(Default)]
pub(super) struct Choices<'a>(Vec<Link<'a>>);

enum Link<'a> {
    One(Cover<'a>),
    Both(u32, u32),
}

impl<'a> Choices<'a> {
    pub(super) fn one(&mut self, cover: Cover<'a>) -> Choice {
        self.push(Link::One(cover))
    }

    fn both(&mut self, one: Choice, other: Choice) -> Choice {
        match (one, other) {
            (Some(one), Some(other)) => self.push(Link::Both(one, other)),
            (choice, None) | (None, choice) => choice,
        }
    }

    fn push(&mut self, link: Link<'a>) -> Choice {
        // Past 4 billion links there is no memory left to hold them.
        let index = u32::try_from(self.0.len()).ok();
        self.0.push(link);
        index
    }

    /// All wildcards of `point`.
    pub(super) fn covers(&self, point: &Point) -> Vec<Cover<'a>> {
        let mut covers = Vec::new();
        let mut pending: Vec<u32> = point.choice.into_iter().collect();
        while let Some(index) = pending.pop() {
            match self.0[index as usize] {
                Link::One(cover) => covers.push(cover),
                Link::Both(one, other) => pending.extend([one, other]),
            }
        }
        covers
    }
}

/// The best points by their number of wildcards: more items in a row mean less collateral, and
/// no row repeats what fewer wildcards achieve. Empty when nothing covers.
#[derive(Default)]
pub(super) struct ParetoFront(Vec<Vec<Point>>);

impl ParetoFront {
    /// Where there is nothing to cover.
    pub(super) fn of_nothing() -> Self {
        Self(vec![vec![Point { items: 0, collateral: 0, choice: None }]])
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds `items` with `wildcards` among them to every point.
    pub(super) fn charge(&mut self, items: usize, wildcards: usize, bounds: Budget) {
        if wildcards > 0 {
            self.0.splice(..0, std::iter::repeat_with(Vec::new).take(wildcards));
            self.0.truncate(bounds.wildcards + 1);
        }
        for row in &mut self.0 {
            row.iter_mut().for_each(|point| point.items += items);
            row.truncate(row.partition_point(|point| point.items <= bounds.items));
        }
    }

    /// The only point, when it has no wildcard of its own choice.
    fn fixed(&self) -> Option<(usize, usize)> {
        let (row, empty) = self.0.split_last()?;
        match row[..] {
            [Point { items, collateral: 0, choice: None }] if empty.iter().all(Vec::is_empty) => {
                Some((items, empty.len()))
            }
            _ => None,
        }
    }

    /// Covers both what `self` covers and what `other` does.
    pub(super) fn merge(mut self, mut other: Self, bounds: Budget, choices: &mut Choices<'_>) -> Self {
        // Most nodes have one path below them, or paths that are named alone.
        if let Some((items, wildcards)) = other.fixed() {
            self.charge(items, wildcards, bounds);
            return self;
        }
        if let Some((items, wildcards)) = self.fixed() {
            other.charge(items, wildcards, bounds);
            return other;
        }
        if self.0.is_empty() || other.0.is_empty() {
            return Self::default();
        }
        let most = |front: &Self| (front.0.iter()).filter_map(|row| row.last()).map(|point| point.items).max();
        let most_items = match (most(&self), most(&other)) {
            (Some(here), Some(there)) => bounds.items.min(here + there),
            _ => return Self::default(),
        };

        // By items: the cheapest point with exactly so many, and with at most so many in the
        // rows before.
        let mut cheapest: Vec<Option<Pair>> = vec![None; most_items + 1];
        let mut beaten = vec![usize::MAX; most_items + 1];
        let rows = bounds.wildcards.min(self.0.len() + other.0.len() - 2) + 1;
        let mut merged = Vec::with_capacity(rows);
        for wildcards in 0..rows {
            for (here, there) in (0..=wildcards).map(|here| (here, wildcards - here)) {
                let (Some(here), Some(there)) = (self.0.get(here), other.0.get(there)) else {
                    continue;
                };
                for here in here {
                    for there in there {
                        let items = here.items + there.items;
                        if items > most_items {
                            break;
                        }
                        let collateral = here.collateral + there.collateral;
                        let cell = &mut cheapest[items];
                        if cell.is_none_or(|pair| collateral < pair.collateral) {
                            *cell = Some(Pair { collateral, here: here.choice, there: there.choice });
                        }
                    }
                }
            }
            let mut row = Vec::new();
            let mut least = usize::MAX;
            for (items, (cell, beaten)) in cheapest.iter_mut().zip(&mut beaten).enumerate() {
                if let Some(Pair { collateral, here, there }) = cell.take()
                    && collateral < least.min(*beaten)
                {
                    let choice = choices.both(here, there);
                    row.push(Point { items, collateral, choice });
                    least = collateral;
                }
                *beaten = least.min(*beaten);
            }
            merged.push(row);
        }
        Self(merged)
    }

    /// Whether no point is as good as this, in all three respects.
    pub(super) fn lacks(&self, wildcards: usize, items: usize, collateral: usize) -> bool {
        !self.0.iter().take(wildcards + 1).any(|row| {
            let fewer = row.partition_point(|point| point.items <= items);
            row[..fewer].last().is_some_and(|point| point.collateral <= collateral)
        })
    }

    /// Takes in a point that it [lacks](Self::lacks), and drops those that are no better.
    pub(super) fn insert(&mut self, wildcards: usize, point: Point, bounds: Budget) {
        if wildcards > bounds.wildcards {
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

    /// The point with the least collateral, then wildcards, then items, within `limits`.
    pub(super) fn cheapest(&self, limits: Budget) -> Option<Point> {
        (self.0.iter().take(limits.wildcards + 1))
            .filter_map(|row| {
                let within = row.partition_point(|point| point.items <= limits.items);
                row[..within].last()
            })
            .min_by_key(|point| point.collateral)
            .copied()
    }
}

#[derive(Clone, Copy)]
struct Pair {
    collateral: usize,
    here: Choice,
    there: Choice,
}
