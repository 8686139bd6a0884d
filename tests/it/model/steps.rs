//! How each action changes the world, by the rules of the crate.

use std::sync::Arc;

use dropship::deployment::Claimant;

use super::Protocol;
use super::actions::Action;
use super::claim::{decide, decide_unless_held, look_again, note_waiting};
use super::ending::{conclude, look_for_waiting};
use super::run::{delete, end_refused, finish, give_up, mark, offer, record, refuse, work, write};
use super::state::{Event, REQUESTS, Request, State, Step};

/// The request ids under which each request deploys what it asks for, and what had waited.
const IDS: [[&str; 2]; REQUESTS] = [["r0", "r0/waiting"], ["r1", "r1/waiting"], ["r2", "r2/waiting"]];

/// Returns the world after an action.
pub(super) fn next(protocol: &Protocol, last: &State, action: Action) -> State {
    let mut state = last.clone();
    state.history.milestone = None;
    let rules = protocol.rules;
    match action {
        Action::Arrive(event) => {
            if let Event::Delivery(upload) = event {
                state.history.arrived[upload as usize] = true;
            }
            state.events_left -= 1;
            let request = free_request(&state).expect("an event comes only if there is room");
            let attempts_left = protocol.bounds.attempts - 1;
            state.requests[request] = Request { event, attempts_left, step: Step::Decide, ..Request::over() };
            decide_unless_held(rules, &mut state, request);
        }
        Action::Retry(request) => {
            let own = &mut state.requests[request];
            own.attempts_left -= 1;
            own.has_failed = false;
            own.step = Step::Decide;
            decide_unless_held(rules, &mut state, request);
        }
        Action::Lapse => state.has_lapsed = true,
        Action::Decide(request) => decide(rules, &mut state, request),
        Action::NoteWaiting(request) => note_waiting(&mut state, request),
        Action::LookAgain(request) => look_again(&mut state, request),
        Action::Record(request) => record(rules, &mut state, request),
        Action::Mark(request) => mark(rules, &mut state, request),
        Action::Write(request) => write(rules, &mut state, request),
        Action::Delete(request) => delete(&mut state, request),
        Action::Offer(request) => offer(&mut state, request, true),
        Action::OfferUnheard(request) => {
            fault(&mut state);
            offer(&mut state, request, false);
        }
        Action::Finish(request) => finish(rules, &mut state, request),
        Action::Refuse { request, is_corrupt } => refuse(rules, &mut state, request, is_corrupt),
        Action::EndRefused(request) => {
            if !work(&state, request).due.is_empty() {
                fault(&mut state);
            }
            end_refused(rules, &mut state, request);
        }
        Action::GiveUp(request) => {
            fault(&mut state);
            give_up(&mut state, request);
        }
        Action::Die(request) => {
            fault(&mut state);
            let own = &mut state.requests[request];
            own.work = None;
            own.has_failed = true;
            conclude(&mut state, request);
        }
        Action::LookForWaiting(request) => look_for_waiting(rules, &mut state, request),
    }
    if let Action::Mark(request)
    | Action::Write(request)
    | Action::Delete(request)
    | Action::Offer(request)
    | Action::OfferUnheard(request)
    | Action::Refuse { request, .. } = action
        && let Some(work) = &mut state.requests[request].work
    {
        work.has_just_committed = false;
    }
    settle_down(&mut state);
    state
}

/// Applies what happens by itself, and forgets what no longer matters, so that equal worlds are equal states.
fn settle_down(state: &mut State) {
    // A viewer may fetch the object at any moment. More cached copies are never better, so one always does.
    if let Some(build) = state.object {
        state.cached[build as usize] = true;
    }
    let State { owed, requests, accepted, history, records, head, .. } = state;
    if !accepted.is_empty() {
        let is_known = |reference: &String| {
            let works = requests.iter().filter_map(|request| request.work.as_ref());
            let mut in_memory = works.flat_map(|work| &work.due);
            owed.iter().any(|owed| owed.reference == *reference) || in_memory.any(|owed| owed.reference == *reference)
        };
        accepted.retain(is_known);
    }
    history.recorded.retain(|(run, _)| records.iter().flatten().any(|record| record.run == *run));
    history.meant.retain(|run| head.unfinished_run(*run).is_some());
    for request in requests.iter_mut().filter(|request| request.step == Step::Over) {
        *request = Request::over();
    }
    for record in records.iter_mut().flatten() {
        let is_over = |claimant: &Claimant| {
            (0..REQUESTS)
                .any(|request| IDS[request].contains(&&*claimant.request) && requests[request].step == Step::Over)
        };
        if record.requests.iter().any(is_over) {
            Arc::make_mut(record).requests.retain(|claimant| !is_over(claimant));
        }
    }
}

/// Returns a request that is over, and whose id is forgotten.
pub(super) fn free_request(state: &State) -> Option<usize> {
    let lease = state.head.lease.as_ref();
    let holds = |request: usize| lease.is_some_and(|lease| IDS[request].contains(&&*lease.holder));
    (0..REQUESTS).find(|&request| state.requests[request].step == Step::Over && !holds(request))
}

fn fault(state: &mut State) {
    state.faults_left -= 1;
}

/// Returns the request id under which a request deploys.
pub(super) fn id(state: &State, request: usize) -> &'static str {
    IDS[request][usize::from(state.requests[request].is_for_another())]
}
