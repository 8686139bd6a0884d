//! The decision table: what an event means for its deployment.

use chrono::{DateTime, Utc};

use super::{DeploymentId, Head, Record, Status};

/// One invocation's wish to bring an upload live.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The Lambda request id.
    pub id: &'a str,
    pub deployment: &'a DeploymentId,
    pub uploaded_at: DateTime<Utc>,
    /// Whether a person asks for it, by `options.replay` or as a rollback. The age of an event means nothing.
    pub replay: bool,
    pub now: DateTime<Utc>,
}

impl Request<'_> {
    /// Whether no newer upload has claimed the site.
    fn is_newest(&self, head: &Head) -> bool {
        let newest = head.newest_by(self.now);
        newest.is_none_or(|newest| (self.uploaded_at, self.deployment) >= (newest.uploaded_at, &newest.deployment))
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
    let start = |rollback| when_free(head, request, Decision::Start { rollback });
    let Some(record) = record else {
        return if request.is_newest(head) {
            start(false)
        } else if request.replay {
            start(true)
        } else {
            Decision::Superseded
        };
    };
    // The first claim spends a replay: Lambda may deliver an event twice, and retries it under the same id.
    let is_replay = request.replay && !record.was_claimed_by(request.id);
    let is_overtaken = head.live.as_ref().is_some_and(|live| live.number > record.run);
    match record.status {
        Status::Rejected => Decision::Rejected(record.rejection.clone().unwrap_or_default()),
        Status::Unfinished if !is_overtaken => when_free(head, request, Decision::Resume),
        Status::Unfinished | Status::Superseded if is_replay => start(true),
        Status::Unfinished | Status::Superseded => Decision::Superseded,
        Status::Finished => {
            let is_live = head.live.as_ref().is_some_and(|live| live.deployment == *request.deployment);
            // While a later run waits for its retry, a mere duplicate of the live build must not finish ahead of it:
            // the retry would then count as overtaken.
            let is_settled = head.live.as_ref().is_some_and(|live| live.number == head.sequence);
            match (is_live, is_replay) {
                (true, true) => start(false),
                (true, false) if is_settled => start(false),
                (false, true) => start(true),
                (_, false) => Decision::Duplicate,
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
