//! Zstandard (RFC 8878), method 93: one frame, a block at a time.
//!
//! The frame's own sizes and checksum are not looked at: an entry's length and CRC-32 say the same,
//! for every method. What may follow a frame (another one, one to be skipped) is refused, since
//! readers differ in whether they go on behind the first.

use std::io::Read;

use ruzstd::decoding::FrameDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError};

/// How far back a block may refer, and so what a decoder has to hold. "It's recommended for
/// decoders to support Window_Size of up to 8 MB" (RFC 8878 section 3.1.1.1.2); levels up to 19 of
/// the `zstd` tool need no more.
pub(super) const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// Magic number, descriptor, window or size, and an empty raw block (RFC 8878 section 3.1.1).
pub(super) const FRAME_BYTES_MIN: u64 = 9;

/// RFC 8878 section 3.1.1.2.4.
const MAX_BLOCK_BYTES: usize = 128 << 10;
const BLOCK_HEADER_BYTES: usize = 3;
const CHECKSUM_BYTES: usize = 4;
/// Magic number and descriptor, which tells the header's length.
const DESCRIPTOR_END: usize = 5;

/// Why a frame is not read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FrameError {
    Invalid,
    /// It is sound, and needs something that nobody has or wants to give.
    Unsupported(&'static str),
}

/// A frame on its way in.
pub(super) struct Frame {
    decoder: FrameDecoder,
    /// The part of the frame that comes next.
    next: Part,
    /// What has come of that part.
    pending: Vec<u8>,
    has_checksum: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Header,
    Block,
    Checksum,
    Nothing,
}

impl Frame {
    pub(super) fn new() -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MAX_WINDOW_BYTES);
        Self { decoder, next: Part::Header, pending: Vec::new(), has_checksum: false }
    }

    /// Whether all of it came in and went out.
    pub(super) fn is_done(&self) -> bool {
        self.next == Part::Nothing && self.decoder.can_collect() == 0
    }

    /// Appends what is decoded to `output`, within its capacity, or else takes input, of at most one
    /// block. Tells how much of `input` was taken.
    ///
    /// A block is decoded only when nothing is left of those before it, so that no input, however
    /// small and often, fills more memory than the window and one block.
    pub(super) fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, FrameError> {
        let room = output.capacity() - output.len();
        let ready = self.decoder.can_collect();
        if ready > 0 {
            let from = output.len();
            output.resize(from + ready.min(room), 0);
            self.decoder.read_exact(&mut output[from..]).map_err(|_| FrameError::Invalid)?;
            return Ok(0);
        }
        let mut taken = 0;
        loop {
            let wanted = self.wanted_bytes()?;
            let count = (wanted - self.pending.len()).min(input.len() - taken);
            self.pending.extend_from_slice(&input[taken..][..count]);
            taken += count;
            if self.pending.len() < wanted || wanted == 0 {
                return Ok(taken);
            }
            // The part's own first bytes may say that it is longer.
            if self.pending.len() == self.wanted_bytes()? {
                self.decode()?;
                return Ok(taken);
            }
        }
    }

    /// How long the next part is, as far as its first bytes tell.
    fn wanted_bytes(&self) -> Result<usize, FrameError> {
        match self.next {
            Part::Header => Ok(match self.pending.get(DESCRIPTOR_END - 1) {
                None => DESCRIPTOR_END,
                Some(descriptor) => header_bytes(*descriptor),
            }),
            Part::Block => match BlockHeader::parse(&self.pending) {
                None => Ok(BLOCK_HEADER_BYTES),
                Some(header) if header.size_bytes > MAX_BLOCK_BYTES => Err(FrameError::Invalid),
                Some(header) => Ok(BLOCK_HEADER_BYTES + header.content_bytes()),
            },
            Part::Checksum => Ok(CHECKSUM_BYTES),
            Part::Nothing => Ok(0),
        }
    }

    /// Decodes the part that has come.
    fn decode(&mut self) -> Result<(), FrameError> {
        match self.next {
            Part::Header => {
                self.has_checksum = self.pending[DESCRIPTOR_END - 1] & 0b100 != 0;
                self.decoder.init(&self.pending[..]).map_err(trouble)?;
                self.next = Part::Block;
            }
            Part::Block => {
                let is_last = BlockHeader::parse(&self.pending).is_some_and(|header| header.is_last);
                self.decode_pending()?;
                self.next = match (is_last, self.has_checksum) {
                    (false, _) => Part::Block,
                    (true, true) => Part::Checksum,
                    (true, false) => Part::Nothing,
                };
            }
            Part::Checksum => {
                self.decode_pending()?;
                self.next = Part::Nothing;
            }
            Part::Nothing => {}
        }
        self.pending.clear();
        Ok(())
    }

    fn decode_pending(&mut self) -> Result<(), FrameError> {
        let decoded = self.decoder.decode_from_to(&self.pending, &mut []);
        let (read, _) = decoded.map_err(trouble)?;
        if read == self.pending.len() { Ok(()) } else { Err(FrameError::Invalid) }
    }
}

/// The length of a frame header, magic number included (RFC 8878 section 3.1.1.1).
fn header_bytes(descriptor: u8) -> usize {
    let is_single_segment = descriptor & 0b10_0000 != 0;
    let window_bytes = usize::from(!is_single_segment);
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    let size_bytes = match descriptor >> 6 {
        0 => usize::from(is_single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    DESCRIPTOR_END + window_bytes + dictionary_bytes + size_bytes
}

fn trouble(error: FrameDecoderError) -> FrameError {
    match error {
        FrameDecoderError::DictNotProvided { .. } => FrameError::Unsupported("needs a dictionary; pack it without one"),
        FrameDecoderError::WindowSizeTooBig { .. }
        | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { .. }) => {
            FrameError::Unsupported("needs a window of over 8 MiB; pack it with level 19 or less")
        }
        _ => FrameError::Invalid,
    }
}

/// RFC 8878 section 3.1.1.2.
struct BlockHeader {
    is_last: bool,
    is_repeated_byte: bool,
    size_bytes: usize,
}

impl BlockHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [first, second, third, ..] = *bytes else {
            return None;
        };
        let value = u32::from_le_bytes([first, second, third, 0]);
        Some(Self {
            is_last: value & 1 == 1,
            is_repeated_byte: value >> 1 & 0b11 == 1,
            size_bytes: (value >> 3) as usize,
        })
    }

    fn content_bytes(&self) -> usize {
        if self.is_repeated_byte { 1 } else { self.size_bytes }
    }
}
