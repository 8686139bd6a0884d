//! Moves entries from the archive to the live bucket: ranged GETs, inflate and PUTs overlap within a memory budget.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use md5::{Digest, Md5};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinError;

use super::archive::{Archive, EntryReader};
use super::bucket::{Bucket, Condition, Inspected, Written};
use crate::archive::{Entry, Span, inflate, spans};
use crate::error::Error;
use crate::headers::Headers;
use crate::manifest::Row;
use crate::plan::{Copy, Put, Rules};
use crate::report::Progress;

/// Entries up to this size are held whole; larger ones go through in parts.
const WHOLE_BYTES: u64 = 16 << 20;

/// Neighbours this close are read in one GET: a request costs more than so many bytes.
const GAP_BYTES: u64 = 4 << 10;

/// A span is cut here, so that its entries' PUTs begin before the whole archive is read.
const SPAN_BYTES: u64 = 4 << 20;

/// Inflating more than this would hold up the other transfers of its thread.
const INLINE_BYTES: u64 = 128 << 10;

/// S3 takes parts of 5 MiB or more, and at most 10,000 of them (S3 user guide, "Multipart upload limits").
const PART_BYTES: u64 = 8 << 20;
const MAX_PARTS: u64 = 10_000;

pub(super) const SPANS_AT_ONCE: usize = 8;
const WRITES_AT_ONCE: usize = 64;
const LARGE_AT_ONCE: usize = 2;

/// The means of one run's transfers.
pub struct Transfer<'a> {
    pub(super) archive: &'a Archive,
    bucket: &'a Bucket,
    rules: &'a Rules<'a>,
    progress: &'a Progress,
    /// Whether the deadline is too near to begin another transfer.
    pub(super) is_late: &'a (dyn Fn() -> bool + Sync),
    pub(super) memory: Memory,
    /// How much may be read ahead of the first write and kept for it.
    pub(super) ahead_bytes: u64,
    writes: Semaphore,
    /// Set by the first failure: nothing new is begun, what is under way is finished and counted.
    is_stopped: AtomicBool,
}

/// What a wave has come to.
#[derive(Debug, Default)]
pub struct Wave<'a> {
    pub written: Vec<(String, Row)>,
    pub bytes_written: u64,
    /// Objects that someone else wrote since they were listed, with the condition brought up to date.
    pub conflicts: Vec<Put<'a>>,
    /// How many transfers were not begun.
    pub not_begun: usize,
    /// The first failure.
    pub error: Option<Error>,
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
        Self {
            archive,
            bucket,
            rules,
            progress,
            is_late,
            memory: Memory::new(memory_mib),
            ahead_bytes: (memory_mib << 20) / 8,
            writes: Semaphore::new(WRITES_AT_ONCE),
            is_stopped: AtomicBool::new(false),
        }
    }

    /// Puts entries. Failures are part of the answer, so that what was written before them is not forgotten.
    pub async fn put_all(&self, puts: Vec<Put<'a>>) -> Wave<'a> {
        let wave = Mutex::new(Wave::default());
        let (large, whole): (Vec<_>, Vec<_>) =
            puts.into_iter().partition(|put| is_large(put.entry));
        let wholes = self.each_whole(
            whole,
            |put| put.entry,
            async |put: Put<'a>, body| {
                let _permit = self.writes.acquire().await;
                if self.must_stop() {
                    lock(&wave).not_begun += 1;
                    return Ok(());
                }
                let headers = self.rules.headers(put.entry);
                let condition = Condition::replacing(put.replaces.as_deref());
                let answer = self
                    .bucket
                    .put(&put.key, body, put.entry.crc32, &headers, condition)
                    .await?;
                let bytes = put.entry.size_bytes;
                self.note(put, bytes, answer, &wave).await
            },
        );
        let larges = stream::iter(large)
            .map(async |put| {
                if self.must_stop() {
                    lock(&wave).not_begun += 1;
                    return Ok(());
                }
                let answer = self.put_large(&put).await?;
                let bytes = put.entry.size_bytes;
                self.note(put, bytes, answer, &wave).await
            })
            .buffer_unordered(LARGE_AT_ONCE)
            .map(|result| self.heed(result))
            .collect::<Vec<_>>();
        let (wholes, larges) = tokio::join!(wholes, larges);
        let mut wave = wave.into_inner().unwrap_or_else(PoisonError::into_inner);
        wave.not_begun += wholes.not_begun;
        wave.error = wholes.error.or(larges.into_iter().find_map(Result::err));
        wave
    }

    /// Copies objects onto themselves under their new headers.
    pub async fn copy_all(&self, copies: Vec<Copy<'a>>) -> Wave<'a> {
        let wave = Mutex::new(Wave::default());
        let results = stream::iter(copies)
            .map(async |copy| {
                if self.must_stop() {
                    lock(&wave).not_begun += 1;
                    return Ok(());
                }
                let headers = self.rules.headers(copy.entry);
                let answer = self
                    .bucket
                    .copy_onto_itself(&copy.key, &copy.etag, &headers)
                    .await?;
                let Copy {
                    entry,
                    key,
                    etag,
                    is_page,
                } = copy;
                self.note(
                    Put {
                        entry,
                        key,
                        replaces: Some(etag),
                        is_page,
                    },
                    0,
                    answer,
                    &wave,
                )
                .await
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .map(|result| self.heed(result))
            .collect::<Vec<_>>()
            .await;
        let mut wave = wave.into_inner().unwrap_or_else(PoisonError::into_inner);
        wave.error = results.into_iter().find_map(Result::err);
        wave
    }

    /// Compares entries with the MD5 that is their object's ETag: the keys that are alike.
    ///
    /// # Errors
    /// `ArchiveRejected`, `ArchiveGone`, `Aws`; `Unfinished` when the deadline comes first.
    pub async fn same_md5(
        &self,
        questions: Vec<(&'a Entry, String, String)>,
    ) -> Result<HashSet<String>, Error> {
        let same = Mutex::new(HashSet::new());
        let total = questions.len();
        let (large, whole): (Vec<_>, Vec<_>) = questions
            .into_iter()
            .partition(|(entry, ..)| is_large(entry));
        let wholes = self
            .each_whole(
                whole,
                |(entry, ..)| entry,
                async |(_, key, md5), body| {
                    if hex::encode(Md5::digest(&body)) == md5 {
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
        for (entry, key, md5) in large {
            if self.must_stop() {
                not_begun += 1;
            } else if self.md5_of_large(entry).await? == md5 {
                lock(&same).insert(key);
            }
        }
        if not_begun > 0 {
            return Err(Error::Unfinished {
                done: total - not_begun,
                total,
            });
        }
        Ok(same.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    async fn md5_of_large(&self, entry: &Entry) -> Result<String, Error> {
        let _memory = self
            .memory
            .reserve(PART_BYTES + EntryReader::memory_bytes(entry))
            .await;
        let mut reader = EntryReader::open(self.archive, entry).await?;
        let mut hash = Md5::new();
        let mut piece = Vec::with_capacity(PART_BYTES as usize);
        while reader.fill(&mut piece).await? {
            hash.update(&piece);
            piece.clear();
        }
        hash.update(&piece);
        reader.finish().await?;
        Ok(hex::encode(hash.finalize()))
    }

    /// Reads entries span by span, and hands each, whole, inflated and checked, to `use_body`.
    async fn each_whole<T>(
        &self,
        mut items: Vec<T>,
        entry: impl Fn(&T) -> &'a Entry,
        use_body: impl AsyncFn(T, Bytes) -> Result<(), Error>,
    ) -> Begun {
        items.sort_by_key(|item| entry(item).header_offset);
        let entries: Vec<&Entry> = items.iter().map(&entry).collect();
        let spans = whole_spans(entries);
        let mut items = items.into_iter();
        // Spans come in the order of their offsets, and so do the items.
        let jobs = spans.into_iter().map(|span| {
            let items: Vec<T> = items.by_ref().take(span.entries.len()).collect();
            (span, items)
        });
        let not_begun = AtomicUsize::new(0);
        let results: Vec<Result<(), Error>> = stream::iter(jobs)
            .map(async |(span, items): (Span<'a>, Vec<T>)| {
                if self.must_stop() {
                    not_begun.fetch_add(items.len(), Ordering::Relaxed);
                    return Ok(());
                }
                let inflated: u64 = span.entries.iter().map(|entry| whole_bytes(entry)).sum();
                let _memory = self
                    .memory
                    .reserve(inflated + span.range.end - span.range.start)
                    .await;
                let bytes = self.archive.read(span.range.clone()).await?;
                let results = stream::iter(span.entries.into_iter().zip(items))
                    .map(async |(entry, item)| {
                        let at = (entry.header_offset - span.range.start) as usize;
                        let end =
                            (entry.end_offset.min(span.range.end) - span.range.start) as usize;
                        use_body(item, inflated_entry(entry, bytes.slice(at..end)).await?).await
                    })
                    .buffer_unordered(WRITES_AT_ONCE)
                    .map(|result| self.heed(result))
                    .collect::<Vec<_>>()
                    .await;
                results.into_iter().collect()
            })
            .buffer_unordered(SPANS_AT_ONCE)
            .map(|result| self.heed(result))
            .collect()
            .await;
        Begun {
            not_begun: not_begun.into_inner(),
            error: results.into_iter().find_map(Result::err),
        }
    }

    /// Puts an entry that is not held whole, as a multipart upload.
    async fn put_large(&self, put: &Put<'a>) -> Result<Written, Error> {
        let part_bytes = PART_BYTES.max(put.entry.size_bytes.div_ceil(MAX_PARTS));
        let _memory = self
            .memory
            .reserve(2 * part_bytes + EntryReader::memory_bytes(put.entry))
            .await;
        let mut reader = EntryReader::open(self.archive, put.entry).await?;
        let headers = self.rules.headers(put.entry);
        let mut upload = self.bucket.begin(&put.key, &headers).await?;
        let sent = async {
            loop {
                let mut part = Vec::with_capacity(part_bytes as usize);
                let has_more = reader.fill(&mut part).await?;
                if !part.is_empty() {
                    upload.part(part.into()).await?;
                }
                if !has_more {
                    return reader.finish().await;
                }
                if (self.is_late)() {
                    return Err(Error::Unfinished { done: 0, total: 1 });
                }
            }
        }
        .await;
        if let Err(error) = sent {
            upload.abort().await;
            return Err(error);
        }
        upload
            .complete(
                put.entry.crc32,
                Condition::replacing(put.replaces.as_deref()),
            )
            .await
    }

    /// Books a write. On a conflict the object is looked at: it may be our own, from an attempt whose
    /// answer was lost; if it is not, the write is to be tried again on top of what is there now.
    async fn note(
        &self,
        put: Put<'a>,
        bytes: u64,
        answer: Written,
        wave: &Mutex<Wave<'a>>,
    ) -> Result<(), Error> {
        let headers = self.rules.headers(put.entry);
        let etag = match answer {
            Written::Done(etag) => etag,
            Written::Conflict => match self.bucket.inspect(&put.key).await? {
                Some(found) if is_ours(&found, put.entry, &headers) => found.etag,
                found => {
                    let replaces = found.map(|found| found.etag);
                    lock(wave).conflicts.push(Put { replaces, ..put });
                    return Ok(());
                }
            },
        };
        self.progress.wrote(bytes);
        tracing::debug!(key = %put.key, bytes, "written");
        let mut wave = lock(wave);
        wave.bytes_written += bytes;
        wave.written
            .push((put.key, Row::written(put.entry, etag, &headers)));
        Ok(())
    }

    fn must_stop(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed) || (self.is_late)()
    }

    fn heed(&self, result: Result<(), Error>) -> Result<(), Error> {
        if result.is_err() {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        result
    }
}

struct Begun {
    not_begun: usize,
    error: Option<Error>,
}

/// The ranges in which entries are read that are held whole.
pub(super) fn whole_spans<'a>(entries: Vec<&'a Entry>) -> Vec<Span<'a>> {
    spans(entries, GAP_BYTES, SPAN_BYTES)
}

pub(super) fn is_large(entry: &Entry) -> bool {
    entry.size_bytes > WHOLE_BYTES
}

/// What an entry takes that is inflated at once.
fn whole_bytes(entry: &Entry) -> u64 {
    entry.size_bytes + entry.method.held_bytes(entry.size_bytes)
}

fn is_ours(found: &Inspected, entry: &Entry, headers: &Headers) -> bool {
    found.size_bytes == entry.size_bytes
        && found.crc32 == Some(entry.crc32)
        && found.headers.digest() == headers.digest()
}

async fn inflated_entry(entry: &Entry, span: Bytes) -> Result<Bytes, Error> {
    let compressed = span.slice(entry.data_range(&span)?);
    if entry.size_bytes <= INLINE_BYTES {
        return Ok(inflate(entry, compressed)?);
    }
    let entry = entry.clone();
    let name = entry.name.clone();
    let inflated = tokio::task::spawn_blocking(move || inflate(&entry, compressed)).await;
    let panicked = |error: JoinError| Error::Aws {
        what: format!("inflating {name}"),
        reason: error.to_string(),
        source: None,
    };
    Ok(inflated.map_err(panicked)??)
}

/// Bounds what is in flight, whatever the archive.
pub(super) struct Memory {
    kib: u32,
    free: Semaphore,
}

impl Memory {
    /// A quarter of the function's memory: the rest is for the index, the manifest, and what the SDK holds.
    fn new(memory_mib: u64) -> Self {
        let kib = u32::try_from(memory_mib * 1024 / 4).unwrap_or(u32::MAX >> 4);
        Self {
            kib,
            free: Semaphore::new(kib as usize),
        }
    }

    /// Waits for room; one transfer alone may always go on, even if it is over the budget.
    pub(super) async fn reserve(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes.div_ceil(1024))
            .unwrap_or(u32::MAX)
            .min(self.kib);
        // The semaphore is never closed.
        self.free.acquire_many(kib).await.ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
