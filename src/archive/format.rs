//! Files that people upload in place of a zip, by their names and by their first bytes.

use std::ops::Range;

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

const SPLIT: &str = "a part of a split archive";
const LFS: &str = "a pointer of Git LFS and not the file itself, which `git lfs pull` fetches";
const FORM: &str = "the form of an upload, as `curl -F` sends it (`curl -T` sends the file alone)";
const BASE64: &str = "the base64 text of a zip, which must be decoded before the upload";
const JSON: &str = "a JSON document, most likely the error of a download";

/// The endings of names, longer ones first.
const ENDINGS: [(&str, &str); 28] = [
    (".tar.gz", TAR_GZ),
    (".tgz", TAR_GZ),
    (".tar.zst", TAR_ZST),
    (".tzst", TAR_ZST),
    (".tar.bz2", TAR_BZ2),
    (".tbz2", TAR_BZ2),
    (".tbz", TAR_BZ2),
    (".tar.xz", TAR_XZ),
    (".txz", TAR_XZ),
    (".tar.lz", "an lzip-compressed tar archive"),
    (".tlz", "an lzip-compressed tar archive"),
    (".tar.lzma", "an lzma-compressed tar archive"),
    (".tar.lz4", "an lz4-compressed tar archive"),
    (".tar.br", "a brotli-compressed tar archive"),
    (".tar.z", "a tar archive from `compress`"),
    (".tar", TAR),
    (".zipx", "a WinZip archive with newer compression methods"),
    (".zip.001", SPLIT),
    (".7z.001", SPLIT),
    (".z01", SPLIT),
    (".cab", "a cabinet file"),
    (".lz4", "an lz4-compressed file"),
    (".bz2", "a bzip2-compressed file"),
    (".xz", "an xz-compressed file"),
    (".7z", SEVEN_Z),
    (".rar", RAR),
    (".gz", "a gzip-compressed file"),
    (".zst", "a zstd-compressed file"),
];

/// The first bytes of files that are no zips (`file`'s magic numbers).
const MARKS: [(&[u8], &str); 12] = [
    (b"\x1f\x8b", "gzip-compressed data, such as a `.tar.gz`"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data, such as a `.tar.zst`"),
    (b"\xfd7zXZ\0", "xz-compressed data, such as a `.tar.xz`"),
    (b"BZh", "bzip2-compressed data, such as a `.tar.bz2`"),
    (b"7z\xbc\xaf\x27\x1c", SEVEN_Z),
    (b"Rar!\x1a\x07", RAR),
    (b"LZIP", "lzip-compressed data, such as a `.tar.lz`"),
    (b"\x04\x22\x4d\x18", "lz4-compressed data, such as a `.tar.lz4`"),
    (b"MSCF\0", "a cabinet file"),
    // The Git LFS specification, "The Pointer".
    (b"version https://git-lfs.github.com/spec/", LFS),
    (b"UEsDB", BASE64),
    (b"UEsFB", BASE64),
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
    /// Says what a file is whose end is not that of a zip, by its first [`FORMAT_BYTES`]. The end may be that of a zip
    /// which is inside of the file.
    pub fn or_by_content(self, first: &[u8]) -> Self {
        match other_by_content(first) {
            Some(format) => Self::OtherFormat { name: "the archive".to_owned(), format },
            None if self == Self::NotAZip && first.starts_with(b"PK\x03\x04") => Self::CutOff,
            None => self,
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
    if is_tar(first) {
        return Some(TAR);
    }
    let text = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first).trim_ascii_start();
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    if begins("--") && String::from_utf8_lossy(text).to_ascii_lowercase().contains("content-disposition: form-data") {
        Some(FORM)
    } else if begins("<!doctype html") || begins("<html") || begins("<!--") {
        Some(HTML)
    } else if begins("<?xml") || begins("<error") {
        Some(XML)
    } else if begins("{\"") || begins("{\n") || begins("{\r\n") {
        Some(JSON)
    } else {
        None
    }
}

/// Whether the first block is the header of a tar archive, whose mark came with POSIX ("ustar Interchange Format"). The
/// sum of all bytes, with spaces in its own place, has been there before.
fn is_tar(first: &[u8]) -> bool {
    const SUM: Range<usize> = 148..156;
    let Some(header) = first.get(..512) else {
        return false;
    };
    let octal = String::from_utf8_lossy(&header[SUM]);
    let stated = u32::from_str_radix(octal.trim_matches(['\0', ' ']), 8);
    let bytes = header.iter().enumerate();
    let sum: u32 = bytes.map(|(at, byte)| u32::from(if SUM.contains(&at) { b' ' } else { *byte })).sum();
    &header[257..262] == b"ustar" || stated == Ok(sum)
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
            ("site.bz2", "a bzip2-compressed file"),
            ("site.XZ", "an xz-compressed file"),
            ("site.tbz", TAR_BZ2),
            ("site.tar.lz", "an lzip-compressed tar archive"),
            ("site.tar.lzma", "an lzma-compressed tar archive"),
            ("site.tar.lz4", "an lz4-compressed tar archive"),
            ("site.tar.br", "a brotli-compressed tar archive"),
            ("site.tar.Z", "a tar archive from `compress`"),
            ("site.zipx", "a WinZip archive with newer compression methods"),
            ("site.zip.001", SPLIT),
            ("site.z01", SPLIT),
            ("site.cab", "a cabinet file"),
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
        // Before POSIX, tar had no mark: a name, then numbers in octal.
        let mut old_tar = vec![0; 512];
        old_tar[..10].copy_from_slice(b"index.html");
        old_tar[100..108].copy_from_slice(b"0000644\0");
        old_tar[124..136].copy_from_slice(b"00000000004\0");
        let sum = old_tar.iter().map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
        old_tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let files: [&[u8]; 22] = [
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
            b"<!-- 404 --><!DOCTYPE html>",
            b"LZIP\x01",
            b"\x04\x22\x4d\x18",
            b"MSCF\0",
            &old_tar,
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a",
            b"--------------------------d74496d66958873e\r\nContent-Disposition: form-data; name=\"file\"\r\n",
            b"UEsDBBQAAAAIAA==",
            b"{\"message\":\"Not Found\"}",
            b"PK\x03\x04 and so on",
            b"this is no zip",
        ];
        let messages = files.map(|first| Rejection::NotAZip.or_by_content(first).to_string());
        let advice = "; dropship takes zip files, so pack the contents of the site's folder as a zip";
        insta::assert_snapshot!(messages.map(|message| message.replace(advice, "")).join("\n"), @"
        the archive is an empty file
        the archive is gzip-compressed data, such as a `.tar.gz`
        the archive is zstd-compressed data, such as a `.tar.zst`
        the archive is xz-compressed data, such as a `.tar.xz`
        the archive is bzip2-compressed data, such as a `.tar.bz2`
        the archive is a 7z archive
        the archive is a RAR archive
        the archive is a tar archive
        the archive is an HTML page, most likely the error page of a download
        the archive is an HTML page, most likely the error page of a download
        the archive is an XML document, most likely the error of a download
        the archive is an HTML page, most likely the error page of a download
        the archive is lzip-compressed data, such as a `.tar.lz`
        the archive is lz4-compressed data, such as a `.tar.lz4`
        the archive is a cabinet file
        the archive is a tar archive
        the archive is a pointer of Git LFS and not the file itself, which `git lfs pull` fetches
        the archive is the form of an upload, as `curl -F` sends it (`curl -T` sends the file alone)
        the archive is the base64 text of a zip, which must be decoded before the upload
        the archive is a JSON document, most likely the error of a download
        the archive is a zip, but its last 64 KiB have no end record: it was cut short, or bytes follow its end; upload it again, exactly as it was packed
        the archive is not a zip, or its end is missing (it has no end record); upload a complete zip
        ");
    }
}
