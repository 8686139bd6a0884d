//! Reports and failures in one plain line each, for people: in the log, in notifications and at a terminal.
//!
//! Everything in a line is [printable](crate::printable), and none begins with `{`, as the lines of JSON do.

use std::borrow::Cow;

use super::{Failed, Outcome, Report};
use crate::cut;

/// Returns what became of a deployment or a sweep, such as
/// `deployed 20261122T101500Z-3fb1c65a90d2 (uploads/site.zip, run 7): 66 new, …; 3 paths invalidated; 2.1 s`.
pub fn of_report(report: &Report) -> String {
    let mut facts = Vec::new();
    match report.outcome {
        Outcome::Deployed | Outcome::Unchanged | Outcome::RolledBack | Outcome::Planned => {
            facts.push(counts(report));
            facts.push(items(report));
        }
        Outcome::Swept | Outcome::Removed => {
            facts.push(format!("{} deleted", report.deleted));
            facts.push(items(report));
        }
        // Nothing was done, and the warnings say why.
        Outcome::Superseded | Outcome::Duplicate | Outcome::InProgress | Outcome::Ignored => {
            facts.extend(report.warnings.first().map(|reason| cut::text(reason)));
        }
    }
    facts.push(duration(report.duration_ms));
    if report.outcome.has_counts() && !report.warnings.is_empty() {
        facts.push(counted(report.warnings.len(), "warning"));
    }
    facts.extend(report.url.as_deref().map(cut::text));
    format!("{}: {}", subject(report), facts.join("; "))
}

/// Returns what failed and why, such as `failed (uploads/site.zip): LargeDelete: the deployment would remove …`.
pub fn of_failure(failure: &Failed) -> String {
    let Failed { key, error_type, error_message, .. } = failure;
    let key = key.as_deref().map(|key| format!(" ({})", cut::text(key))).unwrap_or_default();
    format!("failed{key}: {error_type}: {}", cut::text(error_message))
}

/// Returns the outcome, with the deployment that it is about.
fn subject(report: &Report) -> String {
    let mut subject = words(report.outcome).to_owned();
    if let Some(name) = &report.preview {
        subject.push_str(&format!(" preview {name}"));
    }
    if let Some(id) = &report.id {
        subject.push_str(&format!(" {}", id.as_str()));
    }
    let archive = report.archive.as_ref().map(|archive| Cow::Owned(cut::text(&archive.key)));
    let run = (report.run > 0).then(|| Cow::Owned(format!("run {}", report.run)));
    let about: Vec<Cow<'_, str>> = archive.into_iter().chain(run).collect();
    if !about.is_empty() {
        subject.push_str(&format!(" ({})", about.join(", ")));
    }
    subject
}

/// Returns an outcome in words.
pub fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Deployed => "deployed",
        Outcome::Unchanged => "unchanged",
        Outcome::RolledBack => "rolled back to",
        Outcome::Superseded => "superseded",
        Outcome::Duplicate => "duplicate",
        Outcome::InProgress => "in progress",
        Outcome::Planned => "planned",
        Outcome::Swept => "swept",
        Outcome::Removed => "removed",
        Outcome::Ignored => "ignored",
    }
}

/// Returns the numbers of objects. Those of rarer verdicts are left out where they are 0.
fn counts(report: &Report) -> String {
    let Report { new, changed, headers, deleted, kept, retained, drift, left_out, .. } = report;
    let mut counts = format!("{new} new, {changed} changed, {headers} headers, {deleted} deleted, {kept} kept");
    for (count, words) in [(*retained as u64, "retained"), (*left_out, "left out"), (*drift as u64, "drifted")] {
        if count > 0 {
            counts.push_str(&format!(", {count} {words}"));
        }
    }
    counts
}

/// Returns how many items were invalidated, or would be.
fn items(report: &Report) -> String {
    match &report.plan {
        Some(plan) => {
            let items = plan.items.iter().map(|of_one| of_one.count).sum();
            format!("{} to invalidate", counted(items, "item"))
        }
        None => {
            let items = report.invalidations.iter().map(|sent| sent.items).sum();
            format!("{} invalidated", counted(items, "item"))
        }
    }
}

fn duration(milliseconds: u64) -> String {
    let tenths = (milliseconds + 50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

fn counted(count: usize, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::deployment::DeploymentId;
    use crate::printable::printable;
    use crate::report::{ArchiveName, Invalidated, Planned, PlannedItems};

    fn report(outcome: Outcome) -> Report {
        let archive =
            ArchiveName { bucket: "staging".to_owned(), key: "uploads/site.zip".to_owned(), version_id: None };
        let sent = |items| Invalidated {
            distribution_id: "E1EXAMPLE".to_owned(),
            id: None,
            caller_reference: "r".to_owned(),
            items,
            wildcards: 0,
            completed: None,
        };
        Report {
            new: 66,
            changed: 2,
            deleted: 66,
            kept: 88,
            url: Some("https://www.example.com/".to_owned()),
            invalidations: vec![sent(3), sent(4)],
            duration_ms: 2_149,
            ..Report::new(DeploymentId::named("20261122T101500Z-3fb1c65a90d2"), 7, "site".to_owned(), outcome, archive)
        }
    }

    #[test]
    fn a_deployment_tells_what_changed_and_where_to_look() {
        let mut report = report(Outcome::Deployed);
        assert_snapshot!(of_report(&report), @"deployed 20261122T101500Z-3fb1c65a90d2 (uploads/site.zip, run 7): 66 new, 2 changed, 0 headers, 66 deleted, 88 kept; 7 items invalidated; 2.1 s; https://www.example.com/");
        report.warnings = vec!["mind the gap".to_owned()];
        (report.retained, report.left_out, report.drift, report.url) = (5, 4, 3, None);
        report.outcome = Outcome::RolledBack;
        assert_snapshot!(of_report(&report), @"rolled back to 20261122T101500Z-3fb1c65a90d2 (uploads/site.zip, run 7): 66 new, 2 changed, 0 headers, 66 deleted, 88 kept, 5 retained, 4 left out, 3 drifted; 7 items invalidated; 2.1 s; 1 warning");
    }

    #[test]
    fn a_plan_tells_what_would_be_invalidated() {
        let mut report = Report { run: 0, invalidations: Vec::new(), ..report(Outcome::Planned) };
        let items = PlannedItems {
            distribution_id: "E1EXAMPLE".to_owned(),
            count: 1,
            items: vec!["/".to_owned()],
            ..PlannedItems::default()
        };
        report.plan = Some(Planned { items: vec![items], ..Planned::default() });
        assert_snapshot!(of_report(&report), @"planned 20261122T101500Z-3fb1c65a90d2 (uploads/site.zip): 66 new, 2 changed, 0 headers, 66 deleted, 88 kept; 1 item to invalidate; 2.1 s; https://www.example.com/");
    }

    #[test]
    fn what_changed_nothing_says_why() {
        let nothing = Report::ignored("site".to_owned());
        assert_snapshot!(of_report(&nothing), @"ignored: 0.0 s");
        let swept = Report { outcome: Outcome::Swept, deleted: 3, duration_ms: 51, ..nothing };
        assert_snapshot!(of_report(&swept), @"swept: 3 deleted; 0 items invalidated; 0.1 s");
        let warnings = vec!["a newer upload has taken the site".to_owned()];
        let superseded = Report { warnings, url: None, ..report(Outcome::Superseded) };
        assert_snapshot!(of_report(&superseded), @"superseded 20261122T101500Z-3fb1c65a90d2 (uploads/site.zip, run 7): a newer upload has taken the site; 2.1 s");
    }

    #[test]
    fn a_failure_says_which_archive_and_what_to_do() {
        let mut failed = Failed {
            of_preview: false,
            key: Some("uploads/site.zip".to_owned()),
            error_type: "Busy",
            error_message: "wait".to_owned(),
        };
        assert_snapshot!(of_failure(&failed), @"failed (uploads/site.zip): Busy: wait");
        failed.key = None;
        assert_snapshot!(of_failure(&failed), @"failed: Busy: wait");
    }

    proptest! {
        #[test]
        fn a_line_stays_one_line_of_text(key in "(?s:.){0,20}", message in "(?s:.){0,20}") {
            let mut about = report(Outcome::Superseded);
            about.archive.as_mut().unwrap().key.clone_from(&key);
            about.warnings = vec![message.clone()];
            let failed = Failed { of_preview: false, key: Some(key), error_type: "Aws", error_message: message };
            for line in [of_report(&about), of_failure(&failed)] {
                prop_assert_eq!(printable(&line), line.as_str());
                let is_json = line.starts_with('{');
                prop_assert!(!is_json);
            }
        }
    }
}
