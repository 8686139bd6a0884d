//! Index documents behind origins of each kind.

use super::tags::tags_of;
use super::*;

const KINDS: [Folders; 4] = [Folders::Keys, Folders::Website, Folders::Function, Folders::Server];

fn behind(folders: Folders) -> Distribution {
    Distribution::plain().with_origins(&[("", folders)])
}

#[test]
fn a_large_site_of_index_documents_fits_into_the_budget_behind_s3_itself() {
    // As Hugo builds it: every page is the index document of a folder.
    let page = |n: usize| format!("posts/{:02}/{:02}/index.html", n / 100, n * 37 % 100);
    let pages: Vec<String> = (0..10_000).map(page).collect();
    let is_changed = |n: &usize| n * 67 % 10_000 < 150;
    let (changed, kept): (Vec<_>, Vec<_>) = (0..pages.len()).partition(is_changed);
    let keys = |numbers: Vec<usize>| numbers.into_iter().map(|n| pages[n].as_str()).collect();
    let stale = StaleKeys { changed: keys(changed), kept: keys(kept), ..StaleKeys::default() };
    let plan = |folders| {
        let plan = invalidation(&behind(folders), &stale, &rules());
        eprintln!("{folders:?}: {} items evict {} unchanged objects", count_items(&plan), plan.collateral);
        (count_items(&plan), count_wildcards(&plan), plan.collateral)
    };
    assert_eq!(plan(Folders::Keys), (150, 0, 0));
    // Three paths for each document are too many.
    let (items, wildcards, collateral) = plan(Folders::Function);
    assert!(items <= 200 && wildcards == 10 && collateral > 0);
    // Each document under two paths, and no redirect.
    let website = InvalidationRules { max_items: 300, ..rules() };
    let plan = invalidation(&behind(Folders::Website), &stale, &website);
    assert_eq!((count_items(&plan), count_wildcards(&plan), plan.collateral), (300, 0, 0));
}

#[test]
fn the_paths_of_a_folder_are_invalidated_as_its_origin_answers_them() {
    let stale = StaleKeys {
        changed: vec!["index.html", "a/index.html"],
        deleted: vec!["b/index.html"],
        new: vec!["c/index.html"],
        ..StaleKeys::default()
    };
    let plans = KINDS.map(|folders| {
        let caching = Distribution { caches_errors: true, ..behind(folders) };
        let plan = invalidation(&caching, &stale, &rules());
        format!("{folders:?}: {} | {}", plan.first.list.join(" "), plan.last.list.join(" "))
    });
    insta::assert_snapshot!(plans.join("\n"), @r"
    Keys: /a/index.html /c/index.html /index.html | /b/index.html
    Website: / /a/ /a/index.html /c /c/ /c/index.html /index.html | /b /b/ /b/index.html
    Function: / /a /a/ /a/index.html /c /c/ /c/index.html /index.html | /b /b/ /b/index.html
    Server: / /a /a/ /a/index.html /c /c/ /c/index.html /index.html | /b /b/ /b/index.html
    ");
}

#[test]
fn a_file_that_takes_the_place_of_a_redirect_is_invalidated() {
    let website = behind(Folders::Website);
    let items = |changed: &[&'static str], kept: &[&'static str]| {
        let (changed, kept) = (changed.to_vec(), kept.to_vec());
        let stale = StaleKeys { changed, kept, new: vec!["docs"], ..StaleKeys::default() };
        invalidation(&website, &stale, &rules()).first.list
    };
    assert_eq!(items(&[], &["docs/index.html"]), ["/docs"]);
    assert_eq!(items(&["docs/index.html"], &[]), ["/docs", "/docs/", "/docs/index.html"]);
    assert_eq!(items(&["docs/index.html"], &["docs/a"]), ["/docs", "/docs/", "/docs/index.html"]);
    assert_eq!(items(&[], &["docs/a"]), [""; 0]);
}

#[test]
fn no_tag_covers_a_redirect() {
    let keys: Vec<String> = (0..9).map(|n| format!("{n}/index.html")).collect();
    let deleted: Vec<&str> = keys.iter().map(String::as_str).collect();
    let stale = StaleKeys { deleted, kept: vec!["0/a", "3/a", "8/a", "a"], ..StaleKeys::default() };
    let tight = InvalidationRules { max_items: 11, ..rules() };
    let plan = |folders| {
        let tags = || {
            let mut tags = Tags::default();
            stale.deleted.iter().chain(&stale.kept).for_each(|key| tags.insert(key, tags_of(key)));
            tags
        };
        tagged_invalidation(&behind(folders), &stale, &tight, tags).last.list
    };
    let redirects = (0..9).map(|n| format!("/{n}"));
    let with_redirects: Vec<String> = std::iter::once("#page".to_owned()).chain(redirects).collect();
    assert_eq!(plan(Folders::Function), ["#page"]);
    assert_eq!(plan(Folders::Website), with_redirects);
    assert_eq!(plan(Folders::Server), with_redirects);
}
