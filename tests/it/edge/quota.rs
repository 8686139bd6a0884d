//! CloudFront's quota and caller references.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use standins::{CLIENT, Distribution, Does, Fault, ReferenceConflict};

use super::{assert_fresh, first, second, set, urls};
use crate::build::files;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

#[tokio::test]
async fn a_full_quota_on_one_distribution_does_not_hold_up_another() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "E1FULL,E2ROOMY");
    for id in ["E1FULL", "E2ROOMY"] {
        stage.cloud.create_distribution(Distribution::of(id, LIVE));
    }
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let urls: Vec<String> = first().keys().flat_map(|key| urls(key, false)).collect();
    for id in ["E1FULL", "E2ROOMY"] {
        stage.cloud.edge(id).warm_all(&urls);
    }
    let event = stage.upload("2.zip", &second());
    let accepted = ["E1FULL", "E2ROOMY"].map(|id| stage.cloud.invalidations(id).len());
    stage.cloud.occupy_invalidations("E1FULL", 2_999, 0);
    stage.cloud.clear_calls();
    let (handled, ()) = tokio::join!(stage.invoke("two", &event), stage.pass_deadline_after("CreateInvalidation", 3));
    let failure = handled.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed");
    assert!(failure.error_message.contains("E1FULL has too many"), "{}", failure.error_message);
    assert_eq!(stage.cloud.invalidations("E1FULL").len(), accepted[0]);
    let changed = set(["/", "/index.html", "/www", "/www/", "/www/index.html"]);
    let sent = stage.cloud.invalidations("E2ROOMY").into_iter().skip(accepted[1]);
    assert_eq!(sent.flat_map(|sent| sent.items).collect::<BTreeSet<_>>(), changed);

    // The refused batch is offered again as it was recorded, under the same reference.
    stage.cloud.occupy_invalidations("E1FULL", 0, 0);
    let report = stage.deploy("two", &event).await;
    let sent: Vec<_> = report.invalidations.iter().map(|sent| (sent.distribution_id.as_str(), sent.items)).collect();
    assert_eq!(sent, [("E1FULL", 5), ("E1FULL", 1), ("E2ROOMY", 1)]);
    assert!(report.invalidations.iter().all(|sent| sent.caller_reference.contains(".2.")));
    stage.assert_live(&second());
    for id in ["E1FULL", "E2ROOMY"] {
        assert_fresh(&stage, Distribution::of(id, LIVE), &urls);
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
        stage.wait_for_calls("CreateInvalidation", 2).await;
        stage.cloud.occupy_invalidations(DISTRIBUTION, 0, 0);
    };
    let (report, ()) = tokio::join!(stage.deploy("two", &event), room);
    assert_eq!(report.invalidations.len(), 2);
    stage.assert_live(&second());
}

#[tokio::test]
async fn a_known_reference_means_the_batch_was_accepted() {
    let lost_reply = Fault::on("CreateInvalidation", Does::DropAfter);
    let already_exists = Fault::on("CreateInvalidation", Does::refuse_after(400, "InvalidationBatchAlreadyExists"));
    for (fault, conflict, has_id) in [
        // After a lost reply the SDK sends the request again.
        (lost_reply.clone(), ReferenceConflict::Documented, true),
        (lost_reply, ReferenceConflict::AlwaysInvalidArgument, false),
        (already_exists, ReferenceConflict::Documented, false),
    ] {
        let stage = Stage::new().await.with("WAIT_FOR_INVALIDATION", "true");
        let version = |text| files([("index.html", text)]);
        stage.deploy("one", &stage.upload("1.zip", &version("one"))).await;
        stage.cloud.edge(DISTRIBUTION).get("/");
        let accepted = stage.cloud.invalidations(DISTRIBUTION).len();
        stage.cloud.set_reference_conflict(DISTRIBUTION, conflict);
        stage.cloud.fault(fault);
        let report = stage.deploy("two", &stage.upload("2.zip", &version("two"))).await;
        assert_eq!(stage.cloud.faults_struck(), 1);
        assert_eq!(stage.cloud.invalidations(DISTRIBUTION).len(), accepted + 1);
        let [sent] = &report.invalidations[..] else { panic!("{report:?}") };
        assert_eq!((sent.id.is_some(), sent.items), (has_id, 2));
        assert_eq!(sent.completed, Some(has_id), "without an id, the status cannot be read");
        assert_eq!(stage.cloud.edge(DISTRIBUTION).get("/").body, "two");
        // Nothing is owed anymore.
        let again = stage.deploy("three", &stage.upload("3.zip", &version("two"))).await;
        assert_eq!(again.invalidations, []);
    }
}

#[tokio::test]
async fn a_batch_that_cloudfront_refuses_for_what_it_says_is_replaced_and_holds_up_no_other() {
    let stage = Stage::new().await;
    let version = |text: &str| (0..150).map(|n| (format!("{n}.html"), text.as_bytes().to_vec())).collect();
    stage.deploy("one", &stage.upload("1.zip", &version("one"))).await;
    let urls: Vec<String> = (0..150).map(|n| format!("/{n}.html")).collect();
    stage.cloud.edge(DISTRIBUTION).warm_all(&urls);
    stage.cloud.fault(Fault::on("CreateInvalidation", Does::refuse(400, "InvalidArgument")));
    let report = stage.deploy("two", &stage.upload("2.zip", &version("two"))).await;
    let items: Vec<usize> = report.invalidations.iter().map(|sent| sent.items).collect();
    assert_eq!(items, [1, 50]);
    assert!(stage.items_sent(&report, DISTRIBUTION).contains("/*"));
    assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls);

    // Every offer of the same batch fails; the others are sent, and the next attempt goes on from there.
    let first = Fault::on("CreateInvalidation", Does::refuse(403, "AccessDenied"));
    stage.cloud.fault(first);
    let event = stage.upload("3.zip", &version("three"));
    let failure = stage.invoke("three", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "InvalidationOwed");
    assert!(failure.error_message.contains("1 invalidation batches"), "{}", failure.error_message);
    let report = stage.deploy("three", &event).await;
    assert_eq!(report.invalidations.iter().map(|sent| sent.items).collect::<Vec<_>>(), [100]);
    assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls);
}

#[tokio::test]
async fn no_pause_outlasts_the_time_that_is_left_to_release_the_lease() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &first())).await;
    let event = stage.upload("2.zip", &second());
    stage.cloud.occupy_invalidations(DISTRIBUTION, 3_000, 0);
    stage.cloud.clear_calls();
    // The last transfer may start ten milliseconds from now.
    let time_left = TimeDelta::milliseconds(20_010);
    let deploying = stage.invoke_as(CLIENT, "two", &event, time_left);
    let began = Instant::now();
    let (handled, ()) = tokio::join!(deploying, stage.pass_deadline_after("CreateInvalidation", 6));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(handled.into_answer().unwrap_err().error_type, "InvalidationOwed");
    assert_eq!(stage.ledger().await.head().await.unwrap().lease, None);
}

#[tokio::test]
async fn all_distributions_together_keep_the_pace_of_one_account() {
    let stage = Stage::new().await.with("DISTRIBUTION_IDS", "E1,E2").with("MAX_INVALIDATION_PATHS", "1000");
    for id in ["E1", "E2"] {
        stage.cloud.create_distribution(Distribution::of(id, LIVE));
    }
    let version = |text: &str| (0..350).map(|n| (format!("{n}.html"), text.as_bytes().to_vec())).collect();
    stage.deploy("one", &stage.upload("1.zip", &version("one"))).await;
    let refusal = Fault::on("CreateInvalidation", Does::refuse(400, "TooManyInvalidationsInProgress"));
    stage.cloud.fault(Fault { times: 2, ..refusal });
    let began = Instant::now();
    let report = stage.deploy("two", &stage.upload("2.zip", &version("two"))).await;
    assert_eq!(report.invalidations.len(), 8);
    // The first batches are offered again after pauses of their own; the other six wait for their turns.
    assert!(began.elapsed() >= Duration::from_secs(6), "{:?}", began.elapsed());
}
