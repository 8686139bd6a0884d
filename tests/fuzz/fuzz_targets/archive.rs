//! Runs the archive reader on arbitrary bytes.
//!
//! It never panics and never takes much memory, and each request for more bytes starts earlier in
//! the archive than the one before.

#![no_main]

#[path = "../../../src"]
#[expect(dead_code, unused_imports, reason = "the target uses only part of the reader")]
mod source {
    pub mod archive;
    pub mod printable;
}

use libfuzzer_sys::fuzz_target;
use source::archive::{ArchiveIndex, Inflater, Limits, Parsed, Selection, Step, spans};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    for root in ["", "a/"] {
        if let Some(index) = index(bytes, root, &limits) {
            read(bytes, &index);
        }
    }
});

fn index(bytes: &[u8], root: &str, limits: &Limits) -> Option<ArchiveIndex> {
    let mut from = bytes.len().saturating_sub(200);
    loop {
        match ArchiveIndex::parse(bytes.len() as u64, &bytes[from..], &Selection { root, ..Selection::ALL }, limits).ok()? {
            Parsed::Index(index) => return Some(index),
            Parsed::NeedsFrom(offset) => {
                assert!(offset < from as u64);
                from = offset as usize;
            }
        }
    }
}

/// Reads all entries into a small output buffer.
fn read(bytes: &[u8], index: &ArchiveIndex) {
    let mut output = Vec::with_capacity(1_000);
    for span in spans(&index.entries, 64, 4_096) {
        let in_span = &bytes[span.range.start as usize..span.range.end as usize];
        for entry in span.entries {
            let at = (entry.header_offset - span.range.start) as usize;
            let header = &in_span[at..][..entry.header_bytes_max() as usize];
            let from_header = entry.data_range(header);
            let Ok(data) = entry.data_range(&in_span[at..]) else {
                continue;
            };
            assert_eq!(from_header.as_ref(), Ok(&data), "the header alone has the same range");
            let mut inflater = Inflater::new(entry);
            let mut input = &in_span[at..][data];
            loop {
                output.clear();
                match inflater.push(&mut input, &mut output) {
                    Ok(Step::OutputFull) => {}
                    Ok(Step::NeedsInput | Step::Done) => {
                        let _ = inflater.finish(entry.crc32);
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }
}
