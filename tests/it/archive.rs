//! The archive reader against archives of other tools, damaged archives, and arbitrary bytes.

pub mod corpus;
mod limits;

use bytes::Bytes;
use dropship::archive::{ArchiveIndex, Limits, Parsed, Selection, inflate, spans};
use proptest::prelude::*;
use standins::quine;
use zip::CompressionMethod;
use zip::CompressionMethod::{Deflated, Stored, Zstd};
use zip::write::SimpleFileOptions;

use crate::build::{Entry, packed_entries, unzipped};

/// The names and bodies of an archive's entries.
pub type Contents = Vec<(String, Bytes)>;

/// Reads every entry that would be deployed, as a deployment does: first the tail, then spans.
///
/// The entries are sorted by name, and errors are returned as text.
pub fn contents(archive: &[u8]) -> Result<Contents, String> {
    let index = index(archive)?;
    let mut contents = Contents::new();
    for span in spans(&index.entries, 64, 4_096) {
        let bytes = &archive[span.range.start as usize..span.range.end as usize];
        for entry in span.entries {
            let at = (entry.header_offset - span.range.start) as usize;
            let data = entry.data_range(&bytes[at..]).map_err(|error| error.to_string())?;
            let compressed = Bytes::copy_from_slice(&bytes[at..][data]);
            let inflated = inflate(entry, compressed).map_err(|error| error.to_string())?;
            contents.push((entry.name.to_string(), inflated));
        }
    }
    contents.sort();
    Ok(contents)
}

/// Reads the central directory from the tail of an archive, and more of it if necessary.
fn index(archive: &[u8]) -> Result<ArchiveIndex, String> {
    let mut from = archive.len().saturating_sub(1_000);
    loop {
        let parsed = ArchiveIndex::parse(archive.len() as u64, &archive[from..], &Selection::ALL, &Limits::default());
        match parsed.map_err(|error| error.to_string())? {
            Parsed::Index(index) => return Ok(index),
            Parsed::NeedsFrom(offset) => {
                assert!(offset < from as u64, "each call must ask for more of the archive");
                from = offset as usize;
            }
        }
    }
}

#[derive(Clone, Debug)]
struct File {
    name: String,
    contents: Vec<u8>,
    method: CompressionMethod,
    is_zip64: bool,
}

fn file() -> impl Strategy<Value = File> {
    let byte = prop_oneof![4 => 0_u8..3, 1 => any::<u8>()];
    (
        "[a-c]{1,3}(/[.é日a-c-]{1,2}x){0,2}\\.html",
        prop::collection::vec(byte, 0..300),
        prop::sample::select(vec![Stored, Deflated, Zstd]),
        any::<bool>(),
    )
        .prop_map(|(name, contents, method, is_zip64)| File { name, contents, method, is_zip64 })
}

fn files() -> impl Strategy<Value = Vec<File>> {
    prop::collection::vec(file(), 1..8).prop_map(|mut files| {
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|a, b| a.name == b.name);
        files.reverse();
        files
    })
}

fn expected(files: &[File]) -> Contents {
    let mut contents: Contents = files.iter().map(|file| (file.name.clone(), file.contents.clone().into())).collect();
    contents.sort();
    contents
}

/// Packs files with the `zip` crate, into a file or into a stream that cannot seek.
fn packed(files: &[File], comment: &str, is_streamed: bool) -> Vec<u8> {
    let entries = files.iter().map(|file| Entry {
        name: &file.name,
        body: &file.contents,
        options: SimpleFileOptions::default().compression_method(file.method).large_file(file.is_zip64),
    });
    packed_entries(entries, comment, is_streamed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn archives_of_the_zip_crate_are_read_correctly(
        files in files(),
        comment in "[a-z ]{0,20}",
        is_streamed in any::<bool>(),
    ) {
        let archive = packed(&files, &comment, is_streamed);
        prop_assert_eq!(contents(&archive), Ok(expected(&files)));
    }

    #[test]
    fn a_changed_byte_is_refused_or_changes_nothing(
        files in files(),
        is_streamed in any::<bool>(),
        at in any::<prop::sample::Index>(),
        flipped in 1_u8..=255,
    ) {
        let mut archive = packed(&files, "built by CI", is_streamed);
        let at = at.index(archive.len());
        archive[at] ^= flipped;
        if let Ok(contents) = contents(&archive) {
            prop_assert_eq!(contents, expected(&files), "byte {}", at);
        }
    }

    #[test]
    fn a_moved_piece_never_causes_a_panic(
        files in files(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        length in 1_usize..64,
    ) {
        let mut archive = packed(&files, "", false);
        let from = from.index(archive.len());
        let piece = archive[from..archive.len().min(from + length)].to_vec();
        let to = to.index(archive.len() - piece.len() + 1);
        archive[to..to + piece.len()].copy_from_slice(&piece);
        let _ = contents(&archive);
    }

    #[test]
    fn arbitrary_bytes_never_cause_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        directory_bytes in 0_u32..200,
        directory_offset in 0_u32..200,
        count in 0_u16..4,
    ) {
        let _ = contents(&bytes);
        // An end record makes the reader parse the directory.
        bytes.extend(b"PK\x05\x06\0\0\0\0");
        bytes.extend(count.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(directory_bytes.to_le_bytes());
        bytes.extend(directory_offset.to_le_bytes());
        bytes.extend([0, 0]);
        let _ = contents(&bytes);
    }
}

#[test]
fn every_flipped_bit_of_one_archive_is_refused_or_changes_nothing() {
    let file = |name: &str, method, is_zip64| File {
        name: name.to_owned(),
        contents: b"hello hello hello hello".to_vec(),
        method,
        is_zip64,
    };
    let files = [
        file("index.html", Deflated, false),
        file("a/é.html", Stored, false),
        file("b.html", Deflated, true),
        file("c.html", Zstd, false),
    ];
    for is_streamed in [false, true] {
        let archive = packed(&files, "", is_streamed);
        assert_eq!(contents(&archive), Ok(expected(&files)));
        for at in 0..archive.len() {
            for bit in 0..8 {
                let mut changed = archive.clone();
                changed[at] ^= 1 << bit;
                if let Ok(contents) = contents(&changed) {
                    assert_eq!(contents, expected(&files), "byte {at}, bit {bit}");
                }
            }
        }
    }
}

#[test]
fn a_quine_is_read_as_the_one_file_it_contains() {
    let quine = quine::quine();
    // Another reader, which also checks the CRC-32, confirms that it is a quine.
    assert!(unzipped(&quine)[quine::NAME] == quine);
    // To the product's reader a zip is a file like any other: only a recursive unpacker would never end.
    let expected = vec![(quine::NAME.to_owned(), quine.clone().into())];
    assert_eq!(contents(&quine), Ok(expected));
}
