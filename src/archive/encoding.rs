//! The forms in which an entry's contents leave the archive.

use bytes::Bytes;

use super::gzip::{GzipWrapper, gzip, gzip_bytes};
use super::{Corrupt, Entry, Inflater, Method, Step, inflate};

/// What becomes of an entry's compressed data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// It is inflated.
    Identity,
    /// It becomes a gzip file as it is; only for what [`Encoding::can_be_gzip`].
    Gzip,
}

impl Encoding {
    /// Whether the entry is deflated, and by a tenth or more shorter for it.
    pub fn can_be_gzip(entry: &Entry) -> bool {
        entry.method == Method::Deflate && u128::from(entry.compressed_bytes) * 10 <= u128::from(entry.size_bytes) * 9
    }

    /// How many bytes the entry has in this encoding.
    pub fn size_bytes(self, entry: &Entry) -> u64 {
        match self {
            Self::Identity => entry.size_bytes,
            Self::Gzip => gzip_bytes(entry),
        }
    }
}

/// Brings one entry into its encoding piece by piece.
pub enum Unpacker {
    Inflate(Inflater),
    Rewrap(GzipWrapper),
}

impl Unpacker {
    pub fn new(entry: &Entry, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Identity => Self::Inflate(Inflater::new(entry)),
            Encoding::Gzip => Self::Rewrap(GzipWrapper::new(entry)),
        }
    }

    /// As [`Inflater::push`].
    pub fn push(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<Step, Corrupt> {
        match self {
            Self::Inflate(inflater) => inflater.push(input, output),
            Self::Rewrap(wrapper) => wrapper.push(input, output),
        }
    }

    /// As [`Inflater::finish`]; what was not inflated has a CRC-32 of its own.
    pub fn finish(self, crc32: u32) -> Result<(), Corrupt> {
        match self {
            Self::Inflate(inflater) => inflater.finish(crc32),
            Self::Rewrap(wrapper) => wrapper.finish(),
        }
    }
}

/// Brings an entry into its encoding at once, for entries that the memory budget has room for.
pub fn unpack(entry: &Entry, encoding: Encoding, compressed: Bytes) -> Result<Bytes, Corrupt> {
    match encoding {
        Encoding::Identity => inflate(entry, compressed),
        Encoding::Gzip => gzip(entry, &compressed).map(Bytes::from),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{File, zip};
    use super::*;

    #[test]
    fn gzip_is_for_what_deflate_shrinks_by_a_tenth_or_more() {
        let index = zip([File::deflated("a.txt", b"aaaaaaaaaaaaaaaaaaaa")]).parse();
        let entry = |size_bytes, compressed_bytes, method| Entry {
            size_bytes,
            compressed_bytes,
            method,
            ..index.as_ref().unwrap().entries[0].clone()
        };
        assert!(Encoding::can_be_gzip(&entry(100, 90, Method::Deflate)));
        assert!(!Encoding::can_be_gzip(&entry(100, 91, Method::Deflate)));
        assert!(!Encoding::can_be_gzip(&entry(0, 2, Method::Deflate)));
        assert!(!Encoding::can_be_gzip(&entry(100, 50, Method::Zstd)));
    }
}
