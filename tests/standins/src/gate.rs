//! A gate that lets calls through one at a time, for schedules that a test chooses.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{Notify, oneshot};

use crate::Call;

/// A call that waits at the gate. It has had no effect yet.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Identifies the call to [`Gate::let_through`]. Tickets count arrivals.
    pub ticket: u64,
    pub call: Call,
}

/// A closed gate, at which every call waits. Dropping it lets all calls through.
pub struct Gate {
    queue: Arc<Queue>,
}

impl Gate {
    pub(crate) fn close(queue: &Arc<Queue>) -> Self {
        queue.lock().closed = true;
        Self { queue: queue.clone() }
    }

    /// Returns the waiting calls, in the order of their arrival.
    pub fn waiting(&self) -> Vec<Waiting> {
        self.queue.waiting()
    }

    /// Waits until the waiting calls satisfy a condition, and returns them.
    pub async fn wait_until(&self, mut wanted: impl FnMut(&[Waiting]) -> bool) -> Vec<Waiting> {
        loop {
            let changed = self.queue.changed.notified();
            tokio::pin!(changed);
            // Register before looking, so that no arrival is missed in between.
            changed.as_mut().enable();
            let waiting = self.queue.waiting();
            if wanted(&waiting) {
                return waiting;
            }
            changed.await;
        }
    }

    /// Lets one call through and waits until it has been answered or dropped, or its client has died.
    ///
    /// Returns false if no such call is waiting.
    pub async fn let_through(&self, ticket: u64) -> bool {
        let Some(place) = self.queue.take(ticket) else {
            return false;
        };
        let (pass, answered) = oneshot::channel();
        if place.admit.send(Pass { _answered: pass }).is_err() {
            return false;
        }
        // The call sends nothing; it drops its end when it is through.
        let _ = answered.await;
        true
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = false;
        // A call goes on when its sender is dropped.
        state.places.clear();
    }
}

/// The calls that wait at the gate.
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
    admit: oneshot::Sender<Pass>,
}

/// Held by a call that was let through, until it has been answered.
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

    /// Waits if the gate is closed.
    pub(crate) async fn pass(&self, call: &Call) -> Option<Pass> {
        let (leaving, admitted) = {
            let mut state = self.lock();
            if !state.closed {
                return None;
            }
            state.arrivals += 1;
            let ticket = state.arrivals;
            let (admit, admitted) = oneshot::channel();
            let waiting = Waiting { ticket, call: call.clone() };
            state.places.push(Place { waiting, admit });
            (Leaving { queue: self, ticket }, admitted)
        };
        self.changed.notify_waiters();
        let pass = admitted.await.ok();
        drop(leaving);
        pass
    }
}

/// Removes the place of a call when it goes on, or when its client goes away.
struct Leaving<'a> {
    queue: &'a Queue,
    ticket: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.queue.take(self.ticket);
        self.queue.changed.notify_waiters();
    }
}
