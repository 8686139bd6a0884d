//! Archives from strangers against the live bucket: what is refused writes nothing, what is read
//! is what was packed.

use std::collections::BTreeSet;
use std::io::{Cursor, Write};
use std::time::Duration;

use dropship::report::Outcome;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::archive::{Verdict, corpus, iffy_verdict};
use crate::deployments::writes_to_live;
use crate::quine::{self, quine};
use crate::stage::{DISTRIBUTION, Files, LIVE, STAGING, Stage, files, unzipped, zipped};
use crate::support::{Distribution, Does, Fault, Headers};

fn old() -> Files {
    files([("index.html", "old"), ("app.js", "old"), ("logo.svg", "old")])
}

fn packed(files: &Files, method: CompressionMethod, is_streamed: bool) -> Vec<u8> {
    fn write<W: Write + std::io::Seek>(mut zip: ZipWriter<W>, files: &Files, method: CompressionMethod) -> W {
        let options = SimpleFileOptions::default().compression_method(method);
        for (name, body) in files {
            zip.start_file(name.as_str(), options).unwrap();
            zip.write_all(body).unwrap();
        }
        zip.finish().unwrap()
    }
    if is_streamed {
        write(ZipWriter::new_stream(Vec::new()), files, method).into_inner()
    } else {
        write(ZipWriter::new(Cursor::new(Vec::new())), files, method).into_inner()
    }
}

fn stored(files: &Files) -> Vec<u8> {
    packed(files, CompressionMethod::Stored, false)
}

/// Bytes that do not compress.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// Replaces the first or each occurrence.
fn replaced(mut archive: Vec<u8>, old: &[u8], new: &[u8], times: usize) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    for _ in 0..times {
        let at = archive.windows(old.len()).position(|it| it == old);
        archive[at.unwrap()..][..new.len()].copy_from_slice(new);
    }
    archive
}

/// What the manifest, the live bucket and the owed batches are made of.
async fn state(stage: &Stage) -> (Vec<(String, String)>, Vec<String>, usize) {
    let live = stage.cloud.objects(LIVE).into_iter();
    let manifests = stage.cloud.objects(STAGING).into_keys();
    let owed = stage.site("observer").await.clients.ledger.owed().await;
    (
        live.map(|(key, object)| (key, object.etag)).collect(),
        manifests.filter(|key| key.starts_with(".dropship/")).collect(),
        owed.unwrap().len(),
    )
}

async fn refusal(stage: &Stage, request: &str, event: &serde_json::Value) -> String {
    let handled = stage.invoke(request, event).await;
    let failure = handled.into_answer().expect_err("it is refused");
    assert_eq!(failure.error_type, "ArchiveRejected", "{}", failure.error_message);
    failure.error_message
}

fn archive_ranges(stage: &Stage) -> Vec<String> {
    let calls = stage.cloud.calls().into_iter();
    calls
        .filter(|call| call.operation == "GetObject" && call.bucket.as_deref() == Some(STAGING))
        .filter(|call| call.key.as_ref().is_some_and(|key| key.ends_with(".zip")))
        .map(|call| call.range.unwrap())
        .collect()
}

#[tokio::test]
async fn a_local_header_that_disagrees_is_refused_before_the_first_write() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let before = state(&stage).await;
    let new = files([("index.html", "new"), ("app.js", "new"), ("zz.html", "new")]);
    // The last page, which would be sent last. The local header comes first.
    let archive = replaced(zipped(&new), b"zz.html", b"yy.html", 1);
    let event = stage.upload_bytes("2.zip", archive);
    stage.cloud.clear_calls();
    for _ in 0..2 {
        let message = refusal(&stage, "two", &event).await;
        assert!(message.contains("`zz.html`: its local header"), "{message}");
        assert_eq!(writes_to_live(&stage), [] as [String; 0]);
        assert_eq!(state(&stage).await, before);
    }
    assert!(
        archive_ranges(&stage).len() <= 2,
        "the refusal is remembered; the index is at most begun to be read beside the ledger"
    );
    assert_eq!(stage.count("CreateInvalidation"), 0);

    // The lease is free, and the site is as it was.
    let report = stage.deploy("three", &stage.upload("3.zip", &new)).await;
    assert_eq!((report.outcome, report.drift), (Outcome::Deployed, 0));
    stage.assert_live(&new);
}

#[tokio::test]
async fn a_refused_archive_evicts_nothing_however_much_was_recorded_for_it() {
    let stage = Stage::new().await;
    let ids: Vec<String> = (0..20).map(|number| format!("E{number}")).collect();
    for id in &ids {
        stage.cloud.create_distribution(Distribution::of(id, LIVE));
    }
    let stage = stage.with("DISTRIBUTION_IDS", &ids.join(","));
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let before = state(&stage).await;
    let archive = zipped(&files([("index.html", "new"), ("zz.html", "new")]));
    let event = stage.upload_bytes("2.zip", replaced(archive, b"zz.html", b"yy.html", 1));
    stage.cloud.clear_calls();
    refusal(&stage, "two", &event).await;
    assert_eq!(state(&stage).await, before);
    // The claim; twenty batches for what changes and twenty for what is deleted, twelve at once; the end.
    assert_eq!(stage.count("TransactWriteItems"), 1 + 4 + 4);
}

#[tokio::test]
async fn a_dry_run_judges_local_headers_too() {
    let stage = Stage::new().await;
    let archive = replaced(zipped(&old()), b"logo.svg", b"l0go.svg", 1);
    let mut event = stage.upload_bytes("site.zip", archive);
    event["options"] = serde_json::json!({"dryRun": true});
    let message = refusal(&stage, "dry", &event).await;
    assert!(message.contains("logo.svg"), "{message}");
}

#[tokio::test]
async fn an_entry_that_is_kept_is_not_judged() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let mut new = old();
    new.insert("index.html".to_owned(), b"new".to_vec());
    let archive = replaced(zipped(&new), b"logo.svg", b"l0go.svg", 1);
    stage.deploy("two", &stage.upload_bytes("2.zip", archive)).await;
    stage.assert_live(&new);
}

#[tokio::test]
async fn judging_costs_no_request_of_its_own() {
    let stage = Stage::new().await;
    let mut build: Files = (0..24).map(|n| (format!("{n:02}.bin"), noise(400 << 10, n))).collect();
    build.insert("index.html".to_owned(), b"page".to_vec());
    let archive = stored(&build);
    let size = archive.len() as u64;
    let report = stage.deploy("one", &stage.upload_bytes("site.zip", archive)).await;
    stage.assert_live(&build);
    let ranges = archive_ranges(&stage);
    let distinct: BTreeSet<&String> = ranges.iter().collect();
    assert_eq!(distinct.len(), ranges.len(), "{ranges:?}");
    // The end, and three spans of up to 4 MiB; the page lies in the end.
    assert_eq!(ranges.len(), 4, "{ranges:?}");
    assert!(report.bytes_read <= size + (256 << 10), "{}", report.bytes_read);
}

#[tokio::test]
async fn pages_and_what_lies_between_them_are_read_once_in_the_same_spans() {
    let stage = Stage::new().await;
    let build: Files = (0..240)
        .map(|n| {
            let extension = if n % 3 == 0 { "bin" } else { "html" };
            (format!("{n:03}.{extension}"), noise(40 << 10, n))
        })
        .collect();
    stage.deploy("one", &stage.upload_bytes("site.zip", stored(&build))).await;
    stage.assert_live(&build);
    // The end, and 9.4 MiB in spans of 4.
    let ranges = archive_ranges(&stage);
    assert_eq!(ranges.len(), 1 + 3, "{ranges:?}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_judged_by_its_headers() {
    // Of 128 MiB a tenth is kept, and half of that where not all of it fits.
    let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    let build: Files = (0..22).map(|n| (format!("{n:02}.bin"), noise(1 << 20, n))).collect();
    let archive = stored(&build);
    let size = archive.len() as u64;
    let event = stage.upload_bytes("large.zip", replaced(archive.clone(), b"21.bin", b"2l.bin", 1));
    let message = refusal(&stage, "one", &event).await;
    assert!(message.contains("`21.bin`: its local header"), "{message}");
    assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &stage.upload_bytes("large.zip", archive)).await;
    stage.assert_live(&build);
    assert!(report.bytes_read <= size + (300 << 10), "{}", report.bytes_read);
    // The end, 8 spans (3 of these entries each), and 16 headers that are in neither of the 2 kept.
    assert_eq!(archive_ranges(&stage).len(), 1 + 8 + 16, "{:?}", archive_ranges(&stage));

    let many: Files = (0..700).map(|n| (format!("{n:03}.bin"), noise(30 << 10, n))).collect();
    let archive = replaced(stored(&many), b"699.bin", b"69g.bin", 1);
    let event = stage.upload_bytes("many.zip", archive);
    stage.cloud.clear_calls();
    let message = refusal(&stage, "three", &event).await;
    assert!(message.contains("`699.bin`: its local header"), "{message}");
    assert!(archive_ranges(&stage).len() <= 7, "{:?}", archive_ranges(&stage));
    stage.assert_live(&build);
}

#[tokio::test]
async fn a_bad_crc_stops_the_run_before_the_pages_and_the_next_deployment_repairs() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &old())).await;
    let new = files([("index.html", "new page"), ("app.js", "new app"), ("logo.svg", "new logo")]);
    let archive = replaced(stored(&new), b"new app", b"new axx", 1);
    let event = stage.upload_bytes("2.zip", archive);
    stage.cloud.clear_calls();
    // Bytes can be damaged on their way too: the retry reads them again.
    for _ in 0..2 {
        let read = archive_ranges(&stage).len();
        let message = refusal(&stage, "two", &event).await;
        assert!(message.contains("`app.js`") && message.contains("CRC-32"), "{message}");
        assert!(archive_ranges(&stage).len() > read, "it was read again");
        let objects = stage.cloud.objects(LIVE);
        assert_eq!(objects["index.html"].body, "old", "no page is written");
        assert_eq!(objects["app.js"].body, "old", "what is corrupt never goes live");
    }
    let written = stage.cloud.objects(LIVE)["logo.svg"].body == "new logo";

    let report = stage.deploy("three", &stage.upload("3.zip", &new)).await;
    assert_eq!(report.drift, 0);
    stage.assert_live(&new);
    let invalidated: BTreeSet<String> =
        stage.cloud.invalidations(DISTRIBUTION).into_iter().flat_map(|it| it.items).collect();
    for path in ["/index.html", "/app.js", "/logo.svg"] {
        assert!(invalidated.contains(path), "{path} of {invalidated:?}, {written}");
    }
}

#[tokio::test]
async fn what_the_corpus_accepts_goes_live_and_what_it_rejects_never_reaches_the_bucket() {
    let stage = Stage::new().await;
    let mut live = old();
    stage.deploy("old", &stage.upload("old.zip", &live)).await;
    for label in ["accept", "iffy", "reject", "malicious"] {
        for (name, archive) in corpus(label).unwrap_or_default() {
            let is_accepted = match label {
                "accept" => true,
                "iffy" => iffy_verdict(&name) == Verdict::Deployed,
                _ => false,
            };
            let context = format!("{label}/{name}");
            let before = state(&stage).await;
            let event = stage.upload_bytes(&context, archive.clone());
            stage.cloud.clear_calls();
            if is_accepted {
                stage.deploy(&context, &event).await;
                if label == "accept" {
                    live = unzipped(&archive);
                    stage.assert_live(&live);
                }
            } else {
                refusal(&stage, &context, &event).await;
                assert_eq!(writes_to_live(&stage), [] as [String; 0], "{context}");
                assert_eq!(state(&stage).await.0, before.0, "{context}");
            }
        }
    }
}

#[tokio::test]
async fn names_that_leave_the_folder_never_reach_the_bucket() {
    let stage = Stage::new().await;
    let renamed = |name: &[u8]| {
        let plain = "x".repeat(name.len());
        let build = files([("index.html", "page"), (&plain, "evil")]);
        // In both headers, so that only the name is wrong.
        replaced(zipped(&build), plain.as_bytes(), name, 2)
    };
    let mut archives: Vec<(String, Vec<u8>)> = [
        &b"/etc/passwd"[..],
        b"//host/share",
        b"../evil.html",
        b"a/../../evil.html",
        b"a/..",
        b"./evil.html",
        b"a//evil.html",
        b"C:/evil.html",
        b"c:evil.html",
        b"a\\evil.html",
        b"..\\evil.html",
        b"nul\0.html",
        b"line\nbreak.html",
        b"escape\x1b[2J.html",
        b"delete\x7f.html",
        b"latin-\xe9.html",
        b"overlong-\xc0\xae\xc0\xae/x",
    ]
    .into_iter()
    .map(|name| (String::from_utf8_lossy(name).into_owned(), renamed(name)))
    .collect();
    let long = "n".repeat(1_025);
    archives.push((long.clone(), zipped(&files([("index.html", "page"), (&long, "long")]))));
    let mut link = ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink("link.html", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    archives.push(("link.html".to_owned(), link.finish().unwrap().into_inner()));
    for (name, archive) in archives {
        let event = stage.upload_bytes("site.zip", archive);
        stage.cloud.clear_calls();
        let message = refusal(&stage, &name, &event).await;
        assert!(!message.contains(char::is_control), "{message:?}");
        if name.contains('\\') {
            assert!(message.contains("Compress-Archive"), "{message}");
        }
        let calls = stage.cloud.calls();
        assert!(
            calls.iter().all(|call| call.bucket.as_deref() != Some(LIVE)),
            "{name:?}: the live bucket is not even listed"
        );
    }
    // With the prefix a key has 1,024 bytes at most.
    let stage = stage.with("LIVE_PREFIX", "site/");
    for (length, fits) in [(1_019, true), (1_020, false)] {
        let name = "n".repeat(length);
        let event = stage.upload("long.zip", &files([(&name, "long")]));
        let answer = stage.invoke(&name, &event).await.into_answer();
        assert_eq!(answer.is_ok(), fits, "{length}");
    }
}

#[tokio::test]
async fn a_wrapper_folder_is_warned_of_and_never_replaces_a_large_site() {
    let wrapped = files([("dist/index.html", "page"), ("dist/app.js", "app")]);
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &wrapped);
    let report = stage.deploy("one", &event).await;
    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].contains("set ARCHIVE_ROOT to `dist/`"), "{:?}", report.warnings);

    let unwrapped = Stage::new().await.with("ARCHIVE_ROOT", "dist");
    let event = unwrapped.upload("site.zip", &wrapped);
    let report = unwrapped.deploy("one", &event).await;
    assert_eq!(report.warnings, [] as [String; 0]);
    unwrapped.assert_live(&files([("index.html", "page"), ("app.js", "app")]));

    let elsewhere = Stage::new().await.with("ARCHIVE_ROOT", "build");
    let event = elsewhere.upload("site.zip", &wrapped);
    let message = refusal(&elsewhere, "one", &event).await;
    assert!(message.contains("ARCHIVE_ROOT `build/`"), "{message}");
    assert_eq!(writes_to_live(&elsewhere), [] as [String; 0]);

    let large = Stage::new().await;
    for n in 0..500 {
        large.cloud.put_object(LIVE, &format!("{n}.html"), "page", Headers::of_type("text/html"));
    }
    let event = large.upload("site.zip", &wrapped);
    let failure = large.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "LargeDelete");
    assert_eq!(writes_to_live(&large), [] as [String; 0]);
}

#[tokio::test]
async fn a_quine_is_refused_and_another_file_of_the_archives_size_is_not() {
    let stage = Stage::new().await;
    let event = stage.upload_bytes("site.zip", quine());
    let message = refusal(&stage, "one", &event).await;
    assert!(message.contains(quine::NAME) && message.contains("itself"), "{message}");
    assert_eq!(archive_ranges(&stage).len(), 1, "it is read once");
    assert_eq!(writes_to_live(&stage), [] as [String; 0]);

    // Text that deflates well beside noise: the text is made as long as the archive.
    let archive_of = |size: usize| {
        let text = vec![b'x'; size];
        zipped(&[("noise.bin".to_owned(), noise(3_000, 3)), ("x.txt".to_owned(), text)].into())
    };
    let size = (3_000..4_000)
        .find(|size| archive_of(*size).len() == *size)
        .expect("the archive's size hardly depends on the text's");
    let event = stage.upload_bytes("site.zip", archive_of(size));
    assert_eq!(stage.deploy("two", &event).await.new, 2);
}

#[tokio::test]
async fn a_directory_over_its_limit_is_refused_before_it_is_read() {
    let stage = Stage::new().await;
    // An end record that counts 65,535 entries, after as many bytes as they would take.
    let directory = vec![0; 46 * 65_535];
    let mut archive = directory.clone();
    archive.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
    archive.extend((directory.len() as u32).to_le_bytes());
    archive.extend([0; 6]);
    let event = stage.upload_bytes("bomb.zip", archive);
    let stage = stage.with("MAX_ENTRIES", "65534");
    let message = refusal(&stage, "one", &event).await;
    assert!(message.contains("MAX_ENTRIES"), "{message}");
    assert_eq!(archive_ranges(&stage), ["bytes=-262144"]);
}

#[tokio::test]
async fn a_part_is_tried_again_by_itself_and_a_failed_upload_leaves_no_parts() {
    let build: Files = [("noise.bin".to_owned(), noise(20 << 20, 7))].into();
    // Stored, it would be copied by S3 itself.
    let archive = zipped(&build);
    let stage = Stage::new().await;
    stage.cloud.fault(Fault { first: 2, ..Fault::on("UploadPart", Does::refuse(503, "SlowDown")) });
    stage.deploy("one", &stage.upload_bytes("site.zip", archive.clone())).await;
    stage.assert_live(&build);
    // 20 MiB are four parts.
    assert_eq!(stage.count("UploadPart"), 4 + 1);
    assert_eq!(stage.count("CreateMultipartUpload"), 1);

    let stage = Stage::new().await;
    stage.cloud.fault(Fault {
        first: 2,
        times: usize::MAX,
        ..Fault::on("UploadPart", Does::refuse(400, "InvalidRequest"))
    });
    let event = stage.upload_bytes("site.zip", archive);
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws");
    assert!(failure.error_message.contains("noise.bin"), "{}", failure.error_message);
    assert!(stage.cloud.uploads(LIVE).is_empty(), "no parts are left behind");
    assert!(stage.cloud.objects(LIVE).is_empty());
    stage.cloud.clear_faults();
    stage.deploy("one", &event).await;
    stage.assert_live(&build);
}

#[tokio::test]
async fn after_a_failure_nothing_is_begun_however_much_waits_for_room() {
    let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    let first = ("0.bin".to_owned(), noise(2_000, 0));
    let whole = (1..=20).map(|n| (format!("{n:02}.bin"), noise(1 << 20, n)));
    let large = (1..=4).map(|n| (format!("large-{n}.bin"), noise(17 << 20, 100 + n)));
    let build: Files = whole.chain(large).chain([first]).collect();
    let event = stage.upload("site.zip", &build);
    stage.cloud.fault(Fault {
        key: Some("0.bin".to_owned()),
        times: usize::MAX,
        ..Fault::on("PutObject", Does::refuse(403, "AccessDenied"))
    });
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws", "{}", failure.error_message);
    // What had room already is finished.
    let begun = stage.count("CreateMultipartUpload");
    assert!(begun <= 1, "{begun} of 4 uploads were begun");
    // The large ones come last in the archive.
    let is_span = |range: &&String| {
        let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
        let (start, end): (u64, u64) = (start.parse().ok()?, end.parse().ok()?);
        (start < 20 << 20 && end - start > 2 << 20).then_some(())
    };
    let ranges = archive_ranges(&stage);
    let spans = ranges.iter().filter(|range| is_span(range).is_some());
    // Two were read ahead, one had room.
    let spans = spans.count();
    assert!(spans <= 3, "{spans} of 7 spans were read: {ranges:?}");

    stage.cloud.clear_faults();
    stage.deploy("one", &event).await;
    stage.assert_live(&build);
}

#[tokio::test]
async fn an_upload_is_aborted_once_all_its_parts_are_answered() {
    let build: Files = [("noise.bin".to_owned(), noise(20 << 20, 7))].into();
    let crc32 = crc32fast::hash(&build["noise.bin"]);
    let [right, wrong] = [crc32, !crc32].map(u32::to_le_bytes);
    let archive = replaced(zipped(&build), &right, &wrong, 2);
    let stage = Stage::new().await;
    // The third part of four is on its way when the end of the entry shows that it is corrupt.
    stage.cloud.fault(Fault { first: 3, ..Fault::on("UploadPart", Does::Delay(Duration::from_millis(500))) });
    let event = stage.upload_bytes("site.zip", archive);
    let message = refusal(&stage, "one", &event).await;
    assert!(message.contains("CRC-32"), "{message}");
    let calls = stage.cloud.calls();
    let abort = calls.iter().find(|call| call.operation == "AbortMultipartUpload");
    let abort = abort.unwrap().sequence;
    let parts = calls.iter().filter(|call| call.operation == "UploadPart");
    let ends: Vec<_> = parts.map(|call| call.ended_at).collect();
    assert_eq!(ends.len(), 3);
    assert!(ends.iter().all(|end| end.is_some_and(|end| end < abort)), "{ends:?}, aborted by call {abort}");
}

#[tokio::test]
async fn a_large_entry_with_a_bad_crc_is_aborted_and_leaves_no_parts() {
    let stage = Stage::new().await;
    let build: Files = [("noise.bin".to_owned(), noise(20 << 20, 7))].into();
    let mut archive = stored(&build);
    archive[10 << 20] ^= 1;
    let event = stage.upload_bytes("site.zip", archive);
    let message = refusal(&stage, "one", &event).await;
    assert!(message.contains("`noise.bin`"), "{message}");
    assert!(stage.cloud.uploads(LIVE).is_empty(), "no parts are left behind");
    assert!(stage.cloud.objects(LIVE).is_empty());
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
                    "{} is neither build's, byte {}",
                    key,
                    at
                );
            }
        }
    }
    Ok(())
}
