//! Which cache tags take the place of wildcards.
//!
//! A tag evicts the objects that share it, wherever they lie and under whatever alias and query
//! string they were cached, and so it can be a better fit than any wildcard: all pages, or what
//! lies in one folder and not below it. Tags are lined up greedily, by what each adds to those
//! before it, and the planner is asked what the first 1, 2, 4, … of them leave for it to do. That
//! need not find the best combination; it never gives one that is worse than no tags at all.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::budget::Need;
use super::survey::{Survey, Tagged};
use super::{Invalidation, Phase};

/// Wildcards are few, so a path that needs one is worth as much as so many that do not.
const WILDCARD_WEIGHT: usize = 10;

/// Tags are only lined up from so many candidates in each of the two orders.
const MAX_CANDIDATES: usize = 1_000;

/// The planner is given at most so many stale paths over all its trials: one trial with 100,000 takes
/// some tenths of a second, and one with a few thousand next to nothing. Where tags leave more to
/// be covered than that, they hardly help.
const MAX_EFFORT: usize = 20_000;

/// The cache tags of objects, by key.
///
/// Of a stale key only where every copy that a cache may hold carries them, since the tag must
/// find them all; of a key that is kept in any case, since the tag may find some.
#[derive(Debug, Default)]
pub struct Tags<'a> {
    numbers: HashMap<String, u32>,
    of: HashMap<&'a str, [u32; 2]>,
}

impl<'a> Tags<'a> {
    pub fn insert(&mut self, key: &'a str, tags: [String; 2]) {
        let numbers = tags.map(|tag| {
            // There are fewer tags than objects, and S3 listings of 4 billion do not fit into memory.
            let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            *self.numbers.entry(tag).or_insert(next)
        });
        self.of.insert(key, numbers);
    }

    #[cfg(test)]
    pub fn has(&self, key: &str) -> bool {
        self.of.contains_key(key)
    }

    /// Numbers in the order of the names, so that no answer depends on who came first.
    fn of(&self, keys: impl Iterator<Item = Option<&'a str>>) -> Vec<Option<[usize; 2]>> {
        let mut names: Vec<(&str, u32)> = self.numbers.iter().map(|(name, number)| (name.as_str(), *number)).collect();
        names.sort_unstable();
        let mut ranks = vec![0; names.len()];
        for (rank, (_, number)) in names.into_iter().enumerate() {
            ranks[number as usize] = rank;
        }
        keys.map(|key| {
            let numbers = self.of.get(key?)?;
            Some(numbers.map(|number| ranks[number as usize]))
        })
        .collect()
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.numbers.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

/// One tag, sent in one phase.
type Candidate = (usize, Phase);

/// Gives a cover with tags that evicts fewer unchanged objects than `plain`, or `plain`.
pub(super) fn improve(plain: Invalidation, survey: &Survey<'_>, tags: &Tags<'_>) -> Invalidation {
    let search = Search::new(survey, tags);
    let mut lines = [Order::Harmless, Order::Dense].map(|order| Line {
        tags: search.line_up(order),
        tried: Vec::new(),
        best_length: 0,
    });
    let mut trials = Trials {
        search: &search,
        // The limits may be lower than what coverage takes.
        most_wildcards: survey.rules.max_wildcards.max(wildcards(&plain)),
        most_items: survey.rules.max_items.max(items(&plain)),
        best: plain,
        effort: 0,
    };
    let longest = lines.each_ref().map(|line| line.tags.len());
    let mut length = longest.into_iter().max().unwrap_or_default();
    while length > 0 {
        for line in &mut lines {
            trials.run(line, length);
        }
        length /= 2;
    }
    // Between the lengths tried, ever closer to the best of them.
    for line in &mut lines {
        let mut step = line.best_length / 4;
        while step > 0 {
            for length in [line.best_length.saturating_sub(step), line.best_length + step] {
                trials.run(line, length);
            }
            step /= 2;
        }
    }
    trials.best
}

/// Tags in one order, and what came of its beginnings.
struct Line {
    tags: Vec<Candidate>,
    tried: Vec<usize>,
    best_length: usize,
}

struct Trials<'t, 's, 'a> {
    search: &'t Search<'s, 'a>,
    best: Invalidation,
    most_wildcards: usize,
    most_items: usize,
    effort: usize,
}

impl Trials<'_, '_, '_> {
    /// Asks the planner what the first tags of a line leave to do.
    fn run(&mut self, line: &mut Line, length: usize) {
        let length = length.min(line.tags.len());
        if length == 0 || line.tried.contains(&length) || self.effort >= MAX_EFFORT {
            return;
        }
        line.tried.push(length);
        let tagged = self.search.tagged(&line.tags[..length]);
        if tagged.collateral() >= self.best.collateral {
            // Tags that evict so much by themselves leave nothing to gain.
            return;
        }
        let effort = self.effort + tagged.left();
        if effort > MAX_EFFORT {
            return;
        }
        self.effort = effort;
        let cover = self.search.survey.cover(&tagged);
        if cover.collateral < self.best.collateral
            && wildcards(&cover) <= self.most_wildcards
            && items(&cover) <= self.most_items
        {
            line.best_length = length;
            self.best = cover;
        }
    }
}

fn wildcards(cover: &Invalidation) -> usize {
    cover.changed.wildcards + cover.deleted.wildcards
}

fn items(cover: &Invalidation) -> usize {
    cover.changed.paths.len() + cover.deleted.paths.len()
}

/// What is taken first.
#[derive(Clone, Copy)]
enum Order {
    /// What evicts the least, however little it covers.
    Harmless,
    /// What covers the most for each object evicted.
    Dense,
}

struct Search<'s, 'a> {
    survey: &'s Survey<'a>,
    names: Vec<&'s str>,
    /// By [`Phase`], for each stale path.
    of_stale: [Vec<Option<[usize; 2]>>; 2],
    /// For each live key.
    of_live: Vec<Option<[usize; 2]>>,
    /// By [`Phase`] and tag: the stale paths that it covers.
    covers: [Vec<Vec<usize>>; 2],
    /// By tag: the live keys that it evicts.
    evicts: Vec<Vec<usize>>,
}

impl<'s, 'a> Search<'s, 'a> {
    fn new(survey: &'s Survey<'a>, tags: &'s Tags<'a>) -> Self {
        let names = tags.names();
        let of_stale = (survey.stale.each_ref()).map(|paths| tags.of(paths.iter().map(|path| path.of)));
        let of_live = tags.of(survey.live.keys.iter().map(|key| Some(*key)));
        Self {
            covers: of_stale.each_ref().map(|of| by_tag(of, names.len())),
            evicts: by_tag(&of_live, names.len()),
            survey,
            names,
            of_stale,
            of_live,
        }
    }

    fn weight(&self, phase: Phase, path: usize) -> usize {
        match self.survey.stale[phase as usize][path].need {
            Need::Nothing => 0,
            Need::Alone { items, wildcards } => usize::from(items) + usize::from(wildcards) * WILDCARD_WEIGHT,
            Need::Wildcard => WILDCARD_WEIGHT,
        }
    }

    /// The tags that are worth a try, each next one for what those before it leave.
    fn line_up(&self, order: Order) -> Vec<Candidate> {
        let score = |gain: usize, cost: usize, candidate: Candidate| {
            let (tag, phase) = candidate;
            let order = match order {
                Order::Harmless => (Reverse(cost), gain),
                // Parts per million, for whole numbers compare the same everywhere.
                Order::Dense => (Reverse(0), gain.saturating_mul(1_000_000) / (cost + 1)),
            };
            (order, Reverse((tag, phase as usize)))
        };
        let mut gains = [Phase::Changed, Phase::Deleted].map(|phase| {
            let covered = self.covers[phase as usize].iter();
            covered.map(|paths| paths.iter().map(|&path| self.weight(phase, path)).sum::<usize>()).collect::<Vec<_>>()
        });
        let mut costs: Vec<usize> = self.evicts.iter().map(Vec::len).collect();
        let mut candidates: Vec<Candidate> = Phase::ALL
            .into_iter()
            .flat_map(|phase| (0..self.names.len()).map(move |tag| (tag, phase)))
            // One item for one item is no gain.
            .filter(|&(tag, phase)| gains[phase as usize][tag] > 1)
            .collect();
        let now = |gains: &[Vec<usize>; 2], costs: &[usize], (tag, phase): Candidate| {
            score(gains[phase as usize][tag], costs[tag], (tag, phase))
        };
        candidates.sort_unstable_by_key(|&candidate| Reverse(now(&gains, &costs, candidate)));
        candidates.truncate(MAX_CANDIDATES);

        let mut line = Vec::new();
        let mut covered = self.of_stale.each_ref().map(|paths| vec![false; paths.len()]);
        let mut evicted = vec![false; self.of_live.len()];
        while line.len() < self.survey.rules.max_items {
            let best = (candidates.iter().zip(0..))
                .filter(|((tag, phase), _)| gains[*phase as usize][*tag] > 1)
                .max_by_key(|(candidate, _)| now(&gains, &costs, **candidate));
            let Some((&(tag, phase), index)) = best else {
                break;
            };
            candidates.swap_remove(index);
            line.push((tag, phase));
            let done = phase as usize;
            for &path in &self.covers[done][tag] {
                if !std::mem::replace(&mut covered[done][path], true) {
                    for tag in distinct(self.of_stale[done][path]) {
                        gains[done][tag] -= self.weight(phase, path);
                    }
                }
            }
            for &key in &self.evicts[tag] {
                if !std::mem::replace(&mut evicted[key], true) {
                    for tag in distinct(self.of_live[key]) {
                        costs[tag] -= 1;
                    }
                }
            }
        }
        line
    }

    fn tagged(&self, line: &[Candidate]) -> Tagged {
        let mut tagged = self.survey.untagged();
        for &(tag, phase) in line {
            let phase = phase as usize;
            tagged.items[phase].push(format!("#{}", self.names[tag]));
            for &path in &self.covers[phase][tag] {
                tagged.covered[phase][path] = true;
            }
            for &key in &self.evicts[tag] {
                tagged.evicted[phase][key] = true;
            }
        }
        tagged
    }
}

fn by_tag(tags: &[Option<[usize; 2]>], count: usize) -> Vec<Vec<usize>> {
    let mut by_tag = vec![Vec::new(); count];
    for (index, &tags) in tags.iter().enumerate() {
        for tag in distinct(tags) {
            by_tag[tag].push(index);
        }
    }
    by_tag
}

fn distinct(tags: Option<[usize; 2]>) -> impl Iterator<Item = usize> {
    let [one, other] = tags.map_or([None; 2], |tags| tags.map(Some));
    one.into_iter().chain(other.filter(|_| one != other))
}
