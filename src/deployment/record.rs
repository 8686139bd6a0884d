//! The ledger's item of one deployment.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DeploymentId;
use crate::cut;
use crate::event::{BadEvent, Event, Upload};

/// How many requests a record remembers. Lambda retries an event twice and holds a throttled one for up to six
/// hours, so that more claims of one deployment come only from people who send it again.
pub(super) const MAX_REQUESTS: usize = 20;

/// A deployment's upload, its status, and its last run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub deployment: DeploymentId,
    pub uploaded_at: DateTime<Utc>,
    pub status: Status,
    /// The number of the deployment's last run; 0 if it never claimed the site.
    pub run: u64,
    /// Whether the last run replays a deployment that had been live before, or that a newer one had overtaken.
    pub rollback: bool,
    /// The ids of the requests that claimed it, the latest last. Lambda's retries keep the id; duplicates from S3
    /// have ids of their own.
    pub requests: Vec<String>,
    /// How many batches the last run has recorded so far.
    pub batches: u32,
    /// Why the archive was refused, for [`Status::Rejected`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// The archive's exact version: an event written by hand may not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
    /// The raw event with `options.replay`, as JSON text: sent as it is, it brings the deployment live again.
    pub event: String,
    /// The answer of the last finished run, as JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// When DynamoDB may remove the item, in epoch seconds.
    pub expires_at: i64,
}

/// How far a deployment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

impl Record {
    /// Returns the record of an upload that has not claimed the site yet.
    pub fn new(deployment: DeploymentId, uploaded_at: DateTime<Utc>, upload: &Upload) -> Self {
        Self {
            deployment,
            uploaded_at,
            status: Status::Unfinished,
            run: 0,
            rollback: false,
            requests: Vec::new(),
            batches: 0,
            rejection: None,
            version_id: upload.version_id.clone(),
            etag: upload.etag.clone(),
            sequencer: upload.sequencer.clone(),
            event: replaying(upload.event.clone()).to_string(),
            answer: None,
            expires_at: 0,
        }
    }

    /// The record after `request` has claimed it.
    #[must_use]
    pub fn claimed_by(mut self, request: &str) -> Self {
        self.requests.retain(|known| known != request);
        self.requests.push(request.to_owned());
        let excess = self.requests.len().saturating_sub(MAX_REQUESTS);
        self.requests.drain(..excess);
        self
    }

    /// The record after its archive was refused.
    #[must_use]
    pub fn rejected(self, reason: &str) -> Self {
        Self { status: Status::Rejected, rejection: Some(cut::text(reason)), ..self }
    }

    /// Whether `request` is among those that have claimed it.
    pub fn was_claimed_by(&self, request: &str) -> bool {
        self.requests.iter().any(|known| known == request)
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
                uploaded_at: Some(self.uploaded_at),
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
