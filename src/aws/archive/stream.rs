//! A range of the archive that is read as it arrives, in one GET however long it is.

use std::ops::Range;

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::body::parse_content_range;
use super::object::{ArchiveObject, BODY_ATTEMPTS, Failure};
use crate::aws::response::BODY_PATIENCE;
use crate::error::Error;

/// A range that is being read.
///
/// If the answer breaks off, the rest of the range is requested again.
pub struct RangeStream<'a> {
    object: &'a ArchiveObject,
    /// The bytes that have not arrived yet.
    left: Range<u64>,
    /// Bytes that have arrived, and were not returned yet.
    arrived: Bytes,
    /// The answer to the last request.
    answer: Option<Answer>,
    /// How many answers have broken off since the last byte of the range arrived.
    broken: usize,
}

struct Answer {
    body: ByteStream,
    /// How many of its next bytes lie before the range.
    excess: u64,
}

impl<'a> RangeStream<'a> {
    pub(super) fn new(object: &'a ArchiveObject, range: Range<u64>) -> Self {
        Self { object, left: range, arrived: Bytes::new(), answer: None, broken: 0 }
    }

    /// Returns a range that has arrived already, up to `end`.
    pub(super) fn arrived(object: &'a ArchiveObject, end: u64, bytes: Bytes) -> Self {
        Self { arrived: bytes, ..Self::new(object, end..end) }
    }

    /// Returns the next `count` bytes, or fewer at the end of the range.
    ///
    /// # Errors
    /// `ArchiveGone` when the version no longer exists, `Aws` for everything else.
    pub async fn next(&mut self, count: usize) -> Result<Bytes, Error> {
        let count = count.min(self.arrived.len() + (self.left.end - self.left.start) as usize);
        let mut bytes = BytesMut::with_capacity(count);
        loop {
            bytes.extend_from_slice(&self.arrived.split_to(self.arrived.len().min(count - bytes.len())));
            if bytes.len() == count {
                return Ok(bytes.freeze());
            }
            self.arrived = self.wait().await?;
        }
    }

    /// Waits for more bytes of the range. Returns none if the answer broke off.
    async fn wait(&mut self) -> Result<Bytes, Error> {
        let mut answer = match self.answer.take() {
            Some(answer) => answer,
            None => self.request().await?,
        };
        let reason = match timeout(BODY_PATIENCE, answer.body.next()).await {
            Ok(Some(Ok(chunk))) => {
                self.object.count(chunk.len());
                let chunk = answer.skip_excess(chunk);
                let chunk = chunk.slice(..chunk.len().min((self.left.end - self.left.start) as usize));
                self.left.start += chunk.len() as u64;
                self.broken = if chunk.is_empty() { self.broken } else { 0 };
                self.answer = Some(answer);
                return Ok(chunk);
            }
            Ok(Some(Err(error))) => error.to_string(),
            Ok(None) => "it is shorter than the range".to_owned(),
            Err(_) => format!("nothing arrived for {} s", BODY_PATIENCE.as_secs()),
        };
        self.broken += 1;
        let range = self.header();
        if self.broken == BODY_ATTEMPTS {
            return Err(self.object.broken_off(&range, reason));
        }
        tracing::warn!(%range, %reason, "the archive's answer broke off; asking again");
        Ok(Bytes::new())
    }

    /// Requests what has not arrived yet.
    async fn request(&self) -> Result<Answer, Error> {
        let (content_range, body) = match self.object.request_long(&self.header()).await {
            Ok(answer) => answer,
            Err(Failure::Unsatisfiable) => return Err(self.object.too_short(&self.left)),
            Err(Failure::Error(error)) => return Err(error),
        };
        // A server that ignores the range sends everything.
        let start = content_range.as_deref().and_then(parse_content_range).map_or(0, |(start, _)| start);
        let excess = self.left.start.checked_sub(start).ok_or_else(|| self.object.too_short(&self.left))?;
        Ok(Answer { body, excess })
    }

    fn header(&self) -> String {
        format!("bytes={}-{}", self.left.start, self.left.end - 1)
    }
}

impl Answer {
    /// Returns what is left of the body's next bytes without those before the range.
    fn skip_excess(&mut self, chunk: Bytes) -> Bytes {
        let skipped = self.excess.min(chunk.len() as u64);
        self.excess -= skipped;
        chunk.slice(skipped as usize..)
    }
}
