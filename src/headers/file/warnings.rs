//! The warnings about a `_headers` file that is used.

use std::collections::BTreeSet;

use super::field::HeaderField;
use super::rule::Rule;
use super::{Applied, HeadersFile};
use crate::cut;
use crate::headers::cache_control::Directives;

/// Rules whose Cache-Control values contradict each other where they match the same file, and rules whose own value
/// contradicts itself.
#[derive(Default)]
pub(super) struct Contradictions {
    joined: Contradiction,
    single: Contradiction,
}

#[derive(Default)]
struct Contradiction {
    rules: BTreeSet<usize>,
    /// The first value that was found.
    example: String,
}

impl Contradictions {
    /// Notes what the rules do to a file.
    pub(super) fn note(&mut self, applied: &Applied<'_>) {
        let is_cache_control = |field: &HeaderField| *field == HeaderField::CacheControl;
        let setting = applied.setting.iter().find(|(field, _)| is_cache_control(field));
        let value = applied.fields.iter().find(|(field, _)| is_cache_control(field));
        let (Some((_, values)), Some((_, Some(text)))) = (setting, value) else { return };
        let directives = values.iter().map(|(_, value)| value.directives(text));
        if directives.fold(Directives::default(), Directives::and).contradict() {
            let contradiction = if values.len() > 1 { &mut self.joined } else { &mut self.single };
            contradiction.note(values.iter().map(|(rule, _)| *rule), text);
        }
    }

    pub(super) fn warnings(&self, rules: &[Rule]) -> Vec<String> {
        let joined = self.joined.warning(rules, |rules, example| {
            format!(
                "rules of `_headers` match the same files, and their values of Cache-Control contradict each other: \
                 {rules}; the values are joined, for example to `{example}`; write `! Cache-Control` in the later rule, \
                 above its own value, to replace the earlier value"
            )
        });
        let single = self.single.warning(rules, |rules, example| {
            format!(
                "rules of `_headers` set a Cache-Control that contradicts itself: {rules}; for example `{example}`; write \
                 only what is meant, since such files do not count as immutable"
            )
        });
        [joined, single].into_iter().flatten().collect()
    }
}

impl Contradiction {
    fn note(&mut self, rules: impl Iterator<Item = usize>, value: &str) {
        if self.rules.is_empty() {
            value.clone_into(&mut self.example);
        }
        self.rules.extend(rules);
    }

    fn warning(&self, rules: &[Rule], sentence: impl Fn(&str, &str) -> String) -> Option<String> {
        let named = named(rules, self.rules.iter().copied());
        (!self.rules.is_empty()).then(|| sentence(&named, &cut::sentence(&[&self.example])))
    }
}

impl HeadersFile {
    pub(super) fn not_stored_warning(&self) -> Option<String> {
        let headers = self.not_stored.iter().map(|(name, lines)| format!("{name} ({lines})"));
        let headers: Vec<String> = headers.collect();
        (!headers.is_empty()).then(|| {
            format!(
                "`_headers` sets headers that S3 does not store with an object: {}; set them in a response headers \
                 policy of the CloudFront distribution",
                cut::sentence_of(&headers, headers.len() + self.also_not_stored)
            )
        })
    }

    pub(super) fn hosts_warning(&self) -> Option<String> {
        (!self.for_hosts.is_empty()).then(|| {
            format!(
                "`_headers` has rules for a single host, which are ignored ({}): an object is the same on every host",
                self.for_hosts
            )
        })
    }
}

/// Returns rules by their paths and lines, as a part of a sentence.
pub(super) fn named(rules: &[Rule], numbers: impl Iterator<Item = usize>) -> String {
    let numbers: BTreeSet<usize> = numbers.collect();
    let rules = numbers.iter().map(|&number| format!("`{}` (line {})", rules[number].path, rules[number].line));
    cut::sentence(&rules.collect::<Vec<_>>())
}
