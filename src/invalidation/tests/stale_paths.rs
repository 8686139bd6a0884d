//! The paths that go stale, and the items that cover them.

use super::*;

/// Returns the items for one key that changes.
fn changed(key: &str) -> Vec<String> {
    let stale = StaleKeys { changed: vec![key], ..StaleKeys::default() };
    invalidation(&Distribution::plain(), &stale, &rules()).first.list
}

#[test]
fn every_awkward_key_has_its_items() {
    let long = "é".repeat(2_500);
    let longest = format!("/{}*", "%C3%A9".repeat(666));
    for (key, items) in [
        ("runtime~main.js", vec!["/runtime*"]),
        ("c++.html", vec!["/c%2B%2B.html", "/c++.html"]),
        ("it's.html", vec!["/it*"]),
        ("café.html", vec!["/caf%C3%A9.html"]),
        ("a b.html", vec!["/a%20b.html", "/a+b.html"]),
        ("a#b.html", vec!["/a%23b.html"]),
        ("[slug].html", vec!["/%5Bslug%5D.html"]),
        ("100%.html", vec!["/100%25.html"]),
        ("star*", vec!["/star*"]),
        ("st*r.html", vec!["/st*"]),
        ("index.html", vec!["/", "/index.html"]),
        ("docs/index.html", vec!["/docs", "/docs/", "/docs/index.html"]),
        ("myindex.html", vec!["/myindex.html"]),
        ("🎉/🎉.html", vec!["/%F0%9F%8E%89/%F0%9F%8E%89.html"]),
        ("what?.html", vec!["/what*"]),
        ("é~.html", vec!["/%C3%A9*"]),
        ("~", vec!["/*"]),
        (long.as_str(), vec![longest.as_str()]),
    ] {
        assert_eq!(changed(key), items, "{key}");
    }
}

#[test]
fn each_phase_names_its_stale_paths_and_no_others() {
    let stale = StaleKeys {
        changed: vec!["index.html", "a.css"],
        new: vec!["b.css"],
        deleted: vec!["old/index.html"],
        kept: vec!["c.css"],
        ..StaleKeys::default()
    };
    let plain = invalidation(&Distribution::plain(), &stale, &rules());
    assert_eq!(plain.first.list, ["/", "/a.css", "/index.html"]);
    assert_eq!(plain.last.list, ["/old", "/old/", "/old/index.html"]);
    assert_eq!((plain.first.wildcards, plain.collateral), (0, 0));

    let with_new = ["/", "/a.css", "/b.css", "/index.html"];
    let caching = Distribution { caches_errors: true, ..Distribution::plain() };
    assert_eq!(invalidation(&caching, &stale, &rules()).first.list, with_new);
}

#[test]
fn an_entry_point_goes_stale_in_the_last_phase_even_under_a_wildcard_of_the_first() {
    let stale = StaleKeys {
        changed: vec!["a/index.html", "a/b~"],
        new: vec!["a/new.html"],
        changed_entry_points: vec!["a/sw.js", "index.html"],
        new_entry_points: vec!["a/version.json"],
        deleted: vec!["a/old.js"],
        kept: vec!["a/kept.css", "kept.css"],
        ..StaleKeys::default()
    };
    let plan = |max_items, caches_errors| {
        let distribution = Distribution { caches_errors, ..Distribution::plain() };
        let plan = invalidation(&distribution, &stale, &InvalidationRules { max_items, ..rules() });
        format!("{} | {}", plan.first.list.join(" "), plan.last.list.join(" "))
    };
    assert_eq!(plan(200, false), "/a /a/ /a/b* /a/index.html | / /a/old.js /a/sw.js /index.html");
    assert_eq!(
        plan(200, true),
        "/a /a/ /a/b* /a/index.html /a/new.html | / /a/old.js /a/sw.js /a/version.json /index.html"
    );
    assert_eq!(plan(5, false), "/a* | / /a/old.js /a/sw.js /index.html");
    assert_eq!(plan(2, false), "/a* | /*");
    assert_eq!(plan(1, false), "/a* | /*");
}

#[test]
fn an_alias_that_a_new_entry_point_takes_over_is_stale_in_the_last_phase() {
    let clean = InvalidationRules { clean_urls: true, ..rules() };
    let taken_over = |stale: StaleKeys<'_>| {
        let stale = StaleKeys { new_entry_points: vec!["about.html", "sw.js"], ..stale };
        let plan = invalidation(&Distribution::plain(), &stale, &clean);
        (plan.first.list.contains(&"/about".to_owned()), plan.last.list)
    };
    let index = || vec!["about/index.html"];
    let about = vec!["/about".to_owned()];
    assert_eq!(taken_over(StaleKeys { kept: index(), ..StaleKeys::default() }), (false, about.clone()));
    assert_eq!(taken_over(StaleKeys { new: index(), ..StaleKeys::default() }), (false, about.clone()));
    assert_eq!(taken_over(StaleKeys { changed: index(), ..StaleKeys::default() }), (true, about.clone()));
    // Where everything is evicted before, the kept object may be cached again until the entry point is there.
    let unknown = StaleKeys { kept: index(), unknown_under: Some(""), ..StaleKeys::default() };
    assert_eq!(taken_over(unknown), (false, about));
}

#[test]
fn an_alias_that_a_new_key_takes_over_is_stale() {
    let clean = InvalidationRules { clean_urls: true, ..rules() };
    let stale = |new: &[&'static str], kept: &[&'static str]| {
        let stale = StaleKeys { new: new.to_vec(), kept: kept.to_vec(), ..StaleKeys::default() };
        invalidation(&Distribution::plain(), &stale, &clean).first.list
    };
    // `about.html` takes the alias over from `about/index.html`.
    let taken_over = stale(&["about.html", "new.html"], &["about/index.html"]);
    assert_eq!(taken_over, ["/about"]);
    // Whichever of the two is written first may be cached before the other exists.
    let in_turn = stale(&["new.html", "about.html", "about/index.html", "new.html"], &[]);
    assert_eq!(in_turn, ["/about"]);
}

#[test]
fn each_origin_path_has_items_of_its_own() {
    let stale = StaleKeys { changed: vec!["prod/a.css", "beta/a.css", "other/a.css"], ..StaleKeys::default() };
    let paths = |origin_paths: &[&str]| {
        let origins: Vec<_> = origin_paths.iter().map(|&path| (path, Folders::Function)).collect();
        let distribution = Distribution::plain().with_origins(&origins);
        invalidation(&distribution, &stale, &rules()).first.list
    };
    assert_eq!(paths(&["/prod"]), ["/a.css"]);
    assert_eq!(paths(&["/prod", "/beta"]), ["/a.css"]);
    assert_eq!(paths(&["/prod", ""]), ["/a.css", "/beta/a.css", "/other/a.css", "/prod/a.css"]);
    assert_eq!(paths(&["/none"]), [""; 0]);
}

#[test]
fn with_query_strings_the_items_cover_all_variants() {
    let with_queries = Distribution { query_strings: true, ..Distribution::plain() };
    let stale = StaleKeys { changed: vec!["a.html", "index.html"], kept: vec!["b.html"], ..StaleKeys::default() };
    let invalidation = invalidation(&with_queries, &stale, &rules());
    assert_eq!(invalidation.first.list, ["/", "/?*", "/a.html*", "/index.html*"]);
    assert_eq!(invalidation.collateral, 0);
}

#[test]
fn a_stale_fallback_evicts_every_path() {
    let single_page =
        Distribution { caches_errors: true, fallbacks: vec!["/index.html".to_owned()], ..Distribution::plain() };
    let kept = || vec!["app.js", "logo.svg"];
    let plan = |stale: StaleKeys<'_>| invalidation(&single_page, &stale, &rules());
    let changed =
        plan(StaleKeys { changed: vec!["index.html"], deleted: vec!["old.js"], kept: kept(), ..StaleKeys::default() });
    assert_eq!(changed.first.list, ["/*"]);
    assert_eq!(changed.last.list, ["/old.js"]);
    assert_eq!(changed.collateral, 2);
    assert_eq!(changed.fallback.as_deref(), Some("/index.html"));
    let deleted = plan(StaleKeys { deleted: vec!["index.html"], kept: kept(), ..StaleKeys::default() });
    assert_eq!(deleted.last.list, ["/*"]);
    let new = plan(StaleKeys { new: vec!["index.html"], kept: kept(), ..StaleKeys::default() });
    assert_eq!(new.first.list, ["/*"]);
    let other = plan(StaleKeys { changed: vec!["app.css"], kept: vec!["index.html"], ..StaleKeys::default() });
    assert_eq!(other.first.list, ["/app.css"]);
    assert_eq!((other.collateral, other.fallback), (0, None));
}

#[test]
fn a_fallback_that_may_have_changed_may_be_cached_under_any_path() {
    let stale = StaleKeys { unknown_under: Some("docs/"), ..StaleKeys::default() };
    for (page, items) in [("/docs/index.html", ["/*"]), ("/blog/index.html", ["/docs*"])] {
        let distribution = Distribution { fallbacks: vec![page.to_owned()], ..Distribution::plain() };
        assert_eq!(invalidation(&distribution, &stale, &rules()).first.list, items);
    }
}
