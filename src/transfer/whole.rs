//! Entries that are held in memory: each span of them is read in one GET, then every entry is unpacked and used.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::Transfer;
use super::entry_reader::in_thread;
use super::memory::Reservation;
use super::summary::{Incomplete, Summary};
use super::wave::{SentObject, WaveInProgress};
use crate::archive::{Encoding, Entry, Method, Span, check, check_bytes, spans, unpack};
use crate::aws::write::Condition;
use crate::error::Error;
use crate::plan::{Put, Wanted};

/// Neighbours this close are read in one GET: a request costs more than 4 KiB.
const GAP_BYTES: u64 = 4 << 10;

/// The longest span of several entries, so that PUTs start before the whole archive is read.
pub(super) const SPAN_BYTES: u64 = 4 << 20;

/// A larger entry is unpacked in another thread, because it would hold up the other transfers.
const MAX_INLINE_BYTES: u64 = 32 << 10;

/// Returns the spans in which entries that are held in memory are read.
pub(super) fn whole_spans<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Vec<Span<'a>> {
    spans(entries, GAP_BYTES, SPAN_BYTES)
}

/// Bytes of a span that was read, and the memory that the span takes.
#[derive(Clone)]
struct SpanBytes {
    bytes: Bytes,
    memory: Arc<Reservation>,
}

impl<'a> Transfer<'a> {
    pub(super) async fn put_whole(&self, puts: Vec<Put<'a>>, wave: &WaveInProgress<'a>) -> Summary {
        let carried = self.take_carried().into_iter().filter(|entry| !self.is_in_memory(entry));
        let carried = carried.map(|entry| (entry, None));
        let puts = puts.into_iter().map(|put| (put.entry, Some(put))).chain(carried).collect();
        self.for_each_body(puts, async |put, wanted, body| self.put_body(put, wanted, body, wave).await).await
    }

    fn is_in_memory(&self, entry: &Entry) -> bool {
        self.archive.is_read(&(entry.header_offset..entry.end_offset))
    }

    async fn put_body(
        &self,
        put: Put<'a>,
        wanted: Wanted,
        body: Bytes,
        wave: &WaveInProgress<'a>,
    ) -> Result<(), Incomplete> {
        let _permit = self.writes.acquire().await;
        self.check_running()?;
        let crc32 = match wanted.encoding {
            Encoding::Identity => put.entry.crc32,
            Encoding::Gzip => crc32fast::hash(&body),
        };
        let size_bytes = body.len() as u64;
        let condition = Condition::replacing(put.replaces.as_ref());
        let answer = self.bucket.put(&put.key, body, crc32, &wanted.headers, condition).await?;
        let sent = SentObject { wanted, size_bytes, crc32: Some(crc32), has_body: true };
        Ok(wave.record(put, sent, answer).await?)
    }

    /// Reads entries span by span, and calls `use_body` with each item and the checked body of its entry. An entry
    /// without an item is kept in memory.
    pub(super) async fn for_each_body<T>(
        &self,
        mut items: Vec<(&'a Entry, Option<T>)>,
        use_body: impl AsyncFn(T, Wanted, Bytes) -> Result<(), Incomplete>,
    ) -> Summary {
        items.sort_unstable_by_key(|(entry, _)| entry.header_offset);
        let spans = whole_spans(items.iter().map(|(entry, _)| *entry));
        let spans = spans.iter().flat_map(|span| self.split_at_kept(span));
        // Spans and items are both in the order of their offsets.
        let mut items = items.into_iter().map(|(_, item)| item);
        let spans = spans.map(|span| {
            let items: Vec<Option<T>> = items.by_ref().take(span.entries.len()).collect();
            (span, items)
        });
        let using = stream::iter(spans)
            .map(|(span, items)| self.use_span(span, items, &use_body))
            // Twice as many spans as there may be reads: while half of them are written, the other half is read.
            .buffer_unordered(2 * self.at_once);
        self.finish_all(using).await
    }

    /// Splits a span into spans that must be read, and one for each entry that is already in memory.
    fn split_at_kept(&self, span: &Span<'a>) -> Vec<Span<'a>> {
        let parts = span.entries.chunk_by(|before, after| !self.is_in_memory(before) && !self.is_in_memory(after));
        parts
            .filter_map(|entries| {
                let range = entries.first()?.header_offset..entries.last()?.end_offset;
                Some(Span { range, entries: entries.to_vec() })
            })
            .collect()
    }

    async fn use_span<T>(
        &self,
        span: Span<'a>,
        items: Vec<Option<T>>,
        use_body: &impl AsyncFn(T, Wanted, Bytes) -> Result<(), Incomplete>,
    ) -> Summary {
        let span_bytes = match self.read_span(&span).await {
            Ok(span_bytes) => span_bytes,
            Err(reason) => return Summary::of(reason, items.iter().flatten().count()),
        };
        let mut entries = Vec::with_capacity(items.len());
        let mut carried = Vec::new();
        for (entry, item) in span.entries.into_iter().zip(items) {
            let start = (entry.header_offset - span.range.start) as usize;
            let end = (entry.end_offset.min(span.range.end) - span.range.start) as usize;
            let bytes = span_bytes.bytes.slice(start..end);
            match item {
                Some(item) => entries.push((entry, item, SpanBytes { bytes, memory: span_bytes.memory.clone() })),
                None => carried.push((entry, bytes)),
            }
        }
        if let Err(reason) = self.keep_carried(carried).await {
            return Summary::of(reason, entries.len());
        }
        // The last entry that uses the span's bytes releases them.
        drop(span_bytes);
        let using = stream::iter(entries)
            .map(|(entry, item, span_bytes)| self.use_entry(entry, item, span_bytes, use_body))
            .buffer_unordered(self.at_once);
        self.finish_all(using).await
    }

    /// Keeps entries for a later wave. What is in memory counts as checked, so those that S3 cannot check are checked.
    async fn keep_carried(&self, carried: Vec<(&'a Entry, Bytes)>) -> Result<(), Incomplete> {
        for (entry, bytes) in carried {
            if self.rules.wanted(entry).encoding == Encoding::Gzip {
                let _memory = self.memory.reserve_unpacked(check_bytes(entry)).await;
                let data = bytes.slice(entry.data_range(&bytes).map_err(Error::from)?);
                let entry = entry.clone();
                in_thread(move || check(&entry, data)).await?.map_err(Error::from)?;
            }
            // A copy, so that the rest of the span can go.
            self.archive.keep(entry.header_offset, Bytes::copy_from_slice(&bytes));
        }
        Ok(())
    }

    async fn read_span(&self, span: &Span<'a>) -> Result<SpanBytes, Incomplete> {
        // Bytes that were read ahead are in memory already.
        let to_read = if self.archive.is_read(&span.range) { 0 } else { span.length_bytes() };
        let memory = if span.entries.iter().all(|entry| entry.method == Method::Stored) {
            // Nothing will be unpacked, so the span may use both kinds of memory.
            self.memory.reserve_both(to_read).await
        } else {
            self.memory.reserve_read(to_read).await
        };
        let _permit = self.reads.acquire().await;
        self.check_running()?;
        let bytes = self.archive.read(span.range.clone()).await?;
        Ok(SpanBytes { bytes, memory: Arc::new(memory) })
    }

    async fn use_entry<T>(
        &self,
        entry: &Entry,
        item: T,
        span_bytes: SpanBytes,
        use_body: &impl AsyncFn(T, Wanted, Bytes) -> Result<(), Incomplete>,
    ) -> Result<(), Incomplete> {
        let wanted = self.rules.wanted(entry);
        // S3 cannot check the contents of a gzip file. The preflight has checked those that were in memory by then.
        let is_unchecked = wanted.encoding == Encoding::Gzip && !self.is_in_memory(entry);
        let (body_bytes, mut scratch_bytes) = unpacked_bytes(entry, wanted.encoding);
        if is_unchecked {
            scratch_bytes += check_bytes(entry);
        }
        let mut unpacked = self.memory.reserve_unpacked(body_bytes + scratch_bytes).await;
        self.check_running()?;
        let SpanBytes { bytes, memory } = span_bytes;
        let compressed = bytes.slice(entry.data_range(&bytes).map_err(Error::from)?);
        if is_unchecked {
            let (entry, compressed) = (entry.clone(), compressed.clone());
            in_thread(move || check(&entry, compressed)).await?.map_err(Error::from)?;
        }
        let body = self.unpack(entry, wanted.encoding, compressed).await?;
        unpacked.release_unpacked(scratch_bytes);
        // The body of a stored entry is a slice of the span. Other entries no longer need the span.
        let _memory = (entry.method == Method::Stored).then_some(memory);
        use_body(item, wanted, body).await
    }

    /// Returns the body of an entry from its compressed data.
    async fn unpack(&self, entry: &Entry, encoding: Encoding, compressed: Bytes) -> Result<Bytes, Error> {
        self.count_inflated(entry, encoding);
        if encoding == Encoding::Gzip || entry.size_bytes <= MAX_INLINE_BYTES {
            return Ok(unpack(entry, encoding, compressed)?);
        }
        let entry = entry.clone();
        Ok(in_thread(move || unpack(&entry, encoding, compressed)).await??)
    }
}

/// Returns how much memory an entry's body takes beyond its span, and how much more is in use while it is unpacked.
fn unpacked_bytes(entry: &Entry, encoding: Encoding) -> (u64, u64) {
    let scratch_bytes = match entry.method {
        // The body is a slice of the span.
        Method::Stored => return (0, 0),
        Method::Deflate if encoding == Encoding::Gzip => 0,
        // libdeflate inflates a copy of the data. The copy for a small entry is gone before anything else runs.
        Method::Deflate if entry.size_bytes > MAX_INLINE_BYTES => entry.compressed_bytes,
        method => method.window_bytes(entry.size_bytes),
    };
    (encoding.size_bytes(entry), scratch_bytes)
}
