//! The answers that viewers get from the edge after a deployment.
//!
//! The emulated caches never evict anything by themselves, so that a missing invalidation shows as a stale answer.

mod acceptance;
mod cached_errors;
mod completion;
mod distributions;
pub mod quota;
mod real_release;
mod references;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use standins::{Distribution, Edge, EdgeAnswer};

pub use self::quota::QUOTAS;

use crate::build::{Files, files};
use crate::stage::Stage;

/// A distribution whose cache is always empty: its answers are fresh.
const FRESH: &str = "E0FRESH";

/// The characters that browsers escape in a path (WHATWG URL, "path percent-encode set"), and a key's `%` and `?`.
const IN_PATHS: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'^')
    .add(b'%');

/// Returns the URLs under which viewers request a key. It shares no code with the library, which it checks.
fn urls(key: &str, clean_urls: bool) -> Vec<String> {
    let mut paths = vec![key.to_owned()];
    if key == "index.html" {
        paths.push(String::new());
    } else if let Some(folder) = key.strip_suffix("/index.html") {
        paths.extend([format!("{folder}/"), folder.to_owned()]);
    }
    if let Some(stem) = key.strip_suffix(".html").filter(|_| clean_urls) {
        paths.push(stem.to_owned());
    }
    let escaped = |path: &String| format!("/{}", utf8_percent_encode(path, &IN_PATHS));
    let mut urls: Vec<String> = paths.iter().map(escaped).collect();
    let with_plus = urls.iter().filter(|url| url.contains('+'));
    urls.extend(with_plus.map(|url| url.replace('+', "%2B")).collect::<Vec<_>>());
    urls
}

/// Returns an answer without the mark that says whether it came from the cache.
pub fn content(answer: EdgeAnswer) -> EdgeAnswer {
    EdgeAnswer { from_cache: false, ..answer }
}

/// Checks that a distribution's cache answers as an empty one does.
#[track_caller]
pub fn assert_fresh<'u>(stage: &Stage, distribution: Distribution, urls: impl IntoIterator<Item = &'u String>) {
    let edge = stage.cloud.edge(&distribution.id);
    stage.cloud.create_distribution(Distribution { id: FRESH.to_owned(), ..distribution });
    let fresh = stage.cloud.edge(FRESH);
    for url in urls {
        assert_eq!(content(edge.get(url)), content(fresh.get(url)), "{url} is stale");
    }
}

/// The URLs that left an edge's cache.
struct Evicted {
    all: Vec<String>,
    /// Those whose answer has not changed.
    needlessly: Vec<String>,
}

/// Compares an edge's cache with its contents before.
fn evicted(edge: &Edge, before: &BTreeMap<String, EdgeAnswer>) -> Evicted {
    let now = edge.cached();
    let all: Vec<String> = before.keys().filter(|url| !now.contains_key(*url)).cloned().collect();
    let needlessly = all.iter().filter(|url| content(edge.get(url)) == before[*url]).cloned().collect();
    Evicted { all, needlessly }
}

fn set<const N: usize>(items: [&str; N]) -> BTreeSet<String> {
    items.map(str::to_owned).into()
}

fn first() -> Files {
    files([
        ("index.html", "one"),
        ("app.js", "one"),
        ("kept.css", "kept"),
        ("www/index.html", "one"),
        ("www/kept.css", "kept"),
        ("www/old.html", "old"),
    ])
}

fn second() -> Files {
    files([
        ("index.html", "two"),
        ("app.js", "one"),
        ("kept.css", "kept"),
        ("www/index.html", "two"),
        ("www/kept.css", "kept"),
    ])
}
