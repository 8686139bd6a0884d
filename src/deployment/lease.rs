//! The lease: the right to write to the live bucket and to the site's head.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::DeploymentId;

/// How long a lease outlasts its invocation's deadline. Lambda kills the invocation at the deadline, so that its
/// last write reaches AWS before the lease ends.
const GRACE: TimeDelta = TimeDelta::seconds(5);

/// The right to write to the live bucket and to the [`Head`](super::Head), until `until`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The Lambda request id, which Lambda's own retries keep.
    pub holder: String,
    /// The deployment that the holder brings live; `None` if the holder is a sweep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    pub until: DateTime<Utc>,
}

impl Lease {
    /// Returns a lease that `holder` keeps until shortly after the deadline of its invocation.
    pub fn new(holder: &str, deployment: Option<DeploymentId>, deadline: DateTime<Utc>) -> Self {
        Self { holder: holder.to_owned(), deployment, until: deadline + GRACE }
    }

    /// Whether the lease keeps `request` out at `now`. A request may always take back its own lease.
    pub fn excludes(&self, request: &str, now: DateTime<Utc>) -> bool {
        self.holder != request && self.until > now
    }
}
