//! Cache tags in place of wildcards.
//!
//! A tag evicts the objects that share it, in whatever folder they are and under whatever alias and query string they
//! were cached. So it can fit better than any wildcard: all pages, for example, or everything directly in a folder but
//! not in the folders below.
//!
//! The search is greedy. `ranking` puts the tags in an order in which each one is the best to add to those before it.
//! There are two such orders, by two criteria. `search` then takes the first few tags of an order, tries several
//! lengths, and lets wildcards and exact items cover the rest. That need not find the best combination, but it never
//! returns one that is worse than no tags.

mod index;
mod ranking;
mod search;

use std::collections::HashMap;

pub(super) use self::search::improve;

/// The two tags of each key.
///
/// A stale key has tags here only if every copy that a cache may hold carries them, since they must evict all copies. A
/// kept key always has them, since they may evict some copies.
#[derive(Debug, Default)]
pub struct Tags<'k> {
    numbers: HashMap<String, u32>,
    of_key: HashMap<&'k str, [u32; 2]>,
}

impl<'k> Tags<'k> {
    pub fn insert(&mut self, key: &'k str, tags: [String; 2]) {
        let numbers = tags.map(|tag| {
            // There are fewer tags than objects, and a listing of 4 billion objects does not fit into memory.
            let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
            *self.numbers.entry(tag).or_insert(next)
        });
        self.of_key.insert(key, numbers);
    }

    #[cfg(test)]
    pub fn has(&self, key: &str) -> bool {
        self.of_key.contains_key(key)
    }

    /// Returns the names of the tags, sorted.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.numbers.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Returns the tags of each key as indices into [`names`](Self::names), so that no result depends on the order in
    /// which the tags were inserted.
    fn of_keys<'q>(&self, keys: impl Iterator<Item = Option<&'q str>>) -> Vec<Option<[usize; 2]>> {
        let mut indices = vec![0; self.numbers.len()];
        for (index, name) in self.names().into_iter().enumerate() {
            indices[self.numbers[name] as usize] = index;
        }
        keys.map(|key| {
            let numbers = self.of_key.get(key?)?;
            Some(numbers.map(|number| indices[number as usize]))
        })
        .collect()
    }
}
