//! Judges the local headers of all that will be put, before the first write.
//!
//! What is read for it is kept for the puts, so that it costs them nothing; of what there is no room for, the
//! headers are read alone, with the data between them where that is short.

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{LATE, SPAN_BYTES, Transfer, whole_spans};
use crate::archive::{Entry, Span, header_spans};
use crate::error::Error;
use crate::plan::Put;

/// Headers this close are read in one GET: of a hundred requests at once that take 30 ms each, one costs 0.3 ms, in
/// which 100 MB/s come to about so many bytes.
const HEADER_GAP_BYTES: u64 = 32 << 10;

/// The room of one long answer while it comes in (hyper's read buffer).
const CONNECTION_BYTES: u64 = 512 << 10;

/// What is read to judge the headers.
struct Reads<'a> {
    /// Kept for the waves.
    kept: Vec<Span<'a>>,
    /// Read once more when they are sent.
    headers: Vec<Span<'a>>,
    /// Of what is not held whole, only the header is read.
    large: Vec<&'a Entry>,
}

impl<'a> Transfer<'a> {
    /// Judges the local headers of the entries of these puts, which are then sent wave by wave.
    ///
    /// # Errors
    /// `ArchiveRejected` when one disagrees with the central directory; `ArchiveGone`, `Aws`;
    /// `Unfinished` when the deadline comes first.
    pub async fn preflight(&self, puts: &[Put<'a>]) -> Result<(), Error> {
        let is_large = |entry: &Entry| self.is_large(entry);
        let ahead_bytes = self.ahead_bytes(puts.len());
        let reads = Reads::of(puts, ahead_bytes, is_large);
        let kept_bytes: u64 = reads.kept.iter().map(Span::length_bytes).sum();
        self.memory.grow(ahead_bytes - kept_bytes);
        let kept = stream::iter(reads.kept.into_iter().map(|span| (span, true)));
        let headers = stream::iter(reads.headers.into_iter().map(|span| (span, false)));
        let spans = kept
            .chain(headers)
            .map(async |(span, keep)| self.judge_span(&span, keep).await)
            .buffer_unordered(self.at_once)
            .try_collect::<()>();
        let large = stream::iter(reads.large)
            .map(async |entry| self.judge_header(entry).await)
            .buffer_unordered(self.at_once)
            .try_collect::<()>();
        match tokio::try_join!(spans, large) {
            Err(Error::Unfinished { done, .. }) => Err(Error::Unfinished { done, total: puts.len() }),
            judged => judged.map(|_| ()),
        }
    }

    async fn judge_span(&self, span: &Span<'a>, keep: bool) -> Result<(), Error> {
        self.check_deadline()?;
        let range = span.range.clone();
        let length_bytes = span.length_bytes();
        // What is kept has room of its own, but for what its connection holds.
        let room_bytes = match keep {
            true => length_bytes.min(CONNECTION_BYTES),
            false => length_bytes,
        };
        let _memory = self.memory.for_both(room_bytes).await;
        let bytes = if keep { self.archive.read_ahead(range).await? } else { self.archive.read(range).await? };
        for entry in &span.entries {
            let at = (entry.header_offset - span.range.start) as usize;
            entry.data_range(&bytes[at..])?;
        }
        Ok(())
    }

    async fn judge_header(&self, entry: &Entry) -> Result<(), Error> {
        self.check_deadline()?;
        let start = entry.header_offset;
        let header = start..start + entry.header_bytes_max();
        // What is copied is read no more than this.
        let header = if self.is_copied(entry) {
            self.archive.read_ahead(header).await?
        } else {
            self.archive.read(header).await?
        };
        entry.data_range(&header)?;
        Ok(())
    }

    fn check_deadline(&self) -> Result<(), Error> {
        if (self.is_late)() {
            return Err(LATE);
        }
        Ok(())
    }
}

impl<'a> Reads<'a> {
    /// Chooses. All waves share what is kept, so that pages and what lies between them are one span.
    fn of(puts: &[Put<'a>], ahead_bytes: u64, is_large: impl Fn(&Entry) -> bool) -> Self {
        let entries = puts.iter().map(|put| put.entry);
        let (large, whole): (Vec<_>, Vec<_>) = entries.partition(|entry| is_large(entry));
        let spans = whole_spans(whole);
        let length: u64 = spans.iter().map(Span::length_bytes).sum();
        // What does not fit in any case is better read by many at once, which takes room too.
        let mut room = if length <= ahead_bytes { ahead_bytes } else { ahead_bytes / 2 };
        let (mut kept, mut others) = (Vec::new(), Vec::new());
        for span in spans {
            let length = span.length_bytes();
            if length <= room {
                room -= length;
                kept.push(span);
            } else {
                others.extend(span.entries);
            }
        }
        Self { kept, headers: header_spans(others, HEADER_GAP_BYTES, SPAN_BYTES), large }
    }
}
