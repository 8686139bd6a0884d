//! The removal of a preview: its objects, its manifest and its items in the ledger.
//!
//! It is as safe from crashes as a deployment. It takes the lease and a number like a run, records the invalidation that
//! it will owe before its first delete, and leaves the ledger only when nothing else is left. What stays is a tombstone:
//! the head, with the time of the removal, so that no late event raises the preview from the dead.

use chrono::{DateTime, TimeDelta, Utc};

use super::debts::Debts;
use super::held::HeldHead;
use super::{Invocation, Site};
use crate::aws::delete::DELETES_PER_CALL;
use crate::aws::ledger::{Change, Committed, PreviewChange};
use crate::cut;
use crate::deployment::{DeploymentId, Head, Lease, Removal, RemovalDecision, RunId, decide_removal};
use crate::error::Error;
use crate::event::Options;
use crate::report::{Outcome, Planned, Report};

/// Removes a preview, unless somebody has pushed to it since `asked_at`: a push always wins. Without a time, the
/// request's first attempt counts.
///
/// # Errors
/// `Busy`, `LeaseLost`, `Unfinished`, `InvalidationOwed`, `WrongDistribution`, `Aws`; the retry goes on from there.
pub async fn remove(
    site: &Site,
    asked_at: Option<DateTime<Utc>>,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<Report, Error> {
    let started_at = invocation.now();
    let mut report = Report::of_site(&site.config);
    report.outcome = remove_into(&mut report, site, asked_at, options, invocation).await?;
    let took = invocation.now() - started_at;
    report.duration_ms = took.num_milliseconds().try_into().unwrap_or_default();
    Ok(report)
}

pub(super) async fn remove_into(
    report: &mut Report,
    site: &Site,
    asked_at: Option<DateTime<Utc>>,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<Outcome, Error> {
    let ledger = &site.clients.ledger;
    let request = invocation.request_id;
    let asked_at = match asked_at {
        Some(asked_at) => asked_at,
        None if options.dry_run => invocation.now(),
        None => ledger.removal_asked_at(request, invocation.now()).await?,
    };
    let mut held = loop {
        let now = invocation.now();
        let head = ledger.head().await?;
        let number = match decide_removal(&head, request, asked_at, now) {
            RemovalDecision::Nothing => return Ok(Outcome::Removed),
            RemovalDecision::Superseded => return Ok(superseded(report)),
            RemovalDecision::Postpone if options.dry_run => return Ok(superseded(report)),
            RemovalDecision::Postpone => {
                let to = head.postponing_removal(asked_at);
                if ledger.commit(Change::of_head(&head, &to)).await? == Committed::Yes {
                    return Ok(superseded(report));
                }
                continue;
            }
            _ if options.dry_run => return plan(report, site, &head).await,
            RemovalDecision::Wait => {
                wait(&head, invocation).await?;
                continue;
            }
            RemovalDecision::Remove { number } => number,
        };
        // A retry may be an older request than the one that it continues.
        let asked_at = head.removed.iter().map(|removal| removal.asked_at).fold(asked_at, DateTime::max);
        let to = head.removing(Removal::unfinished(asked_at, number), request, invocation.deadline, now);
        // It is listed, so that a sweep goes on if all attempts fail.
        let preview = PreviewChange::Pushed(asked_at);
        if let Some(held) = HeldHead::claim(ledger, Change { preview, ..Change::of_head(&head, &to) }).await? {
            break held;
        }
    };
    let mut debts = Debts::new(site, invocation);
    let removed = Box::pin(take_away(report, site, invocation, &mut held, &mut debts)).await;
    debts.report(report);
    if let Err(error) = removed {
        // What is left stays listed, so that the retry or the next sweep goes on.
        if let Err(error) = held.release(debts.settled()).await {
            tracing::warn!("could not release the lease, which lapses by itself: {error}");
        }
        return Err(error);
    }
    tracing::info!(site = site.config.site, deleted = report.deleted, "removed the preview");
    Ok(Outcome::Removed)
}

/// Leaves a removal that has failed to the next sweep. Returns whether the sweep will know of it: not while another
/// request is at work.
///
/// # Errors
/// `Aws`.
pub async fn leave_removal(
    site: &Site,
    asked_at: Option<DateTime<Utc>>,
    invocation: &Invocation<'_>,
) -> Result<bool, Error> {
    let (ledger, now) = (&site.clients.ledger, invocation.now());
    let asked_at = match asked_at {
        Some(asked_at) => asked_at,
        None => ledger.removal_asked_at(invocation.request_id, now).await?,
    };
    let head = ledger.head().await?;
    match decide_removal(&head, invocation.request_id, asked_at, now) {
        RemovalDecision::Nothing | RemovalDecision::Superseded => Ok(true),
        RemovalDecision::Wait => Ok(false),
        // It has begun, so the sweep knows of it.
        RemovalDecision::Remove { .. } if head.unfinished_removal().is_some_and(|known| known >= asked_at) => Ok(true),
        RemovalDecision::Remove { .. } | RemovalDecision::Postpone => {
            let to = head.postponing_removal(asked_at);
            let change = Change { preview: PreviewChange::Pushed(asked_at), ..Change::of_head(&head, &to) };
            Ok(ledger.commit(change).await? == Committed::Yes)
        }
    }
}

fn superseded(report: &mut Report) -> Outcome {
    report.warnings.push("somebody has pushed to the preview since, so it stays".to_owned());
    Outcome::Superseded
}

/// Reports what a removal would delete.
async fn plan(report: &mut Report, site: &Site, head: &Head) -> Result<Outcome, Error> {
    let listing = site.clients.bucket.list(&head.list_at).await?;
    report.deleted = listing.len();
    let deleted = listing.iter().map(|(key, _)| key).collect();
    report.plan = Some(Planned { deleted, ..Planned::default() });
    Ok(Outcome::Planned)
}

/// Waits a moment.
///
/// # Errors
/// `Busy` near the deadline.
async fn wait(head: &Head, invocation: &Invocation<'_>) -> Result<(), Error> {
    let lease = head.lease.clone().filter(|_| !invocation.waits || invocation.is_late());
    match lease {
        Some(Lease { deployment, until, .. }) => Err(Error::Busy { deployment, until, waits: false }),
        None => {
            tokio::time::sleep(invocation.pause.mul_f64(0.7 + 0.6 * fastrand::f64())).await;
            Ok(())
        }
    }
}

/// Takes everything of the preview away except its tombstone. Each step may be repeated by a retry.
async fn take_away(
    report: &mut Report,
    site: &Site,
    invocation: &Invocation<'_>,
    held: &mut HeldHead<'_>,
    debts: &mut Debts<'_>,
) -> Result<(), Error> {
    let clients = &site.clients;
    let head = held.get_mut().clone();
    // The claim has put it there.
    let Some(removal) = head.removed.clone() else { return Err(Error::LeaseLost) };
    let run = RunId { deployment: DeploymentId::of_removal(removal.asked_at), number: removal.number };
    report.run = removal.number;
    let (listing, owed, distributions) =
        tokio::try_join!(clients.bucket.list(&head.list_at), clients.ledger.owed(), clients.cdn.discover())?;
    debts.take_over(owed);
    debts.set_distributions(distributions);
    debts.split_large(held).await?;
    // The invalidation is recorded before the first delete, so that no crash can lose it.
    if !listing.is_empty() || head.manifest.is_some() {
        debts.record_everything(held, &run).await?;
    }
    let keys: Vec<String> = listing.iter().map(|(key, _)| key).collect();
    delete(report, site, invocation, held, &keys).await?;
    // It is offered after the last delete: viewers may fetch an object again as long as it is there.
    debts.send_all().await?;
    held.empty(debts.settled()).await?;

    let manifests = clients.manifests.list().await?;
    held.keep().await?;
    for key in &manifests {
        clients.manifests.remove(key).await;
    }
    clients.ledger.delete_all_before(&removal).await?;
    let history = TimeDelta::days(i64::from(site.config.history_days));
    // A batch for a former distribution may still be owed, and only listed previews are swept.
    let preview = if debts.owes_nothing() { PreviewChange::Removed } else { PreviewChange::None };
    held.bury((invocation.now() + history).timestamp(), preview).await
}

/// Deletes objects, whoever has written them: the folder is the preview's as long as this invocation holds the lease.
async fn delete(
    report: &mut Report,
    site: &Site,
    invocation: &Invocation<'_>,
    held: &mut HeldHead<'_>,
    keys: &[String],
) -> Result<(), Error> {
    for chunk in keys.chunks(DELETES_PER_CALL) {
        held.keep().await?;
        if invocation.is_late() {
            return Err(Error::Unfinished { done: report.deleted, total: keys.len() });
        }
        let together: Vec<_> = chunk.iter().map(|key| (key.as_str(), None)).collect();
        let remaining = site.clients.bucket.delete(&together).await?;
        report.deleted += chunk.len() - remaining.len();
        if !remaining.is_empty() {
            let reasons: Vec<String> = remaining.iter().map(ToString::to_string).collect();
            return Err(Error::Aws {
                what: format!("deleting {} of {} objects", remaining.len(), keys.len()),
                reason: cut::sentence(&reasons),
                source: None,
            });
        }
    }
    Ok(())
}
