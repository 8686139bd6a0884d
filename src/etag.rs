//! ETags, in as little memory as possible.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An ETag without its quotes.
///
/// A plan may have a million of them. The usual ones are an MD5, or an MD5 and the number of parts of a multipart
/// upload. They take 24 bytes and no further memory, and 17 bytes in a [`PackedMap`](crate::packed_map::PackedMap). Any
/// other text that a store returns is kept as it is.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Etag(Repr);

#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
enum Repr {
    Md5([u8; 16]),
    /// The MD5 of the parts' MD5s, and the number of parts (S3 User Guide, "Checking object integrity").
    Parts([u8; 16], u32),
    Other(Box<str>),
}

impl Etag {
    /// Returns whether the ETag has the form of an MD5. Those of multipart uploads do not.
    pub fn is_md5(&self) -> bool {
        matches!(self.0, Repr::Md5(_))
    }
}

impl From<&str> for Etag {
    fn from(text: &str) -> Self {
        let repr = match text.split_once('-') {
            None => md5(text).map(Repr::Md5),
            Some((hex, count)) => md5(hex).zip(part_count(count)).map(|(md5, count)| Repr::Parts(md5, count)),
        };
        Self(repr.unwrap_or_else(|| Repr::Other(text.into())))
    }
}

impl From<String> for Etag {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (md5, count) = match &self.0 {
            Repr::Md5(md5) => (md5, None),
            Repr::Parts(md5, count) => (md5, Some(count)),
            Repr::Other(text) => return formatter.write_str(text),
        };
        let mut digits = [0; 32];
        let encoded = hex::encode_to_slice(md5, &mut digits);
        encoded.map_err(|_| fmt::Error)?;
        formatter.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)?;
        count.map_or(Ok(()), |count| write!(formatter, "-{count}"))
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

/// Parses an MD5 in lower-case digits. Others would not be displayed as they were read.
fn md5(hex: &str) -> Option<[u8; 16]> {
    let is_md5 = hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = u128::from_str_radix(hex, 16).ok().filter(|_| is_md5);
    number.map(u128::to_be_bytes)
}

/// Parses a number without a sign or a leading zero. Others would not be displayed as they were read.
fn part_count(text: &str) -> Option<u32> {
    let is_plain = text.starts_with(|first| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_an_md5_has_the_form_of_one() {
        let md5 = "0123456789abcdef0123456789abcdef";
        assert!(Etag::from(md5).is_md5());
        for other in ["", "e", &md5[1..], &md5.to_uppercase(), &format!("{md5}-2"), &format!("{md5}0")] {
            assert!(!Etag::from(other).is_md5(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_etag_is_displayed_as_it_was_read(
            text in prop_oneof![
                "[0-9a-f]{32}(-[0-9]{1,11})?",
                "[0-9A-Fa-f]{31,33}(-[+0-9]{0,3})?",
                "[+é][+0-9a-f]{30,31}",
                ".{0,8}",
            ],
        ) {
            prop_assert_eq!(Etag::from(text.as_str()).to_string(), text);
        }

        #[test]
        fn etags_are_equal_if_and_only_if_their_texts_are(one in "[ab]{32}(-0?[12])?", other in "[ab]{32}(-0?[12])?") {
            prop_assert_eq!(Etag::from(one.as_str()) == Etag::from(other.as_str()), one == other);
        }
    }
}
