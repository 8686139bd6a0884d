//! Replays and rollbacks.

use chrono::TimeDelta;
use dropship::report::Outcome;
use serde_json::json;

use super::{first, second};
use crate::build::files;
use crate::stage::{LIVE, STAGING, Stage};

#[tokio::test]
async fn the_recorded_event_rolls_back_and_the_next_upload_goes_live() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    let id = stage.deploy("one", &one).await.id.unwrap();
    stage.deploy("two", &stage.upload("site.zip", &second())).await;

    let record = stage.ledger().await.record(&id).await.unwrap().unwrap();
    let recorded = serde_json::from_str(&record.event).unwrap();
    let report = stage.deploy("recorded", &recorded).await;
    assert_eq!((report.outcome, report.run), (Outcome::RolledBack, 3));
    stage.assert_live(&first());

    let third = files([("index.html", "third")]);
    assert_eq!(stage.deploy("three", &stage.upload("site.zip", &third)).await.outcome, Outcome::Deployed);
    stage.assert_live(&third);
}

#[tokio::test]
async fn a_rollback_to_previous_or_to_an_id_reads_the_exact_version() {
    let stage = Stage::new().await;
    // A handwritten event names no version; the ledger records which one was deployed.
    let uploaded = stage.upload("site.zip", &first());
    let handwritten = json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": {"key": "site.zip"}}}]});
    let one = stage.deploy("one", &handwritten).await;
    assert_eq!(
        one.archive.unwrap().version_id.as_deref(),
        uploaded["Records"][0]["s3"]["object"]["versionId"].as_str()
    );
    stage.pass(TimeDelta::days(400));
    let two = stage.deploy("two", &stage.upload("site.zip", &second())).await;
    assert_eq!(two.outcome, Outcome::Deployed);

    let report = stage.deploy("back", &json!({"rollback": "previous"})).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    stage.assert_live(&first());
    // Lambda's retry of the rollback does not go further back.
    assert_eq!(stage.deploy("back", &json!({"rollback": "previous"})).await.outcome, Outcome::Unchanged);
    stage.assert_live(&first());

    let report = stage.deploy("forth", &json!({"rollback": two.id.unwrap().as_str()})).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    stage.assert_live(&second());
    let failure = stage.invoke("nowhere", &json!({"rollback": "20200101T000000Z-000000000000"})).await.into_answer();
    assert_eq!(failure.unwrap_err().error_type, "BadEvent");
}

#[tokio::test]
async fn a_rollback_to_an_expired_archive_fails_with_advice_and_changes_nothing() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    stage.deploy("one", &one).await;
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    let version = one["Records"][0]["s3"]["object"]["versionId"].as_str().unwrap();
    stage.cloud.expire_version(STAGING, "site.zip", version);
    stage.pass(TimeDelta::minutes(6));
    let before = stage.ledger_items().await;
    stage.cloud.clear_calls();
    let mut replay = one.clone();
    replay["options"] = json!({"replay": true});
    for event in [&json!({"rollback": "previous"}), &replay] {
        let failure = stage.invoke("back", event).await.into_answer().unwrap_err();
        assert_eq!(failure.error_type, "ArchiveGone");
        for part in ["site.zip", version, "upload it again"] {
            assert!(failure.error_message.contains(part), "{}", failure.error_message);
        }
    }
    assert_eq!(stage.ledger_items().await, before);
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    stage.assert_live(&second());
    let third = stage.upload("site.zip", &first());
    assert_eq!(stage.deploy("three", &third).await.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn a_rollback_reaches_a_build_whose_repair_was_overtaken() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    stage.deploy("one", &one).await;
    stage.cloud.delete_object(LIVE, "logo.svg");
    let late = stage.invoke_as("client", "again", &one, TimeDelta::seconds(15)).await;
    let failure = late.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Unfinished");
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    let retried = stage.deploy("again", &one).await;
    assert_eq!(retried.outcome, Outcome::Superseded);

    let report = stage.deploy("back", &json!({"rollback": "previous"})).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    stage.assert_live(&first());
}

#[tokio::test]
async fn no_event_of_any_age_brings_an_old_build_back_unasked() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    stage.deploy("one", &one).await;
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    // S3 delivers it twice, Lambda holds it back for hours, and a person redrives the failure queue.
    let mut failed = one.clone();
    failed["options"] = json!({"replay": true});
    let redriven = json!({"requestPayload": failed});
    for (age, request_id) in [(0, "seconds"), (301, "minutes"), (6 * 3_600, "hours"), (14 * 86_400, "days")] {
        stage.pass(TimeDelta::seconds(age));
        for (event, name) in [(&one, "late"), (&redriven, "redriven")] {
            let report = stage.deploy(&format!("{name} by {request_id}"), event).await;
            assert_eq!(report.outcome, Outcome::Duplicate, "{name} by {request_id}");
            let advice = format!("to bring this build live, send {{\"rollback\":\"{}\"}}", report.id.unwrap());
            assert!(report.warnings.iter().any(|warning| warning.contains(&advice)), "{:?}", report.warnings);
        }
        stage.assert_live(&second());
    }
}

#[tokio::test]
async fn the_advice_of_a_superseded_upload_brings_it_live() {
    let stage = Stage::new().await;
    let one = stage.upload("site.zip", &first());
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    let report = stage.deploy("one", &one).await;
    assert_eq!(report.outcome, Outcome::Superseded);
    let [advice] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
    let (_, event) = advice.split_once("send ").unwrap();
    let report = stage.deploy("back", &serde_json::from_str(event).unwrap()).await;
    assert_eq!(report.outcome, Outcome::RolledBack);
    stage.assert_live(&first());
}
