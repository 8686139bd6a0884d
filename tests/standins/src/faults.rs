//! Faults: which call goes wrong, and how.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::latency::DelayLine;
use crate::{Call, Service};

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Does {
    /// Answers an error in the service's own format; the call has no effect.
    Refuse { status: u16, code: String, message: String },
    /// As `Refuse`, but the call took effect.
    RefuseAfter { status: u16, code: String, message: String },
    /// `DeleteObjects` only: answers 200 with an error for each key that the
    /// rule's pattern matches; those keys stay.
    RefuseKeys { code: String },
    /// Waits, then goes on as usual.
    Delay(Duration),
    /// Closes the connection; the call has no effect.
    DropBefore,
    /// Closes the connection after the call took effect.
    DropAfter,
    /// Breaks the answer's body off after so many bytes.
    Truncate(usize),
    /// The client's process dies as it sends the call: this call and all that
    /// follow have no effect and no answer.
    DieBefore,
    /// The client's process dies when the call has taken effect.
    DieAfter,
}

impl Does {
    /// Answers an HTTP error without effect.
    pub fn refuse(status: u16, code: &str) -> Self {
        Self::Refuse { status, code: code.to_owned(), message: format!("injected {code}") }
    }

    /// Answers an HTTP error although the call took effect.
    pub fn refuse_after(status: u16, code: &str) -> Self {
        Self::RefuseAfter { status, code: code.to_owned(), message: format!("injected {code}") }
    }
}

/// A rule: what happens to the k-th matching call, counted from when it was added.
///
/// Every field that is set has to match. Write `Fault { first: 3, ..Fault::on("PutObject", …) }`.
#[derive(Clone, Debug)]
pub struct Fault {
    pub service: Option<Service>,
    pub operation: Option<String>,
    /// A pattern in which `*` stands for any characters, held against the key
    /// (for `DeleteObjects`: against each of its keys).
    pub key: Option<String>,
    pub client: Option<String>,
    pub distribution: Option<String>,
    /// The first matching call that is struck; 1 is the next one.
    pub first: usize,
    /// How many matching calls are struck from there on.
    pub times: usize,
    pub does: Does,
}

impl Fault {
    /// Strikes the next call of an operation, once.
    pub fn on(operation: &str, does: Does) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::any(does) }
    }

    /// Strikes the next call of all, once.
    pub fn any(does: Does) -> Self {
        Self { service: None, operation: None, key: None, client: None, distribution: None, first: 1, times: 1, does }
    }

    fn matches(&self, call: &Call) -> bool {
        fn same<T: PartialEq<U>, U>(wanted: &Option<T>, found: &U) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        }
        same(&self.service, &call.service)
            && same(&self.operation, &call.operation)
            && same(&self.client, &call.client)
            && (self.distribution.is_none() || self.distribution == call.distribution)
            && self.key.as_ref().is_none_or(|pattern| {
                let mut keys = call.key.iter().chain(&call.keys);
                keys.any(|key| matches_pattern(pattern, key))
            })
    }
}

/// Tells whether a pattern matches; `*` stands for any characters, `/` among them.
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|index| rest.is_char_boundary(*index))
                .any(|index| matches_pattern(after, &rest[index..]))
        }),
    }
}

/// The rules, the latencies and the dead.
#[derive(Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
    deaths: Notify,
}

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    struck: usize,
    dead: HashSet<String>,
    latencies: HashMap<Service, DelayLine>,
}

struct Rule {
    fault: Fault,
    matched: usize,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn add(&self, fault: Fault) {
        self.lock().rules.push(Rule { fault, matched: 0 });
    }

    pub(crate) fn clear(&self) {
        self.lock().rules.clear();
    }

    pub(crate) fn struck(&self) -> usize {
        self.lock().struck
    }

    /// Counts a call in every rule and returns the faults that strike it.
    pub(crate) fn strike(&self, call: &Call) -> Vec<Fault> {
        let mut state = self.lock();
        let mut struck = Vec::new();
        for rule in &mut state.rules {
            if rule.fault.matches(call) {
                rule.matched += 1;
                let first = rule.fault.first;
                if (first..first.saturating_add(rule.fault.times)).contains(&rule.matched) {
                    struck.push(rule.fault.clone());
                }
            }
        }
        state.struck += struck.len();
        struck
    }

    pub(crate) fn die(&self, client: &str) {
        self.lock().dead.insert(client.to_owned());
        self.deaths.notify_waiters();
    }

    pub(crate) fn revive(&self, client: &str) {
        self.lock().dead.remove(client);
    }

    pub(crate) fn is_dead(&self, client: &str) -> bool {
        self.lock().dead.contains(client)
    }

    pub(crate) async fn death(&self, client: &str) {
        loop {
            let died = self.deaths.notified();
            tokio::pin!(died);
            died.as_mut().enable();
            if self.is_dead(client) {
                return;
            }
            died.await;
        }
    }

    pub(crate) fn set_latency(&self, service: Service, latency: Duration) {
        let line = DelayLine::of(latency);
        self.lock().latencies.insert(service, line);
    }

    /// Waits for as long as a service's answers are delayed.
    pub(crate) async fn delay(&self, service: Service) {
        let exit = self.lock().latencies.get(&service).map(DelayLine::enter);
        if let Some(exit) = exit {
            exit.await;
        }
    }
}
