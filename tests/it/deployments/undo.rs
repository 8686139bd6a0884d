//! `{"rollback":"previous"}`, which undoes what was deployed last.

use chrono::TimeDelta;
use dropship::report::Outcome;
use serde_json::{Value, json};
use standins::{Call, Does, Fault};

use crate::build::{Files, files};
use crate::crash::{LEASE_EXPIRED, SHORT};
use crate::scene::Scene;
use crate::stage::interruption::interrupted;
use crate::stage::{Stage, report};

fn build(name: &str) -> Files {
    files([("index.html", name)])
}

fn previous() -> Value {
    json!({"rollback": "previous"})
}

/// Deploys builds of these names, one after the other, and undoes the last one for each `previous`.
async fn deploy_and_undo(steps: &[&str]) -> Stage {
    let stage = Stage::new().await;
    for (number, step) in steps.iter().enumerate() {
        let event = if *step == "previous" { previous() } else { stage.upload("site.zip", &build(step)) };
        stage.deploy(&number.to_string(), &event).await;
    }
    stage
}

#[tokio::test]
async fn previous_is_what_the_live_deployment_has_replaced() {
    deploy_and_undo(&["a", "b", "previous"]).await.assert_live(&build("a"));
    deploy_and_undo(&["a", "b", "previous", "c", "previous"]).await.assert_live(&build("a"));
    deploy_and_undo(&["a", "b", "c", "previous", "previous"]).await.assert_live(&build("a"));
    let stage = deploy_and_undo(&["a", "b", "previous"]).await;
    let failure = stage.invoke("too-far", &previous()).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "BadEvent");
    assert!(failure.error_message.contains("<deployment id>"), "{}", failure.error_message);
}

#[tokio::test]
async fn uploads_of_the_same_second_are_undone_in_the_order_in_which_they_went_live() {
    let stage = Stage::new().await;
    for name in ["a", "b", "c"] {
        let mut event = stage.upload(&format!("{name}.zip"), &build(name));
        event["Records"][0]["eventTime"] = json!("2026-11-22T10:15:00.000Z");
        assert_eq!(stage.deploy(name, &event).await.outcome, Outcome::Deployed);
    }
    for (request_id, name) in [("back", "b"), ("further", "a")] {
        stage.deploy(request_id, &previous()).await;
        stage.assert_live(&build(name));
    }
}

#[tokio::test]
async fn previous_is_the_live_build_while_a_newer_run_is_stuck_half_way() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone();
    let events = ["a", "b", "c"].map(|name| stage.upload("site.zip", &build(name)));
    scene.deliver(&stage, "a", &events[0]).await.unwrap();
    scene.deliver(&stage, "b", &events[1]).await.unwrap();
    stage.cloud.fault(Fault { key: Some("index.html".to_owned()), ..Fault::on("PutObject", Does::DieAfter) });
    assert!(scene.invoke(&stage, "victim", "c", &events[2], SHORT).await.is_none());
    stage.assert_live(&build("c"));
    stage.pass(LEASE_EXPIRED);
    scene.deliver(&stage, "back", &previous()).await.unwrap();
    scene.has_settled(&build("b"), &events[1], None).await.unwrap();
    // The retry of the run that was stuck does not come back, and a second undo goes back once more.
    let late = scene.deliver(&stage, "c", &events[2]).await.unwrap();
    assert_eq!(late.outcome, Outcome::Superseded);
    scene.deliver(&stage, "further", &previous()).await.unwrap();
    scene.has_settled(&build("a"), &events[0], None).await.unwrap();
}

#[tokio::test]
async fn previous_is_what_the_live_build_replaced_while_a_newer_run_has_changed_nothing() {
    let stage = deploy_and_undo(&["a", "b"]).await;
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("ListObjectsV2", Does::refuse(403, "AccessDenied")) });
    let failed = stage.invoke("c", &stage.upload("site.zip", &build("c"))).await.into_answer().unwrap_err();
    assert_eq!(failed.error_type, "Aws");
    stage.cloud.clear_faults();
    stage.deploy("back", &previous()).await;
    stage.assert_live(&build("a"));
}

#[tokio::test]
async fn previous_is_resolved_as_of_the_claim_and_a_retry_keeps_its_target() {
    let stage = deploy_and_undo(&["a", "b"]).await;
    let newer = stage.upload("site.zip", &build("c"));
    // The next build goes live between the look-up of "previous" and the claim.
    let event = previous();
    let undo = stage.invoke_as("undo", "back", &event, TimeDelta::minutes(15));
    let is_claim = |call: &Call| call.client == "undo" && call.operation == "TransactGetItems";
    let deploying = async { assert_eq!(stage.deploy("c", &newer).await.outcome, Outcome::Deployed) };
    let undone = interrupted(&stage.cloud, undo, is_claim, deploying).await;
    assert_eq!(report(undone).outcome, Outcome::RolledBack);
    stage.assert_live(&build("b"));
    // Lambda delivers the event again.
    assert_eq!(stage.deploy("back", &previous()).await.outcome, Outcome::Unchanged);
    stage.assert_live(&build("b"));
}

#[tokio::test]
async fn without_a_distribution_previous_is_the_live_build_too_while_a_newer_run_is_stuck_half_way() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "");
    for name in ["a", "b"] {
        stage.deploy(name, &stage.upload("site.zip", &build(name))).await;
    }
    stage.cloud.fault(Fault { key: Some("index.html".to_owned()), ..Fault::on("PutObject", Does::DieAfter) });
    let stuck = stage.upload("site.zip", &build("c"));
    tokio::select! {
        () = stage.cloud.death("victim") => {}
        _ = stage.invoke_as("victim", "c", &stuck, SHORT) => panic!("it must die"),
    }
    stage.assert_live(&build("c"));
    stage.pass(LEASE_EXPIRED);
    stage.deploy("back", &previous()).await;
    stage.assert_live(&build("b"));
}
