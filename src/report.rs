//! What came of a deployment: the answer, which is also the one structured log line.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::deployment::DeploymentId;
use crate::plan::Plan;

/// The answer to an invocation.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    pub deployments: Vec<Report>,
}

/// One deployment's part of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// None for an event that asks for nothing.
    pub id: Option<DeploymentId>,
    /// The run's number; 0 when none was started.
    pub run: u64,
    pub site: String,
    pub outcome: Outcome,
    pub archive: Option<ArchiveName>,
    pub new: usize,
    pub changed: usize,
    pub headers: usize,
    pub deleted: usize,
    pub kept: usize,
    pub retained: usize,
    /// Objects that others changed, added or removed since the last deployment, or during this one.
    pub drift: usize,
    /// Read of the archive.
    pub bytes_read: u64,
    /// Written to the live bucket.
    pub bytes_written: u64,
    pub invalidations: Vec<Invalidated>,
    pub warnings: Vec<String>,
    pub duration_ms: u64,
    /// What a dry run would have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Planned>,
}

impl Report {
    /// A report without counts.
    pub fn new(id: DeploymentId, run: u64, site: String, outcome: Outcome, archive: ArchiveName) -> Self {
        Self { id: Some(id), run, archive: Some(archive), outcome, ..Self::ignored(site) }
    }

    /// The report of an event that asks for nothing.
    pub fn ignored(site: String) -> Self {
        Self {
            id: None,
            run: 0,
            site,
            outcome: Outcome::Ignored,
            archive: None,
            new: 0,
            changed: 0,
            headers: 0,
            deleted: 0,
            kept: 0,
            retained: 0,
            drift: 0,
            bytes_read: 0,
            bytes_written: 0,
            invalidations: Vec::new(),
            warnings: Vec::new(),
            duration_ms: 0,
            plan: None,
        }
    }

    /// Takes the counts from a plan.
    pub fn count(&mut self, plan: &Plan) {
        self.new = plan.new_keys().len();
        self.changed = plan.puts.len() - self.new;
        self.headers = plan.copies.len();
        self.deleted = plan.deletes.len();
        self.kept = plan.kept;
        self.retained = plan.retained.len();
        self.drift = plan.drift;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Deployed,
    Unchanged,
    RolledBack,
    Superseded,
    Duplicate,
    InProgress,
    /// A dry run.
    Planned,
    /// What was due was deleted, and what was owed was sent; nothing was deployed.
    Swept,
    /// An event that asks for nothing.
    Ignored,
}

/// Exactly which archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveName {
    pub bucket: String,
    pub key: String,
    pub version_id: Option<String>,
}

/// A batch that CloudFront has accepted during the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invalidated {
    pub distribution_id: String,
    /// CloudFront's id; none when an earlier attempt sent the batch and its answer was lost.
    pub id: Option<String>,
    pub caller_reference: String,
    pub items: usize,
    pub wildcards: usize,
    /// Whether CloudFront reported it as completed in time; none when nobody waited for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<bool>,
}

/// The keys and items that a dry run would touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    pub new: Vec<String>,
    pub changed: Vec<String>,
    pub headers: Vec<String>,
    pub deleted: Vec<String>,
    pub items: Vec<PlannedItems>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedItems {
    pub distribution_id: String,
    pub items: Vec<String>,
}

/// How far an invocation has come; read by whoever waits for it.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    inflated: AtomicU64,
    oldest_owed: Mutex<Option<OldestOwed>>,
}

/// When the oldest of the invalidations that are owed was recorded; none when nothing is.
pub type OldestOwed = Option<DateTime<Utc>>;

impl Progress {
    pub fn expect(&self, objects: usize) {
        self.total.store(objects as u64, Ordering::Relaxed);
    }

    pub fn wrote(&self, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn inflated(&self) {
        self.inflated.fetch_add(1, Ordering::Relaxed);
    }

    /// How many entries were inflated so far.
    pub fn entries_inflated(&self) -> u64 {
        self.inflated.load(Ordering::Relaxed)
    }

    /// Notes what is owed now, which a run knows at its end.
    pub fn note_owed(&self, oldest: OldestOwed) {
        // Nobody panics with the lock in hand; if someone did, the ledger would be asked.
        if let Ok(mut noted) = self.oldest_owed.lock() {
            *noted = Some(oldest);
        }
    }

    /// What the last run knew of what is owed; nothing when there was none that got so far.
    pub fn oldest_owed(&self) -> Option<OldestOwed> {
        self.oldest_owed.lock().ok().and_then(|noted| *noted)
    }

    /// Objects to write in all, as far as that is known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Objects written so far.
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
