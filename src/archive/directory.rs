//! The central directory: one header after the other, then the rules between entries.

use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::end::DirectoryLocation;
use super::extra::{Extent, Extra};

use super::cursor::Cursor;
use super::header::{CENTRAL_HEADER_BYTES, CentralHeader, Kind};
use super::layout::{Layout, LayoutError};
use super::name::{self, NameDecodeError, NameEncoding, printable};
use super::{ArchiveIndex, Entry, Limits, Method, RawName, Rejection, flag, zstd};

impl DirectoryLocation {
    /// Refuses a directory over the limits, before it is read.
    pub(super) fn check(&self, limits: &Limits) -> Result<(), Rejection> {
        if self.entry_count > limits.max_entries {
            return Err(Rejection::TooManyEntries { count: self.entry_count, max: limits.max_entries });
        }
        if self.size_bytes > limits.max_directory_bytes {
            return Err(Rejection::DirectoryTooLarge {
                size_bytes: self.size_bytes,
                max_bytes: limits.max_directory_bytes,
            });
        }
        if self.size_bytes / CENTRAL_HEADER_BYTES < self.entry_count {
            return Err(Rejection::DirectoryMalformed { count: self.entry_count });
        }
        Ok(())
    }
}

/// Reads the directory, whose bytes and number of entries are within the limits.
pub(super) fn read(
    directory: &[u8],
    location: DirectoryLocation,
    root: &str,
    limits: &Limits,
) -> Result<ArchiveIndex, Rejection> {
    let malformed = || Rejection::DirectoryMalformed { count: location.entry_count };
    let mut reader = DirectoryReader::new(root, limits, location);
    let mut cursor = Cursor::new(directory);
    for _ in 0..location.entry_count {
        let header = CentralHeader::parse(&mut cursor).ok_or_else(malformed)?;
        reader.add(&header)?;
    }
    if cursor.remaining() > 0 {
        return Err(malformed());
    }
    reader.finish(directory, location)
}

/// Collects the headers.
struct DirectoryReader<'a> {
    root: Arc<str>,
    limits: &'a Limits,
    entries: Vec<Entry>,
    folders: Vec<Box<str>>,
    layout: Layout,
    left_out: u64,
    expanded_bytes: u64,
}

impl<'a> DirectoryReader<'a> {
    fn new(root: &str, limits: &'a Limits, location: DirectoryLocation) -> Self {
        let entry_count = location.entry_count as usize;
        Self {
            root: Arc::from(root),
            limits,
            entries: Vec::with_capacity(entry_count),
            folders: Vec::new(),
            layout: Layout::new(entry_count, location.offset),
            left_out: 0,
            expanded_bytes: 0,
        }
    }

    fn add(&mut self, header: &CentralHeader<'_>) -> Result<(), Rejection> {
        let entry = || printable(header.name);
        let extra_field = |problem| Rejection::ExtraField { entry: printable(header.name), problem };
        let extra = Extra::parse(header.extra).map_err(extra_field)?;
        let extent = header.narrow.widen(extra.zip64).map_err(extra_field)?;
        if extent.disk != 0 {
            return Err(Rejection::OtherDisk { entry: entry() });
        }
        let encoding = NameEncoding {
            is_utf8: header.flags & flag::UTF8 != 0,
            made_on_unix: header.is_made_on_unix(),
            unicode_path: extra.unicode_path,
        };
        let full_name = encoding.decode(header.name).map_err(|error| match error {
            NameDecodeError::UnknownEncoding => Rejection::NameEncoding { entry: entry() },
            NameDecodeError::UnicodePath(problem) => Rejection::UnicodePath { entry: entry(), problem },
        })?;
        name::check(full_name)
            .map_err(|problem| Rejection::UnsafeName { entry: printable(full_name.as_bytes()), problem })?;
        self.layout
            .add(header.name.len(), header.flags, extent)
            .ok_or_else(|| Rejection::SpanOutside { entry: entry() })?;

        let is_desktop_metadata = name::is_desktop_metadata(full_name);
        let Some(name) = full_name.strip_prefix(&*self.root).filter(|_| !is_desktop_metadata) else {
            self.left_out += u64::from(is_desktop_metadata && !full_name.ends_with('/'));
            return Ok(());
        };
        let kind = header.kind();
        if kind == Kind::Special {
            return Err(Rejection::SpecialFile { entry: entry() });
        }
        if header.flags & flag::ENCRYPTED != 0 {
            return Err(Rejection::Encrypted { entry: entry() });
        }
        if name.is_empty() || name.ends_with('/') {
            // An empty deflate stream has two bytes; Java's tools may write it for a folder.
            if kind == Kind::File || extent.size_bytes != 0 || extent.compressed_bytes > 2 {
                return Err(Rejection::FolderMismatch { entry: entry() });
            }
            self.folders.push(name.trim_end_matches('/').into());
            return Ok(());
        }
        if kind == Kind::Folder {
            return Err(Rejection::FolderMismatch { entry: entry() });
        }
        if name.len() > self.limits.max_name_bytes {
            return Err(Rejection::NameTooLong {
                entry: entry(),
                length_bytes: name.len(),
                max_bytes: self.limits.max_name_bytes,
            });
        }
        let method = self.check_contents(header, extent)?;
        let raw_name = if full_name.as_bytes() != header.name {
            Some(RawName::Other(header.name.into()))
        } else if self.root.is_empty() {
            None
        } else {
            Some(RawName::UnderRoot(Arc::clone(&self.root)))
        };
        self.entries.push(Entry {
            name: name.into(),
            size_bytes: extent.size_bytes,
            compressed_bytes: extent.compressed_bytes,
            crc32: header.crc32,
            method,
            header_offset: extent.header_offset,
            end_offset: 0,
            flags: header.flags,
            raw_name: raw_name.map(Box::new),
        });
        Ok(())
    }

    /// Checks how a file is compressed and how far it expands.
    fn check_contents(&mut self, header: &CentralHeader<'_>, extent: Extent) -> Result<Method, Rejection> {
        const SMALL_BYTES: u64 = 1 << 20;
        let entry = || printable(header.name);
        let method = match header.method {
            0 => Method::Stored,
            8 if header.flags & flag::PATCH == 0 => Method::Deflate,
            93 => Method::Zstd,
            method => {
                return Err(Rejection::UnsupportedMethod { entry: entry(), method });
            }
        };
        // What cannot be compressed is stored in blocks, with a few bytes for each. No packer makes twice as much of
        // it; endless empty blocks would, and what is small is held whole with its compressed data.
        let longest = extent.size_bytes.saturating_mul(2).saturating_add(64 << 10);
        let is_possible = match method {
            Method::Stored => extent.size_bytes == extent.compressed_bytes,
            // The shortest stream, of nothing, has two bytes (RFC 1951 section 3.2.6).
            Method::Deflate => (2..=longest).contains(&extent.compressed_bytes),
            Method::Zstd => (zstd::FRAME_BYTES_MIN..=longest).contains(&extent.compressed_bytes),
        };
        if !is_possible {
            return Err(Rejection::ImpossibleSizes { entry: entry() });
        }
        if extent.size_bytes > SMALL_BYTES
            && extent.size_bytes > extent.compressed_bytes.saturating_mul(self.limits.max_ratio)
        {
            return Err(Rejection::RatioTooHigh {
                entry: entry(),
                ratio: extent.size_bytes.div_ceil(extent.compressed_bytes.max(1)),
                max: self.limits.max_ratio,
            });
        }
        self.expanded_bytes = self.expanded_bytes.saturating_add(extent.size_bytes);
        if self.expanded_bytes > self.limits.max_expanded_bytes {
            return Err(Rejection::ExpandsTooFar { max_bytes: self.limits.max_expanded_bytes });
        }
        Ok(method)
    }

    fn finish(mut self, directory: &[u8], location: DirectoryLocation) -> Result<ArchiveIndex, Rejection> {
        let ends = self.layout.close().map_err(|error| layout_rejection(directory, &error))?;
        for entry in &mut self.entries {
            entry.end_offset = ends.of(entry.header_offset);
        }
        self.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        check_names(&self.entries, &self.folders)?;
        let headers_file =
            self.entries.binary_search_by(|entry| (*entry.name).cmp("_headers")).ok().map(|at| self.entries.remove(at));
        if self.entries.is_empty() {
            return Err(if self.root.is_empty() {
                Rejection::Empty
            } else {
                Rejection::RootNotFound { root: self.root.to_string() }
            });
        }
        let mut warnings = Vec::new();
        if self.root.is_empty() && headers_file.is_none() {
            warnings.extend(wrapper_folder(&self.entries).map(|folder| {
                format!(
                    "all files lie in the folder `{folder}` and none at the root; to deploy what \
                     is inside it, set ARCHIVE_ROOT to `{folder}`"
                )
            }));
        }
        warnings.extend(normalisation_warning(&self.entries));
        Ok(ArchiveIndex {
            entries: self.entries,
            headers_file,
            left_out: self.left_out,
            warnings,
            directory_bytes: location.size_bytes,
        })
    }
}

fn layout_rejection(directory: &[u8], error: &LayoutError) -> Rejection {
    let entry = |number| {
        let mut cursor = Cursor::new(directory);
        let mut headers = std::iter::from_fn(|| CentralHeader::parse(&mut cursor));
        printable(headers.nth(number).map_or(&[], |header| header.name))
    };
    match *error {
        LayoutError::Overlap(number) => Rejection::SpanOverlap { entry: entry(number) },
        LayoutError::Unclaimed(number) => Rejection::UnclaimedBytes { entry: entry(number) },
    }
}

/// Refuses two entries of one name, and a file that is a folder too; `entries` are sorted.
fn check_names(entries: &[Entry], folders: &[Box<str>]) -> Result<(), Rejection> {
    // Sorted names that start with the same one follow it at once, so that the names which the
    // current one starts with, each longer than the one before, are all that has to be kept.
    let mut starts: Vec<&Entry> = Vec::new();
    for entry in entries {
        let name = &*entry.name;
        while starts.pop_if(|start| !name.starts_with(&*start.name)).is_some() {}
        for start in &starts {
            match name.as_bytes().get(start.name.len()) {
                None => {
                    return Err(Rejection::DuplicateName { entry: entry.display_name() });
                }
                Some(b'/') => return Err(start.file_and_folder()),
                Some(_) => {}
            }
        }
        starts.push(entry);
    }
    for folder in folders {
        if let Ok(at) = entries.binary_search_by(|entry| entry.name.cmp(folder)) {
            return Err(entries[at].file_and_folder());
        }
    }
    Ok(())
}

impl Entry {
    fn file_and_folder(&self) -> Rejection {
        Rejection::FileAndFolder { entry: self.display_name() }
    }
}

/// The one top folder that everything lies in, with its slash.
fn wrapper_folder(entries: &[Entry]) -> Option<&str> {
    // Sorted: when the first and the last share a folder, all do.
    let first = &entries.first()?.name;
    let (folder, _) = first.split_at(first.find('/')? + 1);
    entries.last()?.name.starts_with(folder).then_some(folder)
}

/// Names are deployed as they are. Two that only differ in how their accents are composed look the
/// same, and a browser asks for the one that the link was typed in.
fn normalisation_warning(entries: &[Entry]) -> Option<String> {
    let nfc = ComposingNormalizerBorrowed::new_nfc();
    let mut names: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.name.is_ascii())
        .map(|entry| (nfc.normalize(&entry.name), entry))
        .collect();
    names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    let mut twins = names.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    let twin = twins.next()?[0].1.display_name();
    Some(match twins.count() {
        0 => format!(
            "`{twin}` is there twice, differing only in Unicode normalisation; a link reaches one \
             of them"
        ),
        more => format!(
            "`{twin}` and {more} other names are there twice, differing only in Unicode \
             normalisation; a link reaches one of each"
        ),
    })
}

#[cfg(test)]
mod tests;
