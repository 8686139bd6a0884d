//! Latency with a precision of a quarter of a millisecond.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Waits that end within this time end together: a wake-up for each would cost more than the answers.
const STEP: Duration = Duration::from_micros(250);

/// Delays everything that enters it by the same time.
///
/// tokio's timers tick in milliseconds and round up: 15 ms become up to 17.
pub(crate) struct DelayLine {
    latency: Duration,
    entrance: mpsc::Sender<(Instant, oneshot::Sender<()>)>,
}

impl DelayLine {
    pub(crate) fn of(latency: Duration) -> Self {
        let (entrance, line) = mpsc::channel::<(Instant, oneshot::Sender<()>)>();
        // The thread ends with the last sender. All waits are equally long, so the first in is the first out.
        thread::spawn(move || {
            for (until, exit) in line {
                let wait = until.saturating_duration_since(Instant::now());
                if !wait.is_zero() {
                    thread::sleep(wait + STEP);
                }
                // The client may have gone away.
                let _ = exit.send(());
            }
        });
        Self { latency, entrance }
    }

    /// Starts to wait. The future ends when the latency has passed.
    pub(crate) fn enter(&self) -> impl Future<Output = ()> + use<> {
        let (exit, exited) = oneshot::channel();
        // The thread lives as long as `self`.
        let _ = self.entrance.send((Instant::now() + self.latency, exit));
        async move {
            let _ = exited.await;
        }
    }
}
