//! Entries that are too large for memory: written in one request while they are read, or by multipart uploads, of read
//! chunks or of parts that S3 copies.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::Transfer;
use super::entry_reader::{Chunk, EntryReader};
use super::summary::Incomplete;
use super::wave::{SentObject, WaveInProgress};
use crate::archive::{Encoding, Entry};
use crate::aws::multipart::{MultipartUpload, UploadedPart};
use crate::aws::write::{Condition, WriteResult};
use crate::error::Error;
use crate::headers::Headers;
use crate::plan::{Put, Wanted};

/// Up to this size an object is written by one request, which is repeated as a whole if it fails. S3 advises parts from
/// 100 MB on (S3 user guide, "Uploading and copying objects using multipart upload").
const MAX_STREAMED_BYTES: u64 = 64 << 20;

/// How much of a streamed object is unpacked at a time. One piece is unpacked, one held back, one queued, and two are
/// being sent: hyper takes the next one when less than 400 KiB of the last one are left.
const STREAMED_PIECE_BYTES: u64 = 1 << 20;
const STREAMED_PIECES_AT_ONCE: u64 = 5;

/// S3 takes parts of 5 MiB or more, and at most 10,000 of them (S3 user guide, "Multipart upload limits").
pub(super) const PART_BYTES: u64 = 5 << 20;
const MAX_PARTS: u64 = 10_000;

/// One part is filled while the part before it is uploaded.
const PARTS_AT_ONCE: usize = 2;

/// The longer a part is, the longer S3 takes to copy it; it copies up to 5 GiB at a time (S3 API, `UploadPartCopy`).
const MAX_COPIED_PART_BYTES: u64 = 1 << 30;

impl<'a> Transfer<'a> {
    /// Puts an entry that is read and sent piece by piece.
    pub(super) async fn put_in_pieces(&self, put: Put<'a>, wave: &WaveInProgress<'a>) -> Result<(), Incomplete> {
        let wanted = self.rules.wanted(put.entry);
        if wanted.encoding == Encoding::Identity && put.entry.size_bytes <= MAX_STREAMED_BYTES {
            if let Some(answer) = self.stream(&put, &wanted).await? {
                let (size_bytes, crc32) = (put.entry.size_bytes, Some(put.entry.crc32));
                let sent = SentObject { wanted, size_bytes, crc32, has_body: true };
                return Ok(wave.record(put, sent, answer).await?);
            }
            tracing::warn!(key = %put.key, "could not write the object in one request; uploading it in parts");
        }
        self.put_in_parts(put, wave).await
    }

    /// Sends an entry while it is read. Returns `None` if S3 did not take it.
    async fn stream(&self, put: &Put<'a>, wanted: &Wanted) -> Result<Option<WriteResult>, Incomplete> {
        let entry = put.entry;
        let memory_bytes = STREAMED_PIECES_AT_ONCE * STREAMED_PIECE_BYTES + EntryReader::memory_bytes(entry);
        let _memory = self.memory.reserve_both(memory_bytes).await;
        self.check_running()?;
        self.count_inflated(entry, wanted.encoding);
        let reader = EntryReader::open(self.archive, entry, wanted.encoding).await?;
        let mut left_bytes = entry.size_bytes;
        let pieces = reader.chunks(STREAMED_PIECE_BYTES).map(|piece| {
            let Chunk { bytes, .. } = piece?;
            left_bytes = left_bytes.saturating_sub(bytes.len() as u64);
            // The last piece may still go out near the deadline: it finishes the object.
            if left_bytes > 0 {
                self.check_deadline()?;
            }
            Ok(Bytes::from(bytes))
        });
        let condition = Condition::replacing(put.replaces.as_ref());
        self.bucket.put_streamed(&put.key, (entry.size_bytes, entry.crc32), &wanted.headers, condition, pieces).await
    }

    /// Puts an entry that is read and uploaded part by part.
    async fn put_in_parts(&self, put: Put<'a>, wave: &WaveInProgress<'a>) -> Result<(), Incomplete> {
        let memory = self.memory.reserve_both(self.parts_memory_bytes(put.entry)).await;
        self.check_running()?;
        let wanted = self.rules.wanted(put.entry);
        let size_bytes = wanted.encoding.size_bytes(put.entry);
        self.count_inflated(put.entry, wanted.encoding);
        let (reader, upload) = self.open_both(&put, &wanted).await?;
        let (parts, crc32) = match self.upload_parts(reader, &upload, size_bytes).await {
            Ok(uploaded) => uploaded,
            Err(reason) => {
                upload.abort().await;
                return Err(reason);
            }
        };
        drop(memory);
        let answer = upload.complete(parts, crc32, Condition::replacing(put.replaces.as_ref())).await?;
        let sent = SentObject { wanted, size_bytes, crc32: Some(crc32), has_body: true };
        Ok(wave.record(put, sent, answer).await?)
    }

    /// Opens the entry for reading and begins its upload, at the same time.
    async fn open_both<'t>(
        &'t self,
        put: &'t Put<'a>,
        wanted: &Wanted,
    ) -> Result<(EntryReader<'t>, MultipartUpload<'t>), Error> {
        let (reader, upload) = tokio::join!(
            EntryReader::open(self.archive, put.entry, wanted.encoding),
            self.bucket.begin(&put.key, &wanted.headers),
        );
        match (reader, upload) {
            (Ok(reader), Ok(upload)) => Ok((reader, upload)),
            (Err(error), Ok(upload)) => {
                upload.abort().await;
                Err(error)
            }
            (Err(error), Err(_)) | (Ok(_), Err(error)) => Err(error),
        }
    }

    /// Uploads the parts of an entry. Returns them with the CRC-32 of the whole object.
    async fn upload_parts(
        &self,
        reader: EntryReader<'_>,
        upload: &MultipartUpload<'_>,
        size_bytes: u64,
    ) -> Result<(Vec<UploadedPart>, u32), Incomplete> {
        let part_bytes = part_bytes(size_bytes);
        let last = size_bytes.div_ceil(part_bytes);
        let parts = reader.chunks(part_bytes).zip(stream::iter(1..)).map(|(chunk, number)| {
            let Chunk { bytes, crc32 } = chunk?;
            // The last part may still go out near the deadline: it finishes the object.
            if number != last {
                self.check_deadline()?;
            }
            Ok((bytes.into(), crc32))
        });
        upload.send(parts, PARTS_AT_ONCE, |_| ()).await
    }

    /// Puts a stored entry that S3 copies from the archive. S3 compares the whole object with the entry's CRC-32.
    pub(super) async fn put_from_archive(&self, put: Put<'a>, wave: &WaveInProgress<'a>) -> Result<(), Incomplete> {
        self.check_running()?;
        let entry = put.entry;
        let wanted = self.rules.wanted(entry);
        let data = self.stored_data(entry).await?;
        let answer = self.copy_data(&put, &wanted.headers, data).await?;
        let sent = SentObject { wanted, size_bytes: entry.size_bytes, crc32: Some(entry.crc32), has_body: false };
        Ok(wave.record(put, sent, answer).await?)
    }

    /// Returns the range of a stored entry's data in the archive, after checks of its local header and data descriptor.
    async fn stored_data(&self, entry: &Entry) -> Result<Range<u64>, Error> {
        let start = entry.header_offset;
        let header = self.archive.read(start..start + entry.header_bytes_max()).await?;
        let data = entry.data_range(&header)?;
        let data = start + data.start as u64..start + data.end as u64;
        let descriptor = self.archive.read(data.end..entry.end_offset).await?;
        entry.check_descriptor(&descriptor)?;
        Ok(data)
    }

    async fn copy_data(&self, put: &Put<'a>, headers: &Headers, data: Range<u64>) -> Result<WriteResult, Incomplete> {
        let upload = self.bucket.begin(&put.key, headers).await?;
        match self.copy_parts(&upload, data).await {
            Ok(parts) => {
                let condition = Condition::replacing(put.replaces.as_ref());
                Ok(upload.complete(parts, put.entry.crc32, condition).await?)
            }
            Err(reason) => {
                upload.abort().await;
                Err(reason)
            }
        }
    }

    async fn copy_parts(
        &self,
        upload: &MultipartUpload<'_>,
        data: Range<u64>,
    ) -> Result<Vec<UploadedPart>, Incomplete> {
        let mut parts = Vec::new();
        for (number, start) in (1..).zip(data.clone().step_by(MAX_COPIED_PART_BYTES as usize)) {
            let end = data.end.min(start + MAX_COPIED_PART_BYTES);
            if end < data.end {
                self.check_deadline()?;
            }
            parts.push(upload.copy(number, self.archive, &(start..end)).await?);
        }
        Ok(parts)
    }

    /// Returns how much memory [`Self::put_in_parts`] takes.
    fn parts_memory_bytes(&self, entry: &Entry) -> u64 {
        let size_bytes = self.rules.wanted(entry).encoding.size_bytes(entry);
        PARTS_AT_ONCE as u64 * part_bytes(size_bytes) + EntryReader::memory_bytes(entry)
    }
}

/// Returns the length of an object's parts, such that S3 takes their number.
fn part_bytes(size_bytes: u64) -> u64 {
    PART_BYTES.max(size_bytes.div_ceil(MAX_PARTS))
}
