//! Laws of invalidations without tags.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::path::{Answer, own_paths, viewer_paths};
use super::brute_force::cheapest_by_brute_force;
use super::site::{AWKWARD, Site, Verdict, any_rules, distributions, sites};
use super::*;
use crate::invalidation::item::Spelling;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_stale_url_is_evicted_by_its_phase(
        site in sites(AWKWARD), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = site.plan(&distribution, &rules);
        let new_is_stale = distribution.caches_errors;
        for (key, verdict) in &site.keys {
            let items = match verdict {
                Verdict::Changed => &plan.first.list,
                Verdict::New if new_is_stale => &plan.first.list,
                Verdict::ChangedEntryPoint | Verdict::Deleted => &plan.last.list,
                Verdict::NewEntryPoint if new_is_stale => &plan.last.list,
                _ => continue,
            };
            let is_changed = matches!(verdict, Verdict::Changed | Verdict::ChangedEntryPoint);
            for path in viewer_paths(key, &distribution, &rules) {
                let is_stale = !is_changed || path.answer != Answer::Redirect;
                for url in urls(&path.path).iter().filter(|_| is_stale) {
                    prop_assert!(evicted(items, url), "{url} by {items:?}");
                    let variant = format!("{url}?a");
                    prop_assert!(!distribution.query_strings || evicted(items, &variant), "{variant}");
                }
            }
        }
    }

    #[test]
    fn if_keys_may_be_unknown_every_url_under_the_prefix_is_evicted_after_the_writes(
        site in sites(AWKWARD), distribution in distributions(), rules in any_rules(),
        live_prefix in prop::sample::select(vec!["", "a/", "a/é~/", "b/"]), root in any::<bool>(),
    ) {
        let root = root.then(|| format!("{live_prefix}index.html"));
        let distribution = Distribution { default_root_object: root, ..distribution };
        let stale = StaleKeys { unknown_under: Some(live_prefix), ..site.stale_keys() };
        let plan = invalidation(&distribution, &stale, &rules);
        let unknown = ["index.html", "x", "x/index.html"].map(|name| format!("{live_prefix}{name}"));
        for key in unknown.iter().map(String::as_str).chain(site.keys(Verdict::Kept)) {
            let is_under = key.starts_with(live_prefix);
            for url in paths(key, &distribution, &rules).iter().filter(|_| is_under).flat_map(|path| urls(path)) {
                prop_assert!(evicted(&plan.first.list, &url), "{url} by {:?}", plan.first.list);
            }
        }
        for item in plan.first.list.iter().chain(&plan.last.list) {
            prop_assert_eq!(validate(item), Ok(()));
        }
    }

    #[test]
    fn the_limits_hold_and_all_items_are_valid(
        site in sites(AWKWARD), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = site.plan(&distribution, &rules);
        let phases = [&plan.first, &plan.last];
        let used = phases.iter().filter(|items| !items.list.is_empty()).count();
        let (items, wildcards) = (count_items(&plan), count_wildcards(&plan));
        if rules.max_items >= 2 && rules.max_wildcards >= 2 {
            prop_assert!(items <= rules.max_items);
            prop_assert!(wildcards <= rules.max_wildcards);
        }
        prop_assert!(items <= rules.max_items.max(used) || rules.max_wildcards < used);
        for phase in phases {
            let stars = phase.list.iter().filter(|item| item.ends_with('*')).count();
            prop_assert_eq!(phase.wildcards, stars);
            prop_assert!(phase.list.is_sorted_by(|one, other| one < other));
            for item in &phase.list {
                prop_assert_eq!(validate(item), Ok(()));
                let others = phase.list.iter().filter(|other| *other != item);
                let prefix = item.trim_end_matches('*');
                for other in others.filter(|other| other.ends_with('*')) {
                    prop_assert!(!evicts(other, prefix), "{item} under {other}");
                }
            }
        }
    }

    #[test]
    fn within_the_budget_no_unchanged_object_is_evicted(
        site in sites("[ab/éè]{1,4}"), distribution in distributions(),
    ) {
        let roomy = InvalidationRules { max_items: 1_000, max_wildcards: 1_000, ..rules() };
        let plan = site.plan(&distribution, &roomy);
        prop_assert_eq!(plan.collateral, 0);
        if !distribution.query_strings {
            prop_assert_eq!(count_wildcards(&plan), 0);
        }
        let stale: BTreeSet<String> = (site.keys.iter())
            .filter(|(_, verdict)| *verdict != Verdict::Kept)
            .flat_map(|(key, _)| paths(key, &distribution, &roomy))
            .collect();
        for key in site.keys(Verdict::Kept) {
            for path in own_paths(key, &distribution) {
                let url = &urls(&path)[0];
                let spared = !evicted(&plan.first.list, url) && !evicted(&plan.last.list, url);
                prop_assert!(stale.contains(&path) || spared, "{url}");
            }
        }
    }

    #[test]
    fn within_the_budget_a_wildcard_covers_only_what_no_exact_item_names(
        site in sites(AWKWARD), distribution in distributions(),
    ) {
        let distribution = Distribution { query_strings: false, ..distribution };
        let roomy = InvalidationRules { max_items: 1_000, max_wildcards: 1_000, ..rules() };
        let plan = site.plan(&distribution, &roomy);
        let is_unnameable = |path: &String| Spelling::of(path, false).items.is_empty();
        for (verdicts, items) in [
            (&[Verdict::Changed, Verdict::New][..], &plan.first),
            (&[Verdict::ChangedEntryPoint, Verdict::NewEntryPoint, Verdict::Deleted][..], &plan.last),
        ] {
            let keys = verdicts.iter().flat_map(|verdict| site.keys(*verdict));
            let unnameable = keys.flat_map(|key| paths(key, &distribution, &roomy)).filter(is_unnameable);
            let urls: Vec<String> = unnameable.flat_map(|path| urls(&path)).collect();
            for wildcard in items.list.iter().filter(|item| item.ends_with('*')) {
                prop_assert!(urls.iter().any(|url| evicts(wildcard, url)), "{wildcard} of {items:?}");
            }
        }
    }

    #[test]
    fn the_order_of_the_keys_makes_no_difference(
        site in sites(AWKWARD), distribution in distributions(), rules in any_rules(),
    ) {
        let mut keys = site.keys.clone();
        keys.reverse();
        keys.extend(site.keys.iter().take(3).cloned());
        let shuffled = Site { keys };
        prop_assert_eq!(
            site.plan(&distribution, &rules),
            shuffled.plan(&distribution, &rules)
        );
    }

    #[test]
    fn no_cover_within_the_budget_is_better(
        mut site in sites("[ab]{1,3}|é|è|a~b?|[a+]{2}"),
        max_items in 2..7_usize, max_wildcards in 2..4_usize, queries in any::<bool>(),
    ) {
        // The brute force knows no new keys, so they count as changed here.
        for (_, verdict) in &mut site.keys {
            match verdict {
                Verdict::New => *verdict = Verdict::Changed,
                Verdict::NewEntryPoint => *verdict = Verdict::ChangedEntryPoint,
                _ => {}
            }
        }
        let tight = InvalidationRules { max_items, max_wildcards, ..rules() };
        let distribution = Distribution { query_strings: queries, ..Distribution::plain() };
        let plan = site.plan(&distribution, &tight);
        let found = (plan.collateral, count_wildcards(&plan), count_items(&plan));
        prop_assert_eq!(Some(found), cheapest_by_brute_force(&site, &distribution, &tight), "{:?}", plan);
    }

    #[test]
    fn no_cover_of_a_larger_phase_is_better(
        verdicts in proptest::collection::vec(prop::sample::select(vec![Verdict::Deleted, Verdict::Kept]), 16),
        max_items in 2..9_usize,
    ) {
        let key = |n: usize| format!("{n:04b}").replace('0', "a").replace('1', "b");
        let keys = verdicts.into_iter().enumerate().map(|(n, verdict)| (key(n), verdict));
        let site = Site { keys: keys.collect() };
        let tight = InvalidationRules { max_items, max_wildcards: 3, ..rules() };
        let plan = site.plan(&Distribution::plain(), &tight);
        let found = (plan.collateral, count_wildcards(&plan), count_items(&plan));
        prop_assert_eq!(Some(found), cheapest_by_brute_force(&site, &Distribution::plain(), &tight), "{:?}", plan);
    }
}
