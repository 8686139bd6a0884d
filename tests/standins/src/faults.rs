//! Faults: which calls fail, and how.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::latency::DelayLine;
use crate::{Call, Service, pattern};

/// A rule: what happens to the k-th matching call, counted from the moment when the rule was added.
///
/// A call matches if all fields that are set match. Write `Fault { first: 3, ..Fault::on("PutObject", …) }`.
#[derive(Clone, Debug)]
pub struct Fault {
    pub service: Option<Service>,
    pub operation: Option<String>,
    /// A pattern for the key, in which `*` matches any characters. A `DeleteObjects` matches if one of its keys does.
    pub key: Option<String>,
    pub client: Option<String>,
    pub distribution: Option<String>,
    /// The first matching call that the fault strikes; 1 is the next one.
    pub first: usize,
    /// How many matching calls it strikes from there on.
    pub times: usize,
    pub does: Does,
}

/// The effect of a fault on a call.
#[derive(Clone, Debug)]
pub enum Does {
    /// Answers an error in the format of the service. The call has no effect.
    Refuse { status: u16, code: String, message: String },
    /// Answers an error although the call took effect.
    RefuseAfter { status: u16, code: String, message: String },
    /// Only for `DeleteObjects`: answers 200 with an error for each key that the pattern of the rule matches, and keeps
    /// these objects.
    RefuseKeys { code: String },
    /// Delays the call.
    Delay(Duration),
    /// Closes the connection. The call has no effect.
    DropBefore,
    /// Closes the connection after the call took effect.
    DropAfter,
    /// Closes the connection after some bytes of the answer's body.
    Truncate(usize),
    /// The client's process dies when it sends the call. This call and all later ones have no effect and get no answer.
    DieBefore,
    /// The client's process dies when the call has taken effect.
    DieAfter,
}

impl Does {
    /// Returns a [`Does::Refuse`].
    pub fn refuse(status: u16, code: &str) -> Self {
        Self::Refuse { status, code: code.to_owned(), message: format!("injected {code}") }
    }

    /// Returns a [`Does::RefuseAfter`].
    pub fn refuse_after(status: u16, code: &str) -> Self {
        Self::RefuseAfter { status, code: code.to_owned(), message: format!("injected {code}") }
    }
}

impl Fault {
    /// Returns a fault that strikes the next call of an operation, once.
    pub fn on(operation: &str, does: Does) -> Self {
        Self { operation: Some(operation.to_owned()), ..Self::any(does) }
    }

    /// Returns a fault that strikes the next call, once.
    pub fn any(does: Does) -> Self {
        Self { service: None, operation: None, key: None, client: None, distribution: None, first: 1, times: 1, does }
    }

    fn matches(&self, call: &Call) -> bool {
        self.service.is_none_or(|service| service == call.service)
            && self.operation.as_ref().is_none_or(|operation| *operation == call.operation)
            && self.client.as_ref().is_none_or(|client| *client == call.client)
            && (self.distribution.is_none() || self.distribution == call.distribution)
            && self.key.as_ref().is_none_or(|pattern| {
                let mut keys = call.key.iter().chain(&call.keys);
                keys.any(|key| pattern::matches(pattern, key))
            })
    }
}

/// The keys that a `DeleteObjects` must refuse, according to the faults that struck it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefusedKeys(Vec<(Option<String>, String)>);

impl RefusedKeys {
    pub(crate) fn of(faults: &[Fault]) -> Self {
        let refused = faults.iter().filter_map(|fault| match &fault.does {
            Does::RefuseKeys { code } => Some((fault.key.clone(), code.clone())),
            _ => None,
        });
        Self(refused.collect())
    }

    /// Returns the error code for a key, or None if it is not refused.
    pub(crate) fn code(&self, key: &str) -> Option<&str> {
        let matches = |pattern: &Option<String>| pattern.as_ref().is_none_or(|it| pattern::matches(it, key));
        let (_, code) = self.0.iter().find(|(pattern, _)| matches(pattern))?;
        Some(code)
    }
}

/// The rules, the latencies and the dead clients.
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

    /// Returns how often faults have struck.
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

    /// Waits until a client is dead.
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

    /// Waits for the latency of a service.
    pub(crate) async fn delay(&self, service: Service) {
        let exit = self.lock().latencies.get(&service).map(DelayLine::enter);
        if let Some(exit) = exit {
            exit.await;
        }
    }
}
