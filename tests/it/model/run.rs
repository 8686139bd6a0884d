//! The work of a run between its claim and its end, in the order of `src/deploy.rs`.

use std::sync::Arc;

use dropship::deployment::{Head, Owed, Record};
use dropship::invalidation::{Batch, References};

use super::ending::end;
use super::rules::Rules;
use super::state::{Milestone, State, Step, Upload, Work, now};

/// The path of the key.
const PATH: &str = "/key";

/// The key of a manifest that has a row for the key of the model.
const WITH_ROW: &str = "row";

pub(super) fn work(state: &State, request: usize) -> &Work {
    state.requests[request].work.as_ref().expect("it is at work")
}

fn work_mut(state: &mut State, request: usize) -> &mut Work {
    state.requests[request].work.as_mut().expect("it is at work")
}

/// The verdict of a run's plan on the key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Put,
    Delete,
    Nothing,
}

fn plan(state: &State, request: usize) -> Plan {
    let work = work(state, request);
    let Some(run) = &work.run else {
        return Plan::Nothing;
    };
    match (state.wanted(Upload::of(&run.deployment)), work.seen) {
        (wanted, seen) if wanted == seen => Plan::Nothing,
        (Some(_), _) => Plan::Put,
        (None, _) => Plan::Delete,
    }
}

/// Whether the object is gone that the manifest knows.
fn is_missing(work: &Work) -> bool {
    work.seen.is_none() && work.has_row
}

/// Whether the run has to record a batch, and if so, whether it follows deletes.
fn batch_to_record(rules: Rules, state: &State, request: usize) -> Option<bool> {
    let work = work(state, request);
    let run = work.run.as_ref()?;
    let after_deletes = match plan(state, request) {
        Plan::Delete => true,
        Plan::Put if work.seen.is_some() => false,
        _ if is_missing(work) => false,
        _ => return None,
    };
    let is_covered =
        work.due.iter().any(|owed| rules.covers_changes_of(owed, run) && owed.after_deletes == after_deletes);
    (!is_covered).then_some(after_deletes)
}

/// Returns the batches that may be offered in this step: those of deletes wait for the deletes.
fn offerable(work: &Work, step: Step) -> impl Iterator<Item = &Owed> {
    let precedes_deletes = matches!(step, Step::Write | Step::SendWritten);
    let waits = move |owed: &Owed| work.run.as_ref().is_some_and(|run| owed.awaits_deletes_of(run));
    work.due.iter().filter(move |owed| !(precedes_deletes && waits(owed)))
}

/// Returns the batch that the request offers next in this step.
pub(super) fn next_due(work: &Work, step: Step) -> Option<&Owed> {
    offerable(work, step).next()
}

fn to_mark(work: &Work, step: Step) -> Vec<String> {
    offerable(work, step).filter(|owed| !owed.offered).map(|owed| owed.reference.clone()).collect()
}

pub(super) fn has_to_mark(state: &State, request: usize) -> bool {
    !to_mark(work(state, request), state.requests[request].step).is_empty()
}

pub(super) fn enter_write(state: &mut State, request: usize) {
    let plan = plan(state, request);
    let work = work_mut(state, request);
    if plan == Plan::Put || is_missing(work) {
        work.has_row = false;
    }
    work.has_begun = plan != Plan::Nothing;
    state.requests[request].step = Step::Write;
}

/// Goes on to the next step that has something to do.
pub(super) fn advance(rules: Rules, state: &mut State, request: usize) {
    loop {
        let step = state.requests[request].step;
        let is_due = next_due(work(state, request), step).is_some();
        let next = match step {
            Step::RecordBatches if batch_to_record(rules, state, request).is_none() => {
                if rules.records_before_writing() {
                    enter_write(state, request);
                    continue;
                }
                Step::SendWritten
            }
            Step::Write if plan(state, request) != Plan::Put => after_write(rules),
            Step::SendWritten if !is_due => Step::Delete,
            Step::Delete if plan(state, request) != Plan::Delete => Step::SendAll,
            Step::SendAll if !is_due => Step::Finish,
            _ => return,
        };
        state.requests[request].step = next;
    }
}

fn after_write(rules: Rules) -> Step {
    if rules.records_before_writing() { Step::SendWritten } else { Step::RecordBatches }
}

pub(super) fn record(rules: Rules, state: &mut State, request: usize) {
    let after_deletes = batch_to_record(rules, state, request).expect("it has a batch to record");
    let run = work(state, request).run.clone().expect("a sweep records nothing");
    let upload = Upload::of(&run.deployment);
    let known = state.record(upload).expect("a run has a record").clone();
    let (number, items) = (known.batches, vec![PATH.to_owned()]);
    let deployment = run.deployment.as_str();
    let references = References { site: "site", deployment, run: run.number, recorded_at: now() };
    let batch = Batch {
        reference: references.of(number, "E1", &items),
        distribution: "E1".to_owned(),
        items,
        after_deletes,
        relies_on: None,
    };
    let owed = Owed::new(batch, &run, now());
    let to = state.head.begun(&run);
    let record = rules.owing(&known, 1);
    if !commit(state, request, to, Some(record), std::slice::from_ref(&owed)) {
        return;
    }
    state.history.reused_reference |= !state.history.recorded.insert((run.number, number));
    let work = work_mut(state, request);
    work.due.push(owed);
    work.has_just_committed = true;
    if rules.records_before_writing() {
        enter_write(state, request);
    } else {
        state.requests[request].step = Step::SendWritten;
    }
    advance(rules, state, request);
}

/// Marks what is offered next. A batch that is gone from the ledger is settled, and stays gone.
pub(super) fn mark(rules: Rules, state: &mut State, request: usize) {
    let step = state.requests[request].step;
    let references = to_mark(work(state, request), step);
    for owed in state.owed.iter_mut().filter(|owed| references.contains(&owed.reference)) {
        *owed = Arc::new(Owed { offered: true, ..(**owed).clone() });
    }
    let work = work_mut(state, request);
    for owed in work.due.iter_mut().filter(|owed| references.contains(&owed.reference)) {
        owed.offered = true;
        if rules.settles_when_offered() {
            work.settled.push(owed.clone());
        }
    }
}

/// Puts the object on the condition that it is still the one that was listed.
pub(super) fn write(rules: Rules, state: &mut State, request: usize) {
    let run = work(state, request).run.as_ref().expect("a sweep puts nothing");
    let wanted = state.wanted(Upload::of(&run.deployment));
    if state.object == work(state, request).seen {
        state.object = wanted;
    }
    let work = work_mut(state, request);
    work.has_row = true;
    // The batch is chosen by what the write has replaced, whenever it is recorded.
    state.requests[request].step = after_write(rules);
    advance(rules, state, request);
}

pub(super) fn delete(state: &mut State, request: usize) {
    if state.object == work(state, request).seen {
        state.object = None;
    }
    work_mut(state, request).has_row = false;
    state.requests[request].step = Step::SendAll;
}

/// Offers the next batch. CloudFront evicts, unless it has accepted the same reference before.
pub(super) fn offer(state: &mut State, request: usize, is_heard: bool) {
    let step = state.requests[request].step;
    let reference = next_due(work(state, request), step).expect("a batch is due").reference.clone();
    if state.accepted.insert(reference.clone()) {
        state.cached = [false; 2];
    } else {
        state.history.milestone = Some(Milestone::OfferedAgain);
    }
    if !is_heard {
        return;
    }
    let work = work_mut(state, request);
    let index = work.due.iter().position(|owed| owed.reference == reference).expect("the batch is due");
    let owed = work.due.remove(index);
    work.found = work.found.saturating_sub(usize::from(index < work.found));
    work.settled.push(owed);
    if !matches!(step, Step::Refuse { .. }) {
        // The rules of recording do not matter once batches are sent.
        advance(Rules { broken: None }, state, request);
    }
}

/// Writes the head and the record, on the condition that the head is still as it was read.
fn commit(state: &mut State, request: usize, to: Head, record: Option<Record>, new: &[Owed]) -> bool {
    if !work(state, request).is_holder {
        end(state, request, true, false);
        return false;
    }
    let settled = std::mem::take(&mut work_mut(state, request).settled);
    state.owed.retain(|owed| settled.iter().all(|settled| settled.reference != owed.reference));
    state.owed.extend(new.iter().cloned().map(Arc::new));
    let has_row = work(state, request).has_row;
    // Between the first write and the end of a run the manifest is not saved.
    let is_end = to.lease.is_none();
    let manifest = if is_end { has_row.then(|| WITH_ROW.to_owned()) } else { state.head.manifest.clone() };
    state.head = Arc::new(Head { version: 1, manifest, ..to });
    if let Some(record) = record {
        let upload = Upload::of(&record.deployment);
        state.records[upload as usize] = Some(Arc::new(record));
    }
    true
}

pub(super) fn finish(rules: Rules, state: &mut State, request: usize) {
    let Some(run) = work(state, request).run.clone() else {
        let released = state.head.released();
        if commit(state, request, released, None, &[]) {
            end(state, request, false, true);
        }
        return;
    };
    let upload = Upload::of(&run.deployment);
    let record = state.record(upload).expect("a run has a record").clone();
    let record = record.finished(Some("answer".to_owned()), state.head.live.as_ref());
    let to = rules.finished(&state.head, &run);
    if !commit(state, request, to, Some(record), &[]) {
        return;
    }
    state.history.newest_live = state.history.newest_live.max(Some(upload));
    if state.requests[request].is_for_another() {
        state.history.milestone = Some(Milestone::DeployedWaiting);
    }
    end(state, request, false, true);
}

pub(super) fn refuse(rules: Rules, state: &mut State, request: usize, is_corrupt: bool) {
    state.refusals_left -= 1;
    let step = state.requests[request].step;
    let work = work_mut(state, request);
    if !is_corrupt {
        // The batches that were recorded cover no write.
        let uncovered = work.due.split_off(work.found);
        work.settled.extend(uncovered);
        work.has_begun = false;
    } else if step == Step::Write {
        work.has_begun = true;
    }
    let has_to_send = work.may_have_written();
    state.requests[request].step = Step::Refuse { is_corrupt };
    if !has_to_send {
        end_refused(rules, state, request);
    }
}

pub(super) fn end_refused(rules: Rules, state: &mut State, request: usize) {
    let Step::Refuse { is_corrupt } = state.requests[request].step else {
        unreachable!("only a refused run ends so");
    };
    let work = work(state, request);
    let has_begun = work.may_have_written();
    let run = work.run.clone().expect("a sweep has no archive");
    let to = rules.refused(&state.head, &run, has_begun);
    let upload = Upload::of(&run.deployment);
    let record = state.record(upload).expect("a run has a record").clone();
    let record = record.refused("refused", is_corrupt);
    state.history.refused[upload as usize] = true;
    if commit(state, request, to, Some(record), &[]) {
        end(state, request, true, true);
    }
}

pub(super) fn give_up(state: &mut State, request: usize) {
    let work = work(state, request);
    let has_begun = work.may_have_written();
    let to = match &work.run {
        Some(run) => state.head.given_up(run, has_begun),
        None => state.head.released(),
    };
    if commit(state, request, to, None, &[]) {
        end(state, request, true, false);
    }
}
