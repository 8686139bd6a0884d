//! Where a build comes from, as whoever pushed it says.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The longest field, in bytes. S3 keeps at most 2 KB of metadata with an object (S3 user guide, "Working with object
/// metadata"), and a byte takes up to three there.
const MAX_FIELD_BYTES: usize = 120;

/// The user metadata of an archive that holds its source, without `x-amz-meta-`.
pub const SOURCE_METADATA: &str = "dropship-source";

/// The commit that a build was made from, with its branch, author and message. An empty field is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub commit: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub branch: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The preview that the build was promoted from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preview: String,
}

impl Source {
    /// Returns the source as the value of [`SOURCE_METADATA`]: JSON, percent-encoded, since metadata is ASCII. Long
    /// fields are cut.
    ///
    /// # Errors
    /// None in practice: the fields are texts.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        let json = serde_json::to_string(&self.clone().cut())?;
        Ok(utf8_percent_encode(&json, NON_ALPHANUMERIC).to_string())
    }

    /// Reads the value of [`SOURCE_METADATA`]. Whatever cannot be read is unknown: it never refuses an archive.
    pub fn decode(value: &str) -> Option<Self> {
        let json = percent_decode_str(value).decode_utf8().ok()?;
        let source: Self = serde_json::from_str(&json).ok()?;
        Some(source.cut()).filter(|source| *source != Self::default())
    }

    fn cut(self) -> Self {
        let cut = |text: String| {
            let line = text.lines().next().unwrap_or_default();
            line[..line.floor_char_boundary(MAX_FIELD_BYTES)].to_owned()
        };
        let Self { commit, branch, author, message, preview } = self;
        Self {
            commit: cut(commit),
            branch: cut(branch),
            author: cut(author),
            message: cut(message),
            preview: cut(preview),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_was_written_with_its_first_lines() {
        let source = Source {
            commit: "4f2a9c1".to_owned(),
            branch: "größe/🎉".to_owned(),
            message: "Fix the menu\n\nIt was broken.".to_owned(),
            ..Source::default()
        };
        let encoded = source.encode().unwrap();
        assert!(encoded.is_ascii());
        let read = Source::decode(&encoded).unwrap();
        assert_eq!(read, Source { message: "Fix the menu".to_owned(), ..source });
    }

    #[test]
    fn the_longest_source_fits_into_an_objects_metadata() {
        let long = "\u{10ffff}".repeat(1_000);
        let source = Source {
            commit: "a".repeat(64),
            branch: long.clone(),
            author: long.clone(),
            message: long,
            preview: "a".repeat(63),
        };
        let bytes = SOURCE_METADATA.len() + source.encode().unwrap().len();
        assert!(bytes < 1_700, "{bytes}");
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        for value in ["", "{}", "[1]", "%7B%22commit%22%3A1%7D", "%ff", "not json"] {
            assert_eq!(Source::decode(value), None, "{value}");
        }
    }
}
