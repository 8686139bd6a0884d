//! Measures how long it takes to plan the invalidations of 100,000 keys, in the shapes that sites have, and what the
//! updates of `benches/deploy` invalidate.
//!
//! `CARGO_PROFILE_BENCH_LTO=off cargo bench --bench planner` builds it faster; `-- 20000` plans 20,000 keys instead.

#[path = "deploy/site.rs"]
#[expect(dead_code, reason = "only the names of the files matter here")]
mod site;

use std::time::Instant;

use dropship::cache_tag::CacheTags;
use dropship::invalidation::{
    Distribution, Folders, Invalidation, InvalidationRules, Origin, StaleKeys, Tags, invalidation, is_tag,
    tagged_invalidation,
};
use fastrand::Rng;

/// A name, and the key with a given number.
type Shape = (&'static str, fn(u64) -> String);

const SHAPES: [Shape; 4] = [
    ("pages in folders", |n| format!("section-{:02}/page-{:03}/{n:06}.html", n % 40, n % 1_000)),
    ("index documents", |n| format!("docs/{:03}/{n:06}/index.html", n % 700)),
    ("hashed assets", |n| format!("assets/{:016x}.js", mixed(n))),
    ("deep folders", |n| {
        let hash = mixed(n);
        let folders = "a-very-long-directory-name/".repeat(5);
        let extension = if n.is_multiple_of(3) { "html" } else { "png" };
        format!("{folders}{:02x}/{:02x}/{hash:016x}.{extension}", hash >> 56, hash >> 48 & 255)
    }),
];

/// A site's name, its files, and how many of 1,000 its update changes and deletes, as in `benches/deploy/workload.rs`.
type Site = (&'static str, fn(&mut Rng) -> Vec<site::File>, usize, usize);

const SITES: [Site; 6] = [
    ("tiny-many", site::tiny_many, 10, 5),
    ("mixed", site::mixed, 10, 5),
    ("large-few", |rng| site::large(rng, site::Kind::Video), 10, 5),
    ("docs-site", site::docs_site, 10, 5),
    ("huge-site", |rng| site::small_pages(rng, 200_000, 200..2_000), 1, 0),
    ("index documents", hugo, 15, 0),
];

/// The share of stale keys, in a thousand.
const SHARES: [(&str, u64); 4] = [("few", 1), ("5 %", 50), ("half", 500), ("all", 1_000)];

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let keys: u64 = numbers.next().unwrap_or(100_000);
    let distribution = distribution(Folders::Function);
    let rules = InvalidationRules::default();
    for (name, make, changed, deleted) in SITES {
        update(name, make, changed, deleted);
    }
    println!("{keys} keys, 200 items");
    for (shape, key) in SHAPES {
        let keys: Vec<String> = (0..keys).map(key).collect();
        for (share, stale_in_thousand) in SHARES {
            let (mut changed, mut deleted, mut kept) = (vec![], vec![], vec![]);
            for (n, key) in (0..).zip(&keys) {
                let verdict = mixed(n + 7) % 1_000;
                match verdict {
                    _ if verdict >= stale_in_thousand => kept.push(key.as_str()),
                    _ if verdict.is_multiple_of(2) => changed.push(key.as_str()),
                    _ => deleted.push(key.as_str()),
                }
            }
            let stale = StaleKeys { changed, deleted, kept, ..StaleKeys::default() };
            let name = format!("{shape}, {share} stale");
            measure(&name, || invalidation(&distribution, &stale, &rules));
            let tags = || tags(keys.iter().map(String::as_str));
            measure(&format!("{name}, tags"), || tagged_invalidation(&distribution, &stale, &rules, tags));
        }
    }
}

fn distribution(folders: Folders) -> Distribution {
    Distribution {
        host: String::new(),
        id: "E1EXAMPLE".to_owned(),
        origins: vec![Origin { path: String::new(), folders }],
        default_root_object: Some("index.html".to_owned()),
        caches_errors: false,
        fallbacks: Vec::new(),
        query_strings: false,
        tags: None,
        warnings: Vec::new(),
    }
}

/// Plans an update of a site behind S3 itself, and behind a function that serves index documents.
fn update(name: &str, make: fn(&mut Rng) -> Vec<site::File>, changed: usize, deleted: usize) {
    let mut rng = Rng::with_seed(8);
    let mut names: Vec<String> = make(&mut rng).into_iter().map(|file| file.name).collect();
    rng.shuffle(&mut names);
    let count = names.len();
    let share = |of_thousand: usize| if of_thousand == 0 { 0 } else { (count * of_thousand / 1_000).max(1) };
    let mut names = names.iter().map(String::as_str);
    let stale = StaleKeys {
        changed: names.by_ref().take(share(changed)).collect(),
        deleted: names.by_ref().take(share(deleted)).collect(),
        kept: names.collect(),
        ..StaleKeys::default()
    };
    for (origin, folders) in [("S3", Folders::Keys), ("function", Folders::Function)] {
        let distribution = distribution(folders);
        measure(&format!("{name}, {origin}"), || invalidation(&distribution, &stale, &InvalidationRules::default()));
    }
}

/// A site where every page is an index document, as Hugo makes them.
fn hugo(rng: &mut Rng) -> Vec<site::File> {
    let page = |n| format!("posts/{:02}/{n:05}/index.html", n % 97);
    (0..10_000).map(|n| site::file(rng, page(n), 0, site::Kind::Text)).collect()
}

fn measure(name: &str, plan: impl Fn() -> Invalidation) {
    let began = Instant::now();
    let plan = plan();
    let took = began.elapsed();
    let items: Vec<&String> = [&plan.first, &plan.last].into_iter().flat_map(|items| &items.list).collect();
    println!(
        "{name:34} {:5} ms: {:3} items, {:2} wildcards, {:3} tags, {:6} unchanged objects evicted",
        took.as_millis(),
        items.len(),
        plan.first.wildcards + plan.last.wildcards,
        items.iter().filter(|item| is_tag(item)).count(),
        plan.collateral,
    );
}

fn tags<'a>(keys: impl Iterator<Item = &'a str>) -> Tags<'a> {
    let cache_tags = CacheTags::new("bench", &[]);
    let mut tags = Tags::default();
    for key in keys {
        tags.insert(key, cache_tags.of(key, key.ends_with(".html")));
    }
    tags
}

/// Returns a number without a pattern, the same in each run (splitmix64).
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    n ^ (n >> 31)
}
