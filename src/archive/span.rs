//! The ranges of the archive to read.

use std::ops::Range;

use super::Entry;

/// A range of the archive to read in one piece, and the entries in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    pub range: Range<u64>,
    /// Sorted by offset. `range` contains each of them, or at least its local header.
    pub entries: Vec<&'a Entry>,
}

impl Span<'_> {
    pub fn length_bytes(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Returns the ranged reads for these entries.
///
/// Neighbours share a span if at most `max_gap_bytes` unneeded bytes lie between them and the span
/// stays within `max_span_bytes`. A longer entry has a span of its own, to be read in parts.
pub fn spans<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    max_gap_bytes: u64,
    max_span_bytes: u64,
) -> Vec<Span<'a>> {
    let ranges = entries.into_iter().map(|entry| (entry, entry.end_offset));
    merged(ranges, max_gap_bytes, max_span_bytes)
}

/// Returns the ranged reads for the local headers of these entries, without their data.
pub fn header_spans<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    max_gap_bytes: u64,
    max_span_bytes: u64,
) -> Vec<Span<'a>> {
    let ranges = entries.into_iter().map(|entry| (entry, entry.header_offset + entry.header_bytes_max()));
    merged(ranges, max_gap_bytes, max_span_bytes)
}

/// Merges entries, each with the offset at which its range ends.
fn merged<'a>(
    entries: impl Iterator<Item = (&'a Entry, u64)>,
    max_gap_bytes: u64,
    max_span_bytes: u64,
) -> Vec<Span<'a>> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_unstable_by_key(|(entry, _)| entry.header_offset);
    let mut spans: Vec<Span<'a>> = Vec::new();
    for (entry, end) in entries {
        match spans.last_mut() {
            Some(span)
                if entry.header_offset.saturating_sub(span.range.end) <= max_gap_bytes
                    && end - span.range.start <= max_span_bytes =>
            {
                span.range.end = end;
                span.entries.push(entry);
            }
            _ => spans.push(Span { range: entry.header_offset..end, entries: vec![entry] }),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{File, Zip};
    use super::*;

    fn entries(sizes: &[usize]) -> Vec<Entry> {
        let files = sizes
            .iter()
            .enumerate()
            .map(|(number, size)| File::stored(&format!("{number:04}"), &vec![b'x'; size - 34]));
        let zip = Zip { files: files.collect(), ..Zip::default() };
        zip.parse().unwrap().entries
    }

    fn ranges(entries: &[&Entry], max_gap_bytes: u64, max_span_bytes: u64) -> Vec<Range<u64>> {
        let spans = spans(entries.iter().copied(), max_gap_bytes, max_span_bytes);
        spans.into_iter().map(|span| span.range).collect()
    }

    #[test]
    fn neighbours_are_read_together_up_to_a_gap_and_a_size() {
        let all = entries(&[100, 50, 100, 1_000, 100]);
        let [a, gap, b, large, c] = &all[..] else { panic!() };
        assert_eq!(ranges(&[], 0, 300), []);
        assert_eq!(ranges(&[b, a], 50, 300), vec![0..250_u64; 1]);
        assert_eq!(ranges(&[b, a], 49, 300), [0..100, 150..250]);
        assert_eq!(ranges(&[b, a], 50, 249), [0..100, 150..250]);
        assert_eq!(ranges(&[a, gap, b], 0, 300), vec![0..250_u64; 1]);
        assert_eq!(ranges(&[a, b, large, c], 50, 300), [0..250, 250..1_250, 1_250..1_350]);
    }

    #[test]
    fn headers_are_read_together_with_data_up_to_a_gap() {
        let all = entries(&[100, 150, 200]);
        let ranges = |max_gap_bytes| -> Vec<_> {
            let spans = header_spans(&all, max_gap_bytes, 400);
            spans.into_iter().map(|span| span.range).collect()
        };
        // 30 bytes and a name of four.
        assert_eq!(ranges(65), [0..34, 100..134, 250..284]);
        assert_eq!(ranges(66), [0..134, 250..284]);
        assert_eq!(ranges(116), vec![0..284_u64; 1]);
    }

    proptest! {
        #[test]
        fn each_entry_is_in_one_span(
            sizes in prop::collection::vec((34_usize..200, any::<bool>()), 1..40),
            max_gap_bytes in 0_u64..300,
            max_span_bytes in 1_u64..600,
        ) {
            let all = entries(&sizes.iter().map(|(size, _)| *size).collect::<Vec<_>>());
            let wanted: Vec<&Entry> = all
                .iter()
                .zip(&sizes)
                .filter_map(|(entry, (_, is_wanted))| is_wanted.then_some(entry))
                .collect();
            let spans = spans(wanted.iter().copied(), max_gap_bytes, max_span_bytes);
            let read: Vec<&Entry> = spans.iter().flat_map(|span| span.entries.clone()).collect();
            prop_assert_eq!(read, wanted);
            for span in &spans {
                let bytes = span.range.end - span.range.start;
                prop_assert!(bytes <= max_span_bytes || span.entries.len() == 1);
                for entry in &span.entries {
                    prop_assert!(span.range.start <= entry.header_offset);
                    prop_assert!(entry.end_offset <= span.range.end);
                }
            }
            for pair in spans.windows(2) {
                prop_assert!(pair[0].range.end <= pair[1].range.start);
            }
        }
    }
}
