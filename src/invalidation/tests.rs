use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn rules() -> InvalidationRules {
    InvalidationRules {
        max_items: 200,
        max_wildcards: 10,
        clean_urls: false,
        invalidate_new: false,
        query_strings: false,
    }
}

fn changed(key: &str) -> Vec<String> {
    let stale = StaleKeys { changed: vec![key], ..StaleKeys::default() };
    invalidation(&Distribution::plain(), &stale, &rules()).changed.paths
}

#[test]
fn awkward_keys_are_named_or_covered() {
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
fn only_what_is_stale_is_named_and_each_phase_by_itself() {
    let stale = StaleKeys {
        changed: vec!["index.html", "a.css"],
        new: vec!["b.css"],
        deleted: vec!["old/index.html"],
        kept: vec!["c.css"],
    };
    let plain = invalidation(&Distribution::plain(), &stale, &rules());
    assert_eq!(plain.changed.paths, ["/", "/a.css", "/index.html"]);
    assert_eq!(plain.deleted.paths, ["/old", "/old/", "/old/index.html"]);
    assert_eq!((plain.changed.wildcards, plain.collateral), (0, 0));

    let with_new = ["/", "/a.css", "/b.css", "/index.html"];
    let caching = Distribution { caches_errors: true, ..Distribution::plain() };
    assert_eq!(invalidation(&caching, &stale, &rules()).changed.paths, with_new);
    let asked = InvalidationRules { invalidate_new: true, ..rules() };
    assert_eq!(invalidation(&Distribution::plain(), &stale, &asked).changed.paths, with_new);
}

#[test]
fn a_path_that_two_objects_answer_one_after_the_other_is_stale_though_the_later_one_is_new() {
    let clean = InvalidationRules { clean_urls: true, ..rules() };
    let stale = |new: &[&'static str], kept: &[&'static str]| {
        let stale = StaleKeys { new: new.to_vec(), kept: kept.to_vec(), ..StaleKeys::default() };
        invalidation(&Distribution::plain(), &stale, &clean).changed.paths
    };
    // The new key takes the path over.
    let taken_over = stale(&["about.html", "new.html"], &["about/index.html"]);
    assert_eq!(taken_over, ["/about"]);
    // The one that is written first may be cached before the other is there.
    let in_turn = stale(&["new.html", "about.html", "about/index.html", "new.html"], &[]);
    assert_eq!(in_turn, ["/about"]);
}

#[test]
fn each_origin_path_has_its_own_items() {
    let stale = StaleKeys { changed: vec!["prod/a.css", "beta/a.css", "other/a.css"], ..StaleKeys::default() };
    let paths = |origin_paths: &[&str]| {
        let origin_paths = origin_paths.iter().map(|&path| path.to_owned()).collect();
        let distribution = Distribution { origin_paths, ..Distribution::plain() };
        invalidation(&distribution, &stale, &rules()).changed.paths
    };
    assert_eq!(paths(&["/prod"]), ["/a.css"]);
    assert_eq!(paths(&["/prod", "/beta"]), ["/a.css"]);
    assert_eq!(paths(&["/prod", ""]), ["/a.css", "/beta/a.css", "/other/a.css", "/prod/a.css"]);
    assert_eq!(paths(&["/none"]), [""; 0]);
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
    assert_eq!(invalidation.changed.paths, ["/a/*"]);
    assert_eq!(invalidation.deleted.paths, ["/a/*"]);
    assert_eq!((invalidation.changed.collateral, invalidation.deleted.collateral), (1, 1));
    assert_eq!(invalidation.collateral, 1);
}

#[test]
fn what_the_other_phase_evicts_anyway_is_not_named_one_by_one() {
    let stale = StaleKeys {
        changed: vec!["a/1", "b/1", "c/1", "d/1"],
        deleted: vec!["b/x", "b/y", "c/z"],
        kept: vec!["b/2"],
        ..StaleKeys::default()
    };
    let tight = InvalidationRules { max_items: 4, ..rules() };
    let plan = invalidation(&Distribution::plain(), &stale, &tight);
    assert_eq!(plan.changed.paths, ["/*"]);
    assert_eq!(plan.deleted.paths, ["/*"]);
    let one = InvalidationRules { max_wildcards: 1, ..tight };
    let plan = invalidation(&Distribution::plain(), &stale, &one);
    assert_eq!(plan.changed.paths, ["/*"]);
    assert_eq!(plan.deleted.paths, ["/b/x", "/b/y", "/c/z"]);
}

#[test]
fn over_the_budget_the_cheapest_folders_are_merged() {
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
        (invalidation.changed.paths, invalidation.deleted.paths.len(), invalidation.collateral)
    };
    let named = || vec!["/".to_owned(), "/feed.xml".to_owned(), "/index.html".to_owned()];
    assert_eq!(plan(69), (named(), 66, 0));
    assert_eq!(plan(68), (named(), 57, 0));
    assert_eq!(plan(10), (named(), 7, 0));
    assert_eq!(plan(4), (named(), 1, 1));
    assert_eq!(plan(3), (vec!["/*".to_owned()], 1, 3));
}

#[test]
fn with_query_strings_every_item_covers_all_variants() {
    let with_queries = InvalidationRules { query_strings: true, ..rules() };
    let stale = StaleKeys { changed: vec!["a.html", "index.html"], kept: vec!["b.html"], ..StaleKeys::default() };
    let invalidation = invalidation(&Distribution::plain(), &stale, &with_queries);
    assert_eq!(invalidation.changed.paths, ["/", "/?*", "/a.html*", "/index.html*"]);
    assert_eq!(invalidation.collateral, 0);
}

#[test]
fn a_fallback_that_goes_stale_takes_every_path_with_it() {
    let single_page =
        Distribution { caches_errors: true, fallbacks: vec!["/index.html".to_owned()], ..Distribution::plain() };
    let kept = || vec!["app.js", "logo.svg"];
    let plan = |stale: StaleKeys<'_>| invalidation(&single_page, &stale, &rules());
    let changed =
        plan(StaleKeys { changed: vec!["index.html"], deleted: vec!["old.js"], kept: kept(), ..StaleKeys::default() });
    assert_eq!(changed.changed.paths, ["/*"]);
    assert_eq!(changed.deleted.paths, ["/old.js"]);
    assert_eq!(changed.collateral, 2);
    assert_eq!(changed.fallback.as_deref(), Some("/index.html"));
    let deleted = plan(StaleKeys { deleted: vec!["index.html"], kept: kept(), ..StaleKeys::default() });
    assert_eq!(deleted.deleted.paths, ["/*"]);
    let new = plan(StaleKeys { new: vec!["index.html"], kept: kept(), ..StaleKeys::default() });
    assert_eq!(new.changed.paths, ["/*"]);
    let other = plan(StaleKeys { changed: vec!["app.css"], kept: vec!["index.html"], ..StaleKeys::default() });
    assert_eq!(other.changed.paths, ["/app.css"]);
    assert_eq!((other.collateral, other.fallback), (0, None));
}

#[test]
fn a_budget_below_one_item_for_each_phase_is_overdrawn_rather_than_a_path_left_out() {
    let stale = StaleKeys { changed: vec!["a", "b~"], deleted: vec!["c"], kept: vec!["d"], ..StaleKeys::default() };
    let none = InvalidationRules { max_items: 0, max_wildcards: 0, ..rules() };
    let invalidation = invalidation(&Distribution::plain(), &stale, &none);
    assert_eq!(invalidation.changed.paths, ["/*"]);
    assert_eq!(invalidation.deleted.paths, ["/c"]);
}

/// Tags as the site gives them, in plain words.
fn tags_of(key: &str) -> [String; 2] {
    let class = if key.ends_with(".html") { "page" } else { "asset" };
    let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder: String = folder.bytes().map(|byte| format!("{byte:02x}")).collect();
    [class.to_owned(), format!("in-{folder}")]
}

fn tagged<'a>(stale: &StaleKeys<'a>, max_items: usize, unmarked: &[&str]) -> Invalidation {
    let tight = InvalidationRules { max_items, ..rules() };
    tagged_invalidation(&Distribution::plain(), stale, &tight, || {
        let mut tags = Tags::default();
        let keys = [&stale.changed[..], &stale.deleted, &stale.kept].concat();
        for key in keys.into_iter().filter(|key| !unmarked.contains(key)) {
            tags.insert(key, tags_of(key));
        }
        tags
    })
}

#[test]
fn a_tag_takes_the_place_of_a_wildcard_that_evicts_more() {
    // Every page is built anew, and stands beside what it shows.
    let keys = |extension: &str| -> Vec<String> { (0..30).map(|n| format!("{}/{n:02}.{extension}", n % 3)).collect() };
    let (pages, images) = (keys("html"), keys("png"));
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let mut stale = StaleKeys { changed: pages.clone(), kept: images.clone(), ..StaleKeys::default() };
    let plain = |max_items| {
        let tight = InvalidationRules { max_items, ..rules() };
        invalidation(&Distribution::plain(), &stale, &tight)
    };
    assert_eq!(plain(30).collateral, 0);
    assert!(plain(20).collateral > 0);
    assert_eq!(tagged(&stale, 30, &[]), plain(30), "what can be named is named");
    let cover = tagged(&stale, 20, &[]);
    assert_eq!((cover.changed.paths, cover.collateral), (vec!["#page".to_owned()], 0));

    // A page of which older copies may be about is named beside the tag.
    let cover = tagged(&stale, 20, &["1/07.html"]);
    assert_eq!(cover.changed.paths, ["#page", "/1/07.html"]);
    assert_eq!(cover.collateral, 0);

    // A tag's unchanged objects are counted as a wildcard's are.
    let changed: Vec<&str> = pages.iter().copied().filter(|key| *key != "2/02.html").collect();
    let kept = [&images[..], &["2/02.html"]].concat();
    stale.changed = changed;
    stale.kept = kept;
    let cover = tagged(&stale, 4, &[]);
    assert_eq!(cover.changed.paths, ["#page"]);
    assert_eq!((cover.collateral, cover.changed.collateral), (1, 1));
}

#[test]
fn a_folders_tag_spares_the_folders_below() {
    let changed: Vec<String> = (0..9).map(|n| format!("docs/{n}")).collect();
    let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
    let stale = StaleKeys {
        changed,
        deleted: vec!["docs/old/index.html"],
        kept: vec!["docs/0/a", "docs/5/a", "docs/new/a.html", "other"],
        ..StaleKeys::default()
    };
    let cover = tagged(&stale, 4, &[]);
    assert_eq!(cover.changed.paths, ["#in-646f6373"]);
    // One tag names a folder's index under all of its aliases.
    assert_eq!(cover.deleted.paths, ["#in-646f63732f6f6c64"]);
    assert_eq!(cover.collateral, 0);
    assert_eq!(tagged(&stale, 2, &[]), cover);
    assert!(wildcards(&tagged(&stale, 12, &[])) == 0, "what can be named is named");
}

#[test]
fn no_tag_covers_what_another_object_may_have_answered() {
    let names: Vec<String> = (0..9).map(|n| format!("x/{n}.html")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stale = StaleKeys {
        changed: names.clone(),
        new: vec!["about.html"],
        kept: vec!["about/index.html", "x/y", "x/z"],
        ..StaleKeys::default()
    };
    let clean = InvalidationRules { max_items: 3, clean_urls: true, ..rules() };
    let all = |key: &'static str| (key, tags_of(key));
    let cover = tagged_invalidation(&Distribution::plain(), &stale, &clean, || {
        let mut tags = Tags::default();
        names.iter().for_each(|key| tags.insert(key, tags_of(key)));
        for (key, of) in ["about/index.html", "x/y", "x/z"].map(all) {
            tags.insert(key, of);
        }
        tags
    });
    assert_eq!(cover.changed.paths, ["#page", "/about"]);
}

#[test]
fn a_hundred_thousand_keys_are_planned_in_no_time() {
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
    };
    let begun = std::time::Instant::now();
    let plan = invalidation(&Distribution::plain(), &stale, &rules());
    let took = begun.elapsed();
    eprintln!("100,000 keys: {took:?}, {} items, {} evicted in vain", items(&plan), plan.collateral);
    assert!(items(&plan) <= 200 && wildcards(&plan) <= 10);
    for (keys, items) in [(&stale.changed, &plan.changed), (&stale.deleted, &plan.deleted)] {
        assert!(keys.iter().all(|key| evicted(&items.paths, &format!("/{key}"))));
    }
    // A second without optimisation on a busy machine is more; what is quadratic takes minutes.
    assert!(took.as_secs() < 20, "{took:?}");
}

/// CloudFront's rule written anew, over the characters of the URL.
fn evicts(item: &str, url: &str) -> bool {
    let item: Vec<char> = item.chars().collect();
    let url: Vec<char> = url.chars().collect();
    match item.split_last() {
        Some(('*', start)) => url.len() >= start.len() && url[..start.len()] == *start,
        _ => item == url,
    }
}

fn evicted(items: &[String], url: &str) -> bool {
    items.iter().any(|item| evicts(item, url))
}

/// The spellings of a path that viewers send and that S3 answers with the object.
fn urls(path: &str) -> Vec<String> {
    let spell = |space: &str| -> String {
        path.chars()
            .map(|character| match character {
                ' ' => space.to_owned(),
                '+' => "%2B".to_owned(),
                '?' => "%3F".to_owned(),
                'é' => "%C3%A9".to_owned(),
                'è' => "%C3%A8".to_owned(),
                other => other.to_string(),
            })
            .collect()
    };
    vec![spell("%20"), spell("+")]
}

/// A site in small: every key of the alphabet once, and what happens to it.
#[derive(Clone, Debug)]
struct Site {
    keys: Vec<(String, u8)>,
}

impl Site {
    fn keys(&self, verdict: u8) -> Vec<&str> {
        self.keys.iter().filter(|key| key.1 == verdict).map(|key| key.0.as_str()).collect()
    }

    fn plan(&self, distribution: &Distribution, rules: &InvalidationRules) -> Invalidation {
        let [changed, new, deleted, kept] = [0, 1, 2, 3].map(|verdict| self.keys(verdict));
        let stale = StaleKeys { changed, new, deleted, kept };
        invalidation(distribution, &stale, rules)
    }
}

fn sites(alphabet: &'static str) -> impl Strategy<Value = Site> {
    let key = prop_oneof![
        4 => alphabet.prop_map(String::from),
        1 => "([ab]/){0,2}(index|a)\\.html",
    ];
    proptest::collection::btree_map(key, 0..4_u8, 0..14).prop_map(|keys| Site { keys: keys.into_iter().collect() })
}

fn any_rules() -> impl Strategy<Value = InvalidationRules> {
    (0..12_usize, 0..4_usize, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(max_items, max_wildcards, clean_urls, invalidate_new, query_strings)| InvalidationRules {
            max_items,
            max_wildcards,
            clean_urls,
            invalidate_new,
            query_strings,
        },
    )
}

fn distributions() -> impl Strategy<Value = Distribution> {
    let origin_paths = prop_oneof![
        3 => Just(vec![""]),
        1 => Just(vec!["/a"]),
        1 => Just(vec!["/a", ""]),
    ];
    let root = proptest::option::of(Just("a.html".to_owned()));
    (origin_paths, root, any::<bool>()).prop_map(|(origin_paths, default_root_object, caches_errors)| Distribution {
        origin_paths: origin_paths.into_iter().map(str::to_owned).collect(),
        default_root_object,
        caches_errors,
        ..Distribution::plain()
    })
}

const AWKWARD: &str = "[ab/~+ ?éè]{1,4}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_stale_url_is_evicted_by_its_phase(
        site in sites(AWKWARD), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = site.plan(&distribution, &rules);
        let new_is_stale = distribution.caches_errors || rules.invalidate_new;
        for (key, verdict) in &site.keys {
            let items = match verdict {
                0 => &plan.changed.paths,
                1 if new_is_stale => &plan.changed.paths,
                2 => &plan.deleted.paths,
                _ => continue,
            };
            for path in paths(key, &distribution, rules.clean_urls) {
                for url in urls(&path) {
                    prop_assert!(evicted(items, &url), "{url} by {items:?}");
                    let variant = format!("{url}?a");
                    prop_assert!(!rules.query_strings || evicted(items, &variant), "{variant}");
                }
            }
        }
    }

    #[test]
    fn the_limits_hold_and_all_items_are_valid(
        site in sites(AWKWARD), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = site.plan(&distribution, &rules);
        let phases = [&plan.changed, &plan.deleted];
        let used = phases.iter().filter(|items| !items.paths.is_empty()).count();
        let (items, wildcards) = (items(&plan), wildcards(&plan));
        if rules.max_items >= 2 && rules.max_wildcards >= 2 {
            prop_assert!(items <= rules.max_items);
            prop_assert!(wildcards <= rules.max_wildcards);
        }
        prop_assert!(items <= rules.max_items.max(used) || rules.max_wildcards < used);
        for phase in phases {
            let stars = phase.paths.iter().filter(|item| item.ends_with('*')).count();
            prop_assert_eq!(phase.wildcards, stars);
            prop_assert!(phase.paths.is_sorted_by(|one, other| one < other));
            for item in &phase.paths {
                prop_assert_eq!(validate(item), Ok(()));
                let others = phase.paths.iter().filter(|other| *other != item);
                let prefix = item.trim_end_matches('*');
                for other in others.filter(|other| other.ends_with('*')) {
                    prop_assert!(!evicts(other, prefix), "{item} under {other}");
                }
            }
        }
    }

    #[test]
    fn within_the_budget_nothing_unchanged_is_evicted(
        site in sites("[ab/éè]{1,4}"), distribution in distributions(), queries in any::<bool>(),
    ) {
        let roomy = InvalidationRules {
            max_items: 1_000, max_wildcards: 1_000, query_strings: queries, ..rules()
        };
        let plan = site.plan(&distribution, &roomy);
        prop_assert_eq!(plan.collateral, 0);
        if !queries {
            prop_assert_eq!(wildcards(&plan), 0);
        }
        let stale: BTreeSet<String> = (site.keys.iter())
            .filter(|key| key.1 < 3)
            .flat_map(|key| paths(&key.0, &distribution, false))
            .collect();
        for key in site.keys(3) {
            for path in paths(key, &distribution, false) {
                let url = &urls(&path)[0];
                let spared = !evicted(&plan.changed.paths, url) && !evicted(&plan.deleted.paths, url);
                prop_assert!(stale.contains(&path) || spared, "{url}");
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
        // New keys are another test's: these are changed.
        site.keys.iter_mut().filter(|key| key.1 == 1).for_each(|key| key.1 = 0);
        let tight = InvalidationRules { max_items, max_wildcards, query_strings: queries, ..rules() };
        let plan = site.plan(&Distribution::plain(), &tight);
        let best = brute_force(&site, &tight).expect("the root's wildcards always do");
        prop_assert_eq!(plan.collateral, best.0, "{:?}", plan);
        // Wildcards beyond the fewest are there to spare items.
        let used = (wildcards(&plan), items(&plan));
        prop_assert!(used == (best.1, best.2) || used.1 < best.2, "{plan:?}, {best:?}");
    }

    #[test]
    fn no_cover_of_a_larger_phase_is_better(
        verdicts in proptest::collection::vec(2..4_u8, 16), max_items in 2..9_usize,
    ) {
        let key = |n: usize| format!("{n:04b}").replace('0', "a").replace('1', "b");
        let keys = verdicts.into_iter().enumerate().map(|(n, verdict)| (key(n), verdict));
        let site = Site { keys: keys.collect() };
        let tight = InvalidationRules { max_items, max_wildcards: 3, ..rules() };
        let plan = site.plan(&Distribution::plain(), &tight);
        let found = (plan.collateral, wildcards(&plan), items(&plan));
        prop_assert_eq!(Some(found), brute_force(&site, &tight), "{:?}", plan);
    }
}

/// A site, and for each key whether all of its cached copies carry its tags.
#[derive(Clone, Debug)]
struct TaggedSite {
    site: Site,
    marked: BTreeSet<String>,
}

impl TaggedSite {
    fn plan(&self, distribution: &Distribution, rules: &InvalidationRules) -> Invalidation {
        let [changed, new, deleted, kept] = [0, 1, 2, 3].map(|verdict| self.site.keys(verdict));
        let stale = StaleKeys { changed, new, deleted, kept };
        tagged_invalidation(distribution, &stale, rules, || {
            let mut tags = Tags::default();
            for (key, verdict) in &self.site.keys {
                // New keys are nobody's to mark; they must not be asked for.
                if *verdict == 3 || (*verdict != 1 && self.marked.contains(key)) {
                    tags.insert(key, tags_of(key));
                }
            }
            tags
        })
    }

    /// Whether a copy of `key` under `url` is evicted.
    fn is_evicted(&self, items: &[String], key: &str, url: &str) -> bool {
        let has_tags = self.marked.contains(key);
        let tags = tags_of(key).map(|tag| format!("#{tag}"));
        evicted(items, url) || (has_tags && items.iter().any(|item| tags.contains(item)))
    }
}

fn tagged_sites() -> impl Strategy<Value = TaggedSite> {
    let key = prop_oneof![
        3 => "([ab]/){0,2}[ab]{1,2}(\\.html)?",
        1 => "([ab]/){0,2}index\\.html",
        1 => AWKWARD,
    ];
    let verdicts = prop_oneof![4 => Just(0_u8), 1 => Just(1), 2 => Just(2), 3 => Just(3)];
    let keys = proptest::collection::btree_map(key, (verdicts, prop::bool::weighted(0.8)), 0..24);
    keys.prop_map(|keys| TaggedSite {
        marked: (keys.iter().filter(|(_, (_, marked))| *marked)).map(|(key, _)| key.clone()).collect(),
        site: Site { keys: keys.into_iter().map(|(key, (verdict, _))| (key, verdict)).collect() },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn with_tags_every_stale_copy_is_evicted_by_its_phase(
        tagged in tagged_sites(), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = tagged.plan(&distribution, &rules);
        let new_is_stale = distribution.caches_errors || rules.invalidate_new;
        let of = |key: &str| paths(key, &distribution, rules.clean_urls);
        let new: BTreeSet<String> = tagged.site.keys(1).into_iter().flat_map(of).collect();
        for (key, verdict) in &tagged.site.keys {
            for path in of(key) {
                for url in urls(&path) {
                    let is_evicted = match verdict {
                        0 => tagged.is_evicted(&plan.changed.paths, key, &url),
                        // An error has no tags.
                        1 => !new_is_stale || evicted(&plan.changed.paths, &url),
                        2 => tagged.is_evicted(&plan.deleted.paths, key, &url),
                        // What was kept was cached whenever that was: nobody knows its tags.
                        _ => new_is_stale || !new.contains(&path) || evicted(&plan.changed.paths, &url),
                    };
                    prop_assert!(is_evicted, "{key}: {url} by {plan:?}");
                }
            }
        }
    }

    #[test]
    fn with_tags_no_more_is_evicted_and_the_limits_hold(
        tagged in tagged_sites(), distribution in distributions(), rules in any_rules(),
    ) {
        let plan = tagged.plan(&distribution, &rules);
        let plain = tagged.site.plan(&distribution, &rules);
        let has_tags = [&plan.changed, &plan.deleted].iter().any(|items| items.paths.iter().any(|it| is_tag(it)));
        prop_assert!(plan == plain || plan.collateral < plain.collateral && has_tags, "{plan:?} {plain:?}");
        prop_assert!(items(&plan) <= rules.max_items.max(items(&plain)));
        prop_assert!(wildcards(&plan) <= rules.max_wildcards.max(wildcards(&plain)));
        for phase in [&plan.changed, &plan.deleted] {
            prop_assert!(phase.paths.is_sorted_by(|one, other| one < other));
            for item in &phase.paths {
                prop_assert_eq!(validate(item), Ok(()));
            }
        }
    }

    #[test]
    fn with_tags_what_is_evicted_in_vain_is_counted(tagged in tagged_sites(), rules in any_rules()) {
        let site = Distribution::plain();
        let plan = tagged.plan(&site, &rules);
        let stale: BTreeSet<String> = (tagged.site.keys.iter())
            .filter(|(_, verdict)| *verdict != 3)
            .flat_map(|(key, _)| paths(key, &site, rules.clean_urls))
            .collect();
        let lost = tagged.site.keys(3).into_iter().filter(|key| {
            let path = format!("/{key}");
            let by_tag = tags_of(key).map(|tag| format!("#{tag}"));
            let items = [&plan.changed.paths[..], &plan.deleted.paths].concat();
            // "/+" is what evicts the key "+", and is a URL of the key " " too: not in vain.
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

fn wildcards(plan: &Invalidation) -> usize {
    plan.changed.wildcards + plan.deleted.wildcards
}

fn items(plan: &Invalidation) -> usize {
    plan.changed.paths.len() + plan.deleted.paths.len()
}

/// Tries all sets of wildcards for each phase: the least collateral, then wildcards, then items.
fn brute_force(site: &Site, rules: &InvalidationRules) -> Option<(usize, usize, usize)> {
    let stale = [0, 2].map(|verdict| -> BTreeSet<String> {
        (site.keys(verdict).iter()).flat_map(|key| paths(key, &Distribution::plain(), false)).collect()
    });
    let kept: Vec<String> = (site.keys(3).iter())
        .map(|key| format!("/{key}"))
        .filter(|path| !stale.iter().any(|stale| stale.contains(path)))
        .collect();
    let covers = [0, 1].map(|phase| covers(&stale[phase], rules));
    let mut best = None;
    for (changed, changed_wildcards, changed_items) in &covers[0] {
        for (deleted, deleted_wildcards, deleted_items) in &covers[1] {
            let wildcards = changed_wildcards + deleted_wildcards;
            let items = changed_items + deleted_items;
            if wildcards > rules.max_wildcards || items > rules.max_items {
                continue;
            }
            let prefixes: Vec<_> = changed.iter().chain(deleted).collect();
            let lost = |path: &&String| prefixes.iter().any(|prefix| path.starts_with(**prefix));
            let found = (kept.iter().filter(lost).count(), wildcards, items);
            best = Some(best.map_or(found, |best: (usize, usize, usize)| best.min(found)));
        }
    }
    best
}

/// All sets of up to `max_wildcards` prefixes that leave only what can be named, with the number
/// of wildcards and items that they come to.
fn covers<'a>(stale: &'a BTreeSet<String>, rules: &InvalidationRules) -> Vec<(Vec<&'a str>, usize, usize)> {
    let prefixes: BTreeSet<&str> = stale
        .iter()
        .flat_map(|path| (1..=path.len()).filter_map(|end| path.get(..end)))
        .filter(|prefix| !prefix.contains(['~', '+']))
        .collect();
    let mut sets: Vec<Vec<&str>> = vec![vec![]];
    for prefix in prefixes {
        for index in 0..sets.len() {
            let set = &sets[index];
            let nested = set.iter().any(|other| prefix.starts_with(other));
            if set.len() < rules.max_wildcards && !nested {
                let larger = set.iter().copied().chain([prefix]).collect();
                sets.push(larger);
            }
        }
    }
    (sets.into_iter())
        .filter_map(|set| {
            let alone: Vec<&String> =
                (stale.iter()).filter(|path| !set.iter().any(|prefix| path.starts_with(prefix))).collect();
            if alone.iter().any(|path| path.contains('~')) {
                return None;
            }
            let names: usize = alone.iter().map(|path| if path.contains('+') { 2 } else { 1 }).sum();
            let queries = if rules.query_strings { names } else { 0 };
            let wildcards = set.len() + queries;
            Some((set, wildcards, wildcards + names))
        })
        .collect()
}
