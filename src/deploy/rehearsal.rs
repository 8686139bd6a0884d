//! A dry run: the plan of a run, without the run.

use super::attempt::Attempt;
use super::build::Build;
use super::invalidations::{invalidations, warning};
use super::survey::{Live, Survey};
use crate::aws::ledger::Known;
use crate::cache_tag::CacheTags;
use crate::error::Error;
use crate::invalidation::{Distribution, Invalidation};
use crate::listing::Listing;
use crate::plan::{Plan, Put, TagEvidence};
use crate::report::folders::{Fate, by_folder};
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
    report.warnings.extend(survey.live.warning_about_previews());
    report.warnings.extend(distributions.iter().flat_map(|distribution| distribution.warnings.iter().cloned()));
    report.warnings.extend(invalidations.iter().filter_map(|(distribution, it)| warning(config, distribution, it)));
    report.plan = Some(planned(&plan, listing, invalidations));
    Ok(report)
}

fn planned<'p>(plan: &'p Plan<'_>, listing: &Listing, invalidations: Vec<(&Distribution, Invalidation)>) -> Planned {
    let items = invalidations.into_iter().map(|(distribution, invalidation)| PlannedItems {
        distribution_id: distribution.id.clone(),
        count: invalidation.first.list.len() + invalidation.last.list.len(),
        evicted: invalidation.collateral,
        items: [invalidation.first.list, invalidation.last.list].concat(),
    });
    let put = |put: &'p Put<'_>| {
        let fate = if put.replaces.is_some() { Fate::Changed } else { Fate::New };
        (&*put.key, fate, put.entry.size_bytes)
    };
    let puts = plan.puts.iter().map(put);
    let headers = plan.header_changes.iter().map(|change| (&*change.key, Fate::Headers, change.size_bytes));
    let size_bytes = |key: &str| listing.get(key).map_or(0, |object| object.size_bytes);
    let deletes = plan.deletes.iter().map(|delete| (delete.key.as_str(), Fate::Deleted, size_bytes(&delete.key)));
    let touched: Vec<(&str, Fate, u64)> = puts.chain(headers).chain(deletes).collect();
    Planned {
        new: plan.new_keys().into_iter().map(str::to_owned).collect(),
        changed: plan.puts.iter().filter(|put| put.replaces.is_some()).map(|put| put.key.to_string()).collect(),
        headers: plan.header_changes.iter().map(|change| change.key.to_string()).collect(),
        last: plan.entry_points().map(str::to_owned).collect(),
        deleted: plan.deletes.iter().map(|delete| delete.key.clone()).collect(),
        folders: by_folder(&touched),
        items: items.collect(),
    }
}
