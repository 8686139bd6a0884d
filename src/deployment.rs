//! A deployment's identity, what the ledger remembers of it, and the decision table.
//!
//! Everything here is a value or a pure function. The clock is the caller's, so every row of the table
//! can be tested; the conditional writes around [`decide`] are in `aws/ledger.rs`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::{BadEvent, Event, Upload};

/// How long S3 may deliver an event again without that being taken for a replay.
///
/// S3 delivers at least once, usually within seconds, sometimes after a minute or longer (S3 user guide,
/// "Amazon S3 Event Notifications").
pub const DUPLICATE_WINDOW: TimeDelta = TimeDelta::minutes(5);

/// What a lease outlives the deadline of the invocation that holds it by: no Lambda lives longer.
pub const LEASE_GRACE: TimeDelta = TimeDelta::seconds(5);

/// How many requests a deployment's record remembers. Lambda tries again for six hours at most; so many
/// claims of one deployment in that time are not to be expected.
const MAX_REQUESTS: usize = 20;

/// Names one upload brought live: `<upload time as 20261122T101500Z>-<12 hex digits>`.
///
/// Ids sort by upload time (to the second) and can be computed again from the event; nothing in them is random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(String);

impl DeploymentId {
    /// Computes the id of an upload that was finished at `uploaded_at`.
    ///
    /// The digest covers bucket, key and version, or ETag and sequencer where the bucket keeps no versions.
    pub fn of(upload: &Upload, uploaded_at: DateTime<Utc>) -> Self {
        let fields = match &upload.version_id {
            Some(version) => [&upload.bucket, &upload.key, version.as_str(), ""],
            None => [
                upload.bucket.as_str(),
                &upload.key,
                upload.etag.as_deref().unwrap_or_default(),
                upload.sequencer.as_deref().unwrap_or_default(),
            ],
        };
        let mut hash = Sha256::new();
        for field in fields {
            // The length in front keeps ("a", "bc") and ("ab", "c") apart.
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        let digest = hex::encode(&hash.finalize()[..6]);
        Self(format!("{}-{digest}", uploaded_at.format("%Y%m%dT%H%M%SZ")))
    }

    /// Takes an id as a person wrote it; the ledger says whether it exists.
    pub fn named(id: &str) -> Self {
        Self(id.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// The ledger's one item per site: who works on it, and what is live.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Counts the writes of this item; every write is conditional on the version it was made from. 0: no item yet.
    pub version: u64,
    /// The last run number that was given out.
    pub sequence: u64,
    /// The newest upload that ever claimed the site.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Newest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The highest-numbered run that has claimed the site and neither finished nor been refused. It may be
    /// dead; a run with a higher number clears it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Run>,
    /// The run that finished last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Run>,
    /// The key of the manifest in the staging bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Some of the manifest's keys, in order: where a listing of the live bucket is best split. None of them
    /// for a small site.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list_at: Vec<String>,
    /// Keys of earlier manifests that may still be in the staging bucket; nothing points at them any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<String>,
}

/// An upload's place in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Newest {
    pub uploaded_at: DateTime<Utc>,
    pub deployment: DeploymentId,
}

/// The right to write to the live bucket and to [`Head`], until `until`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The Lambda request id; Lambda's own retries keep it.
    pub holder: String,
    pub deployment: DeploymentId,
    pub until: DateTime<Utc>,
}

/// One intended execution of a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub deployment: DeploymentId,
    pub number: u64,
}

/// The ledger's item of one deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub deployment: DeploymentId,
    pub uploaded_at: DateTime<Utc>,
    pub status: Status,
    /// The number of the deployment's last run; 0 when it never claimed the site.
    pub run: u64,
    /// The last run was asked for after the deployment had been live before, or against a newer one.
    pub rollback: bool,
    /// The request ids that have claimed it, the latest last: Lambda's retries keep theirs, S3's duplicates
    /// do not.
    pub requests: Vec<String>,
    /// How many batches the last run has recorded so far.
    pub batches: u32,
    /// Why the archive was refused, for [`Status::Rejected`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// Exactly which archive; the event may have been written by hand and say less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// The raw event, as JSON text: sent again unchanged, it replays the deployment.
    pub event: String,
    /// The answer of the last finished run, as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// When DynamoDB may remove the item, in epoch seconds.
    pub expires_at: i64,
}

impl Record {
    /// The record with `request` among those that have claimed it.
    #[must_use]
    pub fn claimed_by(mut self, request: &str) -> Self {
        self.requests.retain(|known| known != request);
        self.requests.push(request.to_owned());
        let excess = self.requests.len().saturating_sub(MAX_REQUESTS);
        self.requests.drain(..excess);
        self
    }

    pub fn was_claimed_by(&self, request: &str) -> bool {
        self.requests.iter().any(|known| known == request)
    }

    /// The upload that was recorded.
    ///
    /// # Errors
    /// When the recorded event cannot be read any more.
    pub fn upload(&self, staging_bucket: &str) -> Result<Upload, BadEvent> {
        let event = serde_json::from_str(&self.event).unwrap_or_default();
        match Event::parse(&event, staging_bucket)? {
            Event::Uploads { uploads, .. } if uploads.len() == 1 => Ok(Upload {
                version_id: self.version_id.clone(),
                etag: self.etag.clone(),
                sequencer: self.sequencer.clone(),
                uploaded_at: Some(self.uploaded_at),
                ..uploads[0].clone()
            }),
            _ => Err(BadEvent::UnknownEnvelope),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Claimed, and not finished yet, whether its invocation still lives or not.
    Running,
    Finished,
    Superseded,
    Rejected,
}

/// One invocation's wish to bring an upload live.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The Lambda request id.
    pub id: &'a str,
    pub deployment: &'a DeploymentId,
    pub uploaded_at: DateTime<Utc>,
    /// Asked for by `options.replay` or as a rollback.
    pub replay: bool,
    /// When the invocation began: an event does not become a replay by waiting for the site.
    pub arrived_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

impl Request<'_> {
    /// Whether a person means it: said so, or sent an event that S3 would no longer deliver by itself.
    fn is_replay(&self) -> bool {
        self.replay || self.arrived_at - self.uploaded_at > DUPLICATE_WINDOW
    }

    fn is_newest(&self, head: &Head) -> bool {
        head.newest
            .as_ref()
            .is_none_or(|newest| (self.uploaded_at, self.deployment) >= (newest.uploaded_at, &newest.deployment))
    }
}

/// What to do with an upload: the decision table's answer, as a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Start a new run under the next number.
    Run { rollback: bool },
    /// Go on with the run that the record names.
    Resume,
    /// Another deployment holds the lease: look again soon.
    Wait,
    /// Another living request works on this very run.
    InProgress,
    /// A newer upload has taken the site.
    Superseded,
    /// The deployment is over and this event does not ask for it again.
    Duplicate,
    /// The archive was refused before; the text is the same error again.
    Rejected(String),
}

/// Decides what an event means for its deployment, from what the ledger says.
pub fn decide(head: &Head, record: Option<&Record>, request: &Request) -> Decision {
    let Some(record) = record else {
        return if request.is_newest(head) {
            when_free(head, request, Decision::Run { rollback: false })
        } else if request.replay {
            when_free(head, request, Decision::Run { rollback: true })
        } else {
            Decision::Superseded
        };
    };
    let is_retry = record.was_claimed_by(request.id);
    let is_meant = request.is_replay() && !is_retry;
    // A run that never finished is revived by an explicit replay alone: its event may have been on its way
    // for hours. What has been live once comes back as any finished deployment does.
    let is_revived = is_meant && (request.replay || record.answer.is_some());
    let overtaken = |live: &Run| live.number > record.run;
    match record.status {
        Status::Rejected => Decision::Rejected(record.rejection.clone().unwrap_or_default()),
        Status::Superseded if is_revived => when_free(head, request, Decision::Run { rollback: true }),
        Status::Superseded => Decision::Superseded,
        Status::Running if head.live.as_ref().is_some_and(overtaken) => {
            if is_revived {
                when_free(head, request, Decision::Run { rollback: true })
            } else {
                Decision::Superseded
            }
        }
        Status::Running => when_free(head, request, Decision::Resume),
        Status::Finished => {
            let is_live = head.live.as_ref().is_some_and(|live| live.deployment == *request.deployment);
            // While a later run waits for its retry, what is live is not settled: a mere duplicate of the
            // old build must not finish ahead of it and so turn that retry away as overtaken.
            let is_settled = head.live.as_ref().is_some_and(|live| live.number == head.sequence);
            if is_live && (is_meant || is_settled) {
                when_free(head, request, Decision::Run { rollback: false })
            } else if !is_live && is_meant {
                when_free(head, request, Decision::Run { rollback: true })
            } else {
                Decision::Duplicate
            }
        }
    }
}

/// `decision`, unless a living lease of another request stands in its way.
fn when_free(head: &Head, request: &Request, decision: Decision) -> Decision {
    match &head.lease {
        Some(lease) if head.is_held_by_another(request.id, request.now) => {
            if lease.deployment == *request.deployment {
                Decision::InProgress
            } else {
                Decision::Wait
            }
        }
        _ => decision,
    }
}

impl Head {
    /// The head after `request` has taken the lease until `until` for run `number`.
    #[must_use]
    pub fn claimed(&self, request: &Request, number: u64, until: DateTime<Utc>) -> Self {
        let newest = Newest { uploaded_at: request.uploaded_at, deployment: request.deployment.clone() };
        Self {
            version: self.version + 1,
            sequence: self.sequence.max(number),
            newest: self.newest.clone().max(Some(newest)),
            lease: Some(Lease { holder: request.id.to_owned(), deployment: request.deployment.clone(), until }),
            unfinished: match &self.unfinished {
                Some(other) if other.number > number => Some(other.clone()),
                _ => Some(Run { deployment: request.deployment.clone(), number }),
            },
            ..self.clone()
        }
    }

    /// The head after `request`, which deploys nothing, has taken the lease until `until` to sweep.
    #[must_use]
    pub fn swept_by(&self, request: &str, until: DateTime<Utc>) -> Self {
        Self {
            lease: Some(Lease { holder: request.to_owned(), deployment: DeploymentId::named("a sweep"), until }),
            ..self.touched()
        }
    }

    /// Whether another living request holds the lease.
    pub fn is_held_by_another(&self, request: &str, now: DateTime<Utc>) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.holder != request && lease.until > now)
    }

    /// The head as it is, written once more by its holder.
    #[must_use]
    pub fn touched(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// The head after its holder gave the lease back; the run stays unfinished.
    #[must_use]
    pub fn released(&self) -> Self {
        Self { lease: None, ..self.touched() }
    }

    /// The head after its holder's `run` was refused before its first write; `before` is the head it claimed.
    #[must_use]
    pub fn refused(&self, run: &Run, before: &Self) -> Self {
        let unfinished = match &self.unfinished {
            Some(own) if own == run && before.unfinished.as_ref() != Some(run) => before.unfinished.clone(),
            other => other.clone(),
        };
        Self { unfinished, ..self.released() }
    }

    /// The head after its holder's `run` has finished.
    #[must_use]
    pub fn finished(&self, run: &Run) -> Self {
        let unfinished = self.unfinished.clone().filter(|other| other.number > run.number);
        Self { live: Some(run.clone()), unfinished, ..self.released() }
    }
}

#[cfg(test)]
mod tests;
