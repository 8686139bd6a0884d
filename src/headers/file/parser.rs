//! The parser of a `_headers` file.

use std::collections::BTreeMap;

use regex::{Regex, RegexSet};

use super::HeadersFile;
use super::error::{BadHeadersFile, BadLine, Problem};
use super::field::HeaderField;
use super::limits::{MAX_LINE_CHARACTERS, MAX_RULES};
use super::rule::Rule;
use crate::headers::pattern::expression;

/// Collects the rules line by line.
#[derive(Default)]
pub(super) struct Parser {
    rules: Vec<Rule>,
    /// The patterns of the rules, as regular expressions.
    expressions: Vec<String>,
    not_stored: BTreeMap<String, Vec<usize>>,
    for_hosts: Vec<usize>,
    current: Current,
    bad: Vec<BadLine>,
}

/// The rule that the next header belongs to.
#[derive(Default)]
enum Current {
    /// No rule has begun.
    #[default]
    None,
    /// A rule that is malformed or for a single host. Its headers are checked and then ignored.
    Ignored,
    /// The last of the rules.
    Rule { line: usize, path: String, has_header: bool },
}

impl Parser {
    pub(super) fn parse(bytes: &[u8]) -> Result<HeadersFile, BadHeadersFile> {
        let text = str::from_utf8(bytes).map_err(|_| BadHeadersFile::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parser = Self::default();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Err(problem) = parser.line(line, text) {
                parser.bad.push(BadLine { line, problem });
            }
        }
        parser.finish()
    }

    fn line(&mut self, line: usize, text: &str) -> Result<(), Problem> {
        if text.chars().count() > MAX_LINE_CHARACTERS {
            let _ = self.note_header();
            return Err(Problem::TooLong);
        }
        if text.starts_with('/') || is_url(text) {
            self.end_rule();
            self.current = Current::Ignored;
            return self.path(line, text);
        }
        // Before the header is checked: a rule with a malformed header is not a rule without headers.
        let is_applied = self.note_header();
        if let Some(name) = text.strip_prefix('!') {
            let field = HeaderField::named(name.trim())?;
            if is_applied? {
                self.remove(field);
            }
            return Ok(());
        }
        let (name, value) = text.split_once(':').ok_or_else(|| Problem::Unknown(text.to_owned()))?;
        let (name, value) = (name.trim_end(), value.trim_start());
        let field = HeaderField::named(name)?;
        if value.is_empty() {
            return Err(Problem::NoValue(name.to_owned()));
        }
        let is_applied = is_applied?;
        if let Some(field) = &field {
            field.check_value(name, value)?;
        }
        if is_applied {
            self.set(line, name, field, value);
        }
        Ok(())
    }

    /// Begins a rule.
    fn path(&mut self, line: usize, path: &str) -> Result<(), Problem> {
        if path.starts_with("https://") {
            self.for_hosts.push(line);
            return Ok(());
        }
        if !path.starts_with('/') {
            return Err(Problem::NotAPath(path.to_owned()));
        }
        if self.rules.len() == MAX_RULES {
            return Err(Problem::TooManyRules);
        }
        let bad_pattern = |problem| Problem::Pattern { path: path.to_owned(), problem };
        let expression = expression(path).map_err(bad_pattern)?;
        let pattern = Regex::new(&expression).map_err(|_| bad_pattern("is too long"))?;
        self.expressions.push(expression);
        self.rules.push(Rule::new(line, pattern));
        self.current = Current::Rule { line, path: path.to_owned(), has_header: false };
        Ok(())
    }

    /// Notes that the current rule has a header, and returns whether the rule applies.
    fn note_header(&mut self) -> Result<bool, Problem> {
        match &mut self.current {
            Current::None => Err(Problem::NoPath),
            Current::Ignored => Ok(false),
            Current::Rule { has_header, .. } => {
                *has_header = true;
                Ok(true)
            }
        }
    }

    fn remove(&mut self, field: Option<HeaderField>) {
        if let Some(rule) = self.rules.last_mut() {
            rule.removed.extend(field);
        }
    }

    fn set(&mut self, line: usize, name: &str, field: Option<HeaderField>, value: &str) {
        match (field, self.rules.last_mut()) {
            (Some(field), Some(rule)) => rule.set(field, value),
            _ => self.not_stored.entry(name.to_owned()).or_default().push(line),
        }
    }

    fn end_rule(&mut self) {
        if let Current::Rule { line, path, has_header: false } = &self.current {
            self.bad.push(BadLine { line: *line, problem: Problem::NoHeaders(path.clone()) });
        }
    }

    fn finish(mut self) -> Result<HeadersFile, BadHeadersFile> {
        self.end_rule();
        let Ok(patterns) = RegexSet::new(&self.expressions) else {
            let line = self.rules.last().map_or(1, |rule| rule.line);
            return Err(BadHeadersFile::Lines(vec![BadLine { line, problem: Problem::PatternsTooLong }]));
        };
        if !self.bad.is_empty() {
            self.bad.sort_by_key(|bad| bad.line);
            return Err(BadHeadersFile::Lines(self.bad));
        }
        Ok(HeadersFile { rules: self.rules, patterns, not_stored: self.not_stored, for_hosts: self.for_hosts })
    }
}

/// Whether a line is a URL, and not a header whose value is one.
fn is_url(line: &str) -> bool {
    line.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        && !line.contains(char::is_whitespace)
}
