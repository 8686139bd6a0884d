//! The values that rules give a header.

use std::ops::Range;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::MAX_METADATA_BYTES;
use crate::headers::cache_control::Directives;
use crate::headers::pattern::{Pattern, placeholder_bytes};

/// The characters that a URL's path contains only encoded (URL Standard, "path percent-encode set"), and `%` itself,
/// since the names of files are not encoded.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// A value, and where the splat and the placeholders of its rule's path are filled in.
#[derive(Clone, Debug)]
pub(super) struct Value {
    parts: Vec<Part>,
    /// The meaning of the value as Cache-Control, if it depends on no path.
    directives: Option<Directives>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(String),
    /// A capture of the pattern, by its index.
    Captured(usize),
}

impl Value {
    pub(super) fn new(text: &str, pattern: &Pattern) -> Self {
        let mut pieces = text.split(':');
        let mut parts = vec![Part::Text(pieces.next().unwrap_or_default().to_owned())];
        for piece in pieces {
            let (name, rest) = piece.split_at(placeholder_bytes(piece));
            let rest = match pattern.index_of(name) {
                Some(index) => {
                    parts.push(Part::Captured(index));
                    rest.to_owned()
                }
                None => format!(":{piece}"),
            };
            match parts.last_mut() {
                Some(Part::Text(text)) => text.push_str(&rest),
                _ => parts.push(Part::Text(rest)),
            }
        }
        let directives = (parts.len() == 1).then(|| Directives::parse(text));
        Self { parts, directives }
    }

    /// How many steps it takes to fill the value in.
    pub(super) fn steps(&self) -> usize {
        1 + self.parts.iter().filter(|part| matches!(part, Part::Captured(_))).count()
    }

    pub(super) fn is_filled_in(&self) -> bool {
        self.steps() > 1
    }

    /// Appends the value for a path, encoded as in a URL, to those of earlier rules.
    pub(super) fn append(&self, path: &str, captures: &[Range<usize>], value: &mut String) {
        for part in &self.parts {
            // The value is refused anyway.
            if value.len() > MAX_METADATA_BYTES {
                return;
            }
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Captured(index) => {
                    let captured = captures.get(*index).map_or("", |range| &path[range.clone()]);
                    value.extend(utf8_percent_encode(captured, PATH));
                }
            }
        }
    }

    /// Returns what the value says as Cache-Control, given its text for a path.
    pub(super) fn directives(&self, text: &str) -> Directives {
        self.directives.unwrap_or_else(|| Directives::parse(text))
    }
}
