//! The headers that `_headers` sets.

use std::collections::BTreeSet;
use std::fs;

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

/// A page that says how long it is fresh, below a rule that says that everything is immutable.
#[tokio::test]
async fn a_page_that_contradictory_rules_call_immutable_is_invalidated_when_it_is_removed() {
    let rules = "/*\n  Cache-Control: public, max-age=31536000, immutable\n\
                 /*.html\n  Cache-Control: public, max-age=3600, must-revalidate\n";
    let one =
        files([("_headers", rules), ("a.css", "p"), ("index.html", "page"), ("old.html", "old"), ("old.js", "old")]);
    let mut two = one.clone();
    two.remove("old.html");
    two.remove("old.js");
    two.insert("index.html".to_owned(), b"page 2".to_vec());
    for days in ["0", "30"] {
        let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", days);
        let report = stage.deploy("one", &stage.upload("1.zip", &one)).await;
        let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
        for part in ["contradict", "`/*` (line 1), `/*.html` (line 3)"] {
            assert!(warning.contains(part), "{warning}");
        }
        assert!(!warning.contains("old.html") && !warning.contains("index.html"), "{warning}");
        let edge = stage.cloud.edge(DISTRIBUTION);
        edge.warm_all(["/old.html", "/index.html"]);
        let report = stage.deploy("two", &stage.upload("2.zip", &two)).await;
        let items = stage.items_sent(&report, DISTRIBUTION);
        assert!(items.iter().any(|item| item == "/old.html" || item.ends_with('*')), "{items:?}");
        assert_ne!(edge.get("/old.html").status, 200);
        let retained = usize::from(days == "30");
        assert_eq!((report.deleted, report.retained), (2 - retained, retained), "the script alone is immutable");
    }
}

#[tokio::test]
async fn a_removed_file_that_is_immutable_for_a_minute_is_not_retained() {
    let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", "30");
    for (number, value) in ["immutable, max-age=60", "no-cache, immutable", "immutable, no-store"].iter().enumerate() {
        let rules = format!("/*\n  Cache-Control: {value}\n");
        let one = files([("_headers", &rules), ("index.html", "page"), ("old.js", "old")]);
        let mut two = one.clone();
        two.remove("old.js");
        let report = stage.deploy(&format!("one {number}"), &stage.upload("1.zip", &one)).await;
        assert!(report.warnings.iter().any(|it| it.contains("contradicts itself: `/*` (line 1)")), "{value}");
        let report = stage.deploy(&format!("two {number}"), &stage.upload("2.zip", &two)).await;
        assert_eq!((report.deleted, report.retained), (1, 0), "{value}");
        assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/old.js".to_owned()].into(), "{value}");
    }
}

/// A page is one by the headers with which it went live, whatever the next build says.
#[tokio::test]
async fn a_removed_page_whose_type_came_from_a_rule_is_invalidated() {
    let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", "30");
    let immutable = "/*\n  Cache-Control: max-age=31536000, immutable\n";
    let typed = format!("{immutable}/about\n  Content-Type: text/html\n");
    let one = files([("_headers", &typed), ("about", "page"), ("index.html", "page")]);
    stage.deploy("one", &stage.upload("1.zip", &one)).await;
    let two = files([("_headers", immutable), ("index.html", "page")]);
    let report = stage.deploy("two", &stage.upload("2.zip", &two)).await;
    assert_eq!((report.deleted, report.retained), (1, 0));
    assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/about".to_owned()].into());
}

#[tokio::test]
async fn headers_that_s3_does_not_store_never_refuse_an_archive() {
    let stage = Stage::new().await;
    let links = |count: usize| -> String {
        (0..count).map(|n| format!("/page-{n}/*\n  Link: </style-{n}.css>; rel=preload; as=style\n")).collect()
    };
    let csp = format!("/*\n  Content-Security-Policy: default-src {}\n", "https://host.example ".repeat(500));
    let large = links(40_000);
    assert!(large.len() > 2 << 20);
    for (number, (rules, warned)) in
        [(links(150), "Link (lines 2, 4, 6, "), (csp, "Content-Security-Policy (line 2)"), (large, "and 39990 more)")]
            .iter()
            .enumerate()
    {
        let build = files([("_headers", rules), ("index.html", &number.to_string())]);
        let report = stage.deploy(&format!("{number}"), &stage.upload("1.zip", &build)).await;
        let [warning] = &report.warnings[..] else { panic!("{:?}", report.warnings) };
        assert!(warning.contains(warned) && warning.contains("response headers policy"), "{warning}");
        stage.assert_live(&live(build));
    }
}

#[tokio::test]
async fn registered_well_known_files_have_the_types_of_their_specifications() {
    let stage = Stage::new().await.with("LIVE_PREFIX", "site");
    let json = "application/json; charset=utf-8";
    let types = [
        ("apple-app-site-association", json),
        ("assetlinks.json", json),
        ("matrix/support", json),
        ("oauth-authorization-server/issuer", json),
        ("oauth-protected-resource", json),
        ("traffic-advice", "application/trafficadvice+json; charset=utf-8"),
        ("webauthn", json),
    ];
    let name = |file: &str| format!(".well-known/{file}");
    let build: Files = types.iter().map(|(file, _)| (name(file), b"{}".to_vec())).collect();
    let build = build.into_iter().chain(files([("index.html", "page")])).collect();
    stage.deploy("one", &stage.upload("1.zip", &build)).await;
    let objects = stage.cloud.objects(LIVE);
    for (file, content_type) in types {
        let headers = &objects[&format!("site/{}", name(file))].headers;
        assert_eq!(headers.content_type.as_deref(), Some(content_type), "{file}");
    }
}

/// A stack of its own for `.well-known/`, beside that of the site.
#[tokio::test]
async fn well_known_files_have_their_types_when_the_live_prefix_leads_to_them() {
    for (prefix, file, content_type) in [
        (".well-known/", "webauthn", "application/json; charset=utf-8"),
        ("site/.well-known/", "matrix/support", "application/json; charset=utf-8"),
        (".well-known/matrix/", "support", "application/json; charset=utf-8"),
        ("well-known/", "webauthn", "application/octet-stream"),
    ] {
        let stage = Stage::new().await.with("LIVE_PREFIX", prefix).with("ARCHIVE_ROOT", ".");
        stage.deploy("one", &stage.upload("1.zip", &files([(file, "{}")]))).await;
        assert_eq!(stored_as(&stage, &format!("{prefix}{file}")).0, content_type, "{prefix}");
    }
}

#[tokio::test]
async fn one_rule_gives_the_files_of_a_folder_a_type() {
    let stage = Stage::new().await;
    let rules = "/api/*\n  Content-Type: application/json\n";
    let build = files([("_headers", rules), ("api/users", "[]"), ("api/v1/users", "[]"), ("index.html", "page")]);
    stage.deploy("one", &stage.upload("1.zip", &build)).await;
    for key in ["api/users", "api/v1/users"] {
        let object = &stage.cloud.objects(LIVE)[key];
        assert_eq!(object.headers.content_type.as_deref(), Some("application/json"), "{key}");
    }
}

/// Returns type and encoding of a live object.
fn stored_as(stage: &Stage, key: &str) -> (String, Option<String>) {
    let headers = &stage.cloud.objects(LIVE)[key].headers;
    (headers.content_type.clone().unwrap(), headers.content_encoding.clone())
}

#[tokio::test]
async fn a_compressed_download_is_not_declared_as_an_encoding_of_the_file_beside_it() {
    let stage = Stage::new().await;
    let names = ["app.js", "data.csv", "f.sql", "sitemap.xml", "tool.tar"];
    let originals = names.map(|name| (name.to_owned(), format!("{name}, plain").into_bytes()));
    let compressed = names.map(|name| (format!("{name}.gz"), format!("{name}, compressed").into_bytes()));
    let build: Files = originals.into_iter().chain(compressed).chain(files([("index.html", "page")])).collect();
    stage.deploy("one", &stage.upload("1.zip", &build)).await;
    let gzip = Some("gzip".to_owned());
    assert_eq!(stored_as(&stage, "app.js.gz"), ("text/javascript; charset=utf-8".to_owned(), gzip.clone()));
    assert_eq!(stored_as(&stage, "sitemap.xml.gz"), ("text/xml; charset=utf-8".to_owned(), gzip));
    for key in ["data.csv.gz", "f.sql.gz", "tool.tar.gz"] {
        assert_eq!(stored_as(&stage, key), ("application/gzip".to_owned(), None), "{key}");
    }
}

#[tokio::test]
async fn a_compressed_file_whose_original_is_removed_becomes_a_download() {
    for gzip in ["false", "true"] {
        let stage = Stage::new().await.with("GZIP", gzip);
        let both = files([("app.js", "plain"), ("app.js.gz", "compressed"), ("index.html", "page")]);
        stage.deploy("one", &stage.upload("1.zip", &both)).await;
        let encoded = ("text/javascript; charset=utf-8".to_owned(), Some("gzip".to_owned()));
        assert_eq!(stored_as(&stage, "app.js.gz"), encoded);
        let alone = files([("app.js.gz", "compressed"), ("index.html", "page")]);
        let report = stage.deploy("two", &stage.upload("2.zip", &alone)).await;
        assert_eq!((report.headers, report.deleted, report.bytes_written), (1, 1, 0));
        assert_eq!(stored_as(&stage, "app.js.gz"), ("application/gzip".to_owned(), None));
        assert_eq!(stage.items_sent(&report, DISTRIBUTION), ["/app.js".to_owned(), "/app.js.gz".to_owned()].into());
    }
}

/// A file as people carry it from one host to the next: from an editor on Windows, with comments everywhere.
#[tokio::test]
async fn a_file_that_was_written_for_other_hosts_is_applied() {
    let stage = Stage::new().await.with("RETAIN_REMOVED_DAYS", "30");
    let lines = [
        "\u{feff}# for every host",
        "",
        "/* # everything",
        "\tX-Frame-Options:DENY  ",
        "  content-security-policy: default-src 'self'; connect-src https://a.example:8443 wss://b.example",
        "  CACHE-CONTROL : public,MAX-AGE=0 ,  must-revalidate\t",
        "  # hashed",
        "/assets/*.:hash.js",
        "  ! cache-control",
        "  Cache-Control: public, max-age=31536000",
        "  cache-control: immutable",
        "https://staging.example.com/* # never indexed",
        "  Cache-Control: no-store",
        "/caf%C3%A9/*/menu",
        "  Content-Language: fr",
    ];
    let rules = lines.join("\r\n");
    let names = ["assets/a/app.1f.js", "assets/app.2f.js", "café/de/la/gare/menu.html", "index.html"];
    let build = names.map(|name| (name, name)).into_iter().chain([("_headers", &*rules)]);
    let build: Files = build.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect();
    let report = stage.deploy("one", &stage.upload("1.zip", &build)).await;
    assert_eq!(report.warnings.len(), 2, "{:?}", report.warnings);
    let objects = stage.cloud.objects(LIVE);
    let cache_control = |name: &str| objects[name].headers.cache_control.clone().unwrap();
    assert_eq!(cache_control("index.html"), "public,MAX-AGE=0 ,  must-revalidate");
    assert_eq!(cache_control("assets/a/app.1f.js"), "public, max-age=31536000, immutable");
    assert_eq!(objects["café/de/la/gare/menu.html"].headers.content_language.as_deref(), Some("fr"));
    let mut without = build.clone();
    without.retain(|name, _| !name.starts_with("assets/"));
    let report = stage.deploy("two", &stage.upload("2.zip", &without)).await;
    assert_eq!((report.deleted, report.retained), (0, 2));
}

#[tokio::test]
async fn files_that_exist_only_compressed_are_served_by_the_rules_in_the_readme() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, recipe) = readme.split_once("### Files that exist only compressed").unwrap();
    let rules = recipe.split("```").nth(1).unwrap();
    for (extension, encoding, rules) in
        [("br", "br", rules.to_owned()), ("gz", "gzip", rules.replace(".br", ".gz").replace(": br", ": gzip"))]
    {
        let stage = Stage::new().await;
        let types = [
            ("data", "application/octet-stream"),
            ("framework.js", "text/javascript"),
            ("symbols.json", "application/json"),
            ("wasm", "application/wasm"),
        ];
        let key = |file: &str| format!("Build/game.{file}.{extension}");
        let build: Files = types.iter().map(|(file, _)| (key(file), b"compressed".to_vec())).collect();
        let rest = files([("_headers", &rules), ("Build/game.loader.js", "loader"), ("index.html", "page")]);
        let build = build.into_iter().chain(rest).collect();
        let report = stage.deploy("one", &stage.upload("1.zip", &build)).await;
        assert_eq!(report.warnings, [] as [String; 0]);
        for (file, content_type) in types {
            let stored = (content_type.to_owned(), Some(encoding.to_owned()));
            assert_eq!(stored_as(&stage, &key(file)), stored, "{file}");
        }
        assert_eq!(stored_as(&stage, "Build/game.loader.js").1, None);
    }
}
