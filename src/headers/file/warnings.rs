//! The warnings about a `_headers` file that is used.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::field::HeaderField;
use super::rule::Rule;
use super::{Applied, HeadersFile, Setting};
use crate::cut;
use crate::headers::cache_control::Directives;

/// Rules whose Cache-Control values contradict each other where they match the same file, and rules whose own value
/// contradicts itself.
pub(super) struct Contradictions {
    joined: Contradiction,
    single: Contradiction,
}

struct Contradiction {
    rules: Bits,
    /// The first value that was found.
    example: Option<String>,
}

impl Contradictions {
    pub(super) fn new(rule_count: usize) -> Self {
        let none = || Contradiction { rules: Bits::none(rule_count), example: None };
        Self { joined: none(), single: none() }
    }

    /// Notes what the rules do to a file, and returns how many steps this took.
    ///
    /// A rule whose value contradicts itself contradicts no other: one warning about it is enough.
    pub(super) fn note(&mut self, applied: &Applied<'_>) -> usize {
        let is_cache_control = |field: &HeaderField| *field == HeaderField::CacheControl;
        let setting = applied.setting.iter().find(|(field, _)| is_cache_control(field));
        let value = applied.fields.iter().find(|(field, _)| is_cache_control(field));
        let (Some((_, setting)), Some((_, Some(text)))) = (setting, value) else { return 0 };
        let (mut together, mut consistent) = (Directives::default(), Vec::with_capacity(setting.len()));
        for Setting { rule, value, range } in setting {
            let directives = value.directives(&text[range.clone()]);
            if directives.contradict() {
                self.single.note(*rule, &text[range.clone()]);
            } else {
                together = together.and(directives);
                consistent.push((*rule, directives));
            }
        }
        if together.contradict() {
            let parties = consistent.iter().filter(|(_, directives)| directives.contradict_in(together));
            parties.for_each(|(rule, _)| self.joined.note(*rule, text));
        }
        let is_parsed = setting.iter().any(|it| it.value.is_filled_in());
        setting.len() * 2 + if is_parsed { text.len() } else { 0 }
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
    fn note(&mut self, rule: usize, value: &str) {
        self.rules.insert(rule);
        self.example.get_or_insert_with(|| value.to_owned());
    }

    fn warning(&self, rules: &[Rule], sentence: impl Fn(&str, &str) -> String) -> Option<String> {
        let example = self.example.as_ref()?;
        Some(sentence(&named(rules, self.rules.numbers()), &cut::sentence(&[example])))
    }
}

impl HeadersFile {
    pub(super) fn not_stored_warning(&self) -> Option<String> {
        let headers = self.not_stored.iter().map(|(name, lines)| format!("{name} ({lines})"));
        let headers: Vec<String> = headers.collect();
        // Netlify asks for a password where a rule sets this header (Netlify documentation, "Basic authentication with
        // custom HTTP headers").
        let has_password = self.not_stored.keys().any(|name| name.eq_ignore_ascii_case("basic-auth"));
        let password = "; Basic-Auth protects nothing here: let a CloudFront function ask for the password";
        (!headers.is_empty()).then(|| {
            format!(
                "`_headers` sets headers that S3 does not store with an object: {}; set them in a response headers \
                 policy of the CloudFront distribution{}",
                cut::sentence_of(&headers, headers.len() + self.also_not_stored),
                if has_password { password } else { "" }
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
