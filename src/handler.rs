//! The handler of an event: it runs the deployments, and turns their results into log lines and one answer.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use tracing::Instrument;

use crate::config::Config;
use crate::cut;
use crate::deploy::{
    Invocation, Site, Waited, deploy, deploy_waiting, deployment_span, leave_removal, leave_waiting, remove, sweep,
    undo,
};
use crate::deployment::{DeploymentId, MAX_CLOCK_SKEW};
use crate::error::Error;
use crate::event::{BadEvent, Event, Options, Rollback, Upload};
use crate::metrics::{self, Moment};
use crate::preview::{PreviewName, Purpose, purpose, removal_key};
use crate::report::{Answer, Failed, Invalidated, Outcome, Progress, Report, sentence};

/// How often Lambda tries an event: once, and `MaximumRetryAttempts` of the template.
pub const LAMBDA_ATTEMPTS: u32 = 3;

/// The results of an event's deployments, in upload order.
#[derive(Debug)]
pub struct Handled {
    /// The live site.
    site: String,
    results: Vec<Result<Report, Failure>>,
    /// The results of other uploads, which had given up waiting for the site.
    waited: Vec<Result<Report, Failure>>,
}

/// A deployment that failed.
#[derive(Debug)]
pub struct Failure {
    /// The archive's key, if the event names one.
    pub key: Option<String>,
    /// Whether it is about a preview, or about what was meant for one.
    pub of_preview: bool,
    /// Whether it is left to the next sweep of the preview, after the last attempt.
    pub is_left_to_sweep: bool,
    pub error: Box<Error>,
}

impl Failure {
    fn of_site(error: Error) -> Self {
        Self { key: None, of_preview: false, is_left_to_sweep: false, error: Box::new(error) }
    }

    fn of_preview(key: Option<String>, error: Error) -> Self {
        Self { key, of_preview: true, ..Self::of_site(error) }
    }

    /// Whether it fails the invocation, so that Lambda retries it and an alarm fires. What is refused of a preview does
    /// not: no retry helps, and the alarms are the live site's. Nor does what a sweep tries again.
    fn fails_invocation(&self) -> bool {
        let is_refused = self.error.is_refusal() || matches!(self.error.kind(), "BadEvent" | "ArchiveGone");
        !(self.of_preview && (is_refused || self.is_left_to_sweep))
    }

    fn told(&self) -> Failed {
        Failed {
            of_preview: self.of_preview,
            key: self.key.as_deref().map(cut::text),
            error_type: self.error.kind(),
            error_message: self.error.message(),
        }
    }
}

/// The structured log line of a failed deployment.
#[derive(Serialize)]
struct FailureLine<'a> {
    site: &'a str,
    outcome: &'static str,
    #[serde(flatten)]
    failed: Failed,
}

/// One part of an event's work, and the site that it is about: the live one, or a preview.
#[derive(Clone, Debug, PartialEq)]
struct Task {
    of: Option<PreviewName>,
    work: Work,
}

#[derive(Clone, Debug, PartialEq)]
enum Work {
    /// The event asks for nothing.
    Nothing,
    Deploy(Upload),
    /// The upload is no archive by its name.
    Ignore(Upload),
    RollBack(Rollback),
    /// Remove a preview, which somebody has asked for at this time.
    Remove(Option<DateTime<Utc>>),
    Sweep,
}

/// Handles one event. Then deploys the uploads that gave up waiting for its sites meanwhile.
pub async fn handle(site: &Site, payload: &Value, invocation: &Invocation<'_>) -> Handled {
    let timeout = invocation.deadline - (invocation.clock)();
    let mut handled = Handled { site: site.config.site.clone(), results: Vec::new(), waited: Vec::new() };
    let event = match Event::parse(payload, &site.config.staging_bucket) {
        Ok(event) => event,
        Err(error) => {
            handled.results.push(Err(Failure::of_site(error.into())));
            return handled;
        }
    };
    let (options, changes_site) = (event.options(), event.may_change_site());
    let is_sweep = matches!(event, Event::Sweep { .. });
    let mut sites = BTreeSet::new();
    for task in tasks(event, &site.config) {
        match task {
            Err(failure) => handled.results.push(Err(failure)),
            Ok(Task { of, work }) => {
                let result = at(site, of.as_ref(), invocation, async |site, invocation| {
                    let result = Box::pin(carry_out(site, &work, options, invocation)).await;
                    match result {
                        Err(failure) => Err(Box::pin(leave_to_sweep(site, &work, options, invocation, failure)).await),
                        Ok(report) => Ok(report),
                    }
                });
                handled.results.push(result.await);
                sites.insert(of);
            }
        }
    }
    if changes_site {
        handled.waited.extend(deploy_all_waiting(site, sites, invocation, timeout).await);
    }
    if is_sweep {
        // The previews come last: they take no time from the live site.
        let swept = Box::pin(sweep_previews(site, options, invocation, &mut handled.results)).await;
        if changes_site {
            handled.waited.extend(deploy_all_waiting(site, swept, invocation, timeout).await);
        }
    }
    if site.config.wait_for_invalidation {
        // This wait comes last, when every upload is live and every lease released. It delays no other deployment.
        let reports = handled.results.iter_mut().chain(&mut handled.waited).flatten();
        let invalidations = reports.flat_map(|report| &mut report.invalidations);
        join_all(invalidations.map(|sent| note_completion(site, sent, invocation.time_left()))).await;
    }
    handled
}

/// Returns what an event asks for, part by part. Which site a part is about is decided here, by the key of its upload or
/// by the name that it gives, and nowhere else.
fn tasks(event: Event, config: &Config) -> Vec<Result<Task, Failure>> {
    let has_previews = config.previews.is_some();
    let of_preview = |name: &PreviewName, key: Option<String>| {
        let bad = || BadEvent::NoPreviews { name: name.clone() };
        if has_previews { Ok(()) } else { Err(Failure::of_preview(key, bad().into())) }
    };
    match event {
        Event::Test => vec![Ok(Task { of: None, work: Work::Nothing })],
        Event::Sweep { .. } => vec![Ok(Task { of: None, work: Work::Sweep })],
        Event::Rollback { of, to, .. } => {
            let allowed = of.as_ref().map_or(Ok(()), |name| of_preview(name, None));
            vec![allowed.map(|()| Task { of, work: Work::RollBack(to) })]
        }
        Event::Remove { preview, .. } => {
            let allowed = of_preview(&preview, None);
            vec![allowed.map(|()| Task { of: Some(preview), work: Work::Remove(None) })]
        }
        Event::Uploads { uploads, options } => {
            let task = |upload: Upload| {
                let is_ignored = !options.are_a_persons() && !upload.is_named_as_archive();
                let bad = |key, bad: BadEvent| Err(Failure::of_preview(Some(key), bad.into()));
                let of = match purpose(&upload.key, &config.upload_prefix, has_previews) {
                    Ok(Purpose::Remove(name)) => match upload.uploaded_at {
                        // Only its time tells which pushes are newer.
                        None => return bad(upload.key, BadEvent::RemovalWithoutTime { name }),
                        at => return Ok(Task { of: Some(name), work: Work::Remove(at) }),
                    },
                    Ok(Purpose::Preview(name)) => Some(name),
                    Ok(Purpose::Live) => None,
                    Err(_) if is_ignored => None,
                    Err(error) => return bad(upload.key, error.into()),
                };
                let work = if is_ignored { Work::Ignore(upload) } else { Work::Deploy(upload) };
                Ok(Task { of, work })
            };
            uploads.into_iter().map(task).collect()
        }
    }
}

/// Does work at the live site, or at one of its previews. A preview has a progress of its own: what it owes is not the
/// live site's.
async fn at<T>(
    live: &Site,
    of: Option<&PreviewName>,
    invocation: &Invocation<'_>,
    work: impl AsyncFnOnce(&Site, &Invocation<'_>) -> T,
) -> T {
    match of {
        None => work(live, invocation).await,
        Some(name) => {
            let progress = Progress::default();
            work(&live.preview(name), &Invocation { progress: &progress, ..*invocation }).await
        }
    }
}

/// Deploys the uploads that wait for these sites.
async fn deploy_all_waiting(
    site: &Site,
    sites: BTreeSet<Option<PreviewName>>,
    invocation: &Invocation<'_>,
    timeout: TimeDelta,
) -> Vec<Result<Report, Failure>> {
    let mut results = Vec::new();
    for of in sites {
        let waited = at(site, of.as_ref(), invocation, async |site, invocation| {
            Box::pin(deploy_waiting(site, invocation, timeout)).await
        });
        let of_preview = of.is_some();
        let failed = |Waited { key, result }: Waited| {
            result.map_err(|error| Failure { key, of_preview, ..Failure::of_site(error) })
        };
        results.extend(waited.await.into_iter().map(failed));
    }
    results
}

/// Does one part of what an event asks for.
async fn carry_out(site: &Site, work: &Work, options: Options, invocation: &Invocation<'_>) -> Result<Report, Failure> {
    let (key, result) = match work {
        Work::Nothing => (None, Ok(Report::of_site(&site.config))),
        Work::Ignore(upload) => (None, Ok(Report::ignored_upload(&site.config, upload))),
        Work::Sweep => (None, Box::pin(sweep(site, options, invocation)).await),
        Work::Remove(asked_at) => {
            let removal = remove_if_past(site, *asked_at, options, invocation);
            (None, removal.instrument(deployment_span(site)).await)
        }
        Work::RollBack(to) => {
            let rollback = Box::pin(roll_back(site, to, options, invocation));
            (None, rollback.instrument(deployment_span(site)).await)
        }
        Work::Deploy(upload) => {
            let deployment = Box::pin(deploy(site, upload, options, invocation));
            let result = deployment.instrument(deployment_span(site)).await;
            (Some(upload.key.clone()), result)
        }
    };
    result.map_err(|error| Failure { key, of_preview: site.config.is_preview(), ..Failure::of_site(error) })
}

/// Leaves what has failed of a preview to its next sweep, if this was the last attempt. Lambda would put the event into
/// the failure queue, and the alarm about that queue is the live site's.
async fn leave_to_sweep(
    site: &Site,
    work: &Work,
    options: Options,
    invocation: &Invocation<'_>,
    failure: Failure,
) -> Failure {
    if !failure.of_preview || !failure.fails_invocation() {
        return failure;
    }
    let leave = async {
        // An event may have several records.
        let part = failure.key.as_deref().unwrap_or_default();
        let request = format!("{}#{part}", invocation.request_id);
        if site.clients.ledger.count_failure(&request, (invocation.clock)()).await? < LAMBDA_ATTEMPTS {
            return Ok(false);
        }
        match work {
            // The person who asked for it has seen it fail.
            _ if options.dry_run => Ok(true),
            Work::Deploy(upload) => leave_waiting(site, upload, options, invocation).await,
            Work::Remove(asked_at) => leave_removal(site, *asked_at, invocation).await,
            Work::Nothing | Work::Ignore(_) | Work::RollBack(_) | Work::Sweep => Ok(false),
        }
    };
    let is_left_to_sweep = leave.await.unwrap_or_else(|error: Error| {
        tracing::warn!("could not leave the event to the next sweep, so it goes to the failure queue: {error}");
        false
    });
    Failure { is_left_to_sweep, ..failure }
}

/// Removes a preview, unless its removal is dated in the future, which would shut out every later push.
async fn remove_if_past(
    site: &Site,
    asked_at: Option<DateTime<Utc>>,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<Report, Error> {
    let now = (invocation.clock)();
    if let Some(uploaded_at) = asked_at.filter(|at| *at > now + MAX_CLOCK_SKEW) {
        let key = site.config.preview.as_ref().map(|name| removal_key(&site.config.upload_prefix, name));
        return Err(BadEvent::FutureUpload { key: key.unwrap_or_default(), uploaded_at, now }.into());
    }
    Box::pin(remove(site, asked_at, options, invocation)).await
}

/// Sweeps the previews, and removes those to which nobody has pushed for `PREVIEW_DAYS`. Adds the results of those for
/// which there was something to do, and returns which were swept.
///
/// A failure is left to the next sweep: it is none of the live site's.
async fn sweep_previews(
    site: &Site,
    options: Options,
    invocation: &Invocation<'_>,
    results: &mut Vec<Result<Report, Failure>>,
) -> BTreeSet<Option<PreviewName>> {
    let mut swept = BTreeSet::new();
    let Some(previews) = &site.config.previews else { return swept };
    let listed = site.clients.ledger.previews().await.unwrap_or_else(|error| {
        tracing::warn!("could not look for previews; the next sweep does: {error}");
        Vec::new()
    });
    for preview in listed {
        if invocation.time_left().is_zero() {
            tracing::warn!("no time is left to sweep the other previews; the next sweep goes on");
            break;
        }
        let ended_at = preview.ends_at(previews.days);
        let has_ended = ended_at <= (invocation.clock)();
        let result = at(site, Some(&preview.name), invocation, async |site, invocation| {
            // A preview that waits would keep the others waiting.
            let invocation = &Invocation { waits: false, ..*invocation };
            // Somebody may have pushed while the previews before it were swept.
            let has_ended = has_ended && Box::pin(site.clients.ledger.is_listed_as(&preview)).await?;
            if has_ended {
                Box::pin(remove(site, Some(ended_at), options, invocation)).await
            } else {
                Box::pin(sweep(site, options, invocation)).await
            }
        });
        match result.await {
            Ok(report) => results.extend(is_worth_telling(&report).then_some(Ok(report))),
            Err(error) => {
                let name = &preview.name;
                tracing::warn!(%name, "could not sweep the preview {name}; the next sweep tries again: {error}");
            }
        }
        swept.insert(Some(preview.name));
    }
    swept
}

/// Whether the sweep of a preview has found something to do.
fn is_worth_telling(report: &Report) -> bool {
    report.outcome == Outcome::Removed || report.deleted > 0 || !report.invalidations.is_empty()
}

async fn roll_back(site: &Site, to: &Rollback, options: Options, invocation: &Invocation<'_>) -> Result<Report, Error> {
    let id = match to {
        Rollback::Previous => return undo(site, options, invocation).await,
        Rollback::To(id) => DeploymentId::named(id),
    };
    let record = site.clients.ledger.record(&id).await?;
    let record = record.ok_or_else(|| Error::NoSuchDeployment { site: site.config.site.clone() })?;
    let upload = record.upload(&site.config.staging_bucket)?;
    deploy(site, &upload, Options { replay: true, ..options }, invocation).await
}

/// Notes whether CloudFront completes an invalidation within `patience`. Without its id it cannot be asked about, and
/// counts as not completed.
async fn note_completion(site: &Site, sent: &mut Invalidated, patience: Duration) {
    let completed = match &sent.id {
        Some(id) => {
            let completion = site.clients.cdn.completion(&sent.distribution_id, id);
            timeout(patience, completion).await.unwrap_or(false)
        }
        None => false,
    };
    sent.completed = Some(completed);
}

/// Returns the age of the oldest owed invalidation: 0 if none is owed, `None` if the ledger cannot be read.
///
/// The ledger is read only if no run of the invocation has found out.
pub async fn owed_seconds(site: &Site, progress: &Progress, now: DateTime<Utc>) -> Option<u64> {
    let oldest = match progress.oldest_owed() {
        Some(oldest) => oldest,
        None => match site.clients.ledger.owed().await {
            Ok(owed) => owed.iter().filter_map(|owed| owed.recorded_at).min(),
            Err(error) => {
                tracing::warn!("could not read the owed invalidations for the metric `owedSeconds`: {error}");
                return None;
            }
        },
    };
    let age = oldest.map(|at| (now - at).num_seconds());
    Some(age.and_then(|seconds| seconds.try_into().ok()).unwrap_or(0))
}

impl Handled {
    pub fn results(&self) -> &[Result<Report, Failure>] {
        &self.results
    }

    /// Returns one plain line per deployment, for people who read the log.
    pub fn plain_lines(&self) -> Vec<String> {
        let plain_line = |result: &Result<Report, Failure>| match result {
            Ok(report) => sentence::of_report(report),
            Err(failure) => sentence::of_failure(&failure.told()),
        };
        self.all_results().map(plain_line).collect()
    }

    /// Returns the structured log lines, one per deployment, with their metrics.
    pub fn log_lines(&self, moment: Moment) -> Vec<String> {
        // The invocation fails once, whatever the number of its failures.
        let fails = |result: &Result<Report, Failure>| matches!(result, Err(it) if it.fails_invocation());
        let is_of_preview = |result: &Result<Report, Failure>| matches!(result, Err(it) if it.of_preview);
        let is_for_previews = self.results.iter().filter(|it| fails(it)).all(is_of_preview);
        let counted = self.results.iter().position(fails).filter(|_| is_for_previews);
        let lines = self.all_results().enumerate();
        lines.filter_map(|(index, result)| self.log_line(result, counted == Some(index), moment)).collect()
    }

    fn all_results(&self) -> impl Iterator<Item = &Result<Report, Failure>> {
        self.results.iter().chain(&self.waited)
    }

    /// Whether one of the results is the live site's.
    pub fn concerns_live_site(&self) -> bool {
        self.all_results().any(|result| match result {
            Ok(report) => report.preview.is_none(),
            Err(failure) => !failure.of_preview,
        })
    }

    /// `fails_invocation` says whether the failure of a preview counts as the one that fails the invocation.
    fn log_line(&self, result: &Result<Report, Failure>, fails_invocation: bool, moment: Moment) -> Option<String> {
        match result {
            Ok(report) => metrics::of_report(report, &self.site, moment),
            Err(failure) => {
                let line = FailureLine { site: &self.site, outcome: "failed", failed: failure.told() };
                if failure.of_preview {
                    metrics::of_previews_failure(&line, &self.site, fails_invocation, moment)
                } else {
                    metrics::of_failure(&line, moment)
                }
            }
        }
    }

    /// Returns the invocation's answer.
    ///
    /// # Errors
    /// The first failure. It fails the invocation, so that Lambda retries it; the log has the other results.
    pub fn into_answer(self) -> Result<Answer, Diagnostic> {
        let count = self.results.len();
        let (mut deployments, mut failures, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for result in self.results {
            match result {
                Ok(report) => deployments.push(report),
                Err(failure) if failure.fails_invocation() => failures.push(failure),
                Err(failure) => refused.push(failure.told()),
            }
        }
        let failed = failures.len();
        let Some(first) = failures.into_iter().next() else {
            let mut failed = refused;
            for result in self.waited {
                match result {
                    Ok(report) => deployments.push(report),
                    Err(failure) => failed.push(failure.told()),
                }
            }
            return Ok(Answer::of(&deployments, failed));
        };
        let mut diagnostic = Diagnostic::from(*first.error);
        if count > 1 {
            let key = cut::text(&first.key.unwrap_or_default());
            diagnostic.error_message =
                format!("{key}: {} ({failed} of {count} deployments failed, see the log)", diagnostic.error_message);
        }
        Err(diagnostic)
    }
}
