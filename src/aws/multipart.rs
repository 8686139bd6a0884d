//! Uploads of large objects in parts. S3 checks the CRC-32 of the whole object.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::complete_multipart_upload::{CompleteMultipartUploadError, CompleteMultipartUploadOutput};
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
};
use bytes::Bytes;
use futures_util::future;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};

use super::archive::Archive;
use super::bucket::{Bucket, encode_crc32};
use super::response::{failed, status};
use super::write::{Condition, WriteResult, under_headers, write_result};
use crate::error::Error;
use crate::headers::Headers;

impl Bucket {
    /// Begins a multipart upload. S3 checks the CRC-32 of the whole object at the end.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn begin(&self, key: &str, headers: &Headers) -> Result<MultipartUpload<'_>, Error> {
        let place = (&*self.name, key, self.account_id.as_deref());
        MultipartUpload::begin(&self.s3, place, |request| under_headers!(request, headers, self.encryption)).await
    }
}

/// A multipart upload under way. It has to be completed or aborted.
pub struct MultipartUpload<'a> {
    s3: &'a Client,
    bucket: &'a str,
    key: String,
    account_id: Option<&'a str>,
    id: String,
}

/// A part that S3 has.
pub struct UploadedPart(CompletedPart);

impl<'a> MultipartUpload<'a> {
    /// Begins the upload of an object with these headers. The place is bucket, key and the bucket's owner.
    pub(super) async fn begin(
        s3: &'a Client,
        (bucket, key, account_id): (&'a str, &str, Option<&'a str>),
        headers: impl FnOnce(CreateMultipartUploadFluentBuilder) -> CreateMultipartUploadFluentBuilder,
    ) -> Result<Self, Error> {
        let answer = headers(s3.create_multipart_upload().bucket(bucket).key(key))
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::FullObject)
            .set_expected_bucket_owner(account_id.map(str::to_owned))
            .send()
            .await
            .map_err(|error| failed(format!("beginning the upload of {key}"), error))?;
        let id = answer.upload_id.unwrap_or_default();
        Ok(Self { s3, bucket, key: key.to_owned(), account_id, id })
    }

    /// Uploads the parts of an object in their order, `at_once` of them at the same time, each with its CRC-32. `sent`
    /// gets the length of each part that S3 has. Returns the parts with the CRC-32 of the whole object.
    ///
    /// # Errors
    /// `Aws`, and those of the contents.
    pub async fn send<E: From<Error>>(
        &self,
        contents: impl Stream<Item = Result<(Bytes, crc32fast::Hasher), E>>,
        at_once: usize,
        sent: impl Fn(u64),
    ) -> Result<(Vec<UploadedPart>, u32), E> {
        let mut crc32 = crc32fast::Hasher::new();
        let has_failed = AtomicBool::new(false);
        let uploaded: Vec<Result<UploadedPart, E>> = contents
            .inspect_ok(|(_, part)| crc32.combine(part))
            // After a failure no part starts, and those under way are waited for: a part that arrives after the abort
            // may stay (S3 API, AbortMultipartUpload).
            .take_while(|_| future::ready(!has_failed.load(Ordering::Relaxed)))
            .zip(stream::iter(1..))
            .map(async |(part, number)| {
                let uploaded = async {
                    let (body, crc32) = part?;
                    let length_bytes = body.len() as u64;
                    let uploaded = self.part(number, body, crc32.finalize()).await?;
                    sent(length_bytes);
                    Ok(uploaded)
                };
                let uploaded = uploaded.await;
                has_failed.fetch_or(uploaded.is_err(), Ordering::Relaxed);
                uploaded
            })
            .buffered(at_once)
            .collect()
            .await;
        let parts = uploaded.into_iter().collect::<Result<_, _>>()?;
        Ok((parts, crc32.finalize()))
    }

    /// Uploads a part of 5 MiB or more; the last part may be shorter. Numbers start at 1.
    ///
    /// # Errors
    /// `Aws`.
    async fn part(&self, number: i32, body: Bytes, crc32: u32) -> Result<UploadedPart, Error> {
        let crc32 = encode_crc32(crc32);
        let request = self.s3.upload_part().bucket(self.bucket).key(&self.key).upload_id(&self.id);
        let request = request.part_number(number).body(ByteStream::from(body)).checksum_crc32(&crc32);
        let answer = request
            .set_expected_bucket_owner(self.account_id.map(str::to_owned))
            .customize()
            // The CRC-32 vouches for the body, as in [`Bucket::put`].
            .disable_payload_signing()
            .send()
            .await;
        let answer = answer.map_err(|error| failed(format!("uploading part {number} of {}", self.key), error))?;
        let part = CompletedPart::builder().part_number(number).checksum_crc32(crc32).set_e_tag(answer.e_tag);
        Ok(UploadedPart(part.build()))
    }

    /// Copies a part of 5 MiB to 5 GiB from the archive; the last part may be shorter. Numbers start at 1.
    ///
    /// # Errors
    /// `ArchiveGone`, `Aws`.
    pub async fn copy(&self, number: i32, archive: &Archive, range: &Range<u64>) -> Result<UploadedPart, Error> {
        let request = self
            .s3
            .upload_part_copy()
            .bucket(self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .set_expected_bucket_owner(self.account_id.map(str::to_owned));
        let copied = archive.copy(range, request).await?;
        let (crc32, etag) = copied.map(|part| (part.checksum_crc32, part.e_tag)).unwrap_or_default();
        let part = CompletedPart::builder().part_number(number).set_checksum_crc32(crc32).set_e_tag(etag);
        Ok(UploadedPart(part.build()))
    }

    /// Makes the object from its parts, in their order. If that fails, it [aborts](Self::abort) the upload.
    ///
    /// # Errors
    /// `Aws`; a condition that does not hold is no error.
    pub async fn complete(
        self,
        parts: Vec<UploadedPart>,
        crc32: u32,
        condition: Condition<'_>,
    ) -> Result<WriteResult, Error> {
        let answer = self.request_completion(parts, crc32, Some(condition)).await;
        let is_corrupt = answer.as_ref().is_err_and(|error| error.code() == Some("BadDigest"));
        if is_corrupt {
            self.abort().await;
            return Ok(WriteResult::Corrupt);
        }
        let result =
            write_result(answer.map(|output| output.e_tag), || format!("completing the upload of {}", self.key));
        if !matches!(result, Ok(WriteResult::Done(_))) {
            self.abort().await;
        }
        result
    }

    /// Makes the object from its parts, in their order, whatever is there. If that fails, it [aborts](Self::abort) the
    /// upload.
    #[cfg(feature = "cli")]
    pub(super) async fn complete_unconditionally(
        self,
        parts: Vec<UploadedPart>,
        crc32: u32,
    ) -> Result<CompleteMultipartUploadOutput, Error> {
        match self.request_completion(parts, crc32, None).await {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let what = format!("completing the upload of {}", self.key);
                self.abort().await;
                Err(failed(what, error))
            }
        }
    }

    async fn request_completion(
        &self,
        parts: Vec<UploadedPart>,
        crc32: u32,
        condition: Option<Condition<'_>>,
    ) -> Result<CompleteMultipartUploadOutput, SdkError<CompleteMultipartUploadError>> {
        let parts = parts.into_iter().map(|UploadedPart(part)| part).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.s3.complete_multipart_upload().bucket(self.bucket).key(&self.key).upload_id(&self.id);
        request
            .multipart_upload(parts)
            .checksum_crc32(encode_crc32(crc32))
            .checksum_type(ChecksumType::FullObject)
            .set_if_match(condition.and_then(Condition::if_match))
            .set_if_none_match(condition.and_then(Condition::if_none_match))
            .set_expected_bucket_owner(self.account_id.map(str::to_owned))
            .send()
            .await
    }

    /// Aborts the upload, so that its parts are deleted. If this fails, the bucket's lifecycle rule deletes them.
    pub async fn abort(self) {
        let request = self.s3.abort_multipart_upload().bucket(self.bucket).key(&self.key).upload_id(&self.id);
        if let Err(error) = request.set_expected_bucket_owner(self.account_id.map(str::to_owned)).send().await
            && status(&error) != Some(404)
        {
            tracing::warn!(key = %self.key, "could not abort an upload, whose parts may remain: {error}");
        }
    }
}
