//! The removal of a preview: what an event that asks for one means, and what is left of it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::Head;
use crate::preview::PreviewName;

/// The last removal of a preview. It stays on the head as a tombstone: no event of an upload from before it brings the
/// preview back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Removal {
    /// When it was asked for. A push from after this time wins, whichever event comes first.
    pub asked_at: DateTime<Utc>,
    /// Its number among the runs.
    pub number: u64,
    /// Whether something of the preview may be left. Its invocation may be dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unfinished: bool,
}

/// The item of one request to remove a preview, so that its retries know when it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovalRequest {
    pub asked_at: DateTime<Utc>,
    /// When DynamoDB may remove the item, in epoch seconds.
    pub expires_at: i64,
}

/// A preview as the ledger of the live site lists it, so that the sweep and people find all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    pub name: PreviewName,
    /// When its last run was started.
    pub pushed_at: DateTime<Utc>,
}

impl Preview {
    /// Returns when the preview ends if nobody pushes to it for this many days.
    pub fn ends_at(&self, days: u32) -> DateTime<Utc> {
        self.pushed_at + TimeDelta::days(i64::from(days))
    }
}

/// The decision about a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemovalDecision {
    /// Take the preview away, as this run.
    Remove { number: u64 },
    /// Another request holds the lease: look again soon.
    Wait,
    /// A newer push has the preview.
    Superseded,
    /// There is no such preview, or it is removed.
    Nothing,
}

/// Decides what an event means that asks for the removal of a preview.
///
/// `is_listed` says whether the ledger still lists the preview.
pub fn decide_removal(
    head: &Head,
    is_listed: bool,
    request: &str,
    asked_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> RemovalDecision {
    let is_there = head.live.is_some() || !head.unfinished.is_empty() || is_listed;
    let unfinished = head.removed.as_ref().filter(|removal| removal.is_unfinished);
    if unfinished.is_none() && !is_there {
        return RemovalDecision::Nothing;
    }
    if head.newest(now).is_some_and(|newest| !newest.is_before(asked_at)) {
        return RemovalDecision::Superseded;
    }
    if head.held_by_another(request, now).is_some() {
        return RemovalDecision::Wait;
    }
    RemovalDecision::Remove { number: unfinished.map_or(head.sequence + 1, |removal| removal.number) }
}
