//! Answers, log lines, records and errors that an archive or an event could make too long.

use std::fmt::Write;

use chrono::DateTime;
use dropship::handler::Handled;
use dropship::metrics::Moment;
use dropship::report::Outcome;
use serde_json::{Value, json};
use standins::Headers;

use super::first;
use crate::build::{Files, files};
use crate::stage::{LIVE, Stage};

/// Checks that no line and no answer is over 100 KB, apart from a line's metrics; returns the answer.
#[track_caller]
fn short_answer(handled: Handled) -> Value {
    let moment = Moment { now: DateTime::UNIX_EPOCH, began: DateTime::UNIX_EPOCH, owed_seconds: Some(0) };
    for line in handled.log_lines(moment) {
        assert!(line.len() <= 102_000, "a line of {} bytes", line.len());
    }
    let answer = serde_json::to_value(handled.into_answer().unwrap()).unwrap();
    assert!(answer.to_string().len() <= 100_000, "an answer of {} bytes", answer.to_string().len());
    answer["deployments"][0].clone()
}

#[tokio::test]
async fn a_headers_file_with_thousands_of_faults_finishes_its_run() {
    let mut headers = "/*\n".to_owned();
    for number in 0..16_000 {
        writeln!(headers, "  X-{number:030}: v").unwrap();
    }
    assert!(headers.len() > 600_000);
    let build = files([("_headers", headers.as_str()), ("index.html", "page")]);
    let stage = Stage::new().await;
    let answer = short_answer(stage.invoke("one", &stage.upload("1.zip", &build)).await);
    assert_eq!(answer["outcome"], json!(Outcome::Deployed));
    let warning = answer["warnings"][0].as_str().unwrap();
    assert!(warning.contains("and 15990 more"), "{warning}");

    let faulty = headers.replace(": v", "");
    let build = files([("_headers", faulty.as_str()), ("index.html", "page")]);
    let message = stage.refusal("two", &stage.upload("2.zip", &build)).await;
    assert!(message.len() < 5_000 && message.contains("and 15990 more"), "{message}");
}

#[tokio::test]
async fn a_dry_run_of_a_large_change_lists_as_much_as_fits() {
    let stage = Stage::new().await.with("MAX_INVALIDATION_PATHS", "3000");
    let name = |number: usize| format!("{}/{number}.html", "n".repeat(200));
    for number in 0..500 {
        stage.cloud.put_object(LIVE, &name(number), "old", Headers::of_type("text/html"));
    }
    let build: Files = (400..1_000).map(|number| (name(number), b"new".to_vec())).collect();
    let mut event = stage.upload("1.zip", &build);
    event["options"] = json!({"dryRun": true});
    let answer = short_answer(stage.invoke("one", &event).await);
    assert_eq!((&answer["new"], &answer["changed"], &answer["deleted"]), (&json!(500), &json!(100), &json!(400)));
    for list in ["new", "deleted"] {
        let list = answer["plan"][list].as_array().unwrap();
        let last = list.last().unwrap().as_str().unwrap();
        assert!(list.len() > 50 && last.starts_with("and ") && last.ends_with(" more"), "{last}");
    }
}

#[tokio::test]
async fn an_event_that_the_ledger_cannot_keep_is_refused() {
    let stage = Stage::new().await;
    let mut event = stage.upload("1.zip", &first());
    event["Records"][0]["comment"] = json!("x".repeat(90_000));
    stage.deploy("one", &event).await;
    let mut event = stage.upload("2.zip", &first());
    event["Records"][0]["comment"] = json!("x".repeat(500_000));
    let failure = stage.invoke("two", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "BadEvent");
    assert!(failure.error_message.len() < 500, "{}", failure.error_message);
    // A key may not make the error long either.
    event["Records"][0]["s3"]["object"]["key"] = json!("%zz".repeat(100_000));
    let failure = stage.invoke("three", &event).await.into_answer().unwrap_err();
    assert!(failure.error_message.len() < 5_000);
}
