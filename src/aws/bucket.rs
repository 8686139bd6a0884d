//! The live bucket, and the description of one object.

use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::rate_limit::RateLimit;
use super::region::BucketRegion;
use super::response::{failed, status, unquoted};
use super::signed_request::SignedRequests;
use crate::config::{Config, Encryption};
use crate::error::Error;
use crate::etag::Etag;
use crate::headers::Headers;
use crate::key::is_blank;
use crate::listing::{Apart, ranges_at_once};

/// The live bucket, under its prefix.
#[derive(Clone)]
pub struct Bucket {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) signed: SignedRequests,
    /// For long requests.
    pub(super) long: SignedRequests,
    pub(super) region: BucketRegion,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) account_id: Option<String>,
    pub(super) encryption: Encryption,
    pub(super) rate_limit: RateLimit,
    /// How many ranges of keys are listed at the same time.
    pub(super) ranges_at_once: usize,
    /// The folder under the prefix that belongs to other sites.
    pub(super) apart: Option<Apart>,
}

/// An object as S3 describes it.
pub struct InspectedObject {
    pub size_bytes: u64,
    pub etag: Etag,
    /// The CRC-32 of the whole object, if it was uploaded with one.
    pub crc32: Option<u32>,
    pub headers: Headers,
}

impl Bucket {
    /// The clients send their requests to `region`, once it is known. `long` has connections of its own.
    pub fn new(
        s3: aws_sdk_s3::Client,
        [signed, long]: [SignedRequests; 2],
        region: BucketRegion,
        rate_limit: RateLimit,
        config: &Config,
    ) -> Self {
        Self {
            s3,
            signed,
            long,
            region,
            name: config.live_bucket.clone(),
            prefix: config.live_prefix.clone(),
            account_id: config.account_id.clone(),
            encryption: config.encryption.clone(),
            rate_limit,
            ranges_at_once: ranges_at_once(config.memory_mib),
            apart: config.folder_of_previews().map(Apart::new),
        }
    }

    /// Returns the same bucket under the prefix of another site.
    pub(super) fn of_site(&self, config: &Config) -> Self {
        let apart = config.folder_of_previews().map(Apart::new);
        Self { prefix: config.live_prefix.clone(), apart, ..self.clone() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns one object's checksum and headers, or `None` if it does not exist.
    ///
    /// An object with a [blank](is_blank) key cannot be asked about, and counts as gone. No archive has one.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn inspect(&self, key: &str) -> Result<Option<InspectedObject>, Error> {
        if is_blank(key) {
            return Ok(None);
        }
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
}

/// Encodes a CRC-32 as S3 does: base64 of its big-endian bytes.
pub(super) fn encode_crc32(crc32: u32) -> String {
    BASE64.encode(crc32.to_be_bytes())
}

fn decode_crc32(text: &str) -> Option<u32> {
    Some(u32::from_be_bytes(BASE64.decode(text).ok()?.try_into().ok()?))
}
