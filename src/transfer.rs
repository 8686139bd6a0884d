//! Moves entries from the archive to the live bucket: reading, unpacking and writing overlap within a memory budget.
//!
//! An entry takes one of three routes. Most are held in memory (`whole`), large ones are sent while they are read,
//! and large stored ones are copied by S3 (both in `large`). Before the first write, `preflight` checks the local headers.
//! `compare` reads entries without writing them.

mod compare;
mod entry_reader;
mod large;
mod memory;
mod preflight;
mod summary;
mod wave;
mod whole;

use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, Stream, StreamExt};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::archive::{Encoding, Entry, Method};
use crate::aws::archive::Archive;
use crate::aws::bucket::Bucket;
use crate::config::ONE_VCPU_MIB;
use crate::plan::{Checksum, HeaderChange, Put, Rules};
use crate::report::Progress;

use memory::Memory;
use summary::{Incomplete, Summary};
use wave::{SentObject, WaveInProgress};

pub use wave::WaveResult;

/// Entries up to this size are held in memory; larger ones are sent while they are read.
const MAX_WHOLE_BYTES: u64 = 16 << 20;

/// S3 copies stored entries over this size from the archive. That takes three requests, and none of their bytes pass
/// through the function.
const MIN_FROM_ARCHIVE_BYTES: u64 = 8 << 20;

/// One write and one read may be under way for each 5 MiB of the function's memory, because its processor share grows
/// with its memory. S3 answers a small PUT after 15 to 40 ms, so 100 PUTs at a time reach S3's limit of writes per
/// second to one prefix.
const MIB_PER_TRANSFER: u64 = 5;
const AT_ONCE: RangeInclusive<u64> = 32..=256;

/// How many TLS handshakes one processor makes in the time of one answer of S3: about 0.5 ms against 20 ms.
const HANDSHAKES_PER_ANSWER: f64 = 40.0;

/// Returns the number of connections with which some transfers take the least time; at least one.
///
/// Each connection costs a handshake, and each transfer waits for an answer. With `c` connections that takes
/// `c × handshake / processor share + transfers × answer / c`, which is least at the square root below.
/// docs/performance.md, "Connections", has measured it.
fn worthwhile_connections(transfers: usize, memory_mib: u64) -> usize {
    let processor_share = memory_mib as f64 / ONE_VCPU_MIB as f64;
    (transfers as f64 * processor_share * HANDSHAKES_PER_ANSWER).sqrt().ceil().max(1.0) as usize
}

/// These are bounded by the memory budget too. While some of them begin or complete, others unpack.
const IN_PIECES_AT_ONCE: usize = 8;
const FROM_ARCHIVE_AT_ONCE: usize = 16;

/// The transfers of one run.
pub struct Transfer<'a> {
    archive: &'a Archive,
    bucket: &'a Bucket,
    rules: &'a Rules<'a>,
    progress: &'a Progress,
    /// Whether the deadline is too near to start another transfer.
    is_late: &'a (dyn Fn() -> bool + Sync),
    memory: Memory,
    memory_mib: u64,
    /// Entries of later waves that the next one reads along with its own, and keeps.
    carried: Mutex<Vec<&'a Entry>>,
    /// How many reads may be under way, and how many writes.
    at_once: usize,
    reads: Semaphore,
    writes: Semaphore,
    /// Set by the first failure. Nothing starts after it, but transfers under way still finish and are counted.
    is_stopped: AtomicBool,
}

/// An entry and the object that it is compared with.
pub struct Comparison<'a> {
    pub entry: &'a Entry,
    pub key: String,
    pub checksum: Checksum,
}

/// How an entry gets into the live bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    /// It is held in memory.
    Whole,
    /// It is read and sent piece by piece.
    InPieces,
    /// S3 copies it from the archive.
    FromArchive,
}

impl<'a> Transfer<'a> {
    pub fn new(
        archive: &'a Archive,
        bucket: &'a Bucket,
        rules: &'a Rules<'a>,
        progress: &'a Progress,
        is_late: &'a (dyn Fn() -> bool + Sync),
        memory_mib: u64,
    ) -> Self {
        let at_once = memory_mib / MIB_PER_TRANSFER;
        let at_once = at_once.clamp(*AT_ONCE.start(), *AT_ONCE.end()) as usize;
        Self {
            archive,
            bucket,
            rules,
            progress,
            is_late,
            memory: Memory::new(memory_mib),
            memory_mib,
            carried: Mutex::default(),
            at_once,
            reads: Semaphore::new(at_once),
            writes: Semaphore::new(at_once),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Writes entries to the bucket. A failure is part of the result, so that the writes before it are not lost.
    pub async fn put_all(&self, puts: Vec<Put<'a>>) -> WaveResult<'a> {
        let wave = WaveInProgress::new(self.bucket, self.progress, puts.len());
        let _held_back = self.hold_back(puts.len()).await;
        let (mut whole, mut in_pieces, mut from_archive) = (Vec::new(), Vec::new(), Vec::new());
        for put in puts {
            match self.route(put.entry) {
                Route::Whole => whole.push(put),
                Route::InPieces => in_pieces.push(put),
                Route::FromArchive => from_archive.push(put),
            }
        }
        let in_pieces = stream::iter(in_pieces).map(|put| self.put_in_pieces(put, &wave));
        let from_archive = stream::iter(from_archive).map(|put| self.put_from_archive(put, &wave));
        let large = stream::select(
            in_pieces.buffer_unordered(IN_PIECES_AT_ONCE),
            from_archive.buffer_unordered(FROM_ARCHIVE_AT_ONCE),
        );
        let (whole, large) = tokio::join!(self.put_whole(whole, &wave), self.finish_all(large));
        wave.close(whole.and(large))
    }

    /// Lets the next wave read entries of later waves along with its own.
    fn carry(&self, entries: Vec<&'a Entry>) {
        *self.carried.lock().unwrap_or_else(PoisonError::into_inner) = entries;
    }

    fn take_carried(&self) -> Vec<&'a Entry> {
        std::mem::take(&mut self.carried.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns how many connections a number of transfers is worth.
    fn connections_for(&self, transfers: usize) -> usize {
        worthwhile_connections(transfers, self.memory_mib).min(self.at_once)
    }

    /// Keeps the connections that a number of transfers is not worth from being opened, as long as the permits live.
    async fn hold_back(&self, transfers: usize) -> [Option<SemaphorePermit<'_>>; 2] {
        let unused = (self.at_once - self.connections_for(transfers)) as u32;
        // The semaphores are never closed.
        [self.reads.acquire_many(unused).await.ok(), self.writes.acquire_many(unused).await.ok()]
    }

    /// Changes the headers of objects, by copying each onto itself.
    ///
    /// A failure is part of the result, as for [`Self::put_all`].
    pub async fn change_headers(&self, changes: Vec<HeaderChange<'a>>) -> WaveResult<'a> {
        let wave = WaveInProgress::new(self.bucket, self.progress, changes.len());
        let connections = self.connections_for(changes.len());
        let copies = stream::iter(changes).map(|change| self.copy_onto_itself(change, &wave));
        let summary = self.finish_all(copies.buffer_unordered(connections)).await;
        wave.close(summary)
    }

    async fn copy_onto_itself(&self, change: HeaderChange<'a>, wave: &WaveInProgress<'a>) -> Result<(), Incomplete> {
        self.check_running()?;
        let HeaderChange { entry, key, etag, size_bytes, role } = change;
        let wanted = self.rules.wanted(entry);
        let answer = self.bucket.copy_onto_itself(&key, &etag, &wanted.headers).await?;
        let crc32 = (wanted.encoding == Encoding::Identity).then_some(entry.crc32);
        let sent = SentObject { wanted, size_bytes, crc32, has_body: false };
        let put = Put { entry, key, replaces: Some(etag), role };
        Ok(wave.record(put, sent, answer).await?)
    }

    fn route(&self, entry: &Entry) -> Route {
        let may_be_from_archive = entry.method == Method::Stored && entry.size_bytes > MIN_FROM_ARCHIVE_BYTES;
        if !may_be_from_archive && entry.size_bytes <= MAX_WHOLE_BYTES {
            // The common case, decided without the headers: no encoding makes the entry larger.
            return Route::Whole;
        }
        let encoding = self.rules.wanted(entry).encoding;
        if may_be_from_archive && encoding == Encoding::Identity {
            Route::FromArchive
        } else if entry.size_bytes > MAX_WHOLE_BYTES && encoding.size_bytes(entry) > MAX_WHOLE_BYTES {
            Route::InPieces
        } else {
            Route::Whole
        }
    }

    fn is_large(&self, entry: &Entry) -> bool {
        self.route(entry) != Route::Whole
    }

    fn count_inflated(&self, entry: &Entry, encoding: Encoding) {
        if encoding == Encoding::Identity && entry.method != Method::Stored {
            self.progress.inflated();
        }
    }

    fn check_deadline(&self) -> Result<(), Incomplete> {
        if (self.is_late)() { Err(Incomplete::Stopped) } else { Ok(()) }
    }

    /// Fails near the deadline and after a failure, so that nothing starts then, no matter how long it has waited.
    fn check_running(&self) -> Result<(), Incomplete> {
        if self.is_stopped.load(Ordering::Relaxed) { Err(Incomplete::Stopped) } else { self.check_deadline() }
    }

    /// Waits for all of these transfers. After a failure no other transfer starts.
    async fn finish_all(&self, transfers: impl Stream<Item = impl Into<Summary>>) -> Summary {
        let mut all = Summary::default();
        let mut transfers = pin!(transfers);
        while let Some(ended) = transfers.next().await {
            let ended: Summary = ended.into();
            if ended.error.is_some() {
                self.is_stopped.store(true, Ordering::Relaxed);
            }
            all = all.and(ended);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_transfers_are_not_worth_many_connections() {
        let at_512_mib = [0, 1, 150, 10_000].map(|transfers| worthwhile_connections(transfers, 512));
        assert_eq!(at_512_mib, [1, 4, 42, 341]);
        // More memory buys more of a processor, which pays for more handshakes.
        assert_eq!(worthwhile_connections(150, 1_769), 78);
    }
}
