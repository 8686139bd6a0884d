//! The clock of an account: the system's, or a virtual one that jumps.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep, sleep_until};

/// Timers of tokio have this resolution.
const TICK: Duration = Duration::from_millis(1);

/// The clock that the services of an account read.
#[derive(Clone)]
pub(crate) enum Clock {
    System,
    Virtual(VirtualClock),
}

impl Clock {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Virtual(clock) => clock.now(),
        }
    }

    /// Returns the time in whole seconds, which is how S3 stores it.
    pub(crate) fn whole_seconds(&self) -> SystemTime {
        let now = self.now();
        (now - TimeDelta::nanoseconds(i64::from(now.timestamp_subsec_nanos()))).into()
    }
}

/// A clock that follows the paused time of a tokio runtime: whenever every task waits, it jumps to the next timer.
///
/// Everything that acts at some time takes a [turn](Self::turn), which gives it a millisecond of its own. The order of
/// all acts then depends on their times and on nothing else, neither on threads nor on the order of wake-ups. Clones
/// share the turns.
#[derive(Clone)]
pub struct VirtualClock {
    start: DateTime<Utc>,
    origin: Instant,
    turns: Arc<Mutex<Turns>>,
}

#[derive(Default)]
struct Turns {
    /// Who waits: the millisecond since the origin, and an order among those of the same millisecond. The arrival
    /// keeps entries apart that are equal otherwise.
    waiting: BTreeSet<(u64, u64, u64)>,
    arrivals: u64,
    /// The millisecond of the last turn.
    last: Option<u64>,
}

impl VirtualClock {
    /// Returns a clock that shows `start` now. It needs a current-thread runtime whose time is paused.
    pub fn starting_at(start: DateTime<Utc>) -> Self {
        Self { start, origin: Instant::now(), turns: Arc::default() }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::milliseconds(self.elapsed_ms() as i64)
    }

    fn elapsed_ms(&self) -> u64 {
        self.origin.elapsed().as_millis() as u64
    }

    /// Waits for a time, and then for a millisecond of its own. Among turns of the same time, the lower `order` is
    /// first.
    pub async fn turn(&self, at: DateTime<Utc>, order: u64) {
        // A turn in the present would depend on who else has come already.
        let at_ms = (at - self.start).num_milliseconds().try_into().unwrap_or(0).max(self.elapsed_ms() + 1);
        let place = self.enter(at_ms, order);
        sleep_until(self.origin + Duration::from_millis(at_ms)).await;
        while !place.take() {
            sleep(TICK).await;
        }
    }

    /// Waits like [`turn`](Self::turn) for a time from now.
    pub async fn turn_in(&self, time: Duration, order: u64) {
        self.turn(self.now() + time, order).await;
    }

    fn enter(&self, at_ms: u64, order: u64) -> Place<'_> {
        let mut turns = self.lock();
        turns.arrivals += 1;
        let entry = (at_ms, order, turns.arrivals);
        turns.waiting.insert(entry);
        Place { clock: self, entry }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().expect("no holder of this lock panics")
    }
}

/// The place of one that waits. It is given up when its turn has come, or when the one who waits is gone.
struct Place<'c> {
    clock: &'c VirtualClock,
    entry: (u64, u64, u64),
}

impl Place<'_> {
    /// Takes the turn if it has come: no other waits before this one, and none was taken in this millisecond.
    fn take(&self) -> bool {
        let now_ms = self.clock.elapsed_ms();
        let mut turns = self.clock.lock();
        let has_come = turns.waiting.first() == Some(&self.entry) && turns.last != Some(now_ms);
        if has_come {
            turns.waiting.pop_first();
            turns.last = Some(now_ms);
        }
        has_come
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.clock.lock().waiting.remove(&self.entry);
    }
}
