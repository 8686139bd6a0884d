//! Owed batches: their age, their references, and when they leave the ledger.

use chrono::TimeDelta;
use dropship::deployment::Owed;
use dropship::handler::owed_seconds;
use dropship::report::{Outcome, Progress};
use serde_json::{Value, json};
use standins::{CLIENT, Distribution, Does, Fault, Service};

use super::{first, second};
use crate::build::{Files, replaced, zipped};
use crate::scene::{self, ERRORS_CACHED, Scene};
use crate::stage::{DISTRIBUTION, LIVE, Stage};

#[tokio::test]
async fn the_age_of_the_oldest_owed_batch_is_reported_until_it_is_sent() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let age = async || owed_seconds(&stage.site(CLIENT).await, &Progress::default(), stage.now()).await;
    assert_eq!(age().await, Some(0));
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("2.zip", &second());
    let failed = stage.invoke("two", &event).await.into_answer();
    assert_eq!(failed.unwrap_err().error_type, "InvalidationOwed");
    stage.pass(TimeDelta::minutes(16));
    assert_eq!(age().await, Some(960));
    stage.cloud.clear_faults();
    stage.deploy("two", &event).await;
    assert_eq!(age().await, Some(0));
}

#[tokio::test]
async fn the_ledger_is_queried_for_owed_batches_only_if_no_run_has_read_them() {
    let stage = Stage::new().await;
    let one = stage.upload("1.zip", &first());
    stage.deploy("one", &one).await;
    let two = stage.upload("2.zip", &second());
    let recorded_at = stage.now();
    let refused = Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied")) };
    stage.cloud.fault(refused);
    let failed = progress_of(&stage, "two", &two).await;
    assert_eq!(failed.oldest_owed(), Some(Some(recorded_at)));
    stage.pass(TimeDelta::minutes(16));
    let swept = progress_of(&stage, "sweep", &json!({"sweep": true})).await;
    assert_eq!(swept.oldest_owed(), Some(Some(recorded_at)));
    // No invalidation goes to a distribution that has left the configuration, but its batches stay owed.
    let without = stage.clone().with("DISTRIBUTION_IDS", "");
    let elsewhere = progress_of(&without, "two", &two).await;
    assert_eq!(elsewhere.oldest_owed(), Some(Some(recorded_at)));

    stage.cloud.clear_faults();
    let sent = progress_of(&stage, "again", &two).await;
    assert_eq!(sent.oldest_owed(), Some(None));
    stage.cloud.clear_calls();
    let site = stage.site(CLIENT).await;
    for (progress, age) in [(&failed, 960), (&sent, 0)] {
        assert_eq!(owed_seconds(&site, progress, stage.now()).await, Some(age));
    }
    assert_eq!(stage.count("Query"), 0);

    let duplicate = progress_of(&stage, "one", &one).await;
    assert_eq!(duplicate.oldest_owed(), None);
    stage.cloud.clear_calls();
    assert_eq!(owed_seconds(&site, &duplicate, stage.now()).await, Some(0));
    assert_eq!(stage.count("Query"), 1);
}

/// Invokes a cold function and returns the progress that it has noted.
async fn progress_of(stage: &Stage, request_id: &str, event: &Value) -> Progress {
    let progress = Progress::default();
    stage.invoke_on(&stage.site(CLIENT).await, request_id, event, &progress).await;
    progress
}

#[tokio::test]
async fn a_distribution_removed_from_the_configuration_blocks_no_deployment() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone();
    let one = stage.upload("site.zip", &scene::first());
    scene.deliver(&stage, "one", &one).await.unwrap();
    let refused = Fault {
        distribution: Some(ERRORS_CACHED.to_owned()),
        times: usize::MAX,
        ..Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied"))
    };
    stage.cloud.fault(refused);
    let two = stage.upload("site.zip", &scene::second());
    let failed = stage.invoke("two", &two).await.into_answer().unwrap_err();
    assert_eq!(failed.error_type, "InvalidationOwed");
    let owed = stage.ledger().await.owed().await;
    let is_accepted = |owed: &Owed| owed.distribution == DISTRIBUTION && !owed.after_deletes;
    assert!(!owed.unwrap().iter().any(is_accepted), "batches that the other distribution accepted are no longer owed");
    let without = stage.clone().with("DISTRIBUTION_IDS", DISTRIBUTION);
    let report = scene.deliver(&without, "two", &two).await.unwrap();
    assert_eq!(report.outcome, Outcome::Deployed);
    // The batch stays owed: once the distribution is back, it is sent.
    stage.cloud.clear_faults();
    scene.deliver(&stage, "again", &two).await.unwrap();
    scene.has_settled(&scene::second(), &two, None).await.unwrap();
}

/// Four distributions with thousands of stale keys need more batches than fit into one transaction.
#[tokio::test(start_paused = true)]
async fn batches_that_need_two_transactions_never_reuse_a_caller_reference() {
    let stage = Stage::in_virtual_time().await.with("MAX_INVALIDATION_PATHS", "3000");
    let ids = ["E1OF4", "E2OF4", "E3OF4", "E4OF4"];
    for id in ids {
        stage.cloud.create_distribution(Distribution::of(id, LIVE));
    }
    let stage = stage.with("DISTRIBUTION_IDS", &ids.join(","));
    let build = |text: &str| -> Files { (0..3_000).map(|n| (format!("{n}.txt"), text.as_bytes().to_vec())).collect() };
    stage.deploy("one", &stage.upload("site.zip", &build("one"))).await;

    // The archive turns out to contradict itself while the batches are recorded. They are deleted again. The first
    // occurrence of a name is in the local header.
    let contradicting = replaced(zipped(&build("nil")), b"2999.txt", b"2999.tXt", 1);
    let refused = stage.upload_bytes("refused.zip", contradicting);
    let failure = stage.invoke("refused", &refused).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveRejected", "{}", failure.error_message);
    let ledger = stage.ledger().await;
    assert_eq!(ledger.owed().await.unwrap(), []);

    let two = stage.upload("site.zip", &build("two"));
    stage.cloud.clear_calls();
    stage.deploy("two", &two).await;
    let before_put: Vec<String> = stage
        .cloud
        .calls()
        .into_iter()
        .take_while(|call| call.bucket.as_deref() != Some(LIVE) || call.operation != "PutObject")
        .filter(|call| call.service == Service::DynamoDb && call.operation != "TransactGetItems")
        .map(|call| call.operation)
        .collect();
    let transaction = "TransactWriteItems";
    assert_eq!(
        before_put,
        [transaction, "Query", transaction, transaction],
        "the claim, the query of owed batches, and two transactions of new batches"
    );
    for id in ids {
        assert_eq!(stage.cloud.invalidations(id).len(), 1 + 30, "{id}");
    }
    let deployment = ledger.head().await.unwrap().live.unwrap().deployment;
    let record = ledger.record(&deployment).await.unwrap().unwrap();
    assert_eq!(record.batches, 120);
    assert_eq!(ledger.owed().await.unwrap(), []);
}
