//! The retention of removed assets, and the sweep that deletes them.

use chrono::TimeDelta;
use dropship::report::{Outcome, Report};
use serde_json::{Value, json};
use standins::{CLIENT, Distribution, Does, Fault, Headers};

use crate::build::{Files, files};
use crate::stage::{DISTRIBUTION, LIVE, Stage};

/// Returns a build whose number is in the names of its files.
fn build(number: u32) -> Files {
    files([
        ("_headers", "/assets/*\n  Cache-Control: public, max-age=31536000, immutable\n"),
        (&format!("assets/app.{number}.js"), "app"),
        (&format!("{number}.txt"), "not immutable"),
        ("index.html", &format!("<script src=/assets/app.{number}.js></script>")),
    ])
}

async fn stage() -> Stage {
    Stage::new().await.with("RETAIN_REMOVED_DAYS", "7")
}

async fn deploy(stage: &Stage, number: u32) -> Report {
    let event = stage.upload(&format!("{number}.zip"), &build(number));
    stage.deploy(&format!("deploy {number} at {}", stage.now()), &event).await
}

async fn sweep(stage: &Stage) -> Report {
    stage.cloud.clear_calls();
    stage.deploy(&format!("sweep at {}", stage.now()), &json!({"sweep": true})).await
}

/// Invokes a function whose process crashes before it puts a key, which may end in `*`.
async fn crash_before_put(stage: &Stage, request_id: &str, event: &Value, key: &str) {
    stage.cloud.fault(Fault { key: Some(key.to_owned()), ..Fault::on("PutObject", Does::DieBefore) });
    tokio::select! {
        _ = stage.invoke(request_id, event) => panic!("the process must crash"),
        () = stage.cloud.death(CLIENT) => {}
    }
    stage.cloud.clear_faults();
    stage.cloud.revive(CLIENT);
}

/// Returns the keys of the live assets.
fn assets(stage: &Stage) -> Vec<String> {
    let keys = stage.cloud.objects(LIVE).into_keys();
    keys.filter(|key| key.starts_with("assets/")).collect()
}

#[tokio::test]
async fn a_removed_asset_is_retained_for_its_days_and_then_swept() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    let report = deploy(&stage, 2).await;
    assert_eq!((report.retained, report.deleted), (1, 1), "the text is not immutable");
    assert_eq!(assets(&stage), ["assets/app.1.js", "assets/app.2.js"]);
    let invalidations = stage.cloud.invalidations(DISTRIBUTION).len();

    stage.pass(TimeDelta::days(7) - TimeDelta::minutes(1));
    let report = sweep(&stage).await;
    assert_eq!((report.outcome, report.deleted, report.retained), (Outcome::Swept, 0, 1));
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    assert_eq!(stage.count("TransactWriteItems"), 0, "a sweep with nothing to do must not write to the ledger");

    stage.pass(TimeDelta::minutes(1));
    let event = json!({"sweep": true, "options": {"dryRun": true}});
    let rehearsed = stage.deploy("rehearsal", &event).await;
    assert_eq!(rehearsed.outcome, Outcome::Planned);
    assert_eq!(rehearsed.plan.unwrap().deleted, ["assets/app.1.js"]);
    assert_eq!(assets(&stage).len(), 2);

    let report = sweep(&stage).await;
    assert_eq!((report.outcome, report.deleted, report.retained), (Outcome::Swept, 1, 0));
    assert_eq!(assets(&stage), ["assets/app.2.js"]);
    assert_eq!(
        stage.cloud.invalidations(DISTRIBUTION).len(),
        invalidations,
        "an immutable asset leaves without an invalidation"
    );
    assert_eq!(stage.manifests().len(), 1);

    let report = deploy(&stage, 2).await;
    assert_eq!((report.outcome, report.drift), (Outcome::Unchanged, 0), "a swept asset must not count as drift");
}

#[tokio::test]
async fn the_next_deployment_deletes_assets_whose_days_are_over() {
    let stage = stage().await;
    for number in [1, 2, 3] {
        deploy(&stage, number).await;
        stage.pass(TimeDelta::days(4));
    }
    assert_eq!(assets(&stage).len(), 3);
    // The second build removed the first asset eight days ago; the third removed the second one four days ago.
    let report = deploy(&stage, 4).await;
    assert_eq!((report.retained, report.deleted), (2, 2));
    assert_eq!(assets(&stage), ["assets/app.2.js", "assets/app.3.js", "assets/app.4.js"]);
}

#[tokio::test]
async fn an_asset_restored_by_a_rollback_is_not_swept() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(6));
    let report = stage.deploy("back", &json!({"rollback": "previous"})).await;
    assert_eq!((report.outcome, report.retained), (Outcome::RolledBack, 1));
    stage.pass(TimeDelta::days(6));
    let report = sweep(&stage).await;
    assert_eq!((report.deleted, report.retained), (0, 1));
    assert_eq!(assets(&stage), ["assets/app.1.js", "assets/app.2.js"]);
    stage.pass(TimeDelta::days(1));
    sweep(&stage).await;
    assert_eq!(assets(&stage), ["assets/app.1.js"], "the asset that the rollback removed is swept after its days");
}

#[tokio::test]
async fn a_retained_asset_that_someone_else_overwrote_is_left_alone() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(8));
    let theirs = Headers::of_type("text/javascript");
    stage.cloud.put_object(LIVE, "assets/app.1.js", "theirs", theirs);
    let report = sweep(&stage).await;
    assert_eq!(report.deleted, 0);
    assert_eq!(assets(&stage).len(), 2);
}

#[tokio::test]
async fn a_sweep_deletes_nothing_while_a_deployment_is_unfinished() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(8));
    // The deployment of a third build crashes halfway. First its lease is left, then only its run.
    let event = stage.upload("3.zip", &build(3));
    crash_before_put(&stage, "three", &event, "index.html").await;
    let report = sweep(&stage).await;
    assert_eq!((report.outcome, report.deleted), (Outcome::InProgress, 0));
    assert_eq!(assets(&stage).len(), 3);

    stage.pass(TimeDelta::minutes(20));
    let report = sweep(&stage).await;
    assert_eq!((report.outcome, report.deleted), (Outcome::Swept, 0));
    assert_eq!(assets(&stage).len(), 3, "the run is still unfinished");
    let report = stage.deploy("three", &event).await;
    assert_eq!((report.outcome, report.retained), (Outcome::Deployed, 1));
    assert_eq!(assets(&stage), ["assets/app.2.js", "assets/app.3.js"]);
}

#[tokio::test]
async fn a_sweep_that_crashed_before_writing_the_manifest_is_completed_by_the_next() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(8));
    crash_before_put(&stage, "crash", &json!({"sweep": true}), ".dropship/*").await;
    assert_eq!(assets(&stage), ["assets/app.2.js"]);
    stage.pass(TimeDelta::minutes(20));
    let report = sweep(&stage).await;
    assert_eq!((report.outcome, report.deleted), (Outcome::Swept, 1));
    let report = deploy(&stage, 2).await;
    assert_eq!((report.outcome, report.drift), (Outcome::Unchanged, 0));
}

#[tokio::test]
async fn a_sweep_deletes_nothing_if_pruning_is_off() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(8));
    let stage = stage.with("PRUNE", "off");
    assert_eq!(sweep(&stage).await.deleted, 0);
    assert_eq!(assets(&stage).len(), 2);
}

#[tokio::test]
async fn a_sweep_that_may_not_delete_fails_and_releases_the_lease() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(8));
    stage.cloud.fault(Fault::on("DeleteObjects", Does::refuse(403, "AccessDenied")));
    let event = json!({"sweep": true});
    let failure = stage.invoke("refused", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    assert_eq!(assets(&stage).len(), 2);
    assert_eq!(sweep(&stage).await.deleted, 1);
}

#[tokio::test]
async fn a_sweep_sends_owed_batches() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    stage
        .cloud
        .fault(Fault { times: usize::MAX, ..Fault::on("CreateInvalidation", Does::refuse(400, "AccessDenied")) });
    let event = stage.upload("2.zip", &build(2));
    let failure = stage.invoke("two", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed");
    let failure = stage.invoke("sweep", &json!({"sweep": true})).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed", "the sweep must fail if it cannot send the batches");
    stage.cloud.clear_faults();
    let report = sweep(&stage).await;
    assert_eq!(report.outcome, Outcome::Swept);
    assert_eq!(report.invalidations.len(), 2, "one batch for the changes, one for the deletions");
    assert_eq!(stage.count("CreateInvalidation"), 2);
    assert_eq!(sweep(&stage).await.invalidations, []);
}

#[tokio::test]
async fn a_sweep_with_the_wrong_distribution_fails_and_keeps_its_progress() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(8));
    let elsewhere = Distribution::of("E2OTHER", "another-bucket");
    stage.cloud.create_distribution(elsewhere);
    let wrong = stage.clone().with("DISTRIBUTION_IDS", "E2OTHER");
    let handled = wrong.invoke("wrong", &json!({"sweep": true})).await;
    let failure = handled.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "WrongDistribution");
    assert_eq!(assets(&stage), ["assets/app.2.js"]);
    // The lease is free, and the manifest no longer lists the deleted asset.
    let report = sweep(&stage).await;
    assert_eq!((report.outcome, report.deleted), (Outcome::Swept, 0));
}

#[tokio::test]
async fn a_sweep_near_its_deadline_starts_no_more_deletes_and_the_next_one_continues() {
    let stage = stage().await;
    let mut many = build(1);
    many.extend((0..1_000).map(|n| (format!("assets/{n}.js"), b"app".to_vec())));
    stage.deploy("many", &stage.upload("1.zip", &many)).await;
    let mut few = stage.upload("2.zip", &build(2));
    few["options"] = json!({"allowLargeDelete": true});
    assert_eq!(stage.deploy("few", &few).await.retained, 1_001);
    stage.pass(TimeDelta::days(8));

    stage.cloud.clear_calls();
    let is_late = || stage.count("DeleteObjects") > 0;
    let handled = stage.invoke_late_once("late", &json!({"sweep": true}), is_late).await;
    let report = crate::stage::report(handled);
    assert_eq!((report.outcome, report.deleted), (Outcome::Swept, 1_000));
    assert_eq!(assets(&stage).len(), 2);
    assert_eq!(sweep(&stage).await.deleted, 1);
}

#[tokio::test]
async fn a_sweep_that_cannot_save_its_manifest_releases_the_site() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    deploy(&stage, 2).await;
    stage.pass(TimeDelta::days(8));
    stage.cloud.fault(Fault {
        key: Some(".dropship/*".to_owned()),
        times: usize::MAX,
        ..Fault::on("PutObject", Does::refuse(403, "AccessDenied"))
    });
    let failure = stage.invoke("refused", &json!({"sweep": true})).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    assert_eq!(stage.ledger().await.head().await.unwrap().lease, None);

    stage.cloud.clear_faults();
    let report = deploy(&stage, 3).await;
    assert_eq!((report.outcome, report.drift), (Outcome::Deployed, 1), "the row of the deleted asset is out of date");
    assert_eq!(assets(&stage), ["assets/app.2.js", "assets/app.3.js"]);
}

#[tokio::test]
async fn a_sweep_leaves_retained_assets_to_the_next_deployment_where_retention_was_turned_off() {
    let stage = stage().await;
    deploy(&stage, 1).await;
    let edge = stage.cloud.edge(DISTRIBUTION);
    edge.get("/assets/app.1.js");
    deploy(&stage, 2).await;
    let stage = stage.with("RETAIN_REMOVED_DAYS", "0");
    sweep(&stage).await;
    deploy(&stage, 2).await;
    assert_eq!(assets(&stage), ["assets/app.2.js"]);
    assert_ne!(edge.get("/assets/app.1.js").status, 200, "without retention everything leaves with an invalidation");
}
