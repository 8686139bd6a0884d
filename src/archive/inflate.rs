//! Contents: inflated, and held against the CRC-32 and the length that CI's tool wrote.

use std::cell::RefCell;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Decompressor;
use memchr::memmem;
use thiserror::Error;

use super::gzip::{TRAILER_BYTES, gzip};
use super::zstd::{Frame, Trouble};
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
        Self::Crc32 { entry: entry.shown_name() }
    }
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

/// Inflates one entry piece by piece, in the caller's buffers and [`Method::held_bytes`].
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
    pub fn push(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<Progress, Corrupt> {
        loop {
            if self.is_done {
                return if input.is_empty() { Ok(Progress::Done) } else { Err(self.compressed_length()) };
            }
            let is_full = self.written_bytes == self.entry.size_bytes;
            if !is_full && output.capacity() == output.len() {
                return Ok(Progress::OutputFull);
            }
            let written_from = output.len();
            // With all bytes out the stream's end still has to come, and nothing else: one byte of
            // room tells an overlong stream from one that just ends.
            let mut probe = Vec::with_capacity(usize::from(is_full));
            let target = if is_full { &mut probe } else { &mut *output };
            let read = self.step(input, target)?;
            let written = output.len() - written_from;
            *input = &input[read..];
            self.read_bytes += read as u64;
            self.written_bytes += (written + probe.len()) as u64;
            if self.written_bytes > self.entry.size_bytes {
                return Err(Corrupt::TooLong { entry: self.entry.shown_name(), size_bytes: self.entry.size_bytes });
            }
            if read == 0 && written == 0 && !self.is_done {
                return if input.is_empty() {
                    Ok(Progress::NeedsInput)
                } else {
                    // It has input and room and does nothing with them.
                    Err(self.invalid())
                };
            }
        }
    }

    /// Decodes some of `input` into the spare capacity of `output`; tells how much was taken.
    fn step(&mut self, input: &[u8], output: &mut Vec<u8>) -> Result<usize, Corrupt> {
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
                    Trouble::Invalid => self.invalid(),
                    Trouble::Unsupported(problem) => Corrupt::Zstd { entry: self.entry.shown_name(), problem },
                })
            }
        }
    }

    /// Checks the length of the whole, and the CRC-32 that the caller computed of it.
    pub fn finish(self, crc32: u32) -> Result<(), Corrupt> {
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
        if crc32 != self.entry.crc32 {
            return Err(Corrupt::crc32(&self.entry));
        }
        Ok(())
    }

    fn invalid(&self) -> Corrupt {
        Corrupt::Data { entry: self.entry.shown_name() }
    }

    fn compressed_length(&self) -> Corrupt {
        Corrupt::CompressedLength { entry: self.entry.shown_name() }
    }
}

/// Inflates an entry at once; what is stored is not copied.
///
/// Holds all of the entry's `size_bytes`: for entries that the memory budget has room for.
pub fn inflate(entry: &Entry, compressed: Bytes) -> Result<Bytes, Corrupt> {
    if entry.method == Method::Stored {
        if compressed.len() as u64 != entry.compressed_bytes {
            return Err(Corrupt::CompressedLength { entry: entry.shown_name() });
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
mod tests {
    use std::io::Write;

    use ::zstd::zstd_safe::CParameter;
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
    fn in_pieces(entry: &Entry, compressed: &[u8], piece_bytes: usize, room_bytes: usize) -> Result<Vec<u8>, Corrupt> {
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
        let crc32 = crc32fast::hash(&contents);
        inflater.finish(crc32).map(|()| contents)
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
        assert_eq!(inflate(&entry, data.clone()).unwrap().as_ptr(), data.as_ptr());
    }

    #[test]
    fn empty_files_are_empty() {
        for file in [File::stored("a", b""), File::deflated("a", b""), File::zstd("a", b"")] {
            let (entry, data) = entry(file);
            assert_eq!(both_ways(&entry, &data), Ok(Bytes::new()));
        }
    }

    #[test]
    fn what_differs_from_the_directory_is_corrupt() {
        let contents = b"to be, or not to be, or to be";
        for file in [File::stored("a", contents), File::deflated("a", contents), File::zstd("a", contents)] {
            let (right, data) = entry(file);
            assert_eq!(both_ways(&right, &data).unwrap(), &contents[..]);

            let crc32 = right.crc32 ^ 1;
            let wrong = Entry { crc32, ..right.clone() };
            assert!(matches!(both_ways(&wrong, &data), Err(Corrupt::Crc32 { .. })));

            for size_bytes in [0, 1, 28, 30, 1_000] {
                let mut wrong = Entry { size_bytes, ..right.clone() };
                if wrong.method == Method::Stored {
                    wrong.compressed_bytes = size_bytes;
                }
                assert!(both_ways(&wrong, &data).is_err(), "{size_bytes}");
            }

            let wrong = Entry { compressed_bytes: right.compressed_bytes + 1, ..right.clone() };
            assert!(both_ways(&wrong, &data).is_err());

            let mut longer = data.to_vec();
            longer.push(0);
            assert!(both_ways(&right, &longer.into()).is_err());
            for length in 0..data.len() {
                assert!(both_ways(&right, &data.slice(..length)).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn bytes_after_a_stream_are_refused_whatever_they_are() {
        let (right, data) = entry(File::deflated("a", b"to be, or not to be"));
        let trailer = gzip(&right, &data).unwrap().split_off(10 + data.len());
        let junk = [trailer.clone(), vec![0; 100], data.to_vec(), [&data[..], &trailer].concat()];
        for after in [&trailer[..], &trailer[..4], &[0; 8], &[&trailer[..], b"x"].concat()] {
            for junk in junk.iter().map(Vec::as_slice).chain([&[][..]]) {
                let longer = [&data[..], after, junk].concat();
                let compressed_bytes = longer.len() as u64;
                let wrong = Entry { compressed_bytes, ..right.clone() };
                let error = both_ways(&wrong, &longer.into()).unwrap_err();
                assert!(matches!(error, Corrupt::CompressedLength { .. }), "{error}");
            }
        }
    }

    #[test]
    fn a_stream_longer_than_its_size_stops_at_the_first_byte_too_many() {
        let zeros = vec![0; 1 << 20];
        for file in [File::deflated("zeros", &zeros), File::zstd("zeros", &zeros)] {
            let (entry, data) = entry(file);
            let entry = Entry { size_bytes: 10, ..entry };
            let error = both_ways(&entry, &data).unwrap_err();
            let expected = Corrupt::TooLong { entry: "zeros".into(), size_bytes: 10 };
            assert_eq!(error, expected);
        }
    }

    /// A frame by the reference library, with these parameters.
    fn frame(contents: &[u8], level: i32, parameters: &[CParameter]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), level).unwrap();
        for parameter in parameters {
            encoder.set_parameter(*parameter).unwrap();
        }
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn zstd_is_read_at_every_level_with_and_without_checksum_and_size() {
        let contents: Vec<u8> = (0..60_000_u32).flat_map(|number| (number * number).to_string().into_bytes()).collect();
        for level in [-5, 1, 3, 10, 19] {
            for checksum in [false, true] {
                let with_size = zstd::bulk::compress(&contents, level).unwrap();
                let streamed = frame(&contents, level, &[CParameter::ChecksumFlag(checksum)]);
                for frame in [with_size, streamed] {
                    let (entry, data) = entry(File::framed("a", &contents, frame));
                    assert_eq!(inflate(&entry, data.clone()).unwrap(), &contents[..]);
                    let pieces = in_pieces(&entry, &data, 1_000, 999).unwrap();
                    assert!(pieces == contents, "level {level}");
                }
            }
        }
    }

    #[test]
    fn bytes_after_a_zstd_frame_are_refused() {
        let contents = b"to be, or not to be";
        let first = frame(contents, 3, &[]);
        let empty = frame(b"", 3, &[]);
        let skippable = b"\x50\x2a\x4d\x18\x02\x00\x00\x00hi";
        for after in [&b"\0"[..], &empty, skippable] {
            let (entry, data) = entry(File::framed("a", contents, [&first, after].concat()));
            let error = both_ways(&entry, &data).unwrap_err();
            assert!(matches!(error, Corrupt::CompressedLength { .. }), "{error}");
        }
        let (entry, data) = entry(File::framed("a", contents, [skippable, &first[..]].concat()));
        assert!(matches!(both_ways(&entry, &data), Err(Corrupt::Data { .. })));
    }

    #[test]
    fn a_zstd_frame_that_needs_a_dictionary_or_much_memory_is_refused() {
        let contents = b"to be, or not to be";
        let wide = frame(contents, 3, &[CParameter::WindowLog(24)]);
        // Magic number, a descriptor that announces a dictionary, its id, a size, an empty block.
        let dictionary = b"\x28\xb5\x2f\xfd\x21\x07\x00\x01\x00\x00".to_vec();
        for (frame, word) in [(wide, "window"), (dictionary, "dictionary")] {
            let (entry, data) = entry(File::framed("a", contents, frame));
            let error = both_ways(&entry, &data).unwrap_err();
            assert!(matches!(error, Corrupt::Zstd { .. }), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
        let fits = frame(contents, 3, &[CParameter::WindowLog(23)]);
        let (entry, data) = entry(File::framed("a", contents, fits));
        assert_eq!(both_ways(&entry, &data).unwrap(), &contents[..]);
    }

    #[test]
    fn a_zstd_bomb_holds_the_window_and_one_block() {
        // Blocks of one byte, repeated 128 KiB times, and none of them the last.
        let mut bomb = b"\x28\xb5\x2f\xfd\x00\x38".to_vec();
        for _ in 0..10_000 {
            bomb.extend([0x02, 0x00, 0x10, b'x']);
        }
        let (entry, data) = entry(File::framed("bomb", b"xxx", bomb));
        let mut frame = Frame::new();
        let mut output = Vec::with_capacity(10);
        let mut input = &data[..];
        for _ in 0..100 {
            let taken = frame.step(input, &mut output).unwrap();
            input = &input[taken..];
        }
        // Header, a block that fills the window, and one more, which first has to go out.
        assert_eq!((data.len() - input.len(), output.len()), (14, 10));
        assert!(matches!(both_ways(&entry, &data), Err(Corrupt::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn contents_come_out_as_they_went_in_whatever_the_pieces(
            contents in prop::collection::vec(0_u8..4, 0..3_000),
            method in 0..3,
            piece_bytes in 1_usize..500,
            room_bytes in 1_usize..500,
        ) {
            let (entry, data) = entry(match method {
                0 => File::stored("a", &contents),
                1 => File::deflated("a", &contents),
                _ => File::zstd("a", &contents),
            });
            prop_assert_eq!(inflate(&entry, data.clone()).unwrap(), &contents[..]);
            let pieces = in_pieces(&entry, &data, piece_bytes, room_bytes);
            prop_assert_eq!(pieces.unwrap(), contents);
        }

        #[test]
        fn a_changed_zstd_frame_never_panics_nor_gives_other_contents(
            contents in prop::collection::vec(0_u8..4, 0..3_000),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let (entry, data) = entry(File::zstd("a", &contents));
            let mut changed = data.to_vec();
            for (at, byte) in changes {
                let at = at.index(changed.len());
                changed[at] = byte;
            }
            if let Ok(read) = both_ways(&entry, &changed.into()) {
                prop_assert_eq!(read, contents);
            }
        }
    }
}
