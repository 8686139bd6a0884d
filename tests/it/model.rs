//! A model of the protocol by which invocations share a site, checked exhaustively within bounds.
//!
//! The model's transitions are those of the crate: `decide`, the transitions of `Head` and `Record`, and the rules of
//! owed batches. Around them it has one key with its cached copies, two uploads and a few requests, which may meet,
//! fail and die between any two of their effects. Time is nothing but the order of events.

mod actions;
mod claim;
mod ending;
mod properties;
mod rules;
mod run;
mod state;
mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Property};

use crate::note::note;
use actions::Action;
use rules::{Mutant, Rules};
use state::{History, Request, State};

/// How much happens in the model.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    events: usize,
    /// How often Lambda invokes the function for one request.
    attempts: usize,
    /// Deaths, errors and lost answers.
    faults: usize,
    refusals: usize,
    /// How often a request gives up waiting for the site.
    give_ups: usize,
    /// Whether people replay builds.
    people: bool,
    sweeps: bool,
}

/// The protocol, within bounds.
struct Protocol {
    rules: Rules,
    bounds: Bounds,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let state = |newer_has_key| State {
            newer_has_key,
            head: Arc::default(),
            records: [None, None],
            waiting: [false; 2],
            owed: Vec::new(),
            has_lapsed: false,
            object: None,
            cached: [false; 2],
            accepted: BTreeSet::new(),
            requests: std::array::from_fn(|_| Request::over()),
            events_left: self.bounds.events,
            faults_left: self.bounds.faults,
            give_ups_left: self.bounds.give_ups,
            refusals_left: self.bounds.refusals,
            history: History::default(),
        };
        vec![state(true), state(false)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.enabled(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(steps::next(self, last, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::properties()
    }
}

/// The worlds that are checked, the smallest first. One world with everything in it would be too large for a test.
const WORLDS: [(&str, Bounds); 5] = [
    ("people and refusals", Bounds { people: true, ..bounds(3, 0, 1, 0) }),
    ("people and a fault", Bounds { people: true, ..bounds(3, 1, 0, 0) }),
    ("fault upon fault", Bounds { people: true, sweeps: true, ..bounds(2, 3, 1, 0) }),
    ("two requests that give up waiting", bounds(2, 1, 1, 2)),
    ("three deliveries that wait and fail", bounds(3, 1, 0, 1)),
];

/// More steps than any world has.
const DEEP: usize = 1_000;

const fn bounds(events: usize, faults: usize, refusals: usize, give_ups: usize) -> Bounds {
    Bounds { events, attempts: 2, faults, refusals, give_ups, people: false, sweeps: false }
}

/// Checks the states that up to `steps` actions lead to.
fn check(broken: Option<Mutant>, bounds: Bounds, steps: usize) -> impl Checker<Protocol> {
    // The depth of a state counts the initial one, and the checker stops before the target.
    let checker = Protocol { rules: Rules { broken }, bounds }.checker().threads(2).target_max_depth(steps + 2);
    checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join()
}

/// Returns a property that does not hold with a broken rule, and the shortest way there.
fn shortest_counterexample(mutant: Mutant, bounds: Bounds) -> Option<(&'static str, Vec<Action>)> {
    let within = |steps| counterexample(&check(Some(mutant), bounds, steps));
    let mut shortest = within(DEEP)?;
    // The checker reports the last counterexample that it has found, which may not be the shortest.
    while let Some(shorter) = within(shortest.1.len() - 1) {
        shortest = shorter;
    }
    Some(shortest)
}

/// Returns a property that does not hold, and a way there.
fn counterexample(checker: &impl Checker<Protocol>) -> Option<(&'static str, Vec<Action>)> {
    let is_failure = |name| checker.model().property(name).expectation.discovery_is_failure();
    let failures = checker.discoveries().into_iter().filter(|(name, _)| is_failure(name));
    failures.map(|(name, path)| (name, path.into_actions())).min_by_key(|(_, actions)| actions.len())
}

#[test]
fn every_promise_holds_in_every_state_of_the_protocol() {
    let properties = properties::properties();
    let milestones = properties.iter().filter(|property| property.expectation == Expectation::Sometimes);
    let mut unreached: BTreeSet<&'static str> = milestones.map(|property| property.name).collect();
    for (world, bounds) in WORLDS {
        let begun = Instant::now();
        let checker = check(None, bounds, DEEP);
        let (states, depth, took) = (checker.unique_state_count(), checker.max_depth(), begun.elapsed());
        note(&format!("model of the protocol, {world}: {states} states, {depth} steps deep, {took:.1?}"));
        if let Some((property, actions)) = counterexample(&checker) {
            panic!("{world}: not true that {property}: {actions:#?}");
        }
        unreached.retain(|name| checker.discovery(name).is_none());
    }
    assert!(unreached.is_empty(), "no world has reached that {unreached:?}");
}

#[test]
fn the_model_notices_every_broken_rule() {
    for mutant in Mutant::ALL {
        let begun = Instant::now();
        let found = WORLDS.iter().find_map(|(world, bounds)| {
            let (property, actions) = shortest_counterexample(mutant, *bounds)?;
            Some((*world, property, actions))
        });
        let (world, property, actions) = found.unwrap_or_else(|| panic!("nothing shows that {mutant:?} breaks a rule"));
        let (steps, took) = (actions.len(), begun.elapsed());
        note(&format!(
            "model of the protocol, {mutant:?}, {world}: {steps} steps, {took:.1?}: not true that {property}"
        ));
    }
}
