//! Caller references that CloudFront knows.

use chrono::TimeDelta;
use standins::{Distribution, Does, Fault, Quota, ReferenceConflict};

use super::assert_fresh;
use crate::build::files;
use crate::stage::{DISTRIBUTION, LIVE, Stage};

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

#[tokio::test(start_paused = true)]
async fn everything_in_place_of_a_batch_is_sent_again_for_the_batches_of_later_writes() {
    for conflict in [ReferenceConflict::Documented, ReferenceConflict::AlwaysInvalidArgument] {
        let stage = Stage::under(Quota::InProgress).await;
        stage.cloud.set_reference_conflict(DISTRIBUTION, conflict);
        let version = |one, two| files([("a.html", one), ("b.html", two), ("index.html", "kept")]);
        stage.deploy("one", &stage.upload("1.zip", &version("one", "one"))).await;
        let urls = ["/a.html", "/b.html"].map(str::to_owned);
        stage.cloud.edge(DISTRIBUTION).warm_all(&urls);
        // CloudFront refuses the batch, and accepts what replaces it. Then the function dies.
        let refused = Fault::on("CreateInvalidation", Does::refuse(400, "InvalidArgument"));
        stage.cloud.fault(refused.clone());
        let client = Some("victim".to_owned());
        stage.cloud.fault(Fault { client, first: 2, ..Fault::on("CreateInvalidation", Does::DieAfter) });
        let event = stage.upload("2.zip", &version("two", "one"));
        tokio::select! {
            biased;
            () = stage.cloud.death("victim") => {}
            _ = stage.invoke_as("victim", "two", &event, TimeDelta::minutes(5)) => panic!("it must die"),
        }
        tokio::time::sleep(std::time::Duration::from_secs(400)).await;

        // The next deployment changes another page, and CloudFront refuses the first batch once more.
        stage.cloud.edge(DISTRIBUTION).warm_all(&urls);
        stage.cloud.fault(refused);
        stage.deploy("three", &stage.upload("3.zip", &version("two", "three"))).await;
        assert_fresh(&stage, Distribution::of(DISTRIBUTION, LIVE), &urls);
        assert_eq!(stage.ledger().await.owed().await.unwrap(), []);
    }
}
