//! The manifest and the recorded page boundaries of the listing: the requests they save, and the cost of losing them.

use dropship::report::Outcome;
use standins::{Does, Etags, Fault};

use super::{first, second};
use crate::build::{Files, files, noise};
use crate::stage::{DISTRIBUTION, STAGING, Stage};

#[tokio::test]
async fn repeating_an_event_reads_no_entry_and_writes_nothing() {
    let stage = Stage::new().await;
    let mut build = files([("index.html", "page")]);
    build.insert("noise.bin".to_owned(), noise(1 << 20, 1));
    let event = stage.upload("site.zip", &build);
    stage.deploy("one", &event).await;
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!(report.outcome, Outcome::Unchanged);
    assert_eq!(report.kept, 2);
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    assert_eq!(stage.count("HeadObject"), 0, "the manifest answers for every object");
    assert_eq!(stage.cloud.invalidations(DISTRIBUTION), []);
    assert!(report.bytes_read <= 256 << 10, "read {} bytes, more than the central directory", report.bytes_read);
}

#[tokio::test]
async fn a_lost_manifest_costs_one_request_per_object_and_changes_nothing() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let stage = Stage::with_etags(etags).await;
        let event = stage.upload("site.zip", &first());
        stage.deploy("one", &event).await;
        let manifests = stage.manifests();
        assert_eq!(manifests.len(), 1, "{manifests:?}");
        stage.cloud.delete_object(STAGING, &manifests[0]);
        stage.cloud.clear_calls();
        let report = stage.deploy("two", &event).await;
        assert_eq!((report.outcome, report.kept), (Outcome::Unchanged, 4));
        assert_eq!(stage.count("HeadObject"), 4);
        assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    }
}

#[tokio::test]
async fn the_next_run_that_writes_a_manifest_deletes_the_superseded_one() {
    let stage = Stage::new().await;
    let ledger = stage.ledger().await;
    let builds = [first(), second(), first(), second()];
    for (number, build) in builds.iter().enumerate() {
        let event = stage.upload(&format!("{number}.zip"), build);
        stage.deploy(&format!("run {number}"), &event).await;
        let head = ledger.head().await.unwrap();
        let mut known = [head.outdated, head.manifest.into_iter().collect()].concat();
        known.sort();
        assert_eq!(stage.manifests(), known, "the head knows every manifest");
        assert_eq!(known.len(), 2.min(number + 1));
    }
    // A manifest that cannot be deleted is left behind and not retried forever.
    stage.cloud.fault(Fault { times: usize::MAX, ..Fault::on("DeleteObject", Does::refuse(403, "AccessDenied")) });
    let event = stage.upload("refused.zip", &first());
    stage.deploy("refused", &event).await;
    assert_eq!(ledger.head().await.unwrap().outdated.len(), 1);
    assert_eq!(stage.manifests().len(), 3);
}

#[tokio::test]
async fn the_next_listing_is_split_at_the_page_boundaries_of_a_plain_listing() {
    let stage = Stage::new().await;
    let build: Files = (0..1_001).map(|n| (format!("{n:04}.txt"), b"text".to_vec())).collect();
    let event = stage.upload("site.zip", &build);
    stage.deploy("one", &event).await;
    let ledger = stage.ledger().await;
    assert_eq!(ledger.head().await.unwrap().list_at, ["0999.txt"]);
    stage.cloud.clear_calls();
    let again = stage.deploy("again", &event).await;
    assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 1_001));
    assert_eq!(stage.count("ListObjectsV2"), 2, "one request per page");
}

#[tokio::test]
async fn a_run_that_cannot_save_its_manifest_releases_the_site() {
    let stage = Stage::new().await;
    stage.cloud.fault(Fault {
        key: Some(".dropship/*".to_owned()),
        times: usize::MAX,
        ..Fault::on("PutObject", Does::refuse(403, "AccessDenied"))
    });
    let event = stage.upload("site.zip", &first());
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    assert_eq!(stage.ledger().await.head().await.unwrap().lease, None);

    stage.cloud.clear_faults();
    let second = second();
    let report = stage.deploy("two", &stage.upload("site.zip", &second)).await;
    assert_eq!(report.outcome, Outcome::Deployed);
    stage.assert_live(&second);
}
