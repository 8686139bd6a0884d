//! The preflight: the checks before the first write, and their cost.

use std::collections::BTreeSet;

use dropship::report::Outcome;
use standins::Distribution;

use super::{old, state};
use crate::build::{Files, files, noise, replaced, stored, zipped};
use crate::stage::{LIVE, Stage};

#[tokio::test]
async fn a_local_header_that_disagrees_is_refused_before_the_first_write() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let before = state(&stage).await;
    let new = files([("index.html", "new"), ("app.js", "new"), ("zz.html", "new")]);
    // This page would be written last. The first occurrence of its name is in the local header.
    let archive = replaced(zipped(&new), b"zz.html", b"yy.html", 1);
    let event = stage.upload_bytes("2.zip", archive);
    stage.cloud.clear_calls();
    for _ in 0..2 {
        let message = stage.refusal("two", &event).await;
        assert!(message.contains("`zz.html`: its local header"), "{message}");
        assert_eq!(stage.writes_to_live(), [] as [String; 0]);
        assert_eq!(state(&stage).await, before);
    }
    assert!(
        stage.archive_ranges().len() <= 2,
        "the refusal is recorded; at most one read of the index has started in parallel with the ledger"
    );
    assert_eq!(stage.count("CreateInvalidation"), 0);

    // The lease is free, and the site is unchanged.
    let report = stage.deploy("three", &stage.upload("3.zip", &new)).await;
    assert_eq!((report.outcome, report.drift), (Outcome::Deployed, 0));
    stage.assert_live(&new);
}

#[tokio::test]
async fn a_refused_archive_evicts_nothing_however_many_batches_were_recorded() {
    let stage = Stage::new().await;
    let ids: Vec<String> = (0..60).map(|number| format!("E{number}")).collect();
    for id in &ids {
        stage.cloud.create_distribution(Distribution::of(id, LIVE));
    }
    let stage = stage.with("DISTRIBUTION_IDS", &ids.join(","));
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let before = state(&stage).await;
    let archive = zipped(&files([("index.html", "new"), ("zz.html", "new")]));
    let event = stage.upload_bytes("2.zip", replaced(archive, b"zz.html", b"yy.html", 1));
    stage.cloud.clear_calls();
    stage.refusal("two", &event).await;
    assert_eq!(state(&stage).await, before);
    // One transaction for the claim, two to record 120 batches (at most 97 in each), and two to remove them.
    assert_eq!(stage.count("TransactWriteItems"), 1 + 2 + 2);
}

#[tokio::test]
async fn a_dry_run_checks_local_headers_too() {
    let stage = Stage::new().await;
    let archive = replaced(zipped(&old()), b"logo.svg", b"l0go.svg", 1);
    let mut event = stage.upload_bytes("site.zip", archive);
    event["options"] = serde_json::json!({"dryRun": true});
    let message = stage.refusal("dry", &event).await;
    assert!(message.contains("logo.svg"), "{message}");
}

#[tokio::test]
async fn the_preflight_skips_entries_that_are_kept() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let mut new = old();
    new.insert("index.html".to_owned(), b"new".to_vec());
    let archive = replaced(zipped(&new), b"logo.svg", b"l0go.svg", 1);
    stage.deploy("two", &stage.upload_bytes("2.zip", archive)).await;
    stage.assert_live(&new);
}

#[tokio::test]
async fn the_preflight_makes_no_requests_of_its_own() {
    let stage = Stage::new().await;
    let mut build: Files = (0..24).map(|n| (format!("{n:02}.bin"), noise(400 << 10, n))).collect();
    build.insert("index.html".to_owned(), b"page".to_vec());
    let archive = stored(&build);
    let size = archive.len() as u64;
    let report = stage.deploy("one", &stage.upload_bytes("site.zip", archive)).await;
    stage.assert_live(&build);
    let ranges = stage.archive_ranges();
    let distinct: BTreeSet<&String> = ranges.iter().collect();
    assert_eq!(distinct.len(), ranges.len(), "{ranges:?}");
    // The archive's tail, which contains the page, and three spans of up to 4 MiB.
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert!(report.bytes_read <= size + (256 << 10), "read {} bytes", report.bytes_read);
}

#[tokio::test]
async fn pages_and_the_entries_between_them_are_read_once_in_shared_spans() {
    let stage = Stage::new().await;
    let build: Files = (0..240)
        .map(|n| {
            let extension = if n % 3 == 0 { "bin" } else { "html" };
            (format!("{n:03}.{extension}"), noise(40 << 10, n))
        })
        .collect();
    stage.deploy("one", &stage.upload_bytes("site.zip", stored(&build))).await;
    stage.assert_live(&build);
    // The archive's tail, and 9.4 MiB in spans of 4 MiB.
    let ranges = stage.archive_ranges();
    assert_eq!(ranges.len(), 1 + 3, "{ranges:?}");
}

#[tokio::test]
async fn entries_that_do_not_fit_into_memory_are_checked_by_their_headers() {
    // A tenth of 128 MiB is available for entries, and half of that if not all of them fit.
    let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    let site = |extension| (0..22).map(move |n| (format!("{n:02}.{extension}"), noise(1 << 20, n))).collect::<Files>();
    let archive = stored(&site("bin"));
    let event = stage.upload_bytes("large.zip", replaced(archive, b"21.bin", b"2l.bin", 1));
    let message = stage.refusal("one", &event).await;
    assert!(message.contains("`21.bin`: its local header"), "{message}");
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    // It makes no difference in which wave they are written.
    for extension in ["bin", "html"] {
        let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
        let archive = stored(&site(extension));
        let size = archive.len() as u64;
        let report = stage.deploy("two", &stage.upload_bytes("large.zip", archive)).await;
        stage.assert_live(&site(extension));
        assert!(report.bytes_read <= size + (300 << 10), "read {} bytes", report.bytes_read);
        // The tail, 8 spans of 3 entries each, and 16 headers that are not in the 2 spans held in memory.
        assert_eq!(stage.archive_ranges().len(), 1 + 8 + 16, "{extension}: {:?}", stage.archive_ranges());
    }

    let many: Files = (0..700).map(|n| (format!("{n:03}.bin"), noise(30 << 10, n))).collect();
    let archive = replaced(stored(&many), b"699.bin", b"69g.bin", 1);
    let event = stage.upload_bytes("many.zip", archive);
    stage.cloud.clear_calls();
    let message = stage.refusal("three", &event).await;
    assert!(message.contains("`699.bin`: its local header"), "{message}");
    assert!(stage.archive_ranges().len() <= 7, "{:?}", stage.archive_ranges());
}
