//! The report on a deployment, which is its part of the answer and its structured log line.

mod bounded;
pub mod folders;
pub mod sentence;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::deployment::{DeploymentId, Step};
use crate::event::Upload;
use crate::plan::Plan;
use crate::preview::PreviewName;

use folders::PlannedFolder;

/// The answer to an invocation.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub deployments: Vec<Report>,
    /// How many reports there was no room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<String>,
    /// Uploads that had given up waiting for the site, and failed when this invocation deployed them. Their own
    /// invocations are over, so that no other answer tells of them. Also what was refused of previews: that fails no
    /// invocation, since the alarms are the live site's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
    /// Whether people are told: the live site was deployed, or an upload to it that had waited has failed. Previews send
    /// no notification, because branches are pushed all day.
    pub is_news: bool,
    /// All of this in plain [sentences](sentence), for notifications.
    pub text: String,
}

/// A deployment that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failed {
    /// Whether it is about a preview, and not about the live site.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub of_preview: bool,
    /// The archive's key, if the event names one.
    pub key: Option<String>,
    pub error_type: &'static str,
    pub error_message: String,
}

/// One deployment's part of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `None` for an event that asks for nothing.
    pub id: Option<DeploymentId>,
    /// The run's number; 0 if none was started.
    pub run: u64,
    pub site: String,
    /// The name of the preview, if the site is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<PreviewName>,
    pub outcome: Outcome,
    pub archive: Option<ArchiveName>,
    /// Where the first distribution shows the site; `None` if there is none, or if it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub new: usize,
    pub changed: usize,
    pub headers: usize,
    pub deleted: usize,
    pub kept: usize,
    pub retained: usize,
    /// The number of files of the archive that are not deployed because of their names.
    #[serde(default)]
    pub left_out: u64,
    /// The number of objects that others changed, added or removed since the last deployment, or during this one.
    pub drift: usize,
    /// Bytes read from the archive.
    pub bytes_read: u64,
    /// Bytes written to the live bucket.
    pub bytes_written: u64,
    pub invalidations: Vec<Invalidated>,
    pub warnings: Vec<String>,
    pub duration_ms: u64,
    /// The keys and items that a dry run would have touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Planned>,
}

impl Report {
    /// Creates a report without counts.
    pub fn new(id: DeploymentId, run: u64, site: String, outcome: Outcome, archive: ArchiveName) -> Self {
        Self { id: Some(id), run, archive: Some(archive), outcome, ..Self::ignored(site) }
    }

    /// Creates a report about a site, without counts.
    pub fn of_site(config: &Config) -> Self {
        Self { preview: config.preview.clone(), ..Self::ignored(config.site.clone()) }
    }

    /// Creates the report of an event that asks for nothing.
    pub fn ignored(site: String) -> Self {
        Self {
            id: None,
            run: 0,
            site,
            preview: None,
            outcome: Outcome::Ignored,
            archive: None,
            url: None,
            new: 0,
            changed: 0,
            headers: 0,
            deleted: 0,
            kept: 0,
            retained: 0,
            left_out: 0,
            drift: 0,
            bytes_read: 0,
            bytes_written: 0,
            invalidations: Vec::new(),
            warnings: Vec::new(),
            duration_ms: 0,
            plan: None,
        }
    }

    /// Creates the report of an upload that is no archive by its name.
    pub fn ignored_upload(config: &Config, upload: &Upload) -> Self {
        let reason =
            "the name does not end in `.zip`, so nothing is deployed; if the file is a zip, upload it as `.zip`";
        Self { archive: Some(ArchiveName::of(upload)), warnings: vec![reason.to_owned()], ..Self::of_site(config) }
    }

    /// Takes the counts from a plan.
    pub fn count(&mut self, plan: &Plan) {
        self.new = plan.new_keys().len();
        self.changed = plan.puts.len() - self.new;
        self.headers = plan.header_changes.len();
        self.deleted = plan.deletes.len();
        self.kept = plan.kept;
        self.retained = plan.retained.len();
        self.drift = plan.drift.count();
    }
}

/// The outcome of an event that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Deployed,
    Unchanged,
    RolledBack,
    Superseded,
    Duplicate,
    /// A sweep has left its work to the deployment that holds the site.
    InProgress,
    /// A dry run.
    Planned,
    /// Retained objects whose days are over were deleted, and owed invalidations were sent.
    Swept,
    /// A preview is gone.
    Removed,
    /// An event that asks for nothing, or an upload that is no archive.
    Ignored,
}

impl Outcome {
    /// Whether the site shows the upload now.
    pub fn is_live_now(self) -> bool {
        matches!(self, Self::Deployed | Self::Unchanged | Self::RolledBack)
    }

    /// Whether a report has the counts of a plan.
    fn has_counts(self) -> bool {
        matches!(
            self,
            Self::Deployed | Self::Unchanged | Self::RolledBack | Self::Planned | Self::Swept | Self::Removed
        )
    }
}

/// The exact version of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveName {
    pub bucket: String,
    pub key: String,
    pub version_id: Option<String>,
}

impl ArchiveName {
    pub fn of(upload: &Upload) -> Self {
        Self { bucket: upload.bucket.clone(), key: upload.key.clone(), version_id: upload.version_id.clone() }
    }
}

/// A batch that CloudFront accepted during the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invalidated {
    pub distribution_id: String,
    /// CloudFront's id; `None` if an earlier attempt sent the batch and lost CloudFront's answer.
    pub id: Option<String>,
    pub caller_reference: String,
    pub items: usize,
    pub wildcards: usize,
    /// Whether CloudFront completed it before the deadline; `None` without `WAIT_FOR_INVALIDATION`.
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
    /// The entry points, which are written after the others. The lists before have them too.
    #[serde(default)]
    pub last: Vec<String>,
    pub deleted: Vec<String>,
    /// The same by folders, with sizes.
    #[serde(default)]
    pub folders: Vec<PlannedFolder>,
    pub items: Vec<PlannedItems>,
}

/// The items that a dry run would invalidate on one distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedItems {
    pub distribution_id: String,
    /// How many items there are, of which the list may have only some.
    #[serde(default)]
    pub count: usize,
    /// How many unchanged objects wildcards and cache tags evict.
    #[serde(default)]
    pub evicted: usize,
    pub items: Vec<String>,
}

/// The progress of an invocation, which its caller may read meanwhile.
#[derive(Debug, Default)]
pub struct Progress {
    step: Mutex<Step>,
    total: AtomicU64,
    objects: AtomicU64,
    bytes: AtomicU64,
    inflated: AtomicU64,
    oldest_owed: Mutex<Option<OldestOwed>>,
}

/// When the oldest owed invalidation was recorded; `None` if none is owed.
pub type OldestOwed = Option<DateTime<Utc>>;

impl Progress {
    /// Sets the number of objects to write.
    pub fn expect(&self, objects: usize) {
        self.total.store(objects as u64, Ordering::Relaxed);
    }

    /// Sets the step that begins.
    pub fn begin(&self, step: Step) {
        // No holder of the lock can panic. If one did, the step would stay as it is.
        if let Ok(mut now) = self.step.lock() {
            *now = step;
        }
    }

    /// Returns the step that has begun last.
    pub fn step(&self) -> Step {
        self.step.lock().map(|step| *step).unwrap_or_default()
    }

    /// Counts an object as written.
    pub fn wrote(&self, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts an entry as inflated for its object, which a check alone is not.
    pub fn inflated(&self) {
        self.inflated.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of entries inflated so far.
    pub fn entries_inflated(&self) -> u64 {
        self.inflated.load(Ordering::Relaxed)
    }

    /// Notes what is owed, which a run knows at its end.
    pub fn note_owed(&self, oldest: OldestOwed) {
        // No holder of the lock can panic. If one did, the ledger would be read instead.
        if let Ok(mut noted) = self.oldest_owed.lock() {
            *noted = Some(oldest);
        }
    }

    /// Returns what the last run noted with [`Self::note_owed`]; `None` if no run has come so far.
    pub fn oldest_owed(&self) -> Option<OldestOwed> {
        self.oldest_owed.lock().ok().and_then(|noted| *noted)
    }

    /// Returns the number of objects to write; 0 until it is known.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Returns the number of objects written so far.
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
