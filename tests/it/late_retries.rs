//! Retries and duplicates that arrive after a newer run has begun.

use chrono::TimeDelta;
use dropship::report::Outcome;
use standins::{Does, Fault};

use crate::crash::{LEASE_EXPIRED, SHORT};
use crate::scene::{Scene, first, second};

#[tokio::test]
async fn a_duplicate_of_the_live_build_does_not_overtake_a_newer_unfinished_run() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone();
    let one = stage.upload("site.zip", &first());
    scene.deliver(&stage, "one", &one).await.unwrap();
    let two = stage.upload("site.zip", &second());
    // The newer run claims the site and fails before its first write.
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("ListObjectsV2", Does::refuse(403, "AccessDenied")) });
    let failed = stage.invoke("two", &two).await.into_answer().unwrap_err();
    assert_eq!(failed.error_type, "Aws");
    stage.cloud.clear_faults();
    for request_id in ["duplicate", "one"] {
        let report = scene.deliver(&stage, request_id, &one).await.unwrap();
        assert_eq!(report.outcome, Outcome::Duplicate);
    }
    let report = scene.deliver(&stage, "two", &two).await.unwrap();
    assert_eq!(report.outcome, Outcome::Deployed);
    scene.has_settled(&second(), &two, None).await.unwrap();
}

#[tokio::test]
async fn a_late_retry_of_the_live_build_does_not_overtake_a_newer_run_that_crashed() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone();
    let one = stage.upload("site.zip", &first());
    scene.deliver(&stage, "one", &one).await.unwrap();
    let two = stage.upload("site.zip", &second());
    let put = Fault::on("PutObject", Does::DieAfter);
    stage.cloud.fault(put);
    let dead = scene.invoke(&stage, "victim", "two", &two, SHORT).await;
    assert!(dead.is_none());
    stage.pass(TimeDelta::minutes(20));
    let report = scene.deliver(&stage, "one", &one).await.unwrap();
    assert_eq!(report.outcome, Outcome::Duplicate);
    let report = scene.deliver(&stage, "two", &two).await.unwrap();
    assert_eq!(report.outcome, Outcome::Deployed);
    scene.has_settled(&second(), &two, None).await.unwrap();
}

#[tokio::test]
async fn a_late_retry_of_a_request_that_finished_anothers_run_is_no_rollback() {
    let scene = Scene::new().await;
    let stage = scene.stage.clone();
    let one = stage.upload("site.zip", &first());
    stage.cloud.fault(Fault::on("PutObject", Does::DieAfter));
    let dead = scene.invoke(&stage, "victim", "died", &one, SHORT).await;
    assert!(dead.is_none());
    stage.pass(LEASE_EXPIRED);
    scene.deliver(&stage, "duplicate", &one).await.unwrap();
    let two = stage.upload("site.zip", &second());
    scene.deliver(&stage, "two", &two).await.unwrap();
    stage.pass(TimeDelta::minutes(20));
    for request_id in ["died", "duplicate"] {
        let report = scene.deliver(&stage, request_id, &one).await.unwrap();
        assert_eq!(report.outcome, Outcome::Duplicate, "{request_id}");
    }
    scene.has_settled(&second(), &two, None).await.unwrap();
}
