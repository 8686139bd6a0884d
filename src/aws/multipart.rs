//! Uploads of large objects in parts. S3 checks the CRC-32 of the whole object.

use std::ops::Range;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, ServerSideEncryption,
};
use bytes::Bytes;

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
        let request = self.s3.create_multipart_upload().bucket(&self.name).key(key);
        let answer = under_headers!(request, headers, self.encryption)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::FullObject)
            .set_expected_bucket_owner(self.account_id.clone())
            .send()
            .await
            .map_err(|error| failed(format!("beginning the upload of {key}"), error))?;
        Ok(MultipartUpload { bucket: self, key: key.to_owned(), id: answer.upload_id.unwrap_or_default() })
    }
}

/// A multipart upload under way. It has to be completed or aborted.
pub struct MultipartUpload<'a> {
    bucket: &'a Bucket,
    key: String,
    id: String,
}

/// A part that S3 has.
pub struct UploadedPart(CompletedPart);

impl MultipartUpload<'_> {
    /// Uploads a part of 5 MiB or more; the last part may be shorter. Numbers start at 1.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn part(&self, number: i32, body: Bytes, crc32: u32) -> Result<UploadedPart, Error> {
        let crc32 = encode_crc32(crc32);
        let bucket = self.bucket;
        let request = bucket.s3.upload_part().bucket(&bucket.name).key(&self.key).upload_id(&self.id);
        let request = request.part_number(number).body(ByteStream::from(body)).checksum_crc32(&crc32);
        let answer = request
            .set_expected_bucket_owner(bucket.account_id.clone())
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
        let bucket = self.bucket;
        let request = bucket
            .s3
            .upload_part_copy()
            .bucket(&bucket.name)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .set_expected_bucket_owner(bucket.account_id.clone());
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
        let parts = parts.into_iter().map(|UploadedPart(part)| part).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let bucket = self.bucket;
        let request = bucket.s3.complete_multipart_upload().bucket(&bucket.name).key(&self.key).upload_id(&self.id);
        let answer = request
            .multipart_upload(parts)
            .checksum_crc32(encode_crc32(crc32))
            .checksum_type(ChecksumType::FullObject)
            .set_if_match(condition.if_match())
            .set_if_none_match(condition.if_none_match())
            .set_expected_bucket_owner(bucket.account_id.clone())
            .send()
            .await;
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

    /// Aborts the upload, so that its parts are deleted. If this fails, the bucket's lifecycle rule deletes them.
    pub async fn abort(self) {
        let bucket = self.bucket;
        let request = bucket.s3.abort_multipart_upload().bucket(&bucket.name).key(&self.key).upload_id(&self.id);
        if let Err(error) = request.set_expected_bucket_owner(bucket.account_id.clone()).send().await
            && status(&error) != Some(404)
        {
            tracing::warn!(key = %self.key, "could not abort an upload, whose parts may remain: {error}");
        }
    }
}
