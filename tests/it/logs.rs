//! The function's log: every line says which deployment it is about.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use lambda_runtime::tracing::instrument::WithSubscriber;
use lambda_runtime::tracing::subscriber::{self, fmt::MakeWriter};
use serde_json::{Value, json};

use crate::build::files;
use crate::stage::Stage;

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

/// Creates a stage, and one event about two uploads that differ in everything but their site.
async fn two_uploads() -> (Stage, Value) {
    let stage = Stage::new().await;
    let one = stage.upload("1.zip", &files([("index.html", "one"), ("one.js", "1")]));
    let two = stage.upload("2.zip", &files([("index.html", "two"), ("two.js", "2")]));
    let event = json!({"Records": [one["Records"][0], two["Records"][0]]});
    (stage, event)
}

#[tokio::test]
async fn the_log_lines_of_two_uploads_in_one_event_can_be_told_apart() {
    let (stage, event) = two_uploads().await;
    let log = Log::default();
    // As `init_default_subscriber` has it where `AWS_LAMBDA_LOG_FORMAT` is `JSON`.
    let subscriber = subscriber::fmt().json().with_writer(log.clone()).finish();
    let handled = stage.invoke("request", &event).with_subscriber(subscriber).await;
    let answer = handled.into_answer().unwrap();

    let mut lines = BTreeMap::<String, Vec<Value>>::new();
    for line in log.text().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let deployment = line["span"]["deployment"].as_str().unwrap_or_else(|| panic!("no deployment: {line}"));
        lines.entry(deployment.to_owned()).or_default().push(line);
    }
    assert_eq!(answer.deployments.len(), 2);
    for report in answer.deployments {
        let lines = lines.remove(report.id.as_ref().unwrap().as_str()).unwrap();
        let archives: Vec<&Value> =
            lines.iter().map(|line| &line["fields"]["archive"]).filter(|it| !it.is_null()).collect();
        assert_eq!(archives, [report.archive.unwrap().key.as_str()]);
        let has_run = |line: &&Value| !line["span"]["run"].is_null();
        assert!(lines.iter().filter(has_run).count() > 2, "{lines:#?}");
        for line in &lines {
            assert_eq!(line["span"]["site"], report.site, "{line}");
            if has_run(&line) {
                assert_eq!(line["span"]["run"], report.run, "{line}");
            }
        }
    }
    assert!(lines.is_empty(), "{lines:#?}");
}

#[tokio::test]
async fn a_line_of_text_begins_with_its_deployment() {
    let (stage, event) = two_uploads().await;
    let log = Log::default();
    let subscriber = subscriber::fmt().without_time().with_target(false).with_writer(log.clone()).finish();
    let handled = stage.invoke("request", &event).with_subscriber(subscriber).await;
    let text = log.text();
    for report in handled.into_answer().unwrap().deployments {
        let id = report.id.unwrap();
        let prefix =
            format!("deployment{{site=\"{}\" deployment={} run={}}}: planned", report.site, id.as_str(), report.run);
        assert_eq!(text.matches(&prefix).count(), 1, "{text}");
    }
}
