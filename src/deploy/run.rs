//! One run of a deployment, from its claim to its end: the steps that [`deploy`](super::deploy) takes in order.

use std::time::Duration;

use tokio::sync::Notify;

use super::attempt::Attempt;
use super::build::Build;
use super::debts::Debts;
use super::held::HeldRun;
use super::survey::{Live, Survey};
use super::writes::{DeleteResult, Writer};
use crate::aws::archive::Archive;
use crate::aws::delete::NotDeleted;
use crate::config::Prune;
use crate::cut;
use crate::deployment::{Record, RunId, Step};
use crate::error::Error;
use crate::invalidation::{Distribution, StaleKeys, fingerprint};
use crate::plan::{Delete, Drift, Plan, Put, Role, Rules, TagEvidence, Wave};
use crate::report::{Outcome, Report};
use crate::transfer::Transfer;

/// How often the puts that another writer disturbs are repeated, and how often refused deletes are tried in all.
const ROUNDS: u32 = 4;

/// A run that holds the site's lease.
pub(super) struct Run<'a> {
    attempt: &'a Attempt<'a>,
    held: HeldRun<'a>,
    debts: Debts<'a>,
    writer: Writer<'a>,
    /// Whether this invocation may have written to the live bucket.
    has_begun: bool,
    /// The objects that others have changed since the last deployment.
    drift: Drift,
    /// Sentences for the report.
    warnings: Vec<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(attempt: &'a Attempt<'a>, held: HeldRun<'a>) -> Self {
        let (site, invocation) = (attempt.site, attempt.invocation);
        invocation.progress.begin(Step::Planning);
        invocation.progress.expect(0);
        Self {
            attempt,
            debts: Debts::new(site, invocation),
            writer: Writer::new(site, invocation),
            held,
            has_begun: false,
            drift: Drift::default(),
            warnings: Vec::new(),
        }
    }

    /// Returns the record of the run's deployment, as it was claimed.
    pub(super) fn deployment_record(&self) -> &Record {
        self.held.record()
    }

    /// Returns the report of a run that follows `plan`, with its counts.
    pub(super) async fn begin_report(&mut self, plan: &Plan<'_>, build: &Build) -> Report {
        let outcome = if self.held.record().rollback {
            Outcome::RolledBack
        } else if plan.is_empty() {
            Outcome::Unchanged
        } else {
            Outcome::Deployed
        };
        let mut report = self.attempt.report(outcome, self.held.record().run);
        report.url = self.debts.url(&self.attempt.site.config.live_prefix);
        build.describe(plan, &mut report).await;
        // The writes of a run that died are no drift.
        if !self.held.found_unfinished() {
            self.drift = plan.drift.clone();
        }
        self.attempt.invocation.progress.expect(plan.puts.len() + plan.header_changes.len());
        let Report { new, changed, headers, deleted, kept, .. } = report;
        tracing::info!(new, changed, headers, deleted, kept, "planned");
        report
    }

    /// Takes over the batches that the ledger has, and the distributions that batches are sent to.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn take_over_debts(&mut self, live: &mut Live) -> Result<(), Error> {
        self.warnings.extend(live.distributions.iter().flat_map(|distribution| distribution.warnings.iter().cloned()));
        self.held.begins_with(fingerprint(&live.distributions));
        self.held.head_mut().outdated.append(&mut live.foreign_manifests);
        self.debts.take_over(std::mem::take(&mut live.owed));
        self.debts.set_distributions(std::mem::take(&mut live.distributions));
        self.debts.split_large(self.held.lease()).await
    }

    /// Records the batches that the plan will owe. The preflight, for which the first write waits too, runs meanwhile.
    ///
    /// If either fails, the batches are deleted again: they cover no write.
    ///
    /// # Errors
    /// Those of `preflight`; `LeaseLost`, `Aws`.
    pub(super) async fn record_owed_batches(
        &mut self,
        live: &Live,
        plan: &Plan<'_>,
        rules: &Rules<'_>,
        preflight: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        let found = self.debts.len();
        let evidence = TagEvidence { listing: &live.listing, manifest: &live.manifest, rules };
        let mut kept = Vec::new();
        self.warnings.extend(live.warning(&self.attempt.site.config));
        self.warnings.extend(live.warning_about_previews());
        let stale = live.stale(plan, &self.attempt.site.config, &mut kept);
        let recording_failed = Notify::new();
        let recording = async {
            let recorded = self.debts.record(&mut self.held, &stale, Some(&evidence)).await;
            recorded.inspect_err(|_| recording_failed.notify_one())
        };
        let preflight = async {
            tokio::select! {
                biased;
                passed = preflight => passed,
                // A run that cannot go on needs no preflight.
                () = recording_failed.notified() => Ok(()),
            }
        };
        let (recorded, passed) = tokio::join!(recording, preflight);
        match recorded.and_then(|warnings| passed.map(|()| warnings)) {
            Ok(warnings) => {
                self.warnings.extend(warnings);
                Ok(())
            }
            Err(error) => {
                self.debts.undo_recording(&mut self.held, found).await;
                Err(error)
            }
        }
    }

    /// Drops the rows of the manifest that the plan's writes make untrue.
    ///
    /// It is saved before the first write if a write could make such a row look true again, or if only our own objects
    /// may be deleted: then it announces the keys that will be written, so that they stay ours if this run dies.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn prepare_manifest(&mut self, survey: Survey, plan: &Plan<'_>) -> Result<(), Error> {
        let has_given_up = survey.live.has_given_up();
        let mut manifest = survey.live.manifest;
        let has_changed = plan.amend(&mut manifest) || has_given_up;
        // A manifest that is saved after objects were looked up saves the next run from looking them up again.
        self.writer.draft.start(manifest, has_changed || !survey.inspections.is_empty());
        let must_announce = self.attempt.site.config.prune == Prune::Owned && plan.written_keys().next().is_some();
        if must_announce {
            self.writer.announce(plan.written_keys());
        }
        let must_save = plan.revives_rows || must_announce;
        if must_save {
            self.save_manifest().await?;
        }
        // A run that owes no batch has not told the head yet that it begins.
        if must_save || !(plan.is_empty() || self.held.has_begun()) {
            self.held.begin(self.debts.settled()).await?;
        }
        self.writer.expect(plan.puts.len() + plan.header_changes.len());
        self.has_begun = !plan.is_empty();
        Ok(())
    }

    /// Writes the wave of assets, then that of pages.
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
        self.debts.apply_marks(&to_mark, marked)
    }

    /// Carries out one wave. An object that another writer has changed meanwhile is not overwritten blindly: its
    /// invalidation is recorded, then it is written on the condition that it is still as it was found.
    pub(super) async fn write_wave<'p>(&mut self, transfer: &Transfer<'p>, wave: Wave<'p>) -> Result<(), Error> {
        self.attempt.invocation.progress.begin(Step::Writing);
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
            what: format!("writing {}", cut::sentence(&keys(&conflicts))),
            reason: "another writer keeps changing these objects; stop it, or move them out of LivePrefix".to_owned(),
            source: None,
        })
    }

    /// Records batches for keys that turned out to be another writer's.
    async fn record_conflicts(&mut self, conflicts: &[Put<'_>]) -> Result<(), Error> {
        tracing::warn!(keys = ?keys(conflicts), "another writer changed objects during the deployment; writing them again");
        let (last, first): (Vec<_>, Vec<_>) = conflicts.iter().partition(|put| put.role == Role::EntryPoint);
        let kept = self.writer.draft.keys();
        let stale = StaleKeys {
            changed: keys(first),
            changed_entry_points: keys(last),
            kept: kept.iter().map(String::as_str).collect(),
            ..StaleKeys::default()
        };
        self.record(&stale).await
    }

    async fn record(&mut self, stale: &StaleKeys<'_>) -> Result<(), Error> {
        let warnings = self.debts.record(&mut self.held, stale, None).await?;
        self.warnings.extend(warnings);
        Ok(())
    }

    /// Sends every owed batch except those that wait for this run's entry points and deletes.
    ///
    /// # Errors
    /// `InvalidationOwed`.
    pub(super) async fn send_what_is_written(&mut self) -> Result<(), Error> {
        self.attempt.invocation.progress.begin(Step::Invalidating);
        self.debts.send_written(&self.held.run()).await
    }

    /// Deletes the objects that left the site, each only while it is the one that was listed. The batches that are
    /// offered next are marked meanwhile.
    ///
    /// # Errors
    /// `Unfinished` at the deadline; `InvalidationOwed`; `Aws`, also for a single key that cannot be deleted.
    pub(super) async fn delete(&mut self, deletes: Vec<Delete>) -> Result<(), Error> {
        self.attempt.invocation.progress.begin(Step::Deleting);
        let to_mark = self.debts.to_mark(&self.held.run(), true);
        let marking = self.attempt.site.clients.ledger.mark_offered(&to_mark);
        let (deleted, marked) = tokio::join!(self.delete_all(deletes), marking);
        deleted?;
        self.debts.apply_marks(&to_mark, marked)
    }

    async fn delete_all(&mut self, mut deletes: Vec<Delete>) -> Result<(), Error> {
        let total = deletes.len();
        let mut reasons = String::new();
        for round in 0..ROUNDS {
            if round > 0 {
                tokio::time::sleep(Duration::from_millis(50 << round)).await;
            }
            let DeleteResult { refused, not_tried } = self.writer.delete(deletes).await?;
            if not_tried > 0 {
                return Err(self.writer.unfinished(total));
            }
            let refusals: Vec<String> = refused.iter().map(|(_, refusal)| refusal.to_string()).collect();
            reasons = cut::sentence(&refusals);
            deletes = Vec::new();
            for (delete, refusal) in refused {
                deletes.extend(self.delete_again(delete, &refusal).await?);
            }
            if deletes.is_empty() {
                return Ok(());
            }
        }
        Err(Error::Aws {
            what: format!("deleting {} of {total} objects", deletes.len()),
            reason: reasons,
            source: None,
        })
    }

    /// Returns the delete to try next for one that S3 refused, or `None` if the object is gone.
    async fn delete_again(&mut self, delete: Delete, refusal: &NotDeleted) -> Result<Option<Delete>, Error> {
        if !refusal.is_conflict() {
            return Ok(Some(delete));
        }
        let was_stale = delete.is_stale;
        let again = self.writer.look_up_replacement(delete).await?;
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

    /// Sends every owed batch. The bucket does not change from here on, so meanwhile the manifest is saved, and the
    /// distributions are read once more.
    ///
    /// # Errors
    /// `InvalidationOwed`, `WrongDistribution`, `Aws`.
    pub(super) async fn send_everything(&mut self) -> Result<(), Error> {
        self.attempt.invocation.progress.begin(Step::Invalidating);
        let version = self.held.head_mut().version + 1;
        let (cdn, has_begun) = (&self.attempt.site.clients.cdn, self.has_begun);
        let reading = async { if has_begun { cdn.discover().await.map(Some) } else { Ok(None) } };
        let (sent, saved, read) = tokio::join!(self.debts.send_all(), self.writer.draft.save(version), reading);
        let saved = saved.map(|key| self.note_saved(key));
        sent.and(saved)?;
        match read? {
            Some(distributions) => self.evict_if_reconfigured(distributions).await,
            None => Ok(()),
        }
    }

    /// Evicts everything of the site from the distributions that were reconfigured while the run was writing: its
    /// batches follow from what they said before.
    async fn evict_if_reconfigured(&mut self, distributions: Vec<Distribution>) -> Result<(), Error> {
        if !self.debts.narrow_to_reconfigured(distributions) {
            return Ok(());
        }
        let everything = Some(self.attempt.site.config.live_prefix.as_str());
        self.record(&StaleKeys { unknown_under: everything, ..StaleKeys::default() }).await?;
        self.debts.send_all().await
    }

    /// Ends the run: the manifest is written, the deployment is live, the lease is released.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn finish(&mut self, mut report: Report, archive: &Archive) -> Result<Report, Error> {
        self.drift.append(self.writer.drift());
        report.drift = self.drift.count();
        report.warnings.extend(self.drift.warning());
        report.bytes_read = archive.bytes_read();
        report.bytes_written = self.writer.bytes_written();
        report.warnings.append(&mut self.warnings);
        self.debts.report(&mut report);
        report.duration_ms = self.attempt.duration_ms();
        self.save_manifest().await?;
        let answer = serde_json::to_string(&report.bounded()).ok();
        let outdated = self.held.head_mut().outdated.clone();
        self.held.finish(answer, self.attempt.invocation.now(), self.debts.settled()).await?;
        self.writer.draft.remove(&outdated).await;
        self.debts.report_oldest();
        Ok(report)
    }

    /// Ends the run after an error. Returns the error, with the way back if the site is left between two builds.
    ///
    /// The lease is released if that is possible: one that stays only delays others. A refused run ends for good. If it
    /// has changed objects, what it owes is sent first, since it has no retry that would do so.
    pub(super) async fn give_up(mut self, mut error: Error) -> Error {
        let has_begun = self.has_begun || self.held.has_begun_before();
        if !self.has_begun {
            self.held.has_not_begun();
        }
        if error.is_refusal() && has_begun {
            if let Err(owed) = self.debts.send_all().await {
                tracing::warn!("the next deployment or sweep sends what the refused run owes: {owed}");
            }
            let target = |live: &RunId| self.attempt.site.config.rollback_target(live.deployment.as_str());
            error = Error::Torn { refusal: Box::new(error), back_to: self.held.live_before().map(target) };
        }
        if let Err(error) = self.release(&error, has_begun).await {
            tracing::warn!("could not release the lease, which lapses by itself: {error}");
        }
        self.debts.report_oldest();
        error
    }

    async fn release(&mut self, error: &Error, has_begun: bool) -> Result<(), Error> {
        if let Err(error) = self.save_manifest().await {
            // The rows of the written objects are lost with it. That costs the next run time; a kept lease costs more.
            tracing::warn!(
                "could not save the manifest; the next run looks up the objects that this one wrote: {error}"
            );
        }
        let outdated = self.held.head_mut().outdated.clone();
        self.held.fail(error, has_begun, self.attempt.invocation.now(), self.debts.settled()).await?;
        self.writer.draft.remove(&outdated).await;
        Ok(())
    }

    /// Writes the manifest if it has changed, and lets the head point at it from its next write on.
    async fn save_manifest(&mut self) -> Result<(), Error> {
        let key = self.writer.draft.save(self.held.head_mut().version + 1).await?;
        self.note_saved(key);
        Ok(())
    }

    fn note_saved(&mut self, key: Option<String>) {
        if let Some(key) = key {
            self.writer.draft.note_saved(key, self.held.head_mut());
        }
    }
}

fn keys<'p>(puts: impl IntoIterator<Item = &'p Put<'p>>) -> Vec<&'p str> {
    puts.into_iter().map(|put| &*put.key).collect()
}
