//! The index of a file's rules by their path patterns.
//!
//! It finds all rules that match a path at once. A path's segments are taken one by one, and each removes the rules
//! that do not accept it from a set of bits. The cost of a path thus depends on the number of its segments and of the
//! rules divided by 64, and not on how many rules match in part.

mod affixes;
mod slot;

use super::bits::Bits;
use crate::headers::pattern::{Constraint, MAX_SEGMENTS, Pattern, Shape};

use slot::{Slot, lengths};

/// The rules of a file, by their path patterns.
#[derive(Clone, Debug)]
pub(super) struct Index {
    rule_count: usize,
    /// The shapes of paths with a given number of segments, and those with at least that number.
    exact: Layer,
    open: Layer,
    /// The rules whose patterns the index does not decide.
    inexact: Bits,
}

/// A shape of each rule, or of some rules.
#[derive(Clone, Debug)]
struct Layer {
    /// The rules that accept a number of segments, by that number.
    counts: Vec<(usize, Bits)>,
    /// The conditions on the first segments, and on the last ones, the last one first.
    front: Vec<Slot>,
    back: Vec<Slot>,
}

impl Index {
    pub(super) fn new<'a>(patterns: impl Iterator<Item = &'a Pattern> + Clone) -> Self {
        let rule_count = patterns.clone().count();
        let mut inexact = Bits::none(rule_count);
        let (mut exact, mut open) = (Vec::new(), Vec::new());
        for (rule, pattern) in patterns.enumerate() {
            if pattern.has_inexact_shapes() {
                inexact.insert(rule);
            }
            for shape in pattern.shapes() {
                let layer = if shape.is_open { &mut open } else { &mut exact };
                layer.push((rule, shape));
            }
        }
        Self { rule_count, exact: Layer::exact(&exact, rule_count), open: Layer::open(&open, rule_count), inexact }
    }

    /// Returns the rules that match a path, except that [`Self::undecided`] ones may not; counts the steps.
    pub(super) fn candidates(&self, path: &str, steps: &mut usize) -> Bits {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        *steps += 10 + segments.len();
        let mut rules = self.exact.matching(&segments, self.rule_count, true, steps);
        rules.unite(&self.open.matching(&segments, self.rule_count, false, steps));
        rules
    }

    /// Returns the rules that the index does not decide.
    pub(super) fn inexact(&self) -> impl Iterator<Item = usize> {
        self.inexact.numbers()
    }

    /// Returns those of the candidates that have to be matched one by one, except those that are known to match.
    pub(super) fn undecided(&self, candidates: &Bits, known: &Bits) -> Vec<usize> {
        let inexact = candidates.common(&self.inexact, 0);
        inexact.filter(|&rule| !known.contains(rule)).collect()
    }
}

impl Layer {
    fn exact(shapes: &[(usize, Shape<'_>)], rule_count: usize) -> Self {
        let mut counts: Vec<(usize, Bits)> = Vec::new();
        let mut sorted: Vec<(usize, usize)> = shapes.iter().map(|(rule, shape)| (shape.segments, *rule)).collect();
        sorted.sort_unstable();
        for (count, rule) in sorted {
            if counts.last().is_none_or(|(last, _)| *last != count) {
                counts.push((count, Bits::none(rule_count)));
            }
            if let Some((_, rules)) = counts.last_mut() {
                rules.insert(rule);
            }
        }
        Self::new(counts, shapes, rule_count)
    }

    fn open(shapes: &[(usize, Shape<'_>)], rule_count: usize) -> Self {
        let min_counts = shapes.iter().map(|(rule, shape)| (shape.segments, *rule)).collect();
        Self::new(lengths(min_counts, rule_count), shapes, rule_count)
    }

    fn new(counts: Vec<(usize, Bits)>, shapes: &[(usize, Shape<'_>)], rule_count: usize) -> Self {
        Self {
            counts,
            front: slots(shapes.iter().map(|(rule, shape)| (*rule, &shape.front[..])), rule_count),
            back: slots(shapes.iter().map(|(rule, shape)| (*rule, &shape.back[..])), rule_count),
        }
    }

    /// Returns the rules whose shape the segments have.
    fn matching(&self, segments: &[&str], rule_count: usize, is_exact: bool, steps: &mut usize) -> Bits {
        let fits = self.counts.partition_point(|(count, _)| *count <= segments.len());
        let counted = fits.checked_sub(1).map(|last| &self.counts[last]);
        let counted = counted.filter(|(count, _)| !is_exact || *count == segments.len());
        let Some((_, counted)) = counted else { return Bits::none(rule_count) };
        let mut rules = counted.clone();
        let in_front = self.front.iter().zip(segments.iter());
        let in_back = self.back.iter().zip(segments.iter().rev());
        for (slot, segment) in in_front.chain(in_back) {
            if rules.is_empty() {
                break;
            }
            slot.retain(segment, &mut rules, steps);
        }
        rules
    }
}

/// Returns one slot for each place in the lists of constraints.
fn slots<'a>(lists: impl Iterator<Item = (usize, &'a [Constraint<'a>])> + Clone, rule_count: usize) -> Vec<Slot> {
    let length = lists.clone().map(|(_, list)| list.len()).max().unwrap_or(0);
    debug_assert!(length <= MAX_SEGMENTS);
    let at = |place: usize| -> Vec<(usize, Constraint<'a>)> {
        lists.clone().filter_map(|(rule, list)| Some((rule, list.get(place)?.clone()))).collect()
    };
    (0..length).map(|place| Slot::new(&at(place), rule_count)).collect()
}

#[cfg(test)]
mod tests;
