//! How many writes a second S3 is given.
//!
//! "Your application can achieve at least 3,500 PUT/COPY/POST/DELETE […] requests per second per partitioned
//! Amazon S3 prefix" (S3 user guide, "Optimizing Amazon S3 performance"). More may be answered with 503 Slow
//! Down, as may less while S3 divides a prefix. The SDK tries such a request again, later; here fewer are begun.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// However much S3 asks to slow down.
const LEAST_PER_SECOND: f64 = 50.0;

/// Answers of one moment ask for one and the same slowing down.
const ONE_MOMENT: Duration = Duration::from_secs(1);

/// From half the pace to the whole of it.
const CLIMB: Duration = Duration::from_secs(10);

/// What was not begun in time may be made up for at once.
const BURST: Duration = Duration::from_millis(50);

/// Spreads writes over time. Clones share one pace.
#[derive(Clone, Debug)]
pub struct RateLimit {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    most_per_second: f64,
    per_second: f64,
    /// When the pace was last changed.
    changed_at: Instant,
    slowed_at: Option<Instant>,
    /// When the next write may begin.
    next: Instant,
}

impl RateLimit {
    pub fn new(most_per_second: u32) -> Self {
        let now = Instant::now();
        Self { state: Arc::new(Mutex::new(State::new(f64::from(most_per_second), now))) }
    }

    /// Waits for the turn of one more write.
    pub async fn turn(&self) {
        let now = Instant::now();
        let at = self.state().turn(now);
        if at > now {
            tokio::time::sleep_until(at.into()).await;
        }
    }

    /// Begins fewer writes from now on.
    pub fn slow_down(&self) {
        self.state().slow_down(Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(most_per_second: f64, now: Instant) -> Self {
        Self { most_per_second, per_second: most_per_second, changed_at: now, slowed_at: None, next: now }
    }

    /// When a write may begin that is asked for now.
    fn turn(&mut self, now: Instant) -> Instant {
        self.climb(now);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let at = self.next.max(earliest);
        self.next = at + Duration::from_secs_f64(1.0 / self.per_second);
        at
    }

    fn climb(&mut self, now: Instant) {
        if self.per_second < self.most_per_second {
            let share = (now - self.changed_at).as_secs_f64() / CLIMB.as_secs_f64();
            let higher = self.per_second + share * self.most_per_second / 2.0;
            self.per_second = higher.min(self.most_per_second);
        }
        self.changed_at = now;
    }

    /// Halves the pace, once for all that S3 refuses in one moment.
    fn slow_down(&mut self, now: Instant) {
        let is_new = self.slowed_at.is_none_or(|at| now - at >= ONE_MOMENT);
        if is_new {
            self.climb(now);
            self.per_second = (self.per_second / 2.0).max(LEAST_PER_SECOND);
            self.slowed_at = Some(now);
            tracing::warn!(per_second = self.per_second, "S3 asks to slow down");
        }
    }
}

impl Intercept for RateLimit {
    fn name(&self) -> &'static str {
        "RateLimit"
    }

    /// Sees every attempt, also those that the SDK makes again.
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

    /// How many writes begin within a time if all are asked for at its beginning.
    fn begun_within(state: &mut State, now: Instant, time: Duration) -> usize {
        (0..100_000).take_while(|_| state.turn(now) < now + time).count()
    }

    #[test]
    fn no_more_than_its_most_begin_in_a_second() {
        let now = Instant::now();
        let mut state = State::new(3_500.0, now);
        let begun = begun_within(&mut state, now, Duration::from_secs(1));
        assert!((3_490..=3_501).contains(&begun), "{begun}");
    }

    #[test]
    fn a_pause_is_not_made_up_for_by_a_flood() {
        let start = Instant::now();
        let mut state = State::new(1_000.0, start);
        let later = start + Duration::from_secs(60);
        let at_once = (0..1_000).filter(|_| state.turn(later) <= later).count();
        assert!((50..=52).contains(&at_once), "{at_once}");
    }

    #[test]
    fn it_halves_once_a_moment_and_never_stops() {
        let start = Instant::now();
        let mut state = State::new(3_500.0, start);
        state.slow_down(start);
        state.slow_down(start + Duration::from_millis(900));
        assert_eq!(state.per_second, 1_750.0);
        for second in 1..100 {
            state.slow_down(start + Duration::from_secs(second));
        }
        assert!(state.per_second >= LEAST_PER_SECOND);
        assert!(state.per_second < 500.0, "{}", state.per_second);
    }

    #[test]
    fn it_climbs_back() {
        let start = Instant::now();
        let mut state = State::new(3_500.0, start);
        state.slow_down(start);
        state.turn(start + CLIMB / 2);
        assert!((2_600.0..2_650.0).contains(&state.per_second), "{}", state.per_second);
        state.turn(start + CLIMB * 2);
        assert_eq!(state.per_second, 3_500.0);
    }
}
