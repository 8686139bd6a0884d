//! The central directory: one header after the other, then the rules between entries.

mod collisions;
mod compression;
#[cfg(test)]
mod tests;
mod warnings;

use std::sync::Arc;

use super::cursor::Cursor;
use super::end::DirectoryLocation;
use super::entry::RawName;
use super::extra::Extent;
use super::faults::Faults;
use super::header::{CENTRAL_HEADER_BYTES, CentralHeader, Kind};
use super::layout::{Layout, LayoutError};
use super::name::{self, shown, without_dot};
use super::{ArchiveIndex, Entry, LeftOut, Limits, Rejection, Selection};

/// Reads the directory, whose size and number of entries [`DirectoryLocation::check`] has accepted. Before it are
/// `padding_bytes` zero bytes, or more.
pub(super) fn read(
    directory: &[u8],
    location: DirectoryLocation,
    padding_bytes: u64,
    selection: &Selection<'_>,
    limits: &Limits,
) -> Result<ArchiveIndex, Rejection> {
    let mut reader = DirectoryReader::new(*selection, limits, location, padding_bytes);
    let mut cursor = Cursor::new(directory);
    for _ in 0..location.entry_count {
        let header = CentralHeader::parse(&mut cursor).ok_or_else(|| location.malformed())?;
        reader.add(&header).or_else(|rejection| reader.faults.add(rejection))?;
    }
    if cursor.remaining() > 0 {
        return Err(location.malformed());
    }
    reader.finish(directory, location)
}

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
        // The count is also the number of entries to allocate: a false one must not cost memory.
        if self.size_bytes / CENTRAL_HEADER_BYTES < self.entry_count {
            return Err(self.malformed());
        }
        Ok(())
    }

    fn malformed(&self) -> Rejection {
        Rejection::DirectoryMalformed { count: self.entry_count }
    }
}

/// Collects the entries, header by header.
struct DirectoryReader<'a> {
    selection: Selection<'a>,
    root: Arc<str>,
    limits: Limits,
    entries: Vec<Entry>,
    /// Names of folders, without the trailing slash.
    folders: Vec<Box<str>>,
    layout: Layout,
    /// How many zero bytes are before the directory.
    padding_bytes: u64,
    faults: Faults,
    left_out: u64,
    /// How many of these the selection leaves out.
    selected_away: u64,
    /// The names of files that are left out as private.
    private: Vec<String>,
    expanded_bytes: u64,
}

impl<'a> DirectoryReader<'a> {
    fn new(selection: Selection<'a>, limits: &Limits, location: DirectoryLocation, padding_bytes: u64) -> Self {
        let entry_count = location.entry_count as usize;
        Self {
            selection,
            root: Arc::from(selection.root),
            limits: *limits,
            entries: Vec::with_capacity(entry_count),
            folders: Vec::new(),
            layout: Layout::new(entry_count, location.offset),
            padding_bytes,
            faults: Faults::default(),
            left_out: 0,
            selected_away: 0,
            private: Vec::new(),
            expanded_bytes: 0,
        }
    }

    /// Checks one header and keeps the entry if it is part of the site.
    fn add(&mut self, header: &CentralHeader<'_>) -> Result<(), Rejection> {
        let extra = header.extra_fields()?;
        let extent = header.extent(&extra)?;
        let full_name = &*header.decode_name(&extra)?;
        // `./` is the archive's root itself.
        if !(full_name.is_empty() && header.name == b"./") {
            name::check(full_name).map_err(|problem| header.unsafe_name(full_name, problem))?;
        }
        self.layout.add(header, extent)?;

        // The other rules are for deployed entries only: the archive of a whole project has links in node_modules.
        let Some(name) = self.deployed_name(full_name) else {
            return Ok(());
        };
        check_readable(header)?;
        if is_folder(header, name, extent)? {
            self.folders.push(name.trim_end_matches('/').into());
            Ok(())
        } else {
            self.add_file(header, full_name, name, extent)
        }
    }

    /// Returns the name relative to the root, or `None` for an entry that is not part of the site.
    fn deployed_name<'name>(&mut self, full_name: &'name str) -> Option<&'name str> {
        let name = full_name.strip_prefix(&*self.root);
        let is_metadata = name::is_desktop_metadata(full_name);
        let reason = if is_metadata { Some(LeftOut::BySetting) } else { name.and_then(self.selection.left_out) };
        let Some(reason) = reason else {
            return name;
        };
        if !(full_name.is_empty() || full_name.ends_with('/')) {
            self.left_out += 1;
            self.selected_away += u64::from(!is_metadata);
            if reason == LeftOut::AsPrivate {
                self.private.push(shown(full_name.as_bytes()));
            }
        }
        None
    }

    fn add_file(
        &mut self,
        header: &CentralHeader<'_>,
        full_name: &str,
        name: &str,
        extent: Extent,
    ) -> Result<(), Rejection> {
        self.check_name_length(header, name)?;
        let method = compression::check(header, extent, self.limits.max_ratio)?;
        self.count_expanded(extent)?;
        self.entries.push(Entry {
            name: name.into(),
            size_bytes: extent.size_bytes,
            compressed_bytes: extent.compressed_bytes,
            crc32: header.crc32,
            method,
            header_offset: extent.header_offset,
            end_offset: 0, // known in `finish`, like the next
            padding_bytes_max: 0,
            flags: header.flags,
            raw_name: self.raw_name(header, full_name).map(Box::new),
        });
        Ok(())
    }

    /// Refuses a name that is too long for an S3 key, after the live prefix.
    fn check_name_length(&self, header: &CentralHeader<'_>, name: &str) -> Result<(), Rejection> {
        let max_bytes = self.limits.max_name_bytes;
        if name.len() > max_bytes {
            return Err(Rejection::NameTooLong { entry: header.display_name(), length_bytes: name.len(), max_bytes });
        }
        Ok(())
    }

    /// Refuses an archive whose files together expand to more than the limit: a zip bomb of many files.
    fn count_expanded(&mut self, extent: Extent) -> Result<(), Rejection> {
        let max_bytes = self.limits.max_expanded_bytes;
        self.expanded_bytes = self.expanded_bytes.saturating_add(extent.size_bytes);
        if self.expanded_bytes > max_bytes {
            return Err(Rejection::ExpandsTooFar { max_bytes });
        }
        Ok(())
    }

    /// Returns the name's bytes in the headers, unless they are the entry's name.
    fn raw_name(&self, header: &CentralHeader<'_>, full_name: &str) -> Option<RawName> {
        let raw_name = without_dot(header.name);
        if full_name.as_bytes() != raw_name {
            Some(RawName::Other(raw_name.into()))
        } else if self.root.is_empty() {
            None
        } else {
            Some(RawName::UnderRoot(Arc::clone(&self.root)))
        }
    }

    /// Applies the rules between entries and completes the index.
    fn finish(mut self, directory: &[u8], location: DirectoryLocation) -> Result<ArchiveIndex, Rejection> {
        self.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        collisions::find(&self.entries, &self.folders, &mut self.faults)?;
        // The layout lacks the entries that have faults.
        self.faults.check()?;
        let ends = self.layout.check().map_err(|error| layout_rejection(directory, &error))?;
        for entry in &mut self.entries {
            entry.end_offset = ends.after(entry.header_offset);
            if entry.end_offset == location.offset {
                entry.padding_bytes_max = self.padding_bytes;
            }
        }
        let headers_file = remove(&mut self.entries, "_headers");
        if self.entries.is_empty() {
            return Err(no_file(&self.root, self.selected_away));
        }
        let mut warnings = warnings::warnings(&self.entries);
        warnings.extend(warnings::private_warning(&self.private));
        Ok(ArchiveIndex {
            entries: self.entries,
            headers_file,
            left_out: self.left_out,
            warnings,
            directory_bytes: location.size_bytes,
        })
    }
}

/// Refuses entries whose contents cannot be deployed.
fn check_readable(header: &CentralHeader<'_>) -> Result<(), Rejection> {
    // S3 has no links; following one would deploy bytes that the archive's sizes and CRC-32 say nothing about.
    if header.kind() == Kind::Special {
        return Err(Rejection::SpecialFile { entry: header.display_name() });
    }
    if header.is_encrypted() {
        return Err(Rejection::Encrypted { entry: header.display_name() });
    }
    Ok(())
}

/// Returns whether an entry is a folder, and refuses it if name, attributes and sizes disagree on that.
///
/// Readers differ in which of the three they go by.
fn is_folder(header: &CentralHeader<'_>, name: &str, extent: Extent) -> Result<bool, Rejection> {
    // The root itself has the empty name.
    let is_named_as_folder = name.is_empty() || name.ends_with('/');
    let agrees = if is_named_as_folder {
        // Programs may set one mode for all entries, and readers agree on the slash where there is no content. Java's
        // tools may deflate a folder; the empty stream has two bytes.
        extent.size_bytes == 0 && extent.compressed_bytes <= 2
    } else {
        header.kind() != Kind::Folder
    };
    if agrees { Ok(is_named_as_folder) } else { Err(Rejection::FolderMismatch { entry: header.display_name() }) }
}

/// Names the entry of a layout error; its name is read again from the directory.
fn layout_rejection(directory: &[u8], error: &LayoutError) -> Rejection {
    match *error {
        LayoutError::Overlap(number) => Rejection::SpanOverlap { entry: display_name(directory, number) },
        LayoutError::Unclaimed(number) => Rejection::UnclaimedBytes { entry: display_name(directory, number) },
    }
}

/// Returns the name of the directory's n-th entry.
fn display_name(directory: &[u8], number: usize) -> String {
    let mut cursor = Cursor::new(directory);
    let mut headers = std::iter::from_fn(|| CentralHeader::parse(&mut cursor));
    headers.nth(number).map_or_else(String::new, |header| header.display_name())
}

/// Says why there is no file to deploy; the selection leaves out `selected_away` files.
fn no_file(root: &str, selected_away: u64) -> Rejection {
    match selected_away {
        0 if root.is_empty() => Rejection::Empty,
        0 => Rejection::RootNotFound { root: root.to_owned() },
        left_out => Rejection::AllLeftOut { left_out },
    }
}

/// Takes the entry of this name out of the sorted entries.
fn remove(entries: &mut Vec<Entry>, name: &str) -> Option<Entry> {
    let at = entries.binary_search_by(|entry| (*entry.name).cmp(name)).ok()?;
    Some(entries.remove(at))
}
