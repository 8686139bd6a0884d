//! The listing of the live bucket, and the ranges of keys in which it is read.

pub(crate) mod xml;

use serde::{Deserialize, Serialize};

use crate::etag::Etag;
use crate::manifest::Manifest;
use crate::packed_map::PackedMap;

/// `ListObjectsV2` returns at most 1,000 keys in a page (S3 API).
const PAGE_KEYS: usize = 1_000;

/// The most ranges that a listing is split into.
const MAX_RANGES: usize = 32;

/// One range is read at a time for each 32 MiB of the function's memory: each holds a page, and the processor share
/// that parses it grows with the memory.
const MIB_PER_RANGE: u64 = 32;
const MIN_RANGES_AT_ONCE: usize = 8;

/// The objects under the live prefix, by full key.
pub type Listing = PackedMap<Object>;

/// One line of the listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    pub size_bytes: u64,
    pub etag: Etag,
    /// When it was last written, or copied onto itself, in epoch seconds.
    pub modified_at: Option<i64>,
}

impl Object {
    /// Returns the MD5 of the contents if the ETag is one. It is not for multipart, SSE-KMS and SSE-C objects.
    pub fn md5(&self) -> Option<String> {
        self.etag.is_md5().then(|| self.etag.to_string())
    }
}

/// One page of a listing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// In the order of their keys.
    pub(crate) objects: Vec<(String, Object)>,
    /// The token of the next page; `None` on the last one.
    pub(crate) next: Option<String>,
}

/// A folder whose keys are not the site's, and which the listing passes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Apart {
    /// It ends in a slash.
    folder: String,
    /// Where the listing goes on.
    after: String,
}

impl Apart {
    /// Takes the folder of previews. Their names are lower-case letters, digits and hyphens, and no key of theirs comes
    /// after `~`.
    pub(crate) fn new(folder: String) -> Self {
        Self { after: format!("{folder}~"), folder }
    }

    fn has(&self, key: &str) -> bool {
        key.starts_with(&self.folder)
    }
}

/// The keys after `after`, up to and including `until`, except those `apart`; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyRange<'k> {
    pub(crate) after: Option<&'k str>,
    until: Option<&'k str>,
    apart: Option<&'k Apart>,
}

impl KeyRange<'_> {
    /// Adds the objects of a page to `found`. Returns the token of the next page, or `None` at the range's end.
    pub(crate) fn take(&self, page: Page, found: &mut Listing) -> Option<String> {
        let last = page.objects.last().map(|(key, _)| key.as_str());
        let is_at_end = last.is_some_and(|last| self.until.is_some_and(|until| last >= until));
        let is_beyond = |key: &str| self.until.is_some_and(|until| key > until);
        let is_apart = |key: &str| self.apart.is_some_and(|apart| apart.has(key));
        found.extend(page.objects.into_iter().filter(|(key, _)| !is_beyond(key) && !is_apart(key)));
        page.next.filter(|_| !is_at_end)
    }
}

/// Returns how many ranges are read at the same time with this much memory.
pub(crate) fn ranges_at_once(memory_mib: u64) -> usize {
    ((memory_mib / MIB_PER_RANGE) as usize).clamp(MIN_RANGES_AT_ONCE, MAX_RANGES)
}

/// Splits all possible keys into ranges that end with `split_keys`, and a last range without an end.
///
/// A folder `apart` also ends a range, and the next one begins behind it. However many objects are in the folder, the
/// listing takes the same pages: one more than without the folder, or two if a page ends with the last key before it.
pub(crate) fn ranges<'k>(split_keys: &'k [String], apart: Option<&'k Apart>) -> Vec<KeyRange<'k>> {
    let is_apart = |key: &str| apart.is_some_and(|apart| apart.has(key));
    // Each bound ends a range and begins the next one.
    let keys = split_keys.iter().map(String::as_str).filter(|key| !is_apart(key));
    let mut bounds: Vec<(&str, &str)> = keys.map(|key| (key, key)).collect();
    if let Some(Apart { folder, after }) = apart {
        let index = bounds.partition_point(|(until, _)| *until < folder.as_str());
        bounds.insert(index, (folder, after));
    }
    let mut ranges = Vec::new();
    let mut range = KeyRange { apart, ..KeyRange::default() };
    for (until, after) in bounds {
        ranges.push(KeyRange { until: Some(until), ..range });
        range.after = Some(after);
    }
    ranges.push(range);
    ranges
}

/// Returns the keys after which the next listing is split, in order.
///
/// If the bucket has the manifest's keys, that listing takes no more pages than one that reads page after page.
pub fn split_keys(manifest: &Manifest) -> Vec<String> {
    split_between_pages(manifest.len(), manifest.iter().map(|(key, _)| key), PAGE_KEYS)
}

fn split_between_pages(count: usize, keys: impl Iterator<Item = String>, page_keys: usize) -> Vec<String> {
    let pages = count.div_ceil(page_keys);
    let step = pages.div_ceil(MAX_RANGES).max(1) * page_keys;
    // The last key ends no range: the range after it would cost a page, and only unknown keys could be in it.
    let keys = keys.take(count.saturating_sub(1));
    keys.skip(step - 1).step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    /// Returns the page that S3 would answer with.
    fn page(keys: &BTreeSet<String>, after: Option<&str>, page_keys: usize) -> Page {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = keys.range::<str, _>((from, Bound::Unbounded));
        let object = Object { size_bytes: 0, etag: "".into(), modified_at: None };
        let objects: Vec<_> = rest.by_ref().take(page_keys).map(|key| (key.clone(), object.clone())).collect();
        let next = rest.next().and(objects.last()).map(|(key, _)| key.clone());
        Page { objects, next }
    }

    /// Lists `keys` in ranges split by the `known` keys. Returns the keys seen, range by range, and the number of
    /// pages.
    fn listed(
        keys: &BTreeSet<String>,
        known: &BTreeSet<String>,
        page_keys: usize,
        apart: Option<&Apart>,
    ) -> (Vec<String>, usize) {
        let split_keys = split_between_pages(known.len(), known.iter().cloned(), page_keys);
        let (mut seen, mut pages) = (Vec::new(), 0);
        for range in ranges(&split_keys, apart) {
            let mut found = Listing::default();
            let mut token: Option<String> = None;
            loop {
                pages += 1;
                token = range.take(page(keys, token.as_deref().or(range.after), page_keys), &mut found);
                if token.is_none() {
                    break;
                }
            }
            seen.extend(found.iter().map(|(key, _)| key));
        }
        (seen, pages)
    }

    proptest! {
        #[test]
        fn every_key_is_seen_once_whatever_was_known(
            keys in btree_set("[ab/]{0,4}", 0..60), known in btree_set("[ab/]{0,4}", 0..60), page_keys in 1..7usize,
        ) {
            let (seen, _) = listed(&keys, &known, page_keys, None);
            prop_assert_eq!(seen, keys.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn known_keys_take_no_more_pages_than_a_plain_listing(
            keys in btree_set("[a-d]{1,4}", 0..200), page_keys in 1..7usize,
        ) {
            let (_, pages) = listed(&keys, &keys, page_keys, None);
            prop_assert_eq!(pages, keys.len().div_ceil(page_keys).max(1));
        }

        #[test]
        fn every_key_outside_the_folder_apart_is_seen_once_and_none_inside(
            keys in btree_set("(b/)?[abc/~]{0,3}", 0..60), known in btree_set("(b/)?[abc/~]{0,3}", 0..60),
            page_keys in 1..7usize,
        ) {
            let (seen, _) = listed(&keys, &known, page_keys, Some(&Apart::new("b/".to_owned())));
            prop_assert_eq!(seen, keys.into_iter().filter(|key| !key.starts_with("b/")).collect::<Vec<_>>());
        }

        #[test]
        fn the_pages_do_not_grow_with_the_folder_apart(
            keys in btree_set("[ac][a-d]{0,3}", 0..100), apart in btree_set("b/[a-d]{1,4}", 1..300),
            page_keys in 1..7usize,
        ) {
            let folder = Apart::new("b/".to_owned());
            let (_, alone) = listed(&keys, &keys, page_keys, None);
            let (_, few) = listed(&keys.iter().chain(apart.first()).cloned().collect(), &keys, page_keys, Some(&folder));
            let (_, many) = listed(&keys.union(&apart).cloned().collect(), &keys, page_keys, Some(&folder));
            prop_assert_eq!(few, many);
            let is_full = keys.range(..folder.folder.clone()).count() % page_keys == 0;
            let more = 1 + usize::from(is_full);
            prop_assert!(many <= alone + more, "{} pages and {} without the folder", many, alone);
        }
    }

    #[test]
    fn an_empty_manifest_gives_one_range_of_all_keys() {
        assert_eq!(ranges(&split_keys(&Manifest::default()), None), [KeyRange::default()]);
    }
}
