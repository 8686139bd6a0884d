//! Errors in a `_headers` file.

use std::fmt;

use super::MAX_METADATA_BYTES;
use super::limits::{MAX_LINE_CHARACTERS, MAX_RULES};
use crate::cut;

/// A `_headers` file that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadHeadersFile {
    #[error("`_headers` is not UTF-8; save it as UTF-8")]
    Encoding,
    #[error("`_headers`: {}", first_lines(.0))]
    Lines(Vec<BadLine>),
    #[error(
        "`_headers` gives `{name}` over {MAX_METADATA_BYTES} bytes of {what}, more than S3 stores; shorten the values"
    )]
    TooLong { name: String, what: &'static str },
}

/// A malformed line; the first line is line 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadLine {
    pub(super) line: usize,
    pub(super) problem: Problem,
}

/// The reason why a line is malformed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Problem {
    #[error("has over {MAX_LINE_CHARACTERS} characters")]
    TooLong,
    #[error("begins rule {}, and at most {MAX_RULES} are allowed; let one `*` stand for several paths", MAX_RULES + 1)]
    TooManyRules,
    #[error("`{0}` is not a path, since it does not start with `/`")]
    NotAPath(String),
    #[error("the path `{path}` {problem}")]
    Pattern { path: String, problem: &'static str },
    #[error("the paths up to this one are too long together")]
    PatternsTooLong,
    #[error("the path `{0}` has no header below it")]
    NoHeaders(String),
    #[error("`{0}` is neither a path, nor `Name: value`, nor `! Name`")]
    Unknown(String),
    #[error("a header has no path above it")]
    NoPath,
    #[error("`{0}` is not a header name")]
    Name(String),
    #[error("{0} has no value; to remove the header, write `! {0}`")]
    NoValue(String),
    #[error("the value of {0} contains characters that are not ASCII")]
    NotAscii(String),
    #[error("`{0}` is not a content type of the form `type/subtype`")]
    ContentType(String),
}

impl fmt::Display for BadLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

fn first_lines(lines: &[BadLine]) -> String {
    let lines: Vec<String> = lines.iter().map(BadLine::to_string).collect();
    cut::named(&lines).join("; ")
}

/// Returns line numbers as a phrase, such as `lines 3, 7`.
pub(super) fn line_numbers(lines: &[usize]) -> String {
    let word = if lines.len() == 1 { "line" } else { "lines" };
    let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
    format!("{word} {}", cut::sentence(&lines))
}
