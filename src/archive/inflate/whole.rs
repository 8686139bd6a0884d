//! Inflates entries that are held in memory as a whole.

use std::cell::RefCell;

use bytes::Bytes;
use libdeflater::Decompressor;
use memchr::memmem;

use super::super::gzip::{TRAILER_BYTES, gzip};
use super::super::{Corrupt, Entry, Method};
use super::{Inflater, clamp};

/// Inflates an entry in one call, and checks it; stored contents are not copied.
///
/// The contents take `size_bytes` of memory, so this is for entries that fit in the memory budget.
pub fn inflate(entry: &Entry, compressed: Bytes) -> Result<Bytes, Corrupt> {
    if entry.method == Method::Stored {
        check_stored(entry, &compressed)?;
        return Ok(compressed);
    }
    if entry.method == Method::Deflate
        && let Some(contents) = inflate_with_libdeflate(entry, &compressed)
    {
        return Ok(contents.into());
    }
    let mut inflater = Inflater::new(entry);
    let mut contents = Vec::with_capacity(clamp(entry.size_bytes));
    inflater.push(&mut &compressed[..], &mut contents)?;
    inflater.finish(crc32fast::hash(&contents))?;
    Ok(contents.into())
}

fn check_stored(entry: &Entry, contents: &[u8]) -> Result<(), Corrupt> {
    if contents.len() as u64 != entry.compressed_bytes {
        return Err(Corrupt::compressed_length(entry));
    }
    if crc32fast::hash(contents) != entry.crc32 {
        return Err(Corrupt::crc32(entry));
    }
    Ok(())
}

thread_local! {
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::new());
}

/// Inflates a valid deflated entry in half the time; returns `None` if the entry may be invalid.
///
/// libdeflate does not say where the stream ended. But it reads gzip files, in which the CRC-32 and
/// the length directly follow the stream. If these eight bytes occur only at the end of the file,
/// the stream ended there, and no bytes were left over.
fn inflate_with_libdeflate(entry: &Entry, compressed: &[u8]) -> Option<Vec<u8>> {
    let file = gzip(entry, compressed).ok()?;
    let end = file.len() - TRAILER_BYTES;
    if memmem::find(&file, &file[end..]) != Some(end) {
        return None;
    }
    let mut contents = vec![0; usize::try_from(entry.size_bytes).ok()?];
    let inflated = DECOMPRESSOR.with_borrow_mut(|it| it.gzip_decompress(&file, &mut contents).ok())?;
    (inflated == contents.len()).then_some(contents)
}
