//! One header of the central directory.

use std::borrow::Cow;

use super::cursor::Cursor;
use super::extra::{Extent, Extra, NarrowExtent};
use super::name::{from_unicode_path, shown, without_dot};
use super::{NameProblem, Rejection, flag};

/// APPNOTE 4.3.12.
const SIGNATURE: u32 = 0x0201_4b50;
/// The length of a header without name, extra fields and comment.
pub(super) const CENTRAL_HEADER_BYTES: u64 = 46;

/// A header of the central directory.
pub(super) struct CentralHeader<'a> {
    made_by_host: u8,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc32: u32,
    extent: NarrowExtent,
    pub(super) name: &'a [u8],
    extra: &'a [u8],
    external_attributes: u32,
}

impl<'a> CentralHeader<'a> {
    /// Reads the next header; returns `None` if there is no complete one.
    pub(super) fn parse(cursor: &mut Cursor<'a>) -> Option<Self> {
        if cursor.u32()? != SIGNATURE {
            return None;
        }
        let made_by = cursor.u16()?;
        let _version_needed = cursor.u16()?;
        let flags = cursor.u16()?;
        let method = cursor.u16()?;
        let _time_and_date = cursor.u32()?;
        let crc32 = cursor.u32()?;
        let compressed_bytes = cursor.u32()?;
        let size_bytes = cursor.u32()?;
        let name_bytes = cursor.u16()?;
        let extra_bytes = cursor.u16()?;
        let comment_bytes = cursor.u16()?;
        let disk = cursor.u16()?;
        let _internal_attributes = cursor.u16()?;
        let external_attributes = cursor.u32()?;
        let header_offset = cursor.u32()?;
        let name = cursor.take(usize::from(name_bytes))?;
        let extra = cursor.take(usize::from(extra_bytes))?;
        let _comment = cursor.take(usize::from(comment_bytes))?;
        Some(Self {
            made_by_host: (made_by >> 8) as u8,
            flags,
            method,
            crc32,
            extent: NarrowExtent { size_bytes, compressed_bytes, header_offset, disk },
            name,
            extra,
            external_attributes,
        })
    }

    pub(super) fn extra_fields(&self) -> Result<Extra<'a>, Rejection> {
        Extra::parse(self.extra).map_err(|problem| self.bad_extra_field(problem))
    }

    /// Returns the sizes and the offset, from the ZIP64 field where the header refers to it.
    pub(super) fn extent(&self, extra: &Extra<'_>) -> Result<Extent, Rejection> {
        let extent = self.extent.widen(extra.zip64).map_err(|problem| self.bad_extra_field(problem))?;
        if extent.disk != 0 {
            return Err(Rejection::OtherDisk { entry: self.display_name() });
        }
        Ok(extent)
    }

    /// Decodes the name, without a leading `./`, and refuses it unless the header says that it is UTF-8.
    ///
    /// Readers decode other names by their own code page, each differently.
    pub(super) fn decode_name(&self, extra: &Extra<'a>) -> Result<Cow<'a, str>, Rejection> {
        let raw = without_dot(self.name);
        let is_utf8 = self.flags & flag::UTF8 != 0;
        if let Some(field) = extra.unicode_path {
            let name = from_unicode_path(field, self.name).map_err(|problem| self.bad_unicode_path(problem))?;
            if is_utf8 && name.as_bytes() != raw {
                return Err(self.bad_unicode_path("differs from the entry's own name, which is UTF-8"));
            }
            return Ok(name);
        }
        match str::from_utf8(raw) {
            // Names on Unix and macOS have been UTF-8 for decades; Debian's `zip` writes them without the flag.
            Ok(name) if is_utf8 || self.is_made_on_unix() || name.is_ascii() => Ok(Cow::Borrowed(name)),
            _ => Err(Rejection::NameEncoding { entry: self.display_name() }),
        }
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.flags & flag::ENCRYPTED != 0
    }

    pub(super) fn is_patch(&self) -> bool {
        self.flags & flag::PATCH != 0
    }

    /// Returns the kind of the entry, as its external attributes state it.
    pub(super) fn kind(&self) -> Kind {
        const TYPE_MASK: u32 = 0o170_000;
        const MSDOS_FOLDER: u32 = 0x10;
        let mode = match self.external_attributes >> 16 {
            _ if !self.is_made_on_unix() => 0,
            // All bits are no mode: some writers of jars set them for folders.
            0xffff => 0,
            mode => mode,
        };
        match mode & TYPE_MASK {
            0 if self.external_attributes & MSDOS_FOLDER != 0 => Kind::Folder,
            0 => Kind::Unknown,
            0o100_000 => Kind::File,
            0o040_000 => Kind::Folder,
            _ => Kind::Special,
        }
    }

    /// Returns whether it was made on Unix or macOS (APPNOTE 4.4.2.2).
    ///
    /// The upper half of the external attributes is then a Unix mode.
    fn is_made_on_unix(&self) -> bool {
        matches!(self.made_by_host, 3 | 19)
    }

    /// Returns the entry's name in the form in which messages show it.
    pub(super) fn display_name(&self) -> String {
        shown(self.name)
    }

    /// Returns the rejection of a name, as the archive has it; `name` is the decoded one, without a leading `./`.
    pub(super) fn unsafe_name(&self, name: &str, problem: NameProblem) -> Rejection {
        let own_name = without_dot(self.name);
        let problem = match problem {
            // `.//a`
            NameProblem::Absolute if own_name.len() < self.name.len() => NameProblem::EmptyComponent,
            problem => problem,
        };
        let entry = if own_name == name.as_bytes() { self.display_name() } else { shown(name.as_bytes()) };
        Rejection::UnsafeName { entry, problem }
    }

    fn bad_extra_field(&self, problem: &'static str) -> Rejection {
        Rejection::ExtraField { entry: self.display_name(), problem }
    }

    fn bad_unicode_path(&self, problem: &'static str) -> Rejection {
        Rejection::UnicodePath { entry: self.display_name(), problem }
    }
}

/// The kind of an entry, as its external attributes state it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    File,
    Folder,
    /// A link, a device, a socket or a pipe.
    Special,
    /// Many writers leave the attributes empty.
    Unknown,
}
