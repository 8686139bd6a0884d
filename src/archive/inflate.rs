//! Contents: inflated, and held against the CRC-32 and the length that CI's tool wrote.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use thiserror::Error;

use super::{Entry, Method};

/// Why an entry's data is not what the archive promises.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Corrupt {
    #[error("entry `{entry}` is corrupt: its compressed data is invalid; pack the archive anew")]
    Deflate { entry: String },
    #[error(
        "entry `{entry}` is corrupt: it has more than the {size_bytes} bytes that the archive \
         says; pack the archive anew"
    )]
    TooLong { entry: String, size_bytes: u64 },
    #[error(
        "entry `{entry}` is corrupt: it ends after {found_bytes} of {size_bytes} bytes; pack the \
         archive anew"
    )]
    TooShort {
        entry: String,
        size_bytes: u64,
        found_bytes: u64,
    },
    #[error(
        "entry `{entry}` is corrupt: its compressed data is longer or shorter than the archive \
         says; pack the archive anew"
    )]
    CompressedLength { entry: String },
    #[error("entry `{entry}` is corrupt: its CRC-32 is not the archive's; pack the archive anew")]
    Crc32 { entry: String },
}

/// What [`Inflater::push`] stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All input was taken; push what follows.
    NeedsInput,
    /// The output has no room left; push the same input again once it has.
    OutputFull,
    /// The entry is complete; call [`Inflater::finish`].
    Done,
}

/// Inflates one entry piece by piece, with as much memory as the caller's buffers have.
pub struct Inflater {
    entry: Entry,
    /// `None` for a stored entry.
    decoder: Option<Decompress>,
    crc32: crc32fast::Hasher,
    read_bytes: u64,
    written_bytes: u64,
    is_done: bool,
}

impl Inflater {
    pub fn new(entry: &Entry) -> Self {
        Self {
            entry: entry.clone(),
            decoder: match entry.method {
                Method::Stored => None,
                Method::Deflate => Some(Decompress::new(false)),
            },
            crc32: crc32fast::Hasher::new(),
            read_bytes: 0,
            written_bytes: 0,
            is_done: entry.method == Method::Stored && entry.size_bytes == 0,
        }
    }

    /// Takes from the front of `input` and appends to `output`, never beyond its capacity.
    ///
    /// The input, over all calls, is the entry's compressed data and nothing else. After an error
    /// what was appended in this call is worthless.
    pub fn push(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<Progress, Corrupt> {
        loop {
            if self.is_done {
                return if input.is_empty() {
                    Ok(Progress::Done)
                } else {
                    Err(self.compressed_length())
                };
            }
            let mut probe = [0];
            let is_full = self.written_bytes == self.entry.size_bytes;
            let room = output.capacity() - output.len();
            if !is_full && room == 0 {
                return Ok(Progress::OutputFull);
            }
            let written_from = output.len();
            let (read, probed) = match &mut self.decoder {
                None => {
                    let wanted = self.entry.size_bytes - self.written_bytes;
                    let count = input.len().min(room).min(clamp(wanted));
                    output.extend_from_slice(&input[..count]);
                    self.is_done = count as u64 == wanted;
                    (count, 0)
                }
                Some(decoder) => {
                    let (read_before, written_before) = (decoder.total_in(), decoder.total_out());
                    // With all bytes out the stream's end still has to come, and nothing else:
                    // one byte of room tells an overlong stream from one that just ends.
                    let status = if is_full {
                        decoder.decompress(input, &mut probe, FlushDecompress::None)
                    } else {
                        decoder.decompress_vec(input, output, FlushDecompress::None)
                    };
                    let status = status.map_err(|_| Corrupt::Deflate {
                        entry: self.entry.shown_name(),
                    })?;
                    self.is_done = status == Status::StreamEnd;
                    let written = decoder.total_out() - written_before;
                    let read = (decoder.total_in() - read_before) as usize;
                    (read, if is_full { written } else { 0 })
                }
            };
            let written = &output[written_from..];
            *input = &input[read..];
            self.read_bytes += read as u64;
            self.written_bytes += written.len() as u64 + probed;
            self.crc32.update(written);
            if self.written_bytes > self.entry.size_bytes {
                return Err(Corrupt::TooLong {
                    entry: self.entry.shown_name(),
                    size_bytes: self.entry.size_bytes,
                });
            }
            if read == 0 && written.is_empty() && !self.is_done {
                return if input.is_empty() {
                    Ok(Progress::NeedsInput)
                } else {
                    // It has input and room and does nothing with them.
                    Err(Corrupt::Deflate {
                        entry: self.entry.shown_name(),
                    })
                };
            }
        }
    }

    /// Checks the length and the CRC-32 of the whole.
    pub fn finish(self) -> Result<(), Corrupt> {
        if !self.is_done || self.written_bytes != self.entry.size_bytes {
            return Err(Corrupt::TooShort {
                entry: self.entry.shown_name(),
                size_bytes: self.entry.size_bytes,
                found_bytes: self.written_bytes,
            });
        }
        if self.read_bytes != self.entry.compressed_bytes {
            return Err(self.compressed_length());
        }
        if self.crc32.finalize() != self.entry.crc32 {
            return Err(Corrupt::Crc32 {
                entry: self.entry.shown_name(),
            });
        }
        Ok(())
    }

    fn compressed_length(&self) -> Corrupt {
        Corrupt::CompressedLength {
            entry: self.entry.shown_name(),
        }
    }
}

/// Inflates an entry at once; what is stored is not copied.
///
/// Holds all of the entry's `size_bytes`: for entries that the memory budget has room for.
pub fn inflate(entry: &Entry, compressed: Bytes) -> Result<Bytes, Corrupt> {
    if entry.method == Method::Stored {
        if compressed.len() as u64 != entry.compressed_bytes {
            return Err(Corrupt::CompressedLength {
                entry: entry.shown_name(),
            });
        }
        if crc32fast::hash(&compressed) != entry.crc32 {
            return Err(Corrupt::Crc32 {
                entry: entry.shown_name(),
            });
        }
        return Ok(compressed);
    }
    let mut inflater = Inflater::new(entry);
    let mut contents = Vec::with_capacity(clamp(entry.size_bytes));
    inflater.push(&mut &compressed[..], &mut contents)?;
    inflater.finish()?;
    Ok(contents.into())
}

fn clamp(size_bytes: u64) -> usize {
    usize::try_from(size_bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{File, zip};
    use super::*;

    /// The only entry of an archive and its compressed data.
    fn entry(file: File) -> (Entry, Bytes) {
        let data = file.data.clone().into();
        let index = zip([file]).parse().unwrap();
        (index.entries[0].clone(), data)
    }

    /// Pushes pieces of the compressed data and drains the output when it is full.
    fn in_pieces(
        entry: &Entry,
        compressed: &[u8],
        piece_bytes: usize,
        room_bytes: usize,
    ) -> Result<Vec<u8>, Corrupt> {
        let mut inflater = Inflater::new(entry);
        let mut output = Vec::with_capacity(room_bytes);
        let room_bytes = output.capacity();
        let mut contents = Vec::new();
        let mut pieces = compressed.chunks(piece_bytes);
        let mut input = &[][..];
        loop {
            let progress = inflater.push(&mut input, &mut output)?;
            assert_eq!(output.capacity(), room_bytes, "the output never grows");
            match progress {
                Progress::OutputFull => contents.append(&mut output),
                Progress::NeedsInput => match pieces.next() {
                    Some(piece) => input = piece,
                    None => break,
                },
                Progress::Done => match pieces.next() {
                    Some(piece) => input = piece,
                    None => break,
                },
            }
        }
        contents.append(&mut output);
        inflater.finish().map(|()| contents)
    }

    fn both_ways(entry: &Entry, compressed: &Bytes) -> Result<Bytes, Corrupt> {
        let whole = inflate(entry, compressed.clone());
        let pieces = in_pieces(entry, compressed, 3, 7).map(Bytes::from);
        assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?} {pieces:?}");
        if whole.is_ok() {
            assert_eq!(whole, pieces);
        }
        whole
    }

    #[test]
    fn stored_contents_are_not_copied() {
        let (entry, data) = entry(File::stored("a", b"12345"));
        assert_eq!(
            inflate(&entry, data.clone()).unwrap().as_ptr(),
            data.as_ptr()
        );
    }

    #[test]
    fn empty_files_are_empty() {
        for file in [File::stored("a", b""), File::deflated("a", b"")] {
            let (entry, data) = entry(file);
            assert_eq!(both_ways(&entry, &data), Ok(Bytes::new()));
        }
    }

    #[test]
    fn what_differs_from_the_directory_is_corrupt() {
        let contents = b"to be, or not to be, or to be";
        for file in [File::stored("a", contents), File::deflated("a", contents)] {
            let (right, data) = entry(file);
            assert_eq!(both_ways(&right, &data).unwrap(), &contents[..]);

            let crc32 = right.crc32 ^ 1;
            let wrong = Entry {
                crc32,
                ..right.clone()
            };
            assert!(matches!(
                both_ways(&wrong, &data),
                Err(Corrupt::Crc32 { .. })
            ));

            for size_bytes in [0, 1, 28, 30, 1_000] {
                let mut wrong = Entry {
                    size_bytes,
                    ..right.clone()
                };
                if wrong.method == Method::Stored {
                    wrong.compressed_bytes = size_bytes;
                }
                assert!(both_ways(&wrong, &data).is_err(), "{size_bytes}");
            }

            let wrong = Entry {
                compressed_bytes: right.compressed_bytes + 1,
                ..right.clone()
            };
            assert!(both_ways(&wrong, &data).is_err());

            let mut longer = data.to_vec();
            longer.push(0);
            assert!(both_ways(&right, &longer.into()).is_err());
            for length in 0..data.len() {
                assert!(
                    both_ways(&right, &data.slice(..length)).is_err(),
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn a_stream_longer_than_its_size_stops_at_the_first_byte_too_many() {
        let (entry, data) = entry(File::deflated("zeros", &vec![0; 1 << 20]));
        let entry = Entry {
            size_bytes: 10,
            ..entry
        };
        let error = both_ways(&entry, &data).unwrap_err();
        let expected = Corrupt::TooLong {
            entry: "zeros".into(),
            size_bytes: 10,
        };
        assert_eq!(error, expected);
    }

    proptest! {
        #[test]
        fn contents_come_out_as_they_went_in_whatever_the_pieces(
            contents in prop::collection::vec(0_u8..4, 0..3_000),
            is_stored in any::<bool>(),
            piece_bytes in 1_usize..500,
            room_bytes in 1_usize..500,
        ) {
            let (entry, data) = entry(if is_stored {
                File::stored("a", &contents)
            } else {
                File::deflated("a", &contents)
            });
            prop_assert_eq!(inflate(&entry, data.clone()).unwrap(), &contents[..]);
            let pieces = in_pieces(&entry, &data, piece_bytes, room_bytes);
            prop_assert_eq!(pieces.unwrap(), contents);
        }
    }
}
