//! `_headers`: the rules by which a build gives its files headers, in the syntax of Netlify and Cloudflare Pages.
//!
//! A rule is a path, then lines of `Name: value` and `! Name`. All rules that match a file apply, in their order:
//! the first value of a header replaces what the file would get by itself, further ones are joined to it
//! with a comma, and `! Name` takes away what there is so far (Cloudflare Pages documentation, "Headers").
//! A header that can only have one value gets the last one, since joined it would be malformed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use regex::{Regex, RegexSet};

use super::Headers;
use super::pattern::{expression, placeholder_bytes};

/// Cloudflare Pages documentation, "Headers": 100 rules, and 2,000 characters a line.
const MAX_RULES: usize = 100;
const MAX_LINE_CHARACTERS: usize = 2_000;

/// S3 user guide, "Working with object metadata": 2 KB of user-defined metadata, and 2 KB of system-defined. A
/// part of both is left for what a file has by itself, and for its cache tags.
const MAX_METADATA_BYTES: usize = 2_048 - 256;

/// What a URL's path does not hold as it is (URL Standard, "path percent-encode set"), and `%` itself, since
/// names are not encoded.
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

/// The rules of one `_headers` file.
#[derive(Clone, Debug)]
pub struct HeadersFile {
    rules: Vec<Rule>,
    /// All patterns in one, so that a file is held against each only once.
    patterns: RegexSet,
    /// Headers that S3 does not keep with an object, as they are written, and the lines that set them.
    not_stored: BTreeMap<String, Vec<usize>>,
    /// Lines of rules for one host.
    for_hosts: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Rule {
    line: usize,
    /// To find what splat and placeholders stand for.
    pattern: Regex,
    detached: Vec<HeaderField>,
    set: Vec<(HeaderField, String)>,
}

/// A header that S3 keeps with an object.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum HeaderField {
    CacheControl,
    ContentDisposition,
    ContentEncoding,
    ContentLanguage,
    ContentType,
    /// User metadata, without `x-amz-meta-`, in lower case.
    Metadata(String),
}

/// A file that is not understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadHeadersFile {
    #[error("`_headers` is not UTF-8; save it as UTF-8")]
    Encoding,
    #[error("`_headers`: {}", shown(.0))]
    Lines(Vec<BadLine>),
    #[error(
        "`_headers` gives `{name}` more than the {MAX_METADATA_BYTES} bytes of {what} that S3 has room for: shorten the \
         values"
    )]
    TooLong { name: String, what: &'static str },
}

/// A line that is wrong, counted from 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadLine {
    line: usize,
    problem: Problem,
}

#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
enum Problem {
    #[error("has over {MAX_LINE_CHARACTERS} characters")]
    TooLong,
    #[error("begins rule {}, and {MAX_RULES} are allowed: let one `*` stand for several paths", MAX_RULES + 1)]
    TooManyRules,
    #[error("`{0}` is no path: begin it with `/`")]
    NotAPath(String),
    #[error("the path `{path}` {problem}")]
    Pattern { path: String, problem: &'static str },
    #[error("the path `{0}` has no header below it")]
    NoHeaders(String),
    #[error("`{0}` is neither a path, nor `Name: value`, nor `! Name`")]
    Unknown(String),
    #[error("a header has no path above it")]
    NoPath,
    #[error("`{0}` is no header name")]
    Name(String),
    #[error("{0} has no value; to take it away write `! {0}`")]
    NoValue(String),
    #[error("the value of {0} has other characters than ASCII")]
    NotAscii(String),
    #[error("`{0}` is no content type: it has the form `type/subtype`")]
    ContentType(String),
}

fn shown(lines: &[BadLine]) -> String {
    const SHOWN: usize = 10;
    let mut text: Vec<String> = lines.iter().take(SHOWN).map(BadLine::to_string).collect();
    if lines.len() > SHOWN {
        text.push(format!("and {} more lines", lines.len() - SHOWN));
    }
    text.join("; ")
}

impl fmt::Display for BadLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

impl HeadersFile {
    /// Reads a file. A comment is a line that starts with `#`; indentation means nothing.
    ///
    /// # Errors
    /// Every line that is wrong, at once.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadHeadersFile> {
        let text = str::from_utf8(bytes).map_err(|_| BadHeadersFile::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut parser = Parser::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            if let Err(problem) = parser.line(number, line) {
                parser.bad.push(BadLine { line: number, problem });
            }
        }
        parser.finish()
    }

    /// Changes the headers of a file as the rules for its paths say.
    pub fn apply(&self, name: &str, headers: &mut Headers) {
        for (field, value) in self.fields(name) {
            match field {
                HeaderField::CacheControl => headers.cache_control = value,
                HeaderField::ContentDisposition => headers.content_disposition = value,
                HeaderField::ContentEncoding => headers.content_encoding = value,
                HeaderField::ContentLanguage => headers.content_language = value,
                // S3 gives every object a type, so that there is none without.
                HeaderField::ContentType => headers.content_type = value.unwrap_or(headers.content_type.clone()),
                HeaderField::Metadata(name) => match value {
                    Some(value) => drop(headers.metadata.insert(name, value)),
                    None => drop(headers.metadata.remove(&name)),
                },
            }
        }
    }

    /// What the rules say of each header: its value, or that it is taken away.
    fn fields(&self, name: &str) -> BTreeMap<HeaderField, Option<String>> {
        let paths = paths(name);
        let matches: BTreeSet<usize> = paths.iter().flat_map(|path| self.patterns.matches(path)).collect();
        let mut fields: BTreeMap<HeaderField, Option<String>> = BTreeMap::new();
        for rule in matches.into_iter().map(|index| &self.rules[index]) {
            for field in &rule.detached {
                fields.insert(field.clone(), None);
            }
            for (field, value) in &rule.set {
                let value = rule.filled_in(value, &paths);
                let so_far = fields.entry(field.clone()).or_default();
                *so_far = Some(match so_far.take() {
                    Some(earlier) if !field.is_single() => format!("{earlier}, {value}"),
                    _ => value,
                });
            }
        }
        fields
    }

    /// Holds the rules against the files they are for.
    ///
    /// # Errors
    /// When S3 would not take the headers of a file.
    pub fn check(&self, names: &[&str]) -> Result<Vec<String>, BadHeadersFile> {
        let mut contradicting = None;
        for name in names {
            let fields = self.fields(name);
            check_lengths(name, &fields)?;
            let cache_control = fields.get(&HeaderField::CacheControl).and_then(Option::as_deref);
            if contradicting.is_none() && cache_control.is_some_and(repeats_a_directive) {
                contradicting = Some((name, cache_control.unwrap_or_default().to_owned()));
            }
        }
        let mut warnings = Vec::new();
        if let Some((name, cache_control)) = contradicting {
            warnings.push(format!(
                "several rules of `_headers` give `{name}` a Cache-Control, which are joined to `{cache_control}`: \
                 write `! Cache-Control` in the later rule, above its own"
            ));
        }
        if !self.not_stored.is_empty() {
            let headers = self.not_stored.iter().map(|(name, lines)| format!("{name} ({})", numbers(lines)));
            warnings.push(format!(
                "S3 keeps no such headers with an object, so `_headers` cannot set {}: put them in a response \
                 headers policy of the CloudFront distribution",
                headers.collect::<Vec<_>>().join(", ")
            ));
        }
        if !self.for_hosts.is_empty() {
            warnings.push(format!(
                "rules of `_headers` for one host are left out ({}), since an object is the same on every host",
                numbers(&self.for_hosts)
            ));
        }
        Ok(warnings)
    }
}

/// Collects rules line by line.
#[derive(Default)]
struct Parser {
    rules: Vec<Rule>,
    expressions: Vec<String>,
    not_stored: BTreeMap<String, Vec<usize>>,
    for_hosts: Vec<usize>,
    open: Open,
    bad: Vec<BadLine>,
}

/// The rule that lines belong to.
#[derive(Default)]
enum Open {
    /// None has begun.
    #[default]
    None,
    /// Its path is wrong, or only for one host: its lines are read and left out.
    LeftOut,
    /// The last rule, of this line and path, and whether it has a header yet.
    Rule(usize, String, bool),
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), Problem> {
        if line.chars().count() > MAX_LINE_CHARACTERS {
            let _ = self.header();
            return Err(Problem::TooLong);
        }
        if line.starts_with('/') || is_url(line) {
            self.close();
            self.open = Open::LeftOut;
            return self.path(number, line);
        }
        let applies = self.header();
        if let Some(name) = line.strip_prefix('!') {
            if let (Some(field), true) = (HeaderField::named(name.trim())?, applies?) {
                self.last_rule(|rule| rule.detached.push(field));
            }
            return Ok(());
        }
        let (name, value) = line.split_once(':').ok_or_else(|| Problem::Unknown(line.to_owned()))?;
        let (name, value) = (name.trim_end(), value.trim_start());
        let field = HeaderField::named(name)?;
        if value.is_empty() {
            return Err(Problem::NoValue(name.to_owned()));
        }
        let applies = applies?;
        let Some(field) = field else {
            if applies {
                let lines = self.not_stored.entry(name.to_owned()).or_default();
                lines.push(number);
            }
            return Ok(());
        };
        if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return Err(Problem::NotAscii(name.to_owned()));
        }
        if field == HeaderField::ContentType && !is_media_type(value) {
            return Err(Problem::ContentType(value.to_owned()));
        }
        if applies {
            self.last_rule(|rule| rule.add(field, value));
        }
        Ok(())
    }

    fn path(&mut self, number: usize, path: &str) -> Result<(), Problem> {
        if !path.starts_with('/') {
            return if path.starts_with("https://") {
                self.for_hosts.push(number);
                Ok(())
            } else {
                Err(Problem::NotAPath(path.to_owned()))
            };
        }
        if self.rules.len() == MAX_RULES {
            return Err(Problem::TooManyRules);
        }
        let bad_pattern = |problem| Problem::Pattern { path: path.to_owned(), problem };
        let expression = expression(path).map_err(bad_pattern)?;
        let pattern = Regex::new(&expression).map_err(|_| bad_pattern("is too long"))?;
        self.expressions.push(expression);
        self.rules.push(Rule { line: number, pattern, detached: Vec::new(), set: Vec::new() });
        self.open = Open::Rule(number, path.to_owned(), false);
        Ok(())
    }

    /// Takes notice of a header; whether the rule that it belongs to applies.
    fn header(&mut self) -> Result<bool, Problem> {
        match &mut self.open {
            Open::None => Err(Problem::NoPath),
            Open::LeftOut => Ok(false),
            Open::Rule(_, _, has_header) => {
                *has_header = true;
                Ok(true)
            }
        }
    }

    fn last_rule(&mut self, change: impl FnOnce(&mut Rule)) {
        self.rules.last_mut().map(change);
    }

    fn close(&mut self) {
        if let Open::Rule(line, path, false) = &self.open {
            self.bad.push(BadLine { line: *line, problem: Problem::NoHeaders(path.clone()) });
        }
    }

    fn finish(mut self) -> Result<HeadersFile, BadHeadersFile> {
        self.close();
        let patterns = match RegexSet::new(&self.expressions) {
            Ok(patterns) if self.bad.is_empty() => patterns,
            Ok(_) => {
                self.bad.sort_by_key(|bad| bad.line);
                return Err(BadHeadersFile::Lines(self.bad));
            }
            Err(_) => {
                let rule = self.rules.last().map_or(1, |rule| rule.line);
                let problem = Problem::Pattern {
                    path: "of this rule and all before it".to_owned(),
                    problem: "are too long together",
                };
                return Err(BadHeadersFile::Lines(vec![BadLine { line: rule, problem }]));
            }
        };
        Ok(HeadersFile { rules: self.rules, patterns, not_stored: self.not_stored, for_hosts: self.for_hosts })
    }
}

impl Rule {
    /// Adds a header; the values of one that is there already are joined.
    fn add(&mut self, field: HeaderField, value: &str) {
        let earlier = self.set.iter_mut().find(|(earlier, _)| *earlier == field);
        match earlier {
            Some((_, earlier)) if field.is_single() => value.clone_into(earlier),
            Some((_, earlier)) => {
                earlier.push_str(", ");
                earlier.push_str(value);
            }
            None => self.set.push((field, value.to_owned())),
        }
    }

    /// The value with what splat and placeholders stand for on the first path that matches, encoded as in
    /// a URL.
    fn filled_in(&self, value: &str, paths: &[String]) -> String {
        let Some((start, mut rest)) = value.split_once(':') else {
            return value.to_owned();
        };
        let captures = paths.iter().find_map(|path| self.pattern.captures(path));
        let mut filled = start.to_owned();
        loop {
            let (name, after) = rest.split_at(placeholder_bytes(rest));
            match captures.as_ref().and_then(|captures| captures.name(name)) {
                Some(text) => filled.extend(utf8_percent_encode(text.as_str(), PATH)),
                None => {
                    filled.push(':');
                    filled.push_str(name);
                }
            }
            // It is refused already, and a splat named often enough would make it as long as memory is.
            if filled.len() > MAX_METADATA_BYTES {
                return filled;
            }
            let Some((between, next)) = after.split_once(':') else {
                filled.push_str(after);
                return filled;
            };
            filled.push_str(between);
            rest = next;
        }
    }
}

impl HeaderField {
    /// The header of this name; none when S3 does not keep it.
    fn named(name: &str) -> Result<Option<Self>, Problem> {
        // RFC 9110, section 5.6.2: a token.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(Problem::Name(name.to_owned()));
        }
        let lower_case = name.to_ascii_lowercase();
        Ok(match lower_case.as_str() {
            "cache-control" => Some(Self::CacheControl),
            "content-disposition" => Some(Self::ContentDisposition),
            "content-encoding" => Some(Self::ContentEncoding),
            "content-language" => Some(Self::ContentLanguage),
            "content-type" => Some(Self::ContentType),
            _ => match lower_case.strip_prefix("x-amz-meta-") {
                Some("") => return Err(Problem::Name(name.to_owned())),
                metadata => metadata.map(|name| Self::Metadata(name.to_owned())),
            },
        })
    }

    /// Whether it has one value and no list of them (RFC 9110, section 8.3; RFC 6266, section 4.1).
    fn is_single(&self) -> bool {
        matches!(self, Self::ContentType | Self::ContentDisposition)
    }

    fn name_bytes(&self) -> usize {
        match self {
            Self::CacheControl => "cache-control".len(),
            Self::ContentDisposition => "content-disposition".len(),
            Self::ContentEncoding => "content-encoding".len(),
            Self::ContentLanguage => "content-language".len(),
            Self::ContentType => "content-type".len(),
            Self::Metadata(name) => name.len(),
        }
    }
}

/// The URL paths that a file is known under: its own, its folder's for an index document, and the one without
/// `.html`, under which both hosts serve a page too.
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

/// Whether a line is a URL, and no header whose value is one.
fn is_url(line: &str) -> bool {
    line.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        && !line.contains(char::is_whitespace)
}

fn is_media_type(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim_end();
    essence
        .split_once('/')
        .is_some_and(|(kind, subtype)| [kind, subtype].iter().all(|part| HeaderField::named(part).is_ok()))
}

fn check_lengths(name: &str, fields: &BTreeMap<HeaderField, Option<String>>) -> Result<(), BadHeadersFile> {
    let length = |is_user_metadata: bool| -> usize {
        let fields = fields.iter().filter(|(field, _)| matches!(field, HeaderField::Metadata(_)) == is_user_metadata);
        fields.map(|(field, value)| value.as_ref().map_or(0, |value| field.name_bytes() + value.len())).sum()
    };
    for (what, length_bytes) in [("user metadata", length(true)), ("headers", length(false))] {
        if length_bytes > MAX_METADATA_BYTES {
            return Err(BadHeadersFile::TooLong { name: name.to_owned(), what });
        }
    }
    Ok(())
}

/// Whether Cache-Control has a directive twice, of which caches may take either (RFC 9111, section 4.2.1).
fn repeats_a_directive(cache_control: &str) -> bool {
    let mut seen = BTreeSet::new();
    cache_control.split(',').any(|directive| {
        let name = directive.split('=').next().unwrap_or_default().trim().to_ascii_lowercase();
        !seen.insert(name)
    })
}

/// Line numbers, as one reads them.
fn numbers(lines: &[usize]) -> String {
    const SHOWN: usize = 5;
    let mut text: Vec<String> = lines.iter().take(SHOWN).map(usize::to_string).collect();
    if lines.len() > SHOWN {
        text.push("…".to_owned());
    }
    let word = if lines.len() == 1 { "line" } else { "lines" };
    format!("{word} {}", text.join(", "))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn plain(name: &str) -> Headers {
        Headers {
            content_type: "by/itself".to_owned(),
            cache_control: Some("by-itself".to_owned()),
            content_disposition: None,
            content_language: None,
            content_encoding: name.ends_with(".svgz").then(|| "gzip".to_owned()),
            metadata: BTreeMap::new(),
        }
    }

    /// What the rules make of the headers of each file, one line each.
    fn applied(file: &str, names: &str) -> String {
        let file = HeadersFile::parse(file.as_bytes()).unwrap();
        let line = |name: &str| {
            let mut headers = plain(name);
            file.apply(name, &mut headers);
            let Headers {
                content_type,
                cache_control,
                content_disposition,
                content_language,
                content_encoding,
                metadata,
            } = headers;
            let mut line = format!("{name}:");
            let cache_control = cache_control.unwrap_or("none".to_owned());
            let fields = [
                ("type", Some(content_type).filter(|it| it != "by/itself")),
                ("cache", Some(cache_control).filter(|it| it != "by-itself")),
                ("disposition", content_disposition),
                ("language", content_language),
                ("encoding", content_encoding),
            ];
            for (field, value) in fields {
                line.extend(value.map(|value| format!(" [{field} {value}]")));
            }
            let metadata = metadata.into_iter();
            line.extend(metadata.map(|(name, value)| format!(" [meta {name} {value}]")));
            line
        };
        names.split(' ').map(line).collect::<Vec<_>>().join("\n")
    }

    fn refused(file: &str) -> String {
        HeadersFile::parse(file.as_bytes()).unwrap_err().to_string()
    }

    fn warnings(file: &str, names: &[&str]) -> String {
        let file = HeadersFile::parse(file.as_bytes()).unwrap();
        file.check(names).unwrap().join("\n")
    }

    #[test]
    fn every_header_that_s3_keeps_is_applied() {
        let file = "
/download/*
  Content-Disposition: attachment
  content-type: application/octet-stream
  CACHE-CONTROL: no-store
  Content-Language: de, en
  Content-Encoding: br
  X-Amz-Meta-Build-Id: 42
";
        assert_snapshot!(applied(file, "download/a.bin b.bin"), @r"
        download/a.bin: [type application/octet-stream] [cache no-store] [disposition attachment] [language de, en] [encoding br] [meta build-id 42]
        b.bin:
        ");
    }

    // Cloudflare Pages documentation, "Headers": a file inherits the headers of all rules that match it, and
    // what is set twice is joined by a comma.
    #[test]
    fn a_header_of_several_rules_is_joined_in_their_order() {
        let file = "
# for all that is under static
/static/*
  X-Amz-Meta-Robots: nosnippet
  X-Amz-Meta-Origin: *

/*
  X-Amz-Meta-Robots: noindex
";
        assert_snapshot!(applied(file, "static/styles.css home"), @r"
        static/styles.css: [meta origin *] [meta robots nosnippet, noindex]
        home: [meta robots noindex]
        ");
    }

    // Netlify documentation, "Custom headers": several lines of one header in one rule are one header.
    #[test]
    fn lines_of_one_header_are_joined() {
        let file = "
/*
  cache-control: max-age=0
  cache-control: no-cache
  cache-control: no-store
  Cache-Control: must-revalidate
";
        assert_snapshot!(applied(file, "a"), @"a: [cache max-age=0, no-cache, no-store, must-revalidate]");
    }

    // Cloudflare Pages documentation, "Detach a header".
    #[test]
    fn a_header_of_an_earlier_rule_is_detached() {
        let file = "
/*
  X-Amz-Meta-Policy: default-src 'self';
  Cache-Control: no-cache

/*.jpg
  ! X-Amz-Meta-Policy
  !Cache-Control
  Cache-Control: max-age=60

/b*
  ! cache-control

/b/*
  Cache-Control: public
";
        assert_snapshot!(applied(file, "a.html a.jpg b.jpg b/a.jpg"), @r"
        a.html: [cache no-cache] [meta policy default-src 'self';]
        a.jpg: [cache max-age=60]
        b.jpg: [cache none]
        b/a.jpg: [cache public]
        ");
    }

    #[test]
    fn detaching_takes_what_a_file_has_by_itself_and_never_its_type() {
        let file = "/*\n! Cache-Control\n! Content-Encoding\n! Content-Type\n! X-Amz-Meta-None";
        assert_snapshot!(applied(file, "a.svgz"), @"a.svgz: [cache none]");
    }

    #[test]
    fn a_detachment_above_the_rule_that_sets_the_header_does_nothing() {
        let file = "/a.js\n! Cache-Control\n/*\nCache-Control: no-cache";
        assert_snapshot!(applied(file, "a.js"), @"a.js: [cache no-cache]");
    }

    #[test]
    fn of_a_header_that_has_one_value_the_last_counts() {
        let file = "
/*
  Content-Type: text/plain
  Content-Disposition: inline
/*.md
  Content-Type: text/html
  Content-Type: text/markdown; charset=utf-8
  Content-Disposition: attachment
";
        assert_snapshot!(applied(file, "a a.md"), @r"
        a: [type text/plain] [disposition inline]
        a.md: [type text/markdown; charset=utf-8] [disposition attachment]
        ");
    }

    // Cloudflare Pages documentation, "Placeholders" and "Splats".
    #[test]
    fn values_are_filled_in_from_the_path() {
        let file = "
/movies/:title
  x-amz-meta-movie-name: You are watching \":title\"
/archive/:year/*
  x-amz-meta-from: :splat of :year, not :nothing, at 12:30:
/café/*
  x-amz-meta-from: :splat
";
        assert_snapshot!(applied(file, "movies/up archive/2026/a/b.html café/à_%41"), @r#"
        movies/up: [meta movie-name You are watching "up"]
        archive/2026/a/b.html: [meta from a/b.html of 2026, not :nothing, at 12:30:]
        café/à_%41: [meta from %C3%A0_%2541]
        "#);
    }

    #[test]
    fn a_rule_for_a_page_is_for_the_file_behind_it() {
        let file = "
/
  X-Amz-Meta-Rule: root
/docs/
  X-Amz-Meta-Rule: with slash
/docs
  X-Amz-Meta-Rule: without
/about
  X-Amz-Meta-Rule: clean
";
        let names = "index.html docs/index.html about.html about docs/about.html myindex.html";
        assert_snapshot!(applied(file, names), @r"
        index.html: [meta rule root]
        docs/index.html: [meta rule with slash, without]
        about.html: [meta rule clean]
        about: [meta rule clean]
        docs/about.html:
        myindex.html:
        ");
    }

    #[test]
    fn a_rule_applies_once_to_a_file_of_several_paths() {
        let file = "/*\nX-Amz-Meta-A: 1\n/docs/*\nX-Amz-Meta-A: :splat";
        assert_snapshot!(applied(file, "docs/index.html"), @"docs/index.html: [meta a 1, index.html]");
    }

    #[test]
    fn line_ends_indentation_and_a_byte_order_mark_mean_nothing() {
        let file = "\u{feff}# from an editor\r\n   /a\r\n\r\n\tContent-Language :de\r\n\r\n  # bye";
        assert_snapshot!(applied(file, "a"), @"a: [language de]");
        assert!(HeadersFile::parse(b"").is_ok());
    }

    #[test]
    fn every_wrong_line_is_named() {
        let file = "
Cache-Control: no-cache
assets/*
/*/a/*
  Cache-Control: no-cache
/a
/b
  Cache Control: no-cache
  Cache-Control:
  : x
  Content-Type: html
  Content-Language: ü
  X-Amz-Meta-: 1
  X Frame: y
  ! Cache-Control: x
http://example.com/*
  X-Robots-Tag: noindex
";
        assert_snapshot!(refused(file).replace("; ", ";\n"), @r"
        `_headers`: line 2: a header has no path above it;
        line 3: `assets/*` is neither a path, nor `Name: value`, nor `! Name`;
        line 4: the path `/*/a/*` has more than one `*`;
        write a rule for each;
        line 6: the path `/a` has no header below it;
        line 8: `Cache Control` is no header name;
        line 9: Cache-Control has no value;
        to take it away write `! Cache-Control`;
        line 10: `` is no header name;
        line 11: `html` is no content type: it has the form `type/subtype`;
        line 12: the value of Content-Language has other characters than ASCII;
        line 13: `X-Amz-Meta-` is no header name;
        and 3 more lines
        ");
        assert_snapshot!(HeadersFile::parse(b"/*\n X: \xff").unwrap_err(), @"`_headers` is not UTF-8; save it as UTF-8");
    }

    #[test]
    fn the_limits_are_those_of_the_hosts() {
        let rules = |count: usize| "/*\nX-Amz-Meta-A: b\n".repeat(count);
        assert!(HeadersFile::parse(rules(100).as_bytes()).is_ok());
        assert_snapshot!(refused(&rules(101)), @"`_headers`: line 201: begins rule 101, and 100 are allowed: let one `*` stand for several paths");
        let line = |length: usize| format!("/*\nContent-Language: {}", "x".repeat(length - 18));
        assert!(HeadersFile::parse(line(2_000).as_bytes()).is_ok());
        assert_snapshot!(refused(&line(2_001)), @"`_headers`: line 2: has over 2000 characters");
    }

    #[test]
    fn what_s3_would_refuse_is_refused_before() {
        let value = "x".repeat(1_500);
        for (header, what) in [("X-Amz-Meta-A", "user metadata"), ("Cache-Control", "headers")] {
            let file = format!("/*\n{header}: {value}\n/a/*\n{header}: {value}");
            let file = HeadersFile::parse(file.as_bytes()).unwrap();
            assert_eq!(file.check(&["b", "c/a"]), Ok(Vec::new()));
            let error = file.check(&["a/x", "b"]).unwrap_err().to_string();
            assert!(error.contains("`a/x`") && error.contains(what), "{error}");
        }
    }

    #[test]
    fn a_value_that_grows_with_the_path_ends_where_it_is_refused() {
        let line = format!("  X-Amz-Meta-A: {}\n", ":splat".repeat(330));
        let file = HeadersFile::parse(format!("/*\n{}", line.repeat(500)).as_bytes()).unwrap();
        let name = "é".repeat(500);
        let fields = file.fields(&name);
        let value = fields.values().flatten().next().unwrap();
        assert!((MAX_METADATA_BYTES..3 * MAX_METADATA_BYTES).contains(&value.len()));
        assert!(file.check(&[&name]).is_err());
    }

    #[test]
    fn a_header_whose_value_is_a_url_is_a_header() {
        let file = "/*\nX-Amz-Meta-From:https://example.com:8080/a:b\nAccess-Control-Allow-Origin:https://a.b\n";
        assert_snapshot!(applied(file, "a"), @"a: [meta from https://example.com:8080/a:b]");
        assert!(warnings(file, &["a"]).contains("Access-Control-Allow-Origin (line 3)"));
    }

    #[test]
    fn what_cannot_be_stored_is_told_with_its_lines() {
        let file = "
/*
  X-Frame-Options: DENY
  Content-Security-Policy: default-src 'self'; img-src https://*
  X-Amz-Meta-Kept: 1
/a/*
  X-Frame-Options: SAMEORIGIN
https://example.com/*
  X-Robots-Tag: noindex
";
        assert_snapshot!(warnings(file, &["a"]), @r"
        S3 keeps no such headers with an object, so `_headers` cannot set Content-Security-Policy (line 4), X-Frame-Options (lines 3, 7): put them in a response headers policy of the CloudFront distribution
        rules of `_headers` for one host are left out (line 8), since an object is the same on every host
        ");
    }

    #[test]
    fn joined_cache_controls_that_contradict_each_other_are_told() {
        let file = "
/*
  Cache-Control: public, max-age=0
/assets/*
  Cache-Control: public, max-age=31536000, immutable
/once/*
  ! Cache-Control
  Cache-Control: no-cache
";
        assert_snapshot!(warnings(file, &["a", "assets/a.js", "assets/b.js", "once/a"]), @"several rules of `_headers` give `assets/a.js` a Cache-Control, which are joined to `public, max-age=0, public, max-age=31536000, immutable`: write `! Cache-Control` in the later rule, above its own");
        assert_snapshot!(warnings(file, &["a", "once/a"]), @"");
    }

    proptest! {
        #[test]
        fn any_text_is_understood_or_refused(
            text in "([/!#]?[a-c*: é\t]{0,6}\n){0,6}",
            name in "[a-c/é.]{1,6}",
        ) {
            if let Ok(file) = HeadersFile::parse(text.as_bytes()) {
                file.apply(&name, &mut plain(&name));
                let _ = file.check(&[&name]);
            }
        }
    }
}
