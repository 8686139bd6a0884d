//! The archive: a zip, read strictly, from its end.
//!
//! A zip states every name and size twice, and readers differ in which of the two they believe.
//! The files that are deployed must be the files that CI tested, so every disagreement is a
//! [`Rejection`], never a choice.
//!
//! This module does no I/O. [`ArchiveIndex::parse`] reads the archive's last bytes and says if it
//! needs more of them. [`spans`] plans the ranged reads. [`Entry::data_range`], [`Unpacker`] and
//! [`unpack`] check and decode the bytes that were read.
//!
//! Two specifications are cited: PKWARE's APPNOTE 6.3.10, and Info-ZIP's extra field 0x7075.

mod corrupt;
mod cursor;
mod directory;
mod encoding;
mod end;
mod entry;
mod extra;
mod faults;
mod flag;
mod format;
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

pub use corrupt::Corrupt;
pub use encoding::{Encoding, Unpacker, unpack};
pub use entry::{Entry, Method};
pub use format::{FORMAT_BYTES, is_named_zip, other_by_name};
pub use inflate::{Inflater, Step, check, check_bytes, inflate};
pub use name::{NameProblem, shown};
pub use rejection::Rejection;
pub use span::{Span, header_spans, spans};

/// The contents of an archive, as its central directory lists them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveIndex {
    /// The files to deploy, sorted by the bytes of their names, as S3 lists keys.
    pub entries: Vec<Entry>,
    /// The file `_headers` at the root, which is read and not deployed.
    pub headers_file: Option<Entry>,
    /// How many files were left out: `__MACOSX/`, `.DS_Store`, `Thumbs.db`, and those of [`Selection::left_out`].
    pub left_out: u64,
    /// Sentences for the report.
    pub warnings: Vec<String>,
    /// The size of the central directory.
    pub directory_bytes: u64,
}

/// The result of [`ArchiveIndex::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    Index(ArchiveIndex),
    /// Parse again, with all bytes from this offset to the archive's end.
    NeedsFrom(u64),
}

/// How many zero bytes may pad the central directory: some aligners leave them.
const MAX_PADDING_BYTES: u64 = 4_096;

impl ArchiveIndex {
    /// Reads the index from `tail`, the archive's last bytes.
    ///
    /// Entries outside the selection's root, and those that it leaves out, must have valid names,
    /// offsets and sizes, and are otherwise ignored.
    ///
    /// At most three calls are needed if each passes the bytes that the previous one asked for.
    /// The last 65,633 bytes are always needed, because a second end record may hide in them. An
    /// archive over the limits is refused without asking for its directory.
    pub fn parse(
        archive_bytes: u64,
        tail: &[u8],
        selection: &Selection<'_>,
        limits: &Limits,
    ) -> Result<Parsed, Rejection> {
        let tail_offset = archive_bytes.saturating_sub(tail.len() as u64);
        if tail_offset > 0 && (tail.len() as u64) < end::END_SEARCH_BYTES {
            return Ok(Parsed::NeedsFrom(archive_bytes.saturating_sub(end::END_SEARCH_BYTES)));
        }
        let location = end::find_directory(tail, tail_offset)?;
        location.check(limits)?;
        let padding_from = location.offset.saturating_sub(MAX_PADDING_BYTES);
        if padding_from < tail_offset {
            return Ok(Parsed::NeedsFrom(padding_from));
        }
        // In bounds: the directory ends before the end record, which was found in `tail`.
        let (before, directory) = tail.split_at((location.offset - tail_offset) as usize);
        let directory = &directory[..location.size_bytes as usize];
        let padding = before[(padding_from - tail_offset) as usize..].iter().rev().take_while(|byte| **byte == 0);
        directory::read(directory, location, padding.count() as u64, selection, limits).map(Parsed::Index)
    }

    /// Checks that no file is in a folder that belongs to others, which has a slash at its end.
    ///
    /// # Errors
    /// One is.
    pub fn keep_out_of(&self, folder: &str) -> Result<(), Rejection> {
        match self.entries.iter().find(|entry| entry.name.starts_with(folder)) {
            Some(entry) => Err(Rejection::InFolderOfPreviews { entry: shown(entry.name.as_bytes()) }),
            None => Ok(()),
        }
    }

    /// Returns the one top folder that contains all files, with its slash; `None` if there is none.
    ///
    /// A `_headers` file beside the folder shows that the archive's root is the site's.
    pub fn only_folder(&self) -> Option<&str> {
        // Sorted: if the first and the last share a folder, all do.
        let first = &self.entries.first().filter(|_| self.headers_file.is_none())?.name;
        let (folder, _) = first.split_at(first.find('/')? + 1);
        self.entries.last()?.name.starts_with(folder).then_some(folder)
    }

    /// Returns the folder that holds the site, if all files are in one: of the folders that have all files, the first
    /// one with the index document, or else the top one.
    pub fn wrapped_site(&self, index_document: &str) -> Option<&str> {
        let top = self.only_folder()?;
        let (first, last) = (&*self.entries.first()?.name, &*self.entries.last()?.name);
        let folders = first.match_indices('/').map(|(at, _)| &first[..=at]);
        let mut shared = folders.take_while(|folder| last.starts_with(*folder));
        Some(shared.find(|folder| self.has(&format!("{folder}{index_document}"))).unwrap_or(top))
    }

    fn has(&self, name: &str) -> bool {
        self.entries.binary_search_by(|entry| (*entry.name).cmp(name)).is_ok()
    }

    /// Refuses an archive that contains itself, given the archive's own size and CRC-32.
    pub fn check_quine(&self, archive_bytes: u64, crc32: u32) -> Result<(), Rejection> {
        for entry in &self.entries {
            if entry.size_bytes == archive_bytes && entry.crc32 == crc32 {
                return Err(Rejection::Quine { entry: entry.display_name() });
            }
        }
        Ok(())
    }
}

/// The entries of an archive that belong to the site.
#[derive(Clone, Copy)]
pub struct Selection<'a> {
    /// The folder to deploy, `""` or with a trailing slash; entry names are relative to it.
    pub root: &'a str,
    /// Returns why a name under the root is left out; `None` for a file of the site.
    pub left_out: &'a (dyn Fn(&str) -> Option<LeftOut> + Sync),
}

impl Selection<'_> {
    /// The whole archive.
    pub const ALL: Selection<'static> = Selection { root: "", left_out: &|_| None };
}

/// Why a file is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// No site shows such files on purpose; a warning names them.
    AsPrivate,
    /// A setting says so.
    BySetting,
}

/// How much an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The number of all entries, including folders and files that are left out.
    pub max_entries: u64,
    /// The sum of the uncompressed sizes.
    pub max_expanded_bytes: u64,
    /// Uncompressed over compressed size, for entries over 1 MiB.
    ///
    /// Deflate itself cannot exceed 1,032.
    pub max_ratio: u64,
    /// The size of the central directory, which is held in memory as a whole, and then in parts.
    ///
    /// The default allows 160 bytes for each of 1,000,000 entries: 46 fixed, 28 for a ZIP64 field,
    /// 24 for Info-ZIP's times and owners, and 62 for the name. Names on sites built by Streamlit,
    /// Docusaurus or Next.js have 30 to 60 bytes.
    pub max_directory_bytes: u64,
    /// The length of a name: the 1,024 bytes of an S3 key, less the live prefix.
    pub max_name_bytes: usize,
}

/// An idle function takes 15 MiB, and transfers take some more. Each byte of the directory costs up to six bytes: its
/// own, then those of the index, the listing, the manifest and the plan.
const MIB_WITHOUT_DIRECTORY: u64 = 32;
const MEMORY_PER_DIRECTORY_BYTE: u64 = 6;

/// Returns the largest central directory for which a function with this much memory has room.
pub fn max_directory_bytes(memory_mib: u64) -> u64 {
    (memory_mib.saturating_sub(MIB_WITHOUT_DIRECTORY) << 20) / MEMORY_PER_DIRECTORY_BYTE
}

/// Returns how much memory a function needs for a central directory.
fn memory_mib_for(directory_bytes: u64) -> u64 {
    MIB_WITHOUT_DIRECTORY + directory_bytes.saturating_mul(MEMORY_PER_DIRECTORY_BYTE).div_ceil(1 << 20)
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
