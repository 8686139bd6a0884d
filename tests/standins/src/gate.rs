//! A gate that lets calls through one at a time, for schedules that a test chooses.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot};

use crate::Call;

/// A call in front of the gate. It has had no effect yet.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Names the call to [`Gate::let_through`]; counts arrivals.
    pub ticket: u64,
    pub call: Call,
}

/// A closed gate: every call waits in front of it. Dropping it opens it for good.
pub struct Gate {
    queue: Arc<Queue>,
}

impl Gate {
    pub(crate) fn close(queue: &Arc<Queue>) -> Self {
        queue.lock().closed = true;
        Self { queue: queue.clone() }
    }

    /// Returns the calls that wait now, in order of arrival.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.queue.waiting()
    }

    /// Waits until the waiting calls are as wanted, and returns them.
    pub async fn wait_until(&self, mut wanted: impl FnMut(&[Waiting]) -> bool) -> Vec<Waiting> {
        loop {
            let changed = self.queue.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that no arrival falls between the two.
            changed.as_mut().enable();
            let waiting = self.queue.waiting();
            if wanted(&waiting) {
                return waiting;
            }
            changed.await;
        }
    }

    /// Lets one call through, and returns when it has been answered, dropped or has died.
    ///
    /// False when there is no such call (any more).
    pub async fn let_through(&self, ticket: u64) -> bool {
        let Some(place) = self.queue.take(ticket) else {
            return false;
        };
        let (pass, answered) = oneshot::channel();
        if place.go.send(Pass { _answered: pass }).is_err() {
            return false;
        }
        // The call never sends: it drops its end when it is through.
        let _ = answered.await;
        true
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = false;
        // A dropped sender reads as "go" to the call that waits for it.
        state.places.clear();
    }
}

/// The calls in front of the gate.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    arrivals: u64,
    places: Vec<Place>,
}

struct Place {
    waiting: Waiting,
    go: oneshot::Sender<Pass>,
}

/// Kept by a call that was let through until it has been answered.
#[derive(Debug)]
pub(crate) struct Pass {
    _answered: oneshot::Sender<()>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    fn waiting(&self) -> Vec<Waiting> {
        let state = self.lock();
        state.places.iter().map(|place| place.waiting.clone()).collect()
    }

    fn take(&self, ticket: u64) -> Option<Place> {
        let mut state = self.lock();
        let index = state.places.iter().position(|place| place.waiting.ticket == ticket)?;
        Some(state.places.remove(index))
    }

    /// Waits at a closed gate; an open one is passed at once.
    pub(crate) async fn pass(&self, call: &Call) -> Option<Pass> {
        let (left, come) = {
            let mut state = self.lock();
            if !state.closed {
                return None;
            }
            state.arrivals += 1;
            let ticket = state.arrivals;
            let (go, come) = oneshot::channel();
            let waiting = Waiting { ticket, call: call.clone() };
            state.places.push(Place { waiting, go });
            (Left { queue: self, ticket }, come)
        };
        self.changed.notify_waiters();
        let pass = come.await.ok();
        drop(left);
        pass
    }
}

/// Clears a place whose client went away.
struct Left<'a> {
    queue: &'a Queue,
    ticket: u64,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        self.queue.take(self.ticket);
        self.queue.changed.notify_waiters();
    }
}
