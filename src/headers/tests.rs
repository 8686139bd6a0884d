use insta::assert_snapshot;

use super::*;

fn cache_control() -> CacheControl {
    CacheControl { pages: "pages".to_owned(), assets: "assets".to_owned() }
}

fn headers(key: &str) -> Headers {
    Headers::for_key(key, &cache_control())
}

#[test]
fn the_case_of_an_extension_does_not_matter() {
    for key in ["X.HTML", "x.Js", "x.WOFF2", "x.MJS", "x.JPEG", "x.Map"] {
        let lower_case = headers(&key.to_ascii_lowercase());
        assert_eq!(headers(key), lower_case, "{key}");
    }
}

#[test]
fn pages_and_assets_have_their_own_cache_control() {
    assert_eq!(headers("a/index.html").cache_control.as_deref(), Some("pages"));
    assert_eq!(headers("a/app.js").cache_control.as_deref(), Some("assets"));
}

#[test]
fn a_compressed_file_gets_the_type_of_the_original_beside_it() {
    let names = ["a/app.js", "a/app.js.br", "a/app.js.gz", "data.tar.gz", "index.html", "index.html.gz", "x.br"];
    let rules = HeaderRules::new(cache_control(), "", &names, None);
    let shown = names.map(|name| {
        let headers = rules.headers(name);
        let encoding = headers.content_encoding.unwrap_or("-".to_owned());
        let cache_control = headers.cache_control.unwrap_or_default();
        format!("{name} {} {encoding} {cache_control}", headers.content_type)
    });
    assert_snapshot!(shown.join("\n"), @r"
    a/app.js text/javascript; charset=utf-8 - assets
    a/app.js.br text/javascript; charset=utf-8 br assets
    a/app.js.gz text/javascript; charset=utf-8 gzip assets
    data.tar.gz application/gzip - assets
    index.html text/html; charset=utf-8 - pages
    index.html.gz text/html; charset=utf-8 gzip pages
    x.br application/octet-stream - assets
    ");
}

#[test]
fn only_a_compressed_form_of_what_pages_load_gets_a_content_encoding() {
    let encoding = |name: &str| {
        let rules = HeaderRules::new(cache_control(), "", &[name, &format!("{name}.gz")], None);
        rules.headers(&format!("{name}.gz"))
    };
    for name in
        "a.html a.xhtml a.css a.js a.mjs a.json a.map a.webmanifest a.geojson a.xml a.rss a.svg a.wasm a.txt a.vtt \
                 a.ttf a.otf a.eot A.JS .well-known/webfinger"
            .split_whitespace()
    {
        assert_eq!(encoding(name).content_encoding.as_deref(), Some("gzip"), "{name}");
        assert_eq!(encoding(name).content_type, headers(name).content_type, "{name}");
    }
    for name in "tool.tar data.csv data.tsv f.sql app.log a.pdf a.iso a.bin a.img a.ndjson a.jsonl a.c a.py a.md a.exe \
                 a.deb a.ics a.parquet README LICENSE a"
        .split_whitespace()
    {
        assert_eq!(encoding(name).content_encoding, None, "{name}");
        assert_eq!(encoding(name).content_type, "application/gzip", "{name}");
    }
}

#[test]
fn the_rules_decide_whether_pages_load_the_original_of_a_compressed_file() {
    let file = "/api/*\n  Content-Type: application/json\n/api/*.gz\n  ! Content-Type\n/download/*\n  \
                Content-Disposition: attachment\n/data.csv\n  Content-Type: text/javascript\n";
    let file = HeadersFile::parse(file.as_bytes()).unwrap();
    let names = ["api/users", "api/users.gz", "data.csv", "data.csv.br", "download/a.js", "download/a.js.gz"];
    let rules = HeaderRules::new(cache_control(), "", &names, Some(file));
    let shown = names.map(|name| {
        let headers = rules.headers(name);
        format!("{name} {} {}", headers.content_type, headers.content_encoding.unwrap_or("-".to_owned()))
    });
    assert_snapshot!(shown.join("\n"), @r"
    api/users application/json -
    api/users.gz application/json gzip
    data.csv text/javascript -
    data.csv.br text/javascript br
    download/a.js text/javascript; charset=utf-8 -
    download/a.js.gz application/gzip -
    ");
}

#[test]
fn a_compressed_form_of_an_encoded_file_has_no_encoding_by_default() {
    let file = "/game.js\n  Content-Encoding: br\n/other.js.gz\n  Content-Encoding: zstd\n";
    let file = HeadersFile::parse(file.as_bytes()).unwrap();
    let names = ["game.js", "game.js.gz", "logo.svgz", "logo.svgz.br", "other.js", "other.js.gz"];
    let rules = HeaderRules::new(cache_control(), "", &names, Some(file));
    let shown = names.map(|name| format!("{name} {}", rules.headers(name).content_encoding.unwrap_or("-".to_owned())));
    assert_snapshot!(shown.join("\n"), @r"
    game.js br
    game.js.gz -
    logo.svgz gzip
    logo.svgz.br -
    other.js -
    other.js.gz zstd
    ");
}

#[test]
fn a_compressed_form_is_one_of_a_file_in_the_same_folder_in_any_case_of_its_extension() {
    let names = [".br", ".gz", "A.CSS", "A.CSS.GZ", "a.js", "b/.gz", "b/a.js.gz", "c.js.gz", "x", "x.gz"];
    let rules = HeaderRules::new(cache_control(), "", &names, None);
    let encoded = names.into_iter().filter(|name| rules.headers(name).content_encoding.is_some());
    assert_eq!(encoded.collect::<Vec<_>>(), ["A.CSS.GZ"]);
}

#[test]
fn a_compressed_form_of_a_compressed_file_is_no_encoding() {
    let rules = HeaderRules::new(cache_control(), "", &["a.js", "a.js.gz", "a.js.gz.br"], None);
    assert_eq!(rules.headers("a.js.gz").content_encoding.as_deref(), Some("gzip"));
    assert_eq!(rules.headers("a.js.gz.br").content_encoding, None);
}

/// A file like that of a documentation site that moves here from another host.
const HEADERS_FILE: &str = "\
# Security, for everything
/*
  X-Frame-Options: SAMEORIGIN
  X-Content-Type-Options: nosniff
  Referrer-Policy: strict-origin-when-cross-origin

# The bundler names these files after their contents
/assets/*
  ! Cache-Control
  Cache-Control: public
  Cache-Control: max-age=31536000
  Cache-Control: immutable

# A new worker must be found immediately
/sw.js
  Cache-Control: no-cache
  Service-Worker-Allowed: /

/fonts/*
  Access-Control-Allow-Origin: *
  Cache-Control: public, max-age=604800

/download/:version/*
  Content-Disposition: attachment
  X-Amz-Meta-Version: :version

/de/*
  Content-Language: de

/feed
  Content-Type: application/rss+xml; charset=utf-8

https://:project.pages.dev/*
  X-Robots-Tag: noindex
";

#[test]
fn a_typical_headers_file_applies_to_a_typical_site() {
    let names = [
        "404.html",
        "assets/css/styles.9f2c.css",
        "assets/js/main.1a2b.js",
        "de/index.html",
        "download/2.1/setup.exe",
        "feed",
        "fonts/inter.woff2",
        "index.html",
        "sitemap.xml",
        "sw.js",
    ];
    let file = HeadersFile::parse(HEADERS_FILE.as_bytes()).unwrap();
    assert_snapshot!(file.check(&names).unwrap().join("\n"), @r"
    `_headers` sets headers that S3 does not store with an object: Access-Control-Allow-Origin (line 20), Referrer-Policy (line 5), Service-Worker-Allowed (line 17), X-Content-Type-Options (line 4), X-Frame-Options (line 3); set them in a response headers policy of the CloudFront distribution
    `_headers` has rules for a single host, which are ignored (line 33): an object is the same on every host
    ");
    let rules = HeaderRules::new(cache_control(), "", &names, Some(file));
    let shown = names.map(|name| {
        let headers = rules.headers(name);
        let rest = [
            headers.content_disposition,
            headers.content_language.map(|language| format!("in {language}")),
            headers.metadata.get("version").map(|version| format!("version {version}")),
        ];
        let rest: String = rest.into_iter().flatten().map(|it| format!(" | {it}")).collect();
        let cache_control = headers.cache_control.unwrap_or_default();
        format!("{name} | {} | {cache_control}{rest}", headers.content_type)
    });
    assert_snapshot!(shown.join("\n"), @r"
    404.html | text/html; charset=utf-8 | pages
    assets/css/styles.9f2c.css | text/css; charset=utf-8 | public, max-age=31536000, immutable
    assets/js/main.1a2b.js | text/javascript; charset=utf-8 | public, max-age=31536000, immutable
    de/index.html | text/html; charset=utf-8 | pages | in de
    download/2.1/setup.exe | application/octet-stream | assets | attachment | version 2.1
    feed | application/rss+xml; charset=utf-8 | assets
    fonts/inter.woff2 | font/woff2 | public, max-age=604800
    index.html | text/html; charset=utf-8 | pages
    sitemap.xml | text/xml; charset=utf-8 | assets
    sw.js | text/javascript; charset=utf-8 | no-cache
    ");
}

/// Netlify and Cloudflare Pages apply a Content-Type like any other header: to every file that the path matches.
#[test]
fn one_rule_gives_files_without_extension_a_type() {
    let file = "/api/*\n  Content-Type: application/json\n/api/*.csv\n  Content-Type: text/csv\n/:name\n  Content-Type: \
                text/html; charset=utf-8\n/:name.:extension\n  ! Content-Type\n";
    let file = HeadersFile::parse(file.as_bytes()).unwrap();
    let rules = HeaderRules::new(cache_control(), "", &[], Some(file));
    let types = ["api/users", "api/v1/users/1", "api/all.csv", "about", "a.css", "sub/folder"]
        .map(|name| format!("{name} {}", rules.headers(name).content_type));
    assert_snapshot!(types.join("\n"), @r"
    api/users application/json
    api/v1/users/1 application/json
    api/all.csv text/csv
    about text/html; charset=utf-8
    a.css text/css; charset=utf-8
    sub/folder application/octet-stream
    ");
    assert!(rules.headers("about").is_page());
}

#[test]
fn only_svgz_has_a_content_encoding_by_default() {
    assert_eq!(headers("logo.SVGZ").content_encoding.as_deref(), Some("gzip"));
    for key in ["logo.svg", "app.js.gz", "app.js.br", "svgz"] {
        assert_eq!(headers(key).content_encoding, None, "{key}");
    }
}

#[test]
fn only_html_is_a_page() {
    for key in ["index.html", "a/B.HTM", "x.xhtml"] {
        assert!(headers(key).is_page(), "{key}");
    }
    for key in ["app.js", "feed.xml", "html", "icon.svg", "index.html.gz"] {
        assert!(!headers(key).is_page(), "{key}");
    }
}

#[test]
fn a_page_is_recognised_by_its_content_type() {
    let mut headers = headers("feed");
    for content_type in ["text/html", "Text/HTML ; charset=utf-8", "application/xhtml+xml"] {
        headers.content_type = content_type.to_owned();
        assert!(headers.is_page(), "{content_type}");
    }
    for content_type in ["text/htmlx", "text/plain; text/html", ""] {
        headers.content_type = content_type.to_owned();
        assert!(!headers.is_page(), "{content_type}");
    }
}

#[test]
fn a_page_and_a_contradictory_value_are_not_immutable() {
    let with = |key: &str, value: &str| Headers { cache_control: Some(value.to_owned()), ..headers(key) };
    assert!(with("app.js", "max-age=31536000, immutable").is_immutable());
    assert!(!with("app.js", "max-age=60, immutable").is_immutable());
    assert!(!with("a.html", "max-age=31536000, immutable").is_immutable());
    assert!(!Headers { cache_control: None, ..headers("app.js") }.is_immutable());
}
