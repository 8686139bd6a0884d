//! The requests to S3 for one archive.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::upload_part_copy::builders::UploadPartCopyFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CopyPartResult;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::body::{Body, collect};
use crate::aws::response::{BODY_PATIENCE, failed, status};
use crate::aws::signed_request::{SignedRequests, with_values};
use crate::deployment::{SOURCE_METADATA, Source};
use crate::error::Error;
use crate::event::Upload;

/// How often a body is requested if it breaks off. The SDK retries only until the headers have arrived.
pub(super) const BODY_ATTEMPTS: usize = 4;

/// Longer answers use connections of their own. A connection's read buffer stays as large as the longest answer that
/// filled it, up to 400 KiB (hyper), and the hundred connections that carry writes must not grow like that.
const MAX_SHORT_BYTES: u64 = 512 << 10;

/// An archive as an object of S3.
pub(super) struct ArchiveObject {
    s3: aws_sdk_s3::Client,
    signed: SignedRequests,
    /// For long answers.
    long: SignedRequests,
    account_id: Option<String>,
    upload: Upload,
    bytes_read: AtomicU64,
    /// The value of the metadata that names the build's source, from the first answer.
    source: OnceLock<Option<String>>,
}

pub(super) enum Failure {
    /// The object has no such bytes.
    Unsatisfiable,
    Error(Error),
}

impl ArchiveObject {
    pub(super) fn new(
        s3: aws_sdk_s3::Client,
        signed: SignedRequests,
        long: SignedRequests,
        account_id: Option<String>,
        upload: Upload,
    ) -> Self {
        Self { s3, signed, long, account_id, upload, bytes_read: AtomicU64::new(0), source: OnceLock::new() }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Returns where the build comes from, once something was read.
    pub(super) fn source(&self) -> Option<Source> {
        Source::decode(self.source.get()?.as_deref()?)
    }

    /// Reads the last `count` bytes. Returns their offset, the bytes, and the object's size.
    ///
    /// # Errors
    /// `ArchiveGone`, `Aws`.
    pub(super) async fn get_last(&self, count: u64) -> Result<(u64, Bytes, u64), Error> {
        match self.get_body(&format!("bytes=-{count}"), &self.signed).await {
            Ok(body) => Ok(body.last(count)),
            // An empty object has no range.
            Err(Failure::Unsatisfiable) => Ok((0, Bytes::new(), 0)),
            Err(Failure::Error(error)) => Err(error),
        }
    }

    /// Reads `range`, which is not empty.
    ///
    /// # Errors
    /// `ArchiveGone`, `Aws`.
    pub(super) async fn get(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let is_short = range.end - range.start <= MAX_SHORT_BYTES;
        let signed = if is_short { &self.signed } else { &self.long };
        match self.get_body(&format!("bytes={}-{}", range.start, range.end - 1), signed).await {
            Ok(body) => body.within(&range).ok_or_else(|| self.too_short(&range)),
            Err(Failure::Unsatisfiable) => Err(self.too_short(&range)),
            Err(Failure::Error(error)) => Err(error),
        }
    }

    /// Copies `range` into a part of an upload.
    ///
    /// # Errors
    /// `ArchiveGone`, `Aws`.
    pub(super) async fn copy(
        &self,
        range: &Range<u64>,
        part: UploadPartCopyFluentBuilder,
    ) -> Result<Option<CopyPartResult>, Error> {
        let Upload { bucket, key, .. } = &self.upload;
        let encoded_key = utf8_percent_encode(key, NON_ALPHANUMERIC);
        let answer = part
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .copy_source(format!("{bucket}/{encoded_key}{}", self.version_query()))
            .set_copy_source_if_match(self.if_match())
            .set_expected_source_bucket_owner(self.account_id.clone())
            .send()
            .await
            .map_err(|error| gone_or_failed(&self.upload, error))?;
        Ok(answer.copy_part_result)
    }

    async fn get_body(&self, range: &str, signed: &SignedRequests) -> Result<Body, Failure> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (content_range, body) = self.request(range, signed).await?;
            match collect(body, &self.bytes_read).await {
                Ok(bytes) => return Ok(Body::new(content_range.as_deref(), bytes)),
                Err(reason) if attempts == BODY_ATTEMPTS => {
                    return Err(Failure::Error(self.broken_off(range, reason)));
                }
                Err(reason) => {
                    tracing::warn!(%range, %reason, "the archive's answer broke off; asking again");
                }
            }
        }
    }

    /// Requests a range whose answer is long. Returns the answer's Content-Range and its body.
    pub(super) async fn request_long(&self, range: &str) -> Result<(Option<String>, ByteStream), Failure> {
        self.request(range, &self.long).await
    }

    /// Counts bytes of an answer that have arrived.
    pub(super) fn count(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    async fn request(&self, range: &str, signed: &SignedRequests) -> Result<(Option<String>, ByteStream), Failure> {
        match self.request_directly(range, signed).await {
            Some(answer) => Ok(answer),
            None => Box::pin(self.request_with_sdk(range)).await,
        }
    }

    async fn request_with_sdk(&self, range: &str) -> Result<(Option<String>, ByteStream), Failure> {
        let Upload { bucket, key, .. } = &self.upload;
        let request = self.s3.get_object().bucket(bucket).key(key).range(range);
        let answer = request
            .set_version_id(self.upload.version_id.clone())
            .set_if_match(self.if_match())
            .set_expected_bucket_owner(self.account_id.clone())
            .send()
            .await;
        let answer = answer.map_err(|error| match status(&error) {
            Some(416) => Failure::Unsatisfiable,
            _ => Failure::Error(gone_or_failed(&self.upload, error)),
        })?;
        let metadata = answer.metadata.unwrap_or_default();
        let _ = self.source.set(metadata.get(SOURCE_METADATA).cloned());
        Ok((answer.content_range, answer.body))
    }

    /// Tries once to read a range without the SDK's operation. Returns `None` unless that succeeds.
    async fn request_directly(&self, range: &str, signed: &SignedRequests) -> Option<(Option<String>, ByteStream)> {
        let Upload { bucket, key, .. } = &self.upload;
        let if_match = self.if_match();
        let headers = with_values([
            ("range", Some(range)),
            ("if-match", if_match.as_deref()),
            ("x-amz-expected-bucket-owner", self.account_id.as_deref()),
        ]);
        let query = self.version_query();
        let object = (bucket.as_str(), key.as_str(), query.as_str());
        // The connections for long answers have no timeout of their own.
        let answer = timeout(BODY_PATIENCE, signed.send("GET", object, headers, Bytes::new())).await.ok()??;
        if !answer.status().is_success() {
            return None;
        }
        let header = |name: &str| answer.headers().get(name).map(str::to_owned);
        let content_range = header("content-range");
        let _ = self.source.set(header(&format!("x-amz-meta-{SOURCE_METADATA}")));
        Some((content_range, ByteStream::new(answer.into_body())))
    }

    /// Returns the version as a query string; empty if the bucket keeps no versions.
    fn version_query(&self) -> String {
        let version = self.upload.version_id.as_deref();
        version.map_or_else(String::new, |version| {
            format!("?versionId={}", utf8_percent_encode(version, NON_ALPHANUMERIC))
        })
    }

    /// Returns the ETag to ask for where there are no versions: it tells this upload from the next one under its key.
    fn if_match(&self) -> Option<String> {
        let etag = self.upload.etag.as_ref();
        let etag = etag.filter(|_| self.upload.version_id.is_none());
        etag.map(|etag| format!("\"{etag}\""))
    }

    pub(super) fn broken_off(&self, range: &str, reason: String) -> Error {
        Error::Aws { what: format!("reading {range} of {}", self.upload.key), reason, source: None }
    }

    pub(super) fn too_short(&self, range: &Range<u64>) -> Error {
        Error::Aws {
            what: format!("reading bytes {}-{} of {}", range.start, range.end, self.upload.key),
            reason: "the answer is shorter than the range".to_owned(),
            source: None,
        }
    }
}

/// Returns the error of a request for an archive; `ArchiveGone` if S3 does not have it any more.
pub(super) fn gone_or_failed<E>(upload: &Upload, error: SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let reason = match status(&error) {
        Some(404) => {
            "it is not in the bucket (never was, was deleted, or its version expired): build and upload it again"
        }
        Some(405) => "its version is a delete marker: build and upload it again",
        Some(412) => {
            "its key was overwritten since, and the bucket keeps no versions: send the newer upload's event, or turn versioning on"
        }
        _ => {
            return failed(format!("reading s3://{}/{}", upload.bucket, upload.key), error);
        }
    };
    Error::ArchiveGone {
        bucket: upload.bucket.clone(),
        key: upload.key.clone(),
        version_id: upload.version_id.clone(),
        reason: reason.to_owned(),
    }
}
