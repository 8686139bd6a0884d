//! The rules about one S3 key.
//!
//! A *key* names an object in S3, and a *name* names an entry in the archive. The live key of an entry is the live
//! prefix followed by its name, byte for byte: it is not encoded, normalised or converted to lower case.

use percent_encoding::percent_decode_str;

/// The folder of the staging bucket that dropship writes to.
///
/// No archive may be in it, and no event about it starts a deployment.
pub const OWN_FOLDER: &str = ".dropship/";

/// The folder of the staging bucket for archives that are planned and never deployed.
pub const PLANS_FOLDER: &str = "plans/";

/// Returns the live key of an entry: the live prefix, which is empty or ends in `/`, and the entry's name.
pub fn live_key(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}")
}

/// Whether a key is white space alone. The SDK refuses to send a request for such a key, as if there were none.
pub fn is_blank(key: &str) -> bool {
    key.trim().is_empty()
}

/// Decodes a key as S3 encodes it in an event notification; returns `None` if the result is not UTF-8.
///
/// S3 form-encodes the key: a space arrives as `+` and a plus sign as `%2B` (S3 User Guide, "Event message structure").
/// So `+` is replaced first, then the escapes are decoded, once. A `%` that starts no escape stays as it is, as in the
/// URL Standard's form parser.
pub fn form_decode(encoded: &str) -> Option<String> {
    if !encoded.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
        return Some(encoded.to_owned());
    }
    let with_spaces = encoded.replace('+', " ");
    let decoded = percent_decode_str(&with_spaces).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Returns the extension of a key's file name, in its own case.
///
/// A file name has no extension if its only dot is at the start (`.nojekyll`), or if it ends in a dot.
pub fn extension(key: &str) -> Option<&str> {
    let file_name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    match file_name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => Some(extension),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plus_is_a_space_and_an_escaped_plus_is_a_plus() {
        assert_eq!(form_decode("red+flower%281%29+c%2B%2B.zip").as_deref(), Some("red flower(1) c++.zip"));
    }

    #[test]
    fn a_key_is_decoded_once() {
        assert_eq!(form_decode("100%2525.zip").as_deref(), Some("100%25.zip"));
        assert_eq!(form_decode("a%252Bb").as_deref(), Some("a%2Bb"));
    }

    #[test]
    fn a_percent_sign_that_starts_no_escape_stays() {
        assert_eq!(form_decode("100%.zip").as_deref(), Some("100%.zip"));
        assert_eq!(form_decode("%zz%4").as_deref(), Some("%zz%4"));
    }

    #[test]
    fn a_key_that_is_not_utf8_is_not_decoded() {
        assert_eq!(form_decode("caf%E9.zip"), None);
        assert_eq!(form_decode("caf%C3%A9.zip").as_deref(), Some("café.zip"));
    }

    #[test]
    fn only_the_last_dot_of_the_file_name_starts_an_extension() {
        for (key, expected) in [
            ("index.html", Some("html")),
            ("v1.2/app.min.js", Some("js")),
            ("v1.2/LICENSE", None),
            ("site/.nojekyll", None),
            (".well-known/security.txt", Some("txt")),
            (".config.json", Some("json")),
            ("ends-in-a-dot.", None),
            ("folder.d/", None),
            ("", None),
        ] {
            assert_eq!(extension(key), expected, "{key}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_s3s_encoding(key in "\\PC{0,40}") {
            let encoded: String = utf8_percent_encode(&key, NON_ALPHANUMERIC).collect();
            let as_s3_sends_it = encoded.replace("%20", "+").replace("%2F", "/");
            let decoded = form_decode(&as_s3_sends_it);
            prop_assert_eq!(decoded.as_deref(), Some(key.as_str()));
        }

        #[test]
        fn a_live_key_is_its_prefix_and_its_name(prefix in "([a-z]{1,3}/)?", name in "[a-z/.]{1,8}") {
            let key = live_key(&prefix, &name);
            prop_assert_eq!(key.strip_prefix(prefix.as_str()), Some(name.as_str()));
        }
    }
}
