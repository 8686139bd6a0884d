//! Reads an archive in the staging bucket over ranged GETs, always of exactly the event's version.

mod body;
mod object;
mod stream;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use aws_sdk_s3::operation::upload_part_copy::builders::UploadPartCopyFluentBuilder;
use aws_sdk_s3::types::CopyPartResult;
use bytes::{Bytes, BytesMut};
use chrono::DateTime;

use super::response::unquoted;
use super::signed_request::SignedRequests;
use crate::archive::{ArchiveIndex, Entry, FORMAT_BYTES, Limits, Parsed, Selection, inflate};
use crate::config::Config;
use crate::deployment::Source;
use crate::error::Error;
use crate::event::Upload;

use object::{ArchiveObject, gone_or_failed};

pub use stream::RangeStream;

/// The length of the first read: enough for the end record with its comment, and for the directory of some 2,000
/// entries.
const TAIL_BYTES: u64 = 256 << 10;

/// The largest archive that is checked for being a quine, a zip that contains itself.
///
/// A quine is made of deflate's uncompressed blocks, which are at most 64 KiB long (RFC 1951, section 3.2.4). No known
/// quine comes near this size. A larger one would go live like any other file.
const MAX_QUINE_BYTES: u64 = 1 << 20;

/// The staging bucket's archives.
#[derive(Clone)]
pub struct Archives {
    s3: aws_sdk_s3::Client,
    signed: SignedRequests,
    long: SignedRequests,
    account_id: Option<String>,
}

impl Archives {
    /// Long answers are read with `long`, which has connections of its own.
    pub fn new(s3: aws_sdk_s3::Client, [signed, long]: [SignedRequests; 2], config: &Config) -> Self {
        Self { s3, signed, long, account_id: config.account_id.clone() }
    }

    /// Completes the upload of a hand-written event with S3's metadata of the object.
    ///
    /// # Errors
    /// `ArchiveGone` when there is no such object, `Aws`.
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
            .set_expected_bucket_owner(self.account_id.clone())
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
        let Self { s3, signed, long, account_id } = self.clone();
        Archive {
            object: ArchiveObject::new(s3, signed, long, account_id, upload.clone()),
            tail: OnceLock::new(),
            ahead: Mutex::default(),
        }
    }
}

/// One archive, open for reading.
pub struct Archive {
    object: ArchiveObject,
    /// The offset of the archive's last bytes, and the bytes. They are not read again.
    tail: OnceLock<(u64, Bytes)>,
    /// Bytes that were read ahead, by their offset. They are kept to the end, since several waves may use them.
    ahead: Mutex<BTreeMap<u64, Bytes>>,
}

impl Archive {
    pub fn bytes_read(&self) -> u64 {
        self.object.bytes_read()
    }

    /// Returns where the build comes from, once something was read.
    pub fn source(&self) -> Option<Source> {
        self.object.source()
    }

    /// Reads and checks the central directory: one GET for most archives, two for large directories.
    ///
    /// # Errors
    /// `ArchiveRejected` when the parser refuses the archive, `ArchiveGone` when the version no longer exists, `Aws`.
    pub async fn read_index(&self, selection: &Selection<'_>, limits: &Limits) -> Result<ArchiveIndex, Error> {
        let (mut start, mut tail, size) = self.object.get_last(TAIL_BYTES).await?;
        // Only the first read is kept: the memory of a larger directory would not be worth it.
        let _ = self.tail.set((start, tail.clone()));
        loop {
            let parsed = match ArchiveIndex::parse(size, &tail, selection, limits) {
                Err(rejection) if rejection.is_of_end() => {
                    let first = self.read(0..FORMAT_BYTES.min(size)).await?;
                    return Err(rejection.or_by_content(&first).into());
                }
                parsed => parsed?,
            };
            match parsed {
                Parsed::Index(index) => {
                    self.check_quine(&index, size).await?;
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

    async fn check_quine(&self, index: &ArchiveIndex, size: u64) -> Result<(), Error> {
        if size <= MAX_QUINE_BYTES && index.entries.iter().any(|entry| entry.size_bytes == size) {
            let crc32 = crc32fast::hash(&self.read(0..size).await?);
            index.check_quine(size, crc32)?;
        }
        Ok(())
    }

    /// Reads a small entry, and returns its checked contents.
    ///
    /// # Errors
    /// `ArchiveRejected` when it is over 8 MiB or not as the directory says; those of [`Archive::read`].
    pub async fn read_small(&self, entry: &Entry) -> Result<Bytes, Error> {
        const MAX_BYTES: u64 = 8 << 20;
        if entry.size_bytes.max(entry.end_offset - entry.header_offset) > MAX_BYTES {
            let reason = format!("`{}` has over 8 MiB; shorten it", entry.name);
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
        match self.kept(&range) {
            Some(bytes) => Ok(bytes),
            None => self.object.get(range).await,
        }
    }

    /// Reads `range` as it arrives, over a connection of its own unless it is in memory.
    pub fn stream(&self, range: Range<u64>) -> RangeStream<'_> {
        match self.kept(&range) {
            Some(bytes) => RangeStream::arrived(&self.object, range.end, bytes),
            None => RangeStream::new(&self.object, range),
        }
    }

    /// Reads `range` and keeps it, so that no [`Archive::read`] of any part of it makes a request.
    ///
    /// # Errors
    /// As [`Archive::read`].
    pub async fn read_ahead(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let bytes = self.read(range.clone()).await?;
        self.keep(range.start, bytes.clone());
        Ok(bytes)
    }

    /// Keeps bytes that were read from `offset` on.
    pub fn keep(&self, offset: u64, bytes: Bytes) {
        self.ahead().insert(offset, bytes);
    }

    /// Whether `range` is in memory, so that [`Archive::read`] needs neither a request nor memory for it.
    pub(crate) fn is_read(&self, range: &Range<u64>) -> bool {
        self.kept(range).is_some()
    }

    fn kept(&self, range: &Range<u64>) -> Option<Bytes> {
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

    /// Copies a range of the archive into a part of an upload, without reading it.
    ///
    /// # Errors
    /// `ArchiveGone` when the version no longer exists, `Aws` for everything else.
    pub(super) async fn copy(
        &self,
        range: &Range<u64>,
        part: UploadPartCopyFluentBuilder,
    ) -> Result<Option<CopyPartResult>, Error> {
        self.object.copy(range, part).await
    }
}

/// Returns the bytes of `range` if they lie in `bytes`, which start at `start`.
fn part(start: u64, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let from = range.start.checked_sub(start)?;
    let to = range.end - start;
    (to <= bytes.len() as u64).then(|| bytes.slice(from as usize..to as usize))
}
