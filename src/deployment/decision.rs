//! The decision table: what an event means for its deployment.

use chrono::{DateTime, Utc};

use super::waiting::is_repeated;
use super::{Head, Place, Record, Status};

/// One invocation's wish to bring an upload live.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The Lambda request id.
    pub id: &'a str,
    pub place: &'a Place,
    /// Whether a person asks for it, by `options.replay` or as a rollback. The age of an event means nothing.
    pub replay: bool,
    pub now: DateTime<Utc>,
}

/// The decision about an upload.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Start a new run under the next number.
    Start { rollback: bool },
    /// Go on with the run that the record names.
    Resume,
    /// Another request holds the lease: look again soon. It may work on this very upload; but it may die without a
    /// retry.
    Wait,
    /// A newer upload has taken the site.
    Superseded,
    /// The deployment is over, but its upload proves to be the newest: write that down, and decide again.
    Remember,
    /// The deployment is over, and this event does not ask for it again.
    Duplicate,
    /// The archive is corrupt, as an earlier run has found; the text is the reason that was recorded.
    Rejected(String),
}

/// Decides what an event means for its deployment, from the ledger's items.
pub fn decide(head: &Head, record: Option<&Record>, request: &Request) -> Decision {
    let start = |rollback| when_free(head, request, Decision::Start { rollback });
    // A replay is spent by the run that its request claims: Lambda may deliver an event twice. If the run was refused,
    // a retry is refused in the same way.
    let claimed = record.and_then(|record| record.run_claimed_by(request.id));
    let is_replay = request.replay && claimed.is_none_or(|run| head.is_last_and_unfinished(run));
    // Nothing but a person's word raises a preview from the dead.
    let is_dead = head.is_before_removal(request.place);
    let newest = head.newest(request.now);
    let Some((status, record)) = record.and_then(|record| Some((standing(head, record)?, record))) else {
        let is_older = is_dead || newest.is_some_and(|newest| request.place.is_older_than(newest));
        return match (is_older, is_replay) {
            (false, _) => start(false),
            (true, true) => start(true),
            (true, false) => Decision::Superseded,
        };
    };
    match status {
        Standing::Corrupt => Decision::Rejected(record.rejection.clone().unwrap_or_default()),
        // A run from before a removal neither goes on nor starts again: it would cancel one that waits.
        Standing::Unfinished if is_dead && !request.replay => Decision::Superseded,
        Standing::Live if is_dead && !request.replay => Decision::Duplicate,
        Standing::Unfinished => when_free(head, request, Decision::Resume),
        // An upload that had waited and is live needs no run: if it failed, it would have no retry.
        Standing::Live if is_replay || is_repeated(request.id) && !head.has_later_unfinished() => start(false),
        Standing::Overtaken | Standing::Finished if is_replay => start(true),
        // Only an event that tells the time of an upload for the first time shows that it is newer than all others.
        _ if !is_dead && newest.is_some_and(|newest| newest.is_older_than(request.place)) => {
            first_told(head, request, &status)
        }
        Standing::Overtaken => Decision::Superseded,
        // While a later run waits for its retry, a mere duplicate of the live build must not finish ahead of it: the
        // retry would then count as overtaken.
        Standing::Live | Standing::Finished => Decision::Duplicate,
    }
}

/// Decides about an upload that turns out to be the newest. A person who has gone back to an older one since is not
/// overruled.
fn first_told(head: &Head, request: &Request, standing: &Standing) -> Decision {
    let is_meant = matches!(standing, Standing::Live) || !head.is_back_at_older();
    let starts = is_meant && is_repeated(request.id);
    when_free(head, request, if starts { Decision::Start { rollback: false } } else { Decision::Remember })
}

/// The state of a deployment that the ledger knows.
enum Standing {
    Corrupt,
    Unfinished,
    /// A run with a higher number has finished before its own.
    Overtaken,
    Live,
    Finished,
}

/// Returns the state of a deployment; `None` if it is judged as if the ledger did not know it, since it was
/// refused or has never claimed the site.
fn standing(head: &Head, record: &Record) -> Option<Standing> {
    let is_overtaken = head.live.as_ref().is_some_and(|live| live.number > record.run) || head.has_removed(record.run);
    let is_live = head.live.as_ref().is_some_and(|live| live.deployment == record.deployment);
    match record.status {
        Status::Rejected if record.is_corrupt => Some(Standing::Corrupt),
        Status::Unfinished if !is_overtaken => Some(Standing::Unfinished),
        Status::Unfinished | Status::Superseded if is_overtaken && record.run > 0 => Some(Standing::Overtaken),
        Status::Unfinished | Status::Superseded | Status::Rejected => None,
        // The preview that it was live on is removed.
        Status::Finished if head.has_removed(record.run) => Some(Standing::Overtaken),
        Status::Finished if is_live => Some(Standing::Live),
        Status::Finished => Some(Standing::Finished),
    }
}

/// Returns `decision`, unless another request's living lease stands in its way.
fn when_free(head: &Head, request: &Request, decision: Decision) -> Decision {
    if head.held_by_another(request.id, request.now).is_some() { Decision::Wait } else { decision }
}
