//! The writes: waves of puts and header changes, and deletes, with the manifest kept up to date.

use super::draft::Draft;
use super::{Invocation, Site};
use crate::aws::bucket::Bucket;
use crate::aws::delete::{DELETES_PER_CALL, NotDeleted};
use crate::error::Error;
use crate::manifest::Row;
use crate::plan::{self, Delete, Drift, Put};
use crate::transfer::{Transfer, WaveResult};

/// How many writes are moved to the manifest together. A row is smaller there, so a large site needs less memory.
const WRITES_PER_NOTE: usize = 50_000;

/// Writes to the live bucket, and keeps the manifest up to date with every write.
pub(super) struct Writer<'a> {
    bucket: &'a Bucket,
    invocation: &'a Invocation<'a>,
    pub draft: Draft<'a>,
    /// How many objects the plan writes.
    planned: usize,
    written: usize,
    bytes_written: u64,
    deleted: usize,
    /// Objects that others changed during the run.
    drift: Drift,
}

/// The result of a pass of deletes.
#[derive(Default)]
pub(super) struct DeleteResult {
    /// Each with S3's reason.
    pub refused: Vec<(Delete, NotDeleted)>,
    /// How many were not tried because the deadline was too near.
    pub not_tried: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(site: &'a Site, invocation: &'a Invocation<'a>) -> Self {
        Self {
            bucket: &site.clients.bucket,
            invocation,
            draft: Draft::new(&site.clients.manifests),
            planned: 0,
            written: 0,
            bytes_written: 0,
            deleted: 0,
            drift: Drift::default(),
        }
    }

    /// Sets how many objects there are to write, for the counts in errors.
    pub(super) fn expect(&mut self, planned: usize) {
        self.planned = planned;
    }

    /// Notes keys that will be written in the manifest.
    pub(super) fn announce<'k>(&mut self, keys: impl Iterator<Item = &'k str>) {
        for keys in portions(keys) {
            self.draft.announce(keys);
        }
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    pub(super) fn deleted(&self) -> usize {
        self.deleted
    }

    /// Returns the objects that others changed during the run.
    pub(super) fn drift(&self) -> &Drift {
        &self.drift
    }

    /// Carries out one wave, and returns the puts that it left out because another writer has changed their objects.
    ///
    /// # Errors
    /// `Unfinished` at the deadline; those of reading the archive; `Aws`.
    pub(super) async fn write<'p>(
        &mut self,
        transfer: &Transfer<'p>,
        wave: plan::Wave<'p>,
    ) -> Result<Vec<Put<'p>>, Error> {
        let mut conflicts = Vec::new();
        for changes in portions(wave.header_changes) {
            conflicts.extend(self.absorb(transfer.change_headers(changes).await)?);
        }
        for puts in portions(wave.puts) {
            conflicts.extend(self.absorb(transfer.put_all(puts).await)?);
        }
        Ok(conflicts)
    }

    /// Moves the results to the manifest, and returns the puts that were left out.
    fn absorb<'p>(&mut self, done: WaveResult<'p>) -> Result<Vec<Put<'p>>, Error> {
        self.written += done.written.len();
        self.bytes_written += done.bytes_written;
        for put in &done.conflicts {
            self.drift.note(&put.key);
        }
        self.draft.change(done.written.into_iter().map(|(key, row)| (key, Some(row))).collect());
        match done.error {
            Some(error) => Err(error),
            None if done.stopped > 0 => Err(self.unfinished(0)),
            None => Ok(done.conflicts),
        }
    }

    /// Deletes objects, each only while it is the one that was listed.
    ///
    /// # Errors
    /// `Aws`; what was deleted before an error is noted.
    pub(super) async fn delete(&mut self, deletes: Vec<Delete>) -> Result<DeleteResult, Error> {
        let mut deleted = DeleteResult { refused: Vec::new(), not_tried: deletes.len() };
        let now = self.invocation.now().timestamp();
        let mut gone = Vec::new();
        let mut result = Ok(());
        for chunk in deletes.chunks(DELETES_PER_CALL) {
            if self.invocation.is_late() {
                break;
            }
            let keys: Vec<_> = chunk.iter().map(|delete| (delete.key.as_str(), Some(&delete.etag))).collect();
            let refusals = match self.bucket.delete(&keys).await {
                Ok(refusals) => refusals,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            deleted.not_tried -= chunk.len();
            for delete in chunk {
                match refusals.iter().find(|refusal| refusal.key == delete.key) {
                    None => gone.push((delete.key.as_str(), (!delete.is_stale).then(|| Row::departed(now)))),
                    Some(refusal) => deleted.refused.push((delete.clone(), refusal.clone())),
                }
            }
        }
        self.deleted += gone.len();
        self.draft.change(gone);
        result.map(|()| deleted)
    }

    /// Looks up the object that has taken the place of the listed one, so that S3 refused the delete. Returns the delete
    /// of the new object, or `None` if there is none. Counts it as drift.
    ///
    /// # Errors
    /// `Aws`.
    pub(super) async fn look_up_replacement(&mut self, delete: Delete) -> Result<Option<Delete>, Error> {
        self.drift.note(&delete.key);
        let found = self.bucket.inspect(&delete.key).await?;
        if found.is_none() {
            let now = self.invocation.now().timestamp();
            self.draft.change(vec![(delete.key.as_str(), (!delete.is_stale).then(|| Row::departed(now)))]);
        }
        Ok(found.map(|found| Delete { etag: found.etag, is_stale: true, ..delete }))
    }

    /// Returns the error of a run that the deadline stops, with `deletes` objects to delete.
    pub(super) fn unfinished(&self, deletes: usize) -> Error {
        Error::Unfinished { done: self.written + self.deleted, total: self.planned + deletes }
    }
}

fn portions<T>(writes: impl IntoIterator<Item = T>) -> impl Iterator<Item = Vec<T>> {
    let mut writes = writes.into_iter();
    std::iter::from_fn(move || {
        let portion: Vec<T> = writes.by_ref().take(WRITES_PER_NOTE).collect();
        (!portion.is_empty()).then_some(portion)
    })
}
