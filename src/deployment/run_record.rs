//! The ledger's item of one run, which no later run of the same deployment overwrites.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::waiting::is_repeated;
use super::{DeploymentId, Status};

/// One run: who asked for it, and how it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunRecord {
    pub number: u64,
    pub deployment: DeploymentId,
    pub asked_by: AskedBy,
    /// The Lambda request that claimed it first.
    pub request: String,
    pub started_at: DateTime<Utc>,
    pub status: Status,
    /// When its last attempt ended, whether or not it will have another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// The answer of a finished run, as JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Why its last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RunFailure>,
    /// When DynamoDB may remove the item, in epoch seconds.
    pub expires_at: i64,
}

/// Who asked for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AskedBy {
    /// The event of an upload.
    Upload,
    /// A person, by a replay or a rollback.
    Person,
    /// A deployment or sweep that deployed an upload which had given up waiting.
    Waiting,
}

/// The error that ended an attempt, as the function's answer has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunFailure {
    pub error_type: String,
    pub error_message: String,
}

impl AskedBy {
    /// Returns who asks by this request.
    pub fn of(request: &str, is_replay: bool) -> Self {
        match is_repeated(request) {
            false => Self::Waiting,
            true if is_replay => Self::Person,
            true => Self::Upload,
        }
    }
}

impl RunRecord {
    /// The record after another attempt has taken the lease.
    #[must_use]
    pub fn resumed(self) -> Self {
        Self { ended_at: None, ..self }
    }

    /// The record after an attempt has brought the deployment live.
    #[must_use]
    pub fn finished(self, answer: Option<String>, now: DateTime<Utc>) -> Self {
        Self { status: Status::Finished, ended_at: Some(now), answer, failure: None, ..self }
    }

    /// The record after an attempt has failed. If its archive or plan was refused, the run has ended.
    #[must_use]
    pub fn failed(self, failure: RunFailure, is_refused: bool, now: DateTime<Utc>) -> Self {
        let status = if is_refused { Status::Rejected } else { self.status };
        Self { status, ended_at: Some(now), failure: Some(failure), ..self }
    }
}
