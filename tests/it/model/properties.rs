//! The properties of every state.

use dropship::deployment::Status;
use stateright::Property;

use super::Protocol;
use super::state::{Milestone, State, Upload};

pub(super) fn properties() -> Vec<Property<Protocol>> {
    vec![
        Property::always("a stale copy has a batch that CloudFront has not accepted yet", |_, state: &State| {
            !state.is_stale() || state.owed.iter().any(|owed| !state.accepted.contains(&owed.reference))
        }),
        Property::always("no older build comes back unasked", |_, state: &State| !state.history.came_back_unasked),
        Property::always("no reference is given to two batches", |_, state: &State| !state.history.reused_reference),
        Property::always("one invocation at most is at work on the site", |_, state: &State| {
            state.requests.iter().filter(|request| request.step.is_at_work()).count() <= 1
        }),
        Property::always("a deployment that has been live is never refused afterwards", |_, state: &State| {
            state.records.iter().flatten().all(|record| !record.has_been_live() || record.status != Status::Rejected)
        }),
        Property::always("a site without unfinished runs has what its live build wants", |_, state: &State| {
            let is_at_work = state.requests.iter().any(|request| request.step.is_at_work());
            let is_settled = !is_at_work && state.head.unfinished.is_empty() && !state.head.is_torn;
            !is_settled || state.live().is_none_or(|live| state.object == state.wanted(live))
        }),
        Property::always(
            "the newest valid upload goes live, unless it waits or is in the failure queue",
            |_, state: &State| {
                !state.is_quiescent()
                    || newest_valid(state).is_none_or(|newest| {
                        let upload = newest as usize;
                        state.live() >= Some(newest) || state.waiting[upload] || state.history.failed[upload]
                    })
            },
        ),
        Property::always("without faults, no newer upload is left waiting", |protocol: &Protocol, state: &State| {
            let is_left = |&upload: &Upload| {
                state.waiting[upload as usize] && newest_valid(state) == Some(upload) && state.live() != Some(upload)
            };
            !state.is_quiescent() || state.faults_left < protocol.bounds.faults || !Upload::ALL.iter().any(is_left)
        }),
        Property::always(
            "a site without failures has no unfinished run, no owed batch and no stale copy",
            |_, state: &State| {
                let has_failed = state.history.failed.contains(&true) || state.waiting.contains(&true);
                !state.is_quiescent()
                    || has_failed
                    || state.head.unfinished.is_empty() && state.owed.is_empty() && !state.is_stale()
            },
        ),
        Property::sometimes("a build is rolled back to", |_, state: &State| {
            state.live() == Some(Upload::Older) && state.record(Upload::Older).is_some_and(|record| record.rollback)
        }),
        Property::sometimes("a run is resumed", |_, state: &State| state.history.milestone == Some(Milestone::Resumed)),
        Property::sometimes("an upload that waited is deployed by another invocation", |_, state: &State| {
            state.history.milestone == Some(Milestone::DeployedWaiting)
        }),
        Property::sometimes("an accepted batch is offered again", |_, state: &State| {
            state.history.milestone == Some(Milestone::OfferedAgain)
        }),
        Property::sometimes("a refused run leaves the site between two builds", |_, state: &State| state.head.is_torn),
    ]
}

/// Returns the newest upload that was not refused, and that no person has voted out.
fn newest_valid(state: &State) -> Option<Upload> {
    Upload::ALL.into_iter().rev().find(|&upload| {
        let history = &state.history;
        history.arrived[upload as usize] && !history.refused[upload as usize] && !history.outvoted[upload as usize]
    })
}
