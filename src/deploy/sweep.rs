//! A sweep: no deployment, but what one would do on the side, for a site that is not deployed for a while.
//!
//! Objects that were kept for clients with old pages are deleted when they are due, and invalidations that are
//! still owed are sent. A deployment does both by itself, so that a sweep never waits for one.

use futures_util::future::join_all;

use super::sending::{Sender, Sending};
use super::{Invocation, Site};
use crate::aws::bucket::DELETES_PER_CALL;
use crate::aws::ledger::{Commit, Owed};
use crate::config::Prune;
use crate::deployment::{Head, LEASE_GRACE};
use crate::error::Error;
use crate::event::Options;
use crate::listing;
use crate::manifest::{Manifest, Row};
use crate::plan::is_due;
use crate::report::{Outcome, Planned, Report};

/// Deletes what is due, and sends what is owed.
///
/// # Errors
/// `WrongDistribution`, `InvalidationOwed`, `Aws`; what was done before an error is kept.
pub async fn sweep(site: &Site, options: Options, invocation: &Invocation<'_>) -> Result<Report, Error> {
    let started_at = invocation.now();
    let mut report = Report::ignored(site.config.site.clone());
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
    let (manifest, owed) = tokio::try_join!(site.clients.manifests.load(head.manifest.as_deref()), ledger.owed())?;
    let tell_owed = |owed: &mut dyn Iterator<Item = &Owed>| {
        let recorded_at = owed.filter_map(|owed| owed.recorded_at);
        invocation.progress.note_owed(recorded_at.min());
    };
    tell_owed(&mut owed.iter());
    let due = due(site, &head, &manifest, invocation.now().timestamp());
    report.retained = manifest.iter().filter(|(_, row)| row.removed_at.is_some()).count() - due.len();
    if options.dry_run {
        report.deleted = due.len();
        report.plan = Some(Planned { deleted: due.into_iter().map(|(key, _)| key).collect(), ..Planned::default() });
        return Ok(Outcome::Planned);
    }
    if due.is_empty() && owed.is_empty() {
        return Ok(Outcome::Swept);
    }
    if head.is_held_by_another(invocation.request_id, invocation.now()) {
        return Ok(Outcome::InProgress);
    }
    let until = invocation.deadline + LEASE_GRACE;
    let held = head.swept_by(invocation.request_id, until);
    if ledger.commit(&head, &held, None, &[], &[]).await? == Commit::Lost {
        return Ok(Outcome::InProgress);
    }
    let mut gone = Vec::new();
    let result = delete(site, invocation, &due, &mut gone).await;
    report.deleted = gone.len();
    let mut manifest = manifest;
    manifest.change(gone);
    let distributions = site.clients.cdn.discover().await;
    let sending = match &distributions {
        Ok(distributions) => {
            let sender = Sender { site, invocation, distributions };
            sender.send(owed).await
        }
        Err(_) => Sending::default(),
    };
    report.invalidations = sending.sent;
    let changed = (report.deleted > 0).then_some(&manifest);
    release(site, held, changed, &sending.settled).await?;
    if distributions.is_ok() {
        tell_owed(&mut sending.remaining.iter().chain(&sending.elsewhere));
    }
    result?;
    distributions?;
    match sending.reason {
        None => Ok(Outcome::Swept),
        Some(reason) => Err(Error::InvalidationOwed { batches: sending.remaining.len(), reason }),
    }
}

/// What has been kept for long enough. While a run is unfinished the manifest may call removed what the run
/// has brought back, so that nothing is.
fn due(site: &Site, head: &Head, manifest: &Manifest, now: i64) -> Vec<(String, Row)> {
    if head.unfinished.is_some() || site.config.prune == Prune::Off {
        return Vec::new();
    }
    let days = site.config.retain_removed_days;
    let is_due = |row: &Row| row.removed_at.is_some_and(|at| is_due(at, days, now));
    let due = manifest.iter().filter(|(_, row)| is_due(row));
    due.collect()
}

/// Deletes objects that are as they were left, and adds their keys to `gone`. A cache holds of them what every
/// page that names them wants, so that nothing is invalidated.
async fn delete<'k>(
    site: &Site,
    invocation: &Invocation<'_>,
    due: &'k [(String, Row)],
    gone: &mut Vec<(&'k str, Option<Row>)>,
) -> Result<(), Error> {
    for chunk in due.chunks(DELETES_PER_CALL) {
        if invocation.is_late() {
            break;
        }
        let keys: Vec<_> = chunk.iter().map(|(key, row)| (key.as_str(), Some(&row.etag))).collect();
        let remaining = site.clients.bucket.delete(&keys).await?;
        for (key, _) in chunk {
            match remaining.iter().find(|remaining| remaining.key == *key) {
                None => gone.push((key, None)),
                Some(remaining) => tracing::warn!(
                    %key, code = %remaining.code, "kept, for the next deployment to look at: {}", remaining.message
                ),
            }
        }
    }
    Ok(())
}

/// Gives the lease back, with the manifest where it has changed, and forgets what is owed no more.
async fn release(site: &Site, held: Head, manifest: Option<&Manifest>, settled: &[Owed]) -> Result<(), Error> {
    let mut released = held.released();
    let mut outdated = Vec::new();
    if let Some(manifest) = manifest {
        let key = site.clients.manifests.save(manifest, released.version).await?;
        released.list_at = listing::ends(manifest);
        outdated = std::mem::take(&mut released.outdated);
        outdated.extend(released.manifest.replace(key));
    }
    let ledger = &site.clients.ledger;
    let committed = ledger.commit(&held, &released, None, &[], settled);
    if committed.await? == Commit::Done {
        let manifests = &site.clients.manifests;
        join_all(outdated.iter().map(|key| manifests.remove(key))).await;
    }
    Ok(())
}
