//! The handler of an event: it runs the deployments, and turns their results into log lines and one answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use lambda_runtime::Diagnostic;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use tracing::field::Empty;
use tracing::{Instrument, Span, error_span};

use crate::cut;
use crate::deploy::{Invocation, Site, deploy, sweep};
use crate::deployment::{DeploymentId, Record};
use crate::error::Error;
use crate::event::{Event, Options, Rollback, Upload};
use crate::metrics::{self, Moment};
use crate::report::{Answer, Invalidated, Progress, Report};

/// The results of an event's deployments, in upload order.
#[derive(Debug)]
pub struct Handled {
    site: String,
    results: Vec<Result<Report, Failure>>,
}

/// A deployment that failed.
#[derive(Debug)]
pub struct Failure {
    /// The archive's key, if the event names one.
    pub key: Option<String>,
    pub error: Error,
}

/// The log line of a failed deployment.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureLine<'a> {
    site: &'a str,
    outcome: &'static str,
    key: Option<String>,
    error_type: &'static str,
    error_message: String,
}

/// Handles one event.
pub async fn handle(site: &Site, payload: &Value, invocation: &Invocation<'_>) -> Handled {
    let mut results = match Task::of(site, payload, invocation).await {
        Ok(Task::Nothing) => vec![Ok(Report::ignored(site.config.site.clone()))],
        Ok(Task::Sweep(options)) => {
            let result = sweep(site, options, invocation).await;
            vec![result.map_err(|error| Failure { key: None, error })]
        }
        Ok(Task::Deploy(uploads, options)) => {
            let mut results = Vec::new();
            for upload in uploads {
                let result = deploy(site, &upload, options, invocation).instrument(deployment_span(site)).await;
                results.push(result.map_err(|error| Failure { key: Some(upload.key), error }));
            }
            results
        }
        Err(error) => vec![Err(Failure { key: None, error })],
    };
    if site.config.wait_for_invalidation {
        // This wait comes last, when every upload is live and every lease released. It delays no other deployment.
        let invalidations = results.iter_mut().flatten().flat_map(|report| &mut report.invalidations);
        join_all(invalidations.map(|sent| note_completion(site, sent, invocation.time_left()))).await;
    }
    Handled { site: site.config.site.clone(), results }
}

/// Creates the span of one deployment, whose fields all of its log lines inherit.
///
/// The deployment records its id and its run's number as soon as it knows them. The span has the highest level, since
/// a log level that disabled it would take the fields off the warnings too.
fn deployment_span(site: &Site) -> Span {
    error_span!("deployment", site = site.config.site, deployment = Empty, run = Empty)
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

/// The work that an event asks for.
enum Task {
    Nothing,
    Sweep(Options),
    Deploy(Vec<Upload>, Options),
}

impl Task {
    async fn of(site: &Site, payload: &Value, invocation: &Invocation<'_>) -> Result<Self, Error> {
        let staging_bucket = &site.config.staging_bucket;
        match Event::parse(payload, staging_bucket)? {
            Event::Test => Ok(Self::Nothing),
            Event::Sweep { options } => Ok(Self::Sweep(options)),
            Event::Uploads { uploads, options } => Ok(Self::Deploy(uploads, options)),
            Event::Rollback { to, options } => {
                let record = match to {
                    Rollback::To(id) => site.clients.ledger.record(&DeploymentId::named(&id)).await?,
                    Rollback::Previous => previous(site, invocation).await?,
                };
                let record = record.ok_or(Error::NoSuchDeployment { site: site.config.site.clone() })?;
                let upload = record.upload(staging_bucket)?;
                Ok(Self::Deploy(vec![upload], Options { replay: true, ..options }))
            }
        }
    }
}

/// Returns the record of the deployment before the live one.
///
/// Lambda's retry of a rollback keeps the target of its first attempt, which may have made another deployment live.
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

    /// Returns the structured log lines, one per deployment, with their metrics.
    pub fn log_lines(&self, moment: Moment) -> Vec<String> {
        self.results.iter().filter_map(|result| self.log_line(result, moment)).collect()
    }

    fn log_line(&self, result: &Result<Report, Failure>, moment: Moment) -> Option<String> {
        match result {
            Ok(report) => metrics::of_report(report, moment),
            Err(failure) => {
                let line = FailureLine {
                    site: &self.site,
                    outcome: "failed",
                    key: failure.key.as_deref().map(cut::text),
                    error_type: failure.error.kind(),
                    error_message: failure.error.message(),
                };
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
            return Ok(Answer::of(&deployments));
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
