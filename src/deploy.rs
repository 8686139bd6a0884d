//! The whole path of one deployment, in the order that keeps the promises.
//!
//! What CloudFront will have to be told is recorded before the first write to the live bucket, offered after
//! the writes that it covers, and forgotten only when it was accepted, or when the archive was refused before any
//! of them. Whatever happens in between, the next run finds it.

mod attempt;
mod running;
mod sending;
mod sweep;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::aws::Clients;
use crate::config::Config;
use crate::error::Error;
use crate::event::{Options, Upload};
use crate::plan::Plan;
use crate::report::{Outcome, Progress, Report};

use attempt::{Attempt, Build, Claimed, Live};
use running::Running;

pub use sweep::sweep;

/// No new transfer begins so close to the deadline: what was written has still to be noted.
const LAST_CALL: TimeDelta = TimeDelta::seconds(20);

/// What a function instance has from its cold start on.
pub struct Site {
    pub config: Config,
    pub clients: Clients,
}

/// What is true of one invocation.
pub struct Invocation<'a> {
    /// Lambda's own retries keep it.
    pub request_id: &'a str,
    pub deadline: DateTime<Utc>,
    /// The only clock there is, so that tests can turn it.
    pub clock: &'a (dyn Fn() -> DateTime<Utc> + Sync),
    pub progress: &'a Progress,
    /// About how long to wait before looking again at a site that another deployment holds.
    pub pause: Duration,
}

impl Invocation<'_> {
    fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// How long there still is for what has no end of its own.
    pub fn time_left(&self) -> Duration {
        (self.deadline - LAST_CALL - self.now()).to_std().unwrap_or_default()
    }

    fn is_late(&self) -> bool {
        self.now() + LAST_CALL > self.deadline
    }
}

/// Brings one upload live.
///
/// # Errors
/// The contract's, each with a sentence that says what to do. An error after the claim gives the lease back
/// and keeps what was done, so that the retry goes on from there.
pub async fn deploy(
    site: &Site,
    upload: &Upload,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<Report, Error> {
    let attempt = Attempt::new(site, upload, options, invocation).await?;
    if options.dry_run {
        return attempt.rehearse().await;
    }
    let claim = match Box::pin(attempt.claim()).await? {
        Claimed::Yes(claim) => claim,
        Claimed::No(outcome, run) => return Ok(attempt.report(outcome, run)),
    };
    let archive = &claim.build.archive;
    let mut running = Running::new(&attempt, archive, claim.before, claim.head, claim.record);
    match Box::pin(bring_live(&attempt, &mut running, &claim.build, claim.live)).await {
        Ok(report) => Ok(report),
        Err(error) => {
            running.give_up(&error).await;
            Err(error)
        }
    }
}

/// Does what is to be done once the site is claimed. The order of the lines is the point of it.
async fn bring_live(
    attempt: &Attempt<'_>,
    running: &mut Running<'_>,
    build: &Build,
    live: Result<Live, Error>,
) -> Result<Report, Error> {
    let live = live?;
    let tags = attempt.tags(&live);
    let rules = attempt.rules(&build.headers, &tags);
    let situation = attempt.look(build, live, &rules).await?;
    let plan = attempt.plan(&build.index, &situation, &rules)?;
    let mut report = attempt.report(outcome(&plan, running), running.number());
    report.count(&plan);
    report.warnings.extend(build.warnings.iter().cloned());
    if running.follows_unfinished() {
        // What a run that died has written is no drift.
        report.drift = 0;
    }
    attempt.progress().expect(plan.puts.len() + plan.copies.len());
    tracing::info!(
        new = report.new,
        changed = report.changed,
        headers = report.headers,
        deleted = report.deleted,
        kept = report.kept,
        "planned"
    );

    let is_late = || attempt.invocation.is_late();
    let transfer = running.transfer(&rules, &is_late);
    let judging = transfer.preflight(&plan.puts);
    running.begin(situation, &plan, &rules, judging).await?;
    let (waves, deletes) = plan.into_waves();
    running.write(&transfer, waves).await?;
    running.send_what_is_written().await?;
    running.delete(deletes).await?;
    running.send_everything().await?;
    running.finish(report).await
}

fn outcome(plan: &Plan, running: &Running) -> Outcome {
    if running.is_rollback() {
        Outcome::RolledBack
    } else if plan.is_empty() {
        Outcome::Unchanged
    } else {
        Outcome::Deployed
    }
}
