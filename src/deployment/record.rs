//! The ledger's item of one deployment.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{DeploymentId, RunId, Source};
use crate::event::{BadEvent, Event, Upload};

/// How many requests a record remembers. Lambda retries an event twice and holds a throttled one for up to six
/// hours, so that more claims of one deployment come only from people who send it again.
pub(super) const MAX_REQUESTS: usize = 20;

/// A deployment's upload, its status, and its last run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    pub deployment: DeploymentId,
    pub uploaded_at: DateTime<Utc>,
    /// Whether `uploaded_at` is the archive's Last-Modified, because no event has told the time yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_time_estimated: bool,
    pub status: Status,
    /// The number of the deployment's last run; 0 if it never claimed the site.
    pub run: u64,
    /// Whether the last run replays a deployment that had been live before, or that a newer one had overtaken.
    pub rollback: bool,
    /// The requests that claimed it, the latest last.
    pub requests: Vec<Claimant>,
    /// How many batches the last run has recorded so far.
    pub batches: u32,
    /// Why the archive was refused, for [`Status::Rejected`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// Whether the archive is corrupt, so that it is refused for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_corrupt: bool,
    /// The deployment that was live when this one first went live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<DeploymentId>,
    /// The archive's exact version: an event written by hand may not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// Where the build comes from, if whoever pushed it has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The raw event with `options.replay`, as JSON text: sent as it is, it brings the deployment live again.
    pub event: String,
    /// The answer of the last finished run, as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// When DynamoDB may remove the item, in epoch seconds; `None` once it has been live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// A request that claimed a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "StoredClaimant")]
pub struct Claimant {
    /// The Lambda request id. Lambda's retries keep it; duplicates from S3 have ids of their own.
    pub request: String,
    /// The number of the run that it claimed last; 0 if an earlier release has recorded the request.
    pub run: u64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StoredClaimant {
    Now { request: String, run: u64 },
    Before(String),
}

impl From<StoredClaimant> for Claimant {
    fn from(stored: StoredClaimant) -> Self {
        match stored {
            StoredClaimant::Now { request, run } => Self { request, run },
            StoredClaimant::Before(request) => Self { request, run: 0 },
        }
    }
}

/// The item by which an upload is known under one id, whatever time another event of it gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub deployment: DeploymentId,
    pub uploaded_at: DateTime<Utc>,
    /// Whether `uploaded_at` is the archive's Last-Modified, because no event has told the time yet. For a multipart
    /// upload that is its initiation, so that the first event with a time replaces it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_time_estimated: bool,
    /// When DynamoDB may remove the item, in epoch seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// How far a deployment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// A run has claimed the site and not finished, whether its invocation still lives or not. It is stored under the
    /// name that it had first.
    #[serde(rename = "running")]
    Unfinished,
    Finished,
    Superseded,
    Rejected,
}

impl Identity {
    /// Returns the identity after another event has named the upload. The deployment's id stays as it is.
    #[must_use]
    pub fn named_again(self, by_event: &Self) -> Self {
        if self.is_time_estimated && !by_event.is_time_estimated {
            return Self { uploaded_at: by_event.uploaded_at, is_time_estimated: false, ..self };
        }
        self
    }
}

impl Record {
    /// Returns the record of an upload that has not claimed the site yet.
    pub fn new(identity: &Identity, upload: &Upload) -> Self {
        Self {
            deployment: identity.deployment.clone(),
            uploaded_at: identity.uploaded_at,
            is_time_estimated: identity.is_time_estimated,
            status: Status::Unfinished,
            run: 0,
            rollback: false,
            requests: Vec::new(),
            batches: 0,
            rejection: None,
            is_corrupt: false,
            replaced: None,
            version_id: upload.version_id.clone(),
            etag: upload.etag.clone(),
            sequencer: upload.sequencer.clone(),
            source: None,
            event: replaying(upload.event.clone()).to_string(),
            answer: None,
            expires_at: None,
        }
    }

    /// The record whose deployment starts run `number`.
    #[must_use]
    pub fn started(self, number: u64, rollback: bool) -> Self {
        Self { status: Status::Unfinished, run: number, rollback, batches: 0, rejection: None, ..self }
    }

    /// The record after `request` has claimed its run.
    #[must_use]
    pub fn claimed_by(mut self, request: &str) -> Self {
        self.requests.retain(|known| known.request != request);
        self.requests.push(Claimant { request: request.to_owned(), run: self.run });
        let excess = self.requests.len().saturating_sub(MAX_REQUESTS);
        self.requests.drain(..excess);
        self
    }

    /// The record after its run has recorded more batches. It counts them, so that no caller reference is used twice.
    #[must_use]
    pub fn owing(self, batches: usize) -> Self {
        let more = u32::try_from(batches).unwrap_or(u32::MAX);
        Self { batches: self.batches.saturating_add(more), ..self }
    }

    /// The record after a newer upload has turned out to have the site.
    #[must_use]
    pub fn superseded(self) -> Self {
        Self { status: Status::Superseded, rejection: None, ..self }
    }

    /// The record after its run was refused. A deployment that has been live stays one.
    #[must_use]
    pub fn refused(self, reason: &str, is_corrupt: bool) -> Self {
        if self.has_been_live() {
            return Self { status: Status::Finished, ..self };
        }
        Self { status: Status::Rejected, rejection: Some(reason.to_owned()), is_corrupt, ..self }
    }

    /// The record after its run has finished; `live` was live before it. It does not expire, since a person may want
    /// to roll back to it.
    #[must_use]
    pub fn finished(self, answer: Option<String>, live: Option<&RunId>) -> Self {
        let replaced = live.map(|live| live.deployment.clone()).filter(|_| !self.has_been_live());
        Self {
            status: Status::Finished,
            rejection: None,
            replaced: self.replaced.or(replaced),
            answer,
            expires_at: None,
            ..self
        }
    }

    /// Whether a run of the deployment has finished.
    pub fn has_been_live(&self) -> bool {
        self.answer.is_some()
    }

    /// Returns the item that keeps the upload's identity.
    pub fn identity(&self) -> Identity {
        Identity {
            deployment: self.deployment.clone(),
            uploaded_at: self.uploaded_at,
            is_time_estimated: self.is_time_estimated,
            expires_at: self.expires_at,
        }
    }

    /// Returns the number of the run that `request` has claimed last.
    pub fn run_claimed_by(&self, request: &str) -> Option<u64> {
        self.requests.iter().find(|known| known.request == request).map(|known| known.run)
    }

    /// Returns the upload that was recorded.
    ///
    /// # Errors
    /// When this version of the function cannot read the recorded event.
    pub fn upload(&self, staging_bucket: &str) -> Result<Upload, BadEvent> {
        let event = serde_json::from_str(&self.event).unwrap_or_default();
        match Event::parse(&event, staging_bucket)? {
            Event::Uploads { uploads, .. } if uploads.len() == 1 => Ok(Upload {
                version_id: self.version_id.clone(),
                etag: self.etag.clone(),
                sequencer: self.sequencer.clone(),
                uploaded_at: (!self.is_time_estimated).then_some(self.uploaded_at),
                ..uploads[0].clone()
            }),
            _ => Err(BadEvent::UnknownEnvelope),
        }
    }
}

/// Returns an event for one upload with the option that makes it a replay.
fn replaying(mut event: Value) -> Value {
    if let Some(fields) = event.as_object_mut() {
        fields.insert("options".to_owned(), json!({"replay": true}));
    }
    event
}
