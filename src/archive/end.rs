//! The end of an archive: end record, and ZIP64's locator and end record before it.

use super::Rejection;
use super::cursor::Cursor;

/// APPNOTE 4.3.16: end of central directory record.
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
/// APPNOTE 4.3.15: ZIP64 end of central directory locator.
const LOCATOR_SIGNATURE: u32 = 0x0706_4b50;
const LOCATOR_BYTES: usize = 20;
/// APPNOTE 4.3.14: ZIP64 end of central directory record.
const END64_SIGNATURE: u32 = 0x0606_4b50;
const END64_BYTES: usize = 56;

/// The last bytes of an archive in which all of these records lie, after the longest comment.
pub(super) const END_SEARCH_BYTES: u64 = (END64_BYTES + LOCATOR_BYTES + END_BYTES + COMMENT_BYTES_MAX) as u64;
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;

/// Where the central directory is and how many entries it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DirectoryLocation {
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
    pub(super) entry_count: u64,
}

/// Finds the central directory from the last bytes of an archive, at least
/// [`END_SEARCH_BYTES`] of them or all there are; `tail_offset` is where they start.
///
/// Everything must touch: directory, ZIP64 records, end record, comment, end of file. Readers
/// differ in which of two records they believe, and in whether they shift offsets by the bytes in
/// front of an archive; where all touches there is nothing to differ about.
pub(super) fn find_directory(tail: &[u8], tail_offset: u64) -> Result<DirectoryLocation, Rejection> {
    let end_at = find_end_record(tail)?;
    let end = EndRecord::parse(&tail[end_at..]).ok_or(Rejection::NotAZip)?;
    let Some(locator_at) = end_at.checked_sub(LOCATOR_BYTES) else {
        return end.location(tail_offset + end_at as u64);
    };
    let mut locator = Cursor::new(&tail[locator_at..end_at]);
    if locator.u32() != Some(LOCATOR_SIGNATURE) {
        return end.location(tail_offset + end_at as u64);
    }
    let (Some(disk), Some(end64_offset), Some(disk_count)) = (locator.u32(), locator.u64(), locator.u32()) else {
        return Err(Rejection::Zip64End("its locator is cut short"));
    };
    if disk != 0 || disk_count != 1 {
        return Err(Rejection::SeveralDisks);
    }
    match locator_at.checked_sub(END64_BYTES) {
        Some(end64_at) if tail_offset + end64_at as u64 == end64_offset => {
            end.location64(&tail[end64_at..locator_at], end64_offset)
        }
        _ => Err(Rejection::Zip64End("it does not lie right before its locator")),
    }
}

/// Finds the only record that can be the end record.
///
/// One whose comment reaches the end of the file is plausible, and the last signature is what many
/// readers (Python's zipfile among them) take without looking at the comment's length.
fn find_end_record(tail: &[u8]) -> Result<usize, Rejection> {
    let search_from = tail.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let mut last = None;
    let mut plausible = None;
    for at in (search_from..tail.len()).rev() {
        if !tail[at..].starts_with(END_SIGNATURE) {
            continue;
        }
        last = last.or(Some(at));
        let Some(end) = EndRecord::parse(&tail[at..]) else {
            continue;
        };
        if at + END_BYTES + usize::from(end.comment_bytes) == tail.len() {
            plausible = Some(at);
        }
    }
    // With two plausible ones, the one found later is not the last.
    match (last, plausible) {
        (Some(last), Some(plausible)) if last == plausible => Ok(plausible),
        (_, Some(_)) => Err(Rejection::SeveralEndRecords),
        (Some(_), None) => Err(Rejection::TrailingBytes),
        (None, None) => Err(Rejection::NotAZip),
    }
}

struct EndRecord {
    disk: u16,
    directory_disk: u16,
    entry_count_on_disk: u16,
    entry_count: u16,
    directory_bytes: u32,
    directory_offset: u32,
    comment_bytes: u16,
}

impl EndRecord {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        cursor.take(END_SIGNATURE.len())?;
        Some(Self {
            disk: cursor.u16()?,
            directory_disk: cursor.u16()?,
            entry_count_on_disk: cursor.u16()?,
            entry_count: cursor.u16()?,
            directory_bytes: cursor.u32()?,
            directory_offset: cursor.u32()?,
            comment_bytes: cursor.u16()?,
        })
    }

    fn location(&self, end_offset: u64) -> Result<DirectoryLocation, Rejection> {
        if self.disk != 0 || self.directory_disk != 0 || self.entry_count_on_disk != self.entry_count {
            return Err(Rejection::SeveralDisks);
        }
        let location = DirectoryLocation {
            offset: u64::from(self.directory_offset),
            size_bytes: u64::from(self.directory_bytes),
            entry_count: u64::from(self.entry_count),
        };
        location.ends_at(end_offset)
    }

    /// A value may be in both records; then they must be equal.
    fn location64(&self, end64: &[u8], end64_offset: u64) -> Result<DirectoryLocation, Rejection> {
        let end64 = EndRecord64::parse(end64).ok_or(Rejection::Zip64End("it is cut short"))?;
        if end64.signature != END64_SIGNATURE {
            return Err(Rejection::Zip64End("there is none where its locator points"));
        }
        // Its size does not count the signature and the size itself. A longer record carries data
        // of version 2, whose only use is an encrypted directory.
        if end64.remaining_bytes != END64_BYTES as u64 - 12 {
            return Err(Rejection::Zip64End("it has an unusual length"));
        }
        if end64.disk != 0
            || end64.directory_disk != 0
            || end64.entry_count_on_disk != end64.entry_count
            || !same_or_in_zip64_u16(self.disk, 0)
            || !same_or_in_zip64_u16(self.directory_disk, 0)
        {
            return Err(Rejection::SeveralDisks);
        }
        if !same_or_in_zip64_u16(self.entry_count_on_disk, end64.entry_count)
            || !same_or_in_zip64_u16(self.entry_count, end64.entry_count)
            || !same_or_in_zip64_u32(self.directory_bytes, end64.directory_bytes)
            || !same_or_in_zip64_u32(self.directory_offset, end64.directory_offset)
        {
            return Err(Rejection::Zip64End("it disagrees with the other end record"));
        }
        let location = DirectoryLocation {
            offset: end64.directory_offset,
            size_bytes: end64.directory_bytes,
            entry_count: end64.entry_count,
        };
        location.ends_at(end64_offset)
    }
}

fn same_or_in_zip64_u16(narrow: u16, wide: u64) -> bool {
    narrow == u16::MAX || u64::from(narrow) == wide
}

fn same_or_in_zip64_u32(narrow: u32, wide: u64) -> bool {
    narrow == u32::MAX || u64::from(narrow) == wide
}

struct EndRecord64 {
    signature: u32,
    remaining_bytes: u64,
    disk: u32,
    directory_disk: u32,
    entry_count_on_disk: u64,
    entry_count: u64,
    directory_bytes: u64,
    directory_offset: u64,
}

impl EndRecord64 {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let signature = cursor.u32()?;
        let remaining_bytes = cursor.u64()?;
        // Version made by, version needed.
        cursor.take(4)?;
        Some(Self {
            signature,
            remaining_bytes,
            disk: cursor.u32()?,
            directory_disk: cursor.u32()?,
            entry_count_on_disk: cursor.u64()?,
            entry_count: cursor.u64()?,
            directory_bytes: cursor.u64()?,
            directory_offset: cursor.u64()?,
        })
    }
}

impl DirectoryLocation {
    fn ends_at(self, offset: u64) -> Result<Self, Rejection> {
        match self.offset.checked_add(self.size_bytes) {
            Some(end) if end == offset => Ok(self),
            Some(end) if end < offset => Err(Rejection::ShiftedOffsets { by_bytes: offset - end }),
            _ => Err(Rejection::DirectoryOutside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{File, Zip, parse, zip};
    use super::super::{ArchiveIndex, Limits, Parsed};
    use super::*;

    fn page() -> Zip {
        zip([File::stored("index.html", b"<p>hello")])
    }

    #[test]
    fn a_comment_and_a_zip64_end_record_change_nothing() {
        let plain = page().parse().unwrap();
        for zip64 in [false, true] {
            for comment in [&b""[..], b"built by CI", &[b'x'; 65_535]] {
                let zip = Zip { zip64, comment: comment.to_vec(), ..page() };
                assert_eq!(zip.parse().unwrap(), plain);
            }
        }
    }

    #[test]
    fn what_is_no_zip_is_refused() {
        assert_eq!(parse(b""), Err(Rejection::NotAZip));
        assert_eq!(parse(b"<html>"), Err(Rejection::NotAZip));
        assert_eq!(parse(&[b'x'; 70_000]), Err(Rejection::NotAZip));
    }

    #[test]
    fn a_cut_archive_is_refused() {
        let bytes = page().bytes();
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut bytes = page().bytes();
        bytes.push(b'\n');
        assert_eq!(parse(&bytes), Err(Rejection::TrailingBytes));
    }

    #[test]
    fn a_zip_in_the_comment_is_refused() {
        let zip = Zip { comment: page().bytes(), ..page() };
        assert_eq!(zip.rejection(), Rejection::SeveralEndRecords);
    }

    #[test]
    fn an_end_signature_in_the_comment_is_refused() {
        let zip = Zip { comment: b"PK\x05\x06 is how a zip ends".to_vec(), ..page() };
        assert_eq!(zip.rejection(), Rejection::SeveralEndRecords);
    }

    #[test]
    fn a_zip_that_is_a_file_of_the_site_is_deployed() {
        let zip = zip([File::stored("download.zip", &page().bytes())]);
        assert_eq!(&*zip.parse().unwrap().entries[0].name, "download.zip");
    }

    #[test]
    fn bytes_in_front_are_accepted_only_with_true_offsets() {
        let zip = Zip { prefix: b"#!/bin/sh\n".to_vec(), ..page() };
        assert_eq!(zip.parse().unwrap().entries[0].header_offset, 10);
        let mut joined = b"#!/bin/sh\n".to_vec();
        joined.extend(page().bytes());
        assert_eq!(parse(&joined), Err(Rejection::ShiftedOffsets { by_bytes: 10 }));
    }

    #[test]
    fn a_split_archive_is_refused() {
        // Disk, disk of the directory, and entries on this disk.
        for field in [4, 6, 8] {
            let mut bytes = page().bytes();
            let end = bytes.len() - END_BYTES;
            bytes[end + field] += 1;
            assert_eq!(parse(&bytes), Err(Rejection::SeveralDisks), "at {field}");
        }
        let zip64 = Zip { zip64: true, ..page() };
        // The same three, and disk and number of disks in the locator.
        for field in [16, 20, 24, 56 + 4, 56 + 16] {
            let mut bytes = zip64.bytes();
            let end64 = bytes.len() - END_BYTES - LOCATOR_BYTES - END64_BYTES;
            bytes[end64 + field] += 1;
            assert_eq!(parse(&bytes), Err(Rejection::SeveralDisks), "at {field}");
        }
    }

    #[test]
    fn a_zip64_end_record_that_disagrees_is_refused() {
        let zip = Zip { zip64: true, ..page() };
        let end64 = zip.bytes().len() - END_BYTES - LOCATOR_BYTES - END64_BYTES;
        // Signature, length, and the locator's offset; then two values of the other end record.
        for field in [0, 4, 56 + 8] {
            let mut bytes = zip.bytes();
            bytes[end64 + field] += 1;
            assert!(matches!(parse(&bytes), Err(Rejection::Zip64End(_))), "at {field}");
        }
        for field in [8, 10, 12, 16] {
            let mut bytes = zip.bytes();
            let end = bytes.len() - END_BYTES;
            bytes[end + field] = 7;
            assert!(matches!(parse(&bytes), Err(Rejection::Zip64End(_))), "at {field}");
        }
    }

    #[test]
    fn a_directory_outside_the_archive_is_refused() {
        let mut bytes = page().bytes();
        let end = bytes.len() - END_BYTES;
        bytes[end + 16] += 1;
        assert_eq!(parse(&bytes), Err(Rejection::DirectoryOutside));
    }

    #[test]
    fn a_short_tail_asks_for_what_is_missing() {
        let limits = Limits::default();
        let long_name = "n".repeat(1_000);
        let files: Vec<File> = (0..80).map(|number| File::stored(&format!("{long_name}{number}"), b"")).collect();
        let zip = Zip { files, zip64: true, ..Zip::default() };
        let bytes = zip.bytes();
        let mut asked = Vec::new();
        let mut from = bytes.len();
        let index = loop {
            match ArchiveIndex::parse(bytes.len() as u64, &bytes[from..], "", &limits).unwrap() {
                Parsed::Index(index) => break index,
                Parsed::NeedsFrom(offset) => {
                    assert!(offset < from as u64, "each call gets further");
                    from = offset as usize;
                    asked.push(offset);
                }
            }
        };
        let directory_offset = (bytes.len() - 98) as u64 - index.directory_bytes;
        assert_eq!(asked, [bytes.len() as u64 - END_SEARCH_BYTES, directory_offset]);
        assert_eq!(index, parse(&bytes).unwrap());
    }
}
