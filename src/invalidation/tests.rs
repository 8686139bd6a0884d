//! Tests of [`invalidation`] and [`tagged_invalidation`]: examples, and laws over generated sites.

mod brute_force;
mod budget;
mod folders;
mod laws;
mod site;
mod stale_paths;
mod tag_laws;
mod tags;

use super::*;

fn rules() -> InvalidationRules<'static> {
    InvalidationRules::default()
}

fn count_wildcards(plan: &Invalidation) -> usize {
    plan.first.wildcards + plan.last.wildcards
}

fn count_items(plan: &Invalidation) -> usize {
    plan.first.list.len() + plan.last.list.len()
}

/// CloudFront's rule, implemented a second time, over the characters of the URL.
fn evicts(item: &str, url: &str) -> bool {
    let item: Vec<char> = item.chars().collect();
    let url: Vec<char> = url.chars().collect();
    match item.split_last() {
        Some(('*', start)) => url.len() >= start.len() && url[..start.len()] == *start,
        _ => item == url,
    }
}

fn evicted(items: &[String], url: &str) -> bool {
    items.iter().any(|item| evicts(item, url))
}

/// Returns the spellings of a path that viewers send and that S3 answers with the object.
fn urls(path: &str) -> Vec<String> {
    ["%20", "+"].map(|space| spelled(path, space)).to_vec()
}

fn spelled(path: &str, space: &str) -> String {
    let mut url = String::new();
    for character in path.chars() {
        match character {
            ' ' => url.push_str(space),
            '+' => url.push_str("%2B"),
            '?' => url.push_str("%3F"),
            'é' => url.push_str("%C3%A9"),
            'è' => url.push_str("%C3%A8"),
            other => url.push(other),
        }
    }
    url
}
