//! `_headers`: a file of a build with rules for its headers, in the syntax of Netlify and Cloudflare Pages.
//!
//! A rule is a path, followed by lines of `Name: value` and `! Name`. All rules that match a file apply, in their
//! order. The first value of a header replaces the default, further values are joined to it with a comma, and `! Name`
//! removes the header as it is so far (Cloudflare Pages documentation, "Headers"). Where a header has a single value,
//! the last one counts, since a joined value would be malformed.

mod bits;
mod effects;
mod error;
mod field;
mod index;
mod limits;
mod lines;
mod parser;
mod rule;
mod value;
mod warnings;

use std::collections::BTreeMap;
use std::ops::Range;

use super::Headers;

use bits::Bits;
use effects::{Effect, Effects};
use field::HeaderField;
use index::Index;
use limits::{MAX_STEPS_PER_FILE, MAX_VALUES, MIN_FILES, STEPS_PER_HEADER, STEPS_PER_VALUE};
use lines::Lines;
use parser::Parser;
use rule::Rule;
use value::Value;
use warnings::Contradictions;

pub use error::BadHeadersFile;

/// S3 stores 2 KB of user-defined and 2 KB of system-defined metadata with an object (S3 User Guide, "Working with
/// object metadata"). Of both, a part is reserved for a file's default headers and its cache tags.
const MAX_METADATA_BYTES: usize = 2_048 - 256;

/// The rules of one `_headers` file.
#[derive(Clone, Debug)]
pub struct HeadersFile {
    /// The rules that change a header that S3 stores.
    rules: Vec<Rule>,
    index: Index,
    /// The effects of the rules, by header.
    effects: Vec<Effects>,
    /// Headers that S3 does not store with an object, as they are written, and the lines that set them.
    not_stored: BTreeMap<String, Lines>,
    /// How many more there are.
    also_not_stored: usize,
    /// The lines that begin a rule for a single host.
    for_hosts: Lines,
}

/// The effects of the rules on the headers of one file.
#[derive(Default)]
struct Applied<'f> {
    /// The value that the rules give each header; `None` where they remove the header.
    fields: Vec<(&'f HeaderField, Option<String>)>,
    /// The rules whose values count, by header.
    setting: Vec<(&'f HeaderField, Vec<Setting<'f>>)>,
    /// Values that are filled in count twice and more.
    values: usize,
    /// The work that it took. A step takes about 5 ns: a comparison, or a short text that is sought.
    steps: usize,
}

/// A rule that sets a header of a file.
struct Setting<'f> {
    rule: usize,
    value: &'f Value,
    /// The place of the value in that of the header.
    range: Range<usize>,
}

impl HeadersFile {
    /// Parses a file. Lines that start with `#` are comments, and indentation has no meaning.
    ///
    /// # Errors
    ///
    /// Returns the first malformed lines together.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadHeadersFile> {
        Parser::parse(bytes)
    }

    /// Applies the rules that match a file to its headers.
    pub fn apply(&self, name: &str, headers: &mut Headers) {
        for (field, value) in self.applied(name).fields {
            match field {
                HeaderField::CacheControl => headers.cache_control = value,
                HeaderField::ContentDisposition => headers.content_disposition = value,
                HeaderField::ContentEncoding => headers.content_encoding = value,
                HeaderField::ContentLanguage => headers.content_language = value,
                HeaderField::ContentType => {
                    // A type that is removed falls back to the default, since S3 stores no object without one.
                    if let Some(value) = value {
                        headers.content_type = value;
                    }
                }
                HeaderField::Metadata(name) => {
                    headers.metadata.remove(name);
                    headers.metadata.extend(value.map(|value| (name.clone(), value)));
                }
            }
        }
    }

    /// Returns what the rules do to the headers of a file.
    fn applied(&self, name: &str) -> Applied<'_> {
        let mut applied = Applied::default();
        if self.rules.is_empty() {
            return applied;
        }
        let paths = paths(name);
        let mut matched = Bits::none(self.rules.len());
        for path in &paths {
            self.add_matching(path, &mut matched, &mut applied);
        }
        for effects in &self.effects {
            applied.steps += 1 + matched.words().len() / 8;
            // One more than a file may have, so that `check` sees that there are too many.
            match effects.of(&matched, MAX_VALUES + 1 - applied.values.min(MAX_VALUES)) {
                Effect::None => (),
                Effect::Removed => applied.fields.push((&effects.field, None)),
                Effect::Set(values) => {
                    let (value, setting) = self.joined(&values, &paths, &mut applied);
                    applied.fields.push((&effects.field, Some(value)));
                    applied.setting.push((&effects.field, setting));
                }
            }
        }
        applied
    }

    /// Adds the rules that match a path to those that match another path of the file, and counts the steps.
    fn add_matching(&self, path: &str, matched: &mut Bits, applied: &mut Applied<'_>) {
        let mut rules = self.index.candidates(path, &mut applied.steps);
        let mut ranges = Vec::new();
        for rule in self.index.undecided(&rules, matched) {
            if !self.rules[rule].pattern.captures(path, &mut ranges, &mut applied.steps) {
                rules.remove(rule);
            }
        }
        matched.unite(&rules);
    }

    /// Returns the values of several rules as one, and its parts.
    fn joined<'f>(
        &self,
        values: &[(usize, &'f Value)],
        paths: &[String],
        applied: &mut Applied<'_>,
    ) -> (String, Vec<Setting<'f>>) {
        let mut joined = String::new();
        let mut captures = Vec::new();
        let mut setting = Vec::with_capacity(values.len());
        for &(rule, value) in values {
            applied.values += value.steps();
            applied.steps += STEPS_PER_VALUE * value.steps();
            let is_refused = applied.values > MAX_VALUES || joined.len() > MAX_METADATA_BYTES;
            if !is_refused && !setting.is_empty() {
                joined.push_str(", ");
            }
            let start = joined.len();
            if !is_refused {
                let path = value.is_filled_in().then(|| self.capture(rule, paths, &mut captures, &mut applied.steps));
                value.append(path.flatten().unwrap_or_default(), &captures, &mut joined);
            }
            setting.push(Setting { rule, value, range: start..joined.len() });
        }
        applied.steps += STEPS_PER_HEADER + joined.len() / 4;
        (joined, setting)
    }

    /// Returns the first path that a rule matches, with the texts that its wildcards stand for there.
    fn capture<'p>(
        &self,
        rule: usize,
        paths: &'p [String],
        captures: &mut Vec<Range<usize>>,
        steps: &mut usize,
    ) -> Option<&'p str> {
        let matching = paths.iter().find(|path| self.rules[rule].pattern.captures(path, captures, steps));
        matching.map(String::as_str)
    }

    /// Checks the rules against the names of all files, and returns warnings.
    ///
    /// # Errors
    ///
    /// Fails if a file gets more headers than S3 stores, or if the rules take too long to apply.
    pub fn check(&self, names: &[&str]) -> Result<Vec<String>, BadHeadersFile> {
        self.check_within(names, MAX_STEPS_PER_FILE * names.len().max(MIN_FILES))
    }

    fn check_within(&self, names: &[&str], max_steps: usize) -> Result<Vec<String>, BadHeadersFile> {
        let mut contradictions = Contradictions::new(self.rules.len());
        let mut steps = 0;
        for name in names {
            let applied = self.applied(name);
            steps += applied.steps + contradictions.note(&applied);
            if steps > max_steps {
                return Err(self.too_slow(names.len()));
            }
            self.check_lengths(name, &applied)?;
        }
        let contradictions = contradictions.warnings(&self.rules);
        Ok(contradictions.into_iter().chain(self.not_stored_warning()).chain(self.hosts_warning()).collect())
    }

    /// Returns the error that names the rules which the index does not decide, if there are any: most likely, they take
    /// the most time.
    fn too_slow(&self, files: usize) -> BadHeadersFile {
        let mut inexact = self.index.inexact().peekable();
        match inexact.peek() {
            Some(_) => BadHeadersFile::SlowPatterns { files, rules: warnings::named(&self.rules, inexact) },
            None => BadHeadersFile::TooSlow { files, rules: self.rules.len() },
        }
    }

    fn check_lengths(&self, name: &str, applied: &Applied<'_>) -> Result<(), BadHeadersFile> {
        let rules = |is_meant: &dyn Fn(&HeaderField) -> bool| {
            let fields = applied.setting.iter().filter(|(field, _)| is_meant(field));
            warnings::named(&self.rules, fields.flat_map(|(_, setting)| setting.iter().map(|it| it.rule)))
        };
        if applied.values > MAX_VALUES {
            return Err(BadHeadersFile::TooMany { name: name.to_owned(), rules: rules(&|_| true) });
        }
        for (what, is_metadata) in [("user metadata", true), ("headers", false)] {
            let is_meant = |field: &HeaderField| field.metadata_name().is_some() == is_metadata;
            let fields = applied.fields.iter().filter(|(field, _)| is_meant(field));
            let bytes = |(field, value): &(&HeaderField, Option<String>)| {
                value.as_ref().map_or(0, |value| field.name_bytes() + value.len())
            };
            if fields.map(bytes).sum::<usize>() > MAX_METADATA_BYTES {
                return Err(BadHeadersFile::TooLong { name: name.to_owned(), what, rules: rules(&is_meant) });
            }
        }
        Ok(())
    }
}

/// Returns the URL paths of a file: its own, that of its folder for an index document, and that without `.html`. Both
/// hosts serve a page under all of them.
fn paths(name: &str) -> Vec<String> {
    let path = format!("/{name}");
    let Some(stem) = path.strip_suffix(".html") else {
        return vec![path];
    };
    let aliases = match stem.strip_suffix("/index") {
        Some("") => vec!["/".to_owned()],
        Some(folder) => vec![format!("{folder}/"), folder.to_owned()],
        None => vec![stem.to_owned()],
    };
    [vec![path.clone()], aliases].concat()
}

#[cfg(test)]
mod tests;
