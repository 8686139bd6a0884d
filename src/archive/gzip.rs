//! A deflated entry as a gzip file, without inflating it: both contain the same deflate stream.
//!
//! The contents are not checked here. The entry's CRC-32 goes into the gzip file's trailer.

use super::{Corrupt, Entry, Step};

/// RFC 1952 section 2.3: deflate, no flags, no time, no hint about the compressor, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// CRC-32 and length, which follow the stream.
pub(super) const TRAILER_BYTES: usize = 8;

/// Returns the size of a deflated entry as a gzip file.
pub(super) fn gzip_bytes(entry: &Entry) -> u64 {
    entry.compressed_bytes + (HEADER.len() + TRAILER_BYTES) as u64
}

/// Wraps a whole entry.
pub(super) fn gzip(entry: &Entry, compressed: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let mut wrapper = GzipWrapper::new(entry);
    let size = usize::try_from(gzip_bytes(entry)).unwrap_or(usize::MAX);
    let mut file = Vec::with_capacity(size);
    wrapper.push(&mut &*compressed, &mut file)?;
    wrapper.finish()?;
    Ok(file)
}

/// Wraps one entry piece by piece, in the caller's buffers.
pub struct GzipWrapper {
    entry: Entry,
    trailer: [u8; TRAILER_BYTES],
    written_bytes: u64,
}

impl GzipWrapper {
    pub(super) fn new(entry: &Entry) -> Self {
        let mut trailer = [0; TRAILER_BYTES];
        trailer[..4].copy_from_slice(&entry.crc32.to_le_bytes());
        // The length modulo 2^32.
        trailer[4..].copy_from_slice(&entry.size_bytes.to_le_bytes()[..4]);
        Self { entry: entry.clone(), trailer, written_bytes: 0 }
    }

    /// Wraps the next piece, as [`Inflater::push`](super::Inflater::push) does.
    pub(super) fn push(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Result<Step, Corrupt> {
        let stream_start = HEADER.len() as u64;
        let stream_end = stream_start + self.entry.compressed_bytes;
        loop {
            let at = self.written_bytes;
            let room = output.capacity() - output.len();
            let rest = if at < stream_start {
                &HEADER[at as usize..]
            } else if at < stream_end {
                let wanted = usize::try_from(stream_end - at).unwrap_or(usize::MAX);
                &input[..input.len().min(wanted)]
            } else {
                &self.trailer[(at - stream_end) as usize..]
            };
            if rest.is_empty() && at < stream_end {
                return Ok(Step::NeedsInput);
            }
            if rest.is_empty() {
                return if input.is_empty() { Ok(Step::Done) } else { Err(Corrupt::compressed_length(&self.entry)) };
            }
            if room == 0 {
                return Ok(Step::OutputFull);
            }
            let count = rest.len().min(room);
            output.extend_from_slice(&rest[..count]);
            if at >= stream_start && at < stream_end {
                *input = &input[count..];
            }
            self.written_bytes += count as u64;
        }
    }

    /// Checks that the whole stream was wrapped.
    pub(super) fn finish(self) -> Result<(), Corrupt> {
        if self.written_bytes != gzip_bytes(&self.entry) {
            return Err(Corrupt::compressed_length(&self.entry));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::super::sample::{File, zip};
    use super::super::{Encoding, Unpacker};
    use super::*;

    /// The only entry of an archive and its compressed data.
    fn entry(contents: &[u8]) -> (Entry, Vec<u8>) {
        let file = File::deflated("a.txt", contents);
        let data = file.data.clone();
        let index = zip([file]).parse().unwrap();
        (index.entries[0].clone(), data)
    }

    fn rewrapped(entry: &Entry, data: &[u8], piece_bytes: usize, room_bytes: usize) -> Result<Vec<u8>, Corrupt> {
        let mut unpacker = Unpacker::new(entry, Encoding::Gzip);
        let mut output = Vec::with_capacity(room_bytes);
        let mut gzip = Vec::new();
        let mut pieces = data.chunks(piece_bytes);
        let mut input = &[][..];
        loop {
            match unpacker.push(&mut input, &mut output)? {
                Step::OutputFull => gzip.append(&mut output),
                Step::NeedsInput | Step::Done => match pieces.next() {
                    Some(piece) => input = piece,
                    None => break,
                },
            }
        }
        gzip.append(&mut output);
        let crc32 = crc32fast::hash(&gzip);
        unpacker.finish(crc32).map(|()| gzip)
    }

    #[test]
    fn data_of_the_wrong_length_is_corrupt() {
        let (entry, data) = entry(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        let longer = [&data[..], b"x"].concat();
        for data in [&data[..data.len() - 1], &longer, &[]] {
            assert!(rewrapped(&entry, data, 3, 7).is_err());
        }
    }

    #[test]
    fn contents_that_differ_from_the_directory_are_corrupt() {
        let (entry, data) = entry(b"aaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        let wrong_crc32 = Entry { crc32: entry.crc32 ^ 1, ..entry.clone() };
        let wrong_size = Entry { size_bytes: 27, ..entry };
        for entry in [wrong_crc32, wrong_size] {
            assert!(rewrapped(&entry, &data, 3, 7).is_err());
        }
    }

    proptest! {
        #[test]
        fn a_gzip_file_decodes_to_the_entrys_contents(
            contents in prop::collection::vec(0..4u8, 0..300),
            piece_bytes in 1..40usize,
            room_bytes in 1..40usize,
        ) {
            let (entry, data) = entry(&contents);
            let gzip = rewrapped(&entry, &data, piece_bytes, room_bytes).unwrap();
            prop_assert_eq!(gzip.len() as u64, gzip_bytes(&entry));
            let mut decoded = Vec::new();
            GzDecoder::new(&gzip[..]).read_to_end(&mut decoded).unwrap();
            prop_assert_eq!(decoded, contents);
        }
    }
}
