//! The order of uploads.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DeploymentId;

/// An upload's place in the order of uploads.
///
/// Uploads are ordered by their time. S3's sequencer orders those of one key that have the same time. Others of the
/// same time have no order: none of them is older.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub uploaded_at: DateTime<Utc>,
    pub deployment: DeploymentId,
    /// The archive's key; `None` in items of an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequencer: Option<String>,
}

impl Place {
    /// Whether the upload is older than another one.
    pub fn is_older_than(&self, other: &Self) -> bool {
        match self.uploaded_at.cmp(&other.uploaded_at) {
            Ordering::Equal => self.key.is_some() && self.key == other.key && self.has_lower_sequencer_than(other),
            order => order.is_lt(),
        }
    }

    /// S3 pads the shorter of two sequencers with zeros on the right, and then compares them as text ("Event message
    /// structure"). Comparing them without padding has the same result.
    fn has_lower_sequencer_than(&self, other: &Self) -> bool {
        let sequencers = self.sequencer.as_ref().zip(other.sequencer.as_ref());
        sequencers.is_some_and(|(own, other)| own.to_ascii_uppercase() < other.to_ascii_uppercase())
    }
}
