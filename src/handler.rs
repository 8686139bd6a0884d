//! The handler of an event: it runs the deployments, and turns their results into log lines and one answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use tracing::Instrument;

use crate::cut;
use crate::deploy::{Invocation, Site, Waited, deploy, deploy_waiting, deployment_span, sweep, undo};
use crate::deployment::DeploymentId;
use crate::error::Error;
use crate::event::{Event, Options, Rollback};
use crate::metrics::{self, Moment};
use crate::report::{Answer, Failed, Invalidated, Progress, Report, sentence};

/// The results of an event's deployments, in upload order.
#[derive(Debug)]
pub struct Handled {
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
    pub error: Error,
}

impl Failure {
    fn told(&self) -> Failed {
        Failed {
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

/// Handles one event. Then deploys the uploads that gave up waiting for the site meanwhile.
pub async fn handle(site: &Site, payload: &Value, invocation: &Invocation<'_>) -> Handled {
    let timeout = invocation.deadline - (invocation.clock)();
    let event = Event::parse(payload, &site.config.staging_bucket).map_err(Error::from);
    let changes_site = event.as_ref().is_ok_and(Event::may_change_site);
    let mut results = match event {
        Ok(event) => carry_out(site, event, invocation).await,
        Err(error) => vec![Err(Failure { key: None, error })],
    };
    let mut waited = Vec::new();
    if changes_site {
        let deployed = Box::pin(deploy_waiting(site, invocation, timeout)).await.into_iter();
        waited.extend(deployed.map(|Waited { key, result }| result.map_err(|error| Failure { key, error })));
    }
    if site.config.wait_for_invalidation {
        // This wait comes last, when every upload is live and every lease released. It delays no other deployment.
        let reports = results.iter_mut().chain(&mut waited).flatten();
        let invalidations = reports.flat_map(|report| &mut report.invalidations);
        join_all(invalidations.map(|sent| note_completion(site, sent, invocation.time_left()))).await;
    }
    Handled { site: site.config.site.clone(), results, waited }
}

/// Does what an event asks for.
async fn carry_out(site: &Site, event: Event, invocation: &Invocation<'_>) -> Vec<Result<Report, Failure>> {
    let of_event = |result: Result<Report, Error>| vec![result.map_err(|error| Failure { key: None, error })];
    match event {
        Event::Test => of_event(Ok(Report::ignored(site.config.site.clone()))),
        Event::Sweep { options } => of_event(Box::pin(sweep(site, options, invocation)).await),
        Event::Rollback { to, options } => {
            let rollback = Box::pin(roll_back(site, &to, options, invocation));
            of_event(rollback.instrument(deployment_span(site)).await)
        }
        Event::Uploads { uploads, options } => {
            let mut results = Vec::new();
            for upload in uploads {
                if !options.are_a_persons() && !upload.is_named_as_archive() {
                    results.push(Ok(Report::ignored_upload(site.config.site.clone(), &upload)));
                    continue;
                }
                let deployment = Box::pin(deploy(site, &upload, options, invocation));
                let result = deployment.instrument(deployment_span(site)).await;
                results.push(result.map_err(|error| Failure { key: Some(upload.key), error }));
            }
            results
        }
    }
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
        self.all_results().filter_map(|result| self.log_line(result, moment)).collect()
    }

    fn all_results(&self) -> impl Iterator<Item = &Result<Report, Failure>> {
        self.results.iter().chain(&self.waited)
    }

    fn log_line(&self, result: &Result<Report, Failure>, moment: Moment) -> Option<String> {
        match result {
            Ok(report) => metrics::of_report(report, moment),
            Err(failure) => {
                let line = FailureLine { site: &self.site, outcome: "failed", failed: failure.told() };
                metrics::of_failure(&line, moment)
            }
        }
    }

    /// Returns the invocation's answer.
    ///
    /// # Errors
    /// The first failure. It fails the invocation, so that Lambda retries it; the log has the other results.
    pub fn into_answer(self) -> Result<Answer, Diagnostic> {
        let count = self.results.len();
        let (mut deployments, mut failures) = (Vec::new(), Vec::new());
        for result in self.results {
            match result {
                Ok(report) => deployments.push(report),
                Err(failure) => failures.push(failure),
            }
        }
        let failed = failures.len();
        let Some(first) = failures.into_iter().next() else {
            let mut failed = Vec::new();
            for result in self.waited {
                match result {
                    Ok(report) => deployments.push(report),
                    Err(failure) => failed.push(failure.told()),
                }
            }
            return Ok(Answer::of(&deployments, failed));
        };
        let mut diagnostic = Diagnostic::from(first.error);
        if count > 1 {
            let key = cut::text(&first.key.unwrap_or_default());
            diagnostic.error_message =
                format!("{key}: {} ({failed} of {count} deployments failed, see the log)", diagnostic.error_message);
        }
        Err(diagnostic)
    }
}
