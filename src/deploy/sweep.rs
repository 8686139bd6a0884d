//! A sweep: what a deployment would do on the side, for a site that has not been deployed for a while.
//!
//! It deletes objects that were retained for clients with old pages and whose days are over, and sends owed
//! invalidations. A deployment does both by itself, so a sweep never waits for one.

use super::debts::Debts;
use super::held::HeldHead;
use super::removal::remove_into;
use super::writes::Writer;
use super::{Invocation, Site};
use crate::aws::ledger::Change;
use crate::config::Prune;
use crate::deployment::Head;
use crate::error::Error;
use crate::event::Options;
use crate::manifest::Manifest;
use crate::plan::{Delete, MAX_DEPARTED, is_due};
use crate::report::{Outcome, Planned, Report};

/// Deletes the retained objects whose days are over, and sends the owed batches.
///
/// # Errors
/// `WrongDistribution`, `InvalidationOwed`, `LeaseLost`, `Aws`; what was done before an error is kept.
pub async fn sweep(site: &Site, options: Options, invocation: &Invocation<'_>) -> Result<Report, Error> {
    let started_at = invocation.now();
    let mut report = Report::of_site(&site.config);
    report.outcome = sweep_into(&mut report, site, options, invocation).await?;
    let took = invocation.now() - started_at;
    report.duration_ms = took.num_milliseconds().try_into().unwrap_or_default();
    Ok(report)
}

async fn sweep_into(
    report: &mut Report,
    site: &Site,
    options: Options,
    invocation: &Invocation<'_>,
) -> Result<Outcome, Error> {
    let ledger = &site.clients.ledger;
    let head = ledger.head().await?;
    if let Some(asked_at) = head.unfinished_removal() {
        // Its invocation has died, and its retries are over.
        let outcome = remove_into(report, site, Some(asked_at), options, invocation).await?;
        if outcome != Outcome::Superseded {
            return Ok(outcome);
        }
    }
    let (manifest, owed) = tokio::try_join!(site.clients.manifests.load(head.manifest.as_deref()), ledger.owed())?;
    let manifest = manifest.unwrap_or_default();
    let mut debts = Debts::new(site, invocation);
    debts.take_over(owed);
    debts.report_oldest();
    let expired = expired(site, &head, &manifest, invocation.now().timestamp());
    report.retained = manifest.iter().filter(|(_, row)| row.retained_since().is_some()).count() - expired.len();
    if options.dry_run {
        report.deleted = expired.len();
        let deleted = expired.into_iter().map(|delete| delete.key).collect();
        report.plan = Some(Planned { deleted, ..Planned::default() });
        return Ok(Outcome::Planned);
    }
    if expired.is_empty() && debts.is_empty() {
        return Ok(Outcome::Swept);
    }
    if head.held_by_another(invocation.request_id, invocation.now()).is_some() {
        return Ok(Outcome::InProgress);
    }
    let to = head.swept_by(invocation.request_id, invocation.deadline);
    let Some(mut held) = HeldHead::claim(ledger, Change::of_head(&head, &to)).await? else {
        return Ok(Outcome::InProgress);
    };

    let mut writer = Writer::new(site, invocation);
    writer.draft.start(manifest, false);
    let deleted = delete(&mut writer, expired).await;
    report.deleted = writer.deleted();
    let sent = send(site, &mut held, &mut debts).await;
    debts.report(report);
    let released = release(&mut held, &mut writer, &mut debts).await;
    debts.report_oldest();
    deleted.and(sent).and(released).map(|()| Outcome::Swept)
}

/// Returns the retained objects whose days are over.
///
/// While a run is unfinished there is nothing: the manifest may still call an object removed that the run has brought
/// back. Without retention there is nothing either: everything leaves with an invalidation then, by a deployment.
fn expired(site: &Site, head: &Head, manifest: &Manifest, now: i64) -> Vec<Delete> {
    let days = site.config.retain_removed_days;
    if !head.unfinished.is_empty() || site.config.prune == Prune::Off || days == 0 {
        return Vec::new();
    }
    let departed = manifest.iter().filter(|(_, row)| row.departed_at().is_some()).count();
    let expired = manifest.iter().filter(|(_, row)| row.retained_since().is_some_and(|at| is_due(at, days, now)));
    // The next deployment deletes the others, with an invalidation.
    let expired = expired.take(MAX_DEPARTED.saturating_sub(departed));
    // Retained objects are immutable: every page that names one wants its cached copy, so the copy is not stale.
    expired.map(|(key, row)| Delete { key, etag: row.etag.clone(), row: Some(row), is_stale: false }).collect()
}

/// Deletes objects that are as they were left. An object that another writer has changed stays for the next deployment.
async fn delete(writer: &mut Writer<'_>, expired: Vec<Delete>) -> Result<(), Error> {
    for (Delete { key, .. }, refusal) in writer.delete(expired).await?.refused {
        tracing::warn!(%key, code = %refusal.code, "left {key} for the next deployment: {}", refusal.message);
    }
    Ok(())
}

/// Sends the owed batches.
async fn send(site: &Site, held: &mut HeldHead<'_>, debts: &mut Debts<'_>) -> Result<(), Error> {
    debts.set_distributions(site.clients.cdn.discover().await?);
    debts.split_large(held).await?;
    debts.send_all().await
}

/// Releases the lease, with the manifest if it has changed, and deletes the manifests that it replaces.
///
/// The lease is released although the manifest cannot be saved: the next deployment finds the deleted objects gone.
async fn release(held: &mut HeldHead<'_>, writer: &mut Writer<'_>, debts: &mut Debts<'_>) -> Result<(), Error> {
    let saved = writer.draft.save(held.get_mut().version + 1).await;
    if let Ok(Some(key)) = &saved {
        writer.draft.note_saved(key.clone(), held.get_mut());
    }
    let outdated = held.get_mut().outdated.clone();
    held.release(debts.settled()).await?;
    writer.draft.remove(&outdated).await;
    saved.map(drop)
}
