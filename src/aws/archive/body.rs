//! The body of a ranged GET.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use crate::aws::response::BODY_PATIENCE;

/// A body and its place in the object.
///
/// A server may ignore the range and send everything (RFC 9110, section 14.2). Then there is no Content-Range, and the
/// body is the whole object.
pub(super) struct Body {
    start: Option<u64>,
    size: Option<u64>,
    bytes: Bytes,
}

impl Body {
    /// Places a body by its Content-Range, if the answer has one.
    pub(super) fn new(content_range: Option<&str>, bytes: Bytes) -> Self {
        let (start, size) = content_range.and_then(parse_content_range).unzip();
        Self { start, size, bytes }
    }

    /// Returns the last `count` bytes: their offset, the bytes, and the object's size.
    pub(super) fn last(self, count: u64) -> (u64, Bytes, u64) {
        let size = self.size.unwrap_or(self.bytes.len() as u64);
        let start = self.start.unwrap_or_default();
        let excess = (self.bytes.len() as u64).saturating_sub(count);
        (start + excess, self.bytes.slice(excess as usize..), size)
    }

    /// Returns the bytes of `range`, if the body has them all.
    pub(super) fn within(self, range: &Range<u64>) -> Option<Bytes> {
        let from = range.start.checked_sub(self.start.unwrap_or_default())? as usize;
        let to = from + (range.end - range.start) as usize;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

/// Parses `bytes 0-99/1234` as (0, 1234).
pub(super) fn parse_content_range(header: &str) -> Option<(u64, u64)> {
    let (range, size) = header.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

/// Reads a body to its end, and adds its bytes to the counter as they arrive.
///
/// # Errors
/// The reason why it broke off.
pub(super) async fn collect(mut body: ByteStream, counter: &AtomicU64) -> Result<Bytes, String> {
    let mut bytes = BytesMut::with_capacity(body.size_hint().0 as usize);
    while let Some(chunk) = (timeout(BODY_PATIENCE, body.next()).await)
        .map_err(|_| format!("nothing arrived for {} s", BODY_PATIENCE.as_secs()))?
    {
        let chunk = chunk.map_err(|error| error.to_string())?;
        counter.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}
