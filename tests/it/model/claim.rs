//! The claim: what an event means for its upload, as `src/deploy/claim.rs` acts on it.
//!
//! Reading the ledger and claiming the site are one step, because the claim holds only while the head is as it was read.

use std::sync::Arc;

use dropship::deployment::{self, Decision, Head, Owed, Previous, RunId};

use super::ending::end;
use super::rules::Rules;
use super::run::{advance, enter_write};
use super::state::{Event, Milestone, Reason, State, Step, Upload, Work, deadline};
use super::steps::id;

/// Returns the upload that a request deploys next; `None` if it is a sweep, or if there is no previous deployment.
pub(super) fn target(state: &State, request: usize) -> Option<Upload> {
    let own = &state.requests[request];
    match (own.other, own.event) {
        (Some(other), _) => Some(other),
        (None, Event::Delivery(upload) | Event::Replay(upload)) => Some(upload),
        (None, Event::Sweep) => None,
        (None, Event::Previous) => {
            let has_claimed = |upload: &Upload| {
                state.record(*upload).is_some_and(|record| record.run_claimed_by(id(state, request)).is_some())
            };
            // A retry keeps the target of its first attempt.
            Upload::ALL.into_iter().find(has_claimed).or_else(|| match state.head.previous() {
                Previous::Nothing => None,
                Previous::Live(live) => Some(Upload::of(&live)),
                Previous::ReplacedBy(live) => {
                    let record = state.record(Upload::of(&live))?;
                    record.replaced.as_ref().map(Upload::of)
                }
            })
        }
    }
}

/// Returns the decision about a request's upload; `None` if it has none.
pub(super) fn decision(rules: Rules, state: &State, request: usize) -> Option<Decision> {
    let upload = target(state, request)?;
    let asked = deployment_request(state, request, upload);
    Some(rules.decide(&state.head, state.record(upload), &asked))
}

fn deployment_request(state: &State, request: usize, upload: Upload) -> deployment::Request<'static> {
    deployment::Request {
        id: id(state, request),
        place: upload.place(),
        replay: state.requests[request].is_replay(),
        now: state.time(),
    }
}

/// Whether the decision lets the request wait. One for an upload that had waited never does: it leaves the note.
pub(super) fn waits(state: &State, request: usize, decision: &Decision) -> bool {
    *decision == Decision::Wait && !state.requests[request].is_for_another()
}

pub(super) fn decide_unless_held(rules: Rules, state: &mut State, request: usize) {
    if !decision(rules, state, request).is_some_and(|decision| waits(state, request, &decision)) {
        decide(rules, state, request);
    }
}

pub(super) fn decide(rules: Rules, state: &mut State, request: usize) {
    let Some(upload) = target(state, request) else {
        if state.requests[request].event == Event::Sweep {
            sweep(rules, state, request);
        } else {
            end(state, request, true, true);
        }
        return;
    };
    let record = state.record(upload).cloned();
    let decision = decision(rules, state, request).expect("it has an upload");
    let record = match (decision, record) {
        (Decision::Start { rollback }, record) => {
            let number = state.head.sequence + 1;
            record.unwrap_or_else(|| upload.fresh_record()).started(number, rollback)
        }
        (Decision::Resume, record) => {
            state.history.milestone = Some(Milestone::Resumed);
            record.expect("a run has a record")
        }
        (Decision::Superseded, record) => {
            let record = record.unwrap_or_else(|| upload.fresh_record()).superseded();
            state.records[upload as usize] = Some(Arc::new(record));
            let is_replay = state.requests[request].is_replay();
            if !is_replay && state.head.may_still_take(upload.place(), state.time()) {
                state.waiting[upload as usize] = true;
                state.requests[request].step = Step::LookAgain(Reason::Superseded);
                return;
            }
            return end(state, request, false, true);
        }
        (Decision::Remember, _) => unreachable!("every event tells the time"),
        (Decision::Duplicate, _) => return end(state, request, false, true),
        (Decision::Rejected(_), _) => return end(state, request, true, true),
        (Decision::Wait, _) => return end(state, request, true, false),
    };
    let number = record.run;
    let is_new = state.head.sequence < number;
    note_claim(state, request, upload, number, is_new);
    let asked = deployment_request(state, request, upload);
    let to = state.head.claimed(&asked, number, deadline());
    let run = RunId { deployment: upload.place().deployment.clone(), number };
    state.records[upload as usize] = Some(Arc::new(record.claimed_by(asked.id)));
    claim(rules, state, request, to, Some(run));
}

/// Notes a claim for the properties.
fn note_claim(state: &mut State, request: usize, upload: Upload, number: u64, is_new: bool) {
    let live = state.head.live.as_ref().map_or(0, |live| live.number);
    state.history.refused[upload as usize] &= !is_new;
    let own = &mut state.requests[request];
    if is_new && own.is_replay() && own.claimed.is_none_or(|claimed| claimed > live) {
        state.history.meant.insert(number);
        let other = Upload::ALL[1 - upload as usize];
        state.history.outvoted[other as usize] |= state.history.arrived[other as usize];
        state.history.outvoted[upload as usize] = false;
    }
    if !own.is_for_another() {
        own.claimed = Some(number);
    }
    let is_older = state.history.newest_live.is_some_and(|newest| newest > upload);
    if is_older && state.live() != Some(upload) && !state.history.meant.contains(&number) {
        state.history.came_back_unasked = true;
    }
}

fn claim(rules: Rules, state: &mut State, request: usize, to: Head, run: Option<RunId>) {
    let before = run.as_ref().and_then(|run| state.head.unfinished_run(run.number));
    let has_begun_before = before.is_some_and(|before| before.has_begun);
    for other in &mut state.requests {
        if let Some(work) = &mut other.work {
            work.is_holder = false;
        }
    }
    let due: Vec<Owed> = state.owed.iter().map(|owed| (**owed).clone()).collect();
    state.requests[request].work = Some(Work {
        run,
        is_holder: true,
        seen: state.object,
        has_row: to.manifest.is_some(),
        found: due.len(),
        due,
        settled: Vec::new(),
        has_begun: false,
        has_begun_before,
        has_just_committed: true,
    });
    state.head = Arc::new(Head { version: 1, ..to });
    state.has_lapsed = false;
    state.requests[request].step = Step::RecordBatches;
    if !rules.records_before_writing() {
        enter_write(state, request);
    }
    advance(rules, state, request);
}

fn sweep(rules: Rules, state: &mut State, request: usize) {
    if state.owed.is_empty() || state.head.held_by_another(id(state, request), state.time()).is_some() {
        return end(state, request, false, true);
    }
    let to = state.head.swept_by(id(state, request), deadline());
    claim(rules, state, request, to, None);
}

/// Gives up waiting. Nobody but its sender may say when a replay is meant, so none is noted.
pub(super) fn note_waiting(state: &mut State, request: usize) {
    state.give_ups_left -= 1;
    if state.requests[request].is_replay() {
        return end(state, request, true, false);
    }
    let upload = target(state, request).expect("only uploads wait");
    state.waiting[upload as usize] = true;
    state.requests[request].step = Step::LookAgain(Reason::Held);
}

pub(super) fn look_again(state: &mut State, request: usize) {
    let Step::LookAgain(reason) = state.requests[request].step else {
        unreachable!("only who has noted that it waits looks again");
    };
    let upload = target(state, request).expect("only uploads wait");
    let is_older = state.head.newest(state.time()).is_some_and(|newest| upload.place().is_older_than(newest));
    let is_held = state.head.held_by_another(id(state, request), state.time()).is_some();
    match reason {
        Reason::Superseded if is_older => end(state, request, false, true),
        Reason::Held if is_held => end(state, request, true, false),
        _ => state.requests[request].step = Step::Decide,
    }
}
