//! CloudFront's spelling of a path, and what it can and cannot name.
//!
//! The rule (CloudFront Developer Guide, "What you need to know when invalidating paths"):
//! percent-encode non-ASCII characters and RFC 1738's unsafe ones, and nothing else, or
//! CloudFront accepts the item and invalidates nothing.

use std::fmt::Write;

use thiserror::Error;

/// "The maximum length of a path is 4,000 characters" (CloudFront Developer Guide).
const MAX_CHARACTERS: usize = 4_000;

/// "The maximum length of a tag is 256 characters" (CloudFront Developer Guide, "What you need to
/// know when invalidating tags").
const MAX_TAG_CHARACTERS: usize = 256;

/// RFC 1738 section 2.2, printable ASCII only. Its `~` is not here: nothing names it.
const UNSAFE: &str = " \"<>#%{}|\\^[]`";

/// What may stand in an item as it is: RFC 1738's safe and reserved characters, without those
/// that no item can hold.
const SAFE: &str = "$-_.+!(),/;:@=&";

/// How CloudFront can be told about one viewer path.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Spelling {
    /// The items that name the path and nothing else; empty when CloudFront cannot name it.
    /// Several when viewers can spell it in several ways.
    pub(super) items: Vec<String>,
    /// How much of the path, in bytes, a wildcard may repeat before its `*`; at least the first
    /// slash. The path itself has to be covered by such a wildcard when it cannot be named.
    pub(super) wildcard_bytes: usize,
}

impl Spelling {
    /// Spells `path`, which is decoded and starts with a slash; with `query_strings`, including
    /// all its `?…` variants.
    pub(super) fn of(path: &str, query_strings: bool) -> Self {
        let nameable_bytes = nameable_bytes(path);
        let wildcard_bytes = one_spelling_bytes(&path[..nameable_bytes]);
        let mut items = Vec::new();
        if nameable_bytes == path.len() {
            items = spellings(path);
            if query_strings {
                // The query string is part of what an item names, and `*` stands for any end of
                // it. (AWS shows `/a.html*`, which is what the planner uses where nothing
                // else starts so: it is one item less.)
                items = (items.into_iter()).flat_map(|item| [format!("{item}?*"), item]).collect();
            }
            if items.iter().any(|item| item.len() > MAX_CHARACTERS) {
                items.clear();
            }
        }
        Self { items, wildcard_bytes }
    }
}

/// How much of `path` consists of what CloudFront can name.
///
/// It refuses `~` and `'`, and ignores `%7E` (aws/aws-sdk#525). `*` at the end is a wildcard,
/// elsewhere not allowed, and `%2A` is ignored (apancutt/deploy-aws-s3-cloudfront#7). A `?` of
/// the key travels as `%3F`, which is nothing that the rule lets us encode, and raw it would
/// start a query string. Control characters and dot segments are rewritten by whoever stands
/// between, and one refused item fails the whole batch.
fn nameable_bytes(path: &str) -> usize {
    let character =
        path.find(|character: char| character.is_ascii_control() || matches!(character, '~' | '\'' | '*' | '?'));
    let mut segment_start = 0;
    let dots = path.split('/').find_map(|segment| {
        let start = segment_start;
        segment_start += segment.len() + 1;
        matches!(segment, "." | "..").then_some(start)
    });
    let end = path.len();
    character.unwrap_or(end).min(dots.unwrap_or(end))
}

/// How much of `path` has a single spelling that leaves room for the `*`.
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

/// Every way in which a viewer may spell `path`.
///
/// S3 reads `+` in a path as a space, and CloudFront hands it over as it came (measured in
/// rust-lang/crates.io#4891). So `a b.html` is also asked for as `/a+b.html`, and `c++.html` is
/// only found as `/c%2B%2B.html`, which the rule would not have us encode. Both spellings are
/// sent: whichever CloudFront keeps as its cache key, one of them names it.
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

/// The item for everything that starts with `prefix`.
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
        // One look-up for what nearly all characters are; a search through `UNSAFE` is ten times as much.
        'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '-' | '.' | '_' => 1,
        _ if character.is_ascii() && !UNSAFE.contains(character) => 1,
        _ => 3 * character.len_utf8(),
    }
}

/// Whether `item` names a cache tag instead of a path.
pub fn is_tag(item: &str) -> bool {
    item.starts_with('#')
}

/// Says whether `item` evicts `url`: the path as the viewer sends it, percent-encoded, with its
/// query string if it is in the cache key.
pub fn matches(item: &str, url: &str) -> bool {
    match item.strip_suffix('*') {
        Some(prefix) => url.starts_with(prefix),
        None => item == url,
    }
}

/// What is wrong with an item. One such item fails its whole batch, or is silently ignored.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum InvalidItem {
    #[error("item `{item}` must start with a slash")]
    NoLeadingSlash { item: String },
    #[error("an item has {characters} characters; shorten it to {MAX_CHARACTERS}")]
    TooLong { characters: usize },
    #[error("item `{item}` holds {character:?}, which CloudFront refuses; end in `*` before it")]
    Character { item: String, character: char },
    #[error("item `{item}` has a `*` before its end, where it is no wildcard")]
    InnerWildcard { item: String },
    #[error("item `{item}` has the escape `{escape}`, which CloudFront refuses or ignores")]
    Escape { item: String, escape: String },
    #[error("item `{item}` has a `.` or `..` segment, which no viewer asks for; end in `*` before it")]
    DotSegment { item: String },
    #[error(
        "tag `{item}` must be of 1 to {MAX_TAG_CHARACTERS} visible ASCII characters without comma \
         and `*`"
    )]
    Tag { item: String },
}

/// Refuses what CloudFront would refuse, and what it would accept and ignore.
pub fn validate(item: &str) -> Result<(), InvalidItem> {
    let owned = || item.to_owned();
    if let Some(tag) = item.strip_prefix('#') {
        let is_visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'*');
        return if (1..=MAX_TAG_CHARACTERS).contains(&tag.len()) && tag.bytes().all(is_visible) {
            Ok(())
        } else {
            Err(InvalidItem::Tag { item: owned() })
        };
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
                if !is_needed(&escape) {
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
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(InvalidItem::DotSegment { item: owned() });
    }
    Ok(())
}

/// Whether `escape` is whole and stands for a byte that may not stand for itself.
fn is_needed(escape: &str) -> bool {
    let digits = escape.as_bytes().get(1..).unwrap_or_default();
    let mut byte = [0];
    if hex::decode_to_slice(digits, &mut byte).is_err() {
        return false;
    }
    // `%2B` is S3's spelling of a plus, see `spellings`.
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
    fn a_plus_and_a_space_are_named_in_every_spelling() {
        assert_eq!(spell("/c++").items, ["/c%2B%2B", "/c++"]);
        assert_eq!(spell("/a b").items, ["/a%20b", "/a+b"]);
        assert_eq!(spell("/a b+").items, ["/a%20b%2B", "/a%20b+", "/a+b%2B"]);
        // No wildcard can hold one, for it would miss the other spelling.
        assert_eq!(spell("/a b").wildcard_bytes, 2);
        assert_eq!(spell("/c++").wildcard_bytes, 2);
    }

    #[test]
    fn what_cannot_be_named_stops_the_wildcard_before_it() {
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
    fn a_path_that_is_too_long_is_cut_between_characters() {
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
    fn an_error_names_the_item_and_the_way_out() {
        insta::assert_snapshot!(validate("/a~b").unwrap_err(), @"item `/a~b` holds '~', which CloudFront refuses; end in `*` before it");
        insta::assert_snapshot!(validate("/a%7E").unwrap_err(), @"item `/a%7E` has the escape `%7E`, which CloudFront refuses or ignores");
    }

    #[test]
    fn a_wildcard_stands_for_any_end_and_nothing_else_does() {
        assert!(matches("/a*", "/a") && matches("/a*", "/ab/c?d=e"));
        assert!(!matches("/a*", "/b") && !matches("/a*", "/A"));
        assert!(matches("/a", "/a") && !matches("/a", "/a/") && !matches("/a", "/a?b"));
        assert!(matches("/a?*", "/a?b=c") && !matches("/a?*", "/a"));
    }
}
