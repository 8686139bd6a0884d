//! One run of a deployment, from its claim to its end: the steps that [`deploy`](super::deploy) takes in order.

use std::time::Duration;

use tokio::sync::Notify;

use super::attempt::Attempt;
use super::build::Build;
use super::debts::Debts;
use super::held::Held;
use super::survey::{Live, Survey};
use super::writes::{Deleted, Writer};
use crate::aws::archive::Archive;
use crate::aws::bucket::NotDeleted;
use crate::error::Error;
use crate::invalidation::StaleKeys;
use crate::plan::{Delete, Plan, Put, Rules, TagEvidence, Wave};
use crate::report::{Outcome, Report};
use crate::transfer::Transfer;

/// How often a write is repeated that another writer disturbs, or a delete that S3 refuses.
const ROUNDS: u32 = 4;

/// A run that holds the site's lease.
pub(super) struct Run<'a> {
    attempt: &'a Attempt<'a>,
    held: Held<'a>,
    debts: Debts<'a>,
    writer: Writer<'a>,
    /// Whether this invocation may have written to the live bucket.
    has_begun: bool,
    /// Sentences for the report.
    warnings: Vec<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>, mut held: Held<'a>) -> Self {
        let (site, invocation) = (attempt.site, attempt.invocation);
        Self {
            attempt,
            debts: Debts::new(site, invocation),
            writer: Writer::new(site, invocation, held.head_mut()),
            held,
            has_begun: false,
            warnings: Vec::new(),
        }
    }

    /// Returns the report of a run that follows `plan`, with its counts.
    pub(super) fn planned(&self, plan: &Plan<'_>, build: &Build) -> Report {
        let outcome = if self.held.record().rollback {
            Outcome::RolledBack
        } else if plan.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Deployed
        };
        let mut report = self.attempt.report(outcome, self.held.record().run);
        report.count(plan);
        report.warnings.extend(build.warnings.iter().cloned());
        if self.held.found_unfinished().is_some() {
            // The writes of a run that died are no drift.
            report.drift = 0;
        }
        self.attempt.invocation.progress.expect(plan.puts.len() + plan.header_changes.len());
        let Report { new, changed, headers, deleted, kept, .. } = report;
        tracing::info!(new, changed, headers, deleted, kept, "planned");
        report
    }

    /// Records everything that must be known before the first write: the owed batches, and which rows of the manifest
    /// no longer hold. The archive's preflight, for which the first write waits too, runs meanwhile.
    ///
    /// # Errors
    /// Those of `preflight`; `LeaseLost`, `Aws`.
    pub(super) async fn record_owed_batches(
        &mut self,
        survey: Survey,
        plan: &Plan<'_>,
        rules: &Rules<'_>,
        preflight: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let Live { listing, mut manifest, distributions, owed } = survey.live;
        self.writer.expect(plan.puts.len() + plan.header_changes.len());
        self.debts.find(owed);
        self.debts.send_to(distributions);
        let found = self.debts.len();
        let evidence = TagEvidence { listing: &listing, manifest: &manifest, rules };
        let mut kept = Vec::new();
        let stale = plan.stale(&listing, &mut kept);
        let is_lost = Notify::new();
        let recording = async {
            let recorded = self.debts.record(&mut self.held, &stale, Some(&evidence)).await;
            // There is no use in a preflight for a run that cannot go on.
            recorded.inspect_err(|_| is_lost.notify_one())
        };
        let preflight = async {
            tokio::select! {
                judged = preflight => judged,
                () = is_lost.notified() => Ok(()),
            }
        };
        let (recorded, judged) = tokio::join!(recording, preflight);
        match recorded.and_then(|warnings| judged.map(|()| warnings)) {
            Ok(warnings) => self.warnings.extend(warnings),
            Err(error) => {
                self.debts.take_back(&mut self.held, found).await;
                return Err(error);
            }
        }
        drop((listing, kept));
        // The manifest follows the batches: a row that is dropped no longer shows that viewers know the object.
        let has_changed = plan.amend(&mut manifest);
        // A manifest that is saved after objects were looked up saves the next run from looking them up again.
        self.writer.draft.start(manifest, has_changed || !survey.inspections.is_empty());
        if plan.revives_rows {
            self.save_manifest().await?;
            self.held.write_head(self.debts.settled()).await?;
        }
        self.has_begun = !plan.is_empty();
        Ok(())
    }

    /// Carries out the waves, one after the other.
    ///
    /// The batches that are offered next are marked during the last wave. Marking them earlier would be as safe, but a
    /// run that dies before its last wave would leave marked batches, which cover nothing that its retry writes.
    ///
    /// # Errors
    /// `Unfinished` at the deadline; those of reading the archive; `InvalidationOwed`; `Aws`.
    pub(super) async fn write<'p>(&mut self, transfer: &Transfer<'p>, waves: [Wave<'p>; 2]) -> Result<(), Error> {
        let [assets, pages] = waves;
        let last = if pages.is_empty() {
            assets
        } else {
            self.write_wave(transfer, assets).await?;
            pages
        };
        let to_mark = self.debts.to_mark(&self.held.run(), false);
        let marking = self.attempt.site.clients.ledger.mark_offered(&to_mark);
        let (written, marked) = tokio::join!(self.write_wave(transfer, last), marking);
        written?;
        self.debts.marked(&to_mark, marked)
    }

    /// Carries out one wave. An object that another writer has changed meanwhile is not overwritten blindly: its
    /// invalidation is recorded, then it is written on the condition that it is still as it was found.
    async fn write_wave<'p>(&mut self, transfer: &Transfer<'p>, wave: Wave<'p>) -> Result<(), Error> {
        let mut conflicts = self.writer.write(transfer, wave).await?;
        for _ in 0..ROUNDS {
            if conflicts.is_empty() {
                return Ok(());
            }
            self.record_conflicts(&conflicts).await?;
            conflicts = self.writer.write(transfer, Wave { puts: conflicts, header_changes: Vec::new() }).await?;
        }
        if conflicts.is_empty() {
            return Ok(());
        }
        Err(Error::Aws {
            what: format!("writing {}", keys(&conflicts).join(", ")),
            reason: "another writer keeps changing it; stop that writer, or move the object out of LIVE_PREFIX"
                .to_owned(),
            source: None,
        })
    }

    /// Records batches for keys that turned out to be another writer's.
    async fn record_conflicts(&mut self, conflicts: &[Put<'_>]) -> Result<(), Error> {
        let changed = keys(conflicts);
        tracing::warn!(keys = ?changed, "another writer changed objects during the deployment; writing them again");
        let kept = self.writer.draft.keys();
        let stale = StaleKeys { changed, kept: kept.iter().map(String::as_str).collect(), ..StaleKeys::default() };
        self.record(&stale).await
    }

    async fn record(&mut self, stale: &StaleKeys<'_>) -> Result<(), Error> {
        let warnings = self.debts.record(&mut self.held, stale, None).await?;
        self.warnings.extend(warnings);
        Ok(())
    }

    /// Sends every owed batch except those that wait for this run's deletes.
    ///
    /// # Errors
    /// `InvalidationOwed`.
    pub(super) async fn send_what_is_written(&mut self) -> Result<(), Error> {
        self.debts.send_written(&self.held.run()).await
    }

    /// Deletes the objects that left the site, each only while it is the one that was listed. The batches that are
    /// offered next are marked meanwhile.
    ///
    /// # Errors
    /// `Unfinished` at the deadline; `InvalidationOwed`; `Aws`, also for a single key that cannot be deleted.
    pub(super) async fn delete(&mut self, deletes: Vec<Delete>) -> Result<(), Error> {
        let to_mark = self.debts.to_mark(&self.held.run(), true);
        let marking = self.attempt.site.clients.ledger.mark_offered(&to_mark);
        let (deleted, marked) = tokio::join!(self.delete_all(deletes), marking);
        deleted?;
        self.debts.marked(&to_mark, marked)
    }

    async fn delete_all(&mut self, mut deletes: Vec<Delete>) -> Result<(), Error> {
        let total = deletes.len();
        let mut reasons = Vec::new();
        for round in 0..ROUNDS {
            let Deleted { refused, not_tried } = self.writer.delete(deletes).await?;
            if not_tried > 0 {
                return Err(self.writer.unfinished(total));
            }
            reasons = refused.iter().take(5).map(|(_, refusal)| refusal.to_string()).collect();
            deletes = Vec::new();
            for (delete, refusal) in refused {
                deletes.extend(self.delete_again(delete, &refusal).await?);
            }
            if deletes.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100 << round)).await;
        }
        Err(Error::Aws {
            what: format!("deleting {} of {total} objects", deletes.len()),
            reason: reasons.join(", "),
            source: None,
        })
    }

    /// Returns the delete to try next for one that S3 refused, or `None` if the object is gone.
    async fn delete_again(&mut self, delete: Delete, refusal: &NotDeleted) -> Result<Option<Delete>, Error> {
        if !refusal.is_conflict() {
            return Ok(Some(delete));
        }
        let was_stale = delete.is_stale;
        let again = self.writer.look_again(delete).await?;
        if let Some(delete) = &again
            && !was_stale
        {
            // The object that was listed is immutable, and leaves without an invalidation. Caches may hold the one
            // that has taken its place.
            let stale = StaleKeys { deleted: vec![delete.key.as_str()], ..StaleKeys::default() };
            self.record(&stale).await?;
        }
        Ok(again)
    }

    /// Sends every owed batch. The bucket does not change from here on, so the manifest is saved meanwhile.
    ///
    /// # Errors
    /// `InvalidationOwed`, `Aws`.
    pub(super) async fn send_everything(&mut self) -> Result<(), Error> {
        let version = self.held.head_mut().version + 1;
        let (sent, saved) = tokio::join!(self.debts.send_all(), self.writer.draft.save(version));
        let saved = saved.map(|key| self.writer.draft.saved(key, self.held.head_mut()));
        sent.and(saved)
    }

    /// Ends the run: the manifest is written, the deployment is live, the lease is released.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn finish(&mut self, mut report: Report, archive: &Archive) -> Result<Report, Error> {
        report.drift += self.writer.drift();
        report.bytes_read = archive.bytes_read();
        report.bytes_written = self.writer.bytes_written();
        report.invalidations = self.debts.take_accepted();
        report.warnings.append(&mut self.warnings);
        report.duration_ms = self.attempt.duration_ms();
        self.save_manifest().await?;
        self.held.finish(serde_json::to_string(&report).ok(), self.debts.settled()).await?;
        self.debts.note_oldest();
        Ok(report)
    }

    /// Releases the lease after an error, if that is possible: a lease that stays only delays others.
    ///
    /// An archive that was refused before any write is recorded as refused. After a write it is not: a retry may find
    /// it sound, and if it does not, the next deployment repairs what was left.
    pub(super) async fn give_up(&mut self, error: &Error) {
        if let Err(error) = self.release(error).await {
            tracing::warn!("could not release the lease, which lapses by itself: {error}");
        }
        self.debts.note_oldest();
    }

    async fn release(&mut self, error: &Error) -> Result<(), Error> {
        self.save_manifest().await?;
        if self.has_begun {
            return self.held.release(self.debts.settled()).await;
        }
        let has_written = self.held.found_unfinished() == Some(&self.held.run());
        let rejection = match error {
            Error::ArchiveRejected(reason) if !has_written => Some(reason.as_str()),
            _ => None,
        };
        self.held.withdraw(rejection, self.debts.settled()).await
    }

    /// Wave the manifest if it has changed, and lets the head point at it from its next write on.
    async fn save_manifest(&mut self) -> Result<(), Error> {
        let key = self.writer.draft.save(self.held.head_mut().version + 1).await?;
        self.writer.draft.saved(key, self.held.head_mut());
        Ok(())
    }
}

fn keys<'p>(puts: &'p [Put<'_>]) -> Vec<&'p str> {
    puts.iter().map(|put| &*put.key).collect()
}
