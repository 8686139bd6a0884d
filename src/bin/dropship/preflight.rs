//! Judges an archive on this machine by the function's own rules, before anything is uploaded.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use dropship::archive::{ArchiveIndex, Entry, FORMAT_BYTES, Parsed, Rejection, Selection, inflate};
use dropship::config::Config;
use dropship::error::Error;
use dropship::headers::HeadersFile;
use dropship::preview;
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The first read: enough for the end record with its comment, and for most directories.
const TAIL_BYTES: u64 = 1 << 20;

/// An archive whose directory and `_headers` file the function would accept.
pub struct Judged {
    pub size_bytes: u64,
    pub warnings: Vec<String>,
}

/// Reads an archive's directory and its `_headers` file. `path` is for messages.
///
/// # Errors
/// `Refused`, in the function's words; `Local` if the archive cannot be read.
pub fn judge(archive: &mut (impl Read + Seek), path: &Path, config: &Config) -> Result<Judged, Failure> {
    judge_at(archive, config).map_err(|unread| refused_or_local(path, unread))
}

fn judge_at(archive: &mut (impl Read + Seek), config: &Config) -> Result<Judged, Unread> {
    let size_bytes = archive.seek(SeekFrom::End(0))?;
    let index = read_index(archive, size_bytes, config)?;
    if config.previews.is_some() {
        index.keep_out_of(preview::FOLDER).map_err(|error| Unread::Refused(error.into()))?;
    }
    let mut warnings = index.warnings.clone();
    if let Some(entry) = &index.headers_file {
        let contents = read_entry(archive, entry)?;
        let names: Vec<&str> = index.entries.iter().map(|entry| &*entry.name).collect();
        let rules = HeadersFile::parse(&contents).and_then(|file| file.check(&names));
        warnings.extend(rules.map_err(|error| Unread::Refused(error.into()))?);
    }
    Ok(Judged { size_bytes, warnings })
}

/// Returns the SHA-256 of a file in hexadecimal digits.
pub fn digest(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

enum Unread {
    Refused(Error),
    Local(std::io::Error),
}

impl From<Rejection> for Unread {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection.into())
    }
}

impl From<std::io::Error> for Unread {
    fn from(error: std::io::Error) -> Self {
        Self::Local(error)
    }
}

fn refused_or_local(path: &Path, unread: Unread) -> Failure {
    match unread {
        Unread::Refused(error) => Failure::Refused {
            error_type: error.kind().to_owned(),
            message: format!("{}: {}", path.display(), error.message()),
        },
        Unread::Local(error) => Failure::Local(format!("{}: {error}", path.display())),
    }
}

fn read_index(archive: &mut (impl Read + Seek), size_bytes: u64, config: &Config) -> Result<ArchiveIndex, Unread> {
    let left_out = |name: &str| config.exclude.left_out(name);
    let selection = Selection { root: config.archive_root.as_deref().unwrap_or_default(), left_out: &left_out };
    let limits = config.archive_limits();
    let mut from = size_bytes.saturating_sub(TAIL_BYTES);
    loop {
        let tail = read(archive, from, size_bytes - from)?;
        match ArchiveIndex::parse(size_bytes, &tail, &selection, &limits) {
            Ok(Parsed::Index(index)) => return Ok(index),
            Ok(Parsed::NeedsFrom(needed)) if needed < from => from = needed,
            Ok(Parsed::NeedsFrom(_)) => return Err(Rejection::NotAZip.into()),
            Err(rejection) if rejection.is_of_end() => {
                let first = read(archive, 0, FORMAT_BYTES.min(size_bytes))?;
                return Err(rejection.or_by_content(&first).into());
            }
            Err(rejection) => return Err(rejection.into()),
        }
    }
}

fn read_entry(archive: &mut (impl Read + Seek), entry: &Entry) -> Result<Vec<u8>, Unread> {
    let span = read(archive, entry.header_offset, entry.end_offset - entry.header_offset)?;
    let data = entry.data_range(&span)?;
    let contents = inflate(entry, bytes::Bytes::from(span).slice(data));
    contents.map(|contents| contents.to_vec()).map_err(|corrupt| Unread::Refused(corrupt.into()))
}

fn read(archive: &mut (impl Read + Seek), from: u64, length: u64) -> std::io::Result<Vec<u8>> {
    archive.seek(SeekFrom::Start(from))?;
    let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    archive.read_exact(&mut bytes)?;
    Ok(bytes)
}
