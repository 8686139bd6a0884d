//! The lease that this invocation holds, with the head and the record that only its holder writes.

use super::Site;
use super::claim::Claim;
use crate::aws::ledger::{Change, Committed, Ledger};
use crate::deployment::{Head, Owed, Record, RunId, Status};
use crate::error::Error;

/// The site's head while this invocation holds the lease.
///
/// Every write of the head is conditional on the version that this invocation wrote last.
pub(super) struct HeldHead<'a> {
    ledger: &'a Ledger,
    head: Head,
}

impl<'a> HeldHead<'a> {
    /// Takes the lease by replacing the head `from` with `to`. A run also writes its record; a sweep has none.
    ///
    /// Returns `None` if another invocation has changed the head since it was read.
    ///
    /// # Errors
    /// `Aws`.
    pub(super) async fn claim(
        ledger: &'a Ledger,
        from: &Head,
        to: &Head,
        record: Option<&Record>,
    ) -> Result<Option<Self>, Error> {
        let change = Change { from, to, record, owed: &[], settled: &[] };
        let committed = ledger.commit(change).await?;
        Ok((committed == Committed::Yes).then(|| Self { ledger, head: to.clone() }))
    }

    /// Returns the head as the next write changes it.
    pub(super) fn get_mut(&mut self) -> &mut Head {
        &mut self.head
    }

    /// Releases the lease, and deletes the batches in `settled`.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn release(&mut self, settled: &mut Vec<Owed>) -> Result<(), Error> {
        self.commit(self.head.released(), None, &[], settled).await
    }

    async fn commit(
        &mut self,
        to: Head,
        record: Option<&Record>,
        owed: &[Owed],
        settled: &mut Vec<Owed>,
    ) -> Result<(), Error> {
        let change = Change { from: &self.head, to: &to, record, owed, settled };
        if self.ledger.commit(change).await? == Committed::No {
            return Err(Error::LeaseLost);
        }
        settled.clear();
        self.head = to;
        Ok(())
    }
}

/// A run while this invocation holds the lease for it: the head, and the record.
pub(super) struct HeldRun<'a> {
    head: HeldHead<'a>,
    record: Record,
    /// The head that the claim was made from.
    before: Head,
}

impl<'a> HeldRun<'a> {
    /// Takes the lease; returns `None` if another invocation has changed the head since it was read.
    ///
    /// # Errors
    /// `Aws`.
    pub(super) async fn claim(site: &'a Site, claim: &Claim) -> Result<Option<Self>, Error> {
        let Claim { from, to, record } = claim;
        let Some(head) = HeldHead::claim(&site.clients.ledger, from, to, Some(record)).await? else {
            return Ok(None);
        };
        tracing::Span::current().record("run", record.run);
        tracing::info!(run = record.run, rollback = record.rollback, "claimed the site");
        Ok(Some(Self { head, record: record.clone(), before: from.clone() }))
    }

    /// Returns the run that holds the lease.
    pub(super) fn run(&self) -> RunId {
        RunId { deployment: self.record.deployment.clone(), number: self.record.run }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the run that had not finished when this one claimed the site: an earlier one, or this very run, whose
    /// retry this invocation is.
    pub(super) fn found_unfinished(&self) -> Option<&RunId> {
        self.before.unfinished.as_ref()
    }

    /// Returns the head as the next write changes it.
    pub(super) fn head_mut(&mut self) -> &mut Head {
        self.head.get_mut()
    }

    /// Records new owed batches, and deletes those in `settled`.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn record_batches(&mut self, batches: &[Owed], settled: &mut Vec<Owed>) -> Result<(), Error> {
        // The count is written with the batches, so that no caller reference is ever used twice.
        let count = u32::try_from(batches.len()).unwrap_or(u32::MAX);
        let record = Record { batches: self.record.batches.saturating_add(count), ..self.record.clone() };
        self.commit(self.head.head.next_version(), record, batches, settled).await
    }

    /// Writes the head once more, and deletes the batches in `settled`.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn write_head(&mut self, settled: &mut Vec<Owed>) -> Result<(), Error> {
        self.commit(self.head.head.next_version(), self.record.clone(), &[], settled).await
    }

    /// Makes the run the live one, and releases the lease.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn finish(&mut self, answer: Option<String>, settled: &mut Vec<Owed>) -> Result<(), Error> {
        let record = Record { status: Status::Finished, answer, ..self.record.clone() };
        self.commit(self.head.head.finished(&self.run()), record, &[], settled).await
    }

    /// Releases the lease of a run that may have written; it stays unfinished.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn release(&mut self, settled: &mut Vec<Owed>) -> Result<(), Error> {
        self.commit(self.head.head.released(), self.record.clone(), &[], settled).await
    }

    /// Releases the lease of a run that has written nothing, with the reason if its archive was refused.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn withdraw(&mut self, rejection: Option<&str>, settled: &mut Vec<Owed>) -> Result<(), Error> {
        let record = self.record.clone();
        let record = match rejection {
            Some(reason) => record.rejected(reason),
            None => record,
        };
        self.commit(self.head.head.withdrawn(&self.run(), &self.before), record, &[], settled).await
    }

    async fn commit(
        &mut self,
        head: Head,
        record: Record,
        owed: &[Owed],
        settled: &mut Vec<Owed>,
    ) -> Result<(), Error> {
        self.head.commit(head, Some(&record), owed, settled).await?;
        self.record = record;
        Ok(())
    }
}
