//! Archives with damaged bytes.

use dropship::deployment::Status;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use serde_json::json;
use zip::CompressionMethod;

use super::{old, state};
use crate::build::{Files, files, packed, replaced, zipped};
use crate::stage::{DISTRIBUTION, LIVE, Stage};

/// Packs a build so that the archive states a wrong CRC-32 for one file, in both headers of its entry.
fn with_wrong_crc32(archive: Vec<u8>, body: &[u8]) -> Vec<u8> {
    let crc32 = crc32fast::hash(body);
    replaced(archive, &crc32.to_le_bytes(), &(crc32 ^ 1).to_le_bytes(), 2)
}

/// Returns a build whose files are all worth storing as gzip.
fn new() -> Files {
    let text = |name: &str| format!("{name} ").repeat(20_000).into_bytes();
    ["app.js", "index.html", "logo.svg", "zz.html"].map(|name| (name.to_owned(), text(name))).into()
}

#[tokio::test]
async fn a_corrupt_entry_is_refused_before_the_first_write_however_it_is_stored() {
    let new = new();
    for (method, gzip) in [
        (CompressionMethod::Stored, "false"),
        (CompressionMethod::Deflated, "false"),
        (CompressionMethod::Deflated, "true"),
        (CompressionMethod::Zstd, "false"),
    ] {
        let stage = Stage::new().await.with("GZIP", gzip);
        stage.deploy("one", &stage.upload("1.zip", &old())).await;
        let before = state(&stage).await;
        let archive = with_wrong_crc32(packed(&new, method, false), &new["index.html"]);
        let event = stage.upload_bytes("2.zip", archive);
        stage.cloud.clear_calls();
        for _ in 0..2 {
            let message = stage.refusal("two", &event).await;
            assert!(message.contains("`index.html`") && message.contains("CRC-32"), "{message}");
            assert_eq!(stage.writes_to_live(), [] as [String; 0], "{method:?}, GZIP={gzip}");
            assert_eq!(state(&stage).await, before);
        }
        let head = stage.ledger().await.head().await.unwrap();
        assert_eq!((head.lease, head.unfinished), (None, Vec::new()));

        let mut dry = event.clone();
        dry["options"] = json!({"dryRun": true});
        let message = stage.refusal("dry", &dry).await;
        assert!(message.contains("`index.html`") && message.contains("CRC-32"), "{message}");
    }
}

#[tokio::test]
async fn a_corrupt_entry_that_memory_cannot_hold_never_goes_live_and_the_next_deployment_repairs_the_site() {
    // Memory holds six of these files before the first write. Hex digits deflate to a little over half their size.
    let mut random = fastrand::Rng::with_seed(7);
    let mut hex = || -> Vec<u8> { std::iter::repeat_with(|| random.digit(16) as u8).take(1 << 20).collect() };
    let mut new: Files = (0..26).map(|number| (format!("{number:02}.txt"), hex())).collect();
    new.insert("index.html".to_owned(), b"new".to_vec());
    for gzip in ["false", "true"] {
        let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128").with("GZIP", gzip);
        let old_id = stage.deploy("one", &stage.upload("1.zip", &old())).await.id.unwrap();
        let urls: Vec<String> = old().keys().chain(new.keys()).map(|key| format!("/{key}")).collect();
        stage.cloud.edge(DISTRIBUTION).warm_all(&urls);
        let archive = zipped(&new);
        let event = stage.upload_bytes("2.zip", with_wrong_crc32(archive.clone(), &new["25.txt"]));
        stage.cloud.clear_calls();
        let message = stage.refusal("two", &event).await;
        assert!(message.contains("`25.txt`") && message.contains("CRC-32"), "{message}");
        assert_ne!(stage.writes_to_live(), [] as [String; 0], "the corrupt entry must not be in memory");
        let objects = stage.cloud.objects(LIVE);
        assert!(!objects.contains_key("25.txt"), "GZIP={gzip}");
        assert_eq!(objects["index.html"].body, "old", "no page must be written");
        // The written objects are invalidated, and the run is over for good.
        let stale = stage.cloud.edge(DISTRIBUTION).stale();
        assert!(stale.is_empty(), "{stale:?}");
        let ledger = stage.ledger().await;
        assert_eq!(ledger.owed().await.unwrap(), []);
        let head = ledger.head().await.unwrap();
        assert_eq!((head.lease, head.unfinished, head.is_torn), (None, Vec::new(), true));
        let record = ledger.started_by("two").await.unwrap().unwrap();
        assert!(record.is_corrupt && record.status == Status::Rejected, "{record:?}");
        let way_out = format!("send {{\"rollback\":\"{old_id}\"}}");
        assert!(message.contains(&way_out), "{message}");
        stage.cloud.clear_calls();
        assert_eq!(stage.refusal("two", &event).await, message, "the retry gets the same answer");
        assert_eq!(stage.writes_to_live(), [] as [String; 0]);

        stage.cloud.clear_calls();
        let report = stage.deploy("three", &stage.upload_bytes("3.zip", archive)).await;
        assert_eq!(report.drift, 0);
        assert_eq!(stage.cloud.objects(LIVE).len(), new.len());
    }
}

#[tokio::test]
async fn a_site_that_a_corrupt_archive_has_left_half_way_comes_back_by_previous() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut hex = || -> Vec<u8> { std::iter::repeat_with(|| random.digit(16) as u8).take(1 << 20).collect() };
    let mut new: Files = (0..26).map(|number| (format!("{number:02}.txt"), hex())).collect();
    new.insert("index.html".to_owned(), b"new".to_vec());
    let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    stage.deploy("zero", &stage.upload("0.zip", &files([("index.html", "older")]))).await;
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    stage.refusal("two", &stage.upload_bytes("2.zip", with_wrong_crc32(zipped(&new), &new["25.txt"]))).await;
    assert_ne!(stage.cloud.objects(LIVE).len(), old().len());
    stage.deploy("back", &json!({"rollback": "previous"})).await;
    stage.assert_live(&old());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_changed_byte_never_changes_the_site(
        method in prop::sample::select(vec![
            CompressionMethod::Stored,
            CompressionMethod::Deflated,
            CompressionMethod::Zstd,
        ]),
        is_streamed in any::<bool>(),
        at in any::<prop::sample::Index>(),
        flipped in 1_u8..=255,
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(deploy_changed(method, is_streamed, at, flipped))?;
    }
}

/// Changes one byte of an archive and checks that the archive is refused, or goes live as it was packed.
async fn deploy_changed(
    method: CompressionMethod,
    is_streamed: bool,
    at: prop::sample::Index,
    flipped: u8,
) -> TestCaseResult {
    let stage = Stage::new().await;
    let old = old();
    stage.deploy("one", &stage.upload("1.zip", &old)).await;
    let new =
        files([("index.html", "new new new new new new"), ("app.js", "new new new new"), ("é/new.css", "new new")]);
    let mut archive = packed(&new, method, is_streamed);
    let at = at.index(archive.len());
    archive[at] ^= flipped;
    let event = stage.upload_bytes("2.zip", archive);
    match stage.invoke("two", &event).await.into_answer() {
        Ok(_) => stage.assert_live(&new),
        Err(failure) => {
            // The name of the index document may be the one that was changed.
            let is_refused = ["ArchiveRejected", "LargeDelete"].contains(&failure.error_type.as_str());
            prop_assert!(is_refused, "{}", failure.error_message);
            prop_assert_eq!(stage.cloud.objects(LIVE).len(), old.len(), "after byte {} was changed", at);
            stage.assert_live(&old);
        }
    }
    Ok(())
}
