//! The course of one deployment, in the order that keeps the promises.
//!
//! A run records the invalidations that it will owe before its first write to the live bucket. It offers them to
//! CloudFront after the writes that they cover, and removes them from the ledger only when CloudFront has accepted
//! them. If the run dies in between, the next run of the site finds them.

mod attempt;
mod build;
mod claim;
mod debts;
mod draft;
mod held;
mod invalidations;
mod offer;
mod private_keys;
mod progress;
mod rehearsal;
mod removal;
mod run;
mod survey;
mod sweep;
mod undo;
mod waiting;
mod writes;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::field::Empty;
use tracing::{Span, error_span};

use crate::aws::Clients;
use crate::cache_tag::CacheTags;
use crate::config::Config;
use crate::deployment::Identity;
use crate::error::Error;
use crate::event::{Options, Upload};
use crate::plan::Waves;
use crate::preview::PreviewName;
use crate::report::{Progress, Report};

use attempt::Attempt;
use build::Build;
use claim::{Claimant, Decided};
use held::HeldRun;
use run::Run;
use survey::{Live, Survey};

pub use removal::{leave_removal, remove};
pub use sweep::sweep;
pub use undo::undo;
pub use waiting::{Waited, deploy_waiting, leave_waiting};

/// How long before the deadline the last transfer may start. The time left is for recording what was written.
const LAST_CALL: TimeDelta = TimeDelta::seconds(20);

/// The settings and the clients of a site, made once per cold start.
pub struct Site {
    pub config: Config,
    pub clients: Clients,
}

impl Site {
    /// Returns a preview of the site, which is a site of its own over the same connections.
    pub fn preview(&self, name: &PreviewName) -> Self {
        let config = self.config.of_preview(name);
        Self { clients: self.clients.of_site(&config), config }
    }
}

/// One invocation of the function.
pub struct Invocation<'a> {
    /// Lambda's own retries keep it.
    pub request_id: &'a str,
    pub deadline: DateTime<Utc>,
    /// The only clock that a deployment reads, so that tests can set the time.
    pub clock: &'a (dyn Fn() -> DateTime<Utc> + Sync),
    pub progress: &'a Progress,
    /// About how long to wait before looking again at a site that another deployment holds.
    pub pause: Duration,
    /// Whether an upload waits while another deployment holds the site.
    pub waits: bool,
}

impl Invocation<'_> {
    fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Returns the time until the last transfer may start.
    pub fn time_left(&self) -> Duration {
        (self.deadline - LAST_CALL - self.now()).to_std().unwrap_or_default()
    }

    /// Whether the deadline is too near to start another transfer.
    fn is_late(&self) -> bool {
        self.now() + LAST_CALL > self.deadline
    }
}

/// Creates the span of one deployment, whose fields all of its log lines inherit.
///
/// The deployment records its id and its run's number as soon as it knows them. The span has the highest level, since
/// a log level that disabled it would take the fields off the warnings too.
pub fn deployment_span(site: &Site) -> Span {
    error_span!("deployment", site = site.config.site, deployment = Empty, run = Empty)
}

/// Brings one upload live.
///
/// # Errors
/// Those that `docs/reference.md` lists, each with a sentence that says what to do. After an error the lease is
/// released and the work done so far is kept, so that the retry goes on from there.
pub async fn deploy(
    site: &Site,
    upload: &Upload,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<Report, Error> {
    deploy_known(site, upload, None, options, invocation).await
}

/// Brings an upload live that the ledger may know already.
async fn deploy_known(
    site: &Site,
    upload: &Upload,
    mut known: Option<Identity>,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<Report, Error> {
    loop {
        // An event written by hand may name only bucket and key: S3 knows the rest, and with it the deployment's id.
        let attempt = Attempt::identify(site, upload, known, options, invocation).await?;
        match Box::pin(deploy_attempt(&attempt)).await? {
            Ended::Report(report) => return Ok(*report),
            Ended::KnownAs(identity) => known = Some(identity),
            // An upload means the same whatever is live.
            Ended::Moved => known = None,
        }
    }
}

/// How an attempt at an upload has ended.
enum Ended {
    Report(Box<Report>),
    /// The ledger knows the upload by another id or time, so it has to be tried by that one.
    KnownAs(Identity),
    /// "Previous" means another deployment by now.
    Moved,
}

/// Brings an attempt's upload live.
async fn deploy_attempt(attempt: &Attempt<'_>) -> Result<Ended, Error> {
    let site = attempt.site;
    if attempt.is_dry_run() {
        return Box::pin(rehearsal::rehearse(attempt)).await.map(|report| Ended::Report(Box::new(report)));
    }

    // The archive's index is judged before the claim, so that a refused archive never touches the head.
    let mut claimant = Claimant::new(attempt);
    let (held, live) = loop {
        let claim = match Box::pin(claimant.decide()).await? {
            Decided::Claim(claim) => claim,
            Decided::Nothing(outcome, run) => {
                return Ok(Ended::Report(Box::new(attempt.report_without_run(outcome, run))));
            }
            Decided::KnownAs(identity) => return Ok(Ended::KnownAs(identity)),
            Decided::Moved => return Ok(Ended::Moved),
        };
        // The live site is read while the lease is taken. That is as good as reading it afterwards: every run writes
        // the head before it writes anything else, and the lease is granted only if the head has not changed.
        let (held, live) = tokio::join!(HeldRun::claim(site, &claim), Box::pin(Live::read(site, &claim.from)));
        if let Some(held) = held? {
            break (held, live);
        }
    };

    let build = claimant.into_build();
    let telling = progress::tell(site, held.run().number, attempt.invocation.progress);
    let mut run = Run::new(attempt, held);
    let result = tokio::select! {
        biased;
        result = Box::pin(bring_live(attempt, &mut run, build, live)) => result,
        never = telling => match never {},
    };
    match result {
        Ok(report) => Ok(Ended::Report(Box::new(report))),
        // The lease is released whatever went wrong, so that no other deployment waits for it to lapse.
        Err(error) => Err(Box::pin(run.give_up(error)).await),
    }
}

/// Takes the steps of a run that has claimed the site. Their order keeps the promises.
async fn bring_live(
    attempt: &Attempt<'_>,
    run: &mut Run<'_>,
    build: Result<Build, Error>,
    live: Result<Live, Error>,
) -> Result<Report, Error> {
    let mut live = live?;
    let tags = CacheTags::new(&attempt.site.config.site, &live.distributions);
    run.take_over_debts(&mut live).await?;
    let build = &build?;
    let rules = attempt.rules(Some(run.deployment_record()), &build.headers, &tags);
    let is_late = || attempt.invocation.is_late();
    let transfer = attempt.transfer(&build.archive, &rules, &is_late);

    // The plan is a pure comparison of archive and bucket. Objects that listing and manifest leave open are looked up
    // before it.
    let survey = Survey::complete(attempt, build, live, &transfer, &rules).await?;
    let plan = survey.plan(&build.index, &rules)?;
    let report = run.begin_report(&plan, build).await;

    // The owed batches are recorded before the first write, so that no crash can lose an invalidation. The preflight
    // reads the local headers meanwhile, so that an archive that contradicts itself changes nothing.
    let preflight = transfer.preflight(&plan.puts);
    run.record_owed_batches(&survey.live, &plan, &rules, preflight).await?;
    // The manifest follows the batches: a row that is dropped no longer shows that viewers know the object.
    run.prepare_manifest(survey, &plan).await?;

    // Assets go first, pages after them: a page never refers to a file that is not there yet.
    let Waves { assets, pages, entry_points, deletes } = plan.into_waves();
    run.write(&transfer, [assets, pages]).await?;
    // An invalidation covers a write only if it is offered after it.
    run.send_what_is_written().await?;
    // Entry points tell browsers to fetch the new pages, so they wait until CloudFront evicts the old ones.
    run.write_wave(&transfer, entry_points).await?;
    // Old files go last, when no cached page refers to them any more.
    run.delete(deletes).await?;
    run.send_everything().await?;
    // The manifest, the record and the head become what is live now, and the lease is released.
    run.finish(report, &build.archive).await
}
