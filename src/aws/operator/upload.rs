//! Uploads of archives to the staging bucket. S3 checks their CRC-32.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::Operator;
use crate::aws::bucket::encode_crc32;
use crate::aws::response::{failed, status};
use crate::error::Error;

/// Larger archives are uploaded in parts of this size, eight at a time. S3 takes at most 10,000 parts.
const PART_BYTES: u64 = 8 << 20;
const MAX_PARTS: u64 = 10_000;
const PARTS_AT_ONCE: usize = 8;

/// The user metadata of an archive that holds the SHA-256 of its bytes in hexadecimal digits, without `x-amz-meta-`.
const SHA256_METADATA: &str = "dropship-sha256";

/// The newest version under a key.
#[derive(Clone, Debug)]
pub struct Newest {
    pub version_id: Option<String>,
    /// The SHA-256 of its bytes, if whoever uploaded it has said so.
    pub sha256: Option<String>,
}

/// An archive that S3 has.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub version_id: Option<String>,
    pub etag: Option<String>,
}

impl Operator {
    /// Returns the newest version under a key; `None` if there is none.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn newest(&self, bucket: &str, key: &str) -> Result<Option<Newest>, Error> {
        let request = self.s3.head_object().bucket(bucket).key(key);
        match request.set_expected_bucket_owner(self.account_id.clone()).send().await {
            Ok(head) => {
                let sha256 = head.metadata.as_ref().and_then(|metadata| metadata.get(SHA256_METADATA)).cloned();
                Ok(Some(Newest { version_id: head.version_id, sha256 }))
            }
            // Without the right to list the bucket, S3 answers 403 for a key that does not exist.
            Err(error) if matches!(status(&error), Some(403 | 404)) => Ok(None),
            Err(error) => Err(failed(format!("looking up s3://{bucket}/{key}"), error)),
        }
    }

    /// Uploads an archive. `sent` gets the number of bytes that each request has carried.
    ///
    /// # Errors
    /// `Aws`; nothing is in the bucket then.
    pub async fn upload(
        &self,
        (bucket, key): (&str, &str),
        archive: &Path,
        sha256: &str,
        source: Option<(&str, String)>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded, Error> {
        let unreadable = |error: std::io::Error| Error::Aws {
            what: format!("reading {}", archive.display()),
            reason: error.to_string(),
            source: None,
        };
        let size_bytes = tokio::fs::metadata(archive).await.map_err(unreadable)?.len();
        let mut metadata = HashMap::from([(SHA256_METADATA.to_owned(), sha256.to_owned())]);
        metadata.extend(source.map(|(name, value)| (name.to_owned(), value)));
        if size_bytes > 2 * PART_BYTES {
            return self.upload_in_parts((bucket, key), archive, size_bytes, metadata, sent).await;
        }
        let body = tokio::fs::read(archive).await.map_err(unreadable)?;
        let crc32 = crc32fast::hash(&body);
        let request = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from(body));
        let request = request.checksum_crc32(encode_crc32(crc32)).content_type("application/zip");
        let request = request.set_metadata(Some(metadata)).set_expected_bucket_owner(self.account_id.clone());
        let answer = request.send().await;
        let answer = answer.map_err(|error| failed(format!("uploading s3://{bucket}/{key}"), error))?;
        sent(size_bytes);
        Ok(Uploaded { version_id: answer.version_id, etag: answer.e_tag })
    }

    async fn upload_in_parts(
        &self,
        (bucket, key): (&str, &str),
        archive: &Path,
        size_bytes: u64,
        metadata: HashMap<String, String>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded, Error> {
        let what = || format!("uploading s3://{bucket}/{key}");
        let request = self.s3.create_multipart_upload().bucket(bucket).key(key).set_metadata(Some(metadata));
        let request = request.checksum_algorithm(ChecksumAlgorithm::Crc32).checksum_type(ChecksumType::FullObject);
        let request = request.content_type("application/zip").set_expected_bucket_owner(self.account_id.clone());
        let begun = request.send().await.map_err(|error| failed(what(), error))?;
        let id = begun.upload_id.unwrap_or_default();
        let part_bytes = PART_BYTES.max(size_bytes.div_ceil(MAX_PARTS));
        let ranges = (0..size_bytes.div_ceil(part_bytes)).map(|number| {
            let start = number * part_bytes;
            (number as i32 + 1, start..size_bytes.min(start + part_bytes))
        });
        let parts: Result<Vec<CompletedPart>, Error> = stream::iter(ranges)
            .map(async |(number, range)| {
                let length = range.end - range.start;
                let body = read(archive, range).await.map_err(|error| Error::Aws {
                    what: format!("reading {}", archive.display()),
                    reason: error.to_string(),
                    source: None,
                })?;
                let crc32 = encode_crc32(crc32fast::hash(&body));
                let request = self.s3.upload_part().bucket(bucket).key(key).upload_id(&id).part_number(number);
                let request = request.checksum_crc32(&crc32).body(ByteStream::from(body));
                let request = request.set_expected_bucket_owner(self.account_id.clone());
                let answer = request.send().await.map_err(|error| failed(what(), error))?;
                sent(length);
                let part = CompletedPart::builder().part_number(number).checksum_crc32(crc32);
                Ok(part.set_e_tag(answer.e_tag).build())
            })
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await;
        let completed = match parts {
            Ok(parts) => self.complete((bucket, key), &id, parts).await,
            Err(error) => Err(error),
        };
        if completed.is_err() {
            // The bucket's lifecycle rule deletes the parts if this fails too.
            let abort = self.s3.abort_multipart_upload().bucket(bucket).key(key).upload_id(&id);
            let _ = abort.set_expected_bucket_owner(self.account_id.clone()).send().await;
        }
        completed
    }

    async fn complete(
        &self,
        (bucket, key): (&str, &str),
        id: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<Uploaded, Error> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.s3.complete_multipart_upload().bucket(bucket).key(key).upload_id(id).multipart_upload(parts);
        let request = request.checksum_type(ChecksumType::FullObject);
        let answer = request.set_expected_bucket_owner(self.account_id.clone()).send().await;
        let answer = answer.map_err(|error| failed(format!("uploading s3://{bucket}/{key}"), error))?;
        Ok(Uploaded { version_id: answer.version_id, etag: answer.e_tag })
    }
}

async fn read(file: &Path, range: Range<u64>) -> std::io::Result<Vec<u8>> {
    let mut file = tokio::fs::File::open(file).await?;
    file.seek(std::io::SeekFrom::Start(range.start)).await?;
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact(&mut bytes).await?;
    Ok(bytes)
}
