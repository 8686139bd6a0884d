//! Names of entries: which of them may become keys, and how messages show them.

use std::borrow::Cow;

use thiserror::Error;

use super::super::printable::printable;
use super::cursor::Cursor;

/// Why a name is not safe to use as a key.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameProblem {
    #[error("is empty; pack the archive with another tool")]
    Empty,
    #[error("is white space alone; rename the file")]
    Blank,
    #[error("is absolute; pack the folder's contents with relative names")]
    Absolute,
    #[error("starts with a drive letter; pack the folder's contents with relative names")]
    DriveLetter,
    #[error(
        "has a backslash, which does not separate folders in a zip; older versions of PowerShell's Compress-Archive \
         and of .NET write it: pack with 7-Zip, or with `tar -a -c -f site.zip --options hdrcharset=UTF-8 -C dist .`"
    )]
    Backslash,
    #[error("has a `..` component and could leave the archive's root; pack the folder's contents with relative names")]
    ParentFolder,
    #[error("has a `.` component other than a leading `./`; pack the archive with another tool")]
    CurrentFolder,
    #[error("has an empty component (two slashes in a row); pack the archive with another tool")]
    EmptyComponent,
    #[error("has a control character; rename the file")]
    ControlCharacter,
}

/// Returns a name without the `./` that `tar` and others put before every name when they pack `.`.
pub(super) fn without_dot(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"./").unwrap_or(name)
}

/// Checks a `/`-separated name; a folder's name ends with a slash.
pub(super) fn check(name: &str) -> Result<(), NameProblem> {
    let path = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() {
        return Err(NameProblem::Empty);
    }
    // The AWS SDK takes it for no key at all.
    if name.trim().is_empty() {
        return Err(NameProblem::Blank);
    }
    if name.starts_with('/') {
        return Err(NameProblem::Absolute);
    }
    if has_drive_letter(path) {
        return Err(NameProblem::DriveLetter);
    }
    // Windows takes it for a separator, other systems do not.
    if path.contains('\\') {
        return Err(NameProblem::Backslash);
    }
    if has_control_character(path) {
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

fn has_drive_letter(path: &str) -> bool {
    matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic())
}

fn has_control_character(path: &str) -> bool {
    // Most names are ASCII, and bytes are faster to look through than characters.
    if path.is_ascii() { path.bytes().any(|byte| byte.is_ascii_control()) } else { path.chars().any(char::is_control) }
}

/// Returns whether a file is metadata that a desktop leaves in folders, and not part of a site.
pub(super) fn is_desktop_metadata(name: &str) -> bool {
    name.starts_with("__MACOSX/") || name.contains("/__MACOSX/") || matches!(file_name(name), ".DS_Store" | "Thumbs.db")
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Reads Info-ZIP's Unicode path field (APPNOTE 4.6.9) of the entry that is named `raw`. The name is without a leading
/// `./`.
///
/// A reader may ignore a field whose CRC-32 is not that of `raw`, the specification says. Some
/// readers would and some would not, and they would deploy different keys; so it is an error here.
pub(super) fn from_unicode_path<'a>(field: &'a [u8], raw: &[u8]) -> Result<Cow<'a, str>, &'static str> {
    let mut cursor = Cursor::new(field);
    if cursor.byte() != Some(1) {
        return Err("is not of version 1");
    }
    if cursor.u32() != Some(crc32fast::hash(raw)) {
        return Err("belongs to another name (its CRC-32 differs)");
    }
    let name = str::from_utf8(cursor.rest()).map_err(|_| "is not UTF-8")?;
    // WinZip ends a folder's name with a slash in the header and with a backslash here. No trail byte of a code page is a
    // slash, so if both have the same number of folders, the backslashes here are slashes.
    let slashes = raw.iter().filter(|byte| **byte == b'/').count();
    if name.contains('\\') && name.matches(['/', '\\']).count() == slashes {
        let name = name.replace('\\', "/");
        return same_kind(Cow::Owned(name.strip_prefix("./").map(str::to_owned).unwrap_or(name)), raw);
    }
    same_kind(Cow::Borrowed(name.strip_prefix("./").unwrap_or(name)), raw)
}

/// Returns the name in the field, unless it names a folder where the header names a file, or the other way around.
fn same_kind<'a>(name: Cow<'a, str>, raw: &[u8]) -> Result<Cow<'a, str>, &'static str> {
    // Whether the entry is a folder must not depend on which of the two names a reader takes.
    if name.ends_with('/') != raw.ends_with(b"/") {
        return Err("and the entry's own name disagree on whether it is a folder");
    }
    Ok(name)
}

/// Returns a name in the form in which messages show it: printable, and cut to 200 characters.
pub fn shown(name: &[u8]) -> String {
    const CHARS_MAX: usize = 200;
    let name = String::from_utf8_lossy(name);
    let cut: String = name.chars().take(CHARS_MAX).collect();
    let rest = if name.chars().nth(CHARS_MAX).is_some() { "…" } else { "" };
    format!("{}{rest}", printable(&cut))
}
