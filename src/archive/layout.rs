//! Where entries lie in the archive: they neither overlap nor leave gaps.

use super::extra::Extent;
use super::header::CentralHeader;
use super::local::{DESCRIPTOR_BYTES_MAX, DESCRIPTOR_BYTES_MIN, LOCAL_HEADER_BYTES};
use super::{Rejection, flag};

/// The spans of all entries, including folders and files that are left out.
pub(super) struct Layout {
    spans: Vec<EntrySpan>,
    directory_offset: u64,
}

/// The bytes of the archive that belong to one entry.
///
/// It takes only 24 bytes per entry, because an error looks up the name again.
struct EntrySpan {
    start: u64,
    /// The earliest possible end: only the local header knows how long its extra fields are.
    end_min: u64,
    /// The entry's position in the directory.
    number: usize,
}

/// An error in the layout, with the position of the entry in the directory.
#[derive(Debug, PartialEq)]
pub(super) enum LayoutError {
    Overlap(usize),
    Unclaimed(usize),
}

impl Layout {
    pub(super) fn new(entry_count: usize, directory_offset: u64) -> Self {
        Self { spans: Vec::with_capacity(entry_count), directory_offset }
    }

    /// Adds an entry, and refuses it unless it ends before the directory starts.
    pub(super) fn add(&mut self, header: &CentralHeader<'_>, extent: Extent) -> Result<(), Rejection> {
        match end_min(header, extent) {
            Some(end_min) if end_min <= self.directory_offset => {
                self.spans.push(EntrySpan { start: extent.header_offset, end_min, number: self.spans.len() });
                Ok(())
            }
            _ => Err(Rejection::SpanOutside { entry: header.display_name() }),
        }
    }

    /// Sorts the spans and checks them against each other and the directory that follows them.
    ///
    /// Bytes before the first entry are allowed: a self-extracting archive starts with a program.
    pub(super) fn check(mut self) -> Result<SpanEnds, LayoutError> {
        // Longer gaps are refused here; the local header shows whether extra fields fill the others.
        let gap_max = u64::from(u16::MAX) + DESCRIPTOR_BYTES_MAX;
        self.spans.sort_unstable_by_key(|span| span.start);
        let nexts = self.spans.iter().skip(1).map(|span| span.start);
        for (span, next) in self.spans.iter().zip(nexts.chain([self.directory_offset])) {
            if span.end_min > next {
                return Err(LayoutError::Overlap(span.number));
            }
            if next - span.end_min > gap_max {
                return Err(LayoutError::Unclaimed(span.number));
            }
        }
        Ok(SpanEnds { spans: self.spans, directory_offset: self.directory_offset })
    }
}

/// Returns the earliest end of the entry, or `None` if it overflows.
fn end_min(header: &CentralHeader<'_>, extent: Extent) -> Option<u64> {
    let descriptor_bytes = if header.flags & flag::STREAMED != 0 { DESCRIPTOR_BYTES_MIN } else { 0 };
    let own_bytes = LOCAL_HEADER_BYTES + header.name.len() as u64 + descriptor_bytes;
    extent.header_offset.checked_add(own_bytes)?.checked_add(extent.compressed_bytes)
}

/// Where the span of each entry ends.
pub(super) struct SpanEnds {
    spans: Vec<EntrySpan>,
    directory_offset: u64,
}

impl SpanEnds {
    /// Returns where the span that starts at `header_offset` ends: at the next entry or the directory.
    pub(super) fn after(&self, header_offset: u64) -> u64 {
        let next = self.spans.partition_point(|span| span.start <= header_offset);
        self.spans.get(next).map_or(self.directory_offset, |span| span.start)
    }
}
