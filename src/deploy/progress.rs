//! The progress of a run, for people who follow it.

use std::convert::Infallible;
use std::time::Duration;

use super::Site;
use crate::deployment::RunProgress;
use crate::report::Progress;

/// A run that takes less time tells nothing, so that it costs no write.
const INTERVAL: Duration = Duration::from_secs(2);

/// Writes a run's progress to its record, whenever it has changed, for as long as the run takes.
pub(super) async fn tell(site: &Site, run: u64, progress: &Progress) -> Infallible {
    // The invocation may have deployed another upload before.
    let before = progress.objects();
    let mut told = None;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let (total, done) = (progress.total(), progress.objects() - before);
        let now = RunProgress { step: progress.step(), done: done.min(total), total };
        if told == Some(now) {
            continue;
        }
        told = Some(now);
        if let Err(error) = site.clients.ledger.note_progress(run, now).await {
            tracing::debug!("{error}");
        }
    }
}
