//! The live bucket: one object's description, and deletes.

use aws_sdk_s3::types::{ChecksumMode, ChecksumType, ObjectIdentifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::rate_limit::RateLimit;
use super::region::BucketRegion;
use super::response::{failed, status, unquoted};
use super::signed_request::SignedRequests;
use crate::config::Config;
use crate::error::Error;
use crate::etag::Etag;
use crate::headers::Headers;
use crate::listing::ranges_at_once;

/// `DeleteObjects` takes at most 1,000 keys (S3 API).
pub const DELETES_PER_CALL: usize = 1_000;

/// The live bucket, under its prefix.
pub struct Bucket {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) signed: SignedRequests,
    pub(super) region: BucketRegion,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) account_id: Option<String>,
    pub(super) rate_limit: RateLimit,
    /// How many ranges of keys are listed at the same time.
    pub(super) ranges_at_once: usize,
}

/// An object as S3 describes it.
pub struct InspectedObject {
    pub size_bytes: u64,
    pub etag: Etag,
    /// The CRC-32 of the whole object, if it was uploaded with one.
    pub crc32: Option<u32>,
    pub headers: Headers,
}

/// A key that `DeleteObjects` did not delete.
#[derive(Clone, Debug)]
pub struct NotDeleted {
    pub key: String,
    pub code: String,
    pub message: String,
}

impl std::fmt::Display for NotDeleted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, code, message } = self;
        write!(f, "{key} ({code}: {message})")
    }
}

impl NotDeleted {
    /// Whether someone else has written the object since it was listed.
    pub fn is_conflict(&self) -> bool {
        matches!(self.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
    }
}

impl Bucket {
    /// The clients send their requests to `region`, once it is known.
    pub fn new(
        s3: aws_sdk_s3::Client,
        signed: SignedRequests,
        region: BucketRegion,
        rate_limit: RateLimit,
        config: &Config,
    ) -> Self {
        Self {
            s3,
            signed,
            region,
            name: config.live_bucket.clone(),
            prefix: config.live_prefix.clone(),
            account_id: config.account_id.clone(),
            rate_limit,
            ranges_at_once: ranges_at_once(config.memory_mib),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns one object's checksum and headers, or `None` if it does not exist.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn inspect(&self, key: &str) -> Result<Option<InspectedObject>, Error> {
        let answer = self
            .s3
            .head_object()
            .bucket(&self.name)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .set_expected_bucket_owner(self.account_id.clone())
            .send()
            .await;
        let head = match answer {
            Ok(head) => head,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(failed(format!("reading the metadata of s3://{}/{key}", self.name), error)),
        };
        // A composite checksum covers the checksums of the parts, not the bytes.
        let is_full = head.checksum_type().is_none_or(|kind| *kind == ChecksumType::FullObject);
        let crc32 = head.checksum_crc32().filter(|_| is_full).and_then(decode_crc32);
        Ok(Some(InspectedObject {
            size_bytes: head.content_length().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            etag: unquoted(head.e_tag().unwrap_or_default()).into(),
            crc32,
            headers: Headers {
                content_type: head.content_type.unwrap_or_default(),
                cache_control: head.cache_control,
                content_disposition: head.content_disposition,
                content_language: head.content_language,
                content_encoding: head.content_encoding,
                metadata: head.metadata.unwrap_or_default().into_iter().collect(),
            },
        }))
    }

    /// Deletes up to 1,000 objects, each only if it still has the given ETag. Returns the objects that remain.
    ///
    /// # Errors
    /// `Aws` when the call as a whole failed.
    pub async fn delete(&self, keys: &[(&str, Option<&Etag>)]) -> Result<Vec<NotDeleted>, Error> {
        let objects = keys.iter().filter_map(|(key, etag)| {
            // Building fails only without a key.
            ObjectIdentifier::builder().key(*key).set_e_tag(etag.map(|etag| format!("\"{etag}\""))).build().ok()
        });
        let delete = aws_sdk_s3::types::Delete::builder().set_objects(Some(objects.collect())).quiet(true).build();
        let what = || format!("deleting {} objects", keys.len());
        let delete = delete.map_err(|error| Error::Aws { what: what(), reason: error.to_string(), source: None })?;
        let request = self.s3.delete_objects().bucket(&self.name).delete(delete);
        let request = request.set_expected_bucket_owner(self.account_id.clone());
        let answer = self.in_its_region(async || request.clone().send().await).await;
        let errors = answer.map_err(|error| failed(what(), error))?.errors.unwrap_or_default();
        let remaining = errors.into_iter().map(|error| NotDeleted {
            key: error.key.unwrap_or_default(),
            code: error.code.unwrap_or_default(),
            message: error.message.unwrap_or_default(),
        });
        // An object that is gone already needs no delete.
        Ok(remaining.filter(|error| error.code != "NoSuchKey").collect())
    }
}

/// Encodes a CRC-32 as S3 does: base64 of its big-endian bytes.
pub(super) fn encode_crc32(crc32: u32) -> String {
    BASE64.encode(crc32.to_be_bytes())
}

fn decode_crc32(text: &str) -> Option<u32> {
    Some(u32::from_be_bytes(BASE64.decode(text).ok()?.try_into().ok()?))
}
