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
    write a rule for each;
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
fn headers_that_s3_does_not_store_count_towards_no_limit() {
    let links: String = (0..5_000).map(|n| format!("/page-{n}/*/*\n  Link: </{n}.css>; rel=preload\n")).collect();
    let long = format!("/*\n  Content-Security-Policy: {}\n  Link:\n  Feature-Policy: ü\n", "x".repeat(10_000));
    let names: String = (0..5_000).map(|n| format!("  X-{n}: 1\n")).collect();
    let path = format!("/{}\n  Link: a\n", "y/".repeat(5_000));
    let file = format!("{links}{long}{names}{path}/a\n  Content-Language: de\n");
    assert_snapshot!(applied(&file, "a"), @"a: [language de]");
    let warnings = warnings(&file, &["a"]);
    assert!(warnings.contains("Content-Security-Policy (line 10002), Feature-Policy (line 10004), Link (lines 2, 4, "));
    assert!(warnings.contains(" and 4992 more)") && warnings.len() < 1_000, "{warnings}");
}

#[test]
fn a_file_has_limits_of_its_own() {
    let rules = |count: usize| "/*\nX-Amz-Meta-A: b\n! X-Amz-Meta-A\n".repeat(count);
    assert!(HeadersFile::parse(rules(2_000).as_bytes()).is_ok());
    assert_snapshot!(refused(&rules(2_001)), @"`_headers`: line 6001: begins rule 2001 for headers that S3 stores, and at most 2000 are allowed; let one `*` stand for several paths");
    let line = |length: usize| format!("/*\nContent-Language: {}", "x".repeat(length - 18));
    assert!(HeadersFile::parse(line(2_000).as_bytes()).is_ok());
    assert_snapshot!(refused(&line(2_001)), @"`_headers`: line 2: has over 2000 characters");
    let names = |count: usize| (0..count).map(|n| format!("X-Amz-Meta-{n}: b\n")).collect::<String>();
    assert!(HeadersFile::parse(format!("/*\n{}", names(100)).as_bytes()).is_ok());
    assert_snapshot!(refused(&format!("/*\n{}", names(101))), @"`_headers`: line 102: names `100`, and at most 100 different names of metadata are allowed");
    let inexact = |count: usize| (0..count).map(|n| format!("/:a-:b/{n}\nX-Amz-Meta-A: b\n")).collect::<String>();
    assert!(HeadersFile::parse(inexact(20).as_bytes()).is_ok());
    assert_snapshot!(refused(&inexact(21)), @"`_headers`: line 41: over 20 paths have several wildcards between two slashes, such as `/:a-:b/20`; let one `*` stand for them");
    let segments = |count: usize| format!("{}\nX-Amz-Meta-A: b\n", "/a".repeat(count));
    assert!(HeadersFile::parse(segments(100).as_bytes()).is_ok());
    assert_snapshot!(refused(&segments(101)), @"`_headers`: line 1: the path `/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a… and 60 more characters");
}

#[test]
fn headers_that_s3_would_refuse_are_refused() {
    let value = "x".repeat(1_500);
    for (header, what) in [("X-Amz-Meta-A", "user metadata"), ("Cache-Control", "headers")] {
        let file = format!("/*\n{header}: {value}\n/a/*\n{header}: {value}");
        let file = HeadersFile::parse(file.as_bytes()).unwrap();
        assert_eq!(file.check(&["b", "c/a"]), Ok(Vec::new()));
        let error = file.check(&["a/x", "b"]).unwrap_err().to_string();
        for part in ["`a/x`", what, "`/*` (line 1), `/a/*` (line 3)"] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn a_file_gets_at_most_a_hundred_values() {
    let rules = |count: usize, value: &str| format!("/*\nX-Amz-Meta-A: {value}\n").repeat(count);
    let check = |text: String| HeadersFile::parse(text.as_bytes()).unwrap().check(&["a"]);
    assert!(check(rules(100, "b")).is_ok());
    assert_snapshot!(check(rules(101, "b")).unwrap_err(), @"`_headers` gives `a` over 100 values and placeholders in them; let fewer rules match it, such as `/*` (line 1), `/*` (line 3), `/*` (line 5), `/*` (line 7), `/*` (line 9), `/*` (line 11), `/*` (line 13), `/*` (line 15), `/*` (line 17), `/*` (line 19), and 91 more");
    assert!(check(rules(25, ":splat:splat:splat")).is_ok());
    assert!(check(rules(26, ":splat:splat:splat")).is_err());
    assert!(check(rules(101, "b") + "/*\n! X-Amz-Meta-A\n").is_ok(), "only values that count are counted");
    assert!(check("/*\nContent-Type: a/b\n".repeat(2_000)).is_ok());
}

#[test]
fn a_value_that_grows_with_the_path_is_cut_at_the_limit() {
    let line = format!("  X-Amz-Meta-A: {}\n", ":splat".repeat(80));
    let file = HeadersFile::parse(format!("/*\n{line}").as_bytes()).unwrap();
    let name = "é".repeat(500);
    let applied = file.applied(&name);
    let value = applied.fields[0].1.as_ref().unwrap();
    assert!((MAX_METADATA_BYTES..3 * MAX_METADATA_BYTES).contains(&value.len()));
    assert!(file.check(&[&name]).is_err());
}

#[test]
fn a_header_with_a_url_as_its_value_is_not_a_path() {
    let file = "/*\nX-Amz-Meta-From:https://example.com:8080/a:b\nAccess-Control-Allow-Origin:https://a.b\n";
    assert_snapshot!(applied(file, "a"), @"a: [meta from https://example.com:8080/a:b]");
    assert!(warnings(file, &["a"]).contains("Access-Control-Allow-Origin (line 3)"));
}

#[test]
fn headers_that_s3_does_not_store_are_reported_with_their_lines() {
    let file = "
/*
  X-Frame-Options: DENY
  Content-Security-Policy: default-src 'self'; img-src https://*
  X-Amz-Meta-Kept: 1
/a/*
  X-Frame-Options: SAMEORIGIN
https://example.com/*
  X-Robots-Tag: noindex
";
    assert_snapshot!(warnings(file, &["a"]), @r"
    `_headers` sets headers that S3 does not store with an object: Content-Security-Policy (line 4), X-Frame-Options (lines 3, 7); set them in a response headers policy of the CloudFront distribution
    `_headers` has rules for a single host, which are ignored (line 8): an object is the same on every host
    ");
}

#[test]
fn contradicting_cache_controls_are_reported_by_their_rules() {
    let file = "
/*
  Cache-Control: public, max-age=0
/assets/*
  Cache-Control: public, max-age=31536000, immutable
/once/*
  ! Cache-Control
  Cache-Control: no-cache
/assets/*.css
  X-Amz-Meta-Style: yes
/fonts/*
  ! Cache-Control
  Cache-Control: max-age=60, immutable
";
    let names = ["a", "assets/a.js", "assets/b.css", "assets/b.js", "once/a"];
    assert_snapshot!(warnings(file, &names), @"rules of `_headers` match the same files, and their values of Cache-Control contradict each other: `/*` (line 2), `/assets/*` (line 4); the values are joined, for example to `public, max-age=0, public, max-age=31536000, immutable`; write `! Cache-Control` in the later rule, above its own value, to replace the earlier value");
    assert_snapshot!(warnings(file, &["a", "once/a"]), @"");
    assert_snapshot!(warnings(file, &["fonts/a", "fonts/b"]), @"rules of `_headers` set a Cache-Control that contradicts itself: `/fonts/*` (line 11); for example `max-age=60, immutable`; write only what is meant, since such files do not count as immutable");
}

#[test]
fn values_that_can_all_be_followed_do_not_contradict() {
    let file = "
/*
  Cache-Control: public
/a
  Cache-Control: public, max-age=60
/*.js
  Cache-Control: max-age=:splat
";
    assert_snapshot!(warnings(file, &["a", "b"]), @"");
    assert!(
        warnings("/*\nCache-Control: max-age=60\n/*.js\nCache-Control: max-age=:splat", &["1.js"])
            .contains("contradict")
    );
    assert_eq!(warnings("/*\nCache-Control: max-age=60\n/*.js\nCache-Control: max-age=:splat", &["60.js"]), "");
}

/// Names and files that make matching as expensive as it gets: each case has a name, the rules, and how many rules.
fn expensive() -> Vec<(&'static str, String, String)> {
    let rule = |path: String| format!("{path}\n  X-Amz-Meta-A: b\n");
    let rules =
        |count: usize, path: &dyn Fn(usize) -> String| -> String { (0..count).map(|n| rule(path(n))).collect() };
    // Each bit of a number chooses a literal or a placeholder.
    let choices = |n: usize| {
        let choice = |bit: usize| if n >> bit & 1 == 1 { format!("/:p{bit}") } else { "/aaaa".to_owned() };
        (0..11).map(choice).collect::<String>()
    };
    let keep_last = "/*\n  ! X-Amz-Meta-A\n";
    vec![
        ("all match", "a/b.js".to_owned(), rules(1_999, &|_| "/*".to_owned()) + keep_last),
        ("heads", "a".repeat(1_000), rules(1_999, &|n| format!("/{}*", "a".repeat(n / 2))) + keep_last),
        ("tails", "a".repeat(1_000), rules(1_999, &|n| format!("/*{}", "a".repeat(n / 2))) + keep_last),
        ("heads too long", "a".repeat(500) + "b", rules(1_999, &|n| format!("/{}*", "a".repeat(n))) + keep_last),
        ("literal or placeholder", "aaaa/".repeat(10) + "aaaa", rules(1_999, &choices) + keep_last),
        ("segments", "a/".repeat(511) + "a", rules(1_999, &|n| "/a".repeat(n % 99) + "/*") + keep_last),
        ("index documents", "aaaa/".repeat(10) + "index.html", rules(1_999, &|n| choices(n) + "/*") + keep_last),
        ("one by one", "a-".repeat(40), rules(20, &|n| format!("/:a{}:b-:c*", "-a".repeat(n / 2))) + keep_last),
        ("placeholders", "a/".repeat(20), rules(50, &|_| "/:a/*".to_owned()).replace(": b", ": :a")),
    ]
}

/// A step is a word of a set of rules, an affix, a value, or a byte of a path that one rule is matched with.
#[test]
fn the_steps_for_a_name_are_bounded_whatever_the_file_says() {
    let steps = expensive().into_iter().map(|(case, name, text)| {
        let file = HeadersFile::parse(text.as_bytes()).unwrap();
        format!("{case}: {}", file.applied(&name).steps)
    });
    assert_snapshot!(steps.collect::<Vec<_>>().join("\n"), @r"
    all match: 96
    heads: 65
    tails: 65
    heads too long: 65
    literal or placeholder: 448
    segments: 3232
    index documents: 1152
    one by one: 1622
    placeholders: 2154
    ");
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
