//! What viewers get from the edge, after deployments: the invalidations against an emulated cache that
//! never forgets on its own.

mod cached_errors;
mod completion;
mod distributions;
mod quota;
mod real_release;
mod simulation;

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use standins::{Distribution, Edge, EdgeAnswer};

use crate::build::{Files, files};
use crate::stage::Stage;

/// A second, always empty cache in front of the same bucket: what it answers is the truth.
const FRESH: &str = "E0FRESH";

/// What browsers escape in a path (WHATWG URL, "path percent-encode set"), and `%` and `?` of a key.
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

/// The URLs under which viewers ask for a key, written down anew.
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

/// An answer without the question where it came from.
fn content(answer: EdgeAnswer) -> EdgeAnswer {
    EdgeAnswer { from_cache: false, ..answer }
}

/// Checks that a cache answers as an empty one does.
#[track_caller]
fn assert_fresh<'u>(stage: &Stage, distribution: Distribution, urls: impl IntoIterator<Item = &'u String>) {
    let edge = stage.cloud.edge(&distribution.id);
    stage.cloud.create_distribution(Distribution { id: FRESH.to_owned(), ..distribution });
    let fresh = stage.cloud.edge(FRESH);
    for url in urls {
        assert_eq!(content(edge.get(url)), content(fresh.get(url)), "{url} is stale");
    }
}

/// The cache keys that are gone, and those among them whose answer would have been the same.
fn evicted(edge: &Edge, before: &BTreeMap<String, EdgeAnswer>) -> (Vec<String>, Vec<String>) {
    let now = edge.cached();
    let gone: Vec<String> = before.keys().filter(|key| !now.contains_key(*key)).cloned().collect();
    let same = gone.iter().filter(|key| content(edge.get(key)) == before[*key]).cloned().collect();
    (gone, same)
}

fn owned<const N: usize>(items: [&str; N]) -> BTreeSet<String> {
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
