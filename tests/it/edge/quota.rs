//! CloudFront's quota and caller references.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use standins::{Distribution, Does, Fault, ReferenceConflict};

use super::{assert_fresh, first, owned, second, urls};
use crate::build::files;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

#[tokio::test]
async fn a_full_quota_on_one_distribution_does_not_hold_up_another() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "E1FULL,E2ROOMY");
    for id in ["E1FULL", "E2ROOMY"] {
        stage.cloud.create_distribution(Distribution::of(id, LIVE));
    }
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let asked: Vec<String> = first().keys().flat_map(|key| urls(key, false)).collect();
    for id in ["E1FULL", "E2ROOMY"] {
        stage.cloud.edge(id).warm_all(&asked);
    }
    let event = stage.upload("2.zip", &second());
    stage.cloud.occupy_invalidations("E1FULL", 2_999, 0);
    stage.cloud.clear_calls();
    let (handled, ()) = tokio::join!(stage.invoke("two", &event), late_after(&stage, 3));
    let failure = handled.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed");
    assert!(failure.error_message.contains("E1FULL has too many"), "{}", failure.error_message);
    assert_eq!(stage.cloud.invalidations("E1FULL"), []);
    let changed: BTreeSet<String> = stage.cloud.invalidations("E2ROOMY").into_iter().flat_map(|it| it.items).collect();
    assert_eq!(changed, owned(["/", "/index.html", "/www", "/www/", "/www/index.html"]));

    // Its batch stays as it is, and goes out under the reference it was first offered with.
    stage.cloud.occupy_invalidations("E1FULL", 0, 0);
    let report = stage.deploy("two", &event).await;
    let sent: Vec<_> = report.invalidations.iter().map(|sent| (sent.distribution_id.as_str(), sent.items)).collect();
    assert_eq!(sent, [("E1FULL", 5), ("E1FULL", 1), ("E2ROOMY", 1)]);
    assert!(report.invalidations.iter().all(|sent| sent.caller_reference.contains(".2.")));
    stage.assert_live(&second());
    for id in ["E1FULL", "E2ROOMY"] {
        assert_fresh(&stage, Distribution::of(id, LIVE), &asked);
    }
}

#[tokio::test]
async fn a_full_quota_that_clears_before_the_deadline_only_delays() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let event = stage.upload("2.zip", &second());
    stage.cloud.occupy_invalidations(DISTRIBUTION, 3_000, 0);
    stage.cloud.clear_calls();
    let room = async {
        while stage.count("CreateInvalidation") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.cloud.occupy_invalidations(DISTRIBUTION, 0, 0);
    };
    let (report, ()) = tokio::join!(stage.deploy("two", &event), room);
    assert_eq!(report.invalidations.len(), 2);
    stage.assert_live(&second());
}

#[tokio::test]
async fn a_known_reference_means_the_batch_was_accepted() {
    let lost = Fault::on("CreateInvalidation", Does::DropAfter);
    let spelt = Fault::on("CreateInvalidation", Does::refuse_after(400, "InvalidationBatchAlreadyExists"));
    for (fault, conflict, has_id) in [
        // The SDK offers again what it got no answer to.
        (lost.clone(), ReferenceConflict::Documented, true),
        (lost, ReferenceConflict::AlwaysInvalidArgument, false),
        (spelt, ReferenceConflict::Documented, false),
    ] {
        let stage = Stage::new().await.with("WAIT_FOR_INVALIDATION", "true");
        let version = |text| files([("index.html", text)]);
        stage.deploy("one", &stage.upload("1.zip", &version("one"))).await;
        stage.cloud.edge(DISTRIBUTION).get("/");
        stage.cloud.set_reference_conflict(DISTRIBUTION, conflict);
        stage.cloud.fault(fault);
        let report = stage.deploy("two", &stage.upload("2.zip", &version("two"))).await;
        assert_eq!(stage.cloud.faults_struck(), 1);
        assert_eq!(stage.cloud.invalidations(DISTRIBUTION).len(), 1);
        let [sent] = &report.invalidations[..] else { panic!("{report:?}") };
        assert_eq!((sent.id.is_some(), sent.items), (has_id, 2));
        assert_eq!(sent.completed, Some(has_id), "what has no id cannot be asked for");
        assert_eq!(stage.cloud.edge(DISTRIBUTION).get("/").body, "two");
        // Nothing is owed any more.
        let again = stage.deploy("three", &stage.upload("3.zip", &version("two"))).await;
        assert_eq!(again.invalidations, []);
    }
}

/// Turns the clock to the deadline once CloudFront has been asked so often.
async fn late_after(stage: &Stage, offers: usize) {
    while stage.count("CreateInvalidation") < offers {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.pass(TimeDelta::minutes(15));
}
