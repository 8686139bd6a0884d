//! Follows a deployment in the ledger until it is over.

use std::time::{Duration, Instant};

use dropship::aws::ledger::Known;
use dropship::deployment::{DeploymentId, Head, Record, RunProgress, RunRecord, Status, Step};
use dropship::report::{Outcome, Report};
use indicatif::ProgressBar;

use crate::failure::Failure;
use crate::print::{Printer, Unit};
use crate::stack::Stack;

/// How often the ledger is read. The function writes its progress every two seconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Lambda tries an event three times in all.
const MAX_ATTEMPTS: u32 = 3;

/// The error type of a deployment that would take the site away.
pub const LARGE_DELETE: &str = "LargeDelete";

/// After this time without a sign of the function, a hint says where to look.
const SILENCE: Duration = Duration::from_secs(30);

/// The end of a deployment that a command has followed.
pub enum Ended {
    /// The build is live, by the run with this answer.
    Live(Box<Report>),
    /// A newer upload has the site.
    Superseded(DeploymentId),
    Failed {
        error_type: String,
        message: String,
    },
    /// The time to wait is over. The deployment goes on, if it has begun.
    StillRunning(Option<DeploymentId>),
}

/// An upload that a command follows.
pub struct Followed<'a> {
    /// Names the upload. Its time may be wrong: the ledger knows the upload by the rest.
    pub upload: DeploymentId,
    pub asked: Asked,
    pub started: Instant,
    pub timeout: Duration,
    pub printer: &'a Printer,
}

/// The event that a command follows.
#[derive(Clone, Copy, Debug)]
pub enum Asked {
    /// S3's event of a new upload, which may also be refused or superseded without a run.
    Upload,
    /// A rollback. Only a run after the deployment's last one counts.
    Rollback { last_run: u64 },
    /// An upload that was refused as `LargeDelete`, sent once more with that allowed. Another such refusal is Lambda's
    /// retry of S3's event, and does not count.
    AllowingLargeDelete,
}

/// The state of the upload in the ledger.
enum Seen {
    Nothing,
    AtWork(DeploymentId, Option<RunProgress>),
    /// An attempt has failed, and Lambda tries again.
    Retrying(DeploymentId, String),
    Ended(Ended),
}

impl Followed<'_> {
    /// Waits until the deployment is over, or the time to wait.
    pub async fn to_its_end(&self, stack: &Stack) -> Result<Ended, Failure> {
        let mut shown = Shown { bar: self.printer.bar("writing", 0, Unit::Objects), step: None, retry: String::new() };
        let mut is_silent = true;
        let mut deployment = None;
        loop {
            match self.look(stack).await? {
                Seen::Ended(ended) => {
                    shown.bar.finish_and_clear();
                    return Ok(ended);
                }
                Seen::Nothing if is_silent && self.started.elapsed() > SILENCE => {
                    is_silent = false;
                    self.printer.tell(&format!(
                        "nothing has happened yet; `sam logs --stack-name {}` shows the function's log, and `dropship \
                         redrive` the events that have failed",
                        stack.name
                    ));
                }
                Seen::Nothing => {}
                Seen::AtWork(id, progress) => {
                    shown.progress(self.printer, progress);
                    deployment = Some(id);
                }
                Seen::Retrying(id, message) => {
                    shown.retry(self.printer, &message);
                    deployment = Some(id);
                }
            }
            if self.started.elapsed() >= self.timeout {
                shown.bar.finish_and_clear();
                return Ok(Ended::StillRunning(deployment));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn look(&self, stack: &Stack) -> Result<Seen, Failure> {
        let Known { identity, .. } = stack.ledger.read(&self.upload).await?;
        let Some(identity) = identity else {
            return Ok(Seen::Nothing);
        };
        let Known { head, record, .. } = stack.ledger.read(&identity.deployment).await?;
        let Some(record) = record else {
            return Ok(Seen::Nothing);
        };
        let run = match record.run {
            0 => None,
            number => stack.ledger.run(number).await?,
        };
        Ok(judge(&head, record, run, self.asked))
    }
}

/// Returns the state of the upload, by the ledger's items.
fn judge(head: &Head, record: Record, run: Option<RunRecord>, asked: Asked) -> Seen {
    let id = record.deployment.clone();
    let failed = |run: &RunRecord| {
        let failure = run.failure.clone();
        failure.map(|failure| Ended::Failed { error_type: failure.error_type, message: failure.error_message })
    };
    match (record.status, record.rejection) {
        _ if matches!(asked, Asked::Rollback { .. }) => {}
        (Status::Rejected, Some(message)) if record.run == 0 => {
            return Seen::Ended(Ended::Failed { error_type: "ArchiveRejected".to_owned(), message });
        }
        (Status::Superseded, _) => return Seen::Ended(Ended::Superseded(id)),
        _ => {}
    }
    let Some(run) = run.filter(|run| asked.counts(run)) else {
        return Seen::Nothing;
    };
    let is_overtaken = head.live.as_ref().is_some_and(|live| live.number > run.number);
    match run.status {
        Status::Finished => match run.answer.as_deref().and_then(|answer| serde_json::from_str(answer).ok()) {
            Some(report) => Seen::Ended(Ended::Live(Box::new(report))),
            None => Seen::AtWork(id, None),
        },
        Status::Rejected => failed(&run).map_or(Seen::Nothing, Seen::Ended),
        _ if is_overtaken => Seen::Ended(Ended::Superseded(id)),
        _ => match (run.ended_at, failed(&run)) {
            (Some(_), Some(ended)) if run.attempts >= MAX_ATTEMPTS => Seen::Ended(ended),
            (Some(_), Some(Ended::Failed { message, .. })) => Seen::Retrying(id, message),
            _ => Seen::AtWork(id, run.progress),
        },
    }
}

impl Asked {
    fn counts(self, run: &RunRecord) -> bool {
        match self {
            Self::Upload => true,
            Self::Rollback { last_run } => run.number > last_run,
            Self::AllowingLargeDelete => run.failure.as_ref().is_none_or(|failure| failure.error_type != LARGE_DELETE),
        }
    }
}

/// The lines and the bar that were shown so far, so that nothing is said twice.
struct Shown {
    bar: ProgressBar,
    step: Option<Step>,
    retry: String,
}

impl Shown {
    fn progress(&mut self, printer: &Printer, progress: Option<RunProgress>) {
        let Some(RunProgress { step, done, total }) = progress else {
            return;
        };
        self.bar.set_length(total);
        self.bar.set_position(done);
        if self.step != Some(step) {
            self.step = Some(step);
            let what = match step {
                Step::Planning => "comparing the archive with the site",
                Step::Writing => "writing",
                Step::Invalidating => "invalidating",
                Step::Deleting => "deleting",
            };
            if self.bar.is_hidden() {
                printer.tell(what);
            } else {
                self.bar.set_message(what);
            }
        }
    }

    fn retry(&mut self, printer: &Printer, message: &str) {
        if self.retry != message {
            message.clone_into(&mut self.retry);
            self.bar.suspend(|| printer.tell(&format!("an attempt has failed, and Lambda tries again: {message}")));
        }
    }
}

/// Returns the exit code for an end.
pub fn code(ended: &Ended) -> u8 {
    match ended {
        Ended::Live(report) if report.outcome == Outcome::Superseded => 4,
        Ended::Live(_) => 0,
        Ended::Failed { .. } => 1,
        Ended::StillRunning(_) => 3,
        Ended::Superseded(_) => 4,
    }
}
