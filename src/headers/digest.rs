//! A digest of an object's headers.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Headers;

/// The first 8 bytes of a SHA-256 over an object's headers, written as 16 hex digits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Serialize, serde::Deserialize)]
pub struct HeadersDigest([u8; 8]);

/// A text that is not a headers digest.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is not a headers digest of 16 hex digits")]
pub struct BadHeadersDigest(String);

impl fmt::Display for HeadersDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl FromStr for HeadersDigest {
    type Err = BadHeadersDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 8];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| BadHeadersDigest(text.to_owned()))?;
        Ok(HeadersDigest(bytes))
    }
}

impl Headers {
    /// Returns a digest that covers every header.
    ///
    /// If the framing of the digest changes, the next deployment writes the headers of every object again.
    pub fn digest(&self) -> HeadersDigest {
        let mut digest = FramedDigest::default();
        digest.text(&self.content_type);
        digest.option(self.cache_control.as_deref());
        digest.option(self.content_disposition.as_deref());
        digest.option(self.content_language.as_deref());
        digest.option(self.content_encoding.as_deref());
        for (name, value) in &self.metadata {
            digest.text(name);
            digest.text(value);
        }
        digest.finish()
    }
}

/// A SHA-256 in which the length of each text precedes it, so that different sequences of texts are different bytes.
#[derive(Default)]
struct FramedDigest(Sha256);

impl FramedDigest {
    fn text(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn option(&mut self, text: Option<&str>) {
        match text {
            None => self.0.update([0]),
            Some(text) => {
                self.0.update([1]);
                self.text(text);
            }
        }
    }

    fn finish(self) -> HeadersDigest {
        let sha256: [u8; 32] = self.0.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = sha256;
        HeadersDigest([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::config::CacheControl;

    #[test]
    fn a_digest_never_changes() {
        // If it did, the next deployment would write the headers of every object again.
        let cache_control = CacheControl { pages: "pages".to_owned(), assets: "assets".to_owned() };
        let mut headers = Headers::for_key("index.html", &cache_control);
        assert_snapshot!(headers.digest(), @"6b8bdcf6a08ffef7");
        headers.content_language = Some("de".to_owned());
        headers.metadata.insert("build".to_owned(), "42".to_owned());
        assert_snapshot!(headers.digest(), @"be82c1b37dd0f123");
    }

    #[test]
    fn a_digest_is_16_hex_digits() {
        assert_eq!("0123456789abcdef".parse(), Ok(HeadersDigest([1, 35, 69, 103, 137, 171, 205, 239])));
        for text in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", "+123456789abcdef"] {
            assert_eq!(text.parse::<HeadersDigest>(), Err(BadHeadersDigest(text.to_owned())));
        }
    }

    /// Returns headers with so few and short values that two sets often differ only in where a value is, or where it
    /// ends.
    fn any_headers() -> impl Strategy<Value = Headers> {
        let text = "[a-]{0,2}";
        let option = || prop::option::of(text);
        (text, option(), option(), option(), option(), prop::collection::btree_map(text, text, 0..3)).prop_map(
            |(content_type, cache_control, disposition, language, encoding, metadata)| Headers {
                content_type,
                cache_control,
                content_disposition: disposition,
                content_language: language,
                content_encoding: encoding,
                metadata,
            },
        )
    }

    proptest! {
        #[test]
        fn headers_are_equal_if_and_only_if_their_digests_are(one in any_headers(), other in any_headers()) {
            prop_assert_eq!(one == other, one.digest() == other.digest());
        }

        #[test]
        fn moving_a_value_to_another_field_changes_the_digest(headers in any_headers(), value in "[a-]{0,2}") {
            let with = |set: fn(&mut Headers, String)| {
                let mut headers = headers.clone();
                headers.cache_control = None;
                headers.content_disposition = None;
                headers.content_language = None;
                headers.content_encoding = None;
                set(&mut headers, value.clone());
                headers.digest()
            };
            let digests = BTreeSet::from([
                with(|headers, value| headers.cache_control = Some(value)),
                with(|headers, value| headers.content_disposition = Some(value)),
                with(|headers, value| headers.content_language = Some(value)),
                with(|headers, value| headers.content_encoding = Some(value)),
                with(|_, _| ()),
            ]);
            prop_assert_eq!(digests.len(), 5);
        }

        #[test]
        fn a_digest_is_parsed_as_it_is_written(headers in any_headers()) {
            let digest = headers.digest();
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }
    }
}
