//! The order of uploads.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::DeploymentId;

/// An upload's place in the order of uploads.
///
/// Uploads are ordered by their time. EventBridge cuts times to seconds and S3 does not, so that a time without
/// milliseconds may be any time of its second. Within one second S3's sequencer orders the uploads of one key; others
/// have no order if one of the two times may be cut: neither is older.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
        let sequencers = self.sequencer.as_ref().zip(other.sequencer.as_ref());
        let is_same_second = self.uploaded_at.timestamp() == other.uploaded_at.timestamp();
        match sequencers.filter(|_| self.key.is_some() && self.key == other.key && is_same_second) {
            // S3 pads the shorter of two sequencers with zeros on the right, and then compares them as text ("Event
            // message structure"). Comparing them without padding has the same result.
            Some((own, other)) => own.to_ascii_uppercase() < other.to_ascii_uppercase(),
            None if is_same_second && (self.may_be_cut() || other.may_be_cut()) => false,
            None => self.uploaded_at < other.uploaded_at,
        }
    }

    /// Whether the upload is certainly older than a moment.
    pub fn is_before(&self, moment: DateTime<Utc>) -> bool {
        let is_same_second = self.uploaded_at.timestamp() == moment.timestamp();
        self.uploaded_at < moment && !(is_same_second && self.may_be_cut())
    }

    fn may_be_cut(&self) -> bool {
        self.uploaded_at.timestamp_subsec_nanos() == 0
    }
}
