//! From an event to the deployments it names, and from their results to one answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::deploy::{Invocation, Site, deploy, sweep};
use crate::deployment::{DeploymentId, Record};
use crate::error::Error;
use crate::event::{Event, Options, Rollback, Upload};
use crate::metrics::{self, Moment};
use crate::report::{Answer, Invalidated, Progress, Report};

/// What came of an event: every deployment's own result, in upload order.
#[derive(Debug)]
pub struct Handled {
    site: String,
    results: Vec<Result<Report, Failure>>,
}

/// A deployment that failed.
#[derive(Debug)]
pub struct Failure {
    /// The archive's key, where the event named one.
    pub key: Option<String>,
    pub error: Error,
}

/// The log line of a failed deployment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureLine<'a> {
    site: &'a str,
    outcome: &'static str,
    key: Option<&'a str>,
    error_type: &'static str,
    error_message: String,
}

/// Handles one event.
pub async fn handle(site: &Site, payload: &Value, invocation: &Invocation<'_>) -> Handled {
    let mut results = Vec::new();
    let failure = |key: Option<&String>, error| Failure { key: key.cloned(), error };
    match task(site, payload, invocation).await {
        Ok(Task::Nothing) => results.push(Ok(Report::ignored(site.config.site.clone()))),
        Ok(Task::Sweep(options)) => {
            let result = sweep(site, options, invocation).await;
            results.push(result.map_err(|error| failure(None, error)));
        }
        Ok(Task::Deploy(uploads, options)) => {
            for upload in &uploads {
                tracing::info!(archive = %upload.key, version = upload.version_id, "deploying");
                let result = deploy(site, upload, options, invocation).await;
                results.push(result.map_err(|error| failure(Some(&upload.key), error)));
            }
        }
        Err(error) => results.push(Err(failure(None, error))),
    }
    if site.config.wait_for_invalidation {
        // Only now, when every upload is live and every lease given back: nobody else is kept waiting.
        let reports = results.iter_mut().flatten();
        let sent = reports.flat_map(|report| &mut report.invalidations);
        join_all(sent.map(|sent| see_completed(site, sent, invocation.time_left()))).await;
    }
    Handled { site: site.config.site.clone(), results }
}

/// Notes whether an invalidation is completed in time. One whose id got lost cannot be asked for.
async fn see_completed(site: &Site, sent: &mut Invalidated, patience: Duration) {
    let completed = match &sent.id {
        Some(id) => {
            let completion = site.clients.cdn.completion(&sent.distribution_id, id);
            timeout(patience, completion).await.unwrap_or(false)
        }
        None => false,
    };
    sent.completed = Some(completed);
}

/// The age of the oldest invalidation that is owed, 0 when none is; nothing when the ledger does not say. It is
/// asked only where no run of the invocation knows.
pub async fn owed_seconds(site: &Site, progress: &Progress, now: DateTime<Utc>) -> Option<u64> {
    let oldest = match progress.oldest_owed() {
        Some(oldest) => oldest,
        None => match site.clients.ledger.owed().await {
            Ok(owed) => owed.iter().filter_map(|owed| owed.recorded_at).min(),
            Err(error) => {
                tracing::warn!("the age of what is owed is not known: {error}");
                return None;
            }
        },
    };
    let age = oldest.map(|at| (now - at).num_seconds());
    Some(age.and_then(|seconds| seconds.try_into().ok()).unwrap_or(0))
}

/// What an event asks for.
enum Task {
    Nothing,
    Sweep(Options),
    Deploy(Vec<Upload>, Options),
}

async fn task(site: &Site, payload: &Value, invocation: &Invocation<'_>) -> Result<Task, Error> {
    let staging_bucket = &site.config.staging_bucket;
    match Event::parse(payload, staging_bucket)? {
        Event::Test => Ok(Task::Nothing),
        Event::Sweep { options } => Ok(Task::Sweep(options)),
        Event::Uploads { uploads, options } => Ok(Task::Deploy(uploads, options)),
        Event::Rollback { to, options } => {
            let record = match to {
                Rollback::To(id) => site.clients.ledger.record(&DeploymentId::named(&id)).await?,
                Rollback::Previous => previous(site, invocation).await?,
            };
            let record = record.ok_or(Error::NoSuchDeployment { site: site.config.site.clone() })?;
            let upload = record.upload(staging_bucket)?;
            let options = Options { replay: true, ..options };
            Ok(Task::Deploy(vec![upload], options))
        }
    }
}

/// The deployment before the live one. Lambda's retry of a rollback keeps the target of its first attempt,
/// since after it another deployment is the live one.
async fn previous(site: &Site, invocation: &Invocation<'_>) -> Result<Option<Record>, Error> {
    let ledger = &site.clients.ledger;
    if let Some(record) = ledger.started_by(invocation.request_id).await? {
        return Ok(Some(record));
    }
    match ledger.head().await?.live {
        Some(live) => ledger.previous(&live.deployment).await,
        None => Ok(None),
    }
}

impl Handled {
    pub fn results(&self) -> &[Result<Report, Failure>] {
        &self.results
    }

    /// The structured log lines, one per deployment, with their metrics.
    pub fn log_lines(&self, moment: Moment) -> Vec<String> {
        let line = |result: &Result<Report, Failure>| match result {
            Ok(report) => metrics::of_report(report, moment),
            Err(failure) => {
                let line = FailureLine {
                    site: &self.site,
                    outcome: "failed",
                    key: failure.key.as_deref(),
                    error_type: failure.error.kind(),
                    error_message: failure.error.to_string(),
                };
                metrics::of_failure(&line, moment)
            }
        };
        self.results.iter().filter_map(line).collect()
    }

    /// The invocation's answer; one failure fails the invocation, so that Lambda tries again, and the others'
    /// results are in the log.
    ///
    /// # Errors
    /// The first failure.
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
            return Ok(Answer { deployments });
        };
        let mut diagnostic = Diagnostic::from(first.error);
        if count > 1 {
            let key = first.key.unwrap_or_default();
            diagnostic.error_message =
                format!("{key}: {} ({failed} of {count} deployments failed, see the log)", diagnostic.error_message);
        }
        Err(diagnostic)
    }
}
