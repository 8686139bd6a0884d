//! The headers that objects get, from `_headers` to gzip.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use chrono::TimeDelta;
use dropship::deploy::Invocation;
use dropship::handler::handle;
use dropship::report::{Outcome, Progress};
use flate2::read::GzDecoder;
use serde_json::Value;

use crate::deployments::writes_to_live;
use crate::stage::{DISTRIBUTION, Files, LIVE, STAGING, Stage, files, report, shared, unzipped};
use crate::support::{CLIENT, Does, Etags, Fault};

const FILE: &str = "
# what the pages load never changes
/assets/*
  Cache-Control: public, max-age=31536000, immutable
/*.txt
  Content-Language: de
  X-Amz-Meta-Rule: :splat
/*
  X-Frame-Options: DENY
";

fn site(headers_file: &str) -> Files {
    files([
        ("_headers", headers_file),
        ("assets/app.1.js", "one"),
        ("assets/style.css", "p {}"),
        ("index.html", "<script src=/assets/app.1.js></script>"),
        ("robots.txt", "all"),
    ])
}

/// What is live of a build: all of it but `_headers`.
fn live(mut files: Files) -> Files {
    files.remove("_headers");
    files
}

fn items(stage: &Stage) -> BTreeSet<String> {
    let invalidations = stage.cloud.invalidations(DISTRIBUTION).into_iter();
    invalidations.flat_map(|it| it.items).collect()
}

async fn refusal(stage: &Stage, request: &str, event: &Value) -> String {
    let failure = stage.invoke(request, event).await.into_answer().unwrap_err();
    assert_eq!(failure.error_type, "ArchiveRejected");
    failure.error_message
}

#[tokio::test]
async fn the_headers_file_is_applied_and_not_deployed() {
    let stage = Stage::new().await.with("LIVE_PREFIX", "site");
    let report = stage.deploy("one", &stage.upload("1.zip", &site(FILE))).await;
    let objects = stage.cloud.objects(LIVE);
    let keys: Vec<&str> = objects.keys().map(String::as_str).collect();
    assert_eq!(keys, ["site/assets/app.1.js", "site/assets/style.css", "site/index.html", "site/robots.txt"]);
    let app = &objects["site/assets/app.1.js"].headers;
    assert_eq!(app.cache_control.as_deref(), Some("public, max-age=31536000, immutable"));
    assert_eq!(app.content_type.as_deref(), Some("text/javascript; charset=utf-8"));
    let robots = &objects["site/robots.txt"].headers;
    assert_eq!(robots.content_language.as_deref(), Some("de"));
    assert_eq!(robots.metadata["rule"], "robots");
    let page = &objects["site/index.html"].headers;
    assert!(page.cache_control.as_deref().is_some_and(|it| it.contains("s-maxage=86400")));
    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].contains("X-Frame-Options (line 9)"), "{:?}", report.warnings);
}

#[tokio::test]
async fn a_changed_headers_file_copies_and_invalidates_what_it_changes() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &site(FILE))).await;
    let changed = site(&FILE.replace("Content-Language: de", "Content-Language: en"));
    let event = stage.upload("2.zip", &changed);
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.headers, report.kept, report.bytes_written), (1, 3, 0));
    assert_eq!(writes_to_live(&stage), ["CopyObject robots.txt"]);
    assert_eq!(items(&stage), ["/robots.txt".to_owned()].into());
    let robots = &stage.cloud.objects(LIVE)["robots.txt"].headers;
    assert_eq!(robots.content_language.as_deref(), Some("en"));
    assert_eq!(robots.content_type.as_deref(), Some("text/plain; charset=utf-8"));
    assert!(robots.cache_control.is_some(), "all headers are sent again");

    let without = live(site(FILE));
    let report = stage.deploy("three", &stage.upload("3.zip", &without)).await;
    assert_eq!((report.headers, report.kept), (3, 1), "its rules are gone with it");
    let again = stage.deploy("four", &stage.upload("4.zip", &without)).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_wrong_line_refuses_the_archive_before_anything_is_written() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &site(FILE))).await;
    let event = stage.upload("2.zip", &site("/*\n  Cache-Control\n"));
    stage.cloud.clear_calls();
    let message = refusal(&stage, "two", &event).await;
    assert!(message.contains("`_headers`: line 2: `Cache-Control` is neither"), "{message}");
    assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    stage.assert_live(&live(site(FILE)));
    stage.cloud.clear_calls();
    assert_eq!(refusal(&stage, "three", &event).await, message, "it is recorded");
    assert!(stage.count("GetObject") <= 2, "no more than its tail");
}

#[tokio::test]
async fn a_page_by_its_headers_comes_after_what_it_loads() {
    let stage = Stage::new().await;
    let event = stage.upload(
        "1.zip",
        &files([
            ("_headers", "/app\n  Content-Type: text/html\n"),
            ("app", "<script src=z.js></script>"),
            ("z.js", "z"),
        ]),
    );
    stage.deploy("one", &event).await;
    assert_eq!(writes_to_live(&stage), ["PutObject z.js", "PutObject app"]);
}

#[tokio::test]
async fn one_rule_for_a_hundred_of_ten_thousand_objects_costs_a_hundred_copies() {
    let site = |seconds: u32| {
        let rule = format!("/some/*\n  Cache-Control: max-age={seconds}\n");
        let mut files: Files = (0..9_900).map(|n| (format!("all/{n}.txt"), vec![b'x'])).collect();
        files.extend((0..100).map(|n| (format!("some/{n}.txt"), vec![b'y'])));
        files.insert("_headers".to_owned(), rule.into_bytes());
        files
    };
    let stage = Stage::new().await;
    let report = stage.deploy("one", &stage.upload("1.zip", &site(60))).await;
    assert_eq!(report.new, 10_000);
    let event = stage.upload("2.zip", &site(61));
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.headers, report.kept, report.bytes_written), (100, 9_900, 0));
    let copies: BTreeSet<String> = (0..100).map(|n| format!("CopyObject some/{n}.txt")).collect();
    let writes = writes_to_live(&stage);
    assert_eq!(writes.len(), 100);
    assert_eq!(writes.into_iter().collect::<BTreeSet<_>>(), copies);
    let expected: BTreeSet<String> = (0..100).map(|n| format!("/some/{n}.txt")).collect();
    assert_eq!(items(&stage), expected);

    // The directory, the tail that it is read with, and the entry of `_headers`; no other entry.
    let calls = stage.cloud.calls();
    let reads: Vec<_> = calls
        .iter()
        .filter(|call| call.operation == "GetObject" && call.key.as_deref() == Some("2.zip"))
        .filter_map(|call| call.range.as_deref())
        .collect();
    assert!(reads.len() <= 3, "{reads:?}");
}

#[tokio::test]
async fn precompressed_files_are_deployed_as_they_are_under_their_own_type() {
    let build = files([("app.js", "let a;"), ("app.js.br", "br"), ("app.js.gz", "gz"), ("x.tar.gz", "tar")]);
    for gzip in ["false", "true"] {
        let stage = Stage::new().await.with("GZIP", gzip);
        stage.deploy("one", &stage.upload("1.zip", &build)).await;
        stage.assert_live(&build);
        let objects = stage.cloud.objects(LIVE);
        let of = |key: &str| {
            let headers = &objects[key].headers;
            (headers.content_type.as_deref().unwrap(), headers.content_encoding.as_deref())
        };
        assert_eq!(of("app.js.br"), ("text/javascript; charset=utf-8", Some("br")));
        assert_eq!(of("app.js.gz"), ("text/javascript; charset=utf-8", Some("gzip")));
        assert_eq!(of("app.js"), ("text/javascript; charset=utf-8", None));
        assert_eq!(of("x.tar.gz"), ("application/gzip", None));
    }
}

/// Deploys, and counts the entries that were inflated.
async fn deploy_counting(stage: &Stage, request_id: &str, event: &Value) -> u64 {
    let progress = Progress::default();
    let invocation = Invocation {
        request_id,
        deadline: stage.now() + TimeDelta::minutes(15),
        clock: &|| stage.now(),
        progress: &progress,
        pause: Duration::from_millis(5),
    };
    report(handle(&stage.site(CLIENT).await, event, &invocation).await);
    progress.entries_inflated()
}

fn compressible(size: usize) -> String {
    "All work and no play makes Jack a dull boy. ".repeat(size / 44 + 1)
}

#[tokio::test]
async fn text_is_stored_as_gzip_without_being_inflated() {
    let text = compressible(3_000);
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(600).collect();
    let build = files([
        ("app.js", &text),
        ("index.html", &text),
        ("font.ttf", &text),
        ("noise.txt", &noise[..4]),
        ("_headers", "/plain.txt\n  Content-Encoding: identity\n"),
        ("plain.txt", &text),
    ]);
    let stage = Stage::new().await.with("GZIP", "true");
    let event = stage.upload("1.zip", &build);
    let inflated = deploy_counting(&stage, "one", &event).await;
    assert_eq!(inflated, 3, "the font, the noise and the plain text");
    let objects = stage.cloud.objects(LIVE);
    for (name, body) in live(build.clone()) {
        let object = &objects[&name];
        let is_gzip = object.headers.content_encoding.as_deref() == Some("gzip");
        assert_eq!(is_gzip, ["app.js", "index.html"].contains(&name.as_str()), "{name}");
        if is_gzip {
            assert!(object.body.len() < body.len());
            assert_eq!(decoded(&object.body), body, "{name}");
        } else {
            assert_eq!(object.body, body, "{name}");
        }
    }

    stage.cloud.clear_calls();
    let again = stage.deploy("two", &stage.upload("2.zip", &build)).await;
    assert_eq!(again.outcome, Outcome::Unchanged);

    // Off again: the same contents, in another form.
    let plain = stage.with("GZIP", "false");
    let report = plain.deploy("three", &plain.upload("3.zip", &build)).await;
    assert_eq!((report.changed, report.kept), (2, 3));
    plain.assert_live(&live(build));
    assert_eq!(items(&plain), ["/", "/app.js", "/index.html"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_copy_sends_every_header_again_and_leaves_gzip_as_it_is() {
    let text = compressible(2_000);
    let rules = |language: &str| {
        format!("/*\n  Content-Language: {language}\n  Content-Disposition: inline\n  X-Amz-Meta-Build: 1\n")
    };
    let build = |language: &str| files([("_headers", &*rules(language)), ("a.txt", &text)]);
    let stage = Stage::new().await.with("GZIP", "true");
    stage.deploy("one", &stage.upload("1.zip", &build("de"))).await;
    let before = stage.cloud.objects(LIVE)["a.txt"].clone();
    let event = stage.upload("2.zip", &build("en"));
    let inflated = deploy_counting(&stage, "two", &event).await;
    assert_eq!(inflated, 0);
    assert_eq!(stage.count("CopyObject"), 1);
    let after = stage.cloud.objects(LIVE)["a.txt"].clone();
    assert_eq!(after.body, before.body);
    assert_eq!(after.headers.content_language.as_deref(), Some("en"));
    let mut expected = before.headers;
    expected.content_language = after.headers.content_language.clone();
    assert_eq!(expected.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(expected.content_disposition.as_deref(), Some("inline"));
    assert_eq!(expected.metadata["build"], "1");
    assert_eq!(after.headers, expected);
    let again = stage.deploy("three", &stage.upload("3.zip", &build("en"))).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn comparing_contents_finds_gzip_objects_as_they_are() {
    let build = files([("a.txt", &compressible(2_000)), ("index.html", "page")]);
    let stage = Stage::new().await.with("GZIP", "true").with("COMPARE", "content");
    stage.deploy("one", &stage.upload("1.zip", &build)).await;
    let again = stage.deploy("two", &stage.upload("2.zip", &build)).await;
    assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 2));
}

#[tokio::test]
async fn a_lost_answer_to_a_gzip_put_is_no_foreign_write() {
    let build = files([("a.txt", &compressible(2_000))]);
    let stage = Stage::new().await.with("GZIP", "true");
    let event = stage.upload("1.zip", &build);
    stage.cloud.fault(Fault { key: Some("a.txt".to_owned()), ..Fault::on("PutObject", Does::DropAfter) });
    stage.cloud.clear_calls();
    let report = stage.deploy("one", &event).await;
    assert_eq!((report.new, report.drift), (1, 0));
    assert_eq!(
        writes_to_live(&stage),
        ["PutObject a.txt", "PutObject a.txt"],
        "the client's own retry, which finds it written"
    );
}

#[tokio::test]
async fn gzip_objects_are_recognised_without_a_manifest() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let stage = Stage::with_etags(etags).await.with("GZIP", "true");
        let build = files([("a.txt", &compressible(2_000)), ("index.html", "page")]);
        let event = stage.upload("1.zip", &build);
        stage.deploy("one", &event).await;
        for key in stage.cloud.objects(STAGING).into_keys() {
            if key.starts_with(".dropship/") {
                stage.cloud.delete_object(STAGING, &key);
            }
        }
        stage.cloud.clear_calls();
        let again = stage.deploy("two", &event).await;
        assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 2));
        assert_eq!(writes_to_live(&stage), [] as [String; 0]);
    }
}

#[tokio::test]
async fn a_large_text_is_stored_as_gzip_in_parts() {
    // Hex digits deflate to a little over half.
    let mut random = fastrand::Rng::with_seed(7);
    let text: String = std::iter::repeat_with(|| random.digit(16)).take(36 << 20).collect();
    let build = files([("large.txt", &text)]);
    let stage = Stage::new().await.with("GZIP", "true");
    let inflated = deploy_counting(&stage, "one", &stage.upload("1.zip", &build)).await;
    assert_eq!(inflated, 0);
    assert!(stage.count("UploadPart") > 1);
    let object = &stage.cloud.objects(LIVE)["large.txt"];
    assert_eq!(object.headers.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(decoded(&object.body), text.as_bytes());
    let again = stage.deploy("two", &stage.upload("2.zip", &build)).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_client_gets_every_file_of_a_real_site_through_gzip() {
    let Some(folder) = shared("sites") else {
        return;
    };
    let archive = std::fs::read(folder.join("streamlit-1.48.0.zip")).unwrap();
    let files = unzipped(&archive);
    let stage = Stage::new().await.with("GZIP", "true");
    let inflated = deploy_counting(&stage, "one", &stage.upload_bytes("1.zip", archive.clone())).await;
    let edge = stage.cloud.edge(DISTRIBUTION);
    let (mut gzip, mut saved) = (0, 0);
    for (name, body) in &files {
        let answer = edge.get(&format!("/{}", name.replace(' ', "%20")));
        assert_eq!(answer.status, 200, "{name}");
        if answer.headers.get("content-encoding").is_some_and(|it| it == "gzip") {
            gzip += 1;
            saved += body.len() - answer.body.len();
            assert!(decoded(&answer.body) == *body, "{name}");
        } else {
            assert!(answer.body == *body, "{name}");
        }
    }
    crate::settled::say(&format!(
        "of {} files {gzip} are gzip and {saved} bytes shorter; {inflated} others were inflated",
        files.len()
    ));
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
    let entries: Vec<_> = (0..zip.len())
        .map(|number| {
            let entry = zip.by_index(number).unwrap();
            let name = entry.name().unwrap().into_owned();
            let is_text = TEXT.iter().any(|extension| name.ends_with(extension));
            let is_deflated = entry.compression() == zip::CompressionMethod::Deflated;
            let shrinks = entry.compressed_size() * 10 <= entry.size() * 9;
            (is_deflated, is_deflated && is_text && shrinks)
        })
        .collect();
    let worth = entries.iter().filter(|(_, is_worth)| *is_worth).count();
    let deflated = entries.iter().filter(|(is_deflated, _)| *is_deflated).count();
    assert_eq!((gzip, inflated), (worth, (deflated - worth) as u64));
    assert!(gzip >= 75, "nearly all of its text");
}

/// The extensions of the site's text.
const TEXT: [&str; 5] = [".css", ".html", ".js", ".json", ".svg"];

fn decoded(gzip: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut body).unwrap();
    body
}
