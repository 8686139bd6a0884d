//! Contents: inflated, and held against the CRC-32 and the length that CI's tool wrote.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Decompressor;
use memchr::memmem;
use thiserror::Error;

use super::gzip::{TRAILER_BYTES, gzip};
use super::zstd::{Frame, FrameError};
use super::{Entry, Method};

/// Why an entry's data is not what the archive promises.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Corrupt {
    #[error("entry `{entry}` is corrupt: its compressed data is invalid; pack the archive anew")]
    Data { entry: String },
    #[error("entry `{entry}`: its zstd frame {problem}")]
    Zstd { entry: String, problem: &'static str },
    #[error(
        "entry `{entry}` is corrupt: it has more than the {size_bytes} bytes that the archive \
         says; pack the archive anew"
    )]
    TooLong { entry: String, size_bytes: u64 },
    #[error(
        "entry `{entry}` is corrupt: it ends after {found_bytes} of {size_bytes} bytes; pack the \
         archive anew"
    )]
    TooShort { entry: String, size_bytes: u64, found_bytes: u64 },
    #[error(
        "entry `{entry}` is corrupt: its compressed data is longer or shorter than the archive \
         says; pack the archive anew"
    )]
    CompressedLength { entry: String },
    #[error("entry `{entry}` is corrupt: its CRC-32 is not the archive's; pack the archive anew")]
    Crc32 { entry: String },
}

impl Corrupt {
    /// The entry's bytes do not have its CRC-32.
    pub fn crc32(entry: &Entry) -> Self {
        Self::Crc32 { entry: entry.display_name() }
    }
}

/// What [`Inflater::push`] stopped at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All input was taken; push what follows.
    NeedsInput,
    /// The output has no room left; push the same input again once it has.
    OutputFull,
    /// The entry is complete; call [`Inflater::finish`].
    Done,
}

/// Inflates one entry piece by piece, in the caller's buffers and [`Method::window_bytes`].
pub struct Inflater {
    entry: Entry,
    decoder: Decoder,
    read_bytes: u64,
    written_bytes: u64,
    is_done: bool,
}

enum Decoder {
    Stored,
    Deflate(Decompress),
    Zstd(Box<Frame>),
}

impl Inflater {
    pub fn new(entry: &Entry) -> Self {
        Self {
            entry: entry.clone(),
            decoder: match entry.method {
                Method::Stored => Decoder::Stored,
                Method::Deflate => Decoder::Deflate(Decompress::new(false)),
                Method::Zstd => Decoder::Zstd(Box::new(Frame::new())),
            },
            read_bytes: 0,
            written_bytes: 0,
            is_done: entry.method == Method::Stored && entry.size_bytes == 0,
        }
    }

    /// Takes from the front of `input` and appends to `output`, never beyond its capacity.
    ///
    /// The input, over all calls, is the entry's compressed data and nothing else. After an error
    /// what was appended in this call is worthless.
    pub fn push(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<Step, Corrupt> {
        loop {
            if self.is_done {
                return if input.is_empty() { Ok(Step::Done) } else { Err(self.compressed_length()) };
            }
            let is_full = self.written_bytes == self.entry.size_bytes;
            if !is_full && output.capacity() == output.len() {
                return Ok(Step::OutputFull);
            }
            let written_from = output.len();
            // With all bytes out the stream's end still has to come, and nothing else: one byte of
            // room tells an overlong stream from one that just ends.
            let mut probe = Vec::with_capacity(usize::from(is_full));
            let target = if is_full { &mut probe } else { &mut *output };
            let read = self.decode(input, target)?;
            let written = output.len() - written_from;
            *input = &input[read..];
            self.read_bytes += read as u64;
            self.written_bytes += (written + probe.len()) as u64;
            if self.written_bytes > self.entry.size_bytes {
                return Err(Corrupt::TooLong { entry: self.entry.display_name(), size_bytes: self.entry.size_bytes });
            }
            if read == 0 && written == 0 && !self.is_done {
                return if input.is_empty() {
                    Ok(Step::NeedsInput)
                } else {
                    // It has input and room and does nothing with them.
                    Err(self.invalid())
                };
            }
        }
    }

    /// Decodes some of `input` into the spare capacity of `output`; tells how much was taken.
    fn decode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, Corrupt> {
        match &mut self.decoder {
            Decoder::Stored => {
                let wanted = self.entry.size_bytes - self.written_bytes;
                let room = output.capacity() - output.len();
                let count = input.len().min(room).min(clamp(wanted));
                output.extend_from_slice(&input[..count]);
                self.is_done = count as u64 == wanted;
                Ok(count)
            }
            Decoder::Deflate(decoder) => {
                let read_before = decoder.total_in();
                let status = decoder.decompress_vec(input, output, FlushDecompress::None);
                let read = (decoder.total_in() - read_before) as usize;
                self.is_done = status.map_err(|_| self.invalid())? == Status::StreamEnd;
                Ok(read)
            }
            Decoder::Zstd(frame) => {
                let result = frame.step(input, output);
                self.is_done = frame.is_done();
                result.map_err(|trouble| match trouble {
                    FrameError::Invalid => self.invalid(),
                    FrameError::Unsupported(problem) => Corrupt::Zstd { entry: self.entry.display_name(), problem },
                })
            }
        }
    }

    /// Checks the length of the whole, and the CRC-32 that the caller computed of it.
    pub fn finish(self, crc32: u32) -> Result<(), Corrupt> {
        if !self.is_done || self.written_bytes != self.entry.size_bytes {
            return Err(Corrupt::TooShort {
                entry: self.entry.display_name(),
                size_bytes: self.entry.size_bytes,
                found_bytes: self.written_bytes,
            });
        }
        if self.read_bytes != self.entry.compressed_bytes {
            return Err(self.compressed_length());
        }
        if crc32 != self.entry.crc32 {
            return Err(Corrupt::crc32(&self.entry));
        }
        Ok(())
    }

    fn invalid(&self) -> Corrupt {
        Corrupt::Data { entry: self.entry.display_name() }
    }

    fn compressed_length(&self) -> Corrupt {
        Corrupt::CompressedLength { entry: self.entry.display_name() }
    }
}

/// Inflates an entry at once; what is stored is not copied.
///
/// Holds all of the entry's `size_bytes`: for entries that the memory budget has room for.
pub fn inflate(entry: &Entry, compressed: Bytes) -> Result<Bytes, Corrupt> {
    if entry.method == Method::Stored {
        if compressed.len() as u64 != entry.compressed_bytes {
            return Err(Corrupt::CompressedLength { entry: entry.display_name() });
        }
        if crc32fast::hash(&compressed) != entry.crc32 {
            return Err(Corrupt::crc32(entry));
        }
        return Ok(compressed);
    }
    if entry.method == Method::Deflate
        && let Some(contents) = inflate_sound(entry, &compressed)
    {
        return Ok(contents.into());
    }
    let mut inflater = Inflater::new(entry);
    let mut contents = Vec::with_capacity(clamp(entry.size_bytes));
    inflater.push(&mut &compressed[..], &mut contents)?;
    inflater.finish(crc32fast::hash(&contents))?;
    Ok(contents.into())
}

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Inflates a deflated entry that is sound, in half the time; nothing where it may not be.
///
/// The library does not tell where the stream ended. But it takes a gzip file, in which the CRC-32 and the length
/// come right behind that: where they are nowhere but behind the last byte, no byte was left over.
fn inflate_sound(entry: &Entry, compressed: &[u8]) -> Option<Vec<u8>> {
    let file = gzip(entry, compressed).ok()?;
    let end = file.len() - TRAILER_BYTES;
    if memmem::find(&file, &file[end..]) != Some(end) {
        return None;
    }
    let mut contents = vec![0; usize::try_from(entry.size_bytes).ok()?];
    let inflated = DECOMPRESSOR.with_borrow_mut(|it| it.gzip_decompress(&file, &mut contents).ok())?;
    (inflated == contents.len()).then_some(contents)
}

fn clamp(size_bytes: u64) -> usize {
    usize::try_from(size_bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
