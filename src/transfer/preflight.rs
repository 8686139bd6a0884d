//! Checks the local headers of all puts before the first write, and the contents of those that it reads.
//!
//! The bytes read for it are kept for the puts, so that the check costs no extra request. Where there is no memory
//! for them, only the headers are read, along with the data between them where that is short.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use bytes::Bytes;

use super::entry_reader::in_thread;
use super::summary::Incomplete;
use super::whole::{SPAN_BYTES, whole_spans};
use super::{Route, Transfer};
use crate::archive::{Entry, Span, check, check_bytes, header_spans};
use crate::error::Error;
use crate::plan::Put;

/// Headers with a gap of up to 128 KiB between them are read in one GET. With 100 requests at a time that take 30 ms
/// each, one more request costs 0.3 ms; 32 KiB arrive in the same time, at 100 MB/s. But it also costs as much as 50 ms
/// of a function with 512 MiB.
const HEADER_GAP_BYTES: u64 = 128 << 10;

/// How much memory a connection takes while a long answer arrives (hyper's read buffer).
const CONNECTION_BYTES: u64 = 512 << 10;

/// How much is inflated between two looks at the deadline.
const CHECKED_BYTES: u64 = 16 << 20;

/// An entry and its compressed data.
type Body = (Entry, Bytes);

/// The reads that cover all local headers.
struct Reads<'a> {
    /// Spans whose bytes are kept for the puts.
    kept: Vec<Span<'a>>,
    /// Spans of headers whose entries are read again for the puts.
    headers: Vec<Span<'a>>,
    /// Those of these entries that later waves need and that lie among entries of the first wave, which reads and keeps
    /// them along with its own.
    carried: Vec<&'a Entry>,
    /// Entries that are too large to be held in memory; only their headers are read.
    large: Vec<&'a Entry>,
}

impl<'a> Transfer<'a> {
    /// Checks the local headers of the entries that `puts` write, and inflates those that memory holds.
    ///
    /// # Errors
    /// `ArchiveRejected` when a header or the contents disagree with the central directory; `ArchiveGone`, `Aws`;
    /// `Unfinished` when the deadline comes first.
    pub async fn preflight(&self, puts: &[Put<'a>]) -> Result<(), Error> {
        let ahead_bytes = self.memory.ahead_bytes(puts.len(), self.at_once);
        let reads = Reads::choose(puts, ahead_bytes, |entry| self.is_large(entry));
        self.memory.grow(ahead_bytes - reads.kept_bytes());
        self.carry(reads.carried);
        let connections = self.connections_for(reads.kept.len() + reads.headers.len() + reads.large.len());
        let kept = reads.kept.into_iter().map(|span| (span, true));
        let headers = reads.headers.into_iter().map(|span| (span, false));
        let spans = stream::iter(kept.chain(headers))
            .map(|(span, is_kept)| self.check_span(span, is_kept))
            .buffer_unordered(connections)
            .try_collect::<()>();
        let large = stream::iter(reads.large)
            .map(|entry| self.check_large(entry))
            .buffer_unordered(connections)
            .try_collect::<()>();
        match tokio::try_join!(spans, large) {
            Ok(_) => Ok(()),
            Err(Incomplete::Stopped) => Err(Error::Unfinished { done: 0, total: puts.len() }),
            Err(Incomplete::Failed(error)) => Err(error),
        }
    }

    async fn check_span(&self, span: Span<'a>, is_kept: bool) -> Result<(), Incomplete> {
        self.check_deadline()?;
        let length_bytes = span.length_bytes();
        let check_bytes = span.entries.iter().map(|entry| check_bytes(entry)).max().unwrap_or_default();
        if is_kept {
            // Kept bytes have a budget of their own, so only their connection's buffer counts here.
            let connection = self.memory.reserve_both(length_bytes.min(CONNECTION_BYTES)).await;
            let bytes = self.archive.read_ahead(span.range.clone()).await?;
            drop(connection);
            let _memory = self.memory.reserve_both(check_bytes).await;
            self.check_bodies(self.bodies(&span, &bytes).await?).await
        } else {
            // Reserved together: whoever waits for more memory while it holds some can wait for ever.
            let _memory = self.memory.reserve_both(length_bytes + check_bytes).await;
            let bytes = self.archive.read(span.range.clone()).await?;
            self.check_bodies(self.bodies(&span, &bytes).await?).await
        }
    }

    /// Checks the local headers of a span, and returns the bodies that are in memory.
    async fn bodies(&self, span: &Span<'a>, bytes: &Bytes) -> Result<Vec<Body>, Error> {
        let mut bodies = Vec::with_capacity(span.entries.len());
        for &entry in &span.entries {
            let bytes = bytes.slice((entry.header_offset - span.range.start) as usize..);
            let data = entry.data_range(&bytes)?;
            let whole = entry.header_offset..entry.end_offset;
            if data.end <= bytes.len() {
                bodies.push((entry.clone(), bytes.slice(data)));
            } else if self.archive.is_read(&whole) {
                let bytes = self.archive.read(whole).await?;
                bodies.push((entry.clone(), bytes.slice(entry.data_range(&bytes)?)));
            }
        }
        Ok(bodies)
    }

    async fn check_bodies(&self, bodies: Vec<Body>) -> Result<(), Incomplete> {
        for portion in portions(bodies) {
            self.check_deadline()?;
            in_thread(move || portion.into_iter().try_for_each(|(entry, data)| check(&entry, data)))
                .await?
                .map_err(Error::from)?;
        }
        Ok(())
    }

    async fn check_large(&self, entry: &Entry) -> Result<(), Incomplete> {
        self.check_deadline()?;
        let start = entry.header_offset;
        let range = start..start + entry.header_bytes_max();
        // The header is all that is ever read of an entry that S3 copies.
        let is_from_archive = self.route(entry) == Route::FromArchive;
        let header =
            if is_from_archive { self.archive.read_ahead(range).await? } else { self.archive.read(range).await? };
        entry.data_range(&header).map_err(Error::from)?;
        Ok(())
    }
}

/// Splits bodies into portions that inflate to about [`CHECKED_BYTES`].
fn portions(bodies: Vec<Body>) -> Vec<Vec<Body>> {
    let mut portions: Vec<Vec<Body>> = Vec::new();
    let mut left_bytes = 0;
    for body in bodies {
        let size_bytes = body.0.size_bytes;
        match portions.last_mut() {
            Some(portion) if size_bytes <= left_bytes => portion.push(body),
            _ => {
                portions.push(vec![body]);
                left_bytes = CHECKED_BYTES.max(size_bytes);
            }
        }
        left_bytes -= size_bytes;
    }
    portions
}

impl<'a> Reads<'a> {
    /// Chooses the reads. All waves share the kept spans, so that pages and the assets between them are one span.
    fn choose(puts: &[Put<'a>], ahead_bytes: u64, is_large: impl Fn(&Entry) -> bool) -> Self {
        let (large, whole): (Vec<_>, Vec<_>) = puts.iter().partition(|put| is_large(put.entry));
        let large = large.into_iter().map(|put| put.entry).collect();
        let spans = whole_spans(whole.iter().map(|put| put.entry));
        let length_bytes: u64 = spans.iter().map(Span::length_bytes).sum();
        if length_bytes <= ahead_bytes {
            return Self { kept: spans, headers: Vec::new(), carried: Vec::new(), large };
        }
        // Half of the budget goes to the waves: the rest is read faster with many reads at a time, which take memory
        // too. The other half goes first to what later waves need among the entries of the first: each would cost a GET
        // of its own.
        let mut left_bytes = ahead_bytes / 2;
        let mut fits = |bytes: u64| {
            let is_fitting = bytes <= left_bytes;
            left_bytes -= if is_fitting { bytes } else { 0 };
            is_fitting
        };
        let first = puts.iter().map(|put| put.role).min();
        let of_first = whole.iter().filter(|put| Some(put.role) == first);
        let of_first: HashSet<u64> = of_first.map(|put| put.entry.header_offset).collect();
        let is_of_first = |entry: &Entry| of_first.contains(&entry.header_offset);
        let mixed = spans.iter().filter(|span| span.entries.iter().any(|entry| is_of_first(entry)));
        let carried: Vec<&Entry> = mixed
            .flat_map(|span| &span.entries)
            .copied()
            .filter(|entry| !is_of_first(entry) && fits(entry.span_bytes()))
            .collect();
        let (kept, others): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| fits(span.length_bytes()));
        let others = others.into_iter().flat_map(|span| span.entries);
        Self { kept, headers: header_spans(others, HEADER_GAP_BYTES, SPAN_BYTES), carried, large }
    }

    fn kept_bytes(&self) -> u64 {
        let spans = self.kept.iter().map(Span::length_bytes);
        spans.chain(self.carried.iter().map(|entry| entry.span_bytes())).sum()
    }
}
