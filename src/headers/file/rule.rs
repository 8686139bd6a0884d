//! One rule of a `_headers` file.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use regex::Regex;

use super::field::HeaderField;
use super::{Fields, MAX_METADATA_BYTES};
use crate::headers::pattern::placeholder_bytes;

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

/// A path pattern, and the headers for the files that match it.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) line: usize,
    /// Captures what the splat and the placeholders stand for.
    pattern: Regex,
    pub(super) removed: Vec<HeaderField>,
    set: Vec<(HeaderField, String)>,
}

impl Rule {
    pub(super) fn new(line: usize, pattern: Regex) -> Self {
        Self { line, pattern, removed: Vec::new(), set: Vec::new() }
    }

    /// Adds a value of a header.
    pub(super) fn set(&mut self, field: HeaderField, value: &str) {
        match self.set.iter_mut().find(|(earlier, _)| *earlier == field) {
            Some((_, earlier)) if field.is_single() => value.clone_into(earlier),
            Some((_, earlier)) => {
                earlier.push_str(", ");
                earlier.push_str(value);
            }
            None => self.set.push((field, value.to_owned())),
        }
    }

    /// Applies the rule to the headers of a file with the given paths, on top of the rules before it.
    pub(super) fn apply(&self, paths: &[String], fields: &mut Fields) {
        for field in &self.removed {
            fields.insert(field.clone(), None);
        }
        for (field, value) in &self.set {
            let value = self.filled_in(value, paths);
            let current = fields.entry(field.clone()).or_default();
            *current = Some(match current.take() {
                Some(earlier) if !field.is_single() => format!("{earlier}, {value}"),
                _ => value,
            });
        }
    }

    /// Returns a value in which `:splat` and placeholders are replaced by the parts that they stand for of the first
    /// path that matches, encoded as in a URL.
    fn filled_in(&self, value: &str, paths: &[String]) -> String {
        let mut parts = value.split(':');
        let mut filled = parts.next().unwrap_or_default().to_owned();
        if filled.len() == value.len() {
            return filled;
        }
        let captures = paths.iter().find_map(|path| self.pattern.captures(path));
        for part in parts {
            let (name, rest) = part.split_at(placeholder_bytes(part));
            match captures.as_ref().and_then(|captures| captures.name(name)) {
                Some(text) => filled.extend(utf8_percent_encode(text.as_str(), PATH)),
                None => {
                    filled.push(':');
                    filled.push_str(name);
                }
            }
            // The value is refused anyway, and a splat that is named often enough would fill the memory.
            if filled.len() > MAX_METADATA_BYTES {
                return filled;
            }
            filled.push_str(rest);
        }
        filled
    }
}
