//! An invalidation that is recorded and not yet accepted by CloudFront.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{DeploymentId, RunId};
use crate::invalidation::Batch;

/// A batch in the ledger: recorded before the writes that it covers, removed when CloudFront has accepted it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owed {
    pub reference: String,
    pub distribution: String,
    pub items: Vec<String>,
    /// Whether the batch covers entry points or deletes: it is offered only after its run's deletes, which are last.
    pub after_deletes: bool,
    /// The run whose writes it covers.
    pub deployment: DeploymentId,
    pub run: u64,
    /// Set before the batch is first offered to CloudFront: from then on it covers no later write.
    pub offered: bool,
    /// `None` in items of an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<DateTime<Utc>>,
    /// The version of the distribution's configuration that the tags among the items rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relies_on: Option<String>,
}

impl Owed {
    /// Returns a batch of `run` that is recorded at `now` and was never offered.
    pub fn new(batch: Batch, run: &RunId, now: DateTime<Utc>) -> Self {
        Self {
            reference: batch.reference,
            distribution: batch.distribution,
            items: batch.items,
            after_deletes: batch.after_deletes,
            deployment: run.deployment.clone(),
            run: run.number,
            offered: false,
            recorded_at: Some(now),
            relies_on: batch.relies_on,
        }
    }

    /// Returns the batch as it is offered to CloudFront.
    pub fn batch(&self) -> Batch {
        Batch {
            reference: self.reference.clone(),
            distribution: self.distribution.clone(),
            items: self.items.clone(),
            after_deletes: self.after_deletes,
            relies_on: self.relies_on.clone(),
        }
    }

    /// Returns the batches to record instead of one that an earlier release recorded in a larger shape; none for a
    /// batch that fits.
    ///
    /// They cover what the batch covers. If it was offered before, CloudFront may have accepted it, and evicts the same
    /// paths again: that costs, but does no harm.
    pub fn split(&self) -> Vec<Self> {
        let portion = |batch: Batch| Self {
            reference: batch.reference,
            items: batch.items,
            relies_on: batch.relies_on,
            ..self.clone()
        };
        self.batch().split().into_iter().map(portion).collect()
    }

    /// Returns about how much room the batch takes in the ledger; at least as much as it really takes.
    pub fn size_bytes(&self) -> usize {
        // The other attributes and the names of all of them take less than a kilobyte.
        1_024 + self.items.iter().map(|item| item.len() + 1).sum::<usize>()
    }

    /// Whether it covers what `run` has yet to write or to delete in the batch's phase.
    ///
    /// CloudFront may evict from the offer on, and a viewer may fetch the old object again before the write. So a batch
    /// covers only what changes before its offer, and a resumed run relies only on batches that were never offered.
    pub fn covers_changes_of(&self, run: &RunId) -> bool {
        self.is_of(run) && !self.offered
    }

    /// Whether it waits for the entry points and deletes of `run`. A batch that was offered covers none that are yet to
    /// come.
    pub fn awaits_deletes_of(&self, run: &RunId) -> bool {
        self.after_deletes && self.covers_changes_of(run)
    }

    fn is_of(&self, run: &RunId) -> bool {
        self.run == run.number && self.deployment == run.deployment
    }
}
