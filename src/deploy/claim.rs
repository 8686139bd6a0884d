//! The claim: whether an upload may run, and the head and record with which it takes the lease.

use std::pin::{Pin, pin};

use futures_util::future::{BoxFuture, FutureExt, MaybeDone, maybe_done};

use super::attempt::Attempt;
use super::build::Build;
use crate::aws::ledger::Committed;
use crate::deployment::{Decision, Head, Record, Status, decide};
use crate::error::Error;
use crate::report::Outcome;

/// The head and record that an attempt writes to take the lease.
pub(super) struct Claim {
    /// The head that was read. The claim holds only while that head is unchanged.
    pub from: Head,
    pub to: Head,
    pub record: Record,
}

/// The outcome of the decision table, with its consequence.
pub(super) enum Decided {
    /// The site is free for the attempt's run.
    Claim(Box<Claim>),
    /// There is nothing to do. The number is that of the deployment's last run, or 0.
    Nothing(Outcome, u64),
}

/// An attempt that wants to claim the site.
pub(super) struct Claimant<'a> {
    attempt: &'a Attempt<'a>,
    /// The archive's index is read at the same time as the ledger.
    reading: MaybeDone<BoxFuture<'a, Result<Build, Error>>>,
    /// The build, once its index is judged.
    build: Option<Build>,
}

impl<'a> Claimant<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>) -> Self {
        Self { attempt, reading: maybe_done(Build::read(attempt).boxed()), build: None }
    }

    /// Decides what the ledger's items mean for the attempt, and waits while another deployment is at work.
    ///
    /// The archive's index is judged before it returns a claim.
    ///
    /// # Errors
    /// `ArchiveRejected`, which is recorded; `ArchiveGone`; `Busy`; `Aws`.
    pub(super) async fn decide(&mut self) -> Result<Decided, Error> {
        let attempt = self.attempt;
        loop {
            let (head, record) = self.read_ledger().await?;
            let last_run = record.as_ref().map_or(0, |record| record.run);
            let decision = decide(&head, record.as_ref(), &attempt.request());
            match decision {
                Decision::Rejected(reason) => return Err(Error::ArchiveRejected(reason)),
                Decision::InProgress => return Ok(Decided::Nothing(Outcome::InProgress, last_run)),
                Decision::Duplicate => return Ok(Decided::Nothing(Outcome::Duplicate, last_run)),
                Decision::Superseded => {
                    if self.write_superseded(record.as_ref()).await? == Committed::Yes {
                        return Ok(Decided::Nothing(Outcome::Superseded, last_run));
                    }
                }
                Decision::Start { rollback } => {
                    self.judge_archive(record.as_ref()).await?;
                    let number = head.sequence + 1;
                    let fresh =
                        Record { status: Status::Unfinished, rollback, batches: 0, ..attempt.record(record.as_ref()) };
                    return Ok(self.claim(head, Record { run: number, ..fresh }));
                }
                Decision::Resume => {
                    self.judge_archive(record.as_ref()).await?;
                    return Ok(self.claim(head, attempt.record(record.as_ref())));
                }
                Decision::Wait => {
                    self.judge_archive(record.as_ref()).await?;
                    self.wait(&head).await?;
                }
            }
        }
    }

    /// Returns the build of a claim that [`Self::decide`] has returned.
    pub(super) fn into_build(self) -> Build {
        self.build.expect("a claim is made only after the archive was judged")
    }

    /// Reads head and record. Meanwhile the archive is read on, but not waited for.
    async fn read_ledger(&mut self) -> Result<(Head, Option<Record>), Error> {
        let mut reading_ledger = pin!(self.attempt.site.clients.ledger.read(&self.attempt.id));
        tokio::select! {
            biased;
            read = &mut reading_ledger => read,
            () = &mut self.reading, if self.build.is_none() => reading_ledger.await,
        }
    }

    /// Waits until the archive's index is judged, and records a refusal.
    async fn judge_archive(&mut self, record: Option<&Record>) -> Result<(), Error> {
        if self.build.is_some() {
            return Ok(());
        }
        (&mut self.reading).await;
        let judged = Pin::new(&mut self.reading).take_output().expect("it was awaited, and is taken only once");
        if let Some(reason) = judged.as_ref().err().and_then(Error::refusal) {
            let rejected = self.attempt.record(record).rejected(reason);
            // If another run has changed the record meanwhile, the next event is refused in the same way.
            let _ = self.attempt.site.clients.ledger.write_record(record, &rejected).await?;
        }
        self.build = Some(judged?);
        Ok(())
    }

    async fn write_superseded(&self, record: Option<&Record>) -> Result<Committed, Error> {
        let superseded = Record { status: Status::Superseded, ..self.attempt.record(record) };
        self.attempt.site.clients.ledger.write_record(record, &superseded).await
    }

    fn claim(&self, head: Head, record: Record) -> Decided {
        let invocation = self.attempt.invocation;
        let record = record.claimed_by(invocation.request_id);
        let to = head.claimed(&self.attempt.request(), record.run, invocation.deadline);
        Decided::Claim(Box::new(Claim { from: head, to, record }))
    }

    async fn wait(&self, head: &Head) -> Result<(), Error> {
        let invocation = self.attempt.invocation;
        if invocation.is_late() {
            let lease = head.lease.as_ref();
            return Err(Error::Busy {
                deployment: lease.map(|lease| lease.deployment.to_string()).unwrap_or_default(),
                until: lease.map(|lease| lease.until.to_rfc3339()).unwrap_or_default(),
            });
        }
        tracing::debug!("another deployment is at work on the site; waiting");
        // The jitter keeps several that wait from looking all at the same time.
        let pause = invocation.pause.mul_f64(0.7 + 0.6 * fastrand::f64());
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
