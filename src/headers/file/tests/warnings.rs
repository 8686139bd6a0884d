//! The warnings about a file that is used.

use insta::assert_snapshot;

use super::*;

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
fn a_password_for_netlify_is_reported_as_no_protection_and_never_printed() {
    let file = "/*\n  Basic-Auth: someone:secret\n";
    assert_snapshot!(warnings(file, &["a"]), @"`_headers` sets headers that S3 does not store with an object: Basic-Auth (line 2); set them in a response headers policy of the CloudFront distribution; Basic-Auth protects nothing here: let a CloudFront function ask for the password");
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
fn a_warning_names_each_rule_once_and_only_rules_that_contradict() {
    let file = "
/*
  Cache-Control: max-age=60, immutable
/a/*
  Cache-Control: no-transform
/a/b/*
  Cache-Control: private
/a/b/c
  Cache-Control: public
";
    let names = ["a/b/c", "a/b/d", "a/d", "b"];
    assert_snapshot!(warnings(file, &names), @r"
    rules of `_headers` match the same files, and their values of Cache-Control contradict each other: `/a/b/*` (line 6), `/a/b/c` (line 8); the values are joined, for example to `max-age=60, immutable, no-transform, private, public`; write `! Cache-Control` in the later rule, above its own value, to replace the earlier value
    rules of `_headers` set a Cache-Control that contradicts itself: `/*` (line 2); for example `max-age=60, immutable`; write only what is meant, since such files do not count as immutable
    ");
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
