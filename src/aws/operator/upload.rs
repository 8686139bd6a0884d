//! Uploads of archives to the staging bucket, also while they are still being written. S3 checks their CRC-32.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MetadataDirective;
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::watch;

use super::Operator;
use crate::aws::bucket::encode_crc32;
use crate::aws::multipart::{MultipartUpload, UploadedPart};
use crate::aws::response::{failed, status};
use crate::error::Error;

/// Larger archives are uploaded in parts of this size, eight at a time. S3 takes at most 10,000 parts.
const PART_BYTES: u64 = 8 << 20;
const MAX_PARTS: u64 = 10_000;
const PARTS_AT_ONCE: usize = 8;

/// A larger archive is uploaded in parts.
const MAX_WHOLE_BYTES: u64 = 2 * PART_BYTES;

/// The user metadata of an archive that holds its digest in hexadecimal digits, without `x-amz-meta-`: the SHA-256 of a
/// zip's bytes or, if it was made from a folder, of the names and contents of the files.
const DIGEST_METADATA: &str = "dropship-sha256";

/// "The value must be URL-encoded" (S3 API, `CopyObject`); slashes stay.
const COPY_SOURCE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The newest version under a key.
#[derive(Clone, Debug)]
pub struct Newest {
    pub version_id: Option<String>,
    /// Its digest, if whoever uploaded it has said it.
    pub digest: Option<String>,
}

/// An archive that S3 has.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub version_id: Option<String>,
    pub etag: Option<String>,
}

/// An archive on this machine. It may still be written while its first parts are uploaded.
#[derive(Clone, Debug)]
pub struct LocalArchive<'a> {
    pub path: &'a Path,
    /// Equal archives have equal digests.
    pub digest: &'a str,
    /// It does not become larger.
    pub max_bytes: u64,
    /// If this is closed before the archive is whole, the archive is withdrawn.
    pub written: watch::Receiver<Written>,
}

/// How much of an archive is in its file, and does not change any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// This many bytes, and more may follow.
    UpTo(u64),
    /// All of them, and they may become an object.
    Whole(u64),
}

impl Written {
    fn bytes(self) -> u64 {
        match self {
            Self::UpTo(bytes) | Self::Whole(bytes) => bytes,
        }
    }

    fn is_whole(self) -> bool {
        matches!(self, Self::Whole(_))
    }
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
                let digest = head.metadata.as_ref().and_then(|metadata| metadata.get(DIGEST_METADATA)).cloned();
                Ok(Some(Newest { version_id: head.version_id, digest }))
            }
            // Without the right to list the bucket, S3 answers 403 for a key that does not exist.
            Err(error) if matches!(status(&error), Some(403 | 404)) => Ok(None),
            Err(error) => Err(failed(format!("looking up s3://{bucket}/{key}"), error)),
        }
    }

    /// Uploads an empty object.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn upload_empty(&self, bucket: &str, key: &str) -> Result<(), Error> {
        let request = self.s3.put_object().bucket(bucket).key(key).body(ByteStream::from_static(b""));
        let answer = request.set_expected_bucket_owner(self.account_id.clone()).send().await;
        answer.map(drop).map_err(|error| failed(format!("uploading s3://{bucket}/{key}"), error))
    }

    /// Copies a version of an archive to another key, byte for byte, with this source. The copy has no digest: whoever
    /// uploaded the archive has said it, and may have had fewer rights.
    ///
    /// # Errors
    /// `Aws`, also if there is no such version, or if the archive has over 5 GB, which S3 does not copy in one request.
    pub async fn copy(
        &self,
        bucket: &str,
        (from, version): (&str, Option<&str>),
        to: &str,
        (name, source): (&str, String),
    ) -> Result<Uploaded, Error> {
        let what = || format!("copying s3://{bucket}/{from} to {to}");
        let metadata = HashMap::from([(name.to_owned(), source)]);
        let version = version.map(|version| format!("?versionId={}", encoded(version))).unwrap_or_default();
        let request = self
            .s3
            .copy_object()
            .bucket(bucket)
            .key(to)
            .copy_source(format!("{bucket}/{}{version}", encoded(from)))
            .metadata_directive(MetadataDirective::Replace)
            .set_metadata(Some(metadata))
            .content_type("application/zip")
            .set_expected_bucket_owner(self.account_id.clone());
        let answer = request.set_expected_source_bucket_owner(self.account_id.clone()).send().await;
        let answer = answer.map_err(|error| failed(what(), error))?;
        Ok(Uploaded { version_id: answer.version_id, etag: answer.copy_object_result.and_then(|copied| copied.e_tag) })
    }

    /// Uploads an archive, in parts as they are written if it is large. `sent` gets the number of bytes that each
    /// request has carried. Returns `None` if the archive was withdrawn; nothing is in the bucket then. `stop` ends the
    /// upload, and returns `None` too; an archive of a single request may have become an object all the same.
    ///
    /// # Errors
    /// `Aws`; nothing is in the bucket then.
    pub async fn upload(
        &self,
        (bucket, key): (&str, &str),
        mut archive: LocalArchive<'_>,
        source: Option<(&str, String)>,
        sent: &(dyn Fn(u64) + Sync),
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Uploaded>, Error> {
        let mut stop = std::pin::pin!(stop);
        let mut metadata = HashMap::from([(DIGEST_METADATA.to_owned(), archive.digest.to_owned())]);
        metadata.extend(source.map(|(name, value)| (name.to_owned(), value)));
        let is_enough = |written: &Written| written.is_whole() || written.bytes() > MAX_WHOLE_BYTES;
        let written = tokio::select! {
            written = archive.written.wait_for(is_enough) => written.map(|written| *written).ok(),
            () = &mut stop => None,
        };
        let Some(written) = written else {
            return Ok(None);
        };
        if written.bytes() > MAX_WHOLE_BYTES {
            return self.upload_in_parts((bucket, key), &archive, metadata, sent, stop).await;
        }
        let body = read(archive.path, 0..written.bytes()).await?;
        let request = self.s3.put_object().bucket(bucket).key(key).checksum_crc32(encode_crc32(crc32fast::hash(&body)));
        let request = request.body(ByteStream::from(body)).content_type("application/zip");
        let request = request.set_metadata(Some(metadata)).set_expected_bucket_owner(self.account_id.clone());
        let answer = tokio::select! {
            answer = request.send() => answer,
            () = stop => return Ok(None),
        };
        let answer = answer.map_err(|error| failed(format!("uploading s3://{bucket}/{key}"), error))?;
        sent(written.bytes());
        Ok(Some(Uploaded { version_id: answer.version_id, etag: answer.e_tag }))
    }

    async fn upload_in_parts(
        &self,
        (bucket, key): (&str, &str),
        archive: &LocalArchive<'_>,
        metadata: HashMap<String, String>,
        sent: &(dyn Fn(u64) + Sync),
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Uploaded>, Error> {
        let place = (bucket, key, self.account_id.as_deref());
        let upload = MultipartUpload::begin(&self.s3, place, |request| {
            request.content_type("application/zip").set_metadata(Some(metadata))
        })
        .await?;
        let sending: Option<Result<(Vec<UploadedPart>, u32), Error>> = tokio::select! {
            sending = upload.send(parts(archive), PARTS_AT_ONCE, sent) => Some(sending),
            () = stop => None,
        };
        match sending {
            Some(Ok((parts, crc32))) if archive.written.borrow().is_whole() => {
                let answer = upload.complete_unconditionally(parts, crc32).await?;
                Ok(Some(Uploaded { version_id: answer.version_id, etag: answer.e_tag }))
            }
            sending => {
                upload.abort().await;
                sending.transpose().map(|_| None)
            }
        }
    }
}

/// Returns the parts of an archive as soon as they are written, each with its CRC-32. They end early if the archive is
/// withdrawn.
fn parts(archive: &LocalArchive<'_>) -> impl Stream<Item = Result<(Bytes, crc32fast::Hasher), Error>> {
    let part_bytes = PART_BYTES.max(archive.max_bytes.div_ceil(MAX_PARTS));
    stream::try_unfold((0, archive.written.clone()), move |(start, mut written)| async move {
        let end = start + part_bytes;
        let is_there = |written: &Written| written.is_whole() || written.bytes() >= end;
        let Ok(there) = written.wait_for(is_there).await.map(|written| *written) else {
            return Ok(None);
        };
        let end = end.min(there.bytes());
        if end == start {
            return Ok(None);
        }
        let body = read(archive.path, start..end).await?;
        let mut crc32 = crc32fast::Hasher::new();
        crc32.update(&body);
        Ok(Some(((body.into(), crc32), (end, written))))
    })
}

/// Encodes a key or a version for the name of a copy's source.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, COPY_SOURCE).to_string()
}

async fn read(path: &Path, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let read = async {
        let mut file = tokio::fs::File::open(path).await?;
        file.seek(std::io::SeekFrom::Start(range.start)).await?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact(&mut bytes).await?;
        Ok(bytes)
    };
    read.await.map_err(|error: std::io::Error| Error::Aws {
        what: format!("reading {}", path.display()),
        reason: error.to_string(),
        source: None,
    })
}
