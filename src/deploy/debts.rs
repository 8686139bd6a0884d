//! The owed batches: recorded before the writes that they cover, offered after them.

use super::held::{HeldHead, HeldRun};
use super::invalidations::{invalidations, warning};
use super::offer::{Pace, Sender, Sent};
use super::{Invocation, Site};
use crate::aws::ledger::fitting;
use crate::deployment::{Owed, RunId};
use crate::error::Error;
use crate::invalidation::{Distribution, Invalidation, References, StaleKeys, batches, matches};
use crate::plan::TagEvidence;
use crate::report::{Invalidated, Report};

/// The invalidations that the site owes to CloudFront, as the ledger and this invocation know them.
pub(super) struct Debts<'a> {
    site: &'a Site,
    invocation: &'a Invocation<'a>,
    distributions: Vec<Distribution>,
    /// Whether the ledger has been read.
    is_known: bool,
    /// Recorded and not yet accepted.
    due: Vec<Owed>,
    /// Accepted, or covering no write. The next commit deletes them.
    settled: Vec<Owed>,
    /// Owed to distributions that `DISTRIBUTION_IDS` no longer names.
    of_former_distributions: Vec<Owed>,
    accepted: Vec<Invalidated>,
    /// Sentences for the report.
    warnings: Vec<String>,
    pace: Pace,
}

impl<'a> Debts<'a> {
    pub(super) fn new(site: &'a Site, invocation: &'a Invocation<'a>) -> Self {
        Self {
            site,
            invocation,
            distributions: Vec::new(),
            is_known: false,
            due: Vec::new(),
            settled: Vec::new(),
            of_former_distributions: Vec::new(),
            accepted: Vec::new(),
            warnings: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// Takes over the batches that the ledger has.
    pub(super) fn take_over(&mut self, owed: Vec<Owed>) {
        self.due = owed;
        self.is_known = true;
    }

    /// Replaces each batch that an earlier release recorded in a larger shape than today's, in one commit: CloudFront's
    /// quotas may have no room for it, ever.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn split_large(&mut self, held: &mut HeldHead<'_>) -> Result<(), Error> {
        let mut index = 0;
        while let Some(owed) = self.due.get(index) {
            let portions = owed.split();
            let following = index + portions.len().max(1);
            if !portions.is_empty() {
                held.replace(owed, &portions).await?;
                self.due.splice(index..=index, portions);
            }
            index = following;
        }
        Ok(())
    }

    /// Sets the distributions to which batches are sent.
    pub(super) fn set_distributions(&mut self, distributions: Vec<Distribution>) {
        self.distributions = distributions;
    }

    /// Returns where the first distribution shows the site.
    pub(super) fn url(&self, live_prefix: &str) -> Option<String> {
        self.distributions.first()?.url(live_prefix)
    }

    /// Keeps the distributions that say something else than before, and returns whether there are any.
    pub(super) fn narrow_to_reconfigured(&mut self, now: Vec<Distribution>) -> bool {
        let before = std::mem::replace(&mut self.distributions, now);
        self.distributions.retain(|distribution| !before.iter().any(|before| before.is_configured_like(distribution)));
        !self.distributions.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether the ledger has no batch any more, also none of a distribution that the site has left.
    pub(super) fn owes_nothing(&self) -> bool {
        self.due.is_empty() && self.of_former_distributions.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// Returns the batches that the next commit deletes.
    pub(super) fn settled(&mut self) -> &mut Vec<Owed> {
        &mut self.settled
    }

    /// Moves into the report what CloudFront has accepted so far, and what there is to say about it.
    pub(super) fn report(&mut self, report: &mut Report) {
        report.invalidations = std::mem::take(&mut self.accepted);
        report.warnings.append(&mut self.warnings);
    }

    /// Records batches for keys that are going stale, and returns warnings about them.
    ///
    /// An item needs no new batch if a batch of this run that was never offered already covers it. A batch that was
    /// offered covers no later write.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn record(
        &mut self,
        held: &mut HeldRun<'_>,
        stale: &StaleKeys<'_>,
        evidence: Option<&TagEvidence<'_>>,
    ) -> Result<Vec<String>, Error> {
        let config = &self.site.config;
        let (run, mut count, now) = (held.run(), held.record().batches, self.invocation.now());
        let deployment = run.deployment.as_str();
        let references = References { site: &config.site, deployment, run: run.number, recorded_at: now };
        let (mut new, mut warnings) = (Vec::new(), Vec::new());
        for (distribution, mut invalidation) in invalidations(config, &self.distributions, stale, evidence) {
            warnings.extend(warning(config, distribution, &invalidation));
            self.leave_out_covered(&run, distribution, &mut invalidation);
            let batches = batches(&references, count, distribution, &invalidation);
            count = count.saturating_add(u32::try_from(batches.len()).unwrap_or(u32::MAX));
            new.extend(batches.into_iter().map(|batch| Owed::new(batch, &run, now)));
        }
        let mut rest = new.as_slice();
        while !rest.is_empty() {
            let (portion, later) = rest.split_at(fitting(rest));
            held.record_batches(portion, &mut self.settled).await?;
            tracing::info!(batches = portion.len(), "invalidations recorded");
            self.due.extend_from_slice(portion);
            rest = later;
        }
        Ok(warnings)
    }

    /// Records the batches that evict everything of the site, for a removal.
    ///
    /// # Errors
    /// `LeaseLost`, `Aws`.
    pub(super) async fn record_everything(&mut self, held: &mut HeldHead<'_>, run: &RunId) -> Result<(), Error> {
        let (config, now) = (&self.site.config, self.invocation.now());
        let deployment = run.deployment.as_str();
        let references = References { site: &config.site, deployment, run: run.number, recorded_at: now };
        let stale = StaleKeys { unknown_under: Some(&config.live_prefix), ..StaleKeys::default() };
        // Those of an earlier attempt that are still owed keep their numbers.
        let mut count = u32::try_from(self.due.len()).unwrap_or(u32::MAX);
        let mut new = Vec::new();
        for (distribution, mut invalidation) in invalidations(config, &self.distributions, &stale, None) {
            self.leave_out_covered(run, distribution, &mut invalidation);
            let batches = batches(&references, count, distribution, &invalidation);
            count = count.saturating_add(u32::try_from(batches.len()).unwrap_or(u32::MAX));
            new.extend(batches.into_iter().map(|batch| Owed::new(batch, run, now)));
        }
        if !new.is_empty() {
            held.record(&new, &mut self.settled).await?;
            self.due.append(&mut new);
        }
        Ok(())
    }

    fn leave_out_covered(&self, run: &RunId, distribution: &Distribution, invalidation: &mut Invalidation) {
        for (items, after_deletes) in [(&mut invalidation.first, false), (&mut invalidation.last, true)] {
            let is_covering = |owed: &&Owed| {
                owed.covers_changes_of(run)
                    && owed.after_deletes == after_deletes
                    && owed.distribution == distribution.id
            };
            let covering: Vec<&String> = self.due.iter().filter(is_covering).flat_map(|owed| &owed.items).collect();
            items.list.retain(|item| !covering.iter().any(|covering| matches(covering, item)));
        }
    }

    /// Deletes the batches that were recorded after the first `kept`: they cover no write.
    ///
    /// They are deleted in commits, because only a commit makes sure that no other attempt at this run relies on them.
    /// The last portion is left to the commit that releases the lease.
    pub(super) async fn undo_recording(&mut self, held: &mut HeldRun<'_>, kept: usize) {
        while self.due.len() > kept {
            let end = kept + fitting(&self.due[kept..]);
            self.settled.extend(self.due.drain(kept..end));
            if self.due.len() > kept
                && let Err(error) = held.write_head(&mut self.settled).await
            {
                tracing::warn!("could not delete batches that cover no write, so they will be sent: {error}");
                return;
            }
        }
    }

    /// Returns the references of the batches to mark before they are offered, after this run's writes or, with
    /// `after_deletes`, after its deletes.
    ///
    /// Near the deadline there are none, because the offer may be left to the retry.
    pub(super) fn to_mark(&self, run: &RunId, after_deletes: bool) -> Vec<String> {
        if self.invocation.is_late() {
            return Vec::new();
        }
        let due = self.due.iter().filter(|owed| !owed.offered && (after_deletes || !owed.awaits_deletes_of(run)));
        due.map(|owed| owed.reference.clone()).collect()
    }

    /// Applies the marks once the writes are done: until then, an unoffered batch still covers a rewrite.
    ///
    /// # Errors
    /// `InvalidationOwed` if they could not be written.
    pub(super) fn apply_marks(&mut self, references: &[String], result: Result<(), Error>) -> Result<(), Error> {
        result.map_err(|error| Error::InvalidationOwed { batches: self.due.len(), reason: error.to_string() })?;
        for owed in &mut self.due {
            owed.offered |= references.contains(&owed.reference);
        }
        Ok(())
    }

    /// Sends everything except the batches that wait for the entry points and deletes of `run`.
    ///
    /// # Errors
    /// `InvalidationOwed`.
    pub(super) async fn send_written(&mut self, run: &RunId) -> Result<(), Error> {
        let due = std::mem::take(&mut self.due);
        let (later, due) = due.into_iter().partition(|owed| owed.awaits_deletes_of(run));
        let sent = self.sender().offer_all(due).await;
        let result = self.absorb(sent);
        self.due.extend(later);
        result
    }

    /// Sends every batch, also those that waited for entry points and deletes.
    ///
    /// # Errors
    /// `InvalidationOwed`.
    pub(super) async fn send_all(&mut self) -> Result<(), Error> {
        let due = std::mem::take(&mut self.due);
        let sent = self.sender().offer_all(due).await;
        self.absorb(sent)
    }

    fn sender(&self) -> Sender<'_> {
        let Self { site, invocation, distributions, pace, .. } = self;
        Sender { site, invocation, distributions, pace }
    }

    fn absorb(&mut self, sent: Sent) -> Result<(), Error> {
        let Sent { accepted, warnings, settled, remaining, reason, of_former_distributions } = sent;
        self.accepted.extend(accepted);
        self.warnings.extend(warnings);
        self.settled.extend(settled);
        self.due.extend(remaining);
        self.of_former_distributions.extend(of_former_distributions);
        match reason {
            None => Ok(()),
            Some(reason) => Err(Error::InvalidationOwed { batches: self.due.len(), reason }),
        }
    }

    /// Reports, for the metrics, when the oldest batch that the ledger still has was recorded.
    pub(super) fn report_oldest(&self) {
        if self.is_known {
            let in_ledger = [&self.due, &self.settled, &self.of_former_distributions];
            let recorded_at = in_ledger.into_iter().flatten().filter_map(|owed| owed.recorded_at);
            self.invocation.progress.note_owed(recorded_at.min());
        }
    }
}
