//! The undo: a rollback to the deployment that a person means by "previous".

use super::attempt::Attempt;
use super::{Ended, Invocation, Site, deploy, deploy_attempt, deploy_known};
use crate::deployment::{Previous, Record};
use crate::error::Error;
use crate::event::Options;
use crate::report::Report;

/// Brings the previous deployment live.
///
/// It is what the live one has replaced, or what is live itself where a later run has begun to write and not finished.
/// The claim holds only while that is so.
///
/// # Errors
/// `BadEvent` if there is none; those of [`deploy`].
pub async fn undo(site: &Site, options: Options, invocation: &Invocation<'_>) -> Result<Report, Error> {
    let ledger = &site.clients.ledger;
    let options = Options { replay: true, ..options };
    // A retry keeps the target of its first attempt, which may have made another deployment live.
    if let Some(record) = ledger.started_by(invocation.request_id).await? {
        return deploy(site, &record.upload(&site.config.staging_bucket)?, options, invocation).await;
    }
    loop {
        let previous = ledger.head().await?.previous();
        let record = find(site, &previous).await?.ok_or(Error::NoPrevious { site: site.config.site.clone() })?;
        let upload = record.upload(&site.config.staging_bucket)?;
        let attempt = Attempt::identify(site, &upload, Some(record.identity()), options, invocation).await?;
        let attempt = attempt.while_previous_is(previous);
        match Box::pin(deploy_attempt(&attempt)).await? {
            Ended::Report(report) => return Ok(*report),
            Ended::KnownAs(identity) => return deploy_known(site, &upload, Some(identity), options, invocation).await,
            Ended::Moved => {}
        }
    }
}

/// Reads the record of the previous deployment.
async fn find(site: &Site, previous: &Previous) -> Result<Option<Record>, Error> {
    let ledger = &site.clients.ledger;
    match previous {
        Previous::Nothing => Ok(None),
        Previous::Live(live) => ledger.record(live).await,
        Previous::ReplacedBy(live) => match ledger.record(live).await? {
            Some(Record { replaced: Some(replaced), .. }) => ledger.record(&replaced).await,
            // It replaced nothing, or an earlier release brought it live, which did not note what it replaced.
            _ => ledger.live_before(live).await,
        },
    }
}
