//! `_headers`: a file of a build with rules for its headers, in the syntax of Netlify and Cloudflare Pages.
//!
//! A rule is a path, followed by lines of `Name: value` and `! Name`. All rules that match a file apply, in their
//! order. The first value of a header replaces the default, further values are joined to it with a comma, and `! Name`
//! removes the header as it is so far (Cloudflare Pages documentation, "Headers"). Where a header has a single value,
//! the last one counts, since a joined value would be malformed.

mod error;
mod field;
mod limits;
mod parser;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use regex::RegexSet;

use super::Headers;
use crate::cut;

use error::line_numbers;
use field::HeaderField;
use parser::Parser;
use rule::Rule;

pub use error::BadHeadersFile;

/// S3 stores 2 KB of user-defined and 2 KB of system-defined metadata with an object (S3 User Guide, "Working with
/// object metadata"). Of both, a part is reserved for a file's default headers and its cache tags.
const MAX_METADATA_BYTES: usize = 2_048 - 256;

/// The rules of one `_headers` file.
#[derive(Clone, Debug)]
pub struct HeadersFile {
    rules: Vec<Rule>,
    /// The patterns of all rules in one, so that each file is matched only once.
    patterns: RegexSet,
    /// Headers that S3 does not store with an object, as they are written, and the lines that set them.
    not_stored: BTreeMap<String, Vec<usize>>,
    /// The lines that begin a rule for a single host.
    for_hosts: Vec<usize>,
}

/// The value that the rules give each header; `None` where they remove the header.
type Fields = BTreeMap<HeaderField, Option<String>>;

impl HeadersFile {
    /// Parses a file. Lines that start with `#` are comments, and indentation has no meaning.
    ///
    /// # Errors
    ///
    /// Returns all malformed lines together.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadHeadersFile> {
        Parser::parse(bytes)
    }

    /// Applies the rules that match a file to its headers.
    pub fn apply(&self, name: &str, headers: &mut Headers) {
        for (field, value) in self.fields(name) {
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
                    headers.metadata.remove(&name);
                    headers.metadata.extend(value.map(|value| (name, value)));
                }
            }
        }
    }

    /// Returns the headers that the rules set or remove for a file.
    fn fields(&self, name: &str) -> Fields {
        let paths = paths(name);
        let matches: BTreeSet<usize> = paths.iter().flat_map(|path| self.patterns.matches(path)).collect();
        let mut fields = Fields::new();
        for index in matches {
            self.rules[index].apply(&paths, &mut fields);
        }
        fields
    }

    /// Checks the rules against the names of all files, and returns warnings.
    ///
    /// # Errors
    ///
    /// Fails if a file gets more headers than S3 stores.
    pub fn check(&self, names: &[&str]) -> Result<Vec<String>, BadHeadersFile> {
        let mut contradiction = None;
        for name in names {
            let fields = self.fields(name);
            check_lengths(name, &fields)?;
            if contradiction.is_none() {
                contradiction = contradiction_warning(name, &fields);
            }
        }
        Ok([contradiction, self.not_stored_warning(), self.hosts_warning()].into_iter().flatten().collect())
    }

    fn not_stored_warning(&self) -> Option<String> {
        let headers = self.not_stored.iter().map(|(name, lines)| format!("{name} ({})", line_numbers(lines)));
        let headers: Vec<String> = headers.collect();
        (!headers.is_empty()).then(|| {
            format!(
                "`_headers` sets headers that S3 does not store with an object: {}; set them in a response headers \
                 policy of the CloudFront distribution",
                cut::sentence(&headers)
            )
        })
    }

    fn hosts_warning(&self) -> Option<String> {
        (!self.for_hosts.is_empty()).then(|| {
            format!(
                "`_headers` has rules for a single host, which are ignored ({}): an object is the same on every host",
                line_numbers(&self.for_hosts)
            )
        })
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

fn check_lengths(name: &str, fields: &Fields) -> Result<(), BadHeadersFile> {
    let (mut user_bytes, mut system_bytes) = (0, 0);
    for (field, value) in fields {
        let bytes = value.as_ref().map_or(0, |value| field.name_bytes() + value.len());
        match field {
            HeaderField::Metadata(_) => user_bytes += bytes,
            _ => system_bytes += bytes,
        }
    }
    for (what, bytes) in [("user metadata", user_bytes), ("headers", system_bytes)] {
        if bytes > MAX_METADATA_BYTES {
            return Err(BadHeadersFile::TooLong { name: name.to_owned(), what });
        }
    }
    Ok(())
}

/// Returns a warning if the joined values of Cache-Control contradict each other.
fn contradiction_warning(name: &str, fields: &Fields) -> Option<String> {
    let cache_control = fields.get(&HeaderField::CacheControl)?.as_deref()?;
    repeats_a_directive(cache_control).then(|| {
        format!(
            "several rules of `_headers` set Cache-Control for `{name}`, and their values are joined to \
             `{cache_control}`; write `! Cache-Control` in the later rule, above its own value, to replace the earlier \
             value"
        )
    })
}

/// Whether Cache-Control has a directive twice. Caches may use either value (RFC 9111, section 4.2.1).
fn repeats_a_directive(cache_control: &str) -> bool {
    let mut seen = BTreeSet::new();
    cache_control.split(',').any(|directive| {
        let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        !seen.insert(name)
    })
}

#[cfg(test)]
mod tests;
