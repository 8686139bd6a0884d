//! The path patterns of `_headers`.

use percent_encoding::percent_decode_str;

/// Neither Netlify nor Cloudflare Pages states a limit. Sites need at most three; each takes some 2 KB and 20 µs.
const MAX_PLACEHOLDERS: usize = 20;

/// Translates a path pattern into a regular expression.
///
/// A pattern may have one splat (`*`, any characters) and several placeholders (`:name`, characters of one segment).
/// The expression captures them in groups: `splat`, and one named after each placeholder. Percent-escapes in a pattern
/// are decoded, since it is matched with the names of files, which are not encoded.
///
/// # Errors
///
/// Returns what is wrong with the pattern, as the end of a sentence.
pub(super) fn expression(pattern: &str) -> Result<String, &'static str> {
    let mut expression = String::from("(?s)^");
    let mut literal = String::new();
    let mut groups: Vec<&str> = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        let group = match first {
            '*' if groups.contains(&"splat") => {
                return Err("has more than one `*`; write a rule for each");
            }
            '*' => "splat",
            // Without a letter after it, a colon stands for itself.
            ':' if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let name;
                (name, rest) = rest.split_at(placeholder_bytes(rest));
                if groups.contains(&name) {
                    return Err("has two placeholders with the same name; rename one of them");
                }
                if groups.len() == MAX_PLACEHOLDERS {
                    return Err("has over 20 placeholders; let `*` stand for the last ones");
                }
                name
            }
            _ => {
                literal.push(first);
                continue;
            }
        };
        expression.push_str(&escaped(&literal));
        literal.clear();
        let characters = if first == '*' { ".*" } else { "[^/]+" };
        expression.push_str(&format!("(?P<{group}>{characters})"));
        groups.push(group);
    }
    expression.push_str(&escaped(&literal));
    expression.push('$');
    Ok(expression)
}

/// Returns the length of the placeholder name at the start of `text`.
pub(super) fn placeholder_bytes(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn escaped(literal: &str) -> String {
    match percent_decode_str(literal).decode_utf8() {
        Ok(decoded) => regex::escape(&decoded),
        // No file has a name that is not UTF-8, so the escapes are not meant as such.
        Err(_) => regex::escape(literal),
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    fn captured(pattern: &str, path: &str) -> Option<String> {
        let pattern = Regex::new(&expression(pattern).unwrap()).unwrap();
        let captures = pattern.captures(path)?;
        let named = pattern.capture_names().flatten();
        let shown: Vec<_> = named.map(|name| format!("{name}={}", &captures[name])).collect();
        Some(shown.join(" "))
    }

    #[test]
    fn a_pattern_without_splat_matches_one_path() {
        assert_eq!(captured("/a/b.html", "/a/b.html").as_deref(), Some(""));
        for path in ["/a/b.htm", "/a/b.html/", "/a/B.html", "/x/a/b.html", "/a/bxhtml", ""] {
            assert_eq!(captured("/a/b.html", path), None, "{path}");
        }
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
        ] {
            assert_eq!(captured(pattern, path).as_deref(), Some(expected), "{pattern} {path}");
        }
        assert_eq!(captured("/static/*", "/static"), None);
        assert_eq!(captured("/*.jpg", "/a.jpeg"), None);
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
    fn a_pattern_with_too_many_placeholders_is_refused() {
        let pattern = |count: usize| (0..count).map(|n| format!("/:a{n}")).collect::<String>();
        assert!(expression(&pattern(MAX_PLACEHOLDERS)).is_ok());
        assert!(expression(&pattern(MAX_PLACEHOLDERS + 1)).is_err());
    }

    #[test]
    fn two_splats_and_two_placeholders_with_the_same_name_are_refused() {
        for pattern in ["/*/a/*", "/:a/:b/:a", "/*/:splat"] {
            assert!(expression(pattern).is_err(), "{pattern}");
        }
    }
}
