//! Waiting for invalidations to complete.

use std::time::Duration;

use chrono::TimeDelta;
use dropship::report::{Outcome, Report};
use serde_json::Value;
use standins::{Does, Fault};

use super::{first, second};
use crate::stage::{DISTRIBUTION, Stage, report};

#[tokio::test]
async fn the_lease_is_released_before_the_wait_for_completion() {
    let (stage, event, _) = waiting(TimeDelta::zero()).await;
    let meanwhile = async {
        while stage.count("GetInvalidation") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Nobody waits for the one who waits.
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
    // 20 seconds before the deadline no more waiting is done.
    let (stage, event, time_left) = waiting(TimeDelta::milliseconds(21_500)).await;
    let handled = stage.invoke_as("client", "two", &event, time_left).await;
    let report = report(handled);
    assert_eq!((report.outcome, completed(&report)), (Outcome::Deployed, vec![Some(false), Some(false)]));
    assert!(stage.count("GetInvalidation") > 0);
    stage.assert_live(&second());
}

#[tokio::test]
async fn an_unreadable_invalidation_status_fails_no_deployment() {
    let (stage, event, _) = waiting(TimeDelta::zero()).await;
    let denied = Fault { times: usize::MAX, ..Fault::on("GetInvalidation", Does::refuse(403, "AccessDenied")) };
    stage.cloud.fault(denied);
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.outcome, completed(&report)), (Outcome::Deployed, vec![Some(false), Some(false)]));
    assert_eq!(stage.count("GetInvalidation"), 2, "a refusal is final");
}

async fn waiting(time_left: TimeDelta) -> (Stage, Value, TimeDelta) {
    let stage = Stage::new().await.with("WAIT_FOR_INVALIDATION", "true");
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    stage.cloud.hold_invalidations(DISTRIBUTION);
    let event = stage.upload("2.zip", &second());
    stage.cloud.clear_calls();
    (stage, event, time_left)
}

fn completed(report: &Report) -> Vec<Option<bool>> {
    report.invalidations.iter().map(|sent| sent.completed).collect()
}
