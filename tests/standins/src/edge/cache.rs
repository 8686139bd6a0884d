//! The cache of one distribution: its tiers, its keys and tags, and how invalidations remove entries.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::EdgeAnswer;
use super::origin::{rewritten, split_query};
use crate::{Distribution, IndexFunction};

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

/// How an invalidation spreads through the tiers of a distribution. CloudFront documents none of it.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// How long after the one tier it reaches the other.
    pub delay: TimeDelta,
    pub is_regional_first: bool,
    /// Whether it also voids answers that are on their way into a cache.
    pub voids_fetches: bool,
}

impl Default for Spread {
    /// An invalidation reaches everything immediately.
    fn default() -> Self {
        Self { delay: TimeDelta::zero(), is_regional_first: true, voids_fetches: true }
    }
}

/// The cached answers of one distribution: in its edge locations, and in the regional tier behind them.
#[derive(Default)]
pub(crate) struct Cache {
    locations: Tier,
    regional: Tier,
    pub(crate) spread: Spread,
    /// Invalidations that have not reached the second tier yet, the oldest first.
    on_the_way: Vec<(DateTime<Utc>, Invalidated)>,
}

#[derive(Default)]
struct Tier {
    entries: BTreeMap<Slot, Entry>,
    /// The invalidations that have reached this tier, the oldest first.
    reached: Vec<Invalidated>,
}

/// A cache key in one of the tier's caches: the number of an edge location, or 0.
type Slot = (u8, String);

/// The scope of an invalidation.
#[derive(Clone)]
enum Invalidated {
    Everything,
    Matching(Vec<String>),
}

#[derive(Clone)]
struct Entry {
    answer: EdgeAnswer,
    /// The path for which it was fetched, as the viewer sent it.
    viewers: String,
    is_found: bool,
    tags: Tags,
}

/// How many invalidations had reached each tier at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    locations: usize,
    regional: usize,
}

impl Cache {
    /// Returns the answer of an edge location.
    pub(super) fn get(&self, location: u8, key: &str) -> Option<EdgeAnswer> {
        self.locations.get(location, key).map(|entry| entry.answer.clone())
    }

    /// Returns the answer of the regional tier, and whether it is that of an object.
    pub(super) fn get_regional(&self, key: &str) -> Option<(EdgeAnswer, bool)> {
        self.regional.get(0, key).map(|entry| (entry.answer.clone(), entry.is_found))
    }

    pub(super) fn reached(&self) -> Reached {
        Reached { locations: self.locations.reached.len(), regional: self.regional.reached.len() }
    }

    /// Stores an answer in both tiers, except where an invalidation has voided it since it was `begun`. Only the answer
    /// of an object that was found has tags.
    pub(super) fn store(
        &mut self,
        config: &Distribution,
        slot: Slot,
        (viewers, answer): (&str, &EdgeAnswer),
        is_found: bool,
        begun: Reached,
    ) {
        let tags = if is_found { Tags::parse(config, answer) } else { Tags::default() };
        let entry = Entry { answer: answer.clone(), viewers: viewers.to_owned(), is_found, tags };
        let (since_locations, since_regional) =
            if self.spread.voids_fetches { (begun.locations, begun.regional) } else { (usize::MAX, usize::MAX) };
        self.regional.store(config, (0, slot.1.clone()), entry.clone(), since_regional);
        self.locations.store(config, slot, entry, since_locations);
    }

    /// Returns the answers of an edge location.
    pub(super) fn answers_at(&self, location: u8) -> impl Iterator<Item = (&String, &EdgeAnswer)> {
        let entries = self.locations.entries.iter().filter(move |((place, _), _)| *place == location);
        entries.map(|((_, key), entry)| (key, &entry.answer))
    }

    /// Returns the answers of all caches of both tiers.
    pub(super) fn answers(&self) -> impl Iterator<Item = (&String, &EdgeAnswer)> {
        let entries = self.locations.entries.iter().chain(&self.regional.entries);
        entries.map(|((_, key), entry)| (key, &entry.answer))
    }

    /// Removes every entry that an item matches, when the invalidation reaches it.
    pub(crate) fn invalidate(&mut self, config: &Distribution, items: &[String], now: DateTime<Utc>) {
        let invalidated = Invalidated::Matching(items.to_vec());
        let first = if self.spread.is_regional_first { &mut self.regional } else { &mut self.locations };
        first.invalidate(config, invalidated.clone());
        self.on_the_way.push((now + self.spread.delay, invalidated));
        self.catch_up(config, now);
    }

    /// Lets invalidations reach the second tier whose time has come.
    pub(crate) fn catch_up(&mut self, config: &Distribution, now: DateTime<Utc>) {
        let second = if self.spread.is_regional_first { &mut self.locations } else { &mut self.regional };
        for (_, invalidated) in self.on_the_way.extract_if(.., |(at, _)| *at <= now) {
            second.invalidate(config, invalidated);
        }
    }

    /// Removes everything, and voids every answer on its way.
    pub(crate) fn clear(&mut self, config: &Distribution) {
        for tier in [&mut self.locations, &mut self.regional] {
            tier.invalidate(config, Invalidated::Everything);
        }
    }
}

impl Tier {
    fn get(&self, place: u8, key: &str) -> Option<&Entry> {
        self.entries.get(&(place, key.to_owned()))
    }

    /// Stores an entry, unless an invalidation after the first `since` ones matches it.
    fn store(&mut self, config: &Distribution, slot: Slot, entry: Entry, since: usize) {
        let mut later = self.reached.iter().skip(since);
        if !later.any(|invalidated| invalidated.matches(config, &slot.1, &entry)) {
            self.entries.insert(slot, entry);
        }
    }

    fn invalidate(&mut self, config: &Distribution, invalidated: Invalidated) {
        self.entries.retain(|(_, key), entry| !invalidated.matches(config, key, entry));
        self.reached.push(invalidated);
    }
}

impl Invalidated {
    fn matches(&self, config: &Distribution, key: &str, entry: &Entry) -> bool {
        match self {
            Self::Everything => true,
            Self::Matching(items) => items.iter().any(|item| match item.strip_prefix('#') {
                Some(tag) => entry.tags.contain(config, tag),
                None if config.evicts_by_viewers_path() => item_matches(item, &escaped(split_query(&entry.viewers).0)),
                None => item_matches(item, key),
            }),
        }
    }
}

/// The tags of an answer when it was cached, according to the configuration at that time.
#[derive(Clone, Default)]
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
    let path = match config.index_function {
        IndexFunction::RewritingKey => escaped(&rewritten(config, path)),
        _ => escaped(path),
    };
    match query.filter(|_| config.query_strings.are_in_key()) {
        Some(query) => format!("{path}?{query}"),
        None => path,
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
