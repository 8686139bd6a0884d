//! Reads a large entry chunk by chunk, in memory that does not depend on its size.
//!
//! While one piece of the archive is unpacked in another thread, the next piece is read.

use std::pin::Pin;

use bytes::{Buf, Bytes};
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::stream::{self, Stream};
use tokio::task::spawn_blocking;

use crate::archive::{Corrupt, Encoding, Entry, Step, Unpacker};
use crate::aws::archive::Archive;
use crate::error::Error;

/// How much is read at a time: far more than the longest local header.
const PIECE_BYTES: u64 = 4 << 20;

/// A reader of one entry.
pub(super) struct EntryReader<'a> {
    archive: &'a Archive,
    entry: &'a Entry,
    unpacking: Unpacking,
    /// Where the compressed data ends in the archive; a data descriptor may follow.
    data_end: u64,
    /// Where the next piece starts.
    position: u64,
    next: MaybeDone<BoxFuture<'a, Result<Bytes, Error>>>,
    descriptor: Vec<u8>,
    /// The CRC-32 of all chunks so far.
    crc32: crc32fast::Hasher,
}

/// Some of an entry's contents, encoded for the bucket.
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) crc32: crc32fast::Hasher,
}

/// The state that goes to the thread that unpacks, and comes back from it.
struct Unpacking {
    unpacker: Unpacker,
    /// Compressed data that was read and is not unpacked yet.
    pending: Bytes,
}

impl Unpacking {
    /// Unpacks pending data into a chunk, until that has no capacity left or more data is needed.
    fn fill(&mut self, chunk: &mut Chunk) -> Result<Step, Corrupt> {
        let mut input = &self.pending[..];
        let start = chunk.bytes.len();
        let step = self.unpacker.push(&mut input, &mut chunk.bytes);
        chunk.crc32.update(&chunk.bytes[start..]);
        let taken = self.pending.len() - input.len();
        self.pending.advance(taken);
        step
    }
}

impl<'a> EntryReader<'a> {
    /// Returns how much memory a reader takes, without its chunks.
    pub(super) fn memory_bytes(entry: &Entry) -> u64 {
        2 * PIECE_BYTES + entry.method.window_bytes(entry.size_bytes)
    }

    /// Reads the first piece of an entry, and checks its local header.
    ///
    /// # Errors
    /// `ArchiveRejected` when the local header disagrees with the central directory; `ArchiveGone`, `Aws`.
    pub(super) async fn open(archive: &'a Archive, entry: &'a Entry, encoding: Encoding) -> Result<Self, Error> {
        let start = entry.header_offset;
        let mut reader = Self {
            archive,
            entry,
            unpacking: Unpacking { unpacker: Unpacker::new(entry, encoding), pending: Bytes::new() },
            data_end: entry.end_offset,
            position: start,
            next: read_piece(archive, entry, start),
            descriptor: Vec::new(),
            crc32: crc32fast::Hasher::new(),
        };
        let first = reader.next_piece().await?;
        let data = entry.data_range(&first)?;
        reader.data_end = start + data.end as u64;
        let rest = first.slice(data.start.min(first.len())..);
        reader.take(start + data.start as u64, rest);
        Ok(reader)
    }

    /// Returns the contents in chunks of `chunk_bytes`, of which only the last may be shorter. At the end it checks
    /// length, CRC-32 and data descriptor.
    ///
    /// # Errors
    /// `ArchiveRejected` when the entry is not as the central directory says; `ArchiveGone`, `Aws`.
    pub(super) fn chunks(self, chunk_bytes: u64) -> impl Stream<Item = Result<Chunk, Error>> {
        stream::try_unfold(Some(self), move |reader| async move {
            let Some(reader) = reader else {
                return Ok(None);
            };
            let (mut reader, chunk, has_more) = reader.read_chunk(chunk_bytes as usize).await?;
            reader.crc32.combine(&chunk.crc32);
            let reader = if has_more {
                Some(reader)
            } else {
                reader.finish().await?;
                None
            };
            // If the contents end with a full chunk, the last one is empty.
            Ok((!chunk.bytes.is_empty()).then_some((chunk, reader)))
        })
    }

    /// Reads a chunk, and returns whether the entry may have more.
    async fn read_chunk(mut self, chunk_bytes: usize) -> Result<(Self, Chunk, bool), Error> {
        let mut chunk = Chunk { bytes: Vec::with_capacity(chunk_bytes), crc32: crc32fast::Hasher::new() };
        loop {
            let mut unpacking = self.unpacking;
            let filling = in_thread(move || {
                let step = unpacking.fill(&mut chunk);
                (unpacking, chunk, step)
            });
            let (filled, ()) = tokio::join!(filling, &mut self.next);
            let (unpacking, filled_chunk, step) = filled?;
            self.unpacking = unpacking;
            chunk = filled_chunk;
            match step? {
                Step::OutputFull => return Ok((self, chunk, true)),
                Step::NeedsInput if self.position < self.data_end => self.read_on().await?,
                Step::NeedsInput | Step::Done => return Ok((self, chunk, false)),
            }
        }
    }

    async fn finish(mut self) -> Result<(), Error> {
        while self.position < self.entry.end_offset {
            self.read_on().await?;
        }
        self.entry.check_descriptor(&self.descriptor)?;
        Ok(self.unpacking.unpacker.finish(self.crc32.finalize())?)
    }

    async fn read_on(&mut self) -> Result<(), Error> {
        let start = self.position;
        let piece = self.next_piece().await?;
        self.take(start, piece);
        Ok(())
    }

    /// Returns the piece at `position`, and starts to read the piece after it.
    async fn next_piece(&mut self) -> Result<Bytes, Error> {
        (&mut self.next).await;
        let piece = Pin::new(&mut self.next).take_output();
        let piece = piece.unwrap_or_else(|| Ok(Bytes::new()))?;
        self.position = piece_end(self.entry, self.position);
        self.next = read_piece(self.archive, self.entry, self.position);
        Ok(piece)
    }

    /// Takes the archive's bytes from `start` on: compressed data, then the data descriptor.
    fn take(&mut self, start: u64, mut bytes: Bytes) {
        let data_bytes = self.data_end.saturating_sub(start).min(bytes.len() as u64);
        let rest = bytes.split_off(data_bytes as usize);
        self.unpacking.pending = bytes;
        self.descriptor.extend_from_slice(&rest);
    }
}

fn piece_end(entry: &Entry, start: u64) -> u64 {
    entry.end_offset.min(start + PIECE_BYTES)
}

fn read_piece<'a>(archive: &'a Archive, entry: &Entry, start: u64) -> MaybeDone<BoxFuture<'a, Result<Bytes, Error>>> {
    maybe_done(Box::pin(archive.read(start..piece_end(entry, start))))
}

/// Runs work in another thread, because it would hold up all other transfers.
///
/// # Errors
/// `Aws` when it panics.
pub(super) async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    spawn_blocking(work).await.map_err(|error| Error::Aws {
        what: "unpacking the archive".to_owned(),
        reason: error.to_string(),
        source: None,
    })
}
