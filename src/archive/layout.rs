//! Where entries lie in the archive: none overlaps another, and none leaves a gap behind.

use super::extra::Extent;
use super::flag;
use super::local::{DESCRIPTOR_BYTES_MAX, DESCRIPTOR_BYTES_MIN, LOCAL_HEADER_BYTES};

/// The spans of all entries, folders and left out ones too.
pub(super) struct Layout {
    spans: Vec<EntrySpan>,
    directory_offset: u64,
}

/// 24 bytes for each entry, the names being found again when they are needed.
struct EntrySpan {
    start: u64,
    /// Where it ends at least: only the local header knows how long its extra fields are.
    end_min: u64,
    /// Its place in the directory.
    number: usize,
}

/// What is wrong with the entry of this place in the directory.
#[derive(Debug, PartialEq)]
pub(super) enum LayoutError {
    Overlap(usize),
    Unclaimed(usize),
}

impl Layout {
    pub(super) fn new(entry_count: usize, directory_offset: u64) -> Self {
        Self { spans: Vec::with_capacity(entry_count), directory_offset }
    }

    /// `None` when the entry does not end before the directory starts.
    pub(super) fn add(&mut self, name_bytes: usize, flags: u16, extent: Extent) -> Option<()> {
        let descriptor_bytes = if flags & flag::STREAMED != 0 { DESCRIPTOR_BYTES_MIN } else { 0 };
        let own_bytes = LOCAL_HEADER_BYTES + name_bytes as u64 + descriptor_bytes;
        let end_min = extent.header_offset.checked_add(own_bytes)?.checked_add(extent.compressed_bytes)?;
        if end_min > self.directory_offset {
            return None;
        }
        self.spans.push(EntrySpan { start: extent.header_offset, end_min, number: self.spans.len() });
        Some(())
    }

    /// Orders the spans and checks them against each other and the directory after them.
    ///
    /// Bytes in front of the first entry are no entry's and are allowed.
    pub(super) fn close(mut self) -> Result<Ends, LayoutError> {
        let slack_max = u64::from(u16::MAX) + DESCRIPTOR_BYTES_MAX;
        self.spans.sort_unstable_by_key(|span| span.start);
        let nexts = self.spans.iter().skip(1).map(|span| span.start);
        for (span, next) in self.spans.iter().zip(nexts.chain([self.directory_offset])) {
            if span.end_min > next {
                return Err(LayoutError::Overlap(span.number));
            }
            if next - span.end_min > slack_max {
                return Err(LayoutError::Unclaimed(span.number));
            }
        }
        Ok(Ends { spans: self.spans, directory_offset: self.directory_offset })
    }
}

/// Tells where the span of each entry ends.
pub(super) struct Ends {
    spans: Vec<EntrySpan>,
    directory_offset: u64,
}

impl Ends {
    pub(super) fn of(&self, header_offset: u64) -> u64 {
        let next = self.spans.partition_point(|span| span.start <= header_offset);
        self.spans.get(next).map_or(self.directory_offset, |span| span.start)
    }
}
