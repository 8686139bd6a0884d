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

/// How many bytes at the end of an archive contain all of these records, whatever the comment.
pub(super) const END_SEARCH_BYTES: u64 = (END64_BYTES + LOCATOR_BYTES + END_BYTES + COMMENT_BYTES_MAX) as u64;
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;

/// Where the central directory is and how many entries it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DirectoryLocation {
    pub(super) offset: u64,
    pub(super) size_bytes: u64,
    pub(super) entry_count: u64,
}

/// Finds the central directory from the last bytes of an archive, which start at `tail_offset`.
///
/// `tail` holds at least [`END_SEARCH_BYTES`] bytes, or the whole archive.
///
/// Directory, ZIP64 records, end record, comment and end of file must follow each other without a
/// gap, except for zero bytes at the end of the file. Readers differ in which of two records they
/// believe, and in whether they shift offsets by the bytes before an archive; without gaps there is
/// only one reading.
pub(super) fn find_directory(tail: &[u8], tail_offset: u64) -> Result<DirectoryLocation, Rejection> {
    let end_at = find_end_record(tail)?;
    let end = EndRecord::parse(&tail[end_at..]).ok_or(Rejection::NotAZip)?;
    match find_end_record64(&tail[..end_at], tail_offset)? {
        Some(end64_at) => end.location64(&tail[end64_at..], tail_offset + end64_at as u64),
        None => end.location(tail_offset + end_at as u64),
    }
}

/// Finds the ZIP64 end record by its locator, which is right before the end record.
///
/// Returns `None` if there is no locator.
fn find_end_record64(before_end: &[u8], tail_offset: u64) -> Result<Option<usize>, Rejection> {
    let Some(locator_at) = before_end.len().checked_sub(LOCATOR_BYTES) else {
        return Ok(None);
    };
    let mut locator = Cursor::new(&before_end[locator_at..]);
    if locator.u32() != Some(LOCATOR_SIGNATURE) {
        return Ok(None);
    }
    let (Some(disk), Some(end64_offset), Some(disk_count)) = (locator.u32(), locator.u64(), locator.u32()) else {
        return Err(Rejection::Zip64End("its locator is cut short"));
    };
    if disk != 0 || disk_count != 1 {
        return Err(Rejection::SeveralDisks);
    }
    match locator_at.checked_sub(END64_BYTES) {
        Some(end64_at) if tail_offset + end64_at as u64 == end64_offset => Ok(Some(end64_at)),
        _ => Err(Rejection::Zip64End("it is not right before its locator")),
    }
}

/// Finds the only record that can be the end record.
///
/// A record is plausible if its comment reaches the end of the file, or the zero bytes there: bsdtar fills a block of
/// 10,240 bytes with them when it writes to a pipe, and readers pass over them. Many readers, Python's zipfile among
/// them, take the last signature and ignore the comment's length; so both must be the same.
fn find_end_record(tail: &[u8]) -> Result<usize, Rejection> {
    let search_from = tail.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let zeros_from = tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut last = None;
    let mut first_plausible = None;
    for at in (search_from..tail.len()).rev() {
        if !tail[at..].starts_with(END_SIGNATURE) {
            continue;
        }
        last = last.or(Some(at));
        if is_plausible_end(tail, at, zeros_from) {
            first_plausible = Some(at);
        }
    }
    // If there are two plausible records, the first one is not the last signature.
    match (last, first_plausible) {
        (Some(last), Some(plausible)) if last == plausible => Ok(plausible),
        (_, Some(_)) => Err(Rejection::SeveralEndRecords),
        (Some(_), None) => Err(Rejection::TrailingBytes),
        (None, None) => Err(Rejection::NotAZip),
    }
}

fn is_plausible_end(tail: &[u8], at: usize, zeros_from: usize) -> bool {
    let end = EndRecord::parse(&tail[at..]);
    let end = end.map(|end| at + END_BYTES + usize::from(end.comment_bytes));
    end.is_some_and(|end| (zeros_from..=tail.len()).contains(&end))
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
        if self.directory_bytes == u32::MAX || self.directory_offset == u32::MAX {
            return Err(Rejection::Zip64End("it is missing"));
        }
        let location = DirectoryLocation {
            offset: u64::from(self.directory_offset),
            size_bytes: u64::from(self.directory_bytes),
            entry_count: u64::from(self.entry_count),
        };
        location.ends_at(end_offset)
    }

    /// Returns the location that the ZIP64 end record states.
    fn location64(&self, end64: &[u8], end64_offset: u64) -> Result<DirectoryLocation, Rejection> {
        let end64 = EndRecord64::parse(end64).ok_or(Rejection::Zip64End("it is cut short"))?;
        end64.check()?;
        self.check_agreement(&end64)?;
        let location = DirectoryLocation {
            offset: end64.directory_offset,
            size_bytes: end64.directory_bytes,
            entry_count: end64.entry_count,
        };
        location.ends_at(end64_offset)
    }

    /// Refuses two end records of different values: some readers take a value from this one, if it is there.
    fn check_agreement(&self, end64: &EndRecord64) -> Result<(), Rejection> {
        if !agrees_u16(self.disk, 0) || !agrees_u16(self.directory_disk, 0) {
            return Err(Rejection::SeveralDisks);
        }
        if !agrees_u16(self.entry_count_on_disk, end64.entry_count)
            || !agrees_u16(self.entry_count, end64.entry_count)
            || !agrees_u32(self.directory_bytes, end64.directory_bytes)
            || !agrees_u32(self.directory_offset, end64.directory_offset)
        {
            return Err(Rejection::Zip64End("it disagrees with the end record"));
        }
        Ok(())
    }
}

/// Returns whether a value of the end record is the ZIP64 one's, or refers to it by having all bits set.
fn agrees_u16(narrow: u16, wide: u64) -> bool {
    narrow == u16::MAX || u64::from(narrow) == wide
}

fn agrees_u32(narrow: u32, wide: u64) -> bool {
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

    fn check(&self) -> Result<(), Rejection> {
        if self.signature != END64_SIGNATURE {
            return Err(Rejection::Zip64End("its locator points at something else"));
        }
        // The record's size does not count the signature and the size itself. A longer record
        // carries data of version 2, whose only use is an encrypted directory.
        if self.remaining_bytes != END64_BYTES as u64 - 12 {
            return Err(Rejection::Zip64End("its length is not 56 bytes"));
        }
        if self.disk != 0 || self.directory_disk != 0 || self.entry_count_on_disk != self.entry_count {
            return Err(Rejection::SeveralDisks);
        }
        Ok(())
    }
}

impl DirectoryLocation {
    /// Refuses a directory that does not end right before the record at this offset.
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
    use super::super::{ArchiveIndex, Limits, MAX_PADDING_BYTES, Parsed, Selection};
    use super::*;

    fn page() -> Zip {
        zip([File::stored("index.html", b"<p>hello")])
    }

    #[test]
    fn a_comment_or_a_zip64_end_record_changes_nothing() {
        let plain = page().parse().unwrap();
        for zip64 in [false, true] {
            for comment in [&b""[..], b"built by CI", &[b'x'; 65_535]] {
                let zip = Zip { zip64, comment: comment.to_vec(), ..page() };
                assert_eq!(zip.parse().unwrap(), plain);
            }
        }
    }

    #[test]
    fn files_that_are_not_zips_are_refused() {
        assert_eq!(parse(b""), Err(Rejection::NotAZip));
        assert_eq!(parse(b"<html>"), Err(Rejection::NotAZip));
        assert_eq!(parse(&[b'x'; 70_000]), Err(Rejection::NotAZip));
    }

    #[test]
    fn a_truncated_archive_is_refused() {
        let bytes = page().bytes();
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn zero_bytes_after_the_end_change_nothing_and_others_are_refused() {
        let plain = page().parse();
        for (comment, zeros_max) in [(&b""[..], 65_535), (b"built by CI", 65_524), (&[0; 60_000], 5_535)] {
            for zip64 in [false, true] {
                let zip = Zip { zip64, comment: comment.to_vec(), ..page() };
                for zeros in [1, 5_000, zeros_max] {
                    let mut bytes = zip.bytes();
                    bytes.resize(bytes.len() + zeros, 0);
                    assert_eq!(parse(&bytes), plain, "{zeros} after {} bytes of comment", comment.len());
                    *bytes.last_mut().unwrap() = b'\n';
                    assert_eq!(parse(&bytes), Err(Rejection::TrailingBytes), "{zeros}");
                }
                let mut bytes = zip.bytes();
                bytes.resize(bytes.len() + zeros_max + 1, 0);
                assert_eq!(parse(&bytes), Err(Rejection::NotAZip), "readers do not search that far");
            }
        }
    }

    #[test]
    fn a_zip_before_or_after_the_zero_bytes_is_refused() {
        let mut bytes = page().bytes();
        bytes.extend([0; 100]);
        bytes.extend(page().bytes());
        assert!(parse(&bytes).is_err());
        let mut bytes = Zip { comment: page().bytes(), ..page() }.bytes();
        bytes.extend([0; 100]);
        assert_eq!(parse(&bytes), Err(Rejection::SeveralEndRecords));
    }

    #[test]
    fn a_missing_zip64_end_record_is_told() {
        for field in [12, 16] {
            let mut bytes = page().bytes();
            let end = bytes.len() - END_BYTES;
            bytes[end + field..][..4].fill(0xff);
            assert_eq!(parse(&bytes), Err(Rejection::Zip64End("it is missing")), "at {field}");
        }
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
    fn a_zip_inside_the_archive_is_deployed() {
        let zip = zip([File::stored("download.zip", &page().bytes())]);
        assert_eq!(&*zip.parse().unwrap().entries[0].name, "download.zip");
    }

    #[test]
    fn leading_bytes_are_accepted_only_if_the_offsets_count_them() {
        let zip = Zip { prefix: b"#!/bin/sh\n".to_vec(), ..page() };
        assert_eq!(zip.parse().unwrap().entries[0].header_offset, 10);
        let mut joined = b"#!/bin/sh\n".to_vec();
        joined.extend(page().bytes());
        assert_eq!(parse(&joined), Err(Rejection::ShiftedOffsets { by_bytes: 10 }));
    }

    #[test]
    fn a_split_archive_is_refused() {
        // Disk, disk of the directory, number of entries on this disk.
        for field in [4, 6, 8] {
            let mut bytes = page().bytes();
            let end = bytes.len() - END_BYTES;
            bytes[end + field] += 1;
            assert_eq!(parse(&bytes), Err(Rejection::SeveralDisks), "at {field}");
        }
        let zip64 = Zip { zip64: true, ..page() };
        // The same three, then disk and number of disks in the locator.
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
        // In the ZIP64 records: signature, length, and the locator's offset.
        for field in [0, 4, 56 + 8] {
            let mut bytes = zip.bytes();
            bytes[end64 + field] += 1;
            assert!(matches!(parse(&bytes), Err(Rejection::Zip64End(_))), "at {field}");
        }
        // In the end record: the two counts, size and offset of the directory.
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
    fn a_short_tail_asks_for_the_missing_bytes() {
        let limits = Limits::default();
        let long_name = "n".repeat(1_000);
        let files: Vec<File> = (0..80).map(|number| File::stored(&format!("{long_name}{number}"), b"")).collect();
        let zip = Zip { files, zip64: true, ..Zip::default() };
        let bytes = zip.bytes();
        let mut asked = Vec::new();
        let mut from = bytes.len();
        let index = loop {
            match ArchiveIndex::parse(bytes.len() as u64, &bytes[from..], &Selection::ALL, &limits).unwrap() {
                Parsed::Index(index) => break index,
                Parsed::NeedsFrom(offset) => {
                    assert!(offset < from as u64, "each call gets further");
                    from = offset as usize;
                    asked.push(offset);
                }
            }
        };
        let directory_offset = (bytes.len() - 98) as u64 - index.directory_bytes;
        assert_eq!(asked, [bytes.len() as u64 - END_SEARCH_BYTES, directory_offset - MAX_PADDING_BYTES]);
        assert_eq!(index, parse(&bytes).unwrap());
    }
}
