//! The state of the modelled world: the ledger, one key of the live bucket, its cached copies, and the requests.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use dropship::deployment::{DeploymentId, Head, Identity, Owed, Place, Record, RunId};
use dropship::event;
use serde_json::Value;

/// The uploads of the model, by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Upload {
    Older,
    Newer,
}

impl Upload {
    pub(super) const ALL: [Self; 2] = [Self::Older, Self::Newer];

    pub(super) fn place(self) -> &'static Place {
        static PLACES: LazyLock<[Place; 2]> = LazyLock::new(|| {
            [("older.zip", 200), ("newer.zip", 100)].map(|(key, age_seconds)| {
                let uploaded_at = now() - TimeDelta::seconds(age_seconds);
                Place { uploaded_at, deployment: DeploymentId::named(key), key: Some(key.to_owned()), sequencer: None }
            })
        });
        &PLACES[self as usize]
    }

    pub(super) fn of(deployment: &DeploymentId) -> Self {
        if *deployment == Self::Older.place().deployment { Self::Older } else { Self::Newer }
    }

    /// Returns the record that the upload has before it claims the site.
    pub(super) fn fresh_record(self) -> Record {
        static RECORDS: LazyLock<[Record; 2]> = LazyLock::new(|| {
            Upload::ALL.map(|upload| {
                let Place { uploaded_at, deployment, key, .. } = upload.place().clone();
                let upload = event::Upload {
                    bucket: "staging".to_owned(),
                    key: key.unwrap_or_default(),
                    version_id: None,
                    etag: None,
                    sequencer: None,
                    uploaded_at: Some(uploaded_at),
                    event: Value::Null,
                };
                let identity = Identity { deployment, uploaded_at, is_time_estimated: false, expires_at: None };
                Record::new(&identity, &upload)
            })
        });
        RECORDS[self as usize].clone()
    }
}

/// Returns the moment at which everything happens. The model knows the order of events and not their times.
pub(super) fn now() -> DateTime<Utc> {
    static NOW: LazyLock<DateTime<Utc>> = LazyLock::new(|| Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap());
    *NOW
}

/// Returns the deadline of every invocation.
pub(super) fn deadline() -> DateTime<Utc> {
    now() + TimeDelta::minutes(15)
}

/// How many requests may be in flight at a time.
pub(super) const REQUESTS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Whether the newer build has the key. If it has not, its run deletes the key.
    pub newer_has_key: bool,

    /// The version is always that of the first write: each holder knows by `Work::is_holder` whether it wrote last.
    pub head: Arc<Head>,
    pub records: [Option<Arc<Record>>; 2],
    /// The uploads with a note that they wait for the site.
    pub waiting: [bool; 2],
    pub owed: Vec<Arc<Owed>>,
    /// Whether the time of the lease is over.
    pub has_lapsed: bool,

    /// The build whose object the live bucket has under the key.
    pub object: Option<Upload>,
    /// The builds whose objects are in a cache.
    pub cached: [bool; 2],
    /// The references of owed batches that CloudFront has accepted.
    pub accepted: BTreeSet<String>,

    pub requests: [Request; REQUESTS],
    /// How many more events may come.
    pub events_left: usize,
    /// How many more faults may happen.
    pub faults_left: usize,
    /// How many more times a request may give up waiting.
    pub give_ups_left: usize,
    /// How many more times an archive may be refused.
    pub refusals_left: usize,

    pub history: History,
}

/// The past, as far as the properties need it. The protocol cannot see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct History {
    /// The uploads whose events have come.
    pub arrived: [bool; 2],
    /// The uploads that were there when a person asked for the other one.
    pub outvoted: [bool; 2],
    /// The uploads whose last run was refused.
    pub refused: [bool; 2],
    /// The uploads with a request in the failure queue.
    pub failed: [bool; 2],
    /// The newest upload that has been live.
    pub newest_live: Option<Upload>,
    /// The unfinished runs that a person asked for.
    pub meant: BTreeSet<u64>,
    /// Run and number of every recorded batch whose run may go on.
    pub recorded: BTreeSet<(u64, u32)>,
    /// Whether an older build's run began although no person had asked for it.
    pub came_back_unasked: bool,
    /// Whether two batches had the same reference.
    pub reused_reference: bool,
    /// The milestone that the last step has reached.
    pub milestone: Option<Milestone>,
}

/// A milestone: the model must reach it somewhere. Otherwise the properties might hold only because nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Milestone {
    Resumed,
    DeployedWaiting,
    OfferedAgain,
}

/// An event and its state. All attempts at it have one request id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub event: Event,
    pub attempts_left: usize,
    pub step: Step,
    /// The last run that it claimed with its own id.
    pub claimed: Option<u64>,
    /// Whether the deployment that the event asks for has failed in this attempt.
    pub has_failed: bool,
    /// The upload that it deploys after its own event, because it had waited for the site.
    pub other: Option<Upload>,
    /// The uploads of that kind that are decided.
    pub tried: [bool; 2],
    pub work: Option<Work>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event {
    Delivery(Upload),
    /// A person's word, by `options.replay` or `{"rollback":"<id>"}`.
    Replay(Upload),
    /// `{"rollback":"previous"}`.
    Previous,
    Sweep,
}

/// The next step of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    Decide,
    /// It has noted that its upload waits, and looks once more whether the reason still holds.
    LookAgain(Reason),
    RecordBatches,
    Write,
    /// It sends everything except the batches of its deletes.
    SendWritten,
    Delete,
    SendAll,
    Finish,
    /// Its archive turned out corrupt or the like after the first write: it sends what it owes, and ends the run.
    Refuse {
        is_corrupt: bool,
    },
    /// It is done with the site, and looks for uploads that wait.
    LookForWaiting,
    /// The attempt has failed: Lambda repeats it.
    Retry,
    Over,
}

/// Why an upload waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    Held,
    /// A newer upload has an unfinished run, which may be refused.
    Superseded,
}

/// The lease of a living invocation, and what the invocation knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Work {
    /// `None` for a sweep.
    pub run: Option<RunId>,
    /// Whether the head is still as this invocation wrote it.
    pub is_holder: bool,
    /// The object that the listing showed.
    pub seen: Option<Upload>,
    /// Whether the draft of the manifest has the key.
    pub has_row: bool,
    pub due: Vec<Owed>,
    /// The batches that the next commit deletes.
    pub settled: Vec<Owed>,
    /// How many batches were due before this invocation recorded its own.
    pub found: usize,
    /// Whether this invocation may have written.
    pub has_begun: bool,
    /// Whether an earlier invocation of the run may have written.
    pub has_begun_before: bool,
    /// Whether the last thing that this invocation did was to write the head.
    pub has_just_committed: bool,
}

impl Work {
    /// Whether this or an earlier invocation of the run may have written.
    pub(super) fn may_have_written(&self) -> bool {
        self.has_begun || self.has_begun_before
    }
}

impl Step {
    /// Whether the invocation has claimed the site and not yet ended its work.
    pub(super) fn is_at_work(self) -> bool {
        !matches!(self, Self::Decide | Self::LookAgain(_) | Self::LookForWaiting | Self::Retry | Self::Over)
    }
}

impl Request {
    /// Returns a request that is over or has never come. All of them are equal: what they were does not matter.
    pub(super) fn over() -> Self {
        Self {
            event: Event::Sweep,
            attempts_left: 0,
            step: Step::Over,
            claimed: None,
            has_failed: false,
            other: None,
            tried: [false; 2],
            work: None,
        }
    }

    /// Whether it deploys an upload that had given up waiting, and not what its own event asks for.
    pub(super) fn is_for_another(&self) -> bool {
        self.other.is_some()
    }

    pub(super) fn is_replay(&self) -> bool {
        !self.is_for_another() && matches!(self.event, Event::Replay(_) | Event::Previous)
    }
}

impl State {
    pub(super) fn record(&self, upload: Upload) -> Option<&Record> {
        self.records[upload as usize].as_deref()
    }

    /// Returns the time at which the next decision is made.
    pub(super) fn time(&self) -> DateTime<Utc> {
        if self.has_lapsed { deadline() + TimeDelta::hours(1) } else { now() }
    }

    /// Returns what the build wants under the key: its own object, or none.
    pub(super) fn wanted(&self, build: Upload) -> Option<Upload> {
        (build == Upload::Older || self.newer_has_key).then_some(build)
    }

    pub(super) fn live(&self) -> Option<Upload> {
        self.head.live.as_ref().map(|live| Upload::of(&live.deployment))
    }

    /// Whether a cache holds an object that is not the bucket's.
    pub(super) fn is_stale(&self) -> bool {
        Upload::ALL.iter().any(|&build| self.cached[build as usize] && self.object != Some(build))
    }

    /// Whether nothing is in flight.
    pub(super) fn is_quiescent(&self) -> bool {
        self.requests.iter().all(|request| request.step == Step::Over)
    }

    /// Returns the number of the request that holds the lease with a living invocation.
    pub(super) fn holder(&self) -> Option<usize> {
        self.requests.iter().position(|request| request.work.as_ref().is_some_and(|work| work.is_holder))
    }
}
