//! The state in which every schedule must end.

use std::collections::BTreeSet;

use dropship::deployment::DeploymentId;
use dropship::event::Event;
use dropship::report::Outcome;
use serde_json::Value;

use super::schedule::{Answer, Build, Handler};
use crate::build::Files;
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage};

/// Checks a site whose handlers have all had an answer.
///
/// The live build is that of the highest run that went live. Without a replay that is the newest upload. With a
/// replay, it is the newest upload or the replayed one, whichever took the site later.
pub async fn check(stage: &Stage, builds: &[Build], handlers: &[Handler], answers: &[Answer]) -> Result<(), String> {
    let site = stage.site("check").await;
    let ledger = &site.clients.ledger;
    let head = ledger.head().await.map_err(|error| error.to_string())?;
    let last = answers.iter().filter(|answer| went_live(answer.outcome)).max_by_key(|answer| answer.run);
    let newest = builds.len() - 1;
    let live = last.map_or(newest, |answer| answer.build);
    let replayed = handlers.iter().find(|handler| handler.is_replay);
    let is_replayed = replayed.is_some_and(|handler| handler.build == live);
    if live != newest && !is_replayed {
        return Err(format!("build {live} went live last: {answers:?}"));
    }
    if let Some(handler) = replayed
        && live == newest
        && let Some(replay) = answers.iter().find(|it| it.build == handler.build && it.outcome == Outcome::RolledBack)
        && last.is_some_and(|last| last.run < replay.run)
    {
        return Err(format!("the replay did not last: {answers:?}"));
    }
    let objects = stage.cloud.objects(LIVE);
    let bodies: Files = objects.iter().map(|(key, object)| (key.clone(), object.body.to_vec())).collect();
    if bodies != builds[live].files {
        return Err(format!(
            "the live bucket holds {:?} and not build {live}, {:?}: {answers:?}",
            bodies.keys(),
            builds[live].files.keys(),
        ));
    }
    let recorded = head.live.as_ref().map(|run| &run.deployment);
    if recorded != Some(&deployment_id(&builds[live].event)) {
        return Err(format!("the ledger says that {recorded:?} is live"));
    }
    if head.lease.is_some() || !head.unfinished.is_empty() {
        return Err(format!("a lease or a run is left: {head:?}"));
    }
    let owed = ledger.owed().await.map_err(|error| error.to_string())?;
    if !owed.is_empty() {
        return Err(format!("batches are still owed: {owed:?}"));
    }
    let stale = stage.cloud.edge(DISTRIBUTION).stale();
    if !stale.is_empty() {
        return Err(format!("{stale:?} are stale: {answers:?}"));
    }
    let references: Vec<String> =
        stage.cloud.invalidations(DISTRIBUTION).into_iter().map(|it| it.caller_reference).collect();
    if references.iter().collect::<BTreeSet<_>>().len() < references.len() {
        return Err(format!("a caller reference was accepted twice: {references:?}"));
    }
    Ok(())
}

fn went_live(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Deployed | Outcome::Unchanged | Outcome::RolledBack)
}

/// Returns the id of the deployment of an event's only upload.
fn deployment_id(event: &Value) -> DeploymentId {
    match Event::parse(event, STAGING) {
        Ok(Event::Uploads { uploads, .. }) => {
            let uploaded_at = uploads[0].uploaded_at.expect("the event has a time");
            DeploymentId::of(&uploads[0], uploaded_at)
        }
        other => panic!("expected an event of one upload: {other:?}"),
    }
}
