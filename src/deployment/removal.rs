//! The removal of a preview: what an event that asks for one means, and what is left of it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Head, Place};
use crate::preview::PreviewName;

/// The last removal of a preview. It stays on the head as a tombstone: no event of an upload from before it brings the
/// preview back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Removal {
    /// When it was asked for. A push from after this time wins, whichever event comes first.
    pub asked_at: DateTime<Utc>,
    /// Its number among the runs. One that has not begun has that of the removal before it, or 0.
    pub number: u64,
    /// Whether something of the preview may be left. Its invocation may be dead, or it waits for a run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_unfinished: bool,
    /// When a person has last asked for an upload in spite of it, by a replay or a rollback. Removals that were asked for
    /// before do not count any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overruled_at: Option<DateTime<Utc>>,
}

impl Removal {
    /// Returns a removal that has not finished.
    pub fn unfinished(asked_at: DateTime<Utc>, number: u64) -> Self {
        Self { asked_at, number, is_unfinished: true, overruled_at: None }
    }
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
    /// The run of a newer push has died, and may be resumed. It wins once it finishes. If it is refused, the removal goes
    /// on, so write that down.
    Postpone,
    /// A newer push has the preview.
    Superseded,
    /// The preview is removed already, by this request or a later one.
    Nothing,
}

/// Decides what an event means that asks for the removal of a preview.
///
/// A preview that the ledger does not know is removed too: an event of an upload from before may still come, and only a
/// tombstone keeps it out.
pub fn decide_removal(head: &Head, request: &str, asked_at: DateTime<Utc>, now: DateTime<Utc>) -> RemovalDecision {
    let removed = head.removed.as_ref();
    let is_known = removed.is_some_and(|removal| removal.asked_at >= asked_at);
    if is_known && head.unfinished_removal().is_none() {
        // A newer push or a person's word has brought the present build.
        let is_there = head.live.is_some() || !head.unfinished.is_empty();
        return if is_there { RemovalDecision::Superseded } else { RemovalDecision::Nothing };
    }
    let is_newer = |place: &Place| !place.is_before(asked_at);
    let is_overruled = removed.and_then(|removal| removal.overruled_at).is_some_and(|at| at > asked_at);
    if is_overruled || head.newest_that_ended(now).is_some_and(is_newer) {
        return RemovalDecision::Superseded;
    }
    if head.held_by_another(request, now).is_some() {
        return RemovalDecision::Wait;
    }
    if head.newest(now).is_some_and(is_newer) {
        return if is_known { RemovalDecision::Superseded } else { RemovalDecision::Postpone };
    }
    // A removal that has not finished keeps its number, unless a run that was refused came between.
    let continued = removed.filter(|removal| removal.is_unfinished && removal.number == head.sequence);
    RemovalDecision::Remove { number: continued.map_or(head.sequence + 1, |removal| removal.number) }
}
