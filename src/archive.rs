//! The archive: a zip, read from its end, strictly.
//!
//! A zip names and measures everything twice, and readers differ in which they believe. What CI
//! tested and what is deployed must be the same, so that every disagreement is a [`Rejection`]
//! rather than a choice. Nothing here does I/O: [`ArchiveIndex::parse`] is given the archive's
//! last bytes and says if it needs more, [`spans`] says what to read next, and [`Entry`] and
//! [`Inflater`] judge what came.
//!
//! Two specifications are cited: PKWARE's APPNOTE 6.3.10, and Info-ZIP's extra field 0x7075.

mod cursor;
mod directory;
mod encoding;
mod end;
mod extra;
mod gzip;
mod header;
mod inflate;
mod layout;
mod local;
mod name;
mod rejection;
#[cfg(test)]
mod sample;
mod span;
mod zstd;

use std::sync::Arc;

pub use encoding::{Encoding, Unpacker, unpack};
pub use inflate::{Corrupt, Inflater, Step, inflate};
pub use name::NameProblem;
pub use rejection::Rejection;
pub use span::{Span, header_spans, spans};

/// What is inside an archive, from its central directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveIndex {
    /// What is deployed, sorted by name in the order of its bytes (as S3 lists keys).
    pub entries: Vec<Entry>,
    /// `_headers` at the root: read, and not deployed.
    pub headers_file: Option<Entry>,
    /// How many files are no part of a site: `__MACOSX/`, `.DS_Store`, `Thumbs.db`.
    pub left_out: u64,
    /// Sentences for the report.
    pub warnings: Vec<String>,
    /// The size of the central directory.
    pub directory_bytes: u64,
}

/// What [`ArchiveIndex::parse`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    Index(ArchiveIndex),
    /// Parse again with all bytes from this offset to the archive's end.
    NeedsFrom(u64),
}

impl ArchiveIndex {
    /// Refuses an archive that one of its files is, given the archive's size and CRC-32.
    pub fn check_quine(&self, archive_bytes: u64, crc32: u32) -> Result<(), Rejection> {
        let is_itself = |entry: &&Entry| entry.size_bytes == archive_bytes && entry.crc32 == crc32;
        match self.entries.iter().find(is_itself) {
            None => Ok(()),
            Some(entry) => Err(Rejection::Quine { entry: entry.display_name() }),
        }
    }

    /// Reads the index from `tail`, the archive's last bytes.
    ///
    /// `root` is the folder to deploy, `""` or with a trailing slash; names are relative to it.
    /// What lies outside it must be sound (names, offsets, sizes) and may otherwise be anything.
    ///
    /// At most three calls are needed when each gives what the one before asked for. The last
    /// 65,633 bytes are always asked for, since a second end record may hide there. An archive
    /// over the limits is refused without asking for its directory.
    pub fn parse(archive_bytes: u64, tail: &[u8], root: &str, limits: &Limits) -> Result<Parsed, Rejection> {
        let tail_offset = archive_bytes.saturating_sub(tail.len() as u64);
        if tail_offset > 0 && (tail.len() as u64) < end::END_SEARCH_BYTES {
            return Ok(Parsed::NeedsFrom(archive_bytes.saturating_sub(end::END_SEARCH_BYTES)));
        }
        let location = end::find_directory(tail, tail_offset)?;
        location.check(limits)?;
        let Some(at) = location.offset.checked_sub(tail_offset) else {
            return Ok(Parsed::NeedsFrom(location.offset));
        };
        // The directory ends before the end record, which was found in `tail`.
        let directory = &tail[at as usize..][..location.size_bytes as usize];
        directory::read(directory, location, root, limits).map(Parsed::Index)
    }
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `/`-separated, relative to the root that was asked for, no leading slash.
    pub name: Box<str>,
    pub size_bytes: u64,
    pub compressed_bytes: u64,
    pub crc32: u32,
    pub method: Method,
    /// Where its local header starts.
    pub header_offset: u64,
    /// Where the next local header or the directory starts. Local header, data and data
    /// descriptor fill the bytes up to here exactly: [`Entry::data_range`] refuses a gap.
    pub end_offset: u64,
    flags: u16,
    /// Where it is not [`Entry::name`].
    raw_name: Option<Box<RawName>>,
}

/// The bytes of an entry's name in both of its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RawName {
    /// As [`Entry::name`], after this root.
    UnderRoot(Arc<str>),
    /// The name came from the Unicode path field.
    Other(Box<[u8]>),
}

/// How an entry is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Stored,
    Deflate,
    Zstd,
}

impl Method {
    /// Its number in both headers, APPNOTE 4.4.5.
    fn number(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflate => 8,
            Self::Zstd => 93,
        }
    }

    /// How much memory an [`Inflater`] holds at most, for an entry of this size.
    ///
    /// Deflate's 32 KiB are not worth counting; zstd keeps what later blocks may refer to.
    pub fn window_bytes(self, size_bytes: u64) -> u64 {
        match self {
            Self::Stored | Self::Deflate => 0,
            Self::Zstd => size_bytes.min(zstd::MAX_WINDOW_BYTES),
        }
    }
}

/// General purpose flags, APPNOTE 4.4.4.
mod flag {
    /// Sizes and CRC-32 follow the data, in a data descriptor.
    pub(super) const STREAMED: u16 = 1 << 3;
    /// The name is UTF-8.
    pub(super) const UTF8: u16 = 1 << 11;
    /// Encrypted, strongly encrypted, or with an encrypted directory.
    pub(super) const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
    /// The data is a patch to another file.
    pub(super) const PATCH: u16 = 1 << 5;
}

/// How much an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// All entries, folders and left out files too.
    pub max_entries: u64,
    /// The sum of the uncompressed sizes.
    pub max_expanded_bytes: u64,
    /// Uncompressed over compressed size, of entries over 1 MiB. Deflate itself ends at 1,032.
    pub max_ratio: u64,
    /// The central directory, which is held in memory as a whole.
    ///
    /// The default gives 160 bytes to each of 1,000,000 entries: 46 fixed, 28 for a ZIP64 field,
    /// 24 for Info-ZIP's times and owners, and 62 for the name. Names of sites built by
    /// Streamlit, Docusaurus or Next.js have 30 to 60 bytes.
    pub max_directory_bytes: u64,
    /// A name: S3's 1,024 bytes of a key, less the live prefix.
    pub max_name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 1_000_000,
            max_expanded_bytes: 20 << 30,
            max_ratio: 1_000,
            max_directory_bytes: 160_000_000,
            max_name_bytes: 1_024,
        }
    }
}
