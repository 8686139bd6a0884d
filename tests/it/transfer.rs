//! How bodies get from the archive to the live bucket: in parts, copied by S3, in bounded memory.

use std::time::Duration;

use dropship::report::Outcome;
use standins::{Does, Fault};

use zip::CompressionMethod;

use crate::build::{Files, noise, packed, replaced, stored, zipped};
use crate::stage::{LIVE, Stage};

/// Returns a file of over 64 MiB, which is too large for one request. It compresses well.
fn huge_file() -> (String, Vec<u8>) {
    ("lines.txt".to_owned(), (0..5_500_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect())
}

fn noise_file() -> (String, Vec<u8>) {
    ("noise.bin".to_owned(), noise(20 << 20, 7))
}

#[tokio::test]
async fn large_entries_keep_the_archives_crc32_in_one_request_or_in_parts() {
    let stage = Stage::new().await;
    let build: Files = [noise_file(), huge_file()].into();
    assert!(build["lines.txt"].len() > 64 << 20);
    let report = stage.deploy("one", &stage.upload("site.zip", &build)).await;
    assert_eq!(report.new, 2);
    stage.assert_live(&build);
    assert_eq!(stage.count("CreateMultipartUpload"), 1);
    assert!(stage.cloud.multipart_uploads(LIVE).is_empty(), "no upload must stay open");
    for (name, object) in stage.cloud.objects(LIVE) {
        let crc32 = object.checksum.crc32;
        assert!(crc32.is_some_and(|crc32| crc32.ends_with('=')), "S3 must store the CRC-32 of all of {name}");
    }
    // The manifest recognises the objects although their ETags are not MD5s.
    let again = stage.deploy("two", &stage.upload("again.zip", &build)).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn one_request_reads_a_large_entry_and_one_writes_it() {
    let stage = Stage::new().await;
    let build: Files = [noise_file()].into();
    stage.deploy("one", &stage.upload("site.zip", &build)).await;
    stage.assert_live(&build);
    // The end of the archive, the local header, and the entry.
    assert_eq!(stage.archive_ranges().len(), 3, "{:?}", stage.archive_ranges());
    let writes = stage.cloud.calls().into_iter().filter(|call| call.key.as_deref() == Some("noise.bin"));
    assert_eq!(writes.map(|call| call.operation).collect::<Vec<_>>(), ["PutObject"]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_continued_where_it_broke() {
    let build: Files = [noise_file()].into();
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &build);
    // Twice the answer with the entry ends too soon, after the tail and the local header.
    let truncated = Fault { first: 3, times: 2, ..Fault::on("GetObject", Does::Truncate(5 << 20)) };
    stage.cloud.fault(truncated);
    let report = stage.deploy("one", &event).await;
    stage.assert_live(&build);
    let starts: Vec<u64> = stage.archive_ranges().iter().skip(2).map(|range| start_of(range)).collect();
    assert_eq!(starts, [0, 5 << 20, 10 << 20]);
    assert!(report.bytes_read < 21 << 20, "no byte is read twice, but {} were read", report.bytes_read);
}

#[tokio::test]
async fn a_large_text_that_is_in_memory_is_not_read_again() {
    let text = (0..2_400_000).flat_map(|n| format!("line {}\n", n % 50).into_bytes()).collect();
    let build: Files = [("lines.txt".to_owned(), text)].into();
    assert!(build["lines.txt"].len() > 16 << 20);
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("site.zip", &build)).await;
    stage.assert_live(&build);
    assert_eq!(stage.archive_ranges().len(), 1, "{:?}", stage.archive_ranges());
}

/// What is wrong with an entry is found before its last piece is sent, so that S3 never has the whole object.
#[tokio::test]
async fn a_corrupt_large_entry_is_never_sent_to_its_end() {
    // A multiple of the pieces' length, so that the last piece is a full one.
    let build: Files = [noise_file()].into();
    let crc32 = crc32fast::hash(&build["noise.bin"]);
    let [right, wrong] = [crc32, !crc32].map(u32::to_le_bytes);
    let [right_descriptor, wrong_descriptor] = [right, wrong].map(|crc32| [*b"PK\x07\x08", crc32].concat());
    for method in [CompressionMethod::Deflated, CompressionMethod::Zstd] {
        let wrong_sum = replaced(packed(&build, method, false), &right, &wrong, 2);
        let wrong_end = replaced(packed(&build, method, true), &right_descriptor, &wrong_descriptor, 1);
        for archive in [wrong_sum, wrong_end] {
            let stage = Stage::new().await;
            let message = stage.refusal("one", &stage.upload_bytes("site.zip", archive)).await;
            assert!(message.contains("`noise.bin`"), "{message}");
            assert!(stage.cloud.objects(LIVE).is_empty());
            let calls = stage.cloud.calls();
            assert!(calls.iter().all(|call| call.key.as_deref() != Some("noise.bin")), "{message}");
        }
    }
}

/// Returns pages and assets by turns, which take more room than a function with 128 MiB keeps.
fn interleaved(page_bytes: usize) -> Files {
    let pages = (0..40).map(|n| (format!("{n:02}-page.html"), noise(page_bytes, n)));
    let assets = (0..40).map(|n| (format!("{n:02}-z.js"), noise(400 << 10, 100 + n)));
    pages.chain(assets).collect()
}

#[tokio::test]
async fn pages_are_read_along_with_the_assets_around_them() {
    let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    let build = interleaved(20 << 10);
    stage.deploy("one", &stage.upload("site.zip", &build)).await;
    stage.assert_live(&build);
    let calls = stage.cloud.calls();
    let first_page = calls.iter().find(|call| call.key.as_deref().is_some_and(|key| key.ends_with(".html"))).unwrap();
    let reads = calls.iter().filter(|call| call.operation == "GetObject" && call.key.as_deref() == Some("site.zip"));
    assert!(reads.clone().all(|read| read.sequence < first_page.sequence), "a page is read after the assets");
    // 16 MiB in spans of up to 4 MiB, their headers before, and the end of the archive.
    assert!(reads.count() < 60, "{:?}", stage.archive_ranges());
}

#[tokio::test]
async fn a_corrupt_page_that_was_read_along_with_assets_never_goes_live_as_gzip() {
    let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128").with("GZIP", "true");
    let build = interleaved(100 << 10);
    let corrupt = crc32fast::hash(&build["20-page.html"]);
    let [right, wrong] = [corrupt, !corrupt].map(u32::to_le_bytes);
    let archive = replaced(zipped(&build), &right, &wrong, 2);
    let message = stage.refusal("one", &stage.upload_bytes("site.zip", archive)).await;
    assert!(message.contains("`20-page.html`"), "{message}");
    assert!(stage.cloud.objects(LIVE).keys().all(|key| !key.ends_with(".html")));
}

fn start_of(range: &str) -> u64 {
    range.strip_prefix("bytes=").and_then(|range| range.split_once('-')).unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn an_entry_whose_answers_break_off_again_and_again_changes_nothing() {
    let build: Files = [noise_file()].into();
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &build);
    stage.cloud.fault(Fault { first: 4, times: usize::MAX, ..Fault::on("GetObject", Does::Truncate(0)) });
    stage.cloud.fault(Fault { first: 3, ..Fault::on("GetObject", Does::Truncate(5 << 20)) });
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws", "{}", failure.error_message);
    assert!(failure.error_message.contains("bytes=5242880-"), "{}", failure.error_message);
    assert!(stage.cloud.objects(LIVE).is_empty());
}

#[tokio::test]
async fn a_large_entry_that_one_request_cannot_write_is_uploaded_in_parts() {
    let build: Files = [noise_file()].into();
    for does in [Does::refuse(503, "SlowDown"), Does::DropBefore, Does::refuse_after(500, "InternalError")] {
        let stage = Stage::new().await;
        let of_entry = Fault { key: Some("noise.bin".to_owned()), ..Fault::on("PutObject", does.clone()) };
        stage.cloud.fault(of_entry);
        stage.deploy("one", &stage.upload("site.zip", &build)).await;
        stage.assert_live(&build);
        assert_eq!(stage.count("CreateMultipartUpload"), 1, "{does:?}");
        assert!(stage.cloud.multipart_uploads(LIVE).is_empty(), "{does:?}");
    }
}

#[tokio::test]
async fn a_large_entry_does_not_overwrite_what_another_writer_wrote_meanwhile() {
    let build: Files = [noise_file()].into();
    let stage = Stage::new().await;
    let event = stage.upload("site.zip", &build);
    let conflict =
        Fault { key: Some("noise.bin".to_owned()), ..Fault::on("PutObject", Does::refuse(412, "PreconditionFailed")) };
    stage.cloud.fault(conflict);
    let report = stage.deploy("one", &event).await;
    stage.assert_live(&build);
    assert_eq!(report.drift, 1);
    assert_eq!(stage.count("CreateMultipartUpload"), 0);
}

/// Returns a site with one large file, and its archive with every entry stored.
fn site_with_a_video() -> (Files, Vec<u8>) {
    let site: Files =
        [("index.html".to_owned(), b"<video src=tour.mp4>".to_vec()), ("tour.mp4".to_owned(), noise(9 << 20, 9))]
            .into();
    let archive = stored(&site);
    (site, archive)
}

#[tokio::test]
async fn s3_copies_a_large_stored_entry_and_the_function_never_reads_its_bytes() {
    let stage = Stage::new().await;
    let (files, archive) = site_with_a_video();
    let report = stage.deploy("one", &stage.upload_bytes("1.zip", archive)).await;
    stage.assert_live(&files);
    assert_eq!(stage.count("UploadPartCopy"), 1);
    assert_eq!(stage.count("UploadPart"), 0);
    assert!(report.bytes_read < 1 << 20, "read {} bytes", report.bytes_read);
    assert_eq!(report.bytes_written, files["index.html"].len() as u64);
}

#[tokio::test]
async fn s3_refuses_a_copied_entry_whose_bytes_do_not_match_the_crc32() {
    let stage = Stage::new().await;
    let (_, mut archive) = site_with_a_video();
    archive[5 << 20] ^= 1;
    let event = stage.upload_bytes("1.zip", archive);
    let message = stage.refusal("one", &event).await;
    assert!(message.contains("entry `tour.mp4` is corrupt"), "{message}");
    assert_eq!(stage.cloud.multipart_uploads(LIVE).len(), 0);
    assert!(stage.cloud.objects(LIVE).is_empty());
}

#[tokio::test]
async fn a_failed_part_is_retried_alone_and_a_failed_upload_leaves_no_parts() {
    let build: Files = [huge_file()].into();
    let parts = build["lines.txt"].len().div_ceil(5 << 20);
    // Compressed, because S3 itself copies large stored entries.
    let archive = zipped(&build);
    let stage = Stage::new().await;
    stage.cloud.fault(Fault { first: 2, ..Fault::on("UploadPart", Does::refuse(503, "SlowDown")) });
    stage.deploy("one", &stage.upload_bytes("site.zip", archive.clone())).await;
    stage.assert_live(&build);
    assert_eq!(stage.count("UploadPart"), parts + 1);
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
    assert!(failure.error_message.contains("lines.txt"), "{}", failure.error_message);
    assert!(stage.cloud.multipart_uploads(LIVE).is_empty(), "no parts must be left behind");
    assert!(stage.cloud.objects(LIVE).is_empty());
    stage.cloud.clear_faults();
    stage.deploy("one", &event).await;
    stage.assert_live(&build);
}

/// Returns whether a range covers several of the 1 MiB entries, which come before the large ones in the archive.
fn is_span_of_small_entries(range: &str) -> bool {
    let bounds = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let bounds = bounds.and_then(|(start, end)| start.parse::<u64>().ok().zip(end.parse::<u64>().ok()));
    bounds.is_some_and(|(start, end)| start < 20 << 20 && end - start > 2 << 20)
}

#[tokio::test]
async fn a_multipart_upload_is_aborted_only_after_its_parts_have_ended() {
    let build: Files = [huge_file()].into();
    let full_parts = build["lines.txt"].len() / (5 << 20);
    let crc32 = crc32fast::hash(&build["lines.txt"]);
    let [right, wrong] = [crc32, !crc32].map(u32::to_le_bytes);
    let archive = replaced(zipped(&build), &right, &wrong, 2);
    let stage = Stage::new().await;
    // The last part but one is still being sent when the end of the entry proves to be corrupt.
    stage.cloud.fault(Fault { first: full_parts, ..Fault::on("UploadPart", Does::Delay(Duration::from_millis(500))) });
    let event = stage.upload_bytes("site.zip", archive);
    let message = stage.refusal("one", &event).await;
    assert!(message.contains("CRC-32"), "{message}");
    let calls = stage.cloud.calls();
    let abort = calls.iter().find(|call| call.operation == "AbortMultipartUpload").unwrap().sequence;
    let parts = calls.iter().filter(|call| call.operation == "UploadPart");
    let ends: Vec<_> = parts.map(|call| call.ended_at).collect();
    assert_eq!(ends.len(), full_parts);
    assert!(ends.iter().all(|end| end.is_some_and(|end| end < abort)), "{ends:?}, aborted by call {abort}");
}

#[tokio::test]
async fn a_large_entry_with_a_wrong_crc32_leaves_no_parts() {
    let stage = Stage::new().await;
    let build: Files = [("noise.bin".to_owned(), noise(20 << 20, 7))].into();
    let mut archive = stored(&build);
    archive[10 << 20] ^= 1;
    let event = stage.upload_bytes("site.zip", archive);
    let message = stage.refusal("one", &event).await;
    assert!(message.contains("`noise.bin`"), "{message}");
    assert!(stage.cloud.multipart_uploads(LIVE).is_empty(), "no parts must be left behind");
    assert!(stage.cloud.objects(LIVE).is_empty());
}

#[tokio::test]
async fn after_a_failure_transfers_that_wait_for_memory_do_not_start() {
    let stage = Stage::new().await.with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    let first = ("0.bin".to_owned(), noise(2_000, 0));
    let small = (1..=20).map(|n| (format!("{n:02}.bin"), noise(1 << 20, n)));
    let large = (1..=4).map(|n| (format!("large-{n}.bin"), noise(17 << 20, 100 + n)));
    let build: Files = small.chain(large).chain([first]).collect();
    let event = stage.upload("site.zip", &build);
    stage.cloud.fault(Fault {
        key: Some("0.bin".to_owned()),
        times: usize::MAX,
        ..Fault::on("PutObject", Does::refuse(403, "AccessDenied"))
    });
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "Aws", "{}", failure.error_message);
    // One upload may have had its memory already; it finishes.
    let calls = stage.cloud.calls();
    let is_large = |key: &str| key.starts_with("large-");
    let started = calls.iter().filter(|call| call.key.as_deref().is_some_and(is_large)).count();
    assert!(started <= 1, "{started} of 4 large entries were sent");
    let ranges = stage.archive_ranges();
    // Two spans were read ahead, and one more already had its memory.
    let spans = ranges.iter().filter(|range| is_span_of_small_entries(range)).count();
    assert!(spans <= 3, "{spans} of 7 spans were read: {ranges:?}");

    stage.cloud.clear_faults();
    stage.deploy("one", &event).await;
    stage.assert_live(&build);
}
