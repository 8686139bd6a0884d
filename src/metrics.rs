//! The metrics of an invocation, which CloudWatch extracts from the function's log lines.
//!
//! A line in the embedded metric format (CloudWatch user guide, "Specification: Embedded metric format") is JSON whose
//! member `_aws` says which of the other members are metrics, and which are their dimensions. The line that reports a
//! deployment to people therefore also feeds alarms and dashboards. It takes no call and no permission, and a line and
//! its metric cannot contradict each other.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::report::{Outcome, Report};

/// A metric's name, and its unit in CloudWatch's words.
type Named = (&'static str, &'static str);

/// The metrics' namespace in CloudWatch.
const NAMESPACE: &str = "dropship";

/// The metrics of a deployment, named like their members of the log line.
///
/// CloudWatch charges for each of them per site and month, so these are only the ones that dashboard and alarms use.
const METRICS: &[Named] = &[
    ("new", "Count"),
    ("changed", "Count"),
    ("headers", "Count"),
    ("deleted", "Count"),
    ("drift", "Count"),
    ("bytesRead", "Bytes"),
    ("bytesWritten", "Bytes"),
    ("paths", "Count"),
    ("durationMs", "Milliseconds"),
];

/// The metrics of a sweep.
const SWEEP_METRICS: &[Named] = &[("deleted", "Count"), ("paths", "Count")];

/// Counts the log lines per outcome.
const DEPLOYMENTS: Named = ("deployments", "Count");

/// Counts the invocations that fail for a preview alone.
const FAILED_ATTEMPTS: Named = ("failedAttempts", "Count");

/// The age of the oldest owed invalidation; 0 if none is owed.
const OWED: Named = ("owedSeconds", "Seconds");

/// The state of the site when the log lines are written.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    pub now: DateTime<Utc>,
    /// When the invocation began.
    pub began: DateTime<Utc>,
    /// `None` if the ledger could not be read.
    pub owed_seconds: Option<u64>,
}

/// A log line for people and for CloudWatch.
#[derive(Serialize)]
struct Line<'a, T> {
    #[serde(flatten)]
    subject: &'a T,
    deployments: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<usize>,
    #[serde(rename = "owedSeconds", skip_serializing_if = "Option::is_none")]
    owed_seconds: Option<u64>,
    /// The site whose preview the line is about.
    #[serde(rename = "previewsOf", skip_serializing_if = "Option::is_none")]
    previews_of: Option<&'a str>,
    #[serde(rename = "failedAttempts", skip_serializing_if = "Option::is_none")]
    failed_attempts: Option<u8>,
    #[serde(rename = "_aws")]
    metadata: Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    /// Milliseconds since the Unix epoch.
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: Vec<Vec<&'static str>>,
    metrics: Vec<Metric>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

/// Returns the line of a deployment that did not fail; `live` is the live site.
///
/// The metrics of all previews have one dimension together, `previewsOf`. So those of the live site stay its own, and a
/// branch costs no metric more.
pub fn of_report(report: &Report, live: &str, moment: Moment) -> Option<String> {
    let items = report.invalidations.iter().map(|sent| sent.items);
    let counts = match report.outcome {
        Outcome::Deployed | Outcome::Unchanged | Outcome::RolledBack => METRICS,
        // A sweep's duration says nothing about a deployment's.
        Outcome::Swept | Outcome::Removed => SWEEP_METRICS,
        // These change nothing: neither a dry run nor an event that was turned away.
        Outcome::Superseded | Outcome::Duplicate | Outcome::InProgress | Outcome::Planned | Outcome::Ignored => &[],
    };
    let previews_of = report.preview.is_some().then_some(live);
    line(&report.bounded(), counts, Some(items.sum()), previews_of, moment)
}

/// Returns the line of a failure, whose members include `site` and `outcome`.
pub fn of_failure(failure: &impl Serialize, moment: Moment) -> Option<String> {
    line(failure, &[], None, None, moment)
}

/// Returns the line of the failure of a preview of the site `live`.
///
/// `fails_invocation` says whether the invocation fails for nothing else. Then a metric counts it at the time at which the
/// invocation began, as Lambda counts its errors: an alarm subtracts one from the other, period by period.
pub fn of_previews_failure(
    failure: &impl Serialize,
    live: &str,
    fails_invocation: bool,
    moment: Moment,
) -> Option<String> {
    let counts: &[Named] = if fails_invocation { &[FAILED_ATTEMPTS] } else { &[] };
    line(failure, counts, None, Some(live), Moment { now: moment.began, ..moment })
}

fn line(
    subject: &impl Serialize,
    counts: &[Named],
    paths: Option<usize>,
    previews_of: Option<&str>,
    moment: Moment,
) -> Option<String> {
    let mut site_metrics = counts.to_vec();
    // What a preview owes sets off no alarm.
    let owed_seconds = moment.owed_seconds.filter(|_| previews_of.is_none());
    if owed_seconds.is_some() {
        site_metrics.push(OWED);
    }
    let dimension = if previews_of.is_some() { "previewsOf" } else { "site" };
    let line = Line {
        subject,
        deployments: 1,
        paths,
        owed_seconds,
        previews_of,
        failed_attempts: counts.contains(&FAILED_ATTEMPTS).then_some(1),
        metadata: Metadata {
            timestamp: moment.now.timestamp_millis(),
            cloud_watch_metrics: vec![
                directive(&[dimension], &site_metrics),
                directive(&[dimension, "outcome"], &[DEPLOYMENTS]),
            ]
            .into_iter()
            .filter(|directive| !directive.metrics.is_empty())
            .collect(),
        },
    };
    // Strings and numbers always serialise.
    serde_json::to_string(&line).ok()
}

fn directive(dimensions: &[&'static str], metrics: &[Named]) -> Directive {
    Directive {
        namespace: NAMESPACE,
        dimensions: vec![dimensions.to_vec()],
        metrics: metrics.iter().map(|&(name, unit)| Metric { name, unit }).collect(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, TimeZone};
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;
    use crate::preview::PreviewName;
    use crate::report::Invalidated;

    fn moment(owed_seconds: Option<u64>) -> Moment {
        let now = Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap();
        Moment { now, began: now - TimeDelta::minutes(10), owed_seconds }
    }

    fn report(outcome: Outcome) -> Report {
        let sent = |items| Invalidated {
            distribution_id: "E1EXAMPLE".to_owned(),
            id: None,
            caller_reference: "r".to_owned(),
            items,
            wildcards: 0,
            completed: None,
        };
        Report {
            outcome,
            new: 66,
            changed: 2,
            drift: 1,
            bytes_written: 19_600_000,
            invalidations: vec![sent(3), sent(4)],
            duration_ms: 2_140,
            ..Report::ignored("my-site".to_owned())
        }
    }

    fn parsed(line: Option<String>) -> Value {
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    /// Returns the names of a line's metrics, each with its dimensions.
    fn metrics(line: &Value) -> Vec<String> {
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        let of = |directive: &Value| {
            let dimensions = directive["Dimensions"][0].to_string();
            let metrics = directive["Metrics"].as_array().unwrap().clone();
            let named = metrics.into_iter();
            named.map(move |metric| format!("{} {dimensions}", metric["Name"].as_str().unwrap()))
        };
        directives.iter().flat_map(of).collect()
    }

    /// Asserts what the specification requires. CloudWatch drops the metrics of other lines silently.
    fn assert_well_formed(line: &Value) {
        assert!(line["_aws"]["Timestamp"].is_i64());
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            for dimension in directive["Dimensions"][0].as_array().unwrap() {
                let value = &line[dimension.as_str().unwrap()];
                assert!(value.is_string(), "dimension {dimension}: {value}");
            }
            for metric in directive["Metrics"].as_array().unwrap() {
                let value = &line[metric["Name"].as_str().unwrap()];
                assert!(value.is_number(), "metric {metric}: {value}");
            }
        }
    }

    #[test]
    fn a_deployment_counts_its_changes() {
        let line = parsed(of_report(&report(Outcome::Deployed), "my-site", moment(Some(0))));
        assert_well_formed(&line);
        assert_eq!(line["paths"], 7);
        assert_eq!(line["_aws"]["Timestamp"], 1_795_342_500_000_i64);
        assert_snapshot!(metrics(&line).join("\n"), @r#"
        new ["site"]
        changed ["site"]
        headers ["site"]
        deleted ["site"]
        drift ["site"]
        bytesRead ["site"]
        bytesWritten ["site"]
        paths ["site"]
        durationMs ["site"]
        owedSeconds ["site"]
        deployments ["site","outcome"]
        "#);
        assert_snapshot!(line["_aws"]["CloudWatchMetrics"][1], @r#"{"Dimensions":[["site","outcome"]],"Metrics":[{"Name":"deployments","Unit":"Count"}],"Namespace":"dropship"}"#);
    }

    #[test]
    fn an_event_that_changes_nothing_is_counted_once_and_has_no_counts() {
        for outcome in
            [Outcome::Planned, Outcome::Superseded, Outcome::Duplicate, Outcome::InProgress, Outcome::Ignored]
        {
            let line = parsed(of_report(&report(outcome), "my-site", moment(Some(7))));
            assert_well_formed(&line);
            let expected = [r#"owedSeconds ["site"]"#, r#"deployments ["site","outcome"]"#];
            assert_eq!(metrics(&line), expected, "{outcome:?}");
            assert_eq!(line["owedSeconds"], 7);
        }
    }

    #[test]
    fn a_sweep_counts_its_deletes_and_paths() {
        let line = parsed(of_report(&report(Outcome::Swept), "my-site", moment(Some(0))));
        assert_well_formed(&line);
        assert_snapshot!(metrics(&line).join("\n"), @r#"
        deleted ["site"]
        paths ["site"]
        owedSeconds ["site"]
        deployments ["site","outcome"]
        "#);
    }

    #[test]
    fn a_failure_is_counted_even_if_the_ledger_cannot_be_read() {
        let failure = json!({"site": "my-site", "outcome": "failed"});
        let line = parsed(of_failure(&failure, moment(None)));
        assert_well_formed(&line);
        assert_eq!(metrics(&line), [r#"deployments ["site","outcome"]"#]);
        assert!(line.get("owedSeconds").is_none() && line.get("paths").is_none());
    }

    #[test]
    fn the_metrics_of_all_previews_have_a_dimension_of_their_own() {
        let report = Report { preview: PreviewName::parse("pr-7"), ..report(Outcome::Deployed) };
        let line = parsed(of_report(&report, "my-site", moment(Some(900))));
        assert_well_formed(&line);
        assert_eq!(line["previewsOf"], "my-site");
        let all = metrics(&line);
        assert!(all.iter().all(|metric| metric.contains("previewsOf") && !metric.contains("\"site\"")), "{all:?}");
        assert!(line.get("owedSeconds").is_none(), "what a preview owes sets off no alarm");

        let failure = json!({"site": "my-site", "outcome": "failed"});
        let line = parsed(of_previews_failure(&failure, "my-site", false, moment(Some(900))));
        assert_well_formed(&line);
        assert_eq!(metrics(&line), [r#"deployments ["previewsOf","outcome"]"#]);
        let line = parsed(of_previews_failure(&failure, "my-site", true, moment(Some(900))));
        assert_well_formed(&line);
        let expected = [r#"failedAttempts ["previewsOf"]"#, r#"deployments ["previewsOf","outcome"]"#];
        assert_eq!(metrics(&line), expected);
        let began = moment(None).began.timestamp_millis();
        assert_eq!(line["_aws"]["Timestamp"], began, "Lambda counts an error at the time of its invocation");
    }
}
