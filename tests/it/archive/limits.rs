//! Sizes, offsets and counts around the limits, in central directories without an archive.

use dropship::archive::{ArchiveIndex, Limits, Parsed, Selection, spans};

#[test]
fn sizes_and_offsets_past_4_gib_are_read() {
    const LARGE: u64 = (5 << 30) + 1;
    let before = (u64::from(u32::MAX) - HEADER_BYTES) - HEADER_BYTES;
    // The third file starts at 4 GiB - 1, the fourth directly after it, the fifth far beyond.
    let (files, directory_offset) = back_to_back(&[0, before, 0, LARGE, 7]);
    assert_eq!(files[2].2, u64::from(u32::MAX));
    let mut tail: Vec<u8> = files.iter().flat_map(|(name, size, offset)| zip64_header(name, *size, *offset)).collect();
    let directory_bytes = tail.len() as u64;
    tail.extend(zip64_end(files.len() as u64, directory_bytes, directory_offset));
    // Zeros in place of the last entry's end.
    let missing = 70_000 - tail.len();
    tail.splice(0..0, std::iter::repeat_n(0, missing));
    let archive_bytes = directory_offset + tail.len() as u64 - missing as u64;
    let parsed = ArchiveIndex::parse(archive_bytes, &tail, &Selection::ALL, &Limits::default());
    let Ok(Parsed::Index(index)) = parsed else { panic!("{parsed:?}") };
    let read: Vec<_> =
        index.entries.iter().map(|entry| (entry.name.to_string(), entry.size_bytes, entry.header_offset)).collect();
    assert_eq!(read, files);
    let spans = spans(&index.entries, 4_096, 1 << 20);
    let ranges: Vec<_> = spans.iter().map(|span| span.range.clone()).collect();
    let starts: Vec<u64> = files.iter().map(|(_, _, start)| *start).collect();
    let alone = |number: usize| starts[number]..starts[number + 1];
    let last = starts[4]..directory_offset;
    assert_eq!(ranges, [alone(0), alone(1), alone(2), alone(3), last]);

    // The same archive exceeds a limit of the large file's size.
    let limits = Limits { max_expanded_bytes: LARGE, ..Limits::default() };
    let refused = ArchiveIndex::parse(archive_bytes, &tail, &Selection::ALL, &limits);
    assert!(refused.unwrap_err().to_string().contains("MAX_ARCHIVE_BYTES"));
}

/// The size of a local header with a name of one letter and a ZIP64 field of two sizes.
const HEADER_BYTES: u64 = 30 + 1 + 20;

/// Places files of these sizes one after another, and returns their names, sizes and offsets, and the end.
fn back_to_back(sizes: &[u64]) -> (Vec<(String, u64, u64)>, u64) {
    let mut offset = 0;
    let mut files = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        files.push((char::from(b'a' + number as u8).to_string(), *size, offset));
        offset += HEADER_BYTES + size;
    }
    (files, offset)
}

#[test]
fn a_directory_over_the_limits_is_refused_by_its_end_record_alone() {
    for (count, bytes, words) in
        [(900_000, 200_000_000, "central directory has 200000000 bytes"), (2_000_000, 100_000_000, "MAX_ENTRIES")]
    {
        let offset = 1 << 30;
        let mut tail = vec![0; 70_000];
        tail.extend(zip64_end(count, bytes, offset));
        let archive_bytes = offset + bytes + 98;
        let refused = ArchiveIndex::parse(archive_bytes, &tail, &Selection::ALL, &Limits::default());
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn entries_that_share_their_data_are_refused() {
    // Each of 60,000 entries has a name of its own and would expand to the same megabyte.
    let count = 60_000_u64;
    // The end of the data: zero bytes before the directory could be padding.
    let mut tail = vec![b'x'; 4_096];
    for number in 0..count {
        tail.extend(zip64_header(&format!("{number:05}"), 1 << 20, number));
    }
    let directory_bytes = tail.len() as u64 - 4_096;
    let offset = 2 << 20;
    tail.extend(zip64_end(count, directory_bytes, offset));
    let refused = ArchiveIndex::parse(offset - 4_096 + tail.len() as u64, &tail, &Selection::ALL, &Limits::default());
    let limits = refused.unwrap_err().to_string();
    // 60,000 MiB exceed the size limit first; without that limit, the overlap is refused.
    assert!(limits.contains("MAX_ARCHIVE_BYTES"), "{limits}");
    let limits = Limits { max_expanded_bytes: u64::MAX, ..Limits::default() };
    let refused = ArchiveIndex::parse(offset - 4_096 + tail.len() as u64, &tail, &Selection::ALL, &limits);
    let reason = refused.unwrap_err().to_string();
    assert!(reason.contains("overlaps"), "{reason}");
}

/// Returns the central directory header of a stored file whose sizes and offset are in a ZIP64 field.
fn zip64_header(name: &str, size_bytes: u64, header_offset: u64) -> Vec<u8> {
    let mut header = b"PK\x01\x02\x2d\x03\x2d\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend(0_u32.to_le_bytes());
    header.extend([0xff; 8]);
    header.extend((name.len() as u16).to_le_bytes());
    header.extend(28_u16.to_le_bytes());
    header.extend([0; 10]);
    header.extend([0xff; 4]);
    header.extend(name.as_bytes());
    header.extend(b"\x01\0\x18\0");
    for value in [size_bytes, size_bytes, header_offset] {
        header.extend(value.to_le_bytes());
    }
    header
}

/// Returns the ZIP64 end records of an archive.
fn zip64_end(count: u64, directory_bytes: u64, directory_offset: u64) -> Vec<u8> {
    let mut end = b"PK\x06\x06".to_vec();
    end.extend(44_u64.to_le_bytes());
    end.extend(b"\x2d\x03\x2d\0\0\0\0\0\0\0\0\0");
    for value in [count, count, directory_bytes, directory_offset] {
        end.extend(value.to_le_bytes());
    }
    end.extend(b"PK\x06\x07\0\0\0\0");
    end.extend((directory_offset + directory_bytes).to_le_bytes());
    end.extend(b"\x01\0\0\0PK\x05\x06\0\0\0\0");
    end.extend([0xff; 12]);
    end.extend([0, 0]);
    end
}
