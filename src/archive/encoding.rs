//! The encodings in which an entry's contents leave the archive.

use bytes::Bytes;

use super::gzip::{GzipWrapper, gzip, gzip_bytes};
use super::inflate::Checker;
use super::{Corrupt, Entry, Inflater, Method, Step, inflate};

/// How an entry's contents are encoded when they leave the archive, named as in `Content-Encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The contents themselves: compressed data is inflated.
    Identity,
    /// A gzip file around the entry's deflate stream; only for entries with [`Encoding::can_be_gzip`].
    Gzip,
}

impl Encoding {
    /// Returns whether the entry is deflated, and at least a tenth shorter for it.
    pub fn can_be_gzip(entry: &Entry) -> bool {
        entry.method == Method::Deflate && u128::from(entry.compressed_bytes) * 10 <= u128::from(entry.size_bytes) * 9
    }

    /// Returns the size of the entry in this encoding.
    pub fn size_bytes(self, entry: &Entry) -> u64 {
        match self {
            Self::Identity => entry.size_bytes,
            Self::Gzip => gzip_bytes(entry),
        }
    }
}

/// Converts one entry's compressed data to an [`Encoding`], piece by piece.
pub enum Unpacker {
    Inflate(Inflater),
    /// S3 cannot check the contents of a gzip file, so they are inflated for the check alone.
    Wrap(GzipWrapper, Checker),
}

impl Unpacker {
    pub fn new(entry: &Entry, encoding: Encoding) -> Self {
        match encoding {
            Encoding::Identity => Self::Inflate(Inflater::new(entry)),
            Encoding::Gzip => Self::Wrap(GzipWrapper::new(entry), Checker::new(entry)),
        }
    }

    /// Converts the next piece, as [`Inflater::push`] does.
    pub fn push(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<Step, Corrupt> {
        match self {
            Self::Inflate(inflater) => inflater.push(input, output),
            Self::Wrap(wrapper, checker) => {
                let before = *input;
                let step = wrapper.push(input, output)?;
                checker.push(&before[..before.len() - input.len()])?;
                Ok(step)
            }
        }
    }

    /// Checks the whole, as [`Inflater::finish`] does.
    ///
    /// `crc32` is that of the output; for a gzip file, which has contents with another CRC-32, it is not used.
    pub fn finish(self, crc32: u32) -> Result<(), Corrupt> {
        match self {
            Self::Inflate(inflater) => inflater.finish(crc32),
            Self::Wrap(wrapper, checker) => wrapper.finish().and_then(|()| checker.finish()),
        }
    }
}

/// Converts an entry's compressed data to an [`Encoding`] in one call, for entries that fit in the memory budget.
///
/// The contents of a gzip file are not checked; [`check`](super::check) does that.
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
    fn only_entries_that_deflate_shrinks_by_a_tenth_or_more_become_gzip() {
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
