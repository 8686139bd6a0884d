//! A run under way: what it holds, what it has done, and what is still owed.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use super::attempt::{Attempt, Live, Situation};
use super::sending::{Sender, Sending};
use crate::aws::archive::Archive;
use crate::aws::bucket::DELETES_PER_CALL;
use crate::aws::ledger::{BATCHES_PER_COMMIT, Commit, Owed};
use crate::deployment::{Head, Record, Run, Status};
use crate::error::Error;
use crate::invalidation::{Distribution, StaleKeys, batches, matches};
use crate::listing;
use crate::manifest::{Manifest, Row};
use crate::plan::{Delete, Plan, Put, Rules, TagEvidence, Writes};
use crate::report::{Invalidated, Report};
use crate::transfer::{Transfer, Wave};

/// After so many writes the manifest takes up what was written, which takes less room there.
const WRITES_IN_TURN: usize = 50_000;

/// How often something is tried again that others disturb: written at the same time, or refused for one key.
const ROUNDS: usize = 4;

/// One run, from its claim to its end.
pub struct Running<'a> {
    attempt: &'a Attempt<'a>,
    pub archive: &'a Archive,
    /// The head that the claim was made from.
    before: Head,
    head: Head,
    record: Record,
    run: Run,
    distributions: Vec<Distribution>,
    /// What the bucket holds of ours, kept up to date with every write.
    manifest: Manifest,
    /// Whether the manifest differs from the one that the head points at.
    is_manifest_new: bool,
    /// Manifests that the head which was claimed does not point at, nor will any to come.
    outdated: Vec<String>,
    /// Whether the live bucket may have been written to.
    has_begun: bool,
    /// Whether it is known what is owed.
    knows_owed: bool,
    owed: Vec<Owed>,
    /// What CloudFront has accepted, or what covers no write; the next commit forgets it.
    settled: Vec<Owed>,
    /// What is owed to distributions that are not configured any more.
    elsewhere: Vec<Owed>,
    drift: usize,
    written: usize,
    bytes_written: u64,
    to_write: usize,
    invalidations: Vec<Invalidated>,
    warnings: Vec<String>,
}

impl<'a> Running<'a> {
    pub fn new(attempt: &'a Attempt<'a>, archive: &'a Archive, before: Head, head: Head, record: Record) -> Self {
        Self {
            attempt,
            archive,
            before,
            outdated: head.outdated.clone(),
            head,
            run: Run { deployment: record.deployment.clone(), number: record.run },
            record,
            distributions: Vec::new(),
            manifest: Manifest::default(),
            is_manifest_new: false,
            has_begun: false,
            knows_owed: false,
            owed: Vec::new(),
            settled: Vec::new(),
            elsewhere: Vec::new(),
            drift: 0,
            written: 0,
            bytes_written: 0,
            to_write: 0,
            invalidations: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn number(&self) -> u64 {
        self.run.number
    }

    pub fn is_rollback(&self) -> bool {
        self.record.rollback
    }

    /// Whether some run before this attempt has left the bucket half-way.
    pub fn follows_unfinished(&self) -> bool {
        self.before.unfinished.is_some()
    }

    /// The means to carry the plan out.
    pub fn transfer<'t>(&self, rules: &'t Rules<'t>, is_late: &'t (dyn Fn() -> bool + Sync)) -> Transfer<'t>
    where
        'a: 't,
    {
        self.attempt.transfer(self.archive, rules, is_late)
    }

    /// Records everything that must be known before the first write: the batches that will be owed, and
    /// which rows of the manifest will no longer hold. The archive's judgement, which the first write waits for
    /// too, may come meanwhile.
    ///
    /// # Errors
    /// Those of `judging`; `LeaseLost`, `Aws`.
    pub async fn begin(
        &mut self,
        situation: Situation,
        plan: &Plan<'_>,
        rules: &Rules<'_>,
        judging: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let Live { listing, mut manifest, distributions, owed } = situation.live;
        self.owed = owed;
        self.knows_owed = true;
        self.distributions = distributions;
        self.to_write = plan.puts.len() + plan.copies.len();
        let evidence = TagEvidence { listing: &listing, manifest: &manifest, rules };
        let mut kept = Vec::new();
        let stale = plan.stale(&listing, &mut kept);
        let found = self.owed.len();
        let is_lost = Notify::new();
        let recording = async {
            let recorded = self.owe(&stale, Some(&evidence)).await;
            if recorded.is_err() {
                is_lost.notify_one();
            }
            recorded
        };
        let judging = async {
            tokio::select! {
                judged = judging => judged,
                () = is_lost.notified() => Ok(()),
            }
        };
        let (recorded, judged) = tokio::join!(recording, judging);
        if let Err(error) = recorded.and(judged) {
            self.forget_from(found).await;
            return Err(error);
        }
        drop((listing, kept));
        // Not before the batches are recorded: a row that is lost no longer tells that the object is known.
        let has_changed = plan.amend(&mut manifest);
        self.manifest = manifest;
        // What had to be asked for need not be asked for again once a manifest is younger than it.
        self.is_manifest_new = has_changed || !situation.observed.is_empty();
        if plan.revives_rows {
            self.save_manifest().await?;
        }
        self.has_begun = !plan.is_empty();
        Ok(())
    }

    /// Forgets the batches that were recorded last and cover nothing, all of them with commits: only with the head is
    /// it certain that no other attempt at this run relies on them. The last commit is the one that gives the lease
    /// back.
    async fn forget_from(&mut self, found: usize) {
        while self.owed.len() > found {
            let end = self.owed.len().min(found + BATCHES_PER_COMMIT);
            self.settled.extend(self.owed.drain(found..end));
            if self.owed.len() > found {
                let head = self.head.touched();
                if let Err(error) = self.commit(head, self.record.clone(), &[]).await {
                    tracing::warn!("paths that need not be invalidated will be: {error}");
                    return;
                }
            }
        }
    }

    /// Records batches for what is going stale, except where one of this run's that was never offered
    /// covers it already. A batch that was offered covers no write that is still to come.
    async fn owe(&mut self, stale: &StaleKeys<'_>, evidence: Option<&TagEvidence<'_>>) -> Result<(), Error> {
        let mut owed = Vec::new();
        let mut count = self.record.batches;
        for (distribution, mut invalidation) in self.attempt.invalidations(&self.distributions, stale, evidence) {
            let warning = self.attempt.warning(distribution, &invalidation);
            self.warnings.extend(warning);
            for (items, after_deletes) in [(&mut invalidation.changed, false), (&mut invalidation.deleted, true)] {
                let waiting: Vec<&String> = self
                    .owed
                    .iter()
                    .filter(|owed| self.is_own(owed) && !owed.offered && owed.after_deletes == after_deletes)
                    .filter(|owed| owed.distribution == distribution.id)
                    .flat_map(|owed| &owed.items)
                    .collect();
                items.paths.retain(|item| !waiting.iter().any(|waiting| matches(waiting, item)));
            }
            let batches = batches(self.run.deployment.as_str(), self.run.number, count, distribution, &invalidation);
            count += u32::try_from(batches.len()).unwrap_or(u32::MAX);
            let now = self.attempt.invocation.now();
            let recorded = batches.into_iter();
            owed.extend(recorded.map(|batch| Owed::new(batch, &self.run, now)));
        }
        for owed in owed.chunks(BATCHES_PER_COMMIT) {
            // The count goes up with the batches, so that no reference is ever given out twice.
            let record = Record {
                batches: self.record.batches + u32::try_from(owed.len()).unwrap_or(u32::MAX),
                ..self.record.clone()
            };
            let head = self.head.touched();
            self.commit(head, record, owed).await?;
            tracing::info!(batches = owed.len(), "invalidations recorded");
            self.owed.extend_from_slice(owed);
        }
        Ok(())
    }

    fn is_own(&self, owed: &Owed) -> bool {
        owed.run == self.run.number && owed.deployment == self.run.deployment
    }

    /// Carries out the waves, one after the other.
    ///
    /// What is offered next is marked beside the last wave. Earlier would be as safe, but whoever dies before
    /// that wave would leave batches that cover nothing of what its retry has to write.
    ///
    /// # Errors
    /// `Unfinished` at the deadline; those of reading the archive; `InvalidationOwed`; `Aws`.
    pub async fn write<'p>(&mut self, transfer: &Transfer<'p>, [assets, pages]: [Writes<'p>; 2]) -> Result<(), Error> {
        let last = if pages.is_empty() {
            assets
        } else {
            self.write_wave(transfer, assets).await?;
            pages
        };
        let due = self.to_mark(|owed| !self.follows_deletes(owed));
        let marking = mark(self.attempt, &due);
        let (written, marked) = tokio::join!(self.write_wave(transfer, last), marking);
        written?;
        self.heed_marks(due, marked)
    }

    /// Carries out one wave. What someone else has written meanwhile is not overwritten blindly: its
    /// invalidation is recorded first, then it is written again on the condition that it is as it was seen.
    async fn write_wave<'p>(&mut self, transfer: &Transfer<'p>, writes: Writes<'p>) -> Result<(), Error> {
        let Writes { puts, copies } = writes;
        let mut conflicts = Vec::new();
        for copies in in_turns(copies) {
            conflicts.extend(self.book(transfer.copy_all(copies).await)?);
        }
        for puts in in_turns(puts) {
            conflicts.extend(self.book(transfer.put_all(puts).await)?);
        }
        let mut rounds = 0;
        while !conflicts.is_empty() {
            let keys = conflicts.iter().map(|put| &*put.key);
            if rounds == ROUNDS {
                return Err(Error::Aws {
                    what: format!("writing {}", keys.collect::<Vec<_>>().join(", ")),
                    reason: "something else keeps writing it; stop that, or move it out of LIVE_PREFIX".to_owned(),
                    source: None,
                });
            }
            rounds += 1;
            self.drift += conflicts.len();
            self.owe_for(keys).await?;
            conflicts = self.book(transfer.put_all(conflicts).await)?;
        }
        Ok(())
    }

    /// Notes what was written; gives what someone else wrote meanwhile.
    fn book<'p>(&mut self, done: Wave<'p>) -> Result<Vec<Put<'p>>, Error> {
        self.written += done.written.len();
        self.bytes_written += done.bytes_written;
        self.is_manifest_new |= !done.written.is_empty();
        let rows = done.written.into_iter().map(|(key, row)| (key, Some(row)));
        self.manifest.change(rows.collect());
        match done.error {
            Some(error) => Err(error),
            None if done.unfinished == 0 => Ok(done.conflicts),
            None => Err(Error::Unfinished { done: self.written, total: self.to_write }),
        }
    }

    /// Records batches for keys that turned out to be someone else's.
    async fn owe_for(&mut self, keys: impl Iterator<Item = &str>) -> Result<(), Error> {
        let changed: Vec<String> = keys.map(str::to_owned).collect();
        if changed.is_empty() {
            return Ok(());
        }
        tracing::warn!(keys = ?changed, "written by someone else during the deployment; writing again");
        let kept: Vec<String> = self.manifest.iter().map(|(key, _)| key).collect();
        let stale = StaleKeys {
            changed: changed.iter().map(String::as_str).collect(),
            kept: kept.iter().map(String::as_str).collect(),
            ..StaleKeys::default()
        };
        self.owe(&stale, None).await
    }

    /// Whether a batch is to be offered after this run's deletes.
    fn follows_deletes(&self, owed: &Owed) -> bool {
        self.is_own(owed) && owed.after_deletes && !owed.offered
    }

    /// The references of those of the owed batches that are still to be marked as offered. Near the deadline
    /// there are none: what is to come before the offer may be left to the retry.
    fn to_mark(&self, is_next: impl Fn(&Owed) -> bool) -> Vec<String> {
        if self.attempt.invocation.is_late() {
            return Vec::new();
        }
        let unmarked = self.owed.iter().filter(|owed| !owed.offered);
        let next = unmarked.filter(|owed| is_next(owed));
        next.map(|owed| owed.reference.clone()).collect()
    }

    /// Not before the writes are done: until then a batch that is being marked still covers what has to be
    /// written again, since nobody has offered it.
    fn heed_marks(&mut self, due: Vec<String>, marked: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = marked {
            return Err(Error::InvalidationOwed { batches: self.owed.len(), reason: error.to_string() });
        }
        for owed in &mut self.owed {
            owed.offered |= due.contains(&owed.reference);
        }
        Ok(())
    }

    /// Sends all that is owed but for what follows this run's deletes, which are still to come.
    ///
    /// # Errors
    /// `InvalidationOwed`.
    pub async fn send_what_is_written(&mut self) -> Result<(), Error> {
        let (later, due): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.owed).into_iter().partition(|owed| self.follows_deletes(owed));
        let result = self.send(due).await;
        self.owed.extend(later);
        result
    }

    /// Sends all that is owed. Nothing is written from here on, so that the manifest is saved meanwhile.
    ///
    /// # Errors
    /// `InvalidationOwed`, `Aws`.
    pub async fn send_everything(&mut self) -> Result<(), Error> {
        let due = std::mem::take(&mut self.owed);
        let sender = self.sender();
        let (sending, saved) = tokio::join!(sender.send(due), self.saved_manifest());
        let saved = saved.map(|key| self.point_at(key));
        self.heed(sending)?;
        saved
    }

    async fn send(&mut self, due: Vec<Owed>) -> Result<(), Error> {
        let sending = self.sender().send(due).await;
        self.heed(sending)
    }

    fn sender(&self) -> Sender<'_> {
        Sender { site: self.attempt.site, invocation: self.attempt.invocation, distributions: &self.distributions }
    }

    fn heed(&mut self, sending: Sending) -> Result<(), Error> {
        let Sending { sent, settled, remaining, reason, elsewhere } = sending;
        self.invalidations.extend(sent);
        self.settled.extend(settled);
        self.owed.extend(remaining);
        self.elsewhere.extend(elsewhere);
        match reason {
            None => Ok(()),
            Some(reason) => Err(Error::InvalidationOwed { batches: self.owed.len(), reason }),
        }
    }

    /// Deletes what left the site, each object only while it is the one that was listed. What is offered next
    /// is marked meanwhile.
    ///
    /// # Errors
    /// `Unfinished` at the deadline; `InvalidationOwed`; `Aws`, also for a single key that cannot be deleted.
    pub async fn delete(&mut self, deletes: Vec<Delete>) -> Result<(), Error> {
        let due = self.to_mark(|_| true);
        let marking = mark(self.attempt, &due);
        let mut gone = Vec::new();
        let (deleted, marked) = tokio::join!(self.delete_all(deletes, &mut gone), marking);
        self.is_manifest_new |= !gone.is_empty();
        self.manifest.change(gone);
        deleted?;
        self.heed_marks(due, marked)
    }

    /// Deletes, and adds the keys that are no more to `gone`.
    async fn delete_all(&mut self, deletes: Vec<Delete>, gone: &mut Vec<(String, Option<Row>)>) -> Result<(), Error> {
        let total = deletes.len();
        let mut deletes = deletes;
        let mut refused = Vec::new();
        for round in 0..ROUNDS {
            refused.clear();
            let mut again = Vec::new();
            for chunk in deletes.chunks(DELETES_PER_CALL) {
                if self.attempt.invocation.is_late() {
                    return Err(Error::Unfinished { done: self.written, total: self.to_write + total });
                }
                let keys: Vec<_> = chunk.iter().map(|delete| (delete.key.as_str(), Some(&delete.etag))).collect();
                let remaining = self.attempt.site.clients.bucket.delete(&keys).await?;
                for delete in chunk {
                    let refusal = remaining.iter().find(|it| it.key == delete.key);
                    let left = match refusal {
                        None => None,
                        Some(refusal) => self.seen_again(delete, refusal.is_conflict()).await?,
                    };
                    match left {
                        None => gone.push((delete.key.clone(), None)),
                        Some(delete) => again.push(delete),
                    }
                }
                refused.extend(remaining);
            }
            deletes = again;
            if deletes.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100 << round)).await;
        }
        let reasons =
            refused.iter().take(5).map(|refused| format!("{} ({}: {})", refused.key, refused.code, refused.message));
        Err(Error::Aws {
            what: format!("deleting {} of {total} objects", deletes.len()),
            reason: reasons.collect::<Vec<_>>().join(", "),
            source: None,
        })
    }

    /// What is still to be deleted under a key that was refused; nothing when it is gone.
    async fn seen_again(&mut self, delete: &Delete, is_conflict: bool) -> Result<Option<Delete>, Error> {
        if !is_conflict {
            return Ok(Some(delete.clone()));
        }
        self.drift += 1;
        let Some(found) = self.attempt.site.clients.bucket.inspect(&delete.key).await? else {
            return Ok(None);
        };
        if !delete.is_stale {
            // Immutable was the object that is gone; caches may hold what has taken its place.
            let deleted = [delete.key.as_str()];
            let stale = StaleKeys { deleted: deleted.to_vec(), ..StaleKeys::default() };
            self.owe(&stale, None).await?;
        }
        Ok(Some(Delete { etag: found.etag, is_stale: true, ..delete.clone() }))
    }

    /// Ends the run: the manifest is written, the deployment is live, the lease is given back.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub async fn finish(&mut self, mut report: Report) -> Result<Report, Error> {
        report.drift += self.drift;
        report.bytes_read = self.archive.bytes_read();
        report.bytes_written = self.bytes_written;
        report.invalidations = std::mem::take(&mut self.invalidations);
        report.warnings.append(&mut self.warnings);
        report.duration_ms = self.attempt.duration_ms();
        self.write_manifest().await?;
        let record =
            Record { status: Status::Finished, answer: serde_json::to_string(&report).ok(), ..self.record.clone() };
        let head = self.head.finished(&self.run);
        self.commit(head, record, &[]).await?;
        self.tell_owed();
        Ok(report)
    }

    /// Gives the lease back after an error, as far as that can be done: a lease that stays is only waited for.
    ///
    /// An archive that was refused before anything was written is remembered as such. Once something was, it
    /// is not: the retry may find it sound, and if not, what it leaves is for the next deployment to repair.
    pub async fn give_up(&mut self, error: &Error) {
        let was_begun = self.has_begun || self.before.unfinished.as_ref() == Some(&self.run);
        let record = match error {
            Error::ArchiveRejected(reason) if !was_begun => {
                Record { status: Status::Rejected, rejection: Some(reason.clone()), ..self.record.clone() }
            }
            _ => self.record.clone(),
        };
        let result = async {
            self.write_manifest().await?;
            let head = if self.has_begun { self.head.released() } else { self.head.refused(&self.run, &self.before) };
            self.commit(head, record, &[]).await
        };
        if let Err(error) = result.await {
            tracing::warn!("the lease could not be given back; it lapses by itself: {error}");
        }
        self.tell_owed();
    }

    /// Tells the invocation since when something is owed.
    fn tell_owed(&self) {
        if self.knows_owed {
            let owed = [&self.owed, &self.settled, &self.elsewhere];
            let recorded_at = owed.into_iter().flatten().map(|owed| owed.recorded_at);
            self.attempt.progress().note_owed(recorded_at.flatten().min());
        }
    }

    async fn save_manifest(&mut self) -> Result<(), Error> {
        self.write_manifest().await?;
        self.commit(self.head.touched(), self.record.clone(), &[]).await
    }

    /// Writes the manifest where it is new, and puts its key into the head that is committed next.
    async fn write_manifest(&mut self) -> Result<(), Error> {
        let saved = self.saved_manifest().await?;
        self.point_at(saved);
        Ok(())
    }

    /// Writes the manifest where it is new; gives its key. Earlier ones are removed meanwhile: not the one
    /// that the head points at, which the next run to get here removes.
    async fn saved_manifest(&self) -> Result<Option<String>, Error> {
        if !self.is_manifest_new {
            return Ok(None);
        }
        let manifests = &self.attempt.site.clients.manifests;
        let key = manifests.save(&self.manifest, self.head.version + 1);
        let removing = join_all(self.outdated.iter().map(|key| manifests.remove(key)));
        let (key, _) = tokio::join!(key, removing);
        key.map(Some)
    }

    fn point_at(&mut self, manifest_key: Option<String>) {
        if manifest_key.is_some() {
            self.is_manifest_new = false;
            let removed = std::mem::take(&mut self.outdated);
            let head = &mut self.head;
            head.outdated.retain(|key| !removed.contains(key));
            head.outdated.extend(std::mem::replace(&mut head.manifest, manifest_key));
            head.list_at = listing::ends(&self.manifest);
        }
    }

    async fn commit(&mut self, head: Head, record: Record, owed: &[Owed]) -> Result<(), Error> {
        match self.attempt.site.clients.ledger.commit(&self.head, &head, Some(&record), owed, &self.settled).await? {
            Commit::Done => {
                self.settled.clear();
                (self.head, self.record) = (head, record);
                Ok(())
            }
            Commit::Lost => Err(Error::LeaseLost),
        }
    }
}

fn in_turns<T>(writes: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut writes = writes.into_iter();
    std::iter::from_fn(move || {
        let turn: Vec<T> = writes.by_ref().take(WRITES_IN_TURN).collect();
        (!turn.is_empty()).then_some(turn)
    })
}

/// Marks batches that are about to be offered.
async fn mark(attempt: &Attempt<'_>, references: &[String]) -> Result<(), Error> {
    let references: Vec<&str> = references.iter().map(String::as_str).collect();
    let ledger = &attempt.site.clients.ledger;
    ledger.mark_offered(&references).await
}
