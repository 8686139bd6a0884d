//! The rules by their conditions on one segment of a path.

use std::collections::HashMap;

use super::affixes::Affixes;
use crate::headers::file::bits::{Bits, SparseBits};
use crate::headers::file::limits::MAX_RULES;
use crate::headers::pattern::Constraint;

/// The rules by what they demand of the segment at one place of a path.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// The rules that demand nothing of the segment.
    free: Bits,
    literals: HashMap<String, SparseBits>,
    heads: Affixes,
    tails: Affixes,
    /// Lengths in ascending order, each with the rules that are satisfied with it.
    lengths: Vec<(usize, Bits)>,
}

impl Slot {
    /// Takes the constraints of rules, in ascending order of the rules.
    pub(super) fn new(constraints: &[(usize, Constraint<'_>)], rule_count: usize) -> Self {
        let mut free = Bits::none(rule_count);
        (0..rule_count).for_each(|rule| free.insert(rule));
        let mut literals: HashMap<String, SparseBits> = HashMap::new();
        let (mut heads, mut tails, mut min_lengths) = (Vec::new(), Vec::new(), Vec::new());
        for (rule, constraint) in constraints {
            free.remove(*rule);
            match constraint {
                Constraint::Literal(text) => literals.entry((*text).to_owned()).or_default().push(*rule),
                Constraint::Around { head, tail, min_bytes } => {
                    heads.push((head.as_bytes().to_vec(), *rule));
                    tails.push((reversed(tail), *rule));
                    min_lengths.push((*min_bytes, *rule));
                }
            }
        }
        Self {
            free,
            literals,
            heads: Affixes::new(heads, rule_count),
            tails: Affixes::new(tails, rule_count),
            lengths: lengths(min_lengths, rule_count),
        }
    }

    /// Keeps the rules that accept a segment, and counts the steps.
    pub(super) fn retain(&self, segment: &str, rules: &mut Bits, steps: &mut usize) {
        // The segment is hashed once.
        *steps += 7 + rules.words().len() / 3 + segment.len() / 16;
        let of_literal = self.literals.get(segment).map_or(&[][..], SparseBits::words);
        let around = self.around(segment, steps);
        let rules = rules.words_mut();
        let mut literal = [0; MAX_RULES.div_ceil(64)];
        for (kept, (at, word)) in literal.iter_mut().zip(of_literal) {
            *kept = rules[*at] & word;
        }
        match around {
            None => rules.iter_mut().zip(self.free.words()).for_each(|(word, free)| *word &= free),
            Some([heads, tails, lengths]) => {
                let accepted = heads.words().iter().zip(tails.words()).zip(lengths.words()).zip(self.free.words());
                for (word, (((head, tail), length), free)) in rules.iter_mut().zip(accepted) {
                    *word &= (head & tail & length) | free;
                }
            }
        }
        for (kept, (at, _)) in literal.iter().zip(of_literal) {
            rules[*at] |= kept;
        }
    }

    /// Returns the rules whose head, whose tail and whose length the segment has.
    fn around(&self, segment: &str, steps: &mut usize) -> Option<[&Bits; 3]> {
        if self.heads.is_empty() {
            return None;
        }
        let fits = self.lengths.partition_point(|(min_bytes, _)| *min_bytes <= segment.len());
        let (_, lengths) = &self.lengths[fits.checked_sub(1)?];
        let heads = self.heads.rules(|| segment.as_bytes().to_vec(), steps)?;
        let tails = self.tails.rules(|| reversed(segment), steps)?;
        Some([heads, tails, lengths])
    }
}

/// Returns each length with the rules whose minimum is not greater.
pub(super) fn lengths(mut min_lengths: Vec<(usize, usize)>, rule_count: usize) -> Vec<(usize, Bits)> {
    min_lengths.sort_unstable();
    let mut lengths: Vec<(usize, Bits)> = Vec::new();
    for (length, rule) in min_lengths {
        if lengths.last().is_none_or(|(last, _)| *last != length) {
            let shorter = lengths.last().map_or_else(|| Bits::none(rule_count), |(_, rules)| rules.clone());
            lengths.push((length, shorter));
        }
        if let Some((_, rules)) = lengths.last_mut() {
            rules.insert(rule);
        }
    }
    lengths
}

fn reversed(text: &str) -> Vec<u8> {
    text.bytes().rev().collect()
}
