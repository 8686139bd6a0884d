//! How a file is compressed, and how far it may expand.

use super::super::extra::Extent;
use super::super::header::CentralHeader;
use super::super::{Method, Rejection, zstd};

/// Entries up to this size may have any ratio: they fit in memory, however well they compress.
const SMALL_BYTES: u64 = 1 << 20;

/// Returns the file's compression method, after checking that its sizes are possible and within the ratio.
pub(super) fn check(header: &CentralHeader<'_>, extent: Extent, max_ratio: u64) -> Result<Method, Rejection> {
    let method = supported_method(header)?;
    if !is_possible(method, extent) {
        return Err(Rejection::ImpossibleSizes { entry: header.display_name() });
    }
    check_ratio(header, extent, max_ratio)?;
    Ok(method)
}

fn supported_method(header: &CentralHeader<'_>) -> Result<Method, Rejection> {
    match header.method {
        0 => Ok(Method::Stored),
        8 if !header.is_patch() => Ok(Method::Deflate),
        93 => Ok(Method::Zstd),
        method => Err(Rejection::UnsupportedMethod { entry: header.display_name(), method }),
    }
}

/// Returns whether the method can produce an entry of these sizes.
fn is_possible(method: Method, extent: Extent) -> bool {
    // Compressors store incompressible data in blocks that add a few bytes each, so no packer doubles it. Endless
    // empty blocks would, and a small entry is held in memory together with its compressed data.
    let longest = extent.size_bytes.saturating_mul(2).saturating_add(64 << 10);
    match method {
        Method::Stored => extent.size_bytes == extent.compressed_bytes,
        // The shortest stream, which is empty, has two bytes (RFC 1951 section 3.2.6).
        Method::Deflate => (2..=longest).contains(&extent.compressed_bytes),
        Method::Zstd => (zstd::FRAME_BYTES_MIN..=longest).contains(&extent.compressed_bytes),
    }
}

/// Refuses a file that expands too many times: a zip bomb.
fn check_ratio(header: &CentralHeader<'_>, extent: Extent, max_ratio: u64) -> Result<(), Rejection> {
    let is_small = extent.size_bytes <= SMALL_BYTES;
    if !is_small && extent.size_bytes > extent.compressed_bytes.saturating_mul(max_ratio) {
        return Err(Rejection::RatioTooHigh {
            entry: header.display_name(),
            ratio: extent.size_bytes.div_ceil(extent.compressed_bytes.max(1)),
            max: max_ratio,
        });
    }
    Ok(())
}
