//! Lists the live bucket in ranges of keys that are read side by side.
//!
//! S3 names the start of each page in the page before it, so a plain listing reads page after page. The last manifest
//! says which keys to expect, so the listing can begin in many places at the same time. The head stores those places,
//! so that the listing does not wait for the manifest. If other writers have added or removed keys, a range takes a
//! page more or less, but every key is still seen exactly once.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{self, EncodingType};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::bucket::Bucket;
use super::response::{BODY_PATIENCE, failed, unquoted};
use super::signed_request::with_values;
use crate::error::Error;
use crate::key::form_decode;
use crate::listing::xml::parse_page;
use crate::listing::{KeyRange, Listing, Object, Page, ranges};

impl Bucket {
    /// Lists all objects of the site under the prefix, split after `split_keys`, which are in order.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn list(&self, split_keys: &[String]) -> Result<Listing, Error> {
        stream::iter(ranges(split_keys, self.apart.as_ref()))
            .map(|range| self.list_range(range))
            // In the order of their keys.
            .buffered(self.ranges_at_once)
            .try_fold(Listing::default(), async |mut listing, range| {
                listing.append(range);
                Ok(listing)
            })
            .await
    }

    async fn list_range(&self, range: KeyRange<'_>) -> Result<Listing, Error> {
        let mut found = Listing::default();
        let mut token = None;
        loop {
            let page = self.read_page(range.after, token).await?;
            token = range.take(page, &mut found);
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn read_page(&self, after: Option<&str>, token: Option<String>) -> Result<Page, Error> {
        match self.read_page_directly(after, token.as_deref()).await {
            Some(page) => Ok(page),
            None => Box::pin(self.read_page_with_sdk(after, token)).await,
        }
    }

    async fn read_page_with_sdk(&self, after: Option<&str>, token: Option<String>) -> Result<Page, Error> {
        let request = self
            .s3
            .list_objects_v2()
            .bucket(&self.name)
            .set_prefix((!self.prefix.is_empty()).then(|| self.prefix.clone()))
            .set_start_after(after.map(str::to_owned))
            .set_continuation_token(token)
            // A key may hold characters that XML cannot (S3 API, ListObjectsV2, EncodingType).
            .encoding_type(EncodingType::Url)
            .set_expected_bucket_owner(self.account_id.clone());
        let answer = self.in_its_region(async || request.clone().send().await).await;
        let what = || format!("listing s3://{}/{}", self.name, self.prefix);
        answer.map(to_page).map_err(|error| failed(what(), error))
    }

    /// Tries once to read a page without the SDK's operation. Returns `None` unless that succeeds.
    async fn read_page_directly(&self, after: Option<&str>, token: Option<&str>) -> Option<Page> {
        let fields = [("continuation-token", token), ("prefix", Some(self.prefix.as_str())), ("start-after", after)];
        let mut query = String::from("?encoding-type=url&list-type=2");
        for (name, value) in fields.into_iter().filter_map(|(name, it)| Some((name, it?))) {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            query.push_str(&format!("&{name}={value}"));
        }
        let bucket = (self.name.as_str(), "", query.as_str());
        let headers = with_values([("x-amz-expected-bucket-owner", self.account_id.as_deref())]);
        let answer = self.signed.send("GET", bucket, headers, Bytes::new()).await;
        let answer = answer.filter(|answer| answer.status().is_success())?;
        let mut body = ByteStream::new(answer.into_body());
        // Copied out piece by piece, so that the page does not hold on to the connection's buffers.
        let mut page = Vec::new();
        while let Some(piece) = timeout(BODY_PATIENCE, body.next()).await.ok()? {
            page.extend_from_slice(&piece.ok()?);
        }
        parse_page(str::from_utf8(&page).ok()?)
    }
}

fn to_page(answer: ListObjectsV2Output) -> Page {
    // The SDK leaves the decoding of keys to its caller.
    let is_encoded = answer.encoding_type == Some(EncodingType::Url);
    let objects = answer.contents.unwrap_or_default().into_iter();
    let objects = objects.filter_map(|object| to_object(object, is_encoded)).collect();
    Page { objects, next: answer.next_continuation_token }
}

fn to_object(object: types::Object, is_encoded: bool) -> Option<(String, Object)> {
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
}
