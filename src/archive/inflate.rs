//! Inflates entries, and checks the contents against the CRC-32 and the length in the archive.

mod check;
#[cfg(test)]
mod tests;
mod whole;

use flate2::{Decompress, FlushDecompress, Status};

use super::zstd::{Frame, FrameError};
use super::{Corrupt, Entry, Method};

pub(super) use check::Checker;
pub use check::{check, check_bytes};
pub use whole::inflate;

/// Why [`Inflater::push`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// All input was taken: push the input that follows.
    NeedsInput,
    /// The output is full: make room, then push the rest of the same input.
    OutputFull,
    /// The entry is complete: call [`Inflater::finish`].
    Done,
}

/// Inflates one entry piece by piece.
///
/// It uses the caller's buffers, and [`Method::window_bytes`] of its own.
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

    /// Takes bytes from the front of `input` and appends to `output`, never beyond its capacity.
    ///
    /// Over all calls, the input is exactly the entry's compressed data. After an error, the bytes
    /// that this call appended are invalid.
    pub fn push(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<Step, Corrupt> {
        loop {
            if self.is_done {
                return if input.is_empty() { Ok(Step::Done) } else { Err(Corrupt::compressed_length(&self.entry)) };
            }
            let is_full = self.written_bytes == self.entry.size_bytes;
            if !is_full && output.capacity() == output.len() {
                return Ok(Step::OutputFull);
            }
            let written_from = output.len();
            // When all bytes are written, only the end of the stream is missing. One byte of room
            // distinguishes a stream that ends from one that is too long.
            let mut probe = Vec::with_capacity(usize::from(is_full));
            let target = if is_full { &mut probe } else { &mut *output };
            let read = self.decode(input, target)?;
            let written = output.len() - written_from;
            *input = &input[read..];
            self.read_bytes += read as u64;
            self.written_bytes += (written + probe.len()) as u64;
            if self.written_bytes > self.entry.size_bytes {
                return Err(self.too_long());
            }
            if read == 0 && written == 0 && !self.is_done {
                // A decoder that has input and room, and uses neither, never will.
                return if input.is_empty() { Ok(Step::NeedsInput) } else { Err(self.invalid()) };
            }
        }
    }

    /// Decodes some of `input` into the spare capacity of `output`, and returns how much was read.
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
                let result = frame.decode(input, output);
                self.is_done = frame.is_done();
                result.map_err(|error| self.zstd_error(error))
            }
        }
    }

    /// Checks the length of the whole, and the CRC-32 that the caller computed of it.
    pub fn finish(self, crc32: u32) -> Result<(), Corrupt> {
        if !self.is_done || self.written_bytes != self.entry.size_bytes {
            return Err(self.too_short());
        }
        if self.read_bytes != self.entry.compressed_bytes {
            return Err(Corrupt::compressed_length(&self.entry));
        }
        if crc32 != self.entry.crc32 {
            return Err(Corrupt::crc32(&self.entry));
        }
        Ok(())
    }

    fn invalid(&self) -> Corrupt {
        Corrupt::Data { entry: self.entry.display_name() }
    }

    fn zstd_error(&self, error: FrameError) -> Corrupt {
        match error {
            FrameError::Invalid => self.invalid(),
            FrameError::Unsupported(problem) => Corrupt::Zstd { entry: self.entry.display_name(), problem },
        }
    }

    fn too_long(&self) -> Corrupt {
        Corrupt::TooLong { entry: self.entry.display_name(), size_bytes: self.entry.size_bytes }
    }

    fn too_short(&self) -> Corrupt {
        Corrupt::TooShort {
            entry: self.entry.display_name(),
            size_bytes: self.entry.size_bytes,
            found_bytes: self.written_bytes,
        }
    }
}

fn clamp(size_bytes: u64) -> usize {
    usize::try_from(size_bytes).unwrap_or(usize::MAX)
}
