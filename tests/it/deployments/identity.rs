//! The identity of an upload, whatever event tells of it, and the order of uploads.

use chrono::TimeDelta;
use dropship::report::Outcome;
use serde_json::{Value, json};

use super::{first, second};
use crate::build::files;
use crate::stage::{STAGING, Stage, TABLE, report};

/// Returns EventBridge's event for the upload of an S3 notification. Its time has whole seconds, and may be later.
fn of_eventbridge(stage: &Stage, notification: &Value) -> Value {
    let object = &notification["Records"][0]["s3"]["object"];
    json!({
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": (stage.now() + TimeDelta::seconds(1)).format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "detail": {
            "bucket": {"name": STAGING},
            "object": {"key": object["key"], "etag": object["eTag"], "version-id": object["versionId"]},
        },
    })
}

#[tokio::test]
async fn an_upload_has_one_identity_by_whatever_event_it_comes() {
    let stage = Stage::new().await;
    let notification = stage.upload("site.zip", &first());
    let version = notification["Records"][0]["s3"]["object"]["versionId"].clone();
    let by_hand = json!({"Records": [
        {"s3": {"bucket": {"name": STAGING}, "object": {"key": "site.zip", "versionId": version}}},
    ]});
    let one = stage.deploy("one", &notification).await;
    for (request_id, event) in [("bridge", of_eventbridge(&stage, &notification)), ("hand", by_hand.clone())] {
        let again = stage.deploy(request_id, &event).await;
        assert_eq!((&again.id, again.outcome), (&one.id, Outcome::Unchanged), "{request_id}");
    }
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    for (request_id, event) in [("late bridge", of_eventbridge(&stage, &notification)), ("late hand", by_hand)] {
        let again = stage.deploy(request_id, &event).await;
        assert_eq!((&again.id, again.outcome), (&one.id, Outcome::Duplicate), "{request_id}");
    }
    assert_eq!(stage.deployment_records().await.len(), 2);
    stage.assert_live(&second());
}

#[tokio::test]
async fn a_superseded_upload_and_a_refused_one_keep_their_identities_too() {
    let stage = Stage::new().await;
    let early = stage.upload("early.zip", &first());
    stage.pass(TimeDelta::seconds(5));
    stage.deploy("two", &stage.upload("site.zip", &second())).await;
    let superseded = stage.deploy("early", &early).await;
    assert_eq!(superseded.outcome, Outcome::Superseded);
    // By this event's time it would be the newest.
    stage.pass(TimeDelta::minutes(1));
    let again = stage.deploy("bridge", &of_eventbridge(&stage, &early)).await;
    assert_eq!((again.id, again.outcome), (superseded.id, Outcome::Superseded));

    let broken = stage.upload_bytes("broken.zip", b"no zip".to_vec());
    stage.refusal("broken", &broken).await;
    stage.refusal("bridge of broken", &of_eventbridge(&stage, &broken)).await;
    assert_eq!(stage.deployment_records().await.len(), 3);
}

/// A multipart upload's Last-Modified is its initiation, which a person's event takes for the time of the upload.
#[tokio::test]
async fn the_first_event_with_a_time_corrects_that_of_a_hand_written_one() {
    for other_comes_first in [false, true] {
        let stage = Stage::new().await;
        let initiated = stage.now() - TimeDelta::minutes(10);
        let other = stage.upload("other.zip", &first());
        stage.pass(TimeDelta::minutes(1));
        let notification = stage.upload("site.zip", &second());
        stage.cloud.set_modified(STAGING, "site.zip", initiated.into());
        let version = notification["Records"][0]["s3"]["object"]["versionId"].clone();
        let object = json!({"key": "site.zip", "versionId": version});
        let by_hand = json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": object}}]});
        let one = stage.deploy("hand", &by_hand).await;
        let early = if other_comes_first { Some(stage.deploy("other", &other).await.outcome) } else { None };
        let told = stage.deploy("one", &notification).await;
        assert_eq!(told.id, one.id);
        // Whether it has come before or comes now, the other upload is the older one.
        let late = stage.deploy("other", &other).await.outcome;
        assert_eq!(early.unwrap_or(Outcome::Deployed), Outcome::Deployed);
        assert_eq!(late, if other_comes_first { Outcome::Duplicate } else { Outcome::Superseded });
        assert_eq!(stage.deploy("hand again", &by_hand).await.outcome, Outcome::Unchanged);
        stage.assert_live(&second());
    }
}

#[tokio::test]
async fn a_late_event_does_not_bring_a_build_back_that_a_person_has_taken_off() {
    let stage = Stage::new().await;
    stage.deploy("old", &stage.upload("old.zip", &first())).await;
    stage.pass(TimeDelta::minutes(10));
    let initiated = stage.now();
    stage.pass(TimeDelta::minutes(1));
    let between = stage.upload("between.zip", &files([("index.html", "between")]));
    stage.pass(TimeDelta::minutes(1));
    // S3's event is late, so a person deploys by hand, finds the build broken, and goes back.
    let notification = stage.upload("site.zip", &second());
    stage.cloud.set_modified(STAGING, "site.zip", initiated.into());
    let by_hand = json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": {"key": "site.zip"}}}]});
    assert_eq!(stage.deploy("hand", &by_hand).await.outcome, Outcome::Deployed);
    assert_eq!(stage.deploy("undo", &json!({"rollback": "previous"})).await.outcome, Outcome::RolledBack);
    stage.assert_live(&first());
    assert_eq!(stage.deploy("late", &notification).await.outcome, Outcome::Duplicate);
    stage.assert_live(&first());
    // The late event has told the time of that build, which is newer than an upload whose event is even later.
    assert_eq!(stage.deploy("later", &between).await.outcome, Outcome::Superseded);
    stage.assert_live(&first());
    assert_eq!(stage.deploy("late again", &notification).await.outcome, Outcome::Duplicate);
}

#[tokio::test]
async fn two_events_of_one_upload_at_once_become_one_deployment() {
    let stage = Stage::new().await;
    let notification = stage.upload("site.zip", &first());
    let bridge = of_eventbridge(&stage, &notification);
    let (one, two) = tokio::join!(
        stage.invoke_as("one", "one", &notification, TimeDelta::minutes(15)),
        stage.invoke_as("two", "two", &bridge, TimeDelta::minutes(15)),
    );
    let ids = [one, two].map(|handled| report(handled).id);
    assert_eq!(ids[0], ids[1]);
    assert_eq!(stage.deployment_records().await.len(), 1);
}

#[tokio::test]
async fn uploads_of_equal_time_count_by_sequencer_for_one_key_and_by_arrival_otherwise() {
    let stage = Stage::new().await;
    let builds = ["low", "high", "other"].map(|name| files([("index.html", name)]));
    let keys = ["site.zip", "site.zip", "other.zip"];
    let sequencers = ["0055AED6DCD90281E5", "0055AED6DCD90281E6", "0055AED6DCD90281E4"];
    let events: Vec<Value> = (0..3)
        .map(|number| {
            let mut event = stage.upload(keys[number], &builds[number]);
            event["Records"][0]["eventTime"] = json!("2026-11-22T10:15:00.000Z");
            event["Records"][0]["s3"]["object"]["sequencer"] = json!(sequencers[number]);
            event
        })
        .collect();
    assert_eq!(stage.deploy("high", &events[1]).await.outcome, Outcome::Deployed);
    assert_eq!(stage.deploy("low", &events[0]).await.outcome, Outcome::Superseded);
    assert_eq!(stage.deploy("other", &events[2]).await.outcome, Outcome::Deployed);
    assert_eq!(stage.deploy("high again", &events[1]).await.outcome, Outcome::Duplicate);
    stage.assert_live(&builds[2]);
}

/// Removes the items whose time has come, as DynamoDB does.
async fn expire(stage: &Stage) {
    let sdk = stage.cloud.sdk_config_for("expiry").await;
    let client = aws_sdk_dynamodb::Client::new(&sdk);
    for item in stage.ledger_items().await {
        let expires_at = item.get("expires_at").map(|at| at.as_n().unwrap().parse::<i64>().unwrap());
        if expires_at.is_some_and(|at| at < stage.now().timestamp()) {
            let delete = client.delete_item().table_name(TABLE).key("site", item["site"].clone());
            delete.key("item", item["item"].clone()).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_identity_of_a_deployment_that_has_been_live_does_not_expire() {
    let stage = Stage::new().await;
    let notification = stage.upload("site.zip", &first());
    let one = stage.deploy("one", &notification).await;
    stage.pass(TimeDelta::days(400));
    expire(&stage).await;
    let again = stage.deploy("bridge", &of_eventbridge(&stage, &notification)).await;
    assert_eq!((&again.id, again.outcome), (&one.id, Outcome::Unchanged));
}

#[tokio::test]
async fn an_upload_that_an_earlier_release_recorded_gets_its_identity_with_its_next_run() {
    let stage = Stage::new().await;
    let notification = stage.upload("site.zip", &first());
    let one = stage.deploy("one", &notification).await;
    let sdk = stage.cloud.sdk_config_for("earlier").await;
    let client = aws_sdk_dynamodb::Client::new(&sdk);
    for item in
        stage.ledger_items().await.into_iter().filter(|item| item["item"].as_s().unwrap().starts_with("version#"))
    {
        let delete = client.delete_item().table_name(TABLE).key("site", item["site"].clone());
        delete.key("item", item["item"].clone()).send().await.unwrap();
    }
    stage.deploy("duplicate", &notification).await;
    let again = stage.deploy("bridge", &of_eventbridge(&stage, &notification)).await;
    assert_eq!((&again.id, again.outcome), (&one.id, Outcome::Unchanged));
}
