//! The parser of a `_headers` file.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::HeadersFile;
use super::effects::Effects;
use super::error::{BadHeadersFile, BadLines, Problem};
use super::field::HeaderField;
use super::index::Index;
use super::limits::{MAX_LINE_CHARACTERS, MAX_METADATA_NAMES, MAX_RULES, MAX_STORED_HEADERS};
use super::lines::Lines;
use super::rule::{Draft, Rule};
use super::value::Value;

/// Of how many headers that S3 does not store the lines are kept. Warnings name ten.
const MAX_NOT_STORED: usize = 1_000;

/// How many more of them are counted.
const MAX_ALSO_NOT_STORED: usize = 100_000;

/// Collects the rules line by line.
#[derive(Default)]
pub(super) struct Parser<'t> {
    /// The rules that have an effect, with their effects.
    rules: Vec<(Rule, Draft)>,
    stored_headers: usize,
    metadata_names: BTreeSet<String>,
    not_stored: BTreeMap<&'t str, Lines>,
    also_not_stored: HashSet<&'t str>,
    for_hosts: Lines,
    current: Current,
    bad: BadLines,
}

/// The rule that the next header belongs to.
#[derive(Default)]
enum Current {
    /// No rule has begun.
    #[default]
    None,
    /// A rule that is malformed or for a single host. Its headers are checked and then ignored.
    Ignored,
    Rule(Draft),
}

impl<'t> Parser<'t> {
    pub(super) fn parse(bytes: &'t [u8]) -> Result<HeadersFile, BadHeadersFile> {
        let text = str::from_utf8(bytes).map_err(|_| BadHeadersFile::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parser = Self::default();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Err(problem) = parser.line(line, text) {
                parser.bad.push(line, problem);
            }
        }
        parser.finish()
    }

    fn line(&mut self, line: usize, text: &'t str) -> Result<(), Problem> {
        if text.starts_with('/') || is_url(text) {
            self.end_rule();
            return self.path(line, text);
        }
        // Before the header is checked: a rule with a malformed header is not a rule without headers.
        let has_path = self.note_header();
        if let Some(name) = text.strip_prefix('!') {
            let field = HeaderField::named(name.trim())?;
            has_path?;
            let Some(field) = field else { return Ok(()) };
            self.count(&field)?;
            if let Current::Rule(draft) = &mut self.current {
                draft.removed.push(field);
            }
            return Ok(());
        }
        let (name, value) = text.split_once(':').ok_or_else(|| Problem::Unknown(text.to_owned()))?;
        let (name, value) = (name.trim_end(), value.trim_start());
        let field = HeaderField::named(name)?;
        has_path?;
        match field {
            Some(field) => self.set(text, name, field, value),
            None => {
                self.note_not_stored(line, name);
                Ok(())
            }
        }
    }

    /// Begins a rule.
    fn path(&mut self, line: usize, path: &str) -> Result<(), Problem> {
        self.current = Current::Ignored;
        let path = without_comment(path);
        if is_https(path) {
            self.for_hosts.push(line);
            return Ok(());
        }
        if !path.starts_with('/') {
            return Err(Problem::NotAPath(path.to_owned()));
        }
        self.current = Current::Rule(Draft::new(line, path));
        Ok(())
    }

    /// Notes that the current rule has a header.
    fn note_header(&mut self) -> Result<(), Problem> {
        match &mut self.current {
            Current::None => return Err(Problem::NoPath),
            Current::Ignored => (),
            Current::Rule(draft) => draft.has_header = true,
        }
        Ok(())
    }

    /// Sets a header that S3 stores.
    fn set(&mut self, line: &str, name: &str, field: HeaderField, value: &str) -> Result<(), Problem> {
        if line.chars().count() > MAX_LINE_CHARACTERS {
            return Err(Problem::TooLong);
        }
        if value.is_empty() {
            return Err(Problem::NoValue(name.to_owned()));
        }
        field.check_value(name, value)?;
        self.count(&field)?;
        if let Current::Rule(draft) = &mut self.current {
            draft.set(field, value);
        }
        Ok(())
    }

    /// Counts the headers that S3 stores, and the different names of metadata.
    fn count(&mut self, field: &HeaderField) -> Result<(), Problem> {
        if self.stored_headers == MAX_STORED_HEADERS {
            return Err(Problem::TooManyHeaders);
        }
        self.stored_headers += 1;
        let Some(name) = field.metadata_name().filter(|&name| !self.metadata_names.contains(name)) else {
            return Ok(());
        };
        if self.metadata_names.len() == MAX_METADATA_NAMES {
            return Err(Problem::TooManyMetadataNames(name.to_owned()));
        }
        self.metadata_names.insert(name.to_owned());
        Ok(())
    }

    fn note_not_stored(&mut self, line: usize, name: &'t str) {
        if !matches!(self.current, Current::Rule(_)) {
            return;
        }
        if self.not_stored.len() < MAX_NOT_STORED || self.not_stored.contains_key(name) {
            self.not_stored.entry(name).or_default().push(line);
        } else if self.also_not_stored.len() < MAX_ALSO_NOT_STORED {
            self.also_not_stored.insert(name);
        }
    }

    fn end_rule(&mut self) {
        if let Current::Rule(draft) = std::mem::take(&mut self.current) {
            let line = draft.line;
            if let Err(problem) = self.add_rule(draft) {
                self.bad.push(line, problem);
            }
        }
    }

    /// Adds a rule, unless S3 stores none of its headers.
    fn add_rule(&mut self, draft: Draft) -> Result<(), Problem> {
        if !draft.has_header {
            return Err(Problem::NoHeaders(draft.path));
        }
        if !draft.has_effect() {
            return Ok(());
        }
        if self.rules.len() == MAX_RULES {
            return Err(Problem::TooManyRules);
        }
        let rule = draft.rule()?;
        self.rules.push((rule, draft));
        Ok(())
    }

    fn finish(mut self) -> Result<HeadersFile, BadHeadersFile> {
        self.end_rule();
        if !self.bad.is_empty() {
            return Err(BadHeadersFile::Lines(self.bad));
        }
        let rule_count = self.rules.len();
        let mut effects: BTreeMap<HeaderField, Effects> = BTreeMap::new();
        let mut rules = Vec::with_capacity(rule_count);
        for (number, (rule, draft)) in self.rules.into_iter().enumerate() {
            let mut of = |field: &HeaderField, apply: &mut dyn FnMut(&mut Effects)| {
                apply(effects.entry(field.clone()).or_insert_with(|| Effects::new(field.clone(), rule_count)));
            };
            draft.removed.iter().for_each(|field| of(field, &mut |effects| effects.remove(number)));
            for (field, text) in &draft.set {
                of(field, &mut |effects| effects.set(number, Value::new(field, text, &rule.pattern)));
            }
            rules.push(rule);
        }
        Ok(HeadersFile {
            index: Index::new(rules.iter().map(|rule| &rule.pattern)),
            rules,
            effects: effects.into_values().collect(),
            not_stored: self.not_stored.into_iter().map(|(name, lines)| (name.to_owned(), lines)).collect(),
            also_not_stored: self.also_not_stored.len(),
            for_hosts: self.for_hosts,
        })
    }
}

fn is_https(path: &str) -> bool {
    path.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("https"))
}

/// Returns a path without a comment behind it. A URL contains `#` and spaces only encoded.
fn without_comment(path: &str) -> &str {
    let comment = path.match_indices('#').find(|(at, _)| path[..*at].ends_with(char::is_whitespace));
    path[..comment.map_or(path.len(), |(at, _)| at)].trim_end()
}

/// Whether a line begins with a URL, and is not a header whose value is one.
fn is_url(line: &str) -> bool {
    line.split_once(':').is_some_and(|(scheme, rest)| rest.starts_with("//") && !scheme.contains(char::is_whitespace))
}
