//! Waiting for invalidations to complete.

use chrono::TimeDelta;
use dropship::report::{Outcome, Report};
use serde_json::Value;
use standins::{Does, Fault};

use super::{first, second};
use crate::stage::{DISTRIBUTION, Stage, report};

#[tokio::test]
async fn the_lease_is_released_before_the_wait_for_completion() {
    let (stage, event) = update_that_waits().await;
    let meanwhile = async {
        stage.wait_for_calls("GetInvalidation", 2).await;
        // The waiting deployment does not hold up the next one.
        let third = stage.upload("3.zip", &first());
        let late = stage.clone().with("WAIT_FOR_INVALIDATION", "false").deploy("three", &third).await;
        assert_eq!((late.outcome, completed(&late)), (Outcome::Deployed, vec![None]));
        stage.cloud.complete_invalidations(DISTRIBUTION);
    };
    let (report, ()) = tokio::join!(stage.deploy("two", &event), meanwhile);
    assert_eq!(completed(&report), [Some(true), Some(true)]);
    assert!(serde_json::to_string(&report).unwrap().contains("\"completed\":true"));
}

#[tokio::test]
async fn an_invalidation_that_does_not_complete_in_time_fails_no_deployment() {
    let (stage, event) = update_that_waits().await;
    // The wait ends 20 seconds before the deadline.
    let time_left = TimeDelta::milliseconds(21_500);
    let handled = stage.invoke_as("client", "two", &event, time_left).await;
    let report = report(handled);
    assert_eq!((report.outcome, completed(&report)), (Outcome::Deployed, vec![Some(false), Some(false)]));
    assert!(stage.count("GetInvalidation") > 0);
    stage.assert_live(&second());
}

#[tokio::test]
async fn an_unreadable_invalidation_status_fails_no_deployment() {
    let (stage, event) = update_that_waits().await;
    let denied = Fault { times: usize::MAX, ..Fault::on("GetInvalidation", Does::refuse(403, "AccessDenied")) };
    stage.cloud.fault(denied);
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.outcome, completed(&report)), (Outcome::Deployed, vec![Some(false), Some(false)]));
    assert_eq!(stage.count("GetInvalidation"), 2, "the refusal must not be retried");
}

/// Returns a stage that waits for its invalidations, which stay in progress, and the event of an update.
async fn update_that_waits() -> (Stage, Value) {
    let stage = Stage::new().await.with("WAIT_FOR_INVALIDATION", "true");
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    stage.cloud.hold_invalidations(DISTRIBUTION);
    let event = stage.upload("2.zip", &second());
    stage.cloud.clear_calls();
    (stage, event)
}

fn completed(report: &Report) -> Vec<Option<bool>> {
    report.invalidations.iter().map(|sent| sent.completed).collect()
}
