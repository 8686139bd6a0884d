//! The tags that take the place of wildcards.

use super::*;

/// Returns the tags of a key, in plain words: its class, and its folder in hexadecimal.
pub(super) fn tags_of(key: &str) -> [String; 2] {
    let class = if key.ends_with(".html") { "page" } else { "asset" };
    let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folder: String = folder.bytes().map(|byte| format!("{byte:02x}")).collect();
    [class.to_owned(), format!("in-{folder}")]
}

/// Plans with tags, which the cached copies of all keys carry except those of the keys in `unmarked`.
fn tagged(stale: &StaleKeys<'_>, max_items: usize, unmarked: &[&str]) -> Invalidation {
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
fn a_tag_replaces_a_wildcard_that_evicts_more() {
    // Every page changes, and its images are in the same folder.
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
    assert_eq!(tagged(&stale, 30, &[]), plain(30), "no tags within the budget");
    let cover = tagged(&stale, 20, &[]);
    assert_eq!((cover.first.list, cover.collateral), (vec!["#page".to_owned()], 0));

    // A page that may be cached without its tags is named in addition to the tag.
    let cover = tagged(&stale, 20, &["1/07.html"]);
    assert_eq!(cover.first.list, ["#page", "/1/07.html"]);
    assert_eq!(cover.collateral, 0);

    // Unchanged objects that a tag evicts count as those that a wildcard evicts.
    let changed: Vec<&str> = pages.iter().copied().filter(|key| *key != "2/02.html").collect();
    let kept = [&images[..], &["2/02.html"]].concat();
    stale.changed = changed;
    stale.kept = kept;
    let cover = tagged(&stale, 4, &[]);
    assert_eq!(cover.first.list, ["#page"]);
    assert_eq!((cover.collateral, cover.first.collateral), (1, 1));
}

#[test]
fn the_tag_of_a_folder_spares_the_folders_below() {
    let changed: Vec<String> = (0..9).map(|n| format!("docs/{n}")).collect();
    let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
    let stale = StaleKeys {
        changed,
        deleted: vec!["docs/old/index.html"],
        kept: vec!["docs/0/a", "docs/5/a", "docs/new/a.html", "other"],
        ..StaleKeys::default()
    };
    let cover = tagged(&stale, 4, &[]);
    assert_eq!(cover.first.list, ["#in-646f6373"]);
    // One tag covers a folder's index document under all of its aliases.
    assert_eq!(cover.last.list, ["#in-646f63732f6f6c64"]);
    assert_eq!(cover.collateral, 0);
    assert_eq!(tagged(&stale, 2, &[]), cover);
    assert!(count_wildcards(&tagged(&stale, 12, &[])) == 0, "no tags within the budget");
}

#[test]
fn no_tag_covers_a_path_that_another_object_may_have_answered() {
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
    assert_eq!(cover.first.list, ["#page", "/about"]);
}
