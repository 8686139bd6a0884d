//! The uploads that gave up waiting for the site, deployed by whoever is done with it.

use chrono::TimeDelta;
use tracing::Instrument;

use super::{Invocation, Site, deploy, deployment_span};
use crate::deployment::Waiting;
use crate::error::Error;
use crate::event::Options;
use crate::report::{Outcome, Report};

/// How much of an invocation's time must be left to deploy another upload.
const TIME_NEEDED: TimeDelta = TimeDelta::minutes(5);

/// The result of an upload that had waited.
pub struct Waited {
    /// The archive's key.
    pub key: Option<String>,
    pub result: Result<Report, Error>,
}

/// Deploys the uploads that wait for the site, the newest first; the older ones are superseded by it.
///
/// Each is a request of its own, which never waits: if another deployment holds the site again, that one will look for
/// them.
pub async fn deploy_waiting(site: &Site, invocation: &Invocation<'_>) -> Vec<Waited> {
    let request_id = format!("{}/waiting", invocation.request_id);
    let invocation = Invocation { request_id: &request_id, waits: false, ..*invocation };
    let mut results = Vec::new();
    let waiting = match site.clients.ledger.waiting().await {
        Ok(waiting) => waiting,
        Err(error) => {
            tracing::warn!("could not look for uploads that wait for the site; the next deployment does: {error}");
            return results;
        }
    };
    for waiting in waiting {
        if invocation.deadline - invocation.now() < TIME_NEEDED {
            break;
        }
        if !has_been_live(site, &waiting).await {
            let waited = deploy_one(site, &waiting, &invocation).instrument(deployment_span(site)).await;
            let is_decided = is_decided(&waited.result);
            if !matches!(waited.result, Err(Error::Busy { .. })) {
                results.push(waited);
            }
            if !is_decided {
                break;
            }
        }
        // An item that is left over is decided again, with the same result.
        if let Err(error) = site.clients.ledger.delete_waiting(&waiting.record.deployment).await {
            tracing::warn!("could not delete the note of an upload that waits no more: {error}");
        }
    }
    results
}

/// Whether a retry has deployed the upload in the meantime.
async fn has_been_live(site: &Site, waiting: &Waiting) -> bool {
    let record = site.clients.ledger.record(&waiting.record.deployment).await;
    // If the ledger cannot be read, neither can it when the upload is deployed.
    record.is_ok_and(|record| record.is_some_and(|record| record.has_been_live()))
}

async fn deploy_one(site: &Site, waiting: &Waiting, invocation: &Invocation<'_>) -> Waited {
    let options = Options { allow_large_delete: waiting.allow_large_delete, ..Options::default() };
    match waiting.record.upload(&site.config.staging_bucket) {
        Ok(upload) => {
            let result = Box::pin(deploy(site, &upload, options, invocation)).await;
            Waited { key: Some(upload.key), result }
        }
        Err(error) => Waited { key: None, result: Err(error.into()) },
    }
}

/// Whether an upload waits no more.
fn is_decided(result: &Result<Report, Error>) -> bool {
    match result {
        Ok(report) => report.outcome != Outcome::InProgress,
        Err(error) => error.is_refusal() || matches!(error, Error::ArchiveGone { .. } | Error::BadEvent(_)),
    }
}
