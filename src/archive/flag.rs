//! General purpose flags, in both headers of an entry (APPNOTE 4.4.4).

/// Sizes and CRC-32 follow the data, in a data descriptor.
pub(super) const STREAMED: u16 = 1 << 3;
/// The name is UTF-8.
pub(super) const UTF8: u16 = 1 << 11;
/// Encrypted, strongly encrypted, or with an encrypted directory.
pub(super) const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// The data is a patch to another file.
pub(super) const PATCH: u16 = 1 << 5;
