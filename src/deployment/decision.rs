//! The decision table: what an event means for its deployment.

use chrono::{DateTime, TimeDelta, Utc};

use super::{DeploymentId, Head, Record, RunId, Status};

/// How long after its upload an event still counts as S3's own delivery; a later one is a replay.
///
/// S3 delivers at least once, usually within seconds, sometimes after a minute or longer (S3 user guide,
/// "Amazon S3 Event Notifications").
pub(super) const DUPLICATE_WINDOW: TimeDelta = TimeDelta::minutes(5);

/// One invocation's wish to bring an upload live.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The Lambda request id.
    pub id: &'a str,
    pub deployment: &'a DeploymentId,
    pub uploaded_at: DateTime<Utc>,
    /// Whether the event asks for it, by `options.replay` or as a rollback.
    pub replay: bool,
    /// When the invocation began: an event does not become a replay while it waits for the site.
    pub arrived_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
}

impl Request<'_> {
    /// Whether a person means it: they said so, or the event is older than S3's own deliveries.
    pub(super) fn is_replay(&self) -> bool {
        self.replay || self.arrived_at - self.uploaded_at > DUPLICATE_WINDOW
    }

    fn is_newest(&self, head: &Head) -> bool {
        head.newest
            .as_ref()
            .is_none_or(|newest| (self.uploaded_at, self.deployment) >= (newest.uploaded_at, &newest.deployment))
    }
}

/// The decision about an upload.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Start a new run under the next number.
    Start { rollback: bool },
    /// Go on with the run that the record names.
    Resume,
    /// Another deployment holds the lease: look again soon.
    Wait,
    /// Another living request works on this very run.
    InProgress,
    /// A newer upload has taken the site.
    Superseded,
    /// The deployment is over, and this event does not ask for it again.
    Duplicate,
    /// The archive was refused before; the text is the reason that was recorded.
    Rejected(String),
}

/// Decides what an event means for its deployment, from the ledger's items.
pub fn decide(head: &Head, record: Option<&Record>, request: &Request) -> Decision {
    let Some(record) = record else {
        return if request.is_newest(head) {
            when_free(head, request, Decision::Start { rollback: false })
        } else if request.replay {
            when_free(head, request, Decision::Start { rollback: true })
        } else {
            Decision::Superseded
        };
    };
    let is_retry = record.was_claimed_by(request.id);
    let is_meant = request.is_replay() && !is_retry;
    // Only an explicit replay revives a run that never finished: its event may have been under way for hours. A
    // deployment that has been live comes back as any finished one does.
    let is_revived = is_meant && (request.replay || record.answer.is_some());
    let overtaken = |live: &RunId| live.number > record.run;
    match record.status {
        Status::Rejected => Decision::Rejected(record.rejection.clone().unwrap_or_default()),
        Status::Superseded if is_revived => when_free(head, request, Decision::Start { rollback: true }),
        Status::Superseded => Decision::Superseded,
        Status::Unfinished if head.live.as_ref().is_some_and(overtaken) => {
            if is_revived {
                when_free(head, request, Decision::Start { rollback: true })
            } else {
                Decision::Superseded
            }
        }
        Status::Unfinished => when_free(head, request, Decision::Resume),
        Status::Finished => {
            let is_live = head.live.as_ref().is_some_and(|live| live.deployment == *request.deployment);
            // While a later run waits for its retry, a mere duplicate of the live build must not finish ahead of it:
            // the retry would then count as overtaken.
            let is_settled = head.live.as_ref().is_some_and(|live| live.number == head.sequence);
            if is_live && (is_meant || is_settled) {
                when_free(head, request, Decision::Start { rollback: false })
            } else if !is_live && is_meant {
                when_free(head, request, Decision::Start { rollback: true })
            } else {
                Decision::Duplicate
            }
        }
    }
}

/// Returns `decision`, unless another request's living lease stands in its way.
fn when_free(head: &Head, request: &Request, decision: Decision) -> Decision {
    match head.held_by_another(request.id, request.now) {
        Some(lease) if lease.deployment == *request.deployment => Decision::InProgress,
        Some(_) => Decision::Wait,
        None => decision,
    }
}
