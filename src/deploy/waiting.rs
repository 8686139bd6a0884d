//! The uploads that gave up waiting for the site, deployed by whoever is done with it.

use chrono::TimeDelta;
use tracing::Instrument;

use super::attempt::Attempt;
use super::{Invocation, Site, deploy, deployment_span};
use crate::aws::ledger::Known;
use crate::deployment::{DeploymentId, Record, Status, Waiting, request_for_waiting};
use crate::error::Error;
use crate::event::{Options, Upload};
use crate::report::Report;

/// How much of an invocation's time must be left to deploy another upload. A function with a short timeout needs three
/// quarters of it.
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
/// them. `timeout` is the time that the invocation had from its start.
pub async fn deploy_waiting(site: &Site, invocation: &Invocation<'_>, timeout: TimeDelta) -> Vec<Waited> {
    let time_needed = TIME_NEEDED.min(timeout * 3 / 4);
    let request_id = request_for_waiting(invocation.request_id);
    let invocation = Invocation { request_id: &request_id, waits: false, ..*invocation };
    let (mut tried, mut results) = (Vec::new(), Vec::new());
    while invocation.deadline - invocation.now() >= time_needed {
        // Others may have given up waiting while the last one was deployed.
        let waiting = match next(site, &invocation, &tried).await {
            Ok(Some(waiting)) => waiting,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!("could not look for uploads that wait for the site; the next deployment does: {error}");
                break;
            }
        };
        let id = waiting.record.deployment.clone();
        let waited = deploy_one(site, &waiting, &invocation).instrument(deployment_span(site)).await;
        let is_decided = is_decided(&waited.result);
        if !matches!(waited.result, Err(Error::Busy { .. })) {
            results.push(waited);
        }
        if !is_decided {
            break;
        }
        tried.push(id);
    }
    results
}

/// Leaves an upload to a preview that has failed to the next deployment or sweep of the preview. Returns whether they will
/// know of it: not of a replay, since only its sender may say when it is meant.
///
/// # Errors
/// `ArchiveGone`, `Aws`.
pub async fn leave_waiting(
    site: &Site,
    upload: &Upload,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<bool, Error> {
    let attempt = Attempt::identify(site, upload, None, options, invocation).await?;
    let Some(waiting) = attempt.waiting() else { return Ok(false) };
    let ledger = &site.clients.ledger;
    // Only listed previews are swept.
    ledger.list(invocation.now()).await?;
    ledger.write_waiting(&waiting).await?;
    Ok(true)
}

/// Returns the newest upload that waits. Forgets those that were `tried`, or that a retry of their own has deployed in
/// the meantime.
///
/// An upload that is older than one with an unfinished run goes on waiting: the run may still be refused.
async fn next(site: &Site, invocation: &Invocation<'_>, tried: &[DeploymentId]) -> Result<Option<Waiting>, Error> {
    let ledger = &site.clients.ledger;
    for waiting in ledger.waiting().await? {
        let id = &waiting.record.deployment;
        let Known { head, record, .. } = ledger.read(id).await?;
        if head.may_still_take(&waiting.place, invocation.now()) {
            continue;
        }
        let is_done = |record: Record| record.has_been_live() && record.status != Status::Unfinished;
        if !tried.contains(id) && !record.is_some_and(is_done) {
            return Ok(Some(waiting));
        }
        forget(site, id).await;
    }
    Ok(None)
}

/// Deletes the note of an upload that waits no more. One that is left over is decided again, with the same result.
async fn forget(site: &Site, id: &DeploymentId) {
    if let Err(error) = site.clients.ledger.delete_waiting(id).await {
        tracing::warn!("could not delete the note of an upload that waits no more: {error}");
    }
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
        Ok(_) => true,
        Err(error) => error.is_refusal() || matches!(error, Error::ArchiveGone { .. } | Error::BadEvent(_)),
    }
}
