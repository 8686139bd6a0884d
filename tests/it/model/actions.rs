//! The actions that are possible in a state of the world.

use super::Protocol;
use super::state::{Event, REQUESTS, State, Step, Upload};
use super::{claim, run, steps};

/// One atomic event. The number is that of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// An event comes: the first, a duplicate, a redriven one, or a person's. Unless it has to wait, it is decided.
    Arrive(Event),
    /// Lambda starts the next attempt at a request. Unless it has to wait, it is decided.
    Retry(usize),
    /// The time of a dead invocation's lease is over.
    Lapse,
    /// Reads the ledger, decides, and claims the site if that is the decision.
    Decide(usize),
    /// Notes that the upload waits for the site.
    NoteWaiting(usize),
    /// Looks, after that, whether the site is free.
    LookAgain(usize),
    /// Records the batches that the plan will owe.
    Record(usize),
    /// Marks the batches that are offered next.
    Mark(usize),
    Write(usize),
    Delete(usize),
    /// Offers a batch, which CloudFront accepts.
    Offer(usize),
    /// Offers a batch, which CloudFront accepts, but its answer is lost.
    OfferUnheard(usize),
    Finish(usize),
    /// Refuses the archive: before the first write or, if it is corrupt, also after it.
    Refuse {
        request: usize,
        is_corrupt: bool,
    },
    /// Ends a refused run.
    EndRefused(usize),
    /// Fails with an error, and releases the lease.
    GiveUp(usize),
    /// The process dies.
    Die(usize),
    LookForWaiting(usize),
}

impl Protocol {
    pub(super) fn enabled(&self, state: &State, actions: &mut Vec<Action>) {
        self.arrivals(state, actions);
        if state.head.lease.is_some() && !state.has_lapsed && state.holder().is_none() {
            actions.push(Action::Lapse);
        }
        for request in 0..REQUESTS {
            if is_elsewhere(state, request) {
                continue;
            }
            self.enabled_for(state, request, actions);
            let is_mortal = state.requests[request].step.is_at_work()
                || state.requests[request].step == Step::LookForWaiting && state.waiting.contains(&true);
            if is_mortal && state.faults_left > 0 {
                actions.push(Action::Die(request));
            }
        }
    }

    fn arrivals(&self, state: &State, actions: &mut Vec<Action>) {
        let is_free = steps::free_request(state).is_some_and(|request| !is_elsewhere(state, request));
        if state.events_left == 0 || !is_free {
            return;
        }
        for upload in Upload::ALL {
            actions.push(Action::Arrive(Event::Delivery(upload)));
            if self.bounds.people && state.record(upload).is_some() {
                actions.push(Action::Arrive(Event::Replay(upload)));
            }
        }
        if self.bounds.people && state.head.live.is_some() {
            actions.push(Action::Arrive(Event::Previous));
        }
        if self.bounds.sweeps && !state.owed.is_empty() {
            actions.push(Action::Arrive(Event::Sweep));
        }
    }

    fn enabled_for(&self, state: &State, request: usize, actions: &mut Vec<Action>) {
        let own = &state.requests[request];
        let (may_fail, may_refuse) = (state.faults_left > 0, state.refusals_left > 0);
        let due = own.work.as_ref().and_then(|work| run::next_due(work, own.step));
        match own.step {
            Step::Retry => actions.push(Action::Retry(request)),
            Step::Over => {}
            Step::LookForWaiting => actions.push(Action::LookForWaiting(request)),
            Step::LookAgain(_) => actions.push(Action::LookAgain(request)),
            Step::Decide => match claim::decision(self.rules, state, request) {
                Some(decision) if claim::waits(state, request, &decision) => {
                    actions.extend((state.give_ups_left > 0).then_some(Action::NoteWaiting(request)));
                }
                _ => actions.push(Action::Decide(request)),
            },
            Step::RecordBatches => {
                actions.push(Action::Record(request));
                if may_refuse {
                    actions.push(Action::Refuse { request, is_corrupt: false });
                }
            }
            Step::Write => {
                actions.push(Action::Write(request));
                if run::has_to_mark(state, request) {
                    actions.push(Action::Mark(request));
                }
                if may_refuse {
                    let is_marked = own.work.iter().any(|work| work.due[work.found..].iter().any(|owed| owed.offered));
                    actions.extend((!is_marked).then_some(Action::Refuse { request, is_corrupt: false }));
                    actions.push(Action::Refuse { request, is_corrupt: true });
                }
            }
            Step::Delete => {
                actions.push(Action::Delete(request));
                if run::has_to_mark(state, request) {
                    actions.push(Action::Mark(request));
                }
            }
            Step::SendWritten | Step::SendAll | Step::Refuse { .. } => match due {
                Some(owed) if owed.offered => {
                    actions.push(Action::Offer(request));
                    if may_fail {
                        actions.push(Action::OfferUnheard(request));
                    }
                }
                Some(_) => actions.push(Action::Mark(request)),
                None => {}
            },
            Step::Finish => actions.push(Action::Finish(request)),
        }
        if let Step::Refuse { .. } = own.step {
            if due.is_none() || may_fail {
                actions.push(Action::EndRefused(request));
            }
        } else if own.step.is_at_work() && may_fail {
            actions.push(Action::GiveUp(request));
        }
    }
}

/// Whether the request has to let the holder of the lease go on. What it does meanwhile depends on the ledger alone, so
/// that it may as well do it right after the holder has written the head.
fn is_elsewhere(state: &State, request: usize) -> bool {
    let holder = state.holder().filter(|holder| *holder != request);
    let work = holder.and_then(|holder| state.requests[holder].work.as_ref());
    work.is_some_and(|work| !work.has_just_committed)
}
