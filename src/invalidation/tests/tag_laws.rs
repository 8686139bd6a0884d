//! Laws of invalidations with tags.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::path::{Answer, ViewerPath, viewer_paths};
use super::site::{Site, TaggedSite, Verdict, any_rules, distributions, tagged_sites};
use super::tags::tags_of;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn with_tags_every_stale_copy_is_evicted_by_its_phase(
        tagged in tagged_sites(), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = tagged.plan(&distribution, &rules);
        let new_is_stale = distribution.caches_errors;
        let [new, new_last] = [Verdict::New, Verdict::NewEntryPoint].map(|verdict| -> BTreeSet<String> {
            tagged.site.keys(verdict).iter().flat_map(|key| paths(key, &distribution, &rules)).collect()
        });
        for (key, verdict) in &tagged.site.keys {
            for ViewerPath { path, answer } in viewer_paths(key, &distribution, &rules) {
                for url in urls(&path) {
                    let is_evicted = match verdict {
                        Verdict::Changed if answer != Answer::Redirect => {
                            tagged.is_evicted(&plan.first.list, key, &url)
                        }
                        Verdict::ChangedEntryPoint if answer != Answer::Redirect => {
                            tagged.is_evicted(&plan.last.list, key, &url)
                        }
                        // A cached error has no tags.
                        Verdict::New => !new_is_stale || evicted(&plan.first.list, &url),
                        Verdict::NewEntryPoint => !new_is_stale || evicted(&plan.last.list, &url),
                        // Nor has a redirect.
                        Verdict::Deleted if answer != Answer::Object => evicted(&plan.last.list, &url),
                        Verdict::Deleted => tagged.is_evicted(&plan.last.list, key, &url),
                        Verdict::Changed | Verdict::ChangedEntryPoint | Verdict::Kept => true,
                    };
                    prop_assert!(is_evicted, "{key}: {url} by {plan:?}");
                    // The answer of a key whose place another one takes may have been cached at any time, with or without
                    // tags.
                    let is_known = matches!(verdict, Verdict::Changed | Verdict::ChangedEntryPoint | Verdict::Kept);
                    let is_taken_over = is_known && new.contains(&path);
                    prop_assert!(!is_taken_over || evicted(&plan.first.list, &url), "{key}: {url} by {plan:?}");
                    let is_taken_over = (is_known || *verdict == Verdict::New) && new_last.contains(&path);
                    prop_assert!(!is_taken_over || evicted(&plan.last.list, &url), "{key}: {url} by {plan:?}");
                }
            }
        }
    }

    #[test]
    fn tags_evict_no_more_and_keep_the_limits(
        tagged in tagged_sites(), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = tagged.plan(&distribution, &rules);
        let plain = tagged.site.plan(&distribution, &rules);
        let has_tags = [&plan.first, &plan.last].iter().any(|items| items.list.iter().any(|it| is_tag(it)));
        prop_assert!(plan == plain || plan.collateral < plain.collateral && has_tags, "{plan:?} {plain:?}");
        prop_assert!(count_items(&plan) <= rules.max_items.max(count_items(&plain)));
        prop_assert!(count_wildcards(&plan) <= rules.max_wildcards.max(count_wildcards(&plain)));
        for phase in [&plan.first, &plan.last] {
            prop_assert!(phase.list.is_sorted_by(|one, other| one < other));
            for item in &phase.list {
                prop_assert_eq!(validate(item), Ok(()));
            }
        }
    }

    #[test]
    fn with_tags_every_unchanged_object_that_is_evicted_is_counted(tagged in tagged_sites(), rules in any_rules()) {
        let site = Distribution::plain();
        let plan = tagged.plan(&site, &rules);
        let stale: BTreeSet<String> = (tagged.site.keys.iter())
            .filter(|(_, verdict)| *verdict != Verdict::Kept)
            .flat_map(|(key, _)| paths(key, &site, &rules))
            .collect();
        let lost = tagged.site.keys(Verdict::Kept).into_iter().filter(|key| {
            let path = format!("/{key}");
            let by_tag = tags_of(key).map(|tag| format!("#{tag}"));
            let items = [&plan.first.list[..], &plan.last.list].concat();
            // Exact items do not count: `/+` evicts the key `+`, and happens to be a URL of the key ` ` too.
            let wildcards: Vec<_> = items.iter().filter(|item| item.ends_with('*')).cloned().collect();
            let is_hit = urls(&path).iter().any(|url| evicted(&wildcards, url));
            items.iter().any(|item| by_tag.contains(item)) || (is_hit && !stale.contains(&path))
        });
        prop_assert_eq!(plan.collateral, lost.count(), "{:?}", plan);
    }

    #[test]
    fn with_tags_the_order_of_the_keys_makes_no_difference(tagged in tagged_sites(), rules in any_rules()) {
        let mut keys = tagged.site.keys.clone();
        keys.reverse();
        keys.extend(tagged.site.keys.iter().take(3).cloned());
        let shuffled = TaggedSite { site: Site { keys }, ..tagged.clone() };
        let site = Distribution::plain();
        prop_assert_eq!(tagged.plan(&site, &rules), shuffled.plan(&site, &rules));
    }
}
