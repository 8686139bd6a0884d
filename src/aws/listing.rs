//! Lists the live bucket in ranges of keys that are read side by side.
//!
//! A page names where the next one begins, so that a plain listing reads one page after the other. But which
//! keys there are is known well enough from the last manifest to begin in many places at once. The head keeps
//! where, so that the manifest need not be read before. What others have added or removed makes a range take a
//! page more or less; no key is missed, and none is seen twice.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use aws_sdk_s3::types::EncodingType;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::bucket::Bucket;
use super::direct::with_values;
use super::{BODY_PATIENCE, failed, unquoted};
use crate::error::Error;
use crate::etag::Etag;
use crate::key::form_decode;
use crate::manifest::Manifest;
use crate::plan::{Listing, Object};

/// ListObjectsV2 gives at most so many keys in a page (S3 API).
const PAGE_KEYS: usize = 1_000;

/// How many ranges there are at most, and how many of them are read at once: one for so many MiB of the function's
/// memory, as each holds a page and its share of a processor parses that.
const RANGES: usize = 32;
const MIB_PER_RANGE: u64 = 32;
const LEAST_AT_ONCE: usize = 8;

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
            // In their order, which is that of the keys.
            .buffered(self.ranges_at_once)
            .try_fold(Listing::default(), async |mut listing, range| {
                listing.append(range);
                Ok(listing)
            })
            .await
    }

    async fn page(&self, after: Option<&str>, token: Option<String>) -> Result<Page, Error> {
        if let Some(page) = self.page_directly(after, token.as_deref()).await {
            return Ok(page);
        }
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

    /// Asks for a page at the first attempt; nothing where that did not give one.
    async fn page_directly(&self, after: Option<&str>, token: Option<&str>) -> Option<Page> {
        let fields = [("continuation-token", token), ("prefix", Some(self.prefix.as_str())), ("start-after", after)];
        let mut query = String::from("?encoding-type=url&list-type=2");
        for (name, value) in fields.into_iter().filter_map(|(name, it)| Some((name, it?))) {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            query.push_str(&format!("&{name}={value}"));
        }
        let bucket = (self.name.as_str(), "", query.as_str());
        let headers = with_values([("x-amz-expected-bucket-owner", self.owner.as_deref())]);
        let answer = self.direct.send("GET", bucket, headers, Bytes::new()).await;
        let answer = answer.filter(|answer| answer.status().is_success())?;
        let mut body = ByteStream::new(answer.into_body());
        // In one piece, so that no connection's buffers are kept for it.
        let mut page = Vec::new();
        while let Some(piece) = timeout(BODY_PATIENCE, body.next()).await.ok()? {
            page.extend_from_slice(&piece.ok()?);
        }
        Page::parse(str::from_utf8(&page).ok()?)
    }
}

/// How many ranges are read at once with so much memory.
pub(super) fn ranges_at_once(memory_mib: u64) -> usize {
    ((memory_mib / MIB_PER_RANGE) as usize).clamp(LEAST_AT_ONCE, RANGES)
}

impl Page {
    /// Reads a page as S3 writes it (S3 API, ListObjectsV2, "Response Syntax"): elements whose names and texts hold
    /// no markup. It has no more of XML than that, as a parser takes most of the CPU of a deployment that changes
    /// little; whatever has more is none.
    fn parse(xml: &str) -> Option<Self> {
        let (mut is_encoded, mut is_truncated, mut is_whole) = (false, None, false);
        let mut next = None;
        let mut objects = Vec::new();
        let mut object = Contents::default();
        for piece in xml.split('<').skip(1) {
            let (element, text) = piece.split_once('>')?;
            let plain = || Some(text).filter(|text| !text.contains('&'));
            match element {
                "EncodingType" => is_encoded = plain()? == "url",
                "IsTruncated" => is_truncated = Some(plain()? == "true"),
                "NextContinuationToken" => next = Some(plain()?.to_owned()),
                "Key" => object.key = Some(form_decode(plain()?)?),
                "ETag" => object.etag = Some(etag(text)?),
                "Size" => object.size_bytes = Some(plain()?.parse().ok()?),
                "LastModified" => {
                    let at = DateTime::from_str(plain()?, DateTimeFormat::DateTime);
                    object.modified_at = Some(at.ok()?.secs());
                }
                "/Contents" => objects.push(std::mem::take(&mut object).whole()?),
                "/ListBucketResult" => is_whole = true,
                // A comment, or text that is not escaped.
                _ if element.starts_with('!') => return None,
                _ => {}
            }
        }
        let is_expected = is_whole && is_encoded && is_truncated == Some(next.is_some());
        is_expected.then_some(Self { objects, next })
    }

    fn of(answer: ListObjectsV2Output) -> Self {
        // The SDK leaves the decoding to its caller.
        let is_encoded = answer.encoding_type == Some(EncodingType::Url);
        let objects = answer.contents.unwrap_or_default().into_iter();
        let objects = objects.filter_map(|object| {
            let size = object.size.and_then(|size| u64::try_from(size).ok());
            let etag = unquoted(object.e_tag.as_deref().unwrap_or_default());
            let key = object.key?;
            let key = if is_encoded { form_decode(&key)? } else { key };
            let object = Object {
                size_bytes: size.unwrap_or_default(),
                etag: etag.into(),
                modified_at: object.last_modified.map(|at| at.secs()),
            };
            Some((key, object))
        });
        Self { objects: objects.collect(), next: answer.next_continuation_token }
    }
}

/// An object of a page that is being read.
#[derive(Default)]
struct Contents {
    key: Option<String>,
    size_bytes: Option<u64>,
    etag: Option<Etag>,
    modified_at: Option<i64>,
}

impl Contents {
    fn whole(self) -> Option<(String, Object)> {
        let object = Object { size_bytes: self.size_bytes?, etag: self.etag?, modified_at: Some(self.modified_at?) };
        Some((self.key?, object))
    }
}

/// Reads an ETag with its quotes, which may be escaped.
fn etag(text: &str) -> Option<Etag> {
    let quoted = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    let etag = quoted("&quot;").or_else(|| quoted("&#34;")).or_else(|| quoted("\""))?;
    (!etag.contains('&')).then(|| etag.into())
}

/// Reads a range page by page.
async fn read(range: Range<'_>, fetch: impl AsyncFn(Option<String>) -> Result<Page, Error>) -> Result<Listing, Error> {
    let is_beyond = |key: &str| range.until.is_some_and(|until| key > until);
    let mut found = Listing::default();
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
    ends_of_pages(manifest.len(), manifest.iter().map(|(key, _)| key), PAGE_KEYS)
}

fn ends_of_pages(count: usize, keys: impl Iterator<Item = String>, page_keys: usize) -> Vec<String> {
    let pages = count.div_ceil(page_keys);
    let step = pages.div_ceil(RANGES).max(1) * page_keys;
    // A range ends with a known key, and so that nothing but an unknown key is left for another page.
    let but_the_last = keys.take(count.saturating_sub(1));
    let ends = but_the_last.skip(step - 1).step_by(step);
    ends.collect()
}

/// Splits all keys there can be into ranges that end with these keys, and a last one without an end.
fn ranges(ends: &[String]) -> Vec<Range<'_>> {
    let mut ranges = Vec::new();
    let mut range = Range::default();
    for end in ends {
        ranges.push(Range { until: Some(end), ..range });
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
    fn listed(keys: &BTreeSet<String>, known: &BTreeSet<String>, page_keys: usize) -> (Vec<String>, usize) {
        let ends = ends_of_pages(known.len(), known.iter().cloned(), page_keys);
        let pages = AtomicUsize::new(0);
        let fetch = |after: Option<&str>, token: Option<String>| {
            pages.fetch_add(1, Ordering::Relaxed);
            let from = token.as_deref().or(after).map_or(Bound::Unbounded, Bound::Excluded);
            let mut rest = keys.range::<str, _>((from, Bound::Unbounded));
            let objects: Vec<_> = rest
                .by_ref()
                .take(page_keys)
                .map(|key| (key.clone(), Object { size_bytes: 0, etag: "".into(), modified_at: None }))
                .collect();
            let next = rest.next().and(objects.last()).map(|(key, _): &(String, Object)| key.clone());
            Ok(Page { objects, next })
        };
        let mut seen = Vec::new();
        for range in ranges(&ends) {
            let objects = futures_util::FutureExt::now_or_never(read(range, async |token| fetch(range.after, token)));
            let objects = objects.expect("nothing waits").unwrap();
            seen.extend(objects.iter().map(|(key, _)| key));
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

    const LAST_PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>live</Name><Prefix/><KeyCount>2</KeyCount>
<MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>
<Contents><Key>a/caf%C3%A9+%26%2B.html</Key><LastModified>2026-11-22T10:15:00.000Z</LastModified>
<ETag>&quot;0123456789abcdef0123456789abcdef&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>
<ChecksumType>FULL_OBJECT</ChecksumType><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>b</Key><LastModified>1970-01-01T00:00:01Z</LastModified><ETag>"x-2"</ETag><Size>0</Size></Contents>
</ListBucketResult>"#;

    #[test]
    fn a_page_is_read_as_s3_writes_it() {
        let object = |size_bytes, etag: &str, modified_at| Object {
            size_bytes,
            etag: etag.into(),
            modified_at: Some(modified_at),
        };
        let wanted: Vec<(String, _)> = vec![
            ("a/café &+.html".into(), object(7, "0123456789abcdef0123456789abcdef", 1_795_342_500)),
            ("b".into(), object(0, "x-2", 1)),
        ];
        let page = Page::parse(LAST_PAGE).unwrap();
        assert_eq!((page.objects, page.next), (wanted, None));
        let truncated = "<IsTruncated>true</IsTruncated><NextContinuationToken>1/2+=</NextContinuationToken>";
        let page = LAST_PAGE.replace("<IsTruncated>false</IsTruncated>", truncated);
        let next = Page::parse(&page).unwrap().next;
        assert_eq!(next.as_deref(), Some("1/2+="));
    }

    #[test]
    fn an_answer_that_is_not_a_whole_page_is_none() {
        for cut in 0..LAST_PAGE.len() {
            assert!(Page::parse(&LAST_PAGE[..cut]).is_none(), "{cut}");
        }
        let error = "<Error><Code>InternalError</Code><Message>Try again.</Message></Error>";
        assert!(Page::parse(error).is_none());
        for (part, other) in [
            ("<EncodingType>url</EncodingType>", ""),
            ("<IsTruncated>false</IsTruncated>", ""),
            (">false<", ">true<"),
            ("<Key>b</Key>", ""),
            ("<Size>0</Size>", "<Size>-1</Size>"),
            ("1970-01-01T00:00:01Z", "yesterday"),
            ("%C3%A9", "%E9"),
            ("<Key>b</Key>", "<Key><![CDATA[b]]></Key>"),
            ("<Key>b</Key>", "<Key>&#98;</Key>"),
            ("x-2", "x&amp;2"),
        ] {
            let page = LAST_PAGE.replacen(part, other, 1);
            assert_ne!(page, LAST_PAGE);
            assert!(Page::parse(&page).is_none(), "{part}");
        }
    }
}
