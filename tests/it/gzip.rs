//! Objects that are stored as gzip.

use std::io::{Cursor, Read};

use dropship::report::{Outcome, Progress};
use flate2::read::GzDecoder;
use serde_json::Value;
use standins::{CLIENT, Does, Etags, Fault};
use zip::{CompressionMethod, ZipArchive};

use crate::build::{files, unzipped};
use crate::headers::live;
use crate::note::note;
use crate::shared_data::releases;
use crate::stage::{DISTRIBUTION, LIVE, STAGING, Stage, report};

#[tokio::test]
async fn precompressed_files_are_deployed_unchanged_with_their_own_type() {
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

#[tokio::test]
async fn text_is_stored_as_gzip_as_the_archive_compressed_it() {
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
    assert_eq!(inflated, 3, "the font, the noise and the plain text are stored as they are");
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

    // Without gzip, the same contents have another encoding.
    let plain = stage.with("GZIP", "false");
    let report = plain.deploy("three", &plain.upload("3.zip", &build)).await;
    assert_eq!((report.changed, report.kept), (2, 3));
    plain.assert_live(&live(build));
    assert_eq!(plain.items_sent(&report, DISTRIBUTION), ["/", "/app.js", "/index.html"].map(str::to_owned).into());
}

#[tokio::test]
async fn a_copy_repeats_every_header_and_keeps_the_gzip_body() {
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
async fn a_lost_reply_to_a_gzip_put_does_not_count_as_a_foreign_write() {
    let build = files([("a.txt", &compressible(2_000))]);
    let stage = Stage::new().await.with("GZIP", "true");
    let event = stage.upload("1.zip", &build);
    stage.cloud.fault(Fault { key: Some("a.txt".to_owned()), ..Fault::on("PutObject", Does::DropAfter) });
    stage.cloud.clear_calls();
    let report = stage.deploy("one", &event).await;
    assert_eq!((report.new, report.drift), (1, 0));
    assert_eq!(
        stage.writes_to_live(),
        ["PutObject a.txt", "PutObject a.txt"],
        "the SDK's retry finds the object already written"
    );
}

#[tokio::test]
async fn gzip_objects_are_recognised_without_a_manifest() {
    for etags in [Etags::Md5, Etags::Opaque] {
        let stage = Stage::with_etags(etags).await.with("GZIP", "true");
        let build = files([("a.txt", &compressible(2_000)), ("index.html", "page")]);
        let event = stage.upload("1.zip", &build);
        stage.deploy("one", &event).await;
        for key in stage.manifests() {
            stage.cloud.delete_object(STAGING, &key);
        }
        stage.cloud.clear_calls();
        let again = stage.deploy("two", &event).await;
        assert_eq!((again.outcome, again.kept), (Outcome::Unchanged, 2));
        assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    }
}

#[tokio::test]
async fn a_large_text_is_stored_as_gzip_in_parts() {
    // Hex digits deflate to a little over half their size.
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
async fn a_client_can_decode_every_file_of_a_real_site() {
    let Some([archive, _]) = releases() else {
        return;
    };
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
    note(&format!(
        "gzip: {gzip} of {} files are stored as gzip and save {saved} bytes; {inflated} others were inflated",
        files.len()
    ));
    let (deflated, worthwhile) = deflated_entries(&archive);
    assert_eq!((gzip, inflated), (worthwhile, (deflated - worthwhile) as u64));
    assert!(gzip >= 75, "nearly all of the site's text must be stored as gzip");
}

/// The extensions of the real site's text files.
const TEXT: [&str; 5] = [".css", ".html", ".js", ".json", ".svg"];

/// Returns how many entries are deflated, and how many of these are text that shrinks by a tenth or more.
fn deflated_entries(archive: &[u8]) -> (usize, usize) {
    let mut zip = ZipArchive::new(Cursor::new(archive)).unwrap();
    let (mut deflated, mut worthwhile) = (0, 0);
    for number in 0..zip.len() {
        let entry = zip.by_index(number).unwrap();
        if entry.compression() == CompressionMethod::Deflated {
            let name = entry.name().unwrap().into_owned();
            let is_text = TEXT.iter().any(|extension| name.ends_with(extension));
            let shrinks = entry.compressed_size() * 10 <= entry.size() * 9;
            deflated += 1;
            worthwhile += usize::from(is_text && shrinks);
        }
    }
    (deflated, worthwhile)
}

/// Deploys and returns how many entries were inflated for their objects.
async fn deploy_counting(stage: &Stage, request_id: &str, event: &Value) -> u64 {
    let progress = Progress::default();
    report(stage.invoke_on(&stage.site(CLIENT).await, request_id, event, &progress).await);
    progress.entries_inflated()
}

/// Returns a text of about this size that compresses well.
fn compressible(size: usize) -> String {
    "All work and no play makes Jack a dull boy. ".repeat(size / 44 + 1)
}

fn decoded(gzip: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    GzDecoder::new(gzip).read_to_end(&mut body).unwrap();
    body
}
