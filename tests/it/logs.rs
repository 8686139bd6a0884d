//! The function's log: every line says which deployment it is about.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use dropship::handler::Handled;
use dropship::log::PrintableLines;
use dropship::metrics::Moment;
use lambda_runtime::tracing::subscriber::{fmt, fmt::MakeWriter};
use serde_json::{Value, json};
use standins::{CLIENT, Does, Fault, Headers};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use crate::build::files;
use crate::stage::{LIVE, Stage};

/// A log that a test reads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Handles one event about two uploads, and logs to `dispatch`.
async fn handle_two_uploads(dispatch: Dispatch) -> Handled {
    // With a single dispatcher, `tracing` caches the answer of the thread that reaches a log line first. That may be the
    // thread of another test, which logs nothing. With a second dispatcher it asks on every thread.
    let _second = Dispatch::new(NoSubscriber::default());
    let stage = Stage::new().await;
    let one = stage.upload("1.zip", &files([("index.html", "one"), ("one.js", "1")]));
    let two = stage.upload("2.zip", &files([("index.html", "two"), ("two.js", "2")]));
    let event = json!({"Records": [one["Records"][0], two["Records"][0]]});
    stage.invoke("request", &event).with_subscriber(dispatch).await
}

#[tokio::test]
async fn the_log_lines_of_two_uploads_in_one_event_can_be_told_apart() {
    let log = Log::default();
    // The function logs like this if `AWS_LAMBDA_LOG_FORMAT` is `JSON`.
    let subscriber = fmt().json().with_writer(log.clone()).finish();
    let handled = handle_two_uploads(Dispatch::new(subscriber)).await;

    let mut lines = BTreeMap::<String, Vec<Value>>::new();
    for line in log.text().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let deployment = line["span"]["deployment"].as_str().unwrap_or_else(|| panic!("no deployment: {line}"));
        lines.entry(deployment.to_owned()).or_default().push(line);
    }
    let answer = handled.into_answer().unwrap();
    assert_eq!(answer.deployments.len(), 2);
    for report in answer.deployments {
        let lines = lines.remove(report.id.as_ref().unwrap().as_str()).unwrap();
        let archives: Vec<&Value> =
            lines.iter().map(|line| &line["fields"]["archive"]).filter(|it| !it.is_null()).collect();
        assert_eq!(archives, [report.archive.unwrap().key.as_str()]);
        let (before_claim, in_run): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["span"]["run"].is_null());
        assert!(!before_claim.is_empty() && in_run.len() > 1, "{lines:#?}");
        assert!(in_run.iter().all(|line| line["span"]["run"] == report.run), "{lines:#?}");
        assert!(lines.iter().all(|line| line["span"]["site"] == report.site), "{lines:#?}");
    }
    assert!(lines.is_empty(), "{lines:#?}");
}

#[tokio::test]
async fn a_line_of_text_begins_with_its_deployment() {
    let log = Log::default();
    // The function logs like this if `AWS_LAMBDA_LOG_FORMAT` is `Text`.
    let subscriber = fmt().without_time().with_target(false).with_writer(log.clone()).finish();
    let handled = handle_two_uploads(Dispatch::new(subscriber)).await;
    let text = log.text();
    for report in handled.into_answer().unwrap().deployments {
        let id = report.id.unwrap();
        let prefix =
            format!("deployment{{site=\"{}\" deployment={} run={}}}: planned", report.site, id.as_str(), report.run);
        assert_eq!(text.matches(&prefix).count(), 1, "{text}");
    }
}

#[tokio::test]
async fn one_plain_line_tells_people_about_each_deployment_and_the_answer_has_it_too() {
    let handled = handle_two_uploads(Dispatch::new(NoSubscriber::default())).await;
    let lines = handled.plain_lines();
    let answer = handled.into_answer().unwrap();
    assert_eq!(answer.text, lines.join(" | "));
    let [first, second] = &lines[..] else { panic!("{lines:?}") };
    let id = answer.deployments[0].id.as_ref().unwrap().as_str();
    assert!(first.starts_with(&format!("deployed {id} (1.zip, run 1): 2 new, 0 changed, ")), "{first}");
    assert!(first.ends_with(" s; https://e1example.cloudfront.net/"), "{first}");
    assert!(second.contains(": 1 new, 1 changed, 0 headers, 1 deleted, 0 kept; 3 items invalidated; "), "{second}");
}

/// A name that forges a metric and recolours the terminal.
const FORGED: &str = "a\r\n{\"_aws\":{}}\u{1b}[31m\u{85}\u{202e}";

/// Whether a text has a character that FORGED abuses.
fn is_forged(text: &str) -> bool {
    text.contains(|char: char| char.is_control() || char == '\u{202e}')
}

#[tokio::test]
async fn no_name_and_no_error_text_begins_a_line_of_its_own() {
    let _second = Dispatch::new(NoSubscriber::default());
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &files([("index.html", "one")]))).await;
    stage.cloud.put_object(LIVE, FORGED, "foreign", Headers::of_type("text/plain"));
    let refusal =
        || Does::Refuse { status: 403, code: "AccessDenied".to_owned(), message: FORGED.replace('\u{1b}', "") };
    let faults = |_| {
        stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("DeleteObject", refusal()) });
        let manifest = Some(".dropship/*".to_owned());
        stage.cloud.fault(Fault { key: manifest, times: usize::MAX, ..Fault::on("PutObject", refusal()) });
    };
    let log = Log::default();
    let writer = PrintableLines(log.clone());
    let subscriber = fmt().without_time().with_target(false).with_writer(writer).finish();
    let event = stage.upload(&format!("{FORGED}.zip"), &files([("index.html", "two")]));
    faults(());
    let handled =
        stage.invoke_as(CLIENT, "two", &event, TimeDelta::minutes(15)).with_subscriber(Dispatch::new(subscriber));
    let handled = handled.await;

    let text = log.text();
    assert!(text.contains("could not save the manifest"), "{text}");
    for line in text.lines() {
        assert!(!is_forged(line) && line.contains("deployment{site="), "{line:?} in {text}");
    }
    for line in handled.plain_lines() {
        assert!(line.starts_with(r"failed (a\u000d\u000a{") && !is_forged(&line), "{line:?}");
    }
    for line in handled.log_lines(Moment { now: stage.now(), began: stage.now(), owed_seconds: None }) {
        let line: Value = serde_json::from_str(&line).unwrap();
        for member in ["key", "errorMessage"] {
            let text = line[member].as_str().unwrap();
            assert!(text.contains(r"a\u000d\u000a{") && !is_forged(text), "{text:?}");
        }
    }
    let failure = handled.into_answer().unwrap_err();
    assert!(!is_forged(&failure.error_message), "{:?}", failure.error_message);

    stage.cloud.clear_faults();
    let report = stage.deploy("three", &event).await;
    assert!(!is_forged(&serde_json::to_string(&report.bounded()).unwrap().replace("\\\\u", "")), "{report:?}");
}
