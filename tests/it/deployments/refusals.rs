//! Refused deployments: they change nothing and say why.

use chrono::TimeDelta;
use dropship::report::Outcome;
use serde_json::json;
use standins::{Call, Distribution, Service};

use super::first;
use crate::build::zipped;
use crate::stage::{LIVE, STAGING, Stage};

#[tokio::test]
async fn a_rejected_archive_changes_nothing_and_is_refused_again_without_being_read() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let mut archive = zipped(&first());
    // The name's last occurrence is in the central directory.
    let at = archive.windows(8).rposition(|window| window == b"logo.svg").unwrap();
    archive[at..at + 8].copy_from_slice(b"../o.svg");
    let event = stage.upload_bytes("2.zip", archive);
    for _ in 0..2 {
        stage.cloud.clear_calls();
        let message = stage.refusal("two", &event).await;
        assert!(message.contains("../o.svg"), "{message}");
        assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    }
    assert!(
        stage.count("GetObject") <= 1,
        "the second time the ledger answers; at most one read of the index has started in parallel"
    );
    stage.assert_live(&first());
}

#[tokio::test]
async fn a_replay_of_a_rejected_archive_repeats_the_rejection_and_changes_nothing() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let mut event = stage.upload_bytes("2.zip", b"no zip".to_vec());
    let message = stage.refusal("two", &event).await;
    let records = stage.deployment_records().await;
    let id = records.iter().find(|it| it.contains_key("rejection")).unwrap()["item"]
        .as_s()
        .unwrap()
        .trim_start_matches("deployment#")
        .to_owned();

    stage.cloud.clear_calls();
    event["options"] = json!({"replay": true});
    for event in [event, json!({"rollback": id})] {
        let again = stage.invoke("three", &event).await.into_answer();
        assert_eq!(again.unwrap_err().error_message, message);
    }
    let calls = stage.cloud.calls();
    // The index is read in parallel with the ledger, before the record is known.
    let is_read = |call: &Call| {
        call.service == Service::DynamoDb || call.operation == "GetObject" && call.bucket.as_deref() == Some(STAGING)
    };
    assert!(calls.iter().all(is_read), "{calls:?}");
    assert_eq!((stage.count("TransactWriteItems"), stage.count("PutItem")), (0, 0));
}

#[tokio::test]
async fn the_error_for_an_expired_archive_version_says_what_to_do() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    let version = event["Records"][0]["s3"]["object"]["versionId"].as_str().unwrap().to_owned();
    stage.cloud.expire_version(STAGING, "site.zip", &version);
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveGone");
    assert!(failure.error_message.contains("upload it again"), "{}", failure.error_message);
}

#[tokio::test]
async fn the_wrong_distribution_is_refused_before_the_first_write() {
    let stage = Stage::new().await;
    stage.cloud.create_distribution(Distribution::of("E2OTHER", "another-bucket"));
    let event = stage.upload("site.zip", &first());
    let failure =
        stage.clone().with("DISTRIBUTION_IDS", "E2OTHER").invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "WrongDistribution");
    assert!(stage.cloud.objects(LIVE).is_empty());
    // The refusal has released the lease: with the right distribution the same event succeeds immediately.
    assert_eq!(stage.deploy("two", &event).await.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn an_event_from_the_future_is_refused_and_shuts_out_no_other() {
    let stage = Stage::new().await;
    let mut event = stage.upload("1.zip", &first());
    event["Records"][0]["eventTime"] = json!((stage.now() + TimeDelta::minutes(6)).to_rfc3339());
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "BadEvent");
    assert!(failure.error_message.contains("1.zip"), "{}", failure.error_message);
    assert_eq!(stage.ledger_items().await.len(), 0);
    event["Records"][0]["eventTime"] = json!((stage.now() + TimeDelta::minutes(4)).to_rfc3339());
    assert_eq!(stage.deploy("one", &event).await.outcome, Outcome::Deployed, "clocks may differ by minutes");
}
