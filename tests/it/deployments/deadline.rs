//! Runs that are cut short, by the deadline or a crash, and resumed.

use chrono::TimeDelta;
use dropship::report::Outcome;
use standins::{Does, Fault};

use super::first;
use crate::build::{Files, noise, zipped};
use crate::crash::SHORT;
use crate::scene::Scene;
use crate::stage::{LIVE, Stage};

#[tokio::test]
async fn near_the_deadline_no_transfer_starts_and_the_retry_resumes_the_run() {
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &first());
    let late = stage.invoke_as("client", "one", &event, TimeDelta::seconds(15)).await.into_answer().unwrap_err();
    assert_eq!(late.error_type, "Unfinished");
    assert!(stage.cloud.objects(LIVE).is_empty(), "no transfer starts in the last 20 seconds");
    let report = stage.deploy("one", &event).await;
    assert_eq!((report.outcome, report.run), (Outcome::Deployed, 1));
    stage.assert_live(&first());
}

#[tokio::test]
async fn a_run_cut_short_halfway_is_resumed_and_not_restarted() {
    let stage = Stage::new().await;
    let build: Files = (0..600).map(|n| (format!("{n}.bin"), noise(8_000, n))).collect();
    let archive = zipped(&build);
    let size = archive.len() as u64;
    let event = stage.upload_bytes("site.zip", archive);

    let failure =
        stage.invoke_late_once("one", &event, || puts_to_live(&stage) >= 100).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Unfinished", "{}", failure.error_message);
    let written = puts_to_live(&stage);
    assert!((100..600).contains(&written), "wrote {written} objects before the deadline");
    assert_eq!(stage.cloud.objects(LIVE).len(), written);

    stage.cloud.clear_calls();
    let report = stage.deploy("one", &event).await;
    assert_eq!((report.outcome, report.run, report.kept), (Outcome::Deployed, 1, written));
    assert_eq!(puts_to_live(&stage), 600 - written, "the retry writes only the missing objects");
    assert_eq!(stage.count("HeadObject"), 0, "the manifest was saved, so that no object needs a HEAD request");
    let share = (600 - written) as u64 * size / 600;
    assert!(
        report.bytes_read < share + share / 10 + (512 << 10),
        "read {} bytes for a share of {share}",
        report.bytes_read
    );
    stage.assert_live(&build);
}

#[tokio::test]
async fn a_resumed_run_skips_objects_that_are_already_written() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone();
    let build: Files = (0..40).map(|n| (format!("{n}.json"), format!("number {n}").into_bytes())).collect();
    let event = stage.upload("site.zip", &build);
    stage.cloud.fault(Fault { first: 15, key: Some("*.json".to_owned()), ..Fault::on("PutObject", Does::DieAfter) });
    let dead = scene.watched(scene.invoke(&stage, "victim", "one", &event, SHORT)).await;
    assert!(dead.is_none());
    assert_eq!(stage.cloud.objects(LIVE).len(), 15);
    stage.cloud.clear_calls();
    let report = scene.deliver(&stage, "one", &event).await.unwrap();
    assert_eq!((report.new, report.kept, report.run), (25, 15, 1));
    assert_eq!(puts_to_live(&stage), 25);
    assert!(report.bytes_written < 25 * 10);
    stage.assert_live(&build);
}

/// Returns how many objects were put to the live bucket.
fn puts_to_live(stage: &Stage) -> usize {
    let calls = stage.cloud.calls().into_iter();
    calls.filter(|call| call.operation == "PutObject" && call.bucket.as_deref() == Some(LIVE)).count()
}
