use proptest::prelude::*;
use regex::Regex;

use super::*;

fn captured(pattern: &str, path: &str) -> Option<String> {
    let pattern = Pattern::parse(pattern).unwrap();
    let mut ranges = Vec::new();
    let mut shown: Vec<(&Range<usize>, String)> = Vec::new();
    if !pattern.captures(path, &mut ranges, &mut 0) {
        return None;
    }
    for (range, name) in ranges.iter().zip(&pattern.names) {
        shown.push((range, format!("{name}={}", &path[range.clone()])));
    }
    shown.sort_by_key(|(range, _)| (range.start, range.end));
    Some(shown.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_pattern_without_splat_matches_one_path() {
    assert_eq!(captured("/a/b.html", "/a/b.html").as_deref(), Some(""));
    for path in ["/a/b.htm", "/a/b.html/", "/a/B.html", "/x/a/b.html", "/a/bxhtml", "/"] {
        assert_eq!(captured("/a/b.html", path), None, "{path}");
    }
    assert_eq!(captured("/", "/").as_deref(), Some(""));
    assert_eq!(captured("/", "/a"), None);
}

#[test]
fn a_splat_matches_everything_including_slashes() {
    for (pattern, path, expected) in [
        ("/*", "/", "splat="),
        ("/*", "/a/b", "splat=a/b"),
        ("/static/*", "/static/css/a.css", "splat=css/a.css"),
        ("/*.jpg", "/a/b.jpg", "splat=a/b"),
        ("/*.jpg", "/a.jpg.jpg", "splat=a.jpg"),
        ("/a*z", "/az", "splat="),
        ("/a*/z", "/a/b/z", "splat=/b"),
    ] {
        assert_eq!(captured(pattern, path).as_deref(), Some(expected), "{pattern} {path}");
    }
    assert_eq!(captured("/static/*", "/static"), None);
    assert_eq!(captured("/*.jpg", "/a.jpeg"), None);
    assert_eq!(captured("/aa*aa", "/aaa"), None);
}

#[test]
fn a_placeholder_matches_a_part_of_one_segment() {
    assert_eq!(captured("/movies/:title", "/movies/up").as_deref(), Some("title=up"));
    assert_eq!(captured("/:year-:month/*", "/2026-11/a/b").as_deref(), Some("year=2026 month=11 splat=a/b"));
    for path in ["/movies/", "/movies/a/b", "/movies"] {
        assert_eq!(captured("/movies/:title", path), None, "{path}");
    }
    assert_eq!(captured("/a:1", "/a:1").as_deref(), Some(""));
}

#[test]
fn percent_escapes_in_a_pattern_are_decoded() {
    assert_eq!(captured("/caf%C3%A9/*", "/café/à la").as_deref(), Some("splat=à la"));
    for literal in ["/café", "/100%", "/%FF", "/a.b+c(d)[e]{f}^$|\\"] {
        assert_eq!(captured(literal, literal).as_deref(), Some(""), "{literal}");
    }
}

#[test]
fn a_pattern_with_too_many_placeholders_or_segments_is_refused() {
    let placeholders = |count: usize| (0..count).map(|n| format!("/:a{n}")).collect::<String>();
    assert!(Pattern::parse(&placeholders(MAX_PLACEHOLDERS)).is_ok());
    assert!(Pattern::parse(&placeholders(MAX_PLACEHOLDERS + 1)).is_err());
    assert!(Pattern::parse(&"/a".repeat(MAX_SEGMENTS)).is_ok());
    assert!(Pattern::parse(&"/a".repeat(MAX_SEGMENTS + 1)).is_err());
    assert!(Pattern::parse(&("/a".repeat(MAX_SEGMENTS - 1) + "/*")).is_ok());
    assert!(Pattern::parse(&("/a".repeat(MAX_SEGMENTS) + "/*")).is_err());
}

#[test]
fn two_splats_and_two_placeholders_with_the_same_name_are_refused() {
    for pattern in ["/*/a/*", "/:a/:b/:a", "/*/:splat"] {
        assert!(Pattern::parse(pattern).is_err(), "{pattern}");
    }
}

/// Returns the regular expression that Cloudflare Pages makes of a pattern.
fn expression(pattern: &str) -> Regex {
    let wildcards = Regex::new(r"\*|:([A-Za-z]\w*)").unwrap();
    let (mut expression, mut end) = (String::from("(?s)^"), 0);
    for wildcard in wildcards.captures_iter(pattern) {
        let (whole, name) = (wildcard.get(0).unwrap(), wildcard.get(1));
        expression.push_str(&regex::escape(&pattern[end..whole.start()]));
        match name {
            Some(name) => expression.push_str(&format!("(?P<{}>[^/]+)", name.as_str())),
            None => expression.push_str("(?P<splat>.*)"),
        }
        end = whole.end();
    }
    expression.push_str(&regex::escape(&pattern[end..]));
    Regex::new(&format!("{expression}$")).unwrap()
}

/// A pattern of few letters, with placeholders of different names and at most one splat.
fn any_pattern() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(vec!["a", "b", "é", "/", "/", ":", ":", "ab"]), 0..8);
    (pieces, prop::option::of(0..8_usize)).prop_map(|(mut pieces, splat)| {
        if let Some(at) = splat {
            pieces.insert(at.min(pieces.len()), "*");
        }
        let mut pattern = String::from("/");
        for (number, piece) in pieces.into_iter().enumerate() {
            match piece {
                // The underscore is part of the name, so the next literal must not be.
                ":" => pattern.push_str(&format!(":{}-", char::from(b'p' + u8::try_from(number).unwrap()))),
                _ => pattern.push_str(piece),
            }
        }
        pattern
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn a_pattern_matches_and_captures_as_its_regular_expression(
        pattern in any_pattern(),
        path in "/[ab/é-]{0,9}",
        filling in prop::collection::vec("[abé-]{1,2}", 9),
    ) {
        // A path that the pattern often matches, and one that it seldom does.
        let (mut likely, mut rest, mut filling) = (String::new(), &pattern[..], filling.into_iter());
        while !rest.is_empty() {
            let (literal, wildcard) = rest.split_at(wildcard_start(rest));
            likely.push_str(literal);
            if !wildcard.is_empty() {
                likely.push_str(&filling.next().unwrap());
            }
            rest = match wildcard.strip_prefix(':') {
                Some(after) => &after[placeholder_bytes(after)..],
                None => wildcard.strip_prefix('*').unwrap_or(""),
            };
        }
        let parsed = Pattern::parse(&pattern).unwrap();
        let expression = expression(&pattern);
        for path in [path, likely] {
            let expected = expression.captures(&path).map(|captures| {
                let names = parsed.names.iter();
                names.map(|name| captures.name(name).unwrap().range()).collect::<Vec<_>>()
            });
            let mut ranges = Vec::new();
            let found = parsed.captures(&path, &mut ranges, &mut 0).then_some(ranges);
            prop_assert_eq!(found, expected, "{} {}", pattern, path);
        }
    }
}
