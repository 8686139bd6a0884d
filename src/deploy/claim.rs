//! The claim: whether an upload may run, and the head and record with which it takes the lease.

use std::pin::{Pin, pin};

use futures_util::future::{BoxFuture, FutureExt, MaybeDone, maybe_done};

use super::attempt::Attempt;
use super::build::Build;
use crate::aws::ledger::{Change, Committed, Known};
use crate::deployment::{Decision, Head, Identity, Lease, Record, Request, RunRecord, Source, Status, decide};
use crate::error::Error;
use crate::report::Outcome;

/// The items that an attempt writes to take the lease.
pub(super) struct Claim {
    /// The head that was read. The claim holds only while that head is unchanged.
    pub from: Head,
    pub to: Head,
    pub record: Record,
    pub run: RunRecord,
}

/// The outcome of the decision table, with its consequence.
pub(super) enum Decided {
    /// The site is free for the attempt's run.
    Claim(Box<Claim>),
    /// There is nothing to do. The number is that of the deployment's last run, or 0.
    Nothing(Outcome, u64),
    /// The ledger knows the upload by another id or time.
    KnownAs(Identity),
    /// "Previous" means another deployment by now.
    Moved,
}

/// An attempt that wants to claim the site.
pub(super) struct Claimant<'a> {
    attempt: &'a Attempt<'a>,
    /// The archive's index is read at the same time as the ledger.
    reading: MaybeDone<BoxFuture<'a, Result<Build, Error>>>,
    /// The build, or the refusal of its archive, once its index is judged.
    judged: Option<Result<Build, Error>>,
}

impl<'a> Claimant<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>) -> Self {
        Self { attempt, reading: maybe_done(Build::read(attempt).boxed()), judged: None }
    }

    /// Decides what the ledger's items mean for the attempt, and waits while another request is at work.
    ///
    /// The archive's index is judged before it returns a claim. A refusal ends the attempt here, unless the run has been
    /// started before: then it has to be ended under the lease.
    ///
    /// # Errors
    /// `ArchiveRejected`, which is recorded; `ArchiveGone`; `Busy`; `Aws`.
    pub(super) async fn decide(&mut self) -> Result<Decided, Error> {
        let attempt = self.attempt;
        loop {
            let Known { head, record, identity } = self.read_ledger().await?;
            if let Some(identity) = identity.filter(|identity| !attempt.is_known_as(identity)) {
                return Ok(Decided::KnownAs(identity));
            }
            if attempt.previous.as_ref().is_some_and(|previous| *previous != head.previous()) {
                return Ok(Decided::Moved);
            }
            let last_run = record.as_ref().map_or(0, |record| record.run);
            let decision = decide(&head, record.as_ref(), &attempt.request());
            match decision {
                Decision::Rejected(reason) => {
                    return Err(Error::RefusedForGood(reason).between_builds(&head, &attempt.site.config));
                }
                Decision::Remember => {
                    // If another invocation has changed the head meanwhile, the next look decides again.
                    let _ = self.remember_newest(&head, record.as_ref()).await?;
                }
                Decision::Duplicate => return Ok(Decided::Nothing(Outcome::Duplicate, last_run)),
                Decision::Superseded => {
                    if self.write_superseded(record.as_ref()).await? == Committed::Yes
                        && self.stays_superseded(&head).await?
                    {
                        return Ok(Decided::Nothing(Outcome::Superseded, last_run));
                    }
                }
                Decision::Start { rollback } => {
                    self.judge_archive(&head, record.as_ref()).await?;
                    let number = head.sequence + 1;
                    let started = Record { source: self.source(), ..attempt.record(record.as_ref()) };
                    let started = started.started(number, rollback);
                    return Ok(self.claim(head, started, attempt.run_record(number)));
                }
                Decision::Resume => {
                    self.judge().await;
                    // A run that has started is refused under the lease, since it may have changed objects.
                    self.fail_unless(Error::is_refusal)?;
                    let run = attempt.site.clients.ledger.run(last_run).await?;
                    // An earlier release may have started it.
                    let run = run.unwrap_or_else(|| attempt.run_record(last_run));
                    return Ok(self.claim(head, attempt.record(record.as_ref()), run));
                }
                Decision::Wait => {
                    let has_started = record.as_ref().is_some_and(|record| record.status == Status::Unfinished);
                    if !has_started {
                        self.judge_archive(&head, record.as_ref()).await?;
                    }
                    self.wait(&head).await?;
                }
            }
        }
    }

    /// Returns the build of a claim that [`Self::decide`] has returned.
    ///
    /// # Errors
    /// Those of reading the archive's index, if a run is resumed.
    pub(super) fn into_build(self) -> Result<Build, Error> {
        self.judged.expect("a claim is made only after the archive was judged")
    }

    /// Reads the ledger. Meanwhile the archive is read on, but not waited for.
    async fn read_ledger(&mut self) -> Result<Known, Error> {
        let mut reading_ledger = pin!(self.attempt.site.clients.ledger.read(&self.attempt.place.deployment));
        tokio::select! {
            biased;
            read = &mut reading_ledger => read,
            () = &mut self.reading, if self.judged.is_none() => reading_ledger.await,
        }
    }

    /// Waits until the archive's index is judged.
    async fn judge(&mut self) {
        if self.judged.is_none() {
            (&mut self.reading).await;
            self.judged = Pin::new(&mut self.reading).take_output();
        }
    }

    /// Returns where the build comes from, once its archive is judged.
    fn source(&self) -> Option<Source> {
        self.judged.as_ref()?.as_ref().ok()?.archive.source()
    }

    /// Waits until the archive's index is judged, and records a refusal.
    async fn judge_archive(&mut self, head: &Head, record: Option<&Record>) -> Result<(), Error> {
        self.judge().await;
        if let Some(Err(refusal)) = &self.judged
            && refusal.is_refusal()
        {
            let refused = self.attempt.record(record).refused(&refusal.message(), refusal.is_final());
            if record.is_none_or(|record| record.rejection != refused.rejection) {
                // If another run has changed the record meanwhile, the next event is refused in the same way.
                let _ = self.attempt.site.clients.ledger.write_record(record, &refused).await?;
            }
        }
        self.fail_unless(|_| false).map_err(|error| error.between_builds(head, &self.attempt.site.config))
    }

    /// Fails with the error of the archive's index, unless it is one of those that are `left_for_later`.
    fn fail_unless(&mut self, left_for_later: impl Fn(&Error) -> bool) -> Result<(), Error> {
        let error = self.judged.take_if(|judged| judged.as_ref().is_err_and(|error| !left_for_later(error)));
        error.map_or(Ok(()), |error| error.map(drop))
    }

    /// Writes down that the upload is the newest, with the time that its event tells.
    async fn remember_newest(&self, head: &Head, record: Option<&Record>) -> Result<Committed, Error> {
        let attempt = self.attempt;
        let (to, record) = (head.knowing_newest(&attempt.place), attempt.record(record));
        let change = Change { record: Some(&record), ..Change::of_head(head, &to) };
        attempt.site.clients.ledger.commit(change).await
    }

    async fn write_superseded(&self, record: Option<&Record>) -> Result<Committed, Error> {
        let superseded = self.attempt.record(record).superseded();
        self.attempt.site.clients.ledger.write_record(record, &superseded).await
    }

    /// Whether the upload is still superseded, once it is noted that it waits for newer runs that may be refused.
    async fn stays_superseded(&self, head: &Head) -> Result<bool, Error> {
        let Request { place, now, .. } = self.attempt.request();
        let Some(waiting) = self.attempt.waiting().filter(|_| head.may_still_take(place, now)) else {
            return Ok(true);
        };
        let ledger = &self.attempt.site.clients.ledger;
        ledger.write_waiting(&waiting).await?;
        // If the newer run has ended in the meantime, its invocation may have overlooked the note.
        let head = ledger.head().await?;
        Ok(head.newest(now).is_some_and(|newest| place.is_older_than(newest)))
    }

    fn claim(&self, head: Head, record: Record, run: RunRecord) -> Decided {
        let invocation = self.attempt.invocation;
        let record = record.claimed_by(invocation.request_id);
        let to = head.claimed(&self.attempt.request(), record.run, invocation.deadline);
        Decided::Claim(Box::new(Claim { from: head, to, record, run: run.attempted() }))
    }

    /// Waits a moment. Near the deadline, notes that the upload waits: whoever is done with the site next deploys it.
    ///
    /// # Errors
    /// `Busy` near the deadline; `Aws`.
    async fn wait(&self, head: &Head) -> Result<(), Error> {
        let invocation = self.attempt.invocation;
        if !invocation.waits || invocation.is_late() {
            return self.give_up_waiting(head).await;
        }
        tracing::debug!("another request is at work on the site; waiting");
        // The jitter keeps several that wait from looking all at the same time.
        let pause = invocation.pause.mul_f64(0.7 + 0.6 * fastrand::f64());
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Fails, unless the site has become free in the meantime. Then its holder may have overlooked the note.
    async fn give_up_waiting(&self, head: &Head) -> Result<(), Error> {
        let ledger = &self.attempt.site.clients.ledger;
        let mut lease = head.lease.clone();
        let waiting = self.attempt.waiting();
        if let Some(waiting) = &waiting {
            ledger.write_waiting(waiting).await?;
            lease = ledger.head().await?.lease;
        }
        let invocation = self.attempt.invocation;
        match lease.filter(|lease| lease.excludes(invocation.request_id, invocation.now())) {
            Some(Lease { deployment, until, .. }) => Err(Error::Busy { deployment, until, waits: waiting.is_some() }),
            None => Ok(()),
        }
    }
}
