//! The paths that a rule of `_headers` is for.

use percent_encoding::percent_decode_str;

/// The hosts name no limit, and no site has needed more than three; each costs some 2 KB and 20 µs.
const MAX_PLACEHOLDERS: usize = 20;

/// Translates a path with at most one splat (`*`, any characters) and any placeholders (`:name`, characters of
/// one segment) into a regular expression whose groups are named after them, and the splat's `splat`.
///
/// Escapes in a pattern stand for what they encode, since it is compared with names, which are not encoded.
///
/// # Errors
/// What is wrong with the pattern, as the end of a sentence.
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
            // A colon that no letter follows is a colon.
            ':' if rest.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let name;
                (name, rest) = rest.split_at(placeholder_bytes(rest));
                if groups.contains(&name) {
                    return Err("has a placeholder twice; give each a name of its own");
                }
                if groups.len() == MAX_PLACEHOLDERS {
                    return Err("has over 20 placeholders; let `*` stand for the last of them");
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
        let what = if first == '*' { ".*" } else { "[^/]+" };
        expression.push_str(&format!("(?P<{group}>{what})"));
        groups.push(group);
    }
    expression.push_str(&escaped(&literal));
    expression.push('$');
    Ok(expression)
}

/// The length of the placeholder's name that `text` starts with.
pub(super) fn placeholder_bytes(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn escaped(literal: &str) -> String {
    match percent_decode_str(literal).decode_utf8() {
        Ok(decoded) => regex::escape(&decoded),
        // What is no UTF-8 once decoded is no name of an entry, unless it is meant as it stands.
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
    fn a_pattern_without_splat_is_for_one_path() {
        assert_eq!(captured("/a/b.html", "/a/b.html").as_deref(), Some(""));
        for path in ["/a/b.htm", "/a/b.html/", "/a/B.html", "/x/a/b.html", "/a/bxhtml", ""] {
            assert_eq!(captured("/a/b.html", path), None, "{path}");
        }
    }

    #[test]
    fn a_splat_takes_everything_across_slashes() {
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
    fn a_placeholder_takes_some_of_one_segment() {
        assert_eq!(captured("/movies/:title", "/movies/up").as_deref(), Some("title=up"));
        assert_eq!(captured("/:year-:month/*", "/2026-11/a/b").as_deref(), Some("year=2026 month=11 splat=a/b"));
        for path in ["/movies/", "/movies/a/b", "/movies"] {
            assert_eq!(captured("/movies/:title", path), None, "{path}");
        }
        assert_eq!(captured("/a:1", "/a:1").as_deref(), Some(""));
    }

    #[test]
    fn escapes_in_a_pattern_are_what_they_encode() {
        assert_eq!(captured("/caf%C3%A9/*", "/café/à la").as_deref(), Some("splat=à la"));
        for literal in ["/café", "/100%", "/%FF", "/a.b+c(d)[e]{f}^$|\\"] {
            assert_eq!(captured(literal, literal).as_deref(), Some(""), "{literal}");
        }
    }

    #[test]
    fn a_path_with_too_many_placeholders_is_refused() {
        let pattern = |count: usize| (0..count).map(|n| format!("/:a{n}")).collect::<String>();
        assert!(expression(&pattern(MAX_PLACEHOLDERS)).is_ok());
        assert!(expression(&pattern(MAX_PLACEHOLDERS + 1)).is_err());
    }

    #[test]
    fn two_splats_and_two_placeholders_of_one_name_are_refused() {
        for pattern in ["/*/a/*", "/:a/:b/:a", "/*/:splat"] {
            assert!(expression(pattern).is_err(), "{pattern}");
        }
    }
}
