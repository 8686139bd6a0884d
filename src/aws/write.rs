//! Conditional writes to the live bucket.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{AnnotationDirective, MetadataDirective, ServerSideEncryption, TaggingDirective};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::bucket::{Bucket, encode_crc32};
use super::response::{failed, status, unquoted};
use super::signed_request::{SignedRequests, with_values};
use crate::error::Error;
use crate::etag::Etag;
use crate::headers::Headers;

/// Sets all headers and the encryption on one of the three requests that take them; the SDK has no common trait for
/// these.
macro_rules! under_headers {
    ($request:expr, $headers:expr, $encryption:expr) => {
        $request
            .set_server_side_encryption($encryption.algorithm().map(ServerSideEncryption::from))
            .set_ssekms_key_id($encryption.kms_key().map(str::to_owned))
            .set_bucket_key_enabled($encryption.kms_key().map(|_| true))
            .content_type(&$headers.content_type)
            .set_cache_control($headers.cache_control.clone())
            .set_content_disposition($headers.content_disposition.clone())
            .set_content_language($headers.content_language.clone())
            .set_content_encoding($headers.content_encoding.clone())
            .set_metadata(Some($headers.metadata.clone().into_iter().collect()))
    };
}
pub(super) use under_headers;

/// The result of a conditional write.
pub enum WriteResult {
    /// The new object's ETag.
    Done(Etag),
    /// The condition does not hold: another writer has changed the object, or an attempt of ours whose answer was lost.
    Conflict,
    /// The bytes do not have the CRC-32 that was sent with them, and were not written.
    Corrupt,
}

/// The condition of a write on the object that is there.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    /// There is none.
    Absent,
    /// It has this ETag.
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

impl Bucket {
    /// Writes one object, whose CRC-32 S3 checks.
    ///
    /// # Errors
    /// `Aws`; a condition that does not hold is no error.
    pub async fn put(
        &self,
        key: &str,
        body: Bytes,
        crc32: u32,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<WriteResult, Error> {
        self.rate_limit.turn().await;
        match self.request_put(&self.signed, key, body.clone(), crc32, headers, condition).await {
            Some(WriteResult::Done(etag)) => Ok(WriteResult::Done(etag)),
            _ => Box::pin(self.put_with_sdk(key, body, crc32, headers, condition)).await,
        }
    }

    async fn put_with_sdk(
        &self,
        key: &str,
        body: Bytes,
        crc32: u32,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<WriteResult, Error> {
        self.rate_limit.turn().await;
        let request = self.s3.put_object().bucket(&self.name).key(key);
        let answer = under_headers!(request, headers, self.encryption)
            .body(ByteStream::from(body))
            .checksum_crc32(encode_crc32(crc32))
            .set_if_match(condition.if_match())
            .set_if_none_match(condition.if_none_match())
            .set_expected_bucket_owner(self.account_id.clone())
            .customize()
            // The CRC-32 among the signed headers vouches for the body, so that it needs no SHA-256.
            .disable_payload_signing()
            .send()
            .await;
        write_result(answer.map(|output| output.e_tag), || format!("writing {key}"))
    }

    /// Requests once that an object be written, without the SDK's operation. Returns `None` after any
    /// answer that says neither that it was nor that the condition does not hold.
    pub(super) async fn request_put(
        &self,
        signed: &SignedRequests,
        key: &str,
        body: impl Into<SdkBody>,
        crc32: u32,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Option<WriteResult> {
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
            ("x-amz-expected-bucket-owner", self.account_id.as_deref()),
            ("x-amz-server-side-encryption", self.encryption.algorithm()),
            ("x-amz-server-side-encryption-aws-kms-key-id", self.encryption.kms_key()),
            ("x-amz-server-side-encryption-bucket-key-enabled", self.encryption.kms_key().map(|_| "true")),
            ("if-match", if_match.as_deref()),
            ("if-none-match", if_none_match.as_deref()),
        ]);
        let metadata = metadata.iter();
        headers.extend(metadata.map(|(name, value)| (format!("x-amz-meta-{name}").into(), value.into())));
        let object = (self.name.as_str(), key, "");
        let answer = signed.send("PUT", object, headers, body).await?;
        match answer.status().as_u16() {
            200 => Some(WriteResult::Done(unquoted(answer.headers().get("etag")?).into())),
            // 404 may also mean that there is no such bucket, which only the SDK's operation reads from the body.
            409 | 412 => Some(WriteResult::Conflict),
            503 => {
                self.rate_limit.slow_down();
                None
            }
            _ => None,
        }
    }

    /// Copies one object onto itself with other headers.
    ///
    /// It sends every header, because the copy loses headers that are left out (S3 API, `CopyObject`,
    /// `MetadataDirective`). Tags and annotations of the object are lost too: to copy them takes rights that the
    /// function lacks, and each annotation costs a request.
    ///
    /// # Errors
    /// `Aws`; a condition that does not hold is no error.
    pub async fn copy_onto_itself(&self, key: &str, etag: &Etag, headers: &Headers) -> Result<WriteResult, Error> {
        self.rate_limit.turn().await;
        let request = self.s3.copy_object().bucket(&self.name).key(key);
        let encoded_key = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let answer = under_headers!(request, headers, self.encryption)
            .copy_source(format!("{}/{encoded_key}", self.name))
            .copy_source_if_match(format!("\"{etag}\""))
            .metadata_directive(MetadataDirective::Replace)
            .tagging_directive(TaggingDirective::Replace)
            .annotation_directive(AnnotationDirective::Exclude)
            .set_expected_bucket_owner(self.account_id.clone())
            .set_expected_source_bucket_owner(self.account_id.clone())
            .send()
            .await;
        write_result(answer.map(|output| output.copy_object_result.and_then(|result| result.e_tag)), || {
            format!("changing the headers of {key}")
        })
    }
}

/// Reads the answer to a conditional write.
///
/// # Errors
/// `Aws`; a condition that does not hold is no error.
pub(super) fn write_result<E>(
    answer: Result<Option<String>, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
    what: impl Fn() -> String,
) -> Result<WriteResult, Error>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match answer {
        Ok(Some(etag)) => Ok(WriteResult::Done(unquoted(&etag).into())),
        Ok(None) => Err(Error::Aws { what: what(), reason: "the answer has no ETag".to_owned(), source: None }),
        // 412: the condition does not hold. 409: another write to the key was under way. 404: there is no object to
        // replace any more (S3 user guide, "Conditional writes").
        Err(error) if matches!(status(&error), Some(404 | 409 | 412)) && error.code() != Some("NoSuchBucket") => {
            Ok(WriteResult::Conflict)
        }
        Err(error) => Err(failed(what(), error)),
    }
}
