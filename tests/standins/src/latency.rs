//! Latency: what holds answers back, to a quarter of a millisecond.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Who is due within so long is let out together: a wake-up for each would cost more than the answers.
const STEP: Duration = Duration::from_micros(250);

/// Holds all that enter back for the same time.
///
/// The timers of tokio tick in milliseconds, rounded up: of 15 ms they make up to 17.
pub(crate) struct DelayLine {
    latency: Duration,
    entrance: mpsc::Sender<(Instant, oneshot::Sender<()>)>,
}

impl DelayLine {
    pub(crate) fn of(latency: Duration) -> Self {
        let (entrance, line) = mpsc::channel::<(Instant, oneshot::Sender<()>)>();
        // It ends with the last sender. All wait equally long, so that the first in is the first out.
        thread::spawn(move || {
            for (until, exit) in line {
                let wait = until.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    thread::sleep(wait + STEP);
                }
                // Who hung up need not be told.
                let _ = exit.send(());
            }
        });
        Self { latency, entrance }
    }

    /// Begins to wait; the future ends with the latency.
    pub(crate) fn enter(&self) -> impl Future<Output = ()> + use<> {
        let (exit, left) = oneshot::channel();
        // The thread lives as long as `self`.
        let _ = self.entrance.send((Instant::now() + self.latency, exit));
        async move {
            let _ = left.await;
        }
    }
}
