//! Limits how many writes a second go to S3.
//!
//! "Your application can achieve at least 3,500 PUT/COPY/POST/DELETE […] requests per second per partitioned
//! Amazon S3 prefix" (S3 user guide, "Optimizing Amazon S3 performance"). S3 may refuse requests above that rate with
//! 503 Slow Down; while it divides a prefix, it may refuse them at a lower rate too. The SDK retries a refused request
//! later. Meanwhile the limit drops, so that fewer writes are sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use tokio::time::Instant;

/// The lowest limit, no matter how often S3 asks to slow down.
const MIN_PER_SECOND: f64 = 50.0;

/// The limit drops at most once in this time, because refusals that follow each other so closely have the same cause.
const DROP_INTERVAL: Duration = Duration::from_secs(1);

/// How long the limit takes to climb from half of its maximum back to it.
const CLIMB: Duration = Duration::from_secs(10);

/// Turns that went unused within this time may be used in a burst.
const BURST: Duration = Duration::from_millis(50);

/// Spreads writes over time. Clones share one limit.
#[derive(Clone, Debug)]
pub struct RateLimit {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    max_per_second: f64,
    per_second: f64,
    /// When the limit was last changed.
    changed_at: Instant,
    slowed_at: Option<Instant>,
    /// When the next write may start.
    next: Instant,
}

impl RateLimit {
    pub fn new(max_per_second: u32) -> Self {
        let now = Instant::now();
        Self { state: Arc::new(Mutex::new(State::new(f64::from(max_per_second), now))) }
    }

    /// Waits until one more write may start.
    pub async fn turn(&self) {
        let now = Instant::now();
        let at = self.state().turn(now);
        if at > now {
            tokio::time::sleep_until(at).await;
        }
    }

    /// Lowers the limit, because S3 has asked for that.
    pub fn slow_down(&self) {
        self.state().slow_down(Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(max_per_second: f64, now: Instant) -> Self {
        Self { max_per_second, per_second: max_per_second, changed_at: now, slowed_at: None, next: now }
    }

    /// Returns when a write that is requested now may start.
    fn turn(&mut self, now: Instant) -> Instant {
        self.climb(now);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let at = self.next.max(earliest);
        self.next = at + Duration::from_secs_f64(1.0 / self.per_second);
        at
    }

    fn climb(&mut self, now: Instant) {
        if self.per_second < self.max_per_second {
            let share = (now - self.changed_at).as_secs_f64() / CLIMB.as_secs_f64();
            let higher = self.per_second + share * self.max_per_second / 2.0;
            self.per_second = higher.min(self.max_per_second);
        }
        self.changed_at = now;
    }

    /// Halves the limit, once for all refusals within [`DROP_INTERVAL`].
    fn slow_down(&mut self, now: Instant) {
        let is_new = self.slowed_at.is_none_or(|at| now - at >= DROP_INTERVAL);
        if is_new {
            self.climb(now);
            self.per_second = (self.per_second / 2.0).max(MIN_PER_SECOND);
            self.slowed_at = Some(now);
            tracing::warn!(per_second = self.per_second, "S3 asks to slow down; sending fewer writes per second");
        }
    }
}

impl Intercept for RateLimit {
    fn name(&self) -> &'static str {
        "RateLimit"
    }

    /// Sees every attempt, including the SDK's retries.
    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let status = context.response().map(|answer| answer.status().as_u16());
        if status == Some(503) {
            self.slow_down();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many writes start within a time if all are requested at its start.
    fn started_within(state: &mut State, now: Instant, time: Duration) -> usize {
        (0..100_000).take_while(|_| state.turn(now) < now + time).count()
    }

    #[test]
    fn no_more_than_the_maximum_start_in_a_second() {
        let now = Instant::now();
        let mut state = State::new(3_500.0, now);
        let started = started_within(&mut state, now, Duration::from_secs(1));
        assert!((3_490..=3_501).contains(&started), "{started}");
    }

    #[test]
    fn a_burst_after_a_pause_is_short() {
        let start = Instant::now();
        let mut state = State::new(1_000.0, start);
        let later = start + Duration::from_secs(60);
        let immediate = (0..1_000).filter(|_| state.turn(later) <= later).count();
        assert!((50..=52).contains(&immediate), "{immediate}");
    }

    #[test]
    fn it_halves_once_a_second_down_to_a_minimum() {
        let start = Instant::now();
        let mut state = State::new(3_500.0, start);
        state.slow_down(start);
        state.slow_down(start + Duration::from_millis(900));
        assert_eq!(state.per_second, 1_750.0);
        for second in 1..100 {
            state.slow_down(start + Duration::from_secs(second));
        }
        assert!(state.per_second >= MIN_PER_SECOND);
        assert!(state.per_second < 500.0, "{}", state.per_second);
    }

    #[test]
    fn it_climbs_back_to_the_maximum() {
        let start = Instant::now();
        let mut state = State::new(3_500.0, start);
        state.slow_down(start);
        state.turn(start + CLIMB / 2);
        assert!((2_600.0..2_650.0).contains(&state.per_second), "{}", state.per_second);
        state.turn(start + CLIMB * 2);
        assert_eq!(state.per_second, 3_500.0);
    }
}
