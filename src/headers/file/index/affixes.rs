//! The texts with which segments must begin.

use crate::headers::file::bits::Bits;

/// The rules that demand that a text begins with an affix, by affix.
///
/// Suffixes are affixes of the reversed text.
#[derive(Clone, Debug, Default)]
pub(super) struct Affixes {
    /// Sorted by their bytes.
    affixes: Vec<Affix>,
}

#[derive(Clone, Debug)]
struct Affix {
    bytes: Vec<u8>,
    /// The longest other affix with which this one begins.
    shorter: Option<usize>,
    /// The rules of this affix and of all with which it begins.
    rules: Bits,
}

impl Affixes {
    /// Takes the affix of each rule.
    pub(super) fn new(mut of_rules: Vec<(Vec<u8>, usize)>, rule_count: usize) -> Self {
        of_rules.sort_unstable();
        let mut affixes: Vec<Affix> = Vec::new();
        for (bytes, rule) in of_rules {
            if affixes.last().is_none_or(|last| last.bytes != bytes) {
                let shorter = begins_text(&affixes, affixes.len().checked_sub(1), &bytes).0;
                let rules = shorter.map_or_else(|| Bits::none(rule_count), |it| affixes[it].rules.clone());
                affixes.push(Affix { bytes, shorter, rules });
            }
            if let Some(last) = affixes.last_mut() {
                last.rules.insert(rule);
            }
        }
        Self { affixes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.affixes.is_empty()
    }

    /// Returns the rules whose affix begins a text, and counts the steps.
    pub(super) fn rules(&self, text: impl Fn() -> Vec<u8>, steps: &mut usize) -> Option<&Bits> {
        if let [Affix { bytes, rules, .. }] = &self.affixes[..]
            && bytes.is_empty()
        {
            return Some(rules);
        }
        let text = &*text();
        // A binary search, each step of which may compare the whole text.
        *steps += self.affixes.len().ilog2() as usize * (2 + text.len() / 64) + text.len() / 4;
        let after = self.affixes.partition_point(|affix| &*affix.bytes <= text);
        let (found, taken) = begins_text(&self.affixes, after.checked_sub(1), text);
        *steps += taken + 1;
        found.map(|affix| &self.affixes[affix].rules)
    }
}

/// Returns the longest affix that begins a text, and how many steps it took to find it.
///
/// The last affix that is not greater than the text begins with it.
fn begins_text(affixes: &[Affix], last: Option<usize>, text: &[u8]) -> (Option<usize>, usize) {
    let Some(last) = last else { return (None, 0) };
    let common = affixes[last].bytes.iter().zip(text).take_while(|(one, other)| one == other).count();
    let (mut affix, mut steps) = (Some(last), 0);
    while let Some(candidate) = affix.filter(|&it| affixes[it].bytes.len() > common) {
        affix = affixes[candidate].shorter;
        steps += 1;
    }
    (affix, steps)
}
