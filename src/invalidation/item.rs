//! How CloudFront spells a path as an item, and which paths it cannot name.
//!
//! The rule (CloudFront Developer Guide, "What you need to know when invalidating paths"): percent-encode non-ASCII
//! characters and RFC 1738's unsafe characters, and nothing else. CloudFront accepts an item that breaks the rule, but
//! invalidates nothing.

use std::fmt::Write;

use thiserror::Error;

/// "The maximum length of a path is 4,000 characters" (CloudFront Developer Guide).
const MAX_CHARACTERS: usize = 4_000;

/// "The maximum length of a tag is 256 characters" (CloudFront Developer Guide, "What you need to
/// know when invalidating tags").
const MAX_TAG_CHARACTERS: usize = 256;

/// The printable ASCII characters that RFC 1738, section 2.2, calls unsafe, without `~`: CloudFront cannot name that
/// one in any spelling.
const UNSAFE: &str = " \"<>#%{}|\\^[]`";

/// The characters that an item may contain unencoded, in addition to letters and digits: RFC 1738's safe and reserved
/// ones, without those that no item can contain.
const SAFE: &str = "$-_.+!(),/;:@=&";

/// How items can cover one viewer path.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Spelling {
    /// The exact items, which name the path and nothing else. Several when viewers can spell the path in several ways;
    /// empty when CloudFront cannot name it.
    pub(super) items: Vec<String>,
    /// How many bytes of the path a wildcard may repeat before its `*`; at least the first slash. Only such a wildcard
    /// covers a path without exact items.
    pub(super) wildcard_bytes: usize,
}

impl Spelling {
    /// Spells `path`, which is decoded and starts with a slash; with `query_strings`, all of its `?…` variants too.
    pub(super) fn of(path: &str, query_strings: bool) -> Self {
        let nameable_bytes = nameable_bytes(path);
        let wildcard_bytes = one_spelling_bytes(&path[..nameable_bytes]);
        let mut items = Vec::new();
        if nameable_bytes == path.len() {
            items = spellings(path);
            if query_strings {
                // The item `/a.html` covers the path without a query string, and `/a.html?*` covers all others. AWS's
                // example, `/a.html*`, saves one item but evicts every path that starts like that. The planner may
                // still choose it, as a wildcard.
                items = (items.into_iter()).flat_map(|item| [format!("{item}?*"), item]).collect();
            }
            if items.iter().any(|item| item.len() > MAX_CHARACTERS) {
                items.clear();
            }
        }
        Self { items, wildcard_bytes }
    }
}

/// Returns how many bytes at the start of `path` CloudFront can name.
///
/// - It refuses `~` and `'`, and ignores `%7E` (aws/aws-sdk#525).
/// - `*` is a wildcard at the end and not allowed elsewhere, and `%2A` is ignored
///   (apancutt/deploy-aws-s3-cloudfront#7).
/// - The `?` of a key is sent as `%3F`. The rule does not let an item encode it, and a raw `?` starts a query string.
/// - Proxies on the way rewrite control characters and dot segments, and one refused item fails the whole batch.
fn nameable_bytes(path: &str) -> usize {
    let is_unnameable = |character: char| character.is_ascii_control() || matches!(character, '~' | '\'' | '*' | '?');
    let character = path.find(is_unnameable).unwrap_or(path.len());
    character.min(dot_segment(path).unwrap_or(path.len()))
}

/// Returns where the first dot segment of `path` starts.
fn dot_segment(path: &str) -> Option<usize> {
    let mut start = 0;
    for segment in path.split('/') {
        if is_dot_segment(segment) {
            return Some(start);
        }
        start += segment.len() + 1;
    }
    None
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// Returns how many bytes at the start of `path` have only one spelling and fit into an item together with the `*`.
fn one_spelling_bytes(path: &str) -> usize {
    let mut characters = 1;
    for (index, character) in path.char_indices() {
        characters += encoded_len(character);
        if matches!(character, ' ' | '+') || characters > MAX_CHARACTERS {
            return index;
        }
    }
    path.len()
}

/// Returns every way in which a viewer may spell `path`.
///
/// S3 reads a `+` in a path as a space, and CloudFront passes it on unchanged (measured in rust-lang/crates.io#4891).
/// So viewers may ask for `a b.html` as `/a+b.html` too, and they reach `c++.html` only as `/c%2B%2B.html`, although
/// the rule does not encode a `+`. Both spellings are sent: one of them is CloudFront's cache key.
fn spellings(path: &str) -> Vec<String> {
    let encoded = encode(path);
    let mut spellings = vec![encoded.replace('+', "%2B")];
    if path.contains('+') {
        spellings.push(encoded.clone());
    }
    if path.contains(' ') {
        spellings.push(encoded.replace('+', "%2B").replace("%20", "+"));
    }
    spellings
}

/// Returns the item for everything that starts with `prefix`.
pub(super) fn wildcard(prefix: &str) -> String {
    encode(prefix) + "*"
}

fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        if encoded_len(character) == 1 {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn encoded_len(character: char) -> usize {
    match character {
        // Nearly all characters are among these, and searching through `UNSAFE` takes ten times as long.
        'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '-' | '.' | '_' => 1,
        _ if character.is_ascii() && !UNSAFE.contains(character) => 1,
        _ => 3 * character.len_utf8(),
    }
}

/// Whether `item` names a cache tag instead of a path.
pub fn is_tag(item: &str) -> bool {
    item.starts_with('#')
}

/// Returns whether `item` evicts `url`.
///
/// `url` is the path as the viewer sends it: percent-encoded, with its query string if that is part of the cache key.
pub fn matches(item: &str, url: &str) -> bool {
    match item.strip_suffix('*') {
        Some(prefix) => url.starts_with(prefix),
        None => item == url,
    }
}

/// A reason why an item is invalid.
///
/// CloudFront refuses the whole batch that contains such an item, or accepts and ignores the item.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum InvalidItem {
    #[error("item `{item}` must start with a slash")]
    NoLeadingSlash { item: String },
    #[error("an item has {characters} characters; shorten it to {MAX_CHARACTERS}")]
    TooLong { characters: usize },
    #[error("item `{item}` contains {character:?}, which CloudFront refuses; end it with `*` before that character")]
    Character { item: String, character: char },
    #[error("item `{item}` has a `*` before its end, and CloudFront allows it only at the end")]
    InnerWildcard { item: String },
    #[error("item `{item}` contains the escape `{escape}`, which CloudFront refuses or ignores")]
    Escape { item: String, escape: String },
    #[error("item `{item}` has a `.` or `..` segment, which no viewer asks for; end it with `*` before that segment")]
    DotSegment { item: String },
    #[error("tag `{item}` must have 1 to {MAX_TAG_CHARACTERS} visible ASCII characters, none of them `,` or `*`")]
    Tag { item: String },
}

/// Checks that CloudFront neither refuses nor ignores an item.
///
/// # Errors
///
/// Returns the first reason why the item is invalid.
pub fn validate(item: &str) -> Result<(), InvalidItem> {
    let owned = || item.to_owned();
    if let Some(tag) = item.strip_prefix('#') {
        return if is_valid_tag(tag) { Ok(()) } else { Err(InvalidItem::Tag { item: owned() }) };
    }
    if !item.starts_with('/') {
        return Err(InvalidItem::NoLeadingSlash { item: owned() });
    }
    let characters = item.chars().count();
    if characters > MAX_CHARACTERS {
        return Err(InvalidItem::TooLong { characters });
    }
    for (index, character) in item.char_indices() {
        match character {
            '*' if index + 1 < item.len() => {
                return Err(InvalidItem::InnerWildcard { item: owned() });
            }
            '%' => {
                let escape: String = item[index..].chars().take(3).collect();
                if !is_necessary(&escape) {
                    return Err(InvalidItem::Escape { item: owned(), escape });
                }
            }
            '*' | '?' => {}
            _ if character.is_ascii_alphanumeric() || SAFE.contains(character) => {}
            _ => {
                return Err(InvalidItem::Character { item: owned(), character });
            }
        }
    }
    let path = item.split('?').next().unwrap_or(item);
    if path.split('/').any(is_dot_segment) {
        return Err(InvalidItem::DotSegment { item: owned() });
    }
    Ok(())
}

fn is_valid_tag(tag: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'*');
    (1..=MAX_TAG_CHARACTERS).contains(&tag.len()) && tag.bytes().all(is_valid)
}

/// Whether `escape` is complete and stands for a byte that must be encoded.
fn is_necessary(escape: &str) -> bool {
    let digits = escape.as_bytes().get(1..).unwrap_or_default();
    let mut byte = [0];
    if hex::decode_to_slice(digits, &mut byte).is_err() {
        return false;
    }
    // `%2B` is how S3 spells a plus, see `spellings`.
    !byte[0].is_ascii() || byte[0] == b'+' || UNSAFE.as_bytes().contains(&byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spell(path: &str) -> Spelling {
        Spelling::of(path, false)
    }

    #[test]
    fn only_non_ascii_and_unsafe_characters_are_encoded() {
        assert_eq!(spell("/café.html").items, ["/caf%C3%A9.html"]);
        assert_eq!(spell("/🎉").items, ["/%F0%9F%8E%89"]);
        assert_eq!(spell("/a#[b]{c}|^`\"<>%\\").items, ["/a%23%5Bb%5D%7Bc%7D%7C%5E%60%22%3C%3E%25%5C"]);
        assert_eq!(spell("/a$-_.!(),;:@=&").items, ["/a$-_.!(),;:@=&"]);
        assert_eq!(spell("/%41").items, ["/%2541"]);
    }

    #[test]
    fn a_plus_and_a_space_have_an_item_for_each_spelling() {
        assert_eq!(spell("/c++").items, ["/c%2B%2B", "/c++"]);
        assert_eq!(spell("/a b").items, ["/a%20b", "/a+b"]);
        assert_eq!(spell("/a b+").items, ["/a%20b%2B", "/a%20b+", "/a+b%2B"]);
        // A wildcard stops before them, since it would miss the other spelling.
        assert_eq!(spell("/a b").wildcard_bytes, 2);
        assert_eq!(spell("/c++").wildcard_bytes, 2);
    }

    #[test]
    fn a_wildcard_stops_before_what_cannot_be_named() {
        for (path, prefix) in [
            ("/runtime~main.js", "/runtime"),
            ("/it's.html", "/it"),
            ("/star*", "/star"),
            ("/a*b*", "/a"),
            ("/what?.html", "/what"),
            ("/a/../b", "/a/"),
            ("/a/.", "/a/"),
            ("/a\u{7f}", "/a"),
            ("/~home", "/"),
        ] {
            let spelling = spell(path);
            assert_eq!(spelling.items, [""; 0], "{path}");
            assert_eq!(&path[..spelling.wildcard_bytes], prefix);
        }
        assert_eq!(spell("/.well-known/..a/b.").items, ["/.well-known/..a/b."]);
    }

    #[test]
    fn the_wildcard_of_a_long_path_ends_between_characters() {
        let path = format!("/{}", "é".repeat(1_000));
        let spelling = spell(&path);
        assert_eq!(spelling.items, [""; 0]);
        let item = wildcard(&path[..spelling.wildcard_bytes]);
        assert_eq!(item.len(), 1 + 666 * 6 + 1);
        assert_eq!(validate(&item), Ok(()));

        let fits = format!("/{}", "a".repeat(3_999));
        assert_eq!(spell(&fits).items, [fits.as_str()]);
        assert_eq!(spell(&fits).wildcard_bytes, 3_999);
        assert_eq!(spell(&format!("{fits}a")).items, [""; 0]);
        assert_eq!(Spelling::of(&fits, true).items, [""; 0]);
    }

    #[test]
    fn items_that_cloudfront_refuses_or_ignores_are_invalid() {
        for item in [
            "", "a", "/a~", "/a'", "/%7E", "/%2A", "/%27", "/a*b", "/**", "/a b", "/é", "/%", "/%4", "/%C", "/%41",
            "/%é1", "/a/../b", "/.", "#", "#a,b", "#a b", "#é", "#a*", "/a\n", "/%0A", "/%3F", "/a[1]",
        ] {
            assert!(validate(item).is_err(), "{item}");
        }
        for item in ["/", "/*", "/a%20b", "/a+b", "/%2B", "/%c3%A9", "/a?*", "/.*", "/a?b=c", "#a:b"] {
            assert_eq!(validate(item), Ok(()), "{item}");
        }
        let too_long = validate(&format!("/{}", "a".repeat(4_000)));
        assert_eq!(too_long, Err(InvalidItem::TooLong { characters: 4_001 }));
        assert_eq!(validate(&format!("#{}", "a".repeat(256))), Ok(()));
        assert!(validate(&format!("#{}", "a".repeat(257))).is_err());
    }

    #[test]
    fn an_error_names_the_item_and_the_remedy() {
        insta::assert_snapshot!(validate("/a~b").unwrap_err(), @"item `/a~b` contains '~', which CloudFront refuses; end it with `*` before that character");
        insta::assert_snapshot!(validate("/a%7E").unwrap_err(), @"item `/a%7E` contains the escape `%7E`, which CloudFront refuses or ignores");
    }

    #[test]
    fn only_a_wildcard_matches_more_than_one_url() {
        assert!(matches("/a*", "/a") && matches("/a*", "/ab/c?d=e"));
        assert!(!matches("/a*", "/b") && !matches("/a*", "/A"));
        assert!(matches("/a", "/a") && !matches("/a", "/a/") && !matches("/a", "/a?b"));
        assert!(matches("/a?*", "/a?b=c") && !matches("/a?*", "/a"));
    }
}
