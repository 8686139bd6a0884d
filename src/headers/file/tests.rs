mod limits;
mod warnings;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

/// Returns the headers of a file without rules.
fn plain(name: &str) -> Headers {
    Headers {
        content_type: "by/default".to_owned(),
        cache_control: Some("by-default".to_owned()),
        content_disposition: None,
        content_language: None,
        content_encoding: name.ends_with(".svgz").then(|| "gzip".to_owned()),
        metadata: BTreeMap::new(),
    }
}

/// Returns one line for each file with the headers that a `_headers` file changes.
fn applied(file: &str, names: &str) -> String {
    let file = HeadersFile::parse(file.as_bytes()).unwrap();
    let lines = names.split(' ').map(|name| {
        let mut headers = plain(name);
        file.apply(name, &mut headers);
        format!("{name}:{}", changes(headers))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn changes(headers: Headers) -> String {
    let Headers { content_type, cache_control, content_disposition, content_language, content_encoding, metadata } =
        headers;
    let cache_control = cache_control.unwrap_or("none".to_owned());
    let fields = [
        ("type", Some(content_type).filter(|it| it != "by/default")),
        ("cache", Some(cache_control).filter(|it| it != "by-default")),
        ("disposition", content_disposition),
        ("language", content_language),
        ("encoding", content_encoding),
    ];
    let fields = fields.into_iter().filter_map(|(field, value)| Some(format!(" [{field} {}]", value?)));
    fields.chain(metadata.into_iter().map(|(name, value)| format!(" [meta {name} {value}]"))).collect()
}

fn refused(file: &str) -> String {
    HeadersFile::parse(file.as_bytes()).unwrap_err().to_string()
}

fn warnings(file: &str, names: &[&str]) -> String {
    let file = HeadersFile::parse(file.as_bytes()).unwrap();
    file.check(names).unwrap().join("\n")
}

#[test]
fn every_header_that_s3_stores_is_applied() {
    let file = "
/download/*
  Content-Disposition: attachment
  content-type: application/octet-stream
  CACHE-CONTROL: no-store
  Content-Language: de, en
  Content-Encoding: br
  X-Amz-Meta-Build-Id: 42
";
    assert_snapshot!(applied(file, "download/a.bin b.bin"), @r"
    download/a.bin: [type application/octet-stream] [cache no-store] [disposition attachment] [language de, en] [encoding br] [meta build-id 42]
    b.bin:
    ");
}

// Cloudflare Pages documentation, "Headers": a file inherits the headers of all rules that match it, and a header that
// is set twice is joined with a comma.
#[test]
fn a_header_of_several_rules_is_joined_in_their_order() {
    let file = "
# everything under static
/static/*
  X-Amz-Meta-Robots: nosnippet
  X-Amz-Meta-Origin: *

/*
  X-Amz-Meta-Robots: noindex
";
    assert_snapshot!(applied(file, "static/styles.css home"), @r"
    static/styles.css: [meta origin *] [meta robots nosnippet, noindex]
    home: [meta robots noindex]
    ");
}

// Netlify documentation, "Custom headers": several lines with the same header in one rule are one header.
#[test]
fn lines_with_the_same_header_are_joined() {
    let file = "
/*
  cache-control: max-age=0
  cache-control: no-cache
  cache-control: no-store
  Cache-Control: must-revalidate
";
    assert_snapshot!(applied(file, "a"), @"a: [cache max-age=0, no-cache, no-store, must-revalidate]");
}

// Cloudflare Pages documentation, "Detach a header".
#[test]
fn a_header_of_an_earlier_rule_is_detached() {
    let file = "
/*
  X-Amz-Meta-Policy: default-src 'self';
  Cache-Control: no-cache

/*.jpg
  ! X-Amz-Meta-Policy
  !Cache-Control
  Cache-Control: max-age=60

/b*
  ! cache-control

/b/*
  Cache-Control: public
";
    assert_snapshot!(applied(file, "a.html a.jpg b.jpg b/a.jpg"), @r"
    a.html: [cache no-cache] [meta policy default-src 'self';]
    a.jpg: [cache max-age=60]
    b.jpg: [cache none]
    b/a.jpg: [cache public]
    ");
}

#[test]
fn defaults_can_be_detached_except_the_content_type() {
    let file = "/*\n! Cache-Control\n! Content-Encoding\n! Content-Type\n! X-Amz-Meta-None";
    assert_snapshot!(applied(file, "a.svgz"), @"a.svgz: [cache none]");
}

#[test]
fn a_detachment_above_the_rule_that_sets_the_header_does_nothing() {
    let file = "/a.js\n! Cache-Control\n/*\nCache-Control: no-cache";
    assert_snapshot!(applied(file, "a.js"), @"a.js: [cache no-cache]");
}

#[test]
fn the_last_value_of_a_single_valued_header_counts() {
    let file = "
/*
  Content-Type: text/plain
  Content-Disposition: inline
/*.md
  Content-Type: text/html
  Content-Type: text/markdown; charset=utf-8
  Content-Disposition: attachment
";
    assert_snapshot!(applied(file, "a a.md"), @r"
    a: [type text/plain] [disposition inline]
    a.md: [type text/markdown; charset=utf-8] [disposition attachment]
    ");
}

// Cloudflare Pages documentation, "Placeholders" and "Splats".
#[test]
fn values_are_filled_in_from_the_path() {
    let file = "
/movies/:title
  x-amz-meta-movie-name: You are watching \":title\"
/archive/:year/*
  x-amz-meta-from: :splat of :year, not :nothing, at 12:30:
/café/*
  x-amz-meta-from: :splat
";
    assert_snapshot!(applied(file, "movies/up archive/2026/a/b.html café/à_%41"), @r#"
    movies/up: [meta movie-name You are watching "up"]
    archive/2026/a/b.html: [meta from a/b.html of 2026, not :nothing, at 12:30:]
    café/à_%41: [meta from %C3%A0_%2541]
    "#);
}

#[test]
fn a_rule_for_a_page_applies_to_its_file() {
    let file = "
/
  X-Amz-Meta-Rule: root
/docs/
  X-Amz-Meta-Rule: with slash
/docs
  X-Amz-Meta-Rule: without
/about
  X-Amz-Meta-Rule: clean
";
    let names = "index.html docs/index.html about.html about docs/about.html myindex.html";
    assert_snapshot!(applied(file, names), @r"
    index.html: [meta rule root]
    docs/index.html: [meta rule with slash, without]
    about.html: [meta rule clean]
    about: [meta rule clean]
    docs/about.html:
    myindex.html:
    ");
}

#[test]
fn a_rule_applies_once_to_a_file_with_several_paths() {
    let file = "/*\nX-Amz-Meta-A: 1\n/docs/*\nX-Amz-Meta-A: :splat";
    assert_snapshot!(applied(file, "docs/index.html"), @"docs/index.html: [meta a 1, index.html]");
}

#[test]
fn line_ends_indentation_and_a_byte_order_mark_have_no_meaning() {
    let file = "\u{feff}# from an editor\r\n   /a\r\n\r\n\tContent-Language :de\r\n\r\n  # bye";
    assert_snapshot!(applied(file, "a"), @"a: [language de]");
    assert!(HeadersFile::parse(b"").is_ok());
}

#[test]
fn every_malformed_line_is_reported() {
    let file = "
Cache-Control: no-cache
assets/*
/*/a/*
  Cache-Control: no-cache
/a
/b
  Cache Control: no-cache
  Cache-Control:
  : x
  Content-Type: html
  Content-Language: ü
  X-Amz-Meta-: 1
  X Frame: y
  ! Cache-Control: x
http://example.com/*
  X-Robots-Tag: noindex
";
    assert_snapshot!(refused(file).replace("; ", ";\n"), @r"
    `_headers`: line 2: a header has no path above it;
    line 3: `assets/*` is neither a path, nor `Name: value`, nor `! Name`;
    line 4: the path `/*/a/*` has more than one `*`;
    write a name such as `:folder` for each segment that another one stands for;
    line 6: the path `/a` has no header below it;
    line 8: `Cache Control` is not a header name;
    line 9: Cache-Control has no value;
    to remove the header, write `! Cache-Control`;
    line 10: `` is not a header name;
    line 11: `html` is not a content type of the form `type/subtype`;
    line 12: the value of Content-Language contains characters that are not ASCII;
    line 13: `X-Amz-Meta-` is not a header name;
    and 3 more
    ");
    assert_snapshot!(HeadersFile::parse(b"/*\n X: \xff").unwrap_err(), @"`_headers` is not UTF-8; save it as UTF-8");
}

#[test]
fn a_line_that_begins_with_a_url_begins_a_rule_for_a_host_whatever_follows() {
    let file = "
/*
  Cache-Control: no-cache
https://dev.example.com/* # only there
  Cache-Control: no-store
HTTPS://example.com/a b
  Content-Language: de
";
    assert_snapshot!(applied(file, "a"), @"a: [cache no-cache]");
    assert!(warnings(file, &["a"]).contains("(lines 4, 6)"));
    assert_snapshot!(refused("/*\n  Content-Language: de\n*://example.com/*\n  Content-Language: en\n"), @"`_headers`: line 3: `*://example.com/*` is not a path, since it does not start with `/`");
}

#[test]
fn a_comment_may_follow_a_path() {
    let file = "/a/* # a folder\n  Content-Language: de\n/b#c\t#d\n  Content-Language: en\n";
    assert_snapshot!(applied(file, "a/x b#c"), @r"
    a/x: [language de]
    b#c: [language en]
    ");
}

#[test]
fn rules_that_name_the_same_encoding_mean_it_once() {
    let file =
        "/Build/*.br\n  Content-Encoding: br\n/*.wasm.br\n  Content-Encoding: br\n  Content-Type: application/wasm\n";
    assert_snapshot!(applied(file, "Build/game.wasm.br"), @"Build/game.wasm.br: [type application/wasm] [encoding br]");
}

#[test]
fn a_header_with_a_url_as_its_value_is_not_a_path() {
    let file = "/*\nX-Amz-Meta-From:https://example.com:8080/a:b\nAccess-Control-Allow-Origin:https://a.b\n";
    assert_snapshot!(applied(file, "a"), @"a: [meta from https://example.com:8080/a:b]");
    assert!(warnings(file, &["a"]).contains("Access-Control-Allow-Origin (line 3)"));
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(
        text in "([/!#]?[a-c*: é\t]{0,6}\n){0,6}",
        name in "[a-c/é.]{1,6}",
    ) {
        if let Ok(file) = HeadersFile::parse(text.as_bytes()) {
            file.apply(&name, &mut plain(&name));
            let _ = file.check(&[&name]);
        }
    }
}
