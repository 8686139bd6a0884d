//! The ledger: a site between two builds, runs that have stopped, and invalidations that are owed.

use chrono::{DateTime, TimeDelta, Utc};
use dropship::deployment::{Head, Owed};
use dropship::error::Error;

use super::finding::Finding;
use crate::stack::Stack;

const SUBJECT: &str = "ledger";

/// A younger batch is owed by a run that is still at work, or is tried again by Lambda.
const LATE: TimeDelta = TimeDelta::minutes(15);

pub async fn check(stack: &Stack) -> Vec<Finding> {
    let read = tokio::try_join!(stack.ledger.head(), stack.ledger.owed());
    let mut findings = super::findings(SUBJECT, read.map(|(head, owed)| judge(&head, &owed, Utc::now())));
    if stack.config.previews.is_some() {
        findings.extend(super::findings(SUBJECT, previews(stack).await));
    }
    findings
}

/// Checks the previews. Whatever is wrong with them, the site works, and their next push or sweep goes on.
async fn previews(stack: &Stack) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for preview in stack.ledger.previews().await? {
        let ledger = stack.ledger.of_site(&stack.config.of_preview(&preview.name));
        let (head, owed) = tokio::try_join!(ledger.head(), ledger.owed())?;
        let name = &preview.name;
        findings.extend(judge(&head, &owed, Utc::now()).into_iter().map(|found| {
            let fix = format!("push to it again, or take it away with `dropship remove {name}`");
            Finding::advice(SUBJECT, format!("preview {name}: {}", found.problem), fix)
        }));
    }
    Ok(findings)
}

fn judge(head: &Head, owed: &[Owed], now: DateTime<Utc>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_at_work = head.lease.as_ref().is_some_and(|lease| lease.until > now);
    if head.is_torn {
        let fix = "push a build, or bring the last one back with `dropship rollback`";
        findings.push(Finding::problem(SUBJECT, "the site is between two builds", fix));
    }
    if let Some(run) = head.unfinished.last().filter(|_| !is_at_work) {
        findings.push(Finding::problem(
            SUBJECT,
            format!("run {} ({}) has not finished, and nothing is at work", run.number, run.upload.deployment),
            "`dropship redrive` may have its event; otherwise push again, or roll back",
        ));
    }
    let late = owed.iter().filter(|batch| batch.recorded_at.is_none_or(|at| now - at > LATE));
    let distributions: Vec<&str> = late.map(|batch| batch.distribution.as_str()).collect();
    if let Some(distribution) = distributions.first() {
        findings.push(Finding::problem(
            SUBJECT,
            format!(
                "CloudFront has not accepted {} invalidations for over 15 minutes, the oldest on {distribution}: viewers \
                 may see stale pages",
                distributions.len()
            ),
            "push again, or wait for the sweep; docs/runbook.md, \"Quota full\", says what holds them up",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use dropship::deployment::{DeploymentId, RunId};
    use dropship::invalidation::Batch;

    use super::*;

    fn owed(recorded_at: DateTime<Utc>) -> Owed {
        let run = RunId { deployment: DeploymentId::named("20261122T101500Z-0123456789ab"), number: 1 };
        let batch = Batch {
            distribution: "E1".to_owned(),
            reference: "r".to_owned(),
            items: vec!["/a".to_owned()],
            after_deletes: false,
            relies_on: None,
        };
        Owed::new(batch, &run, recorded_at)
    }

    #[test]
    fn only_late_batches_and_torn_sites_are_problems() {
        let now = Utc::now();
        assert_eq!(judge(&Head::default(), &[owed(now)], now), []);
        let late = judge(&Head::default(), &[owed(now - TimeDelta::minutes(16)), owed(now)], now);
        assert!(late[0].problem.starts_with("CloudFront has not accepted 1 invalidations"), "{late:?}");
        let torn = Head { is_torn: true, ..Head::default() };
        assert_eq!(judge(&torn, &[], now).len(), 1);
    }
}
