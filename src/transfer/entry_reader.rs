//! Reads a large entry chunk by chunk, in memory that does not depend on its size.
//!
//! One GET brings the whole entry. While one piece of it is unpacked in another thread, the next piece arrives.

use std::pin::Pin;

use bytes::{Buf, Bytes};
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use futures_util::stream::{self, Stream};
use tokio::task::spawn_blocking;

use crate::archive::{Corrupt, Encoding, Entry, Step, Unpacker};
use crate::aws::archive::{Archive, RangeStream};
use crate::error::Error;

/// How much is unpacked at a time: far more than the longest local header.
const PIECE_BYTES: u64 = 1 << 20;

/// A piece and the stream that it came from.
type Arrival<'a> = (Result<Bytes, Error>, RangeStream<'a>);

/// A reader of one entry.
pub(super) struct EntryReader<'a> {
    entry: &'a Entry,
    unpacking: Unpacking,
    /// Where the compressed data ends in the archive; a data descriptor may follow.
    data_end: u64,
    /// Where the next piece starts.
    position: u64,
    next: MaybeDone<BoxFuture<'a, Arrival<'a>>>,
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
            entry,
            unpacking: Unpacking { unpacker: Unpacker::new(entry, encoding), pending: Bytes::new() },
            data_end: entry.end_offset,
            position: start,
            next: read_piece(archive.stream(start..entry.end_offset)),
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
        // A piece is taken only once, and the next one is under way then.
        let Some((piece, stream)) = Pin::new(&mut self.next).take_output() else {
            return Ok(Bytes::new());
        };
        let piece = piece?;
        self.position += piece.len() as u64;
        self.next = read_piece(stream);
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

fn read_piece(mut stream: RangeStream<'_>) -> MaybeDone<BoxFuture<'_, Arrival<'_>>> {
    maybe_done(Box::pin(async move {
        let piece = stream.next(PIECE_BYTES as usize).await;
        (piece, stream)
    }))
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
