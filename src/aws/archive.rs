//! Reads an archive in the staging bucket over ranged GETs, always of exactly the event's version.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::upload_part_copy::builders::UploadPartCopyFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CopyPartResult;
use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::timeout;

use super::signed_request::{SignedRequests, with_values};
use super::{BODY_PATIENCE, failed, status, unquoted};
use crate::archive::{ArchiveIndex, Entry, Limits, Parsed, Span, inflate};
use crate::config::Config;
use crate::error::Error;
use crate::event::Upload;

/// The first read: room for the end record with its comment, and for the directory of some 2,000 entries.
const TAIL_BYTES: u64 = 256 << 10;

/// A quine is made of literals, and deflate's are at most 64 KiB long (RFC 1951, section 3.2.4): none is known
/// to be near this size. Any larger one would go live as the file that it is.
const QUINE_BYTES: u64 = 1 << 20;

/// How often a body that breaks off is asked for again; the SDK retries only until the headers have come.
const BODY_ATTEMPTS: usize = 4;

/// Longer answers come over connections of their own. Each keeps as much room as the longest answer filled at
/// once, up to 400 KiB (hyper's read buffer), and the hundred that writes go out on had better not.
const SHORT_BYTES: u64 = 512 << 10;

/// Where the archives are.
#[derive(Clone)]
pub struct Archives {
    s3: aws_sdk_s3::Client,
    signed: SignedRequests,
    /// The same with connections of its own.
    bulk: SignedRequests,
    owner: Option<String>,
}

impl Archives {
    pub fn new(s3: aws_sdk_s3::Client, signed: SignedRequests, bulk: SignedRequests, config: &Config) -> Self {
        Self { s3, signed, bulk, owner: config.account_id.clone() }
    }

    /// Completes a hand-written event with what S3 knows of the object.
    ///
    /// # Errors
    /// `ArchiveGone` when there is no such object.
    pub async fn identify(&self, upload: &Upload) -> Result<Upload, Error> {
        if upload.uploaded_at.is_some() {
            return Ok(upload.clone());
        }
        let head = self
            .s3
            .head_object()
            .bucket(&upload.bucket)
            .key(&upload.key)
            .set_version_id(upload.version_id.clone())
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
            .map_err(|error| gone_or_failed(upload, error))?;
        let modified = head.last_modified().and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()));
        Ok(Upload {
            version_id: upload.version_id.clone().or(head.version_id),
            etag: upload.etag.clone().or(head.e_tag.map(|etag| unquoted(&etag))),
            uploaded_at: modified,
            ..upload.clone()
        })
    }

    /// Opens the archive of an identified upload.
    pub fn open(&self, upload: &Upload) -> Archive {
        Archive {
            s3: self.s3.clone(),
            signed: self.signed.clone(),
            bulk: self.bulk.clone(),
            owner: self.owner.clone(),
            upload: upload.clone(),
            bytes_read: AtomicU64::new(0),
            tail: OnceLock::new(),
            ahead: Mutex::default(),
        }
    }
}

/// One archive, open for reading.
pub struct Archive {
    s3: aws_sdk_s3::Client,
    signed: SignedRequests,
    /// The same with connections of its own.
    bulk: SignedRequests,
    owner: Option<String>,
    upload: Upload,
    bytes_read: AtomicU64,
    /// The archive's last bytes and their offset: what lies there need not be read again.
    tail: OnceLock<(u64, Bytes)>,
    /// What was read ahead, by its offset. It is there to the end, since several waves may read of it.
    ahead: Mutex<BTreeMap<u64, Bytes>>,
}

impl Archive {
    /// How many bytes of it have been read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Reads and judges the central directory: one GET for most archives, two for large directories.
    ///
    /// # Errors
    /// `ArchiveRejected` for what the parser refuses, `ArchiveGone` when the version no longer exists.
    pub async fn index(&self, root: &str, limits: &Limits) -> Result<ArchiveIndex, Error> {
        let last = format!("bytes=-{TAIL_BYTES}");
        let (mut start, mut tail, size) = match self.get(last, &self.signed).await {
            Ok(body) => body.last(TAIL_BYTES),
            // S3 has no range of an empty object to give.
            Err(Failure::Unsatisfiable) => (0, Bytes::new(), 0),
            Err(Failure::Error(error)) => return Err(error),
        };
        // A directory larger than the first read is not worth the memory that it would hold.
        let first = (start, tail.clone());
        loop {
            match ArchiveIndex::parse(size, &tail, root, limits)? {
                Parsed::Index(index) => {
                    let _ = self.tail.set(first);
                    if size <= QUINE_BYTES && index.entries.iter().any(|it| it.size_bytes == size) {
                        let crc32 = crc32fast::hash(&self.read(0..size).await?);
                        index.check_quine(size, crc32)?;
                    }
                    return Ok(index);
                }
                Parsed::NeedsFrom(from) if from < start => {
                    let mut joined = BytesMut::from(self.read(from..start).await?);
                    joined.extend_from_slice(&tail);
                    (start, tail) = (from, joined.freeze());
                }
                Parsed::NeedsFrom(from) => {
                    let reason = format!("its directory is said to begin at {from}, which was read already");
                    return Err(Error::ArchiveRejected(reason));
                }
            }
        }
    }

    /// Reads a small entry, inflated and checked.
    ///
    /// # Errors
    /// `ArchiveRejected` when it is over 1 MiB or not what the directory says; those of [`Archive::read`].
    pub async fn small(&self, entry: &Entry) -> Result<Bytes, Error> {
        const MAX_BYTES: u64 = 1 << 20;
        if entry.size_bytes.max(entry.end_offset - entry.header_offset) > MAX_BYTES {
            let reason = format!("`{}` has over 1 MiB; shorten it", entry.name);
            return Err(Error::ArchiveRejected(reason));
        }
        let span = self.read(entry.header_offset..entry.end_offset).await?;
        Ok(inflate(entry, span.slice(entry.data_range(&span)?))?)
    }

    /// Reads `range` (offsets in the archive, end excluded).
    ///
    /// # Errors
    /// `ArchiveGone` when the version no longer exists, `Aws` for everything else.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.read_before(&range) {
            return Ok(bytes);
        }
        let header = format!("bytes={}-{}", range.start, range.end - 1);
        let is_short = range.end - range.start <= SHORT_BYTES;
        let signed = if is_short { &self.signed } else { &self.bulk };
        match self.get(header, signed).await {
            Ok(body) => body.within(&range).ok_or_else(|| self.short(&range)),
            Err(Failure::Unsatisfiable) => Err(self.short(&range)),
            Err(Failure::Error(error)) => Err(error),
        }
    }

    /// Reads `range` and keeps it: no [`Archive::read`] of any part of it asks for it again.
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub async fn read_ahead(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let bytes = self.read(range.clone()).await?;
        self.ahead().insert(range.start, bytes.clone());
        Ok(bytes)
    }

    /// Cuts a span into what has to be read, and the entries that need not, each of them alone.
    pub(crate) fn in_pieces<'s>(&self, span: &Span<'s>) -> Vec<Span<'s>> {
        let must_be_read = |entry: &Entry| !self.is_read(&(entry.header_offset..entry.end_offset));
        let parts = span.entries.chunk_by(|before, after| must_be_read(before) && must_be_read(after));
        parts
            .filter_map(|entries| {
                let range = entries.first()?.header_offset..entries.last()?.end_offset;
                let entries = entries.to_vec();
                Some(Span { range, entries })
            })
            .collect()
    }

    /// Whether [`Archive::read`] has the range already, so that it takes neither a request nor room.
    pub(crate) fn is_read(&self, range: &Range<u64>) -> bool {
        self.read_before(range).is_some()
    }

    fn read_before(&self, range: &Range<u64>) -> Option<Bytes> {
        let tail = self.tail.get();
        tail.and_then(|(start, tail)| part(*start, tail, range)).or_else(|| {
            let ahead = self.ahead();
            let (start, bytes) = ahead.range(..=range.start).next_back()?;
            part(*start, bytes, range)
        })
    }

    fn ahead(&self) -> MutexGuard<'_, BTreeMap<u64, Bytes>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies a stored entry's bytes into a part of an upload, without reading them.
    ///
    /// # Errors
    /// `ArchiveGone` when the version no longer exists, `Aws` for everything else.
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
            .set_expected_source_bucket_owner(self.owner.clone())
            .send()
            .await
            .map_err(|error| gone_or_failed(&self.upload, error))?;
        Ok(answer.copy_part_result)
    }

    fn short(&self, range: &Range<u64>) -> Error {
        Error::Aws {
            what: format!("reading bytes {}-{} of {}", range.start, range.end, self.upload.key),
            reason: "the answer is shorter than the range".to_owned(),
            source: None,
        }
    }

    async fn get(&self, range: String, signed: &SignedRequests) -> Result<Body, Failure> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (content_range, body) = self.request(&range, signed).await?;
            let place = content_range.as_deref().and_then(parse_content_range);
            match collect(body, &self.bytes_read).await {
                Ok(bytes) => {
                    return Ok(Body { start: place.map(|(start, _)| start), size: place.map(|(_, size)| size), bytes });
                }
                Err(reason) if attempts == BODY_ATTEMPTS => {
                    let what = format!("reading {range} of {}", self.upload.key);
                    return Err(Failure::Error(Error::Aws { what, reason, source: None }));
                }
                Err(reason) => {
                    tracing::warn!(%range, %reason, "the archive's answer broke off; asking again")
                }
            }
        }
    }

    async fn request(&self, range: &str, signed: &SignedRequests) -> Result<(Option<String>, ByteStream), Failure> {
        if let Some(answer) = self.request_signed(range, signed).await {
            return Ok(answer);
        }
        let Upload { bucket, key, .. } = &self.upload;
        let request = self.s3.get_object().bucket(bucket).key(key).range(range);
        let answer = request
            .set_version_id(self.upload.version_id.clone())
            .set_if_match(self.if_match())
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await;
        let answer = answer.map_err(|error| match status(&error) {
            Some(416) => Failure::Unsatisfiable,
            _ => Failure::Error(gone_or_failed(&self.upload, error)),
        })?;
        Ok((answer.content_range, answer.body))
    }

    async fn request_signed(&self, range: &str, signed: &SignedRequests) -> Option<(Option<String>, ByteStream)> {
        let Upload { bucket, key, .. } = &self.upload;
        let if_match = self.if_match();
        let headers = with_values([
            ("range", Some(range)),
            ("if-match", if_match.as_deref()),
            ("x-amz-expected-bucket-owner", self.owner.as_deref()),
        ]);
        let query = self.version_query();
        let object = (bucket.as_str(), key.as_str(), query.as_str());
        let answer = signed.send("GET", object, headers, Bytes::new());
        let answer = answer.await?;
        if !answer.status().is_success() {
            return None;
        }
        let content_range = answer.headers().get("content-range").map(str::to_owned);
        Some((content_range, ByteStream::new(answer.into_body())))
    }

    /// The version as S3 wants it in a query string; nothing where the bucket keeps none.
    fn version_query(&self) -> String {
        let version = self.upload.version_id.as_deref();
        version.map_or_else(String::new, |version| {
            format!("?versionId={}", utf8_percent_encode(version, NON_ALPHANUMERIC))
        })
    }

    /// Without versions, the ETag is what tells this upload from the next one under its key.
    fn if_match(&self) -> Option<String> {
        let etag = self.upload.etag.as_ref();
        let etag = etag.filter(|_| self.upload.version_id.is_none());
        etag.map(|etag| format!("\"{etag}\""))
    }
}

enum Failure {
    /// The object has no such bytes.
    Unsatisfiable,
    Error(Error),
}

/// A body and its place in the object. A server may ignore the range and send everything (RFC 9110,
/// section 14.2): then there is no Content-Range, and the body is the whole object.
struct Body {
    start: Option<u64>,
    size: Option<u64>,
    bytes: Bytes,
}

impl Body {
    /// The last `count` bytes: their offset, the bytes, and the object's size.
    fn last(self, count: u64) -> (u64, Bytes, u64) {
        let size = self.size.unwrap_or(self.bytes.len() as u64);
        let start = self.start.unwrap_or_default();
        let excess = (self.bytes.len() as u64).saturating_sub(count);
        (start + excess, self.bytes.slice(excess as usize..), size)
    }

    fn within(self, range: &Range<u64>) -> Option<Bytes> {
        let from = range.start.checked_sub(self.start.unwrap_or_default())? as usize;
        let to = from + (range.end - range.start) as usize;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

/// The bytes of `range`, if they lie in `bytes`, which begin at `start`.
fn part(start: u64, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let from = range.start.checked_sub(start)?;
    let to = range.end - start;
    (to <= bytes.len() as u64).then(|| bytes.slice(from as usize..to as usize))
}

/// Reads `bytes 0-99/1234` as (0, 1234).
fn parse_content_range(header: &str) -> Option<(u64, u64)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

async fn collect(mut body: ByteStream, counter: &AtomicU64) -> Result<Bytes, String> {
    let mut bytes = BytesMut::with_capacity(body.size_hint().0 as usize);
    while let Some(chunk) = (timeout(BODY_PATIENCE, body.next()).await)
        .map_err(|_| format!("nothing came for {} s", BODY_PATIENCE.as_secs()))?
    {
        let chunk = chunk.map_err(|error| error.to_string())?;
        counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn gone_or_failed<E>(upload: &Upload, error: SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> Error
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
