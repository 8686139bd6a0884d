use thiserror::Error;

use super::Entry;

/// Why an entry's data does not match what the archive states about it.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Corrupt {
    #[error("entry `{entry}` is corrupt: its compressed data is invalid; pack the archive again")]
    Data { entry: String },
    #[error("entry `{entry}`: its zstd frame {problem}")]
    Zstd { entry: String, problem: &'static str },
    #[error(
        "entry `{entry}` is corrupt: it has more than the {size_bytes} bytes that the archive states; pack the \
         archive again"
    )]
    TooLong { entry: String, size_bytes: u64 },
    #[error("entry `{entry}` is corrupt: it ends after {found_bytes} of {size_bytes} bytes; pack the archive again")]
    TooShort { entry: String, size_bytes: u64, found_bytes: u64 },
    #[error(
        "entry `{entry}` is corrupt: its compressed data is longer or shorter than the archive states; pack the \
         archive again"
    )]
    CompressedLength { entry: String },
    #[error("entry `{entry}` is corrupt: its contents do not match the archive's CRC-32; pack the archive again")]
    Crc32 { entry: String },
}

impl Corrupt {
    /// Returns the error for an entry whose bytes do not have its CRC-32.
    pub fn crc32(entry: &Entry) -> Self {
        Self::Crc32 { entry: entry.display_name() }
    }

    /// Returns the error for an entry whose compressed data does not have the length that the archive states.
    pub(super) fn compressed_length(entry: &Entry) -> Self {
        Self::CompressedLength { entry: entry.display_name() }
    }
}
