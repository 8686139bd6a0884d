//! Small generated sites.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::tags::tags_of;
use super::*;

/// What happens to a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Changed,
    New,
    ChangedEntryPoint,
    NewEntryPoint,
    Deleted,
    Kept,
}

impl Verdict {
    pub(super) const ALL: [Self; 6] =
        [Self::Changed, Self::New, Self::ChangedEntryPoint, Self::NewEntryPoint, Self::Deleted, Self::Kept];
}

/// The keys of a small site, and what happens to each.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) keys: Vec<(String, Verdict)>,
}

impl Site {
    pub(super) fn keys(&self, wanted: Verdict) -> Vec<&str> {
        self.keys.iter().filter(|(_, verdict)| *verdict == wanted).map(|(key, _)| key.as_str()).collect()
    }

    pub(super) fn stale_keys(&self) -> StaleKeys<'_> {
        StaleKeys {
            changed: self.keys(Verdict::Changed),
            new: self.keys(Verdict::New),
            changed_entry_points: self.keys(Verdict::ChangedEntryPoint),
            new_entry_points: self.keys(Verdict::NewEntryPoint),
            deleted: self.keys(Verdict::Deleted),
            kept: self.keys(Verdict::Kept),
            unknown_under: None,
        }
    }

    pub(super) fn plan(&self, distribution: &Distribution, rules: &InvalidationRules) -> Invalidation {
        invalidation(distribution, &self.stale_keys(), rules)
    }
}

pub(super) fn sites(alphabet: &'static str) -> impl Strategy<Value = Site> {
    let key = prop_oneof![
        4 => alphabet.prop_map(String::from),
        1 => "([ab]/){0,2}(index|a)\\.html",
    ];
    let verdicts = prop::sample::select(Verdict::ALL.to_vec());
    proptest::collection::btree_map(key, verdicts, 0..14).prop_map(|keys| Site { keys: keys.into_iter().collect() })
}

pub(super) fn any_rules() -> impl Strategy<Value = InvalidationRules<'static>> {
    let index_document = prop::sample::select(vec!["index.html", "a"]);
    (0..12_usize, 0..4_usize, any::<bool>(), index_document).prop_map(
        |(max_items, max_wildcards, clean_urls, index_document)| InvalidationRules {
            max_items,
            max_wildcards,
            clean_urls,
            index_document,
        },
    )
}

pub(super) fn distributions() -> impl Strategy<Value = Distribution> {
    let folders = || prop::sample::select(vec![Folders::Keys, Folders::Website, Folders::Function, Folders::Server]);
    let origins = prop_oneof![
        3 => folders().prop_map(|folders| vec![("", folders)]),
        1 => folders().prop_map(|folders| vec![("/a", folders)]),
        1 => (folders(), folders()).prop_map(|(one, other)| vec![("/a", one), ("", other)]),
    ];
    let root = proptest::option::of(prop::sample::select(vec!["a.html", "index.html"]).prop_map(str::to_owned));
    let settings = (origins, root, any::<bool>(), any::<bool>());
    settings.prop_map(|(origins, default_root_object, caches_errors, query_strings)| {
        Distribution { default_root_object, caches_errors, query_strings, ..Distribution::plain() }
            .with_origins(&origins)
    })
}

/// Keys with characters that CloudFront cannot name, or that viewers spell in several ways.
pub(super) const AWKWARD: &str = "[ab/~+ ?éè]{1,4}";

/// A site, and the keys whose cached copies all carry their tags.
#[derive(Clone, Debug)]
pub(super) struct TaggedSite {
    pub(super) site: Site,
    pub(super) marked: BTreeSet<String>,
}

impl TaggedSite {
    pub(super) fn plan(&self, distribution: &Distribution, rules: &InvalidationRules) -> Invalidation {
        tagged_invalidation(distribution, &self.site.stale_keys(), rules, || {
            let mut tags = Tags::default();
            for (key, verdict) in &self.site.keys {
                // The planner must not ask for the tags of new keys, whose absence may be cached without tags.
                let is_new = matches!(verdict, Verdict::New | Verdict::NewEntryPoint);
                let is_marked = !is_new && self.marked.contains(key);
                if *verdict == Verdict::Kept || is_marked {
                    tags.insert(key, tags_of(key));
                }
            }
            tags
        })
    }

    /// Whether every copy of `key` under `url` is evicted.
    pub(super) fn is_evicted(&self, items: &[String], key: &str, url: &str) -> bool {
        let has_tags = self.marked.contains(key);
        let tags = tags_of(key).map(|tag| format!("#{tag}"));
        evicted(items, url) || (has_tags && items.iter().any(|item| tags.contains(item)))
    }
}

pub(super) fn tagged_sites() -> impl Strategy<Value = TaggedSite> {
    let key = prop_oneof![
        3 => "([ab]/){0,2}[ab]{1,2}(\\.html)?",
        1 => "([ab]/){0,2}index\\.html",
        1 => AWKWARD,
    ];
    let verdicts = prop_oneof![
        4 => Just(Verdict::Changed),
        1 => Just(Verdict::New),
        2 => Just(Verdict::ChangedEntryPoint),
        1 => Just(Verdict::NewEntryPoint),
        2 => Just(Verdict::Deleted),
        3 => Just(Verdict::Kept),
    ];
    let keys = proptest::collection::btree_map(key, (verdicts, prop::bool::weighted(0.8)), 0..24);
    keys.prop_map(|keys| TaggedSite {
        marked: (keys.iter().filter(|(_, (_, marked))| *marked)).map(|(key, _)| key.clone()).collect(),
        site: Site { keys: keys.into_iter().map(|(key, (verdict, _))| (key, verdict)).collect() },
    })
}
