//! Moves entries from the archive to the live bucket: ranged GETs, inflate and PUTs overlap within a memory budget.

mod entry_reader;
mod memory;
mod preflight;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use tokio::sync::Semaphore;

use crate::archive::{Corrupt, Encoding, Entry, Method, Span, spans, unpack};
use crate::aws::archive::Archive;
use crate::aws::bucket::{Bucket, Condition, Inspected, Written};
use crate::error::Error;
use crate::manifest::Row;
use crate::plan::{Put, Rules, SelfCopy, Sum, Wanted};
use crate::report::Progress;

use entry_reader::{EntryReader, in_thread};
use memory::{Memory, give_back};

/// Entries up to this size are held whole; larger ones go through in parts.
const WHOLE_BYTES: u64 = 16 << 20;

/// Neighbours this close are read in one GET: a request costs more than so many bytes.
const GAP_BYTES: u64 = 4 << 10;

/// A span is cut here, so that its entries' PUTs begin before the whole archive is read.
const SPAN_BYTES: u64 = 4 << 20;

/// Inflating more than this would hold up the other transfers of its thread.
const INLINE_BYTES: u64 = 32 << 10;

/// S3 takes parts of 5 MiB or more, and at most 10,000 of them (S3 user guide, "Multipart upload limits").
const PART_BYTES: u64 = 5 << 20;
const MAX_PARTS: u64 = 10_000;

/// One part is filled while the one before it is on its way.
const PARTS_AT_ONCE: usize = 2;

/// What may be in flight, and what may be read ahead, as parts of the function's memory: of 512 MiB the process
/// takes less than 128 for all but the largest sites. What is read ahead is read once, so it has the larger part;
/// what it does not need of that may be in flight.
const IN_FLIGHT_DIVISOR: u64 = 60;
const AHEAD_DIVISOR: u64 = 10;

/// Less is read ahead where the process would take more than a quarter of the memory for it: with what it takes when
/// idle, and for each put, in the index, the plan and the manifest.
const WHOLE_DIVISOR: u64 = 4;
const IDLE_BYTES: u64 = 12 << 20;
const BYTES_FOR_EACH_PUT: u64 = 400;

/// How many writes are under way at once, and how many reads: one for so many MiB of the function's memory, which
/// its share of a processor goes up with, within bounds. S3 answers a small PUT after 15 to 40 ms, so that 100 keep
/// up with what it takes of a prefix in a second.
const MIB_PER_TRANSFER: u64 = 5;
const AT_ONCE: RangeInclusive<u64> = 32..=256;

/// The memory is what bounds those that go through in parts; while some are begun or completed, others are inflated.
const LARGE_AT_ONCE: usize = 8;

/// A stored entry over this is copied by S3 from the archive: three requests, and no byte of it passes through here.
const COPIED_BYTES: u64 = 8 << 20;

/// A part copied takes S3 as long as it is large, up to 5 GiB (S3 API, UploadPartCopy).
const COPIED_PART_BYTES: u64 = 1 << 30;
const COPIES_AT_ONCE: usize = 16;

/// Told where an entry is given up in its middle.
const LATE: Error = Error::Unfinished { done: 0, total: 1 };

/// The means of one run's transfers.
pub struct Transfer<'a> {
    archive: &'a Archive,
    bucket: &'a Bucket,
    rules: &'a Rules<'a>,
    progress: &'a Progress,
    /// Whether the deadline is too near to begin another transfer.
    is_late: &'a (dyn Fn() -> bool + Sync),
    memory: Memory,
    memory_bytes: u64,
    /// How many reads, and how many writes.
    at_once: usize,
    reads: Semaphore,
    writes: Semaphore,
    /// Set by the first failure: nothing new is begun, what is under way is finished and counted.
    is_stopped: AtomicBool,
}

/// What a wave has come to.
#[derive(Debug, Default)]
pub struct Wave<'a> {
    pub written: Vec<(Cow<'a, str>, Row)>,
    pub bytes_written: u64,
    /// Objects that someone else wrote since they were listed, with the condition brought up to date.
    pub conflicts: Vec<Put<'a>>,
    /// How many transfers were not begun.
    pub not_begun: usize,
    /// The first failure.
    pub error: Option<Error>,
}

impl Wave<'_> {
    fn of(writes: usize) -> Self {
        Self { written: Vec::with_capacity(writes), ..Self::default() }
    }
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
            memory: Memory::new((memory_mib << 20) / IN_FLIGHT_DIVISOR),
            memory_bytes: memory_mib << 20,
            at_once,
            reads: Semaphore::new(at_once),
            writes: Semaphore::new(at_once),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// How much may be read ahead of the first of so many puts and kept for them.
    fn ahead_bytes(&self, puts: usize) -> u64 {
        let share = |share| self.memory_bytes / share;
        let taken = IDLE_BYTES + share(IN_FLIGHT_DIVISOR) + puts as u64 * BYTES_FOR_EACH_PUT;
        share(AHEAD_DIVISOR).min(share(WHOLE_DIVISOR).saturating_sub(taken))
    }

    /// Puts entries. Failures are part of the answer, so that what was written before them is not forgotten.
    pub async fn put_all(&self, puts: Vec<Put<'a>>) -> Wave<'a> {
        let wave = Mutex::new(Wave::of(puts.len()));
        let (large, whole): (Vec<_>, Vec<_>) = puts.into_iter().partition(|put| self.is_large(put.entry));
        let wholes = self.each_whole(
            whole,
            |put| put.entry,
            async |put: Put<'a>, wanted, body| {
                let _permit = self.writes.acquire().await;
                if self.must_stop() {
                    lock(&wave).not_begun += 1;
                    return Ok(());
                }
                let crc32 = match wanted.encoding {
                    Encoding::Identity => put.entry.crc32,
                    Encoding::Gzip => crc32fast::hash(&body),
                };
                let size_bytes = body.len() as u64;
                let condition = Condition::replacing(put.replaces.as_ref());
                let answer = self.bucket.put(&put.key, body, crc32, &wanted.headers, condition).await?;
                let sent = SentObject { crc32: Some(crc32), size_bytes, has_body: true, wanted };
                self.note(put, sent, answer, &wave).await
            },
        );
        let (copied, large): (Vec<_>, Vec<_>) = large.into_iter().partition(|put| self.is_copied(put.entry));
        let put = async |put: Put<'a>| {
            let is_copied = self.is_copied(put.entry);
            let room_bytes = if is_copied { 0 } else { self.large_bytes(put.entry) };
            let memory = self.memory.for_both(room_bytes).await;
            if self.must_stop() {
                lock(&wave).not_begun += 1;
                return Ok(());
            }
            let (sent, answer) =
                if is_copied { self.put_copied(&put).await? } else { self.put_large(&put, memory).await? };
            self.note(put, sent, answer, &wave).await
        };
        let larges = stream::iter(large).map(&put).buffer_unordered(LARGE_AT_ONCE);
        let copies = stream::iter(copied).map(&put).buffer_unordered(COPIES_AT_ONCE);
        let multiparts = self.first_failure(stream::select(larges, copies));
        let (wholes, multiparts) = tokio::join!(wholes, multiparts);
        let mut wave = wave.into_inner().unwrap_or_else(PoisonError::into_inner);
        wave.not_begun += wholes.not_begun;
        wave.error = first_of(wholes.error, multiparts);
        wave
    }

    /// Copies objects onto themselves under their new headers.
    pub async fn copy_all(&self, copies: Vec<SelfCopy<'a>>) -> Wave<'a> {
        let wave = Mutex::new(Wave::of(copies.len()));
        let copying = stream::iter(copies)
            .map(async |copy| {
                if self.must_stop() {
                    lock(&wave).not_begun += 1;
                    return Ok(());
                }
                let wanted = self.rules.wanted(copy.entry);
                let answer = self.bucket.copy_onto_itself(&copy.key, &copy.etag, &wanted.headers).await?;
                let sent = SentObject {
                    crc32: (wanted.encoding == Encoding::Identity).then_some(copy.entry.crc32),
                    size_bytes: copy.size_bytes,
                    has_body: false,
                    wanted,
                };
                let SelfCopy { entry, key, etag, is_page, .. } = copy;
                let put = Put { entry, key, replaces: Some(etag), is_page };
                self.note(put, sent, answer, &wave).await
            })
            .buffer_unordered(self.at_once);
        let error = self.first_failure(copying).await;
        let mut wave = wave.into_inner().unwrap_or_else(PoisonError::into_inner);
        wave.error = error;
        wave
    }

    /// Compares entries with their objects, by the sums that S3 keeps of these: the keys that are alike.
    ///
    /// # Errors
    /// `ArchiveRejected`, `ArchiveGone`, `Aws`; `Unfinished` when the deadline comes first.
    pub async fn same_bytes(&self, questions: Vec<Comparison<'a>>) -> Result<HashSet<String>, Error> {
        let same = Mutex::new(HashSet::new());
        let total = questions.len();
        let (large, whole): (Vec<_>, Vec<_>) =
            questions.into_iter().partition(|question| self.is_large(question.entry));
        let wholes = self
            .each_whole(
                whole,
                |question| question.entry,
                async |Comparison { key, sum, .. }, _, body| {
                    let mut summing = Summing::like(&sum);
                    summing.update(&body);
                    if summing.finish() == sum {
                        lock(&same).insert(key);
                    }
                    Ok(())
                },
            )
            .await;
        if let Some(error) = wholes.error {
            return Err(error);
        }
        let mut not_begun = wholes.not_begun;
        for Comparison { entry, key, sum } in large {
            if self.must_stop() {
                not_begun += 1;
            } else if self.sum_of_large(entry, Summing::like(&sum)).await? == sum {
                lock(&same).insert(key);
            }
        }
        if not_begun > 0 {
            return Err(Error::Unfinished { done: total - not_begun, total });
        }
        Ok(same.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn sum_of_large(&self, entry: &Entry, mut summing: Summing) -> Result<Sum, Error> {
        let _memory = self.memory.for_both(PART_BYTES + EntryReader::memory_bytes(entry)).await;
        let encoding = self.rules.wanted(entry).encoding;
        self.count_inflated(entry, encoding);
        let reader = EntryReader::open(self.archive, entry, encoding).await?;
        let mut parts = pin!(reader.parts(PART_BYTES));
        while let Some(part) = parts.try_next().await? {
            summing.update(&part.bytes);
        }
        Ok(summing.finish())
    }

    /// Reads entries span by span, and hands each, whole, in its encoding and checked, to `use_body`.
    async fn each_whole<T>(
        &self,
        mut items: Vec<T>,
        entry: impl Fn(&T) -> &'a Entry,
        use_body: impl AsyncFn(T, Wanted, Bytes) -> Result<(), Error>,
    ) -> Begun {
        items.sort_unstable_by_key(|item| entry(item).header_offset);
        let entries: Vec<&Entry> = items.iter().map(&entry).collect();
        let spans = whole_spans(entries);
        let spans = spans.iter().flat_map(|span| self.archive.in_pieces(span));
        let mut items = items.into_iter();
        // Spans come in the order of their offsets, and so do the items.
        let jobs = spans.map(|span| {
            let items: Vec<T> = items.by_ref().take(span.entries.len()).collect();
            (span, items)
        });
        let not_begun = AtomicUsize::new(0);
        let using = stream::iter(jobs)
            .map(async |(span, items): (Span<'a>, Vec<T>)| {
                let to_read = match self.archive.is_read(&span.range) {
                    true => 0,
                    false => span.length_bytes(),
                };
                let Span { range, entries } = span;
                let is_stored = |entry: &&Entry| entry.method == Method::Stored;
                let held = Arc::new(match entries.iter().all(is_stored) {
                    // Nothing is unpacked of it.
                    true => self.memory.for_both(to_read).await,
                    false => (self.memory.to_read(to_read).await, None),
                });
                let reading = self.reads.acquire().await;
                // Meanwhile others may have failed.
                if self.must_stop() {
                    not_begun.fetch_add(items.len(), Ordering::Relaxed);
                    return Ok(());
                }
                let bytes = self.archive.read(range.clone()).await?;
                drop(reading);
                let entries = entries.into_iter().zip(items);
                let entries: Vec<_> = entries
                    .map(|(entry, item)| {
                        let at = (entry.header_offset - range.start) as usize;
                        let end = (entry.end_offset.min(range.end) - range.start) as usize;
                        (entry, item, bytes.slice(at..end), held.clone())
                    })
                    .collect();
                // The last entry that needs them gives them back.
                drop((bytes, held));
                let using = stream::iter(entries)
                    .map(async |(entry, item, span, held)| {
                        let wanted = self.rules.wanted(entry);
                        let (body_bytes, scratch_bytes) = unpacked_bytes(entry, wanted.encoding);
                        let mut room = self.memory.to_unpack(body_bytes + scratch_bytes).await;
                        if self.must_stop() {
                            not_begun.fetch_add(1, Ordering::Relaxed);
                            return Ok(());
                        }
                        let body = self.body(entry, wanted.encoding, span).await?;
                        give_back(&mut room, scratch_bytes);
                        // The body of a stored entry is a part of what was read.
                        let _held = (entry.method == Method::Stored).then_some(held);
                        use_body(item, wanted, body).await
                    })
                    .buffer_unordered(self.at_once);
                self.first_failure(using).await.map_or(Ok(()), Err)
            })
            // Many short spans are read while those before them are written.
            .buffer_unordered(2 * self.at_once);
        let error = self.first_failure(using).await;
        Begun { not_begun: not_begun.into_inner(), error }
    }

    /// Puts an entry that is not held whole, as a multipart upload.
    async fn put_large<M>(&self, put: &Put<'a>, memory: M) -> Result<(SentObject, Written), Error> {
        let wanted = self.rules.wanted(put.entry);
        let size_bytes = wanted.encoding.size_bytes(put.entry);
        let part_bytes = part_bytes(size_bytes);
        self.count_inflated(put.entry, wanted.encoding);
        let (reader, upload) = tokio::join!(
            EntryReader::open(self.archive, put.entry, wanted.encoding),
            self.bucket.begin(&put.key, &wanted.headers),
        );
        let (reader, upload) = match (reader, upload) {
            (Ok(reader), Ok(upload)) => (reader, upload),
            (Err(error), Ok(upload)) => {
                upload.abort().await;
                return Err(error);
            }
            (Err(error), Err(_)) | (Ok(_), Err(error)) => return Err(error),
        };
        let mut crc32 = crc32fast::Hasher::new();
        let parts = reader.parts(part_bytes);
        let parts = parts.inspect_ok(|part| crc32.combine(&part.crc32));
        let part_count = size_bytes.div_ceil(part_bytes);
        let has_failed = AtomicBool::new(false);
        let sent: Vec<_> = parts
            // After a failure none is begun, and those under way are waited for: a part that arrives behind the
            // abort may stay (S3 API, AbortMultipartUpload).
            .take_while(|_| future::ready(!has_failed.load(Ordering::Relaxed)))
            .zip(stream::iter(1..))
            .map(async |(part, number)| {
                let is_last = u64::try_from(number).is_ok_and(|number| number == part_count);
                let sent = match part {
                    Ok(_) if !is_last && (self.is_late)() => Err(LATE),
                    Ok(part) => {
                        let crc32 = part.crc32.finalize();
                        upload.part(number, part.bytes, crc32).await
                    }
                    Err(error) => Err(error),
                };
                has_failed.fetch_or(sent.is_err(), Ordering::Relaxed);
                sent
            })
            .buffered(PARTS_AT_ONCE)
            .collect()
            .await;
        let parts: Vec<_> = match sent.into_iter().collect() {
            Ok(parts) => parts,
            Err(error) => {
                upload.abort().await;
                return Err(error);
            }
        };
        drop(memory);
        let crc32 = crc32.finalize();
        let condition = Condition::replacing(put.replaces.as_ref());
        let answer = upload.complete(parts, crc32, condition).await?;
        let sent = SentObject { wanted, size_bytes, crc32: Some(crc32), has_body: true };
        Ok((sent, answer))
    }

    /// The memory that [`Self::put_large`] takes.
    fn large_bytes(&self, entry: &Entry) -> u64 {
        let encoding = self.rules.wanted(entry).encoding;
        PARTS_AT_ONCE as u64 * part_bytes(encoding.size_bytes(entry)) + EntryReader::memory_bytes(entry)
    }

    /// Puts a stored entry as a copy of its part of the archive; S3 compares the whole with the CRC-32.
    async fn put_copied(&self, put: &Put<'a>) -> Result<(SentObject, Written), Error> {
        let entry = put.entry;
        let wanted = self.rules.wanted(entry);
        let start = entry.header_offset;
        let header = self.archive.read(start..start + entry.header_bytes_max());
        let data = entry.data_range(&header.await?)?;
        let data = start + data.start as u64..start + data.end as u64;
        let descriptor = self.archive.read(data.end..entry.end_offset);
        entry.check_descriptor(&descriptor.await?)?;
        let upload = self.bucket.begin(&put.key, &wanted.headers).await?;
        let mut parts = Vec::new();
        for (number, from) in (1..).zip(data.clone().step_by(COPIED_PART_BYTES as usize)) {
            let range = from..data.end.min(from + COPIED_PART_BYTES);
            let copied = match range.end < data.end && (self.is_late)() {
                true => Err(LATE),
                false => upload.copy(number, self.archive, &range).await,
            };
            match copied {
                Ok(part) => parts.push(part),
                Err(error) => {
                    upload.abort().await;
                    return Err(error);
                }
            }
        }
        let condition = Condition::replacing(put.replaces.as_ref());
        let answer = upload.complete(parts, entry.crc32, condition).await?;
        let sent = SentObject { wanted, size_bytes: entry.size_bytes, crc32: Some(entry.crc32), has_body: false };
        Ok((sent, answer))
    }

    /// Books a write. On a conflict the object is looked at: it may be our own, from an attempt whose
    /// answer was lost; if it is not, the write is to be tried again on top of what is there now.
    async fn note(&self, put: Put<'a>, sent: SentObject, answer: Written, wave: &Mutex<Wave<'a>>) -> Result<(), Error> {
        let etag = match answer {
            Written::Done(etag) => etag,
            Written::Corrupt => return Err(Corrupt::crc32(put.entry).into()),
            Written::Conflict => match self.bucket.inspect(&put.key).await? {
                Some(found) if sent.is(&found) => found.etag,
                found => {
                    let replaces = found.map(|found| found.etag);
                    lock(wave).conflicts.push(Put { replaces, ..put });
                    return Ok(());
                }
            },
        };
        let bytes = if sent.has_body { sent.size_bytes } else { 0 };
        self.progress.wrote(bytes);
        tracing::debug!(key = %put.key, bytes, "written");
        let mut wave = lock(wave);
        wave.bytes_written += bytes;
        let row = Row::written(put.entry, sent.size_bytes, etag, &sent.wanted);
        wave.written.push((put.key, row));
        Ok(())
    }

    /// Whether an entry need not be read at all.
    fn is_copied(&self, entry: &Entry) -> bool {
        entry.method == Method::Stored
            && entry.size_bytes > COPIED_BYTES
            && self.rules.wanted(entry).encoding == Encoding::Identity
    }

    /// Whether an entry is written in parts.
    fn is_large(&self, entry: &Entry) -> bool {
        if self.is_copied(entry) {
            return true;
        }
        let is_large = |bytes| bytes > WHOLE_BYTES;
        // What is small inflated is smaller as gzip.
        is_large(entry.size_bytes) && is_large(self.rules.wanted(entry).encoding.size_bytes(entry))
    }

    /// The body of an entry, from the bytes between its local header and the next.
    async fn body(&self, entry: &Entry, encoding: Encoding, span: Bytes) -> Result<Bytes, Error> {
        let compressed = span.slice(entry.data_range(&span)?);
        self.count_inflated(entry, encoding);
        if encoding == Encoding::Gzip || entry.size_bytes <= INLINE_BYTES {
            return Ok(unpack(entry, encoding, compressed)?);
        }
        let owned = entry.clone();
        Ok(in_thread(entry, move || unpack(&owned, encoding, compressed)).await??)
    }

    fn count_inflated(&self, entry: &Entry, encoding: Encoding) {
        if encoding == Encoding::Identity && entry.method != Method::Stored {
            self.progress.inflated();
        }
    }

    fn must_stop(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || (self.is_late)()
    }

    /// Waits for all. Nothing new is begun after a failure, anywhere.
    async fn first_failure(&self, results: impl Stream<Item = Result<(), Error>>) -> Option<Error> {
        let failures = results.filter_map(async |result| result.err());
        let noted = failures.inspect(|_| self.is_stopped.store(true, Ordering::Relaxed));
        noted.fold(None, async |first, error| first_of(first, Some(error))).await
    }
}

/// Keeps the first of two failures; the other is only told.
fn first_of(first: Option<Error>, other: Option<Error>) -> Option<Error> {
    if let (Some(_), Some(other)) = (&first, &other) {
        tracing::warn!("another failure: {other}");
    }
    first.or(other)
}

struct Begun {
    not_begun: usize,
    error: Option<Error>,
}

/// The ranges in which entries are read that are held whole.
fn whole_spans<'a>(entries: Vec<&'a Entry>) -> Vec<Span<'a>> {
    spans(entries, GAP_BYTES, SPAN_BYTES)
}

/// An entry, and the object that it is compared with.
pub struct Comparison<'a> {
    pub entry: &'a Entry,
    pub key: String,
    pub sum: Sum,
}

/// Sums up bytes as S3 did.
enum Summing {
    Md5(Md5),
    Crc32(crc32fast::Hasher),
}

impl Summing {
    fn like(sum: &Sum) -> Self {
        match sum {
            Sum::Md5(_) => Self::Md5(Md5::new()),
            Sum::Crc32(_) => Self::Crc32(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(md5) => md5.update(bytes),
            Self::Crc32(crc32) => crc32.update(bytes),
        }
    }

    fn finish(self) -> Sum {
        match self {
            Self::Md5(md5) => Sum::Md5(hex::encode(md5.finalize())),
            Self::Crc32(crc32) => Sum::Crc32(crc32.finalize()),
        }
    }
}

/// How long the parts of an object are, of which S3 takes so many.
fn part_bytes(size_bytes: u64) -> u64 {
    PART_BYTES.max(size_bytes.div_ceil(MAX_PARTS))
}

/// What was sent to the bucket.
struct SentObject {
    wanted: Wanted,
    size_bytes: u64,
    /// None when the bytes were not seen.
    crc32: Option<u32>,
    has_body: bool,
}

impl SentObject {
    fn is(&self, found: &Inspected) -> bool {
        found.size_bytes == self.size_bytes
            && found.crc32.is_some()
            && found.crc32 == self.crc32
            && found.headers.digest() == self.wanted.headers.digest()
    }
}

/// What an entry's body takes beside its span, and what is taken besides while it is unpacked at once.
fn unpacked_bytes(entry: &Entry, encoding: Encoding) -> (u64, u64) {
    let scratch_bytes = match entry.method {
        // It goes out as it lies in its span.
        Method::Stored => return (0, 0),
        Method::Deflate if encoding == Encoding::Gzip => 0,
        // It is inflated from a copy; that of a small one is gone at once.
        Method::Deflate if entry.size_bytes > INLINE_BYTES => entry.compressed_bytes,
        method => method.window_bytes(entry.size_bytes),
    };
    (encoding.size_bytes(entry), scratch_bytes)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
