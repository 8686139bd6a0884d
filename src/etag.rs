//! ETags, as what they mostly are: an MD5, with the number of parts for a multipart upload.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An ETag without its quotes.
///
/// A plan may hold a million of them, so that the usual ones take no memory beside their own 24 bytes, and 17 where
/// they are packed ([`crate::packed_map`]). Whatever else a store gives stays as it is.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Etag(Repr);

#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
enum Repr {
    Md5([u8; 16]),
    /// S3 user guide, "Checking object integrity": the MD5 of the parts' MD5s, and how many there are.
    Parts([u8; 16], u32),
    Other(Box<str>),
}

impl Etag {
    /// Whether it has the form of an MD5, as those of multipart uploads have not.
    pub fn is_md5(&self) -> bool {
        matches!(self.0, Repr::Md5(_))
    }
}

impl From<&str> for Etag {
    fn from(text: &str) -> Self {
        let form = match text.split_once('-') {
            None => md5(text).map(Repr::Md5),
            Some((hex, count)) => md5(hex).zip(part_count(count)).map(|(md5, count)| Repr::Parts(md5, count)),
        };
        Self(form.unwrap_or_else(|| Repr::Other(text.into())))
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

/// Only of lower-case digits, as which it is written again.
fn md5(hex: &str) -> Option<[u8; 16]> {
    let mut md5 = [0; 16];
    if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    hex::decode_to_slice(hex, &mut md5).ok().map(|()| md5)
}

/// Only of a number as it is written again: no sign, no zero in front.
fn part_count(text: &str) -> Option<u32> {
    let is_plain = text.starts_with(|first| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_an_md5_is_one() {
        let md5 = "0123456789abcdef0123456789abcdef";
        assert!(Etag::from(md5).is_md5());
        for other in ["", "e", &md5[1..], &md5.to_uppercase(), &format!("{md5}-2"), &format!("{md5}0")] {
            assert!(!Etag::from(other).is_md5(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn every_etag_is_written_as_it_was_read(
            text in prop_oneof!["[0-9a-f]{32}(-[0-9]{1,11})?", "[0-9A-Fa-f]{31,33}(-[+0-9]{0,3})?", ".{0,8}"],
        ) {
            prop_assert_eq!(Etag::from(text.as_str()).to_string(), text);
        }

        #[test]
        fn etags_are_equal_where_their_texts_are(one in "[ab]{32}(-0?[12])?", other in "[ab]{32}(-0?[12])?") {
            prop_assert_eq!(Etag::from(one.as_str()) == Etag::from(other.as_str()), one == other);
        }
    }
}
