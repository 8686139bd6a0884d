//! The local header and the data descriptor: what lies around an entry's data.

use std::borrow::Cow;
use std::ops::Range;

use super::cursor::Cursor;
use super::extra::{Extra, widen_local};
use super::name::{NameEncoding, printable};
use super::{Entry, RawName, Rejection, flag};

/// APPNOTE 4.3.7.
const SIGNATURE: u32 = 0x0403_4b50;
pub(super) const LOCAL_HEADER_BYTES: u64 = 30;

/// APPNOTE 4.3.9: CRC-32 and two sizes; with a signature and ZIP64 sizes at most.
pub(super) const DESCRIPTOR_BYTES_MIN: u64 = 12;
pub(super) const DESCRIPTOR_BYTES_MAX: u64 = 24;
const DESCRIPTOR_SIGNATURE: u32 = 0x0807_4b50;

impl Entry {
    /// How many bytes of the archive, from its local header on, an entry takes.
    pub fn span_bytes(&self) -> u64 {
        self.end_offset.saturating_sub(self.header_offset)
    }

    /// How many bytes from its local header on are sure to hold all of that header.
    pub fn header_bytes_max(&self) -> u64 {
        self.span_bytes().saturating_sub(self.compressed_bytes)
    }

    /// Checks the local header and says where in `span` the compressed data lies.
    ///
    /// `span` starts at the local header and holds at least [`Entry::header_bytes_max`] bytes.
    /// It may end before the data does: then so does not the range. A data descriptor is checked
    /// here when `span` holds it, else by [`Entry::check_descriptor`].
    pub fn data_range(&self, span: &[u8]) -> Result<Range<usize>, Rejection> {
        let refuse = |problem| Rejection::LocalHeader { entry: self.display_name(), problem };
        let cut = || Rejection::LocalHeaderCut { entry: self.display_name() };
        let span_bytes = usize::try_from(self.span_bytes()).unwrap_or(usize::MAX);
        let span = &span[..span.len().min(span_bytes)];
        let (header, mut rest) = LocalHeader::parse(span).ok_or_else(cut)?;
        if header.signature != SIGNATURE {
            return Err(refuse("is not where the central directory says"));
        }
        let name_and_extra_bytes = u64::from(header.name_bytes) + u64::from(header.extra_bytes);
        let header_bytes = LOCAL_HEADER_BYTES + name_and_extra_bytes;
        let data_end = header_bytes.saturating_add(self.compressed_bytes);
        let Some(rest_bytes) = self.span_bytes().checked_sub(data_end) else {
            return Err(Rejection::SpanOverlap { entry: self.display_name() });
        };
        let name = rest.take(usize::from(header.name_bytes)).ok_or_else(cut)?;
        let extra = rest.take(usize::from(header.extra_bytes)).ok_or_else(cut)?;
        self.check_header(&header, name, extra).map_err(refuse)?;

        let is_streamed = header.is_streamed();
        if !is_streamed && rest_bytes > 0 {
            return Err(Rejection::UnclaimedBytes { entry: self.display_name() });
        }
        let start = header_bytes as usize;
        let end = usize::try_from(data_end).map_err(|_| cut())?;
        if is_streamed {
            if !matches!(rest_bytes, 12 | 16 | 20 | 24) {
                return Err(self.bad_descriptor());
            }
            if span.len() == span_bytes {
                self.check_descriptor(&span[end..])?;
            }
        }
        Ok(start..end)
    }

    /// Checks the data descriptor, given the bytes between the data and [`Entry::end_offset`];
    /// there are none when the entry has no descriptor.
    ///
    /// The four forms (with and without signature, with 4 and 8 bytes to a size) have four
    /// lengths, so that nothing needs to be guessed.
    pub fn check_descriptor(&self, bytes: &[u8]) -> Result<(), Rejection> {
        let mut cursor = Cursor::new(bytes);
        let has_signature = match bytes.len() {
            0 => return Ok(()),
            12 | 20 => false,
            16 | 24 => true,
            _ => return Err(self.bad_descriptor()),
        };
        let signature_is_right = !has_signature || cursor.u32() == Some(DESCRIPTOR_SIGNATURE);
        let crc32 = cursor.u32();
        let mut size = || match bytes.len() {
            12 | 16 => cursor.u32().map(u64::from),
            _ => cursor.u64(),
        };
        let sizes = [size(), size()];
        let is_right = signature_is_right
            && crc32 == Some(self.crc32)
            && sizes == [Some(self.compressed_bytes), Some(self.size_bytes)];
        is_right.then_some(()).ok_or_else(|| self.bad_descriptor())
    }

    /// Compares with the central directory.
    fn check_header(&self, local: &LocalHeader, name: &[u8], extra: &[u8]) -> Result<(), &'static str> {
        if !self.is_named(name) {
            return Err("has another name than the central directory");
        }
        if local.method != self.method.number() {
            return Err("has another compression method than the central directory");
        }
        // How an ASCII name is encoded is all the same.
        let name_flag = if name.is_ascii() { 0 } else { flag::UTF8 };
        let significant = flag::ENCRYPTED | flag::PATCH | name_flag;
        if (local.flags ^ self.flags) & significant != 0 {
            return Err("has other flags than the central directory");
        }
        let extra = Extra::parse(extra)?;
        if let Some(unicode_path) = extra.unicode_path {
            let encoding = NameEncoding { is_utf8: false, made_on_unix: false, unicode_path: Some(unicode_path) };
            if encoding.decode(name) != Ok(&*self.full_name()) {
                return Err("has another Unicode path than the central directory");
            }
        }
        // A streamed entry's header was written before its sizes were known: zeros, or the truth.
        let is_streamed = local.is_streamed();
        let is_same = |local: u64, central| local == central || is_streamed && local == 0;
        let [size_bytes, compressed_bytes] = widen_local(local.size_bytes, local.compressed_bytes, extra.zip64)?;
        if !is_same(size_bytes, self.size_bytes) || !is_same(compressed_bytes, self.compressed_bytes) {
            return Err("has other sizes than the central directory");
        }
        if !is_same(u64::from(local.crc32), u64::from(self.crc32)) {
            return Err("has another CRC-32 than the central directory");
        }
        Ok(())
    }

    fn is_named(&self, raw: &[u8]) -> bool {
        match self.raw_name.as_deref() {
            None => raw == self.name.as_bytes(),
            Some(RawName::UnderRoot(root)) => raw.strip_prefix(root.as_bytes()) == Some(self.name.as_bytes()),
            Some(RawName::Other(name)) => raw == &**name,
        }
    }
}

impl Entry {
    /// Its name with the root, as both headers mean it.
    fn full_name(&self) -> Cow<'_, str> {
        match self.raw_name.as_deref() {
            Some(RawName::UnderRoot(root)) => Cow::Owned(format!("{root}{}", self.name)),
            None | Some(RawName::Other(_)) => Cow::Borrowed(&self.name),
        }
    }

    pub(super) fn display_name(&self) -> String {
        printable(self.full_name().as_bytes())
    }

    fn bad_descriptor(&self) -> Rejection {
        Rejection::Descriptor { entry: self.display_name() }
    }
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
    /// Gives what follows too: the name, the extra fields and the data.
    fn parse(bytes: &[u8]) -> Option<(Self, Cursor<'_>)> {
        let mut cursor = Cursor::new(bytes);
        let signature = cursor.u32()?;
        let _version_needed = cursor.u16()?;
        let flags = cursor.u16()?;
        let method = cursor.u16()?;
        let _time_and_date = cursor.u32()?;
        let header = Self {
            signature,
            flags,
            method,
            crc32: cursor.u32()?,
            compressed_bytes: cursor.u32()?,
            size_bytes: cursor.u32()?,
            name_bytes: cursor.u16()?,
            extra_bytes: cursor.u16()?,
        };
        Some((header, cursor))
    }

    /// Whether a data descriptor follows the data.
    fn is_streamed(&self) -> bool {
        self.flags & flag::STREAMED != 0
    }
}

#[cfg(test)]
mod tests;
