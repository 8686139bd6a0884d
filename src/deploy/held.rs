//! The lease that this invocation holds, with the head and the record that only its holder writes.

use chrono::{DateTime, Utc};

use super::Site;
use super::claim::Claim;
use crate::aws::ledger::{Change, Committed, Ledger, PreviewChange};
use crate::deployment::{Head, Owed, Record, RunFailure, RunId, RunRecord};
use crate::error::Error;

/// The site's head while this invocation holds the lease.
///
/// Every write of the head is conditional on the version that this invocation wrote last.
pub(super) struct HeldHead<'a> {
    ledger: &'a Ledger,
    head: Head,
}

impl<'a> HeldHead<'a> {
    /// Takes the lease by a change of the head. A run also writes its records; a sweep has none.
    ///
    /// Returns `None` if another invocation has changed the head since it was read.
    ///
    /// # Errors
    /// `Aws`.
    pub(super) async fn claim(ledger: &'a Ledger, change: Change<'_>) -> Result<Option<Self>, Error> {
        let head = change.to.clone();
        let committed = ledger.commit(change).await?;
        Ok((committed == Committed::Yes).then_some(Self { ledger, head }))
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
        self.commit(self.head.released(), None, None, &[], settled).await
    }

    /// Records owed batches, and deletes those in `settled`.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn record(&mut self, owed: &[Owed], settled: &mut Vec<Owed>) -> Result<(), Error> {
        self.commit(self.head.next_version(), None, None, owed, settled).await
    }

    /// Makes sure that this invocation still holds the lease: another one may have taken it for the same request.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn keep(&mut self) -> Result<(), Error> {
        self.commit(self.head.next_version(), None, None, &[], &mut Vec::new()).await
    }

    /// Writes down that nothing of a preview is left in the live bucket, and deletes the batches in `settled`.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn empty(&mut self, settled: &mut Vec<Owed>) -> Result<(), Error> {
        self.commit(self.head.emptied(), None, None, &[], settled).await
    }

    /// Leaves nothing but the tombstone of a preview, and releases the lease.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn bury(&mut self, expires_at: i64, preview: PreviewChange) -> Result<(), Error> {
        let to = self.head.buried(expires_at);
        let change = Change { preview, ..Change::of_head(&self.head, &to) };
        if self.ledger.commit(change).await? == Committed::No {
            return Err(Error::LeaseLost);
        }
        self.head = to;
        Ok(())
    }

    /// Replaces an owed batch.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn replace(&mut self, owed: &Owed, by: &[Owed]) -> Result<(), Error> {
        self.commit(self.head.next_version(), None, None, by, &mut vec![owed.clone()]).await
    }

    async fn commit(
        &mut self,
        to: Head,
        record: Option<&Record>,
        run: Option<&RunRecord>,
        owed: &[Owed],
        settled: &mut Vec<Owed>,
    ) -> Result<(), Error> {
        let change = Change { record, run, owed, settled, ..Change::of_head(&self.head, &to) };
        if self.ledger.commit(change).await? == Committed::No {
            return Err(Error::LeaseLost);
        }
        settled.clear();
        self.head = to;
        Ok(())
    }
}

/// A run while this invocation holds the lease for it: the head, and the records of the deployment and of the run.
pub(super) struct HeldRun<'a> {
    head: HeldHead<'a>,
    record: Record,
    run: RunRecord,
    /// The head that the claim was made from.
    before: Head,
    /// The fingerprint of the distributions from which the run's batches follow.
    distributions: Option<String>,
}

impl<'a> HeldRun<'a> {
    /// Takes the lease; returns `None` if another invocation has changed the head since it was read.
    ///
    /// # Errors
    /// `Aws`.
    pub(super) async fn claim(site: &'a Site, claim: &Claim) -> Result<Option<Self>, Error> {
        let Claim { from, to, record, run } = claim;
        // The live site's part of the ledger lists a preview from its first run on.
        let preview = PreviewChange::Pushed(run.started_at);
        let change = Change { record: Some(record), run: Some(run), preview, ..Change::of_head(from, to) };
        let Some(head) = HeldHead::claim(&site.clients.ledger, change).await? else {
            return Ok(None);
        };
        tracing::Span::current().record("run", record.run);
        tracing::info!(run = record.run, rollback = record.rollback, "claimed the site");
        let (record, run) = (record.clone(), run.clone());
        Ok(Some(Self { head, record, run, before: from.clone(), distributions: None }))
    }

    /// Returns the run that holds the lease.
    pub(super) fn run(&self) -> RunId {
        RunId { deployment: self.record.deployment.clone(), number: self.record.run }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Whether a run had not finished when this one claimed the site: an earlier one, or this very run, whose retry
    /// this invocation is.
    pub(super) fn found_unfinished(&self) -> bool {
        self.before.has_unfinished()
    }

    /// Whether an earlier invocation of this run may have changed or deleted objects.
    pub(super) fn has_begun_before(&self) -> bool {
        self.before.unfinished_run(self.record.run).is_some_and(|run| run.has_begun)
    }

    /// Whether the head says that this run may have changed or deleted objects.
    pub(super) fn has_begun(&self) -> bool {
        self.head.head.unfinished_run(self.record.run).is_some_and(|run| run.has_begun)
    }

    /// Returns the run that was live when this one claimed the site.
    pub(super) fn live_before(&self) -> Option<&RunId> {
        self.before.live.as_ref()
    }

    /// Returns the lease.
    pub(super) fn lease(&mut self) -> &mut HeldHead<'a> {
        &mut self.head
    }

    /// Returns the head as the next write changes it.
    pub(super) fn head_mut(&mut self) -> &mut Head {
        self.head.get_mut()
    }

    /// Records new owed batches, and deletes those in `settled`. From now on the run counts as begun.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn record_batches(&mut self, batches: &[Owed], settled: &mut Vec<Owed>) -> Result<(), Error> {
        // The count is written with the batches, so that no caller reference is ever used twice.
        let record = self.record.clone().owing(batches.len());
        self.commit(self.begun(), record, None, batches, settled).await
    }

    /// Sets the fingerprint of the distributions that the head keeps once the run begins to write.
    pub(super) fn begins_with(&mut self, distributions: String) {
        self.distributions = Some(distributions);
    }

    /// Takes back what the head says of the distributions, because this invocation has not written anything.
    pub(super) fn has_not_begun(&mut self) {
        self.head.head.distributions.clone_from(&self.before.distributions);
    }

    fn begun(&self) -> Head {
        Head { distributions: self.distributions.clone(), ..self.head.head.begun(&self.run()) }
    }

    /// Writes the head once more, and deletes the batches in `settled`.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn write_head(&mut self, settled: &mut Vec<Owed>) -> Result<(), Error> {
        self.commit(self.head.head.next_version(), self.record.clone(), None, &[], settled).await
    }

    /// Lets the head say that the run begins to write, and deletes the batches in `settled`.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn begin(&mut self, settled: &mut Vec<Owed>) -> Result<(), Error> {
        self.commit(self.begun(), self.record.clone(), None, &[], settled).await
    }

    /// Makes the run the live one, and releases the lease.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn finish(
        &mut self,
        answer: Option<String>,
        now: DateTime<Utc>,
        settled: &mut Vec<Owed>,
    ) -> Result<(), Error> {
        let record = self.record.clone().finished(answer.clone(), self.head.head.live.as_ref());
        let run = self.run.clone().finished(answer, now);
        self.commit(self.head.head.finished(&self.run(), now), record, Some(run), &[], settled).await
    }

    /// Releases the lease after an attempt has failed. The run stays unfinished, unless it was refused: then it has
    /// ended. `has_begun` says whether it may have changed objects.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn fail(
        &mut self,
        error: &Error,
        has_begun: bool,
        now: DateTime<Utc>,
        settled: &mut Vec<Owed>,
    ) -> Result<(), Error> {
        let (head, record) = (&self.head.head, self.record.clone());
        let (head, record) = if error.is_refusal() {
            (head.refused(&self.run(), has_begun), record.refused(&error.refusal().message(), error.is_final()))
        } else {
            (head.given_up(&self.run(), has_begun), record)
        };
        let failure = RunFailure { error_type: error.kind().to_owned(), error_message: error.message() };
        let run = self.run.clone().failed(failure, error.is_refusal(), now);
        self.commit(head, record, Some(run), &[], settled).await
    }

    async fn commit(
        &mut self,
        head: Head,
        record: Record,
        run: Option<RunRecord>,
        owed: &[Owed],
        settled: &mut Vec<Owed>,
    ) -> Result<(), Error> {
        self.head.commit(head, Some(&record), run.as_ref(), owed, settled).await?;
        self.record = record;
        self.run = run.unwrap_or_else(|| self.run.clone());
        Ok(())
    }
}
