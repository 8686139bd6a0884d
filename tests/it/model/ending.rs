//! The end of the work on an upload, of an attempt, and of a request.

use dropship::deployment::Record;

use super::claim::target;
use super::rules::Rules;
use super::state::{State, Step, Upload};

/// Ends the work on one upload. If it was one that had waited and is still undecided, others are left to others.
pub(super) fn end(state: &mut State, request: usize, has_failed: bool, is_decided: bool) {
    let own = &mut state.requests[request];
    own.work = None;
    own.step = Step::LookForWaiting;
    let other = own.other.take();
    match other {
        None => own.has_failed = has_failed,
        Some(other) => own.tried[other as usize] = is_decided,
    }
    if other.is_some() && !is_decided || !state.waiting.contains(&true) {
        conclude(state, request);
    }
}

pub(super) fn look_for_waiting(rules: Rules, state: &mut State, request: usize) {
    let is_newest_first = Upload::ALL.into_iter().rev();
    for upload in is_newest_first.filter(|_| rules.looks_for_waiting()) {
        if !state.waiting[upload as usize] || state.head.may_still_take(upload.place(), state.time()) {
            continue;
        }
        let has_been_live = state.record(upload).is_some_and(Record::has_been_live);
        if !state.requests[request].tried[upload as usize] && !has_been_live {
            let own = &mut state.requests[request];
            (own.other, own.step) = (Some(upload), Step::Decide);
            return;
        }
        state.waiting[upload as usize] = false;
    }
    conclude(state, request);
}

/// Ends an attempt. Lambda repeats one that has failed, and then puts its event into the failure queue.
pub(super) fn conclude(state: &mut State, request: usize) {
    state.requests[request].other = None;
    let upload = target(state, request);
    let own = &mut state.requests[request];
    own.tried = [false; 2];
    own.step = match (own.has_failed, own.attempts_left) {
        (true, 0) => {
            if let Some(upload) = upload {
                state.history.failed[upload as usize] = true;
            }
            Step::Over
        }
        (true, _) => Step::Retry,
        (false, _) => Step::Over,
    };
}
