//! The results of a wave's writes.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::summary::Summary;
use crate::archive::Corrupt;
use crate::aws::bucket::{Bucket, InspectedObject};
use crate::aws::write::WriteResult;
use crate::error::Error;
use crate::manifest::Row;
use crate::plan::{Put, Wanted};
use crate::report::Progress;

/// The result of a wave, or of some of its writes.
#[derive(Debug, Default)]
pub struct WaveResult<'a> {
    /// The manifest's new rows, by key.
    pub written: Vec<(Cow<'a, str>, Row)>,
    pub bytes_written: u64,
    /// Puts whose objects someone else wrote since they were listed, each with the ETag of what is there now.
    pub conflicts: Vec<Put<'a>>,
    /// How many transfers did not start or were given up, because the deadline was near or another transfer failed.
    pub stopped: usize,
    /// The first failure.
    pub error: Option<Error>,
}

/// A wave whose writes are under way.
pub(super) struct WaveInProgress<'a> {
    bucket: &'a Bucket,
    progress: &'a Progress,
    wave: Mutex<WaveResult<'a>>,
}

/// An object as it was sent to the bucket.
pub(super) struct SentObject {
    pub(super) wanted: Wanted,
    pub(super) size_bytes: u64,
    /// `None` if the bytes did not pass through the function.
    pub(super) crc32: Option<u32>,
    /// Whether the request carried the bytes.
    pub(super) has_body: bool,
}

impl<'a> WaveInProgress<'a> {
    pub(super) fn new(bucket: &'a Bucket, progress: &'a Progress, writes: usize) -> Self {
        let wave = WaveResult { written: Vec::with_capacity(writes), ..WaveResult::default() };
        Self { bucket, progress, wave: Mutex::new(wave) }
    }

    /// Records the answer to a write.
    ///
    /// After a conflict it looks at the object. That may be our own, from an attempt whose answer was lost. If it is
    /// not, the put has to be repeated on top of it.
    ///
    /// # Errors
    /// `ArchiveRejected` when S3 found the body corrupt, `Aws`.
    pub(super) async fn record(&self, put: Put<'a>, sent: SentObject, answer: WriteResult) -> Result<(), Error> {
        let etag = match answer {
            WriteResult::Done(etag) => etag,
            WriteResult::Corrupt => return Err(Corrupt::crc32(put.entry).into()),
            WriteResult::Conflict => match Box::pin(self.bucket.inspect(&put.key)).await? {
                Some(found) if sent.is(&found) => found.etag,
                found => {
                    let replaces = found.map(|found| found.etag);
                    self.wave().conflicts.push(Put { replaces, ..put });
                    return Ok(());
                }
            },
        };
        let bytes = if sent.has_body { sent.size_bytes } else { 0 };
        self.progress.wrote(bytes);
        tracing::debug!(key = %put.key, bytes, "written");
        let row = sent.wanted.row(put.entry, sent.size_bytes, etag);
        let mut wave = self.wave();
        wave.bytes_written += bytes;
        wave.written.push((put.key, row));
        Ok(())
    }

    pub(super) fn close(self, summary: Summary) -> WaveResult<'a> {
        let wave = self.wave.into_inner().unwrap_or_else(PoisonError::into_inner);
        WaveResult { stopped: summary.stopped, error: summary.error, ..wave }
    }

    fn wave(&self) -> MutexGuard<'_, WaveResult<'a>> {
        self.wave.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SentObject {
    fn is(&self, found: &InspectedObject) -> bool {
        found.size_bytes == self.size_bytes
            && found.crc32.is_some()
            && found.crc32 == self.crc32
            && found.headers.digest() == self.wanted.headers.digest()
    }
}
