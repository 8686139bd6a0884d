//! Checks entries whose contents are not needed yet, or not at all.

use bytes::Bytes;

use super::super::{Corrupt, Entry, Method};
use super::{Inflater, Step, inflate};

/// A larger entry is inflated piece by piece, which takes twice the time but less memory.
const MAX_WHOLE_BYTES: u64 = 1 << 20;

/// How much a [`Checker`] inflates at a time.
const ROOM_BYTES: usize = 64 << 10;

/// Inflates an entry and checks its contents, without returning them.
pub fn check(entry: &Entry, compressed: Bytes) -> Result<(), Corrupt> {
    if is_checked_whole(entry) {
        return inflate(entry, compressed).map(drop);
    }
    let mut checker = Checker::new(entry);
    checker.push(&compressed)?;
    checker.finish()
}

/// Returns how much memory [`check`] takes.
pub fn check_bytes(entry: &Entry) -> u64 {
    match entry.method {
        Method::Stored => 0,
        // libdeflate inflates a copy of the data.
        method if is_checked_whole(entry) => {
            entry.compressed_bytes + entry.size_bytes + method.window_bytes(entry.size_bytes)
        }
        method => ROOM_BYTES as u64 + method.window_bytes(entry.size_bytes),
    }
}

fn is_checked_whole(entry: &Entry) -> bool {
    entry.method == Method::Stored || entry.size_bytes <= MAX_WHOLE_BYTES
}

/// Inflates one entry piece by piece and checks its contents, which it does not keep.
pub struct Checker {
    inflater: Inflater,
    room: Vec<u8>,
    crc32: crc32fast::Hasher,
}

impl Checker {
    pub fn new(entry: &Entry) -> Self {
        Self { inflater: Inflater::new(entry), room: Vec::with_capacity(ROOM_BYTES), crc32: crc32fast::Hasher::new() }
    }

    /// Takes the next piece of the compressed data.
    pub fn push(&mut self, mut input: &[u8]) -> Result<(), Corrupt> {
        loop {
            let step = self.inflater.push(&mut input, &mut self.room)?;
            self.crc32.update(&self.room);
            self.room.clear();
            if step != Step::OutputFull {
                return Ok(());
            }
        }
    }

    /// Checks the length and the CRC-32 of the whole.
    pub fn finish(self) -> Result<(), Corrupt> {
        self.inflater.finish(self.crc32.finalize())
    }
}
