//! The headers that `_headers` sets.

use std::collections::BTreeSet;

use dropship::report::Outcome;

use crate::build::{Files, files};
use crate::stage::{DISTRIBUTION, LIVE, Stage};

const FILE: &str = "
# assets never change
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

/// Returns the files of a build that go live: all except `_headers`.
pub fn live(mut files: Files) -> Files {
    files.remove("_headers");
    files
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
async fn a_changed_headers_file_copies_and_invalidates_the_objects_it_affects() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &site(FILE))).await;
    let changed = site(&FILE.replace("Content-Language: de", "Content-Language: en"));
    let event = stage.upload("2.zip", &changed);
    stage.cloud.clear_calls();
    let report = stage.deploy("two", &event).await;
    assert_eq!((report.headers, report.kept, report.bytes_written), (1, 3, 0));
    assert_eq!(stage.writes_to_live(), ["CopyObject robots.txt"]);
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/robots.txt".to_owned()].into());
    let robots = &stage.cloud.objects(LIVE)["robots.txt"].headers;
    assert_eq!(robots.content_language.as_deref(), Some("en"));
    assert_eq!(robots.content_type.as_deref(), Some("text/plain; charset=utf-8"));
    assert!(robots.cache_control.is_some(), "a copy must repeat every header");

    let without = live(site(FILE));
    let report = stage.deploy("three", &stage.upload("3.zip", &without)).await;
    assert_eq!((report.headers, report.kept), (3, 1), "without the file, its rules must not apply");
    let again = stage.deploy("four", &stage.upload("4.zip", &without)).await;
    assert_eq!(again.outcome, Outcome::Unchanged);
}

#[tokio::test]
async fn a_malformed_line_gets_the_archive_refused_before_the_first_write() {
    let stage = Stage::new().await;
    stage.deploy("one", &stage.upload("1.zip", &site(FILE))).await;
    let event = stage.upload("2.zip", &site("/*\n  Cache-Control\n"));
    stage.cloud.clear_calls();
    let message = stage.refusal("two", &event).await;
    assert!(message.contains("`_headers`: line 2: `Cache-Control` is neither"), "{message}");
    assert_eq!(stage.writes_to_live(), [] as [String; 0]);
    stage.assert_live(&live(site(FILE)));
    stage.cloud.clear_calls();
    assert_eq!(stage.refusal("three", &event).await, message, "the refusal must be recorded");
    assert!(stage.count("GetObject") <= 2, "at most the archive's tail is read");
}

#[tokio::test]
async fn an_object_that_its_headers_make_a_page_is_written_after_its_assets() {
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
    assert_eq!(stage.writes_to_live(), ["PutObject z.js", "PutObject app"]);
}

#[tokio::test]
async fn a_rule_for_a_hundred_of_ten_thousand_objects_costs_a_hundred_copies() {
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
    let writes = stage.writes_to_live();
    assert_eq!(writes.len(), 100);
    assert_eq!(writes.into_iter().collect::<BTreeSet<_>>(), copies);
    let expected: BTreeSet<String> = (0..100).map(|n| format!("/some/{n}.txt")).collect();
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), expected);

    // The tail, the rest of the central directory, and the entry of `_headers`, but no other entry.
    let ranges = stage.archive_ranges();
    assert!(ranges.len() <= 3, "{ranges:?}");
}
