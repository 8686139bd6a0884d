//! The local header and the data descriptor, which surround an entry's data.

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::cursor::Cursor;
use super::extra::{Extra, widen_local};
use super::name::from_unicode_path;
use super::{Entry, Rejection, flag};

/// APPNOTE 4.3.7.
const SIGNATURE: u32 = 0x0403_4b50;
/// The length of a local header without name and extra fields.
pub(super) const LOCAL_HEADER_BYTES: u64 = 30;

/// APPNOTE 4.3.9: a CRC-32 and two sizes of 4 bytes.
pub(super) const DESCRIPTOR_BYTES_MIN: u64 = 12;
/// With a signature and ZIP64 sizes of 8 bytes.
pub(super) const DESCRIPTOR_BYTES_MAX: u64 = 24;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;

impl Entry {
    /// Returns how many bytes the entry takes in the archive, from its local header on.
    pub fn span_bytes(&self) -> u64 {
        self.end_offset.saturating_sub(self.header_offset)
    }

    /// Returns how many bytes contain the whole local header for certain.
    pub fn header_bytes_max(&self) -> u64 {
        self.span_bytes().saturating_sub(self.compressed_bytes)
    }

    /// Checks the local header and returns where in `span` the compressed data lies.
    ///
    /// `span` starts at the local header and holds at least [`Entry::header_bytes_max`] bytes. It
    /// may end before the data does; the returned range then reaches past it. If `span` holds the
    /// data descriptor, it is checked here, otherwise call [`Entry::check_descriptor`].
    pub fn data_range(&self, span: &[u8]) -> Result<Range<usize>, Rejection> {
        let span_bytes = usize::try_from(self.span_bytes()).unwrap_or(usize::MAX);
        let span = &span[..span.len().min(span_bytes)];
        let mut cursor = Cursor::new(span);
        let header = LocalHeader::parse(&mut cursor).ok_or_else(|| self.header_cut())?;
        if header.signature != SIGNATURE {
            return Err(self.wrong_header("it is not where the central directory says"));
        }
        let data_start = header.length_bytes();
        let data_end = data_start.saturating_add(self.compressed_bytes);
        let Some(descriptor_bytes) = self.span_bytes().checked_sub(data_end) else {
            return Err(Rejection::SpanOverlap { entry: self.display_name() });
        };
        let (name, extra) = header.name_and_extra(&mut cursor).ok_or_else(|| self.header_cut())?;
        self.check_header(&header, name, extra).map_err(|problem| self.wrong_header(problem))?;
        self.check_descriptor_length(&header, descriptor_bytes)?;
        let end = usize::try_from(data_end).map_err(|_| self.header_cut())?;
        if span.len() == span_bytes {
            self.check_descriptor(&span[end..])?;
        }
        Ok(data_start as usize..end)
    }

    /// Checks the data descriptor, given the bytes between the data and [`Entry::end_offset`].
    ///
    /// There are none if the entry has no descriptor. A descriptor may have a signature, and sizes
    /// of 4 or 8 bytes; these four forms have four lengths, so the length tells which one it is.
    ///
    /// After the last entry, zero bytes may follow, which [`Entry::data_range`] has counted.
    pub fn check_descriptor(&self, bytes: &[u8]) -> Result<(), Rejection> {
        let lengths = if self.padding_bytes_max > 0 { [0, 12, 16, 20, 24] } else { [bytes.len(); 5] };
        let is_right = lengths.into_iter().any(|length| {
            let Some((descriptor, padding)) = bytes.split_at_checked(length) else {
                return false;
            };
            padding.iter().all(|byte| *byte == 0) && self.descriptor(length).is_some_and(|right| right == descriptor)
        });
        if is_right { Ok(()) } else { Err(self.wrong_descriptor()) }
    }

    /// Returns the data descriptor of this length; `None` if the entry cannot have one.
    fn descriptor(&self, length: usize) -> Option<Vec<u8>> {
        let (has_signature, has_wide_sizes) = match length {
            0 => return Some(Vec::new()),
            12 => (false, false),
            16 => (true, false),
            20 => (false, true),
            24 => (true, true),
            _ => return None,
        };
        let mut descriptor = Vec::with_capacity(length);
        if has_signature {
            descriptor.extend(DESCRIPTOR_SIGNATURE.to_le_bytes());
        }
        descriptor.extend(self.crc32.to_le_bytes());
        for size in [self.compressed_bytes, self.size_bytes] {
            if has_wide_sizes {
                descriptor.extend(size.to_le_bytes());
            } else {
                descriptor.extend(u32::try_from(size).ok()?.to_le_bytes());
            }
        }
        Some(descriptor)
    }

    /// Refuses bytes after the data that can be neither a data descriptor nor padding.
    fn check_descriptor_length(&self, header: &LocalHeader, descriptor_bytes: u64) -> Result<(), Rejection> {
        match (header.is_streamed(), descriptor_bytes) {
            (false, 0) | (true, 12 | 16 | 20 | 24) => Ok(()),
            // Some of the zeros may belong to the descriptor.
            (false, padding_bytes) if padding_bytes <= self.padding_bytes_max => Ok(()),
            (true, DESCRIPTOR_BYTES_MIN..) if descriptor_bytes <= self.padding_bytes_max + DESCRIPTOR_BYTES_MAX => {
                Ok(())
            }
            // Another entry may hide here, for readers that go by local headers alone.
            (false, _) => Err(Rejection::UnclaimedBytes { entry: self.display_name() }),
            (true, _) => Err(self.wrong_descriptor()),
        }
    }

    /// Compares the local header with the central directory.
    fn check_header(&self, local: &LocalHeader, name: &[u8], extra: &[u8]) -> Result<(), &'static str> {
        if !self.has_raw_name(name) {
            return Err("its name differs from the central directory");
        }
        if local.method != self.method.number() {
            return Err("its compression method differs from the central directory");
        }
        if (local.flags ^ self.flags) & significant_flags(name) != 0 {
            return Err("its flags differ from the central directory");
        }
        let extra = Extra::parse(extra)?;
        if let Some(field) = extra.unicode_path
            && from_unicode_path(field, name).as_deref() != Ok(&*self.full_name())
        {
            return Err("its Unicode path differs from the central directory");
        }
        self.check_numbers(local, &extra)
    }

    /// Compares sizes and CRC-32 with the central directory.
    fn check_numbers(&self, local: &LocalHeader, extra: &Extra<'_>) -> Result<(), &'static str> {
        let [size_bytes, compressed_bytes] = widen_local(local.size_bytes, local.compressed_bytes, extra.zip64)?;
        if !local.agrees(size_bytes, self.size_bytes) || !local.agrees(compressed_bytes, self.compressed_bytes) {
            return Err("its sizes differ from the central directory");
        }
        if !local.agrees(u64::from(local.crc32), u64::from(self.crc32)) {
            return Err("its CRC-32 differs from the central directory");
        }
        Ok(())
    }

    fn header_cut(&self) -> Rejection {
        Rejection::LocalHeaderCut { entry: self.display_name() }
    }

    fn wrong_header(&self, problem: &'static str) -> Rejection {
        Rejection::LocalHeader { entry: self.display_name(), problem }
    }

    fn wrong_descriptor(&self) -> Rejection {
        Rejection::Descriptor { entry: self.display_name() }
    }
}

/// Returns the flags that must be the same in both headers.
fn significant_flags(name: &[u8]) -> u16 {
    // The encoding of an ASCII name makes no difference.
    let name_flag = if name.is_ascii() { 0 } else { flag::UTF8 };
    flag::ENCRYPTED | flag::PATCH | name_flag
}

struct LocalHeader {
    signature: u32,
    flags: u16,
    method: u16,
    crc32: u32,
    compressed_bytes: u32,
    size_bytes: u32,
    name_bytes: u16,
    extra_bytes: u16,
}

impl LocalHeader {
    /// Reads the header up to its name.
    fn parse(cursor: &mut Cursor<'_>) -> Option<Self> {
        let signature = cursor.u32()?;
        let _version_needed = cursor.u16()?;
        let flags = cursor.u16()?;
        let method = cursor.u16()?;
        let _time_and_date = cursor.u32()?;
        Some(Self {
            signature,
            flags,
            method,
            crc32: cursor.u32()?,
            compressed_bytes: cursor.u32()?,
            size_bytes: cursor.u32()?,
            name_bytes: cursor.u16()?,
            extra_bytes: cursor.u16()?,
        })
    }

    /// Reads the name and the extra fields, which follow the header.
    fn name_and_extra<'a>(&self, cursor: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
        Some((cursor.take(usize::from(self.name_bytes))?, cursor.take(usize::from(self.extra_bytes))?))
    }

    /// Returns the length of the header with name and extra fields.
    fn length_bytes(&self) -> u64 {
        LOCAL_HEADER_BYTES + u64::from(self.name_bytes) + u64::from(self.extra_bytes)
    }

    /// Returns whether a data descriptor follows the data.
    fn is_streamed(&self) -> bool {
        self.flags & flag::STREAMED != 0
    }

    /// Returns whether a number of this header agrees with the central directory.
    ///
    /// A streamed entry's header may have zeros, because it was written before the numbers were known.
    fn agrees(&self, local: u64, central: u64) -> bool {
        local == central || self.is_streamed() && local == 0
    }
}
