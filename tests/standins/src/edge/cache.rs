//! The cache of one distribution: its keys and tags, and how invalidations remove entries.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::EdgeAnswer;
use super::origin::split_query;
use crate::Distribution;

/// RFC 1738's unsafe characters in a path, except `~` and the `%` that begins an escape.
const UNSAFE: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'#')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'`');

/// The error caching minimum TTL of a distribution that does not configure it.
const DEFAULT_ERROR_TTL_SECONDS: u64 = 10;

/// "CloudFront processes up to 50 tags per cached object" (invalidation-specifying-tags).
const MAX_TAGS: usize = 50;

/// The cached answers of one distribution.
#[derive(Default)]
pub(crate) struct Cache {
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    answer: EdgeAnswer,
    tags: Tags,
}

impl Cache {
    pub(super) fn get(&self, key: &str) -> Option<EdgeAnswer> {
        self.entries.get(key).map(|entry| entry.answer.clone())
    }

    /// Stores an answer. Only the answer of an object that was found has tags.
    pub(super) fn insert(&mut self, config: &Distribution, key: String, answer: &EdgeAnswer, is_found: bool) {
        let tags = if is_found { Tags::parse(config, answer) } else { Tags::default() };
        self.entries.insert(key, Entry { answer: answer.clone(), tags });
    }

    pub(super) fn answers(&self) -> impl Iterator<Item = (&String, &EdgeAnswer)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.answer))
    }

    /// Removes every entry that an item matches.
    pub(crate) fn invalidate(&mut self, config: &Distribution, items: &[String]) {
        self.entries.retain(|key, entry| {
            !items.iter().any(|item| match item.strip_prefix('#') {
                Some(tag) => entry.tags.contain(config, tag),
                None => item_matches(item, key),
            })
        });
    }
}

/// The tags of an answer when it was cached, according to the configuration at that time.
#[derive(Default)]
struct Tags {
    /// The header that contained them, in lower case; None if the configuration named no header.
    header: Option<String>,
    names: Vec<String>,
}

impl Tags {
    fn parse(config: &Distribution, answer: &EdgeAnswer) -> Self {
        let header = config.cache_tag_header.as_ref().map(|it| it.to_lowercase());
        let value = header.as_ref().and_then(|name| answer.headers.get(name));
        let names = value.into_iter().flat_map(|names| names.split(',')).take(MAX_TAGS);
        Self { names: names.map(|name| name.trim().to_ascii_lowercase()).collect(), header }
    }

    /// Returns whether these contain a tag. If the configured header has changed since, they are unknown.
    fn contain(&self, config: &Distribution, wanted: &str) -> bool {
        let header = config.cache_tag_header.as_ref().map(|it| it.to_lowercase());
        header.is_some() && header == self.header && self.names.contains(&wanted.to_ascii_lowercase())
    }
}

/// Returns whether an invalidation item matches a cache key.
fn item_matches(item: &str, key: &str) -> bool {
    let escapes_tilde = item.to_ascii_uppercase().contains("%7E");
    if escapes_tilde || escaped(item) != item {
        return false;
    }
    match item.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => key == item,
    }
}

/// Escapes the characters that browsers may leave raw. Existing escapes stay as they are.
fn escaped(path: &str) -> String {
    utf8_percent_encode(path, &UNSAFE).to_string()
}

pub(super) fn cache_key(config: &Distribution, path_and_query: &str) -> String {
    let (path, query) = split_query(path_and_query);
    match query.filter(|_| config.cache_query_strings) {
        Some(query) => format!("{}?{query}", escaped(path)),
        None => escaped(path),
    }
}

pub(super) fn is_cacheable(config: &Distribution, answer: &EdgeAnswer, is_found: bool) -> bool {
    if !is_found {
        let custom = config.custom_errors.iter().find(|error| error.code == 404);
        let ttl_seconds = custom.map_or(DEFAULT_ERROR_TTL_SECONDS, |error| error.min_ttl_seconds);
        return ttl_seconds > DEFAULT_ERROR_TTL_SECONDS;
    }
    let cache_control = answer.headers.get("cache-control");
    let forbids = |directive: &str| ["no-store", "private"].contains(&directive.trim());
    !cache_control.is_some_and(|value| value.split(',').any(forbids))
}
