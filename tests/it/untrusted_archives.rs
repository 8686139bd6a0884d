//! Archives from strangers: a refused archive writes nothing, and an accepted one goes live as it was packed.

mod corruption;
mod preflight;

use std::io::Cursor;

use serde_json::json;
use standins::quine::{self, quine};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::archive::corpus::{Verdict, corpus, iffy_verdict};
use crate::build::{Files, files, noise, replaced, unzipped, zipped};
use crate::stage::{LIVE, Stage};

/// Returns the build that is live before the archive under test arrives.
fn old() -> Files {
    files([("index.html", "old"), ("app.js", "old"), ("logo.svg", "old")])
}

/// Returns the live keys with their ETags, the manifests, and the number of owed batches.
async fn state(stage: &Stage) -> (Vec<(String, String)>, Vec<String>, usize) {
    let live = stage.cloud.objects(LIVE).into_iter();
    let owed = stage.ledger().await.owed().await;
    (live.map(|(key, object)| (key, object.etag)).collect(), stage.manifests(), owed.unwrap().len())
}

#[tokio::test]
async fn accepted_corpus_archives_go_live_and_rejected_ones_write_nothing() {
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
            let mut event = stage.upload_bytes(&context, archive.clone());
            // The archives have nothing in common with the site.
            event["options"] = json!({"allowLargeDelete": true});
            stage.cloud.clear_calls();
            if is_accepted {
                stage.deploy(&context, &event).await;
                if label == "accept" {
                    live = unzipped(&archive);
                    stage.assert_live(&live);
                }
            } else {
                stage.refusal(&context, &event).await;
                assert_eq!(stage.writes_to_live(), [] as [String; 0], "{context}");
                assert_eq!(state(&stage).await.0, before.0, "{context}");
            }
        }
    }
}

#[tokio::test]
async fn unsafe_entry_names_never_reach_the_live_bucket() {
    let stage = Stage::new().await;
    let mut archives: Vec<(String, Vec<u8>)> = [
        &b"/etc/passwd"[..],
        b"//host/share",
        b"../evil.html",
        b"a/../../evil.html",
        b"a/..",
        b"././evil.html",
        b"a/./evil.html",
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
    .map(|name| (String::from_utf8_lossy(name).into_owned(), archive_with_entry(name)))
    .collect();
    let long = "n".repeat(1_025);
    archives.push((long.clone(), zipped(&files([("index.html", "page"), (&long, "long")]))));
    let mut link = ZipWriter::new(Cursor::new(Vec::new()));
    link.add_symlink("link.html", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    archives.push(("link.html".to_owned(), link.finish().unwrap().into_inner()));
    for (name, archive) in archives {
        let event = stage.upload_bytes("site.zip", archive);
        stage.cloud.clear_calls();
        let message = stage.refusal(&name, &event).await;
        assert!(!message.contains(char::is_control), "{message:?}");
        if name.contains('\\') {
            assert!(message.contains("Compress-Archive"), "{message}");
        }
        let calls = stage.cloud.calls();
        assert!(
            calls.iter().all(|call| call.bucket.as_deref() != Some(LIVE)),
            "{name:?}: the live bucket must not even be listed"
        );
    }
    // Together with the prefix, a key has at most 1,024 bytes.
    let stage = stage.with("LIVE_PREFIX", "site/");
    for (length, fits) in [(1_019, true), (1_020, false)] {
        let name = "n".repeat(length);
        let event = stage.upload("long.zip", &files([(&name, "long")]));
        let answer = stage.invoke(&name, &event).await.into_answer();
        assert_eq!(answer.is_ok(), fits, "{length}");
    }
}

/// Packs a page and an entry with any bytes as its name, the same in both headers.
fn archive_with_entry(name: &[u8]) -> Vec<u8> {
    let placeholder = "x".repeat(name.len());
    let build = files([("index.html", "page"), (&placeholder, "evil")]);
    replaced(zipped(&build), placeholder.as_bytes(), name, 2)
}

#[tokio::test]
async fn a_quine_is_refused_but_another_file_of_the_archives_size_is_not() {
    let stage = Stage::new().await;
    let event = stage.upload_bytes("site.zip", quine());
    let message = stage.refusal("one", &event).await;
    assert!(message.contains(quine::NAME) && message.contains("itself"), "{message}");
    assert_eq!(stage.archive_ranges().len(), 1, "one read of the archive suffices");
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);

    let size = (3_000..4_000)
        .find(|size| archive_with_text(*size).len() == *size)
        .expect("the archive's size hardly depends on the length of the text");
    let event = stage.upload_bytes("site.zip", archive_with_text(size));
    assert_eq!(stage.deploy("two", &event).await.new, 2);
}

/// Packs noise and a text of this size. The text compresses to almost nothing, so that it can be as long as the archive.
fn archive_with_text(size: usize) -> Vec<u8> {
    zipped([("noise.bin", noise(3_000, 3)), ("x.txt", vec![b'x'; size])])
}

#[tokio::test]
async fn a_central_directory_over_the_limit_is_refused_before_it_is_read() {
    let stage = Stage::new().await;
    // The directory has the size that 65,535 entries need.
    let event = stage.upload_bytes("bomb.zip", with_false_directory(46 * 65_535));
    let stage = stage.with("MAX_ENTRIES", "65534");
    let message = stage.refusal("one", &event).await;
    assert!(message.contains("MAX_ENTRIES"), "{message}");
    assert_eq!(stage.archive_ranges(), ["bytes=-262144"]);
}

#[tokio::test]
async fn a_central_directory_that_the_memory_has_no_room_for_is_refused_before_it_is_read() {
    let stage = Stage::new().await;
    let event = stage.upload_bytes("site.zip", with_false_directory(17 << 20));
    let small = stage.clone().with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
    insta::assert_snapshot!(small.refusal("one", &event).await, @"the archive was refused: the archive's central directory has 17825792 bytes, and the function's memory has room for 16777216; raise MemorySize to at least 134 MiB, or use fewer files or shorter names");
    assert_eq!(stage.archive_ranges(), ["bytes=-262144"]);
    let large = stage.clone().with("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "134");
    let message = large.refusal("two", &event).await;
    assert!(!message.contains("MemorySize"), "the directory is read now: {message}");
}

/// Packs zeros as the directory of an archive whose end record counts as many entries as it can.
fn with_false_directory(size_bytes: u32) -> Vec<u8> {
    let mut archive = vec![0; size_bytes as usize];
    archive.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
    archive.extend(size_bytes.to_le_bytes());
    archive.extend([0; 6]);
    archive
}
