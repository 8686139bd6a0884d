//! The live bucket's objects.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, MetadataDirective, ObjectIdentifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::rate_limit::RateLimit;
use super::signed_request::{SignedRequests, with_values};
use super::{failed, status, unquoted};
use crate::config::Config;
use crate::error::Error;
use crate::etag::Etag;
use crate::headers::Headers;
use crate::listing::ranges_at_once;

/// Sets all headers on one of the three requests that take them; the SDK has no common trait for these.
macro_rules! under_headers {
    ($request:expr, $headers:expr) => {
        $request
            .content_type(&$headers.content_type)
            .set_cache_control($headers.cache_control.clone())
            .set_content_disposition($headers.content_disposition.clone())
            .set_content_language($headers.content_language.clone())
            .set_content_encoding($headers.content_encoding.clone())
            .set_metadata(Some($headers.metadata.clone().into_iter().collect()))
    };
}
pub(super) use under_headers;

/// DeleteObjects takes at most 1,000 keys (S3 API).
pub const DELETES_PER_CALL: usize = 1_000;

/// The live bucket, under its prefix.
pub struct Bucket {
    pub(super) s3: aws_sdk_s3::Client,
    pub(super) signed: SignedRequests,
    pub(super) name: String,
    pub(super) prefix: String,
    pub(super) owner: Option<String>,
    pub(super) rate_limit: RateLimit,
    /// How many ranges of keys are listed at once.
    pub(super) ranges_at_once: usize,
}

/// An object as S3 describes it when asked for it alone.
pub struct Inspected {
    pub size_bytes: u64,
    pub etag: Etag,
    /// The CRC-32 over the whole object, if it was uploaded with one.
    pub crc32: Option<u32>,
    pub headers: Headers,
}

/// What became of a conditional write.
pub enum Written {
    /// The new object's ETag.
    Done(Etag),
    /// The object is not what the condition said: someone else has written, or a lost answer was ours.
    Conflict,
    /// The bytes do not have the CRC-32 that was given for them, and were not written.
    Corrupt,
}

/// What a write demands of the object that it replaces.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    Absent,
    Etag(&'a Etag),
}

impl<'a> Condition<'a> {
    pub fn replacing(etag: Option<&'a Etag>) -> Self {
        etag.map_or(Self::Absent, Self::Etag)
    }

    pub(super) fn if_match(self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Etag(etag) => Some(format!("\"{etag}\"")),
        }
    }

    pub(super) fn if_none_match(self) -> Option<String> {
        matches!(self, Self::Absent).then(|| "*".to_owned())
    }
}

/// A key that DeleteObjects did not delete.
#[derive(Debug)]
pub struct NotDeleted {
    pub key: String,
    pub code: String,
    pub message: String,
}

impl NotDeleted {
    /// Whether someone else has written the object since it was listed.
    pub fn is_conflict(&self) -> bool {
        matches!(self.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
    }
}

impl Bucket {
    pub fn new(s3: aws_sdk_s3::Client, signed: SignedRequests, rate_limit: RateLimit, config: &Config) -> Self {
        Self {
            s3,
            signed,
            name: config.live_bucket.clone(),
            prefix: config.live_prefix.clone(),
            owner: config.account_id.clone(),
            rate_limit,
            ranges_at_once: ranges_at_once(config.memory_mib),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Asks for one object's checksum and headers; `None` when it does not exist.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn inspect(&self, key: &str) -> Result<Option<Inspected>, Error> {
        let answer = self
            .s3
            .head_object()
            .bucket(&self.name)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await;
        let head = match answer {
            Ok(head) => head,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(failed(format!("asking for {key}"), error)),
        };
        // A composite checksum is one over the parts' checksums, not over the bytes.
        let is_full = head.checksum_type().is_none_or(|kind| *kind == ChecksumType::FullObject);
        let crc32 = head.checksum_crc32().filter(|_| is_full).and_then(decode_crc32);
        Ok(Some(Inspected {
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

    /// Writes one object whose CRC-32 S3 checks.
    ///
    /// # Errors
    /// `Aws`; a failed condition is no error.
    pub async fn put(
        &self,
        key: &str,
        body: Bytes,
        crc32: u32,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<Written, Error> {
        self.rate_limit.turn().await;
        let answer = self.put_signed(key, body.clone(), crc32, headers, condition);
        if let Some(etag) = answer.await {
            return Ok(Written::Done(etag));
        }
        self.rate_limit.turn().await;
        let request = self.s3.put_object().bucket(&self.name).key(key);
        let answer = under_headers!(request, headers)
            .body(ByteStream::from(body))
            .checksum_crc32(encode_crc32(crc32))
            .set_if_match(condition.if_match())
            .set_if_none_match(condition.if_none_match())
            .set_expected_bucket_owner(self.owner.clone())
            .customize()
            // The CRC-32 in the signed headers vouches for the body: S3 needs no SHA-256 of it besides.
            .disable_payload_signing()
            .send()
            .await;
        written(answer.map(|output| output.e_tag), || format!("writing {key}"))
    }

    /// Writes one object at the first attempt; gives its ETag.
    async fn put_signed(
        &self,
        key: &str,
        body: Bytes,
        crc32: u32,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Option<Etag> {
        let Headers { content_type, cache_control, content_disposition, content_language, content_encoding, metadata } =
            headers;
        let (if_match, if_none_match) = (condition.if_match(), condition.if_none_match());
        let crc32 = encode_crc32(crc32);
        let mut headers = with_values([
            ("content-type", Some(content_type.as_str())),
            ("cache-control", cache_control.as_deref()),
            ("content-disposition", content_disposition.as_deref()),
            ("content-language", content_language.as_deref()),
            ("content-encoding", content_encoding.as_deref()),
            ("x-amz-checksum-crc32", Some(&crc32)),
            ("x-amz-expected-bucket-owner", self.owner.as_deref()),
            ("if-match", if_match.as_deref()),
            ("if-none-match", if_none_match.as_deref()),
        ]);
        let metadata = metadata.iter();
        headers.extend(metadata.map(|(name, value)| (format!("x-amz-meta-{name}").into(), value.into())));
        let object = (self.name.as_str(), key, "");
        let answer = self.signed.send("PUT", object, headers, body).await?;
        match answer.status().as_u16() {
            200 => Some(unquoted(answer.headers().get("etag")?).into()),
            503 => {
                self.rate_limit.slow_down();
                None
            }
            _ => None,
        }
    }

    /// Copies one object onto itself under other headers, all of which it sends again: a header that is
    /// left out of a replacing copy is lost (S3 API, CopyObject, MetadataDirective).
    ///
    /// # Errors
    /// `Aws`; a failed condition is no error.
    pub async fn copy_onto_itself(&self, key: &str, etag: &Etag, headers: &Headers) -> Result<Written, Error> {
        self.rate_limit.turn().await;
        let request = self.s3.copy_object().bucket(&self.name).key(key);
        let encoded_key = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let answer = under_headers!(request, headers)
            .copy_source(format!("{}/{encoded_key}", self.name))
            .copy_source_if_match(format!("\"{etag}\""))
            .metadata_directive(MetadataDirective::Replace)
            .set_expected_bucket_owner(self.owner.clone())
            .set_expected_source_bucket_owner(self.owner.clone())
            .send()
            .await;
        written(answer.map(|output| output.copy_object_result.and_then(|result| result.e_tag)), || {
            format!("changing the headers of {key}")
        })
    }

    /// Deletes up to 1,000 objects, each only while it has the ETag given; gives those that remain.
    ///
    /// # Errors
    /// `Aws` when the call as a whole failed.
    pub async fn delete(&self, keys: &[(&str, Option<&Etag>)]) -> Result<Vec<NotDeleted>, Error> {
        let objects = keys.iter().filter_map(|(key, etag)| {
            // It fails only without a key.
            ObjectIdentifier::builder().key(*key).set_e_tag(etag.map(|etag| format!("\"{etag}\""))).build().ok()
        });
        let delete = aws_sdk_s3::types::Delete::builder().set_objects(Some(objects.collect())).quiet(true).build();
        let what = || format!("deleting {} objects", keys.len());
        let delete = delete.map_err(|error| Error::Aws { what: what(), reason: error.to_string(), source: None })?;
        let request = self.s3.delete_objects().bucket(&self.name).delete(delete);
        let answer = request.set_expected_bucket_owner(self.owner.clone()).send().await;
        let errors = answer.map_err(|error| failed(what(), error))?.errors.unwrap_or_default();
        let remaining = errors.into_iter().map(|error| NotDeleted {
            key: error.key.unwrap_or_default(),
            code: error.code.unwrap_or_default(),
            message: error.message.unwrap_or_default(),
        });
        // What is gone already is what was wanted.
        Ok(remaining.filter(|error| error.code != "NoSuchKey").collect())
    }
}

pub(super) fn written<E>(
    answer: Result<Option<String>, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
    what: impl Fn() -> String,
) -> Result<Written, Error>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match answer {
        Ok(Some(etag)) => Ok(Written::Done(unquoted(&etag).into())),
        Ok(None) => Err(Error::Aws { what: what(), reason: "the answer has no ETag".to_owned(), source: None }),
        // 412: the condition does not hold. 409: another write to the key was under way. 404: the object that
        // was to be replaced is gone (S3 user guide, "Conditional writes").
        Err(error) if matches!(status(&error), Some(404 | 409 | 412)) && error.code() != Some("NoSuchBucket") => {
            Ok(Written::Conflict)
        }
        Err(error) => Err(failed(what(), error)),
    }
}

/// As S3 writes checksums: base64 over the big-endian bytes.
pub(super) fn encode_crc32(crc32: u32) -> String {
    BASE64.encode(crc32.to_be_bytes())
}

fn decode_crc32(text: &str) -> Option<u32> {
    Some(u32::from_be_bytes(BASE64.decode(text).ok()?.try_into().ok()?))
}
