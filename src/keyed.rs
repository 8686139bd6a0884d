//! Values by key, for what a site has by the million.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// So many rows are read to find one.
const BLOCK_ROWS: usize = 16;

/// A map in the order of its keys, to be made in that order and changed in bulk.
///
/// Rows are packed one behind the other, each with what of its key differs from the one before it: a site's keys
/// are much alike, so that a row takes little more than its value. The first row of a block has its key whole.
#[derive(Clone)]
pub struct Keyed<V> {
    /// Of each row: how many bytes of the key are those of the key before it, the others, the value.
    rows: Vec<u8>,
    /// Where each block begins.
    blocks: Vec<usize>,
    rows_of_last_block: usize,
    len: usize,
    last_key: String,
    values: PhantomData<V>,
}

impl<V: Serialize + DeserializeOwned> Keyed<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, key: &str) -> Option<V> {
        let is_past = |at: &usize| self.first_key(*at).is_some_and(|first| first > key);
        let next = self.blocks.partition_point(|at| !is_past(at));
        let block = *self.blocks.get(next.checked_sub(1)?)?;
        let mut rows = Rows::new(&self.rows[block..]);
        let (found, value) = rows.find(|(found, _)| found.as_str() >= key)?;
        (found == key).then_some(value)
    }

    /// The key of a block's first row.
    fn first_key(&self, block: usize) -> Option<&str> {
        let row = postcard::take_from_bytes::<(usize, &str)>(&self.rows[block..]);
        row.ok().map(|((_, key), _)| key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (String, V)> {
        Rows::new(&self.rows)
    }

    /// Adds a row behind all others; gives it back where that is not its place.
    pub fn push<K: AsRef<str>>(&mut self, key: K, value: V) -> Option<(K, V)> {
        let (new, last) = (key.as_ref(), self.last_key.as_str());
        if !self.is_empty() && new <= last {
            return Some((key, value));
        }
        if self.rows_of_last_block == BLOCK_ROWS || self.is_empty() {
            self.blocks.push(self.rows.len());
            self.rows_of_last_block = 0;
        }
        let shared = match self.rows_of_last_block {
            0 => 0,
            _ => shared_bytes(last, new),
        };
        let row = (shared, &new[shared..], value);
        // Writing to a Vec cannot fail.
        let _ = postcard::to_io(&row, &mut self.rows);
        self.last_key.truncate(shared_bytes(last, new));
        self.last_key.push_str(&new[self.last_key.len()..]);
        self.rows_of_last_block += 1;
        self.len += 1;
        None
    }

    /// Adds what another one holds.
    pub fn append(&mut self, other: Self) {
        let is_behind = other.first_key(0) > Some(&self.last_key);
        if !self.is_empty() && !is_behind {
            return self.extend(other.iter());
        }
        let start = self.rows.len();
        self.rows.extend_from_slice(&other.rows);
        self.blocks.extend(other.blocks.iter().map(|at| start + at));
        self.rows_of_last_block = other.rows_of_last_block;
        self.len += other.len;
        self.last_key = other.last_key;
    }

    /// Replaces, adds and removes values in one pass; of several changes of a key the last one counts.
    pub fn change<K: AsRef<str>>(&mut self, mut changes: Vec<(K, Option<V>)>) {
        if changes.is_empty() {
            return;
        }
        changes.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        // The last one of a key is the first of those that follow each other now.
        changes.reverse();
        changes.dedup_by(|earlier, later| earlier.0.as_ref() == later.0.as_ref());
        let mut changed = Self::default();
        let mut rows = self.iter().peekable();
        while let Some((key, value)) = changes.pop() {
            while let Some((key, value)) = rows.next_if(|(it, _)| **it < *key.as_ref()) {
                changed.push(key, value);
            }
            rows.next_if(|(it, _)| it == key.as_ref());
            if let Some(value) = value {
                changed.push(key, value);
            }
        }
        for (key, value) in rows {
            changed.push(key, value);
        }
        changed.shrink();
        *self = changed;
    }

    /// Gives back what room there is for more.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        self.blocks.shrink_to_fit();
    }
}

/// How many bytes both begin with, up to the end of a character.
fn shared_bytes(one: &str, other: &str) -> usize {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    let mut shared = same.count();
    while !other.is_char_boundary(shared) {
        shared -= 1;
    }
    shared
}

/// Unpacks rows from the beginning of a block on.
struct Rows<'r, V> {
    rest: &'r [u8],
    key: String,
    values: PhantomData<V>,
}

impl<'r, V> Rows<'r, V> {
    fn new(rest: &'r [u8]) -> Self {
        Self {
            rest,
            key: String::new(),
            values: PhantomData,
        }
    }
}

impl<V: DeserializeOwned> Iterator for Rows<'_, V> {
    type Item = (String, V);

    fn next(&mut self) -> Option<(String, V)> {
        let row = postcard::take_from_bytes::<(usize, &str, V)>(self.rest);
        let ((shared, differing, value), rest) = row.ok()?;
        self.rest = rest;
        self.key.truncate(shared);
        self.key.push_str(differing);
        Some((self.key.clone(), value))
    }
}

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            blocks: Vec::new(),
            rows_of_last_block: 0,
            len: 0,
            last_key: String::new(),
            values: PhantomData,
        }
    }
}

impl<V: Serialize + DeserializeOwned + PartialEq> PartialEq for Keyed<V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<V: Serialize + DeserializeOwned + fmt::Debug> fmt::Debug for Keyed<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<K: AsRef<str>, V: Serialize + DeserializeOwned> Extend<(K, V)> for Keyed<V> {
    /// Takes them in any order, and those at once that come in the order of their keys.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        let misplaced = items.into_iter().filter_map(|(key, value)| {
            let (key, value) = self.push(key, value)?;
            Some((key, Some(value)))
        });
        let misplaced = misplaced.collect();
        self.change(misplaced);
    }
}

impl<K: AsRef<str>, V: Serialize + DeserializeOwned> FromIterator<(K, V)> for Keyed<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut keyed = Self::default();
        keyed.extend(items);
        keyed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn as_map(keyed: &Keyed<u8>) -> BTreeMap<String, u8> {
        keyed.iter().collect()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(
            items in vec(("[aé/]{0,3}", any::<u8>()), 0..30), changes in vec(("[aé/]{0,3}", any::<Option<u8>>()), 0..30),
        ) {
            let mut map: BTreeMap<String, u8> = items.iter().cloned().collect();
            let mut keyed = Keyed::from_iter(items);
            prop_assert_eq!(&as_map(&keyed), &map);
            for (key, value) in &changes {
                match value {
                    Some(value) => map.insert(key.clone(), *value),
                    None => map.remove(key),
                };
            }
            keyed.change(changes.clone());
            prop_assert_eq!(&as_map(&keyed), &map);
            prop_assert!(keyed.iter().map(|(key, _)| key).eq(map.keys().cloned()), "in the same order");
            prop_assert_eq!(&keyed, &Keyed::from_iter(map.clone()));
            for (key, _) in &changes {
                prop_assert_eq!(keyed.get(key), map.get(key).copied());
            }
        }
    }
}
