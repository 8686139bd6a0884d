//! Names of entries: which bytes they are, and which of them may become keys.

use thiserror::Error;

use super::cursor::Cursor;

/// Why a name is not safe to use as a key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameProblem {
    #[error("is empty")]
    Empty,
    #[error("is absolute; pack the folder's contents with relative names")]
    Absolute,
    #[error("starts with a drive letter; pack the folder's contents with relative names")]
    DriveLetter,
    #[error(
        "has a backslash, which zip does not use between folders; older versions of PowerShell's \
         Compress-Archive and of .NET write it: pack with PowerShell 7, `tar -a` or 7-Zip"
    )]
    Backslash,
    #[error("has a `..` component and could leave the archive's root")]
    ParentFolder,
    #[error("has a `.` component; pack with `*` in place of `.`")]
    CurrentFolder,
    #[error("has an empty component (two slashes in a row)")]
    EmptyComponent,
    #[error("has a control character")]
    ControlCharacter,
}

/// Checks a name, `/`-separated, of a file or (with its trailing slash) of a folder.
pub(super) fn check(name: &str) -> Result<(), NameProblem> {
    let path = name.strip_suffix('/').unwrap_or(name);
    let bytes = path.as_bytes();
    if name.is_empty() {
        return Err(NameProblem::Empty);
    }
    if name.starts_with('/') {
        return Err(NameProblem::Absolute);
    }
    if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
        return Err(NameProblem::DriveLetter);
    }
    if bytes.contains(&b'\\') {
        return Err(NameProblem::Backslash);
    }
    let has_control =
        if path.is_ascii() { bytes.iter().any(u8::is_ascii_control) } else { path.chars().any(char::is_control) };
    if has_control {
        return Err(NameProblem::ControlCharacter);
    }
    for component in path.split('/') {
        match component {
            "" => return Err(NameProblem::EmptyComponent),
            "." => return Err(NameProblem::CurrentFolder),
            ".." => return Err(NameProblem::ParentFolder),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a file is what a desktop leaves behind rather than part of a site.
pub(super) fn is_desktop_metadata(name: &str) -> bool {
    name.starts_with("__MACOSX/") || name.contains("/__MACOSX/") || matches!(file_name(name), ".DS_Store" | "Thumbs.db")
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Why the bytes of a name do not say which name it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NameDecodeError {
    /// Not ASCII, and nothing says that it is UTF-8.
    UnknownEncoding,
    UnicodePath(&'static str),
}

/// What in a header tells how its name is to be read.
pub(super) struct NameEncoding<'a> {
    /// General purpose flag 11.
    pub(super) is_utf8: bool,
    /// The header was made on Unix or macOS, whose names have been UTF-8 for decades. Debian's
    /// `zip` writes them without the flag.
    pub(super) made_on_unix: bool,
    /// The data of Info-ZIP's Unicode path field.
    pub(super) unicode_path: Option<&'a [u8]>,
}

impl<'a> NameEncoding<'a> {
    pub(super) fn decode(&self, raw: &'a [u8]) -> Result<&'a str, NameDecodeError> {
        if let Some(field) = self.unicode_path {
            let name = unicode_path(field, raw).map_err(NameDecodeError::UnicodePath)?;
            if self.is_utf8 && name.as_bytes() != raw {
                return Err(NameDecodeError::UnicodePath("gives another name than the UTF-8 one"));
            }
            return Ok(name);
        }
        let name = str::from_utf8(raw).map_err(|_| NameDecodeError::UnknownEncoding)?;
        if self.is_utf8 || self.made_on_unix || name.is_ascii() {
            Ok(name)
        } else {
            Err(NameDecodeError::UnknownEncoding)
        }
    }
}

/// Reads Info-ZIP's Unicode path field (APPNOTE 4.6.9) of the entry that is named `raw`.
///
/// The specification lets a reader ignore a field whose CRC-32 is not the name's. Readers that do
/// and readers that do not would deploy different keys, so it is an error here.
fn unicode_path<'a>(field: &'a [u8], raw: &[u8]) -> Result<&'a str, &'static str> {
    let mut cursor = Cursor::new(field);
    if cursor.byte() != Some(1) {
        return Err("is not of version 1");
    }
    if cursor.u32() != Some(crc32fast::hash(raw)) {
        return Err("belongs to another name (its CRC-32 differs)");
    }
    let name = str::from_utf8(cursor.rest()).map_err(|_| "is not UTF-8")?;
    // Whether it is a folder must not depend on which of the two names a reader takes.
    if name.ends_with('/') != raw.ends_with(b"/") {
        return Err("names a folder where the entry's own name does not, or the other way round");
    }
    Ok(name)
}

/// A name as a message can carry it: one line, and no longer than a person reads.
pub(super) fn printable(name: &[u8]) -> String {
    const SHOWN_CHARS_MAX: usize = 200;
    let name = String::from_utf8_lossy(name);
    let mut shown = String::new();
    for char in name.chars().take(SHOWN_CHARS_MAX) {
        match char {
            '\\' | '\'' | '"' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    if name.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}
