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
    /// How many attempts have taken the lease. Lambda makes up to three.
    #[serde(default)]
    pub attempts: u32,
    /// How far the attempt at work has come, if it takes more than a few seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<RunProgress>,
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

/// The kind of request that started a run.
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

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunProgress {
    pub step: Step,
    /// The objects written so far, and all that will be written.
    pub done: u64,
    pub total: u64,
}

/// The part of a run that takes time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// It compares the archive with the bucket.
    #[default]
    Planning,
    Writing,
    /// It offers batches to CloudFront, before the deletes or after them.
    Invalidating,
    Deleting,
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
    /// The record after an attempt has taken the lease.
    #[must_use]
    pub fn attempted(self) -> Self {
        Self { ended_at: None, progress: None, attempts: self.attempts.saturating_add(1), ..self }
    }

    /// The record after an attempt has brought the deployment live.
    #[must_use]
    pub fn finished(self, answer: Option<String>, now: DateTime<Utc>) -> Self {
        Self { status: Status::Finished, ended_at: Some(now), progress: None, answer, failure: None, ..self }
    }

    /// The record after an attempt has failed. If its archive or plan was refused, the run has ended.
    #[must_use]
    pub fn failed(self, failure: RunFailure, is_refused: bool, now: DateTime<Utc>) -> Self {
        let status = if is_refused { Status::Rejected } else { self.status };
        Self { status, ended_at: Some(now), progress: None, failure: Some(failure), ..self }
    }
}
