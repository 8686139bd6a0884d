//! One header of the central directory.

use super::cursor::Cursor;
use super::extra::NarrowExtent;

/// APPNOTE 4.3.12.
const SIGNATURE: u32 = 0x0201_4b50;
pub(super) const CENTRAL_HEADER_BYTES: u64 = 46;

/// A central directory header.
pub(super) struct CentralHeader<'a> {
    made_by_host: u8,
    pub(super) flags: u16,
    pub(super) method: u16,
    pub(super) crc32: u32,
    pub(super) narrow: NarrowExtent,
    pub(super) name: &'a [u8],
    pub(super) extra: &'a [u8],
    external_attributes: u32,
}

impl<'a> CentralHeader<'a> {
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
            narrow: NarrowExtent { size_bytes, compressed_bytes, header_offset, disk },
            name,
            extra,
            external_attributes,
        })
    }

    /// Unix or macOS, APPNOTE 4.4.2.2: the upper half of the external attributes is a Unix mode.
    pub(super) fn is_made_on_unix(&self) -> bool {
        matches!(self.made_by_host, 3 | 19)
    }

    pub(super) fn kind(&self) -> Kind {
        const TYPE_MASK: u32 = 0o170_000;
        const MSDOS_FOLDER: u32 = 0x10;
        let mode = if self.is_made_on_unix() { self.external_attributes >> 16 } else { 0 };
        match mode & TYPE_MASK {
            0 if self.external_attributes & MSDOS_FOLDER != 0 => Kind::Folder,
            0 => Kind::Unknown,
            0o100_000 => Kind::File,
            0o040_000 => Kind::Folder,
            _ => Kind::Special,
        }
    }
}

/// What the external attributes call an entry.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    File,
    Folder,
    Special,
    /// Many writers leave the attributes empty.
    Unknown,
}
