//! Archives with damaged bytes.

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use zip::CompressionMethod;

use super::old;
use crate::build::{files, packed, replaced, stored};
use crate::stage::{LIVE, Stage};

#[tokio::test]
async fn a_wrong_crc32_stops_the_run_before_the_pages_and_the_next_deployment_repairs_the_site() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let new = files([("index.html", "new page"), ("app.js", "new app"), ("logo.svg", "new logo")]);
    let archive = replaced(stored(&new), b"new app", b"new axx", 1);
    let event = stage.upload_bytes("2.zip", archive);
    stage.cloud.clear_calls();
    // Bytes can also be damaged in transit: the retry reads them again.
    for _ in 0..2 {
        let read = stage.archive_ranges().len();
        let message = stage.refusal("two", &event).await;
        assert!(message.contains("`app.js`") && message.contains("CRC-32"), "{message}");
        assert!(stage.archive_ranges().len() > read, "the retry must read the archive again");
        let objects = stage.cloud.objects(LIVE);
        assert_eq!(objects["index.html"].body, "old", "no page must be written");
        assert_eq!(objects["app.js"].body, "old", "a corrupt body must never go live");
    }
    let is_logo_written = stage.cloud.objects(LIVE)["logo.svg"].body == "new logo";

    let report = stage.deploy("three", &stage.upload("3.zip", &new)).await;
    assert_eq!(report.drift, 0);
    stage.assert_live(&new);
    let invalidated = stage.invalidated_items();
    for path in ["/index.html", "/app.js", "/logo.svg"] {
        assert!(
            invalidated.contains(path),
            "{path} is missing from {invalidated:?}; new logo written before: {is_logo_written}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_changed_byte_never_brings_other_content_live(
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
            prop_assert_eq!(&failure.error_type, "ArchiveRejected", "{}", failure.error_message);
            for (key, object) in stage.cloud.objects(LIVE) {
                let packed = [old.get(&key), new.get(&key)];
                prop_assert!(
                    packed.iter().flatten().any(|body| object.body == **body),
                    "{} has the contents of neither build after byte {} was changed",
                    key,
                    at
                );
            }
        }
    }
    Ok(())
}
