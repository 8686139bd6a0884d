//! The values that rules give a header.

use std::ops::Range;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::MAX_METADATA_BYTES;
use super::field::HeaderField;
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
    text: Box<str>,
    captured: Box<[Captured]>,
    /// The meaning of a Cache-Control that depends on no path.
    directives: Option<Box<Directives>>,
}

/// A part of a value that stands for a capture of the pattern. A large file may have a million of them.
#[derive(Clone, Copy, Debug)]
struct Captured {
    start: u32,
    end: u32,
    index: u8,
}

impl Value {
    pub(super) fn new(field: &HeaderField, text: &str, pattern: &Pattern) -> Self {
        let mut captured = Vec::new();
        for (colon, _) in text.match_indices(':') {
            let end = colon + 1 + placeholder_bytes(&text[colon + 1..]);
            let index = pattern.index_of(&text[colon + 1..end]).and_then(|index| u8::try_from(index).ok());
            let range = (u32::try_from(colon), u32::try_from(end));
            if let (Some(index), (Ok(start), Ok(end))) = (index, range) {
                captured.push(Captured { start, end, index });
            }
        }
        let is_known = *field == HeaderField::CacheControl && captured.is_empty();
        let directives = is_known.then(|| Box::new(Directives::parse(text)));
        Self { text: text.into(), captured: captured.into(), directives }
    }

    /// How many steps it takes to fill the value in.
    pub(super) fn steps(&self) -> usize {
        1 + self.captured.len()
    }

    pub(super) fn is_filled_in(&self) -> bool {
        !self.captured.is_empty()
    }

    /// Appends the value for a path, encoded as in a URL, to those of earlier rules.
    pub(super) fn append(&self, path: &str, captures: &[Range<usize>], value: &mut String) {
        let mut start = 0;
        for part in &self.captured {
            // The value is refused anyway.
            if value.len() > MAX_METADATA_BYTES {
                return;
            }
            value.push_str(&self.text[start..part.start as usize]);
            let captured = captures.get(usize::from(part.index)).map_or("", |range| &path[range.clone()]);
            value.extend(utf8_percent_encode(captured, PATH));
            start = part.end as usize;
        }
        value.push_str(&self.text[start..]);
    }

    /// Returns what the value says as Cache-Control, given its text for a path.
    pub(super) fn directives(&self, text: &str) -> Directives {
        self.directives.as_deref().copied().unwrap_or_else(|| Directives::parse(text))
    }
}
