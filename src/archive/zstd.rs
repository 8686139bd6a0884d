//! Zstandard (RFC 8878), method 93: exactly one frame.
//!
//! Some readers read on after the first frame, and skip frames that are marked as skippable; others
//! do not. So a second frame and a skippable one are refused.

use ::zstd::zstd_safe::zstd_sys::ZSTD_ErrorCode;
use ::zstd::zstd_safe::{DCtx, DParameter, ErrorCode, InBuffer, OutBuffer};

/// How far back a block may refer, and so how much a decoder holds.
///
/// "It's recommended for decoders to support `Window_Size` of up to 8 MB" (RFC 8878 section
/// 3.1.1.1.2). Levels up to 19 of the `zstd` tool need no more.
pub(super) const MAX_WINDOW_BYTES: u64 = 1 << MAX_WINDOW_LOG;
const MAX_WINDOW_LOG: u32 = 23;

/// Magic number, descriptor, window or size, and an empty raw block (RFC 8878 section 3.1.1).
pub(super) const FRAME_BYTES_MIN: u64 = 9;

/// RFC 8878 section 3.1.1: other frames are skippable, or of a format older than the RFC.
const MAGIC_NUMBER: [u8; 4] = 0xfd2f_b528_u32.to_le_bytes();

/// Why a frame cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FrameError {
    Invalid,
    /// The frame may be valid, but it needs more than a decoder has.
    Unsupported(&'static str),
}

/// Decodes one frame piece by piece.
pub(super) struct Frame {
    decoder: DCtx<'static>,
    /// How many bytes of the magic number were read.
    magic_bytes: usize,
    is_done: bool,
}

impl Frame {
    pub(super) fn new() -> Self {
        let mut decoder = DCtx::create();
        let set = decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG));
        set.expect("zstd takes any limit from 2^10 to 2^31 bytes");
        Self { decoder, magic_bytes: 0, is_done: false }
    }

    /// Returns whether the whole frame was read and all its contents were written.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Decodes some of `input` into the spare capacity of `output`, and returns how much was read.
    pub(super) fn decode(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, FrameError> {
        let mut input = InBuffer::around(self.next_input(input)?);
        let written = output.len();
        let mut output = OutBuffer::around_pos(output, written);
        let missing = self.decoder.decompress_stream(&mut output, &mut input).map_err(frame_error)?;
        self.is_done = missing == 0;
        Ok(input.pos())
    }

    /// Returns the input to decode next: the magic number by itself, after checking it, then the rest.
    ///
    /// With a complete frame in one input and room for its contents, zstd needs no window and does not
    /// check the limit. Whether a frame is accepted must not depend on the pieces it is read in.
    fn next_input<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FrameError> {
        let expected = &MAGIC_NUMBER[self.magic_bytes..];
        if expected.is_empty() {
            return Ok(input);
        }
        let magic = &input[..input.len().min(expected.len())];
        if !expected.starts_with(magic) {
            return Err(FrameError::Invalid);
        }
        self.magic_bytes += magic.len();
        Ok(magic)
    }
}

fn frame_error(code: ErrorCode) -> FrameError {
    // zstd returns the negative of the error's number (zstd_errors.h).
    let number = code.wrapping_neg();
    if number == ZSTD_ErrorCode::ZSTD_error_dictionary_wrong as usize {
        FrameError::Unsupported("needs a dictionary; pack it without one")
    } else if number == ZSTD_ErrorCode::ZSTD_error_frameParameter_windowTooLarge as usize {
        FrameError::Unsupported("needs a window of over 8 MiB; pack it with level 19 or less")
    } else {
        FrameError::Invalid
    }
}
