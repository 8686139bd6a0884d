//! The head: the ledger's one item per site, and how each event of a run changes it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{DeploymentId, Lease, MAX_CLOCK_SKEW, Request, RunId};

/// The ledger's one item per site, with its lease and its live run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Counts the writes of this item. Every write is conditional on the version that it was made from; 0 means that
    /// the item does not exist yet.
    pub version: u64,
    /// The last run number that was assigned.
    pub sequence: u64,
    /// The newest upload that ever claimed the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The highest-numbered run that has claimed the site and neither finished nor been refused. Its invocation may
    /// be dead. A run with a higher number replaces it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<RunId>,
    /// The run that finished last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<RunId>,
    /// The key of the current manifest in the staging bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Keys of the manifest, in order, at which to split a listing of the live bucket. Empty for a small site.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list_at: Vec<String>,
    /// Keys of outdated manifests that may still be in the staging bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<String>,
}

/// An upload's place in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Newest {
    pub uploaded_at: DateTime<Utc>,
    pub deployment: DeploymentId,
}

impl Head {
    /// The head after `request` has taken the lease for run `number`.
    #[must_use]
    pub fn claimed(&self, request: &Request, number: u64, deadline: DateTime<Utc>) -> Self {
        let newest = Newest { uploaded_at: request.uploaded_at, deployment: request.deployment.clone() };
        Self {
            sequence: self.sequence.max(number),
            newest: self.newest_by(request.now).cloned().max(Some(newest)),
            lease: Some(Lease::new(request.id, request.deployment.clone(), deadline)),
            unfinished: match &self.unfinished {
                Some(other) if other.number > number => Some(other.clone()),
                _ => Some(RunId { deployment: request.deployment.clone(), number }),
            },
            ..self.next_version()
        }
    }

    /// The newest upload that claimed the site. One that is dated in the future counts for nothing: it would shut out
    /// every other upload until its time has come.
    pub fn newest_by(&self, now: DateTime<Utc>) -> Option<&Newest> {
        self.newest.as_ref().filter(|newest| newest.uploaded_at <= now + MAX_CLOCK_SKEW)
    }

    /// The head after `request`, which deploys nothing, has taken the lease for a sweep.
    #[must_use]
    pub fn swept_by(&self, request: &str, deadline: DateTime<Utc>) -> Self {
        let sweep = DeploymentId::named("a sweep");
        Self { lease: Some(Lease::new(request, sweep, deadline)), ..self.next_version() }
    }

    /// The lease, if another living request holds it.
    pub fn held_by_another(&self, request: &str, now: DateTime<Utc>) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.excludes(request, now))
    }

    /// The same head, as its holder writes it once more.
    #[must_use]
    pub fn next_version(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// The head after its holder has released the lease; the run stays unfinished.
    #[must_use]
    pub fn released(&self) -> Self {
        Self { lease: None, ..self.next_version() }
    }

    /// The head after its holder's `run` ended before its first write; `before` is the head that it claimed.
    ///
    /// An earlier attempt at the same run may have written: then the run stays unfinished.
    #[must_use]
    pub fn withdrawn(&self, run: &RunId, before: &Self) -> Self {
        let unfinished = match &self.unfinished {
            Some(own) if own == run && before.unfinished.as_ref() != Some(run) => before.unfinished.clone(),
            other => other.clone(),
        };
        Self { unfinished, ..self.released() }
    }

    /// The head after its holder's `run` has finished, which overtakes every unfinished run with a lower number.
    #[must_use]
    pub fn finished(&self, run: &RunId) -> Self {
        let unfinished = self.unfinished.clone().filter(|other| other.number > run.number);
        Self { live: Some(run.clone()), unfinished, ..self.released() }
    }
}
