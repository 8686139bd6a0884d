//! The wildcards that keep the items within the budget.

use super::*;

#[test]
fn over_budget_items_become_the_cheapest_wildcards() {
    let deleted: Vec<String> = (0..66).map(|n| format!("assets/old-{n:02}.js")).collect();
    let deleted: Vec<&str> = deleted.iter().map(String::as_str).collect();
    let stale = StaleKeys {
        changed: vec!["index.html", "feed.xml"],
        deleted,
        kept: vec!["assets/logo.svg", "assets/old-map.json", "robots.txt"],
        ..StaleKeys::default()
    };
    let plan = |max_items| {
        let tight = InvalidationRules { max_items, ..rules() };
        let invalidation = invalidation(&Distribution::plain(), &stale, &tight);
        (invalidation.first.list, invalidation.last.list.len(), invalidation.collateral)
    };
    let named = || vec!["/".to_owned(), "/feed.xml".to_owned(), "/index.html".to_owned()];
    assert_eq!(plan(69), (named(), 66, 0));
    assert_eq!(plan(68), (named(), 57, 0));
    assert_eq!(plan(10), (named(), 7, 0));
    assert_eq!(plan(4), (named(), 1, 1));
    assert_eq!(plan(3), (vec!["/*".to_owned()], 1, 3));
}

#[test]
fn an_object_that_both_phases_evict_counts_once() {
    let stale = StaleKeys {
        changed: vec!["a/1", "a/2"],
        deleted: vec!["a/3", "a/4"],
        kept: vec!["a/5", "b"],
        ..StaleKeys::default()
    };
    let tight = InvalidationRules { max_items: 2, ..rules() };
    let invalidation = invalidation(&Distribution::plain(), &stale, &tight);
    assert_eq!(invalidation.first.list, ["/a/*"]);
    assert_eq!(invalidation.last.list, ["/a/*"]);
    assert_eq!((invalidation.first.collateral, invalidation.last.collateral), (1, 1));
    assert_eq!(invalidation.collateral, 1);
}

#[test]
fn no_wildcard_replaces_items_that_the_budget_has_room_for() {
    let stale = StaleKeys {
        changed: vec!["a/1", "b/1", "c/1", "d/1"],
        deleted: vec!["b/x", "b/y", "c/z"],
        kept: vec!["b/2"],
        ..StaleKeys::default()
    };
    // The changed keys need a wildcard, below which another one would evict nothing more.
    let tight = InvalidationRules { max_items: 4, ..rules() };
    let plan = invalidation(&Distribution::plain(), &stale, &tight);
    assert_eq!(plan.first.list, ["/*"]);
    assert_eq!(plan.last.list, ["/b/x", "/b/y", "/c/z"]);
}

#[test]
fn coverage_exceeds_a_budget_below_one_item_for_each_phase() {
    let stale = StaleKeys { changed: vec!["a", "b~"], deleted: vec!["c"], kept: vec!["d"], ..StaleKeys::default() };
    let none = InvalidationRules { max_items: 0, max_wildcards: 0, ..rules() };
    let invalidation = invalidation(&Distribution::plain(), &stale, &none);
    assert_eq!(invalidation.first.list, ["/*"]);
    assert_eq!(invalidation.last.list, ["/c"]);
}

#[test]
fn a_hundred_thousand_keys_are_planned_quickly() {
    let key = |n: usize| format!("section-{:02}/page-{:03}/{n:06}.html", n % 40, n % 1_000);
    let keys: Vec<String> = (0..100_000).map(key).collect();
    let verdict = |wanted: &[usize]| -> Vec<&str> {
        let keys = keys.iter().enumerate();
        keys.filter(|(n, _)| wanted.contains(&(n / 7 % 10))).map(|(_, key)| key.as_str()).collect()
    };
    let stale = StaleKeys {
        changed: verdict(&[0, 1, 2]),
        deleted: verdict(&[3]),
        new: verdict(&[4]),
        kept: verdict(&[5, 6, 7, 8, 9]),
        ..StaleKeys::default()
    };
    let begun = std::time::Instant::now();
    let plan = invalidation(&Distribution::plain(), &stale, &rules());
    let took = begun.elapsed();
    eprintln!("100,000 keys: {took:?}, {} items, {} unchanged objects evicted", count_items(&plan), plan.collateral);
    assert!(count_items(&plan) <= 200 && count_wildcards(&plan) <= 10);
    for (keys, items) in [(&stale.changed, &plan.first), (&stale.deleted, &plan.last)] {
        assert!(keys.iter().all(|key| evicted(&items.list, &format!("/{key}"))));
    }
    // It takes a second, or a few in a debug build on a busy machine. A quadratic algorithm takes minutes.
    assert!(took.as_secs() < 20, "{took:?}");
}
