//! What people upload: names with `./`, files that no site shows, odd zips, and files that are no zip.

use dropship::report::{Outcome, Report};
use serde_json::json;

use crate::build::{Files, files, zipped};
use crate::stage::{LIVE, STAGING, Stage, report};

/// An entry of an archive that is written byte by byte, stored and made on Unix.
struct Raw {
    name: Vec<u8>,
    body: &'static str,
    attributes: u32,
    made_by_host: u8,
    extra: Vec<u8>,
}

fn raw(name: &str, body: &'static str) -> Raw {
    let (name, extra) = (name.as_bytes().to_vec(), Vec::new());
    Raw { name, body, attributes: 0o100_644 << 16, made_by_host: 3, extra }
}

fn folder(name: &str) -> Raw {
    Raw { attributes: 0o040_755 << 16 | 0x10, ..raw(name, "") }
}

/// Writes a zip with `padding` zero bytes before the central directory.
fn raw_zip(entries: &[Raw], padding: usize) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for Raw { name, body, attributes, made_by_host, extra } in entries {
        let offset = archive.len() as u32;
        // Flags, method, time and date; CRC-32, two sizes and two lengths.
        let mut common = vec![0, 0, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc32fast::hash(body.as_bytes()).to_le_bytes());
        common.extend([(body.len() as u32).to_le_bytes(); 2].concat());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend((extra.len() as u16).to_le_bytes());
        archive.extend([b"PK\x03\x04\x14\0", &common[..], name, extra, body.as_bytes()].concat());
        directory.extend([b"PK\x01\x02\x14", &[*made_by_host, 0x14, 0][..], &common, &[0; 6]].concat());
        directory.extend([attributes.to_le_bytes(), offset.to_le_bytes()].concat());
        directory.extend([&name[..], extra].concat());
    }
    archive.resize(archive.len() + padding, 0);
    let (offset, count) = (archive.len() as u32, (entries.len() as u16).to_le_bytes());
    let size = directory.len() as u32;
    archive.extend(directory);
    archive.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count].concat());
    archive.extend([size.to_le_bytes(), offset.to_le_bytes()].concat());
    archive.extend([0, 0]);
    archive
}

/// Deploys an archive to an empty site.
async fn deploy(stage: &Stage, archive: Vec<u8>) -> Report {
    stage.deploy("one", &stage.upload_bytes("uploads/site.zip", archive)).await
}

#[tokio::test]
async fn an_archive_whose_names_begin_with_a_dot_and_a_slash_is_deployed_without_them() {
    let stage = Stage::new().await;
    let entries = [
        folder("./"),
        raw("./index.html", "home"),
        folder("./.well-known/"),
        raw("./.well-known/security.txt", "Contact: mailto:a@example.org"),
        raw("./.nojekyll", ""),
        raw("./css/a.css", "a"),
        raw("./_headers", "/*\n  Cache-Control: no-cache\n"),
    ];
    let report = deploy(&stage, raw_zip(&entries, 0)).await;
    assert_eq!(report.warnings, [] as [String; 0]);
    stage.assert_live(&files([
        ("index.html", "home"),
        (".well-known/security.txt", "Contact: mailto:a@example.org"),
        (".nojekyll", ""),
        ("css/a.css", "a"),
    ]));
    assert_eq!(stage.cloud.object(LIVE, "index.html").unwrap().headers.cache_control.as_deref(), Some("no-cache"));
    // Packed without the dot, it is the same build.
    let plain = raw_zip(
        &[raw("index.html", "home"), raw("css/a.css", "a"), raw("_headers", "/*\n  Cache-Control: no-cache\n")],
        0,
    );
    let report = stage.deploy("two", &stage.upload_bytes("uploads/site.zip", plain)).await;
    assert_eq!((report.new, report.changed, report.headers, report.deleted, report.kept), (0, 0, 0, 2, 2));
}

#[tokio::test]
async fn a_root_is_found_under_a_dot_and_a_slash() {
    let stage = Stage::new().await.with("ARCHIVE_ROOT", "dist");
    deploy(&stage, raw_zip(&[folder("./"), raw("./dist/index.html", "home"), raw("./package.json", "{}")], 0)).await;
    stage.assert_live(&files([("index.html", "home")]));
}

fn with_secrets() -> Files {
    files([
        ("index.html", "home"),
        (".git/config", "[core]"),
        (".git/HEAD", "ref: refs/heads/main"),
        (".env", "KEY=secret"),
        (".env.example", "KEY="),
        ("app.js", "a"),
        ("app.js.map", "{}"),
    ])
}

#[tokio::test]
async fn private_files_and_those_of_the_setting_are_left_out_and_deleted() {
    let stage = Stage::new().await;
    let first = stage.deploy("one", &stage.upload("1.zip", &with_secrets())).await;
    assert_eq!((first.new, first.left_out), (3, 4));
    insta::assert_snapshot!(
        first.warnings.join("\n"),
        @"private files are left out: `.env`, `.env.example`, `.git/HEAD`, `.git/config`; to deploy one of them, add `!` and its name to Exclude, such as `!.env.example`, or the name of its folder, such as `!.git/`"
    );
    stage.assert_live(&files([("index.html", "home"), ("app.js", "a"), ("app.js.map", "{}")]));

    // What is live and left out from now on is deleted, like anything that the archive lacks.
    let stage = stage.with("EXCLUDE", "*.map, !.env.example");
    let second = stage.deploy("two", &stage.upload("2.zip", &with_secrets())).await;
    assert_eq!((second.new, second.deleted, second.left_out), (1, 1, 4));
    stage.assert_live(&files([("index.html", "home"), ("app.js", "a"), (".env.example", "KEY=")]));
    let live = |name: &str| stage.items_sent(&second, crate::stage::DISTRIBUTION).contains(name);
    assert!(live("/app.js.map"), "a file that is taken away is invalidated");
}

#[tokio::test]
async fn a_private_key_among_the_written_files_is_a_warning() {
    const KEY: &str = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n";
    let stage = Stage::new().await;
    let build = files([
        ("index.html", "home"),
        ("certs/server.KEY", KEY),
        ("id_rsa", KEY),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n"),
        ("notes.txt", KEY),
    ]);
    let event = stage.upload("1.zip", &build);
    let mut rehearsed = event.clone();
    rehearsed["options"] = json!({"dryRun": true});
    let planned = stage.deploy("zero", &rehearsed).await;
    let report = stage.deploy("one", &event).await;
    assert_eq!(planned.warnings, report.warnings);
    insta::assert_snapshot!(
        report.warnings.join("\n"),
        @"private keys are deployed, for everyone to read: `certs/server.KEY`, `id_rsa`; take them out of the site, and replace them"
    );
    // Unchanged files are not read.
    let again = stage.deploy("two", &stage.upload("2.zip", &build)).await;
    assert_eq!((again.outcome, again.warnings), (Outcome::Unchanged, vec![]));
}

#[tokio::test]
async fn a_folder_whose_unicode_path_ends_in_a_backslash_is_a_folder() {
    let stage = Stage::new().await;
    let name = b"\x84/".to_vec();
    // Version 1, the CRC-32 of the name, and the path in UTF-8.
    let field = [&[1][..], &crc32fast::hash(&name).to_le_bytes(), "ä\\".as_bytes()].concat();
    let extra = [b"\x75\x70", &(field.len() as u16).to_le_bytes()[..], &field].concat();
    let odd = Raw { name, extra, attributes: 0x10, made_by_host: 0, ..folder("") };
    deploy(&stage, raw_zip(&[raw("index.html", "home"), odd], 0)).await;
    stage.assert_live(&files([("index.html", "home")]));
}

#[tokio::test]
async fn a_folder_without_a_mode_is_a_folder() {
    let stage = Stage::new().await;
    let odd = Raw { attributes: 0xffff_0010, ..folder("META-INF/") };
    deploy(&stage, raw_zip(&[raw("index.html", "home"), odd, raw("META-INF/a.txt", "a")], 0)).await;
    stage.assert_live(&files([("index.html", "home"), ("META-INF/a.txt", "a")]));
}

#[tokio::test]
async fn zero_bytes_before_the_central_directory_are_padding() {
    for padding in [1, 100, 4_096] {
        let stage = Stage::new().await;
        deploy(&stage, raw_zip(&[raw("index.html", "home"), raw("a.txt", "a")], padding)).await;
        stage.assert_live(&files([("index.html", "home"), ("a.txt", "a")]));
    }
    let stage = Stage::new().await;
    let mut archive = raw_zip(&[raw("index.html", "home"), raw("a.txt", "a")], 100);
    let at = archive.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    archive[at - 50] = b'x';
    let refusal = stage.refusal("one", &stage.upload_bytes("uploads/site.zip", archive)).await;
    assert!(refusal.contains("bytes that belong to no entry"), "{refusal}");
}

#[tokio::test]
async fn a_zip_is_known_by_its_ending_in_any_case() {
    let stage = Stage::new().await;
    let report = stage.deploy("one", &stage.upload("uploads/SITE.ZIP", &files([("index.html", "home")]))).await;
    assert_eq!(report.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn what_is_no_archive_by_its_name_is_ignored() {
    let stage = Stage::new().await;
    for key in ["uploads/", "uploads/site.zip.sha256", "uploads/site", "uploads/notes.txt"] {
        let event = stage.upload_bytes(key, b"x".to_vec());
        stage.cloud.clear_calls();
        let handled = stage.invoke("one", &event).await;
        let moment = dropship::metrics::Moment { now: stage.now(), began: stage.now(), owed_seconds: None };
        let [line] = &handled.log_lines(moment)[..] else { panic!("{key} has one line in the log") };
        assert!(line.contains("\"outcome\":\"ignored\"") && line.contains(key), "{line}");
        let report = report(handled);
        assert_eq!((report.outcome, report.archive.unwrap().key.as_str()), (Outcome::Ignored, key));
        assert!(stage.cloud.calls().iter().all(|call| call.operation == "Query"), "{:?}", stage.cloud.calls());
    }
    assert_eq!(stage.ledger_items().await.len(), 0);
    // A person may mean a zip of any name.
    let mut event = stage.upload("uploads/site", &files([("index.html", "home")]));
    event["options"] = json!({"replay": true});
    assert_eq!(stage.deploy("two", &event).await.outcome, Outcome::Deployed);
}

#[tokio::test]
async fn another_archive_is_refused_by_its_name_without_being_read() {
    let stage = Stage::new().await;
    let event = stage.upload_bytes("uploads/site.tar.gz", b"\x1f\x8b".to_vec());
    insta::assert_snapshot!(
        stage.refusal("one", &event).await,
        @"the archive was refused: `uploads/site.tar.gz` is a gzip-compressed tar archive; dropship takes zip files, so pack the contents of the site's folder as a zip"
    );
    let is_read = |call: &standins::Call| call.bucket.as_deref() == Some(STAGING);
    assert!(!stage.cloud.calls().iter().any(is_read), "{:?}", stage.cloud.calls());
    assert_eq!(stage.deployment_records().await.len(), 1, "the refusal is recorded, as every refusal is");
}

#[tokio::test]
async fn a_zip_that_is_something_else_is_refused_by_its_first_bytes() {
    let stage = Stage::new().await;
    let long = |start: &[u8]| [start, &[b'x'; 300_000]].concat();
    for (contents, words, reads) in [
        // An empty object has no range, so the SDK asks again.
        (Vec::new(), "an empty file", 2),
        (b"<!doctype html><h1>403".to_vec(), "an HTML page", 1),
        (long(b"\x1f\x8b\x08"), "gzip-compressed data", 2),
        (long(b"PK\x03\x04"), "cut short", 2),
        (zipped(&files([("index.html", "home")]))[..60].to_vec(), "cut short", 1),
    ] {
        let event = stage.upload_bytes("uploads/site.zip", contents);
        stage.cloud.clear_calls();
        let refusal = stage.refusal("one", &event).await;
        assert!(refusal.contains(words), "{refusal}");
        assert_eq!(stage.count("GetObject"), reads, "{words}");
    }
}

#[tokio::test]
async fn the_folder_for_plans_takes_archives_for_dry_runs_alone() {
    let stage = Stage::new().await;
    let mut event = stage.upload("plans/first.zip", &files([("index.html", "home")]));
    let failure = stage.invoke("one", &event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "BadEvent");
    assert!(failure.error_message.contains("dry runs alone"), "{}", failure.error_message);
    event["options"] = json!({"dryRun": true});
    assert_eq!(stage.deploy("two", &event).await.outcome, Outcome::Planned);
    assert!(stage.cloud.objects(LIVE).is_empty());
}

#[tokio::test]
async fn a_tar_with_a_zip_in_it_is_told_as_a_tar() {
    let stage = Stage::new().await;
    let mut tar = vec![0; 512];
    tar[..8].copy_from_slice(b"site.zip");
    tar[257..262].copy_from_slice(b"ustar");
    tar.extend(zipped(&files([("index.html", "home")])));
    let form = b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
    let form = [&form[..], &zipped(&files([("index.html", "home")])), b"\r\n--x--\r\n"].concat();
    for (contents, words) in [(tar, "is a tar archive"), (form, "is the form of an upload")] {
        let event = stage.upload_bytes("uploads/site.zip", contents);
        let refusal = stage.refusal(words, &event).await;
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[tokio::test]
async fn private_keys_are_found_behind_certificates_and_marks() {
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
    let stage = Stage::new().await;
    let mut build = files([("index.html", "home"), ("id_ed25519_sk", KEY)]);
    for number in 0..40 {
        build.insert(format!("certs/{number:02}.pem"), b"-----BEGIN CERTIFICATE-----\nMIIB\n".to_vec());
    }
    build.insert("certs/server.pem".to_owned(), format!("\u{feff}{KEY}").into_bytes());
    build.insert("certs/bag.pem".to_owned(), format!("Bag Attributes\r\n  {KEY}").into_bytes());
    let report = stage.deploy("one", &stage.upload("1.zip", &build)).await;
    for name in ["`id_ed25519_sk`", "`certs/server.pem`", "`certs/bag.pem`"] {
        assert!(report.warnings.join("\n").contains(name), "{name}: {:?}", report.warnings);
    }
}
