//! A dry run: the plan of a run, without the run.

use super::attempt::Attempt;
use super::build::Build;
use super::invalidations::{invalidations, warning};
use super::survey::{Live, Survey};
use crate::aws::ledger::Known;
use crate::cache_tag::CacheTags;
use crate::error::Error;
use crate::invalidation::{Distribution, Invalidation};
use crate::plan::{Plan, TagEvidence};
use crate::report::{Outcome, Planned, PlannedItems, Report};

/// Reports what a run would do. It changes nothing, not even in the ledger.
///
/// # Errors
/// Those that the run would meet before its first write.
pub(super) async fn rehearse(attempt: &Attempt<'_>) -> Result<Report, Error> {
    let build = Build::read(attempt).await?;
    let config = &attempt.site.config;
    let Known { head, record, .. } = attempt.site.clients.ledger.read(&attempt.place.deployment).await?;
    let live = Live::read(attempt.site, &head).await?;
    let tags = CacheTags::new(&config.site, &live.distributions);
    let rules = attempt.rules(record.as_ref(), &build.headers, &tags);
    let is_late = || attempt.invocation.is_late();
    let transfer = attempt.transfer(&build.archive, &rules, &is_late);
    let survey = Survey::complete(attempt, &build, live, &transfer, &rules).await?;
    let plan = survey.plan(&build.index, &rules)?;
    transfer.preflight(&plan.puts).await?;

    let Live { listing, manifest, distributions, .. } = &survey.live;
    let mut kept = Vec::new();
    let stale = survey.live.stale(&plan, config, &mut kept);
    let evidence = TagEvidence { listing, manifest, rules: &rules };
    let invalidations = invalidations(config, distributions, &stale, Some(&evidence));

    let mut report = attempt.report(Outcome::Planned, 0);
    report.url = distributions.first().and_then(|distribution| distribution.url(&config.live_prefix));
    build.describe(&plan, &mut report).await;
    report.bytes_read = build.archive.bytes_read();
    report.warnings.extend(plan.drift.warning());
    report.warnings.extend(survey.live.warning(config));
    report.warnings.extend(distributions.iter().flat_map(|distribution| distribution.warnings.iter().cloned()));
    report.warnings.extend(invalidations.iter().filter_map(|(distribution, it)| warning(config, distribution, it)));
    report.plan = Some(planned(&plan, invalidations));
    Ok(report)
}

fn planned(plan: &Plan<'_>, invalidations: Vec<(&Distribution, Invalidation)>) -> Planned {
    let items = invalidations.into_iter().map(|(distribution, invalidation)| PlannedItems {
        distribution_id: distribution.id.clone(),
        items: [invalidation.first.list, invalidation.last.list].concat(),
    });
    Planned {
        new: plan.new_keys().into_iter().map(str::to_owned).collect(),
        changed: plan.puts.iter().filter(|put| put.replaces.is_some()).map(|put| put.key.to_string()).collect(),
        headers: plan.header_changes.iter().map(|change| change.key.to_string()).collect(),
        last: plan.entry_points().map(str::to_owned).collect(),
        deleted: plan.deletes.iter().map(|delete| delete.key.clone()).collect(),
        items: items.collect(),
    }
}
