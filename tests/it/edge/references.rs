//! Caller references that CloudFront knows.

use standins::{Does, Fault, ReferenceConflict};

use crate::build::files;
use crate::stage::{DISTRIBUTION, Stage};

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
