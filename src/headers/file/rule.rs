//! One rule of a `_headers` file.

use super::error::Problem;
use super::field::HeaderField;
use super::limits::MAX_LINE_CHARACTERS;
use crate::headers::pattern::Pattern;

/// A path pattern, and its effect on the headers of the files that match it.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) pattern: Pattern,
}

/// A rule while it is read.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) line: usize,
    pub(super) path: String,
    pub(super) has_header: bool,
    pub(super) removed: Vec<HeaderField>,
    pub(super) set: Vec<(HeaderField, String)>,
}

impl Draft {
    pub(super) fn new(line: usize, path: &str) -> Self {
        Self { line, path: path.to_owned(), has_header: false, removed: Vec::new(), set: Vec::new() }
    }

    /// Whether the rule affects a header that S3 stores.
    pub(super) fn has_effect(&self) -> bool {
        !self.removed.is_empty() || !self.set.is_empty()
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

    pub(super) fn rule(&self) -> Result<Rule, Problem> {
        let bad_pattern = |problem| Problem::Pattern { path: self.path.clone(), problem };
        if self.path.chars().count() > MAX_LINE_CHARACTERS {
            return Err(bad_pattern("is longer than the key of any object; shorten it"));
        }
        let pattern = Pattern::parse(&self.path).map_err(bad_pattern)?;
        Ok(Rule { line: self.line, path: self.path.clone(), pattern })
    }
}
