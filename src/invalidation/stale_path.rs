//! The viewer paths that go stale.

use std::collections::HashSet;

use super::item::Spelling;
use super::path::{Answer, outer_aliases, viewer_paths};
use super::target::{Need, Target};
use super::{ByPhase, Distribution, InvalidationRules, Phase, StaleKeys, paths};

/// A viewer path that goes stale.
pub(super) struct StalePath<'k> {
    /// Decoded.
    pub(super) path: String,
    /// The key whose object is the only one that caches can hold under the path; `None` where that is not certain.
    pub(super) sole_key: Option<&'k str>,
    pub(super) need: Need,
    wildcard_bytes: usize,
}

impl<'k> StalePath<'k> {
    fn new(path: String, sole_key: Option<&'k str>, query_strings: bool) -> Self {
        let spelling = Spelling::of(&path, query_strings);
        let wildcards = spelling.items.iter().filter(|item| item.ends_with('*')).count();
        let need = match spelling.items.len() {
            0 => Need::Wildcard,
            items => Need::ExactItems { items: saturated(items), wildcards: saturated(wildcards) },
        };
        Self { path, sole_key, need, wildcard_bytes: spelling.wildcard_bytes }
    }

    pub(super) fn target(&self, phase: Phase) -> Target<'_> {
        let path = match self.need {
            Need::Wildcard => &self.path[..self.wildcard_bytes],
            _ => self.path.as_str(),
        };
        Target::new(phase, path, self.wildcard_bytes.min(path.len()), self.need)
    }
}

fn saturated(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// Returns the viewer paths that go stale, sorted and unique.
pub(super) fn stale_paths<'k>(
    distribution: &Distribution,
    stale: &StaleKeys<'k>,
    rules: &InvalidationRules<'_>,
) -> ByPhase<Vec<StalePath<'k>>> {
    let paths_of_changed = |keys: &[&'k str]| {
        // A redirect to an index document stays as it is while the document only changes.
        paths_with_keys(distribution, keys, rules, |answer| match answer {
            Answer::Object | Answer::ObjectOrRedirect => Some(IsTagged(true)),
            Answer::Redirect => None,
        })
    };
    let mut first = paths_of_changed(&stale.changed);
    let known = [&stale.kept[..], &stale.changed, &stale.changed_entry_points];
    first.extend(paths_of_new_keys(distribution, &stale.new, &known, rules));
    first.extend(
        stale.unknown_under.into_iter().flat_map(|it| outer_aliases(it, distribution)).map(|path| (path, None)),
    );

    let mut last = paths_of_changed(&stale.changed_entry_points);
    // By then the other new keys have answered.
    let known = [&known[..], &[&stale.new]].concat();
    last.extend(paths_of_new_keys(distribution, &stale.new_entry_points, &known, rules));
    last.extend(paths_with_keys(distribution, &stale.deleted, rules, |answer| {
        Some(IsTagged(answer == Answer::Object))
    }));
    [first, last].map(|paths| unique(paths, distribution.query_strings))
}

/// Whether every answer under a path that goes stale with its key has the key's cache tags.
struct IsTagged(bool);

/// Returns the paths of these keys that go stale, as `judge` says by their answers.
fn paths_with_keys<'k>(
    distribution: &Distribution,
    keys: &[&'k str],
    rules: &InvalidationRules<'_>,
    judge: impl Fn(Answer) -> Option<IsTagged>,
) -> Vec<(String, Option<&'k str>)> {
    let mut found = Vec::new();
    for key in keys {
        let paths = viewer_paths(key, distribution, rules).into_iter();
        found.extend(paths.filter_map(|path| Some((path.path, judge(path.answer)?.0.then_some(*key)))));
    }
    found
}

/// Returns the paths of new keys for which caches may hold an answer. The objects of the `known` keys have answered
/// before.
fn paths_of_new_keys<'k>(
    distribution: &Distribution,
    new: &[&str],
    known: &[&[&str]],
    rules: &InvalidationRules<'_>,
) -> Vec<(String, Option<&'k str>)> {
    let mut keys = new.to_vec();
    keys.sort_unstable();
    keys.dedup();
    let new_paths = keys.iter().flat_map(|key| paths(key, distribution, rules));
    if distribution.caches_errors {
        return new_paths.map(|path| (path, None)).collect();
    }
    // Where errors are not cached, no cache has an answer from a key that did not exist. There are two exceptions, both
    // for aliases. Two new keys may share one: until the second is written, the first answers it alone. And another
    // object may have answered it until now, as `about/index.html` did before `about.html` was added. A changed object
    // may have answered with a redirect, which its change alone does not make stale.
    let mut unique = HashSet::new();
    let mut answered: Vec<String> = new_paths.filter_map(|path| unique.replace(path)).collect();
    if !unique.is_empty() {
        let known_paths = known.iter().copied().flatten().flat_map(|key| paths(key, distribution, rules));
        answered.extend(known_paths.filter(|path| unique.contains(path)));
    }
    answered.into_iter().map(|path| (path, None)).collect()
}

fn unique(mut paths: Vec<(String, Option<&str>)>, query_strings: bool) -> Vec<StalePath<'_>> {
    paths.sort_unstable();
    let mut unique: Vec<StalePath<'_>> = Vec::with_capacity(paths.len());
    for (path, key) in paths {
        match unique.last_mut() {
            // Where several objects may have answered, none is certain to have done so.
            Some(last) if last.path == path => last.sole_key = last.sole_key.filter(|sole_key| Some(*sole_key) == key),
            _ => unique.push(StalePath::new(path, key, query_strings)),
        }
    }
    unique
}
