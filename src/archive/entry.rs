//! One file in an archive.

use std::borrow::Cow;
use std::sync::Arc;

use super::name::{shown, without_dot};
use super::zstd;

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `/`-separated, relative to the root that was asked for, no leading slash.
    pub name: Box<str>,
    pub size_bytes: u64,
    pub compressed_bytes: u64,
    pub crc32: u32,
    pub method: Method,
    /// Where the local header starts.
    pub header_offset: u64,
    /// Where the next local header or the central directory starts.
    ///
    /// Local header, data and data descriptor fill the bytes up to here exactly, except that zero
    /// bytes may follow the last entry: [`Entry::data_range`] refuses any other gap.
    pub end_offset: u64,
    /// How many zero bytes before the end may be padding: none, unless the central directory follows.
    pub(super) padding_bytes_max: u64,
    /// The general purpose flags of the central directory.
    pub(super) flags: u16,
    /// The bytes of the name in both headers without a leading `./`, unless they are [`Entry::name`].
    pub(super) raw_name: Option<Box<RawName>>,
}

/// The bytes of an entry's name in both of its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawName {
    /// This root, then [`Entry::name`].
    UnderRoot(Arc<str>),
    /// Other bytes: [`Entry::name`] comes from the Unicode path field.
    Other(Box<[u8]>),
}

impl Entry {
    /// Returns the name with its root, in the form in which messages show it.
    pub fn display_name(&self) -> String {
        shown(self.full_name().as_bytes())
    }

    /// Returns the name with its root.
    pub(super) fn full_name(&self) -> Cow<'_, str> {
        match self.raw_name.as_deref() {
            Some(RawName::UnderRoot(root)) => Cow::Owned(format!("{root}{}", self.name)),
            None | Some(RawName::Other(_)) => Cow::Borrowed(&self.name),
        }
    }

    /// Returns whether the name has these bytes in the central directory, apart from a leading `./`.
    pub(super) fn has_raw_name(&self, raw: &[u8]) -> bool {
        let raw = without_dot(raw);
        match self.raw_name.as_deref() {
            None => raw == self.name.as_bytes(),
            Some(RawName::UnderRoot(root)) => raw.strip_prefix(root.as_bytes()) == Some(self.name.as_bytes()),
            Some(RawName::Other(name)) => raw == &**name,
        }
    }
}

/// How an entry is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    Stored,
    Deflate,
    Zstd,
}

impl Method {
    /// Its number in both headers (APPNOTE 4.4.5).
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflate => 8,
            Self::Zstd => 93,
        }
    }

    /// Returns how much memory an [`Inflater`](super::Inflater) holds at most, for an entry of this size.
    ///
    /// A zstd decoder keeps the bytes that later blocks may refer to. Deflate's 32 KiB are too few to count.
    pub fn window_bytes(self, size_bytes: u64) -> u64 {
        match self {
            Self::Stored | Self::Deflate => 0,
            Self::Zstd => size_bytes.min(zstd::MAX_WINDOW_BYTES),
        }
    }
}
