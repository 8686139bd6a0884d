//! Reads one large entry in parts, in its encoding and checked, in memory that does not depend on its size.
//!
//! The next piece of the archive is read while the one before it is unpacked, in another thread.

use std::pin::Pin;

use bytes::{Buf, Bytes};
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::stream::{self, Stream};
use tokio::task::spawn_blocking;

use crate::archive::{Encoding, Entry, Step, Unpacker};
use crate::aws::archive::Archive;
use crate::error::Error;

/// How much is read at a time: far more than the longest local header.
const PIECE_BYTES: u64 = 4 << 20;

pub struct EntryReader<'a> {
    archive: &'a Archive,
    entry: &'a Entry,
    unpacker: Unpacker,
    /// Where the compressed data ends in the archive; a data descriptor may follow.
    data_end: u64,
    /// Where the next piece begins.
    position: u64,
    next: MaybeDone<BoxFuture<'a, Result<Bytes, Error>>>,
    /// Compressed data that is read and not unpacked yet.
    pending: Bytes,
    descriptor: Vec<u8>,
    /// Of what was given so far.
    crc32: crc32fast::Hasher,
}

/// A part of an entry's contents, in its encoding.
pub struct Chunk {
    pub bytes: Bytes,
    pub crc32: crc32fast::Hasher,
}

impl<'a> EntryReader<'a> {
    /// How much memory a reader takes, besides the parts that it gives.
    pub fn memory_bytes(entry: &Entry) -> u64 {
        2 * PIECE_BYTES + entry.method.window_bytes(entry.size_bytes)
    }

    /// Reads the entry's first piece and checks its local header.
    ///
    /// # Errors
    /// `ArchiveRejected` when the local header disagrees with the central directory.
    pub async fn open(archive: &'a Archive, entry: &'a Entry, encoding: Encoding) -> Result<Self, Error> {
        let start = entry.header_offset;
        let mut reader = Self {
            archive,
            entry,
            unpacker: Unpacker::new(entry, encoding),
            data_end: entry.end_offset,
            position: start,
            next: piece(archive, entry, start),
            pending: Bytes::new(),
            descriptor: Vec::new(),
            crc32: crc32fast::Hasher::new(),
        };
        let first = reader.next_piece().await?;
        let data = entry.data_range(&first)?;
        reader.data_end = start + data.end as u64;
        let body = first.slice(data.start.min(first.len())..);
        reader.take(start + data.start as u64, body);
        Ok(reader)
    }

    /// Gives the contents in parts of `part_bytes`, but for the last. At the end, length, CRC-32 and data
    /// descriptor are checked.
    ///
    /// # Errors
    /// `ArchiveRejected` when something is not as the directory says.
    pub fn parts(self, part_bytes: u64) -> impl Stream<Item = Result<Chunk, Error>> {
        stream::try_unfold(Some(self), move |reader| async move {
            let Some(reader) = reader else {
                return Ok(None);
            };
            let (mut reader, part, has_more) = reader.part(part_bytes as usize).await?;
            reader.crc32.combine(&part.crc32);
            let reader = if has_more {
                Some(reader)
            } else {
                reader.finish().await?;
                None
            };
            // The end may lie just behind a full part.
            Ok((!part.bytes.is_empty()).then_some((part, reader)))
        })
    }

    /// Fills a part; `false` says that the entry is at its end.
    async fn part(mut self, part_bytes: usize) -> Result<(Self, Chunk, bool), Error> {
        let mut bytes = Vec::with_capacity(part_bytes);
        let mut crc32 = crc32fast::Hasher::new();
        let has_more = loop {
            let (mut unpacker, mut pending) = (self.unpacker, self.pending);
            let unpacking = in_thread(self.entry, move || {
                let mut input = &pending[..];
                let from = bytes.len();
                let step = unpacker.push(&mut input, &mut bytes);
                crc32.update(&bytes[from..]);
                let taken = pending.len() - input.len();
                pending.advance(taken);
                (unpacker, pending, (bytes, crc32), step)
            });
            let (unpacked, ()) = tokio::join!(unpacking, &mut self.next);
            let step;
            (self.unpacker, self.pending, (bytes, crc32), step) = unpacked?;
            match step? {
                Step::OutputFull => break true,
                Step::Done => break false,
                Step::NeedsInput if self.position >= self.data_end => break false,
                Step::NeedsInput => self.read_on().await?,
            }
        };
        let bytes = bytes.into();
        Ok((self, Chunk { bytes, crc32 }, has_more))
    }

    async fn finish(mut self) -> Result<(), Error> {
        while self.position < self.entry.end_offset {
            self.read_on().await?;
        }
        self.entry.check_descriptor(&self.descriptor)?;
        Ok(self.unpacker.finish(self.crc32.finalize())?)
    }

    async fn read_on(&mut self) -> Result<(), Error> {
        let start = self.position;
        let piece = self.next_piece().await?;
        self.take(start, piece);
        Ok(())
    }

    /// Gives the piece at `position`, and begins to read the one behind it.
    async fn next_piece(&mut self) -> Result<Bytes, Error> {
        (&mut self.next).await;
        let bytes = Pin::new(&mut self.next).take_output();
        let bytes = bytes.unwrap_or_else(|| Ok(Bytes::new()))?;
        self.position = piece_end(self.entry, self.position);
        self.next = piece(self.archive, self.entry, self.position);
        Ok(bytes)
    }

    /// Takes bytes that lie at `start`: compressed data, and behind it the data descriptor.
    fn take(&mut self, start: u64, mut bytes: Bytes) {
        let data = self.data_end.saturating_sub(start).min(bytes.len() as u64);
        let rest = bytes.split_off(data as usize);
        self.pending = bytes;
        self.descriptor.extend_from_slice(&rest);
    }
}

fn piece_end(entry: &Entry, start: u64) -> u64 {
    entry.end_offset.min(start + PIECE_BYTES)
}

fn piece<'a>(archive: &'a Archive, entry: &Entry, start: u64) -> MaybeDone<BoxFuture<'a, Result<Bytes, Error>>> {
    maybe_done(Box::pin(archive.read(start..piece_end(entry, start))))
}

/// Runs what would hold up all other transfers in another thread.
///
/// # Errors
/// `Aws` when it panics.
pub async fn in_thread<T: Send + 'static>(
    entry: &Entry,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    spawn_blocking(work).await.map_err(|error| Error::Aws {
        what: format!("inflating {}", entry.name),
        reason: error.to_string(),
        source: None,
    })
}
