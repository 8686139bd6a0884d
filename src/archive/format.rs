//! Files that people upload in place of a zip, by their names and by their first bytes.

use super::Rejection;

/// How many of a file's first bytes tell its format: a tar archive has its mark at 257.
pub const FORMAT_BYTES: u64 = 512;

const TAR: &str = "a tar archive";
const TAR_GZ: &str = "a gzip-compressed tar archive";
const TAR_ZST: &str = "a zstd-compressed tar archive";
const TAR_BZ2: &str = "a bzip2-compressed tar archive";
const TAR_XZ: &str = "an xz-compressed tar archive";
const SEVEN_Z: &str = "a 7z archive";
const RAR: &str = "a RAR archive";
const HTML: &str = "an HTML page, most likely the error page of a download";
const XML: &str = "an XML document, most likely the error of a download";

/// The endings of names, longer ones first.
const ENDINGS: [(&str, &str); 13] = [
    (".tar.gz", TAR_GZ),
    (".tgz", TAR_GZ),
    (".tar.zst", TAR_ZST),
    (".tzst", TAR_ZST),
    (".tar.bz2", TAR_BZ2),
    (".tbz2", TAR_BZ2),
    (".tar.xz", TAR_XZ),
    (".txz", TAR_XZ),
    (".tar", TAR),
    (".7z", SEVEN_Z),
    (".rar", RAR),
    (".gz", "a gzip-compressed file"),
    (".zst", "a zstd-compressed file"),
];

/// The first bytes of files that are no zips (`file`'s magic numbers).
const MARKS: [(&[u8], &str); 6] = [
    (b"\x1f\x8b", "gzip-compressed data, such as a `.tar.gz`"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data, such as a `.tar.zst`"),
    (b"\xfd7zXZ\0", "xz-compressed data, such as a `.tar.xz`"),
    (b"BZh", "bzip2-compressed data, such as a `.tar.bz2`"),
    (b"7z\xbc\xaf\x27\x1c", SEVEN_Z),
    (b"Rar!\x1a\x07", RAR),
];

/// Returns whether a file is a zip by its name.
pub fn is_named_zip(name: &str) -> bool {
    has_ending(name, ".zip")
}

/// Returns what a file is by its name, if that is another kind of archive.
pub fn other_by_name(name: &str) -> Option<&'static str> {
    ENDINGS.iter().find(|(ending, _)| has_ending(name, ending)).map(|(_, format)| *format)
}

fn has_ending(name: &str, ending: &str) -> bool {
    let start = name.len().checked_sub(ending.len());
    start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
}

impl Rejection {
    /// Says what a file without an end record is, by its first [`FORMAT_BYTES`].
    pub fn of_no_zip(first: &[u8]) -> Self {
        if first.starts_with(b"PK\x03\x04") {
            return Self::CutOff;
        }
        match other_by_content(first) {
            Some(format) => Self::OtherFormat { name: "the archive".to_owned(), format },
            None => Self::NotAZip,
        }
    }
}

fn other_by_content(first: &[u8]) -> Option<&'static str> {
    if first.is_empty() {
        return Some("an empty file");
    }
    if let Some((_, format)) = MARKS.iter().find(|(mark, _)| first.starts_with(mark)) {
        return Some(format);
    }
    // POSIX, "ustar Interchange Format".
    if first.get(257..262) == Some(b"ustar") {
        return Some(TAR);
    }
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    if begins("<!doctype html") || begins("<html") {
        Some(HTML)
    } else if begins("<?xml") || begins("<error") {
        Some(XML)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_of_another_kind_is_known_by_its_name() {
        for (name, format) in [
            ("uploads/site.tar.gz", TAR_GZ),
            ("site.TGZ", TAR_GZ),
            ("site.tar.zst", TAR_ZST),
            ("site.tar.bz2", TAR_BZ2),
            ("site.tar.xz", TAR_XZ),
            ("site.tar", TAR),
            ("site.7z", SEVEN_Z),
            ("site.RAR", RAR),
            ("site.gz", "a gzip-compressed file"),
        ] {
            assert_eq!(other_by_name(name), Some(format), "{name}");
        }
        for name in ["site.zip", "site", "site.zip.sha256", "a/", "tar", "é", "site.tar.gz/"] {
            assert_eq!(other_by_name(name), None, "{name}");
        }
        assert!(is_named_zip("a/SITE.Zip") && !is_named_zip("zip") && !is_named_zip("site.zip/"));
    }

    #[test]
    fn a_file_that_is_no_zip_is_known_by_its_first_bytes() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        let files: [&[u8]; 13] = [
            b"",
            b"\x1f\x8b\x08",
            b"\x28\xb5\x2f\xfd\0",
            b"\xfd7zXZ\0",
            b"BZh9",
            b"7z\xbc\xaf\x27\x1c",
            b"Rar!\x1a\x07\0",
            &tar,
            b"\xef\xbb\xbf\r\n<!DOCTYPE HTML>",
            b"<html>",
            b"<?xml version='1.0'?><Error>",
            b"PK\x03\x04 and so on",
            b"this is no zip",
        ];
        let messages = files.map(|first| Rejection::of_no_zip(first).to_string());
        insta::assert_snapshot!(messages.join("\n"), @"
        the archive is an empty file; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is gzip-compressed data, such as a `.tar.gz`; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is zstd-compressed data, such as a `.tar.zst`; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is xz-compressed data, such as a `.tar.xz`; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is bzip2-compressed data, such as a `.tar.bz2`; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is a 7z archive; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is a RAR archive; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is a tar archive; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is an HTML page, most likely the error page of a download; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is an HTML page, most likely the error page of a download; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is an XML document, most likely the error of a download; dropship takes zip files, so pack the contents of the site's folder as a zip
        the archive is a zip, but its last 64 KiB have no end record: it was cut short, or bytes follow its end; upload it again, exactly as it was packed
        the archive is not a zip, or its end is missing (it has no end record); upload a complete zip
        ");
    }
}
