//! Lists the live bucket in ranges of keys that are read side by side.
//!
//! A page names where the next one begins, so that a plain listing reads one page after the other. But which
//! keys there are is known well enough from the last manifest to begin in many places at once. The head keeps
//! where, so that the manifest need not be read before. What others have added or removed makes a range take a
//! page more or less; no key is missed, and none is seen twice.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::bucket::Bucket;
use super::{failed, unquoted};
use crate::error::Error;
use crate::key::form_decode;
use crate::manifest::Manifest;
use crate::plan::{Listing, Object};

/// ListObjectsV2 gives at most so many keys in a page (S3 API).
const PAGE_KEYS: usize = 1_000;

const RANGES_AT_ONCE: usize = 32;

/// The keys behind `after` up to and including `until`; all keys in a direction where there is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range<'k> {
    after: Option<&'k str>,
    until: Option<&'k str>,
}

/// One answer of S3.
struct Page {
    /// In the order of their keys.
    objects: Vec<(String, Object)>,
    /// Where the next page begins, unless this one is the last.
    next: Option<String>,
}

impl Bucket {
    /// Lists all objects under the prefix, split behind the keys `ends`, which are in order.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn list(&self, ends: &[String]) -> Result<Listing, Error> {
        stream::iter(ranges(ends))
            .map(async |range| read(range, async |token| self.page(range.after, token).await).await)
            .buffer_unordered(RANGES_AT_ONCE)
            .try_fold(Listing::new(), async |mut listing, objects| {
                listing.extend(objects);
                Ok(listing)
            })
            .await
    }

    async fn page(&self, after: Option<&str>, token: Option<String>) -> Result<Page, Error> {
        let answer = self
            .s3
            .list_objects_v2()
            .bucket(&self.name)
            .set_prefix((!self.prefix.is_empty()).then(|| self.prefix.clone()))
            .set_start_after(after.map(str::to_owned))
            .set_continuation_token(token)
            // A key may hold characters that XML cannot (S3 API, ListObjectsV2, EncodingType).
            .encoding_type(EncodingType::Url)
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await;
        let what = || format!("listing s3://{}/{}", self.name, self.prefix);
        answer.map(Page::of).map_err(|error| failed(what(), error))
    }
}

impl Page {
    fn of(answer: ListObjectsV2Output) -> Self {
        // The SDK leaves the decoding to its caller.
        let is_encoded = answer.encoding_type == Some(EncodingType::Url);
        let objects = answer.contents.unwrap_or_default().into_iter();
        let objects = objects.filter_map(|object| {
            let size = object.size.and_then(|size| u64::try_from(size).ok());
            let etag = unquoted(object.e_tag.as_deref().unwrap_or_default());
            let key = object.key?;
            let key = if is_encoded { form_decode(&key)? } else { key };
            let size_bytes = size.unwrap_or_default();
            let modified_at = object.last_modified.map(|at| at.secs());
            let object = Object {
                size_bytes,
                etag,
                modified_at,
            };
            Some((key, object))
        });
        Self {
            objects: objects.collect(),
            next: answer.next_continuation_token,
        }
    }
}

/// Reads a range page by page.
async fn read(
    range: Range<'_>,
    fetch: impl AsyncFn(Option<String>) -> Result<Page, Error>,
) -> Result<Vec<(String, Object)>, Error> {
    let is_beyond = |key: &str| range.until.is_some_and(|until| key > until);
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let page = fetch(token).await?;
        let last = page.objects.last().map(|(key, _)| key.as_str());
        let is_at_end = last.is_some_and(|last| range.until.is_some_and(|until| last >= until));
        let inside = page.objects.into_iter().filter(|(key, _)| !is_beyond(key));
        found.extend(inside);
        token = page.next;
        if is_at_end || token.is_none() {
            return Ok(found);
        }
    }
}

/// The keys to split the next listing behind, in order: it then takes no more pages than one after the other
/// would, if its keys are the manifest's.
pub fn ends(manifest: &Manifest) -> Vec<String> {
    let count = manifest.iter().count();
    ends_of_pages(count, manifest.iter().map(|(key, _)| key), PAGE_KEYS)
}

fn ends_of_pages<'k>(
    count: usize,
    keys: impl Iterator<Item = &'k str>,
    page_keys: usize,
) -> Vec<String> {
    let pages = count.div_ceil(page_keys);
    let step = pages.div_ceil(RANGES_AT_ONCE).max(1) * page_keys;
    // A range ends with a known key, and so that nothing but an unknown key is left for another page.
    let but_the_last = keys.take(count.saturating_sub(1));
    let ends = but_the_last.skip(step - 1).step_by(step);
    ends.map(str::to_owned).collect()
}

/// Splits all keys there can be into ranges that end with these keys, and a last one without an end.
fn ranges(ends: &[String]) -> Vec<Range<'_>> {
    let mut ranges = Vec::new();
    let mut range = Range::default();
    for end in ends {
        ranges.push(Range {
            until: Some(end),
            ..range
        });
        range.after = Some(end);
    }
    ranges.push(range);
    ranges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    /// Lists a set of keys as S3 would, in pages; gives what was seen, range by range, and the number of pages.
    fn listed(
        keys: &BTreeSet<String>,
        known: &BTreeSet<String>,
        page_keys: usize,
    ) -> (Vec<String>, usize) {
        let ends = ends_of_pages(known.len(), known.iter().map(String::as_str), page_keys);
        let pages = AtomicUsize::new(0);
        let fetch = |after: Option<&str>, token: Option<String>| {
            pages.fetch_add(1, Ordering::Relaxed);
            let from = token
                .as_deref()
                .or(after)
                .map_or(Bound::Unbounded, Bound::Excluded);
            let mut rest = keys.range::<str, _>((from, Bound::Unbounded));
            let objects: Vec<_> = rest
                .by_ref()
                .take(page_keys)
                .map(|key| {
                    (
                        key.clone(),
                        Object {
                            size_bytes: 0,
                            etag: String::new(),
                            modified_at: None,
                        },
                    )
                })
                .collect();
            let next = rest.next().and(objects.last()).map(|(key, _)| key.clone());
            Ok(Page { objects, next })
        };
        let mut seen = Vec::new();
        for range in ranges(&ends) {
            let objects = futures_util::FutureExt::now_or_never(read(range, async |token| {
                fetch(range.after, token)
            }));
            let objects = objects.expect("nothing waits").unwrap();
            seen.extend(objects.into_iter().map(|(key, _)| key));
        }
        (seen, pages.into_inner())
    }

    proptest! {
        #[test]
        fn every_key_is_seen_once_whatever_was_known(
            keys in btree_set("[ab/]{0,4}", 0..60), known in btree_set("[ab/]{0,4}", 0..60), page_keys in 1..7usize,
        ) {
            let (seen, _) = listed(&keys, &known, page_keys);
            prop_assert_eq!(seen, keys.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn known_keys_take_no_more_pages_than_a_plain_listing(
            keys in btree_set("[a-d]{1,4}", 0..200), page_keys in 1..7usize,
        ) {
            let (_, pages) = listed(&keys, &keys, page_keys);
            prop_assert_eq!(pages, keys.len().div_ceil(page_keys).max(1));
        }
    }

    #[test]
    fn nothing_known_is_one_range_of_all_keys() {
        assert_eq!(ranges(&ends(&Manifest::default())), [Range::default()]);
    }
}
