//! Handlers that meet on one site, under schedules that let one call through at a time.
//!
//! Every schedule has a seed, which determines the builds, which handler gets which event and when, where a process
//! crashes, what viewers request in between, and which waiting call goes next. `DROPSHIP_SCHEDULES` sets the number of
//! schedules, and `DROPSHIP_SEED` the first seed: a single schedule with the seed of a failure repeats that failure.

mod check;
mod schedule;

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use schedule::Schedule;
use tokio::runtime::Builder;

use crate::note::note;

const SCHEDULES: u64 = 1_000;

/// Schedules that run concurrently on each thread: while one of them waits, another computes.
const SCHEDULES_PER_THREAD: usize = 4;

/// A schedule that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn under_every_schedule_the_newest_upload_wins_and_no_page_is_stale() {
    let first = number_from_environment("DROPSHIP_SEED", 0);
    let schedules = number_from_environment("DROPSHIP_SCHEDULES", SCHEDULES);
    let totals = Totals { next_seed: AtomicU64::new(first), ..Totals::default() };
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| run_schedules(&totals, first + schedules))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("panics of schedules are caught")).collect()
    });
    note(&format!(
        "interleaving: {schedules} schedules, {} calls one by one, {} crashes, in {:?}",
        totals.steps.into_inner(),
        totals.crashes.into_inner(),
        began.elapsed()
    ));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value:?}")),
        Err(_) => default,
    }
}

/// The state that the threads share.
#[derive(Default)]
struct Totals {
    next_seed: AtomicU64,
    steps: AtomicU64,
    crashes: AtomicU64,
}

/// Runs schedules on this thread until the seeds are used up, and returns the failures.
fn run_schedules(totals: &Totals, end: u64) -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be created");
    let seeds = std::iter::from_fn(|| {
        let seed = totals.next_seed.fetch_add(1, Ordering::Relaxed);
        (seed < end).then_some(seed)
    });
    let failures = stream::iter(seeds)
        .map(|seed| run_schedule(totals, seed))
        .buffer_unordered(SCHEDULES_PER_THREAD)
        .filter_map(async |failure| failure);
    runtime.block_on(failures.collect())
}

/// Runs one schedule, and returns its failure with the command that repeats it.
async fn run_schedule(totals: &Totals, seed: u64) -> Option<String> {
    let run = async { Schedule::new(seed).await.run().await };
    let failure = match AssertUnwindSafe(tokio::time::timeout(PATIENCE, run)).catch_unwind().await {
        Ok(Ok(Ok(ran))) => {
            totals.steps.fetch_add(ran.steps, Ordering::Relaxed);
            totals.crashes.fetch_add(ran.crashes, Ordering::Relaxed);
            return None;
        }
        Ok(Ok(Err(failure))) => failure,
        Ok(Err(_)) => format!("not settled after {PATIENCE:?}"),
        Err(_) => "panicked".to_owned(),
    };
    Some(format!("DROPSHIP_SCHEDULES=1 DROPSHIP_SEED={seed}: {failure}"))
}
