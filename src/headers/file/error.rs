//! Errors in a `_headers` file.

use std::fmt;

use super::MAX_METADATA_BYTES;
use super::limits::{MAX_LINE_CHARACTERS, MAX_METADATA_NAMES, MAX_RULES, MAX_STORED_HEADERS, MAX_VALUES};
use crate::cut;

/// A `_headers` file that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadHeadersFile {
    #[error("`_headers` is not UTF-8; save it as UTF-8")]
    Encoding,
    #[error("`_headers`: {0}")]
    Lines(BadLines),
    #[error(
        "`_headers` gives `{name}` over {MAX_METADATA_BYTES} bytes of {what}, more than S3 stores; shorten the values of \
         {rules}"
    )]
    TooLong { name: String, what: &'static str, rules: String },
    #[error(
        "`_headers` gives `{name}` over {MAX_VALUES} values and placeholders in them; let fewer rules match it, such as \
         {rules}"
    )]
    TooMany { name: String, rules: String },
    #[error(
        "`_headers` takes too long to apply to {files} files, most likely because of paths with several wildcards between \
         two slashes, or with more than two placeholders beside other characters: {rules}; let one `*` stand for these \
         wildcards"
    )]
    SlowPatterns { files: usize, rules: String },
    #[error(
        "`_headers` takes too long to apply to {files} files, with {rules} rules for headers that S3 stores; use fewer \
         rules with fewer placeholders, and set fewer headers"
    )]
    TooSlow { files: usize, rules: usize },
}

/// Malformed lines, of which only the first are kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BadLines {
    first: Vec<BadLine>,
    count: usize,
}

/// A malformed line; the first line is line 1.
#[derive(Clone, Debug, Eq, PartialEq)]
struct BadLine {
    line: usize,
    problem: Problem,
}

/// The reason why a line is malformed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Problem {
    #[error("has over {MAX_LINE_CHARACTERS} characters, more than S3 stores with an object; shorten it")]
    TooLong,
    #[error(
        "begins rule {} for headers that S3 stores, and at most {MAX_RULES} are allowed; let one `*` stand for several \
         paths",
        MAX_RULES + 1
    )]
    TooManyRules,
    #[error("is one of over {MAX_STORED_HEADERS} lines with a header that S3 stores; set fewer headers")]
    TooManyHeaders,
    #[error("names `{0}`, and at most {MAX_METADATA_NAMES} different names of metadata are allowed")]
    TooManyMetadataNames(String),
    #[error("`{0}` is not a path, since it does not start with `/`")]
    NotAPath(String),
    #[error("the path `{path}` {problem}")]
    Pattern { path: String, problem: &'static str },
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

impl BadLines {
    pub(super) fn push(&mut self, line: usize, problem: Problem) {
        // A rule's path may turn out wrong after its headers.
        let at = self.first.partition_point(|bad| bad.line <= line);
        self.first.insert(at, BadLine { line, problem });
        self.first.truncate(cut::NAMED);
        self.count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for BadLines {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first: Vec<String> =
            self.first.iter().map(|BadLine { line, problem }| format!("line {line}: {problem}")).collect();
        formatter.write_str(&cut::named_of(&first, self.count).join("; "))
    }
}
