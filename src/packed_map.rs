//! A map with little memory per row, for the million objects that a site may have.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The most rows that are unpacked to find one.
const BLOCK_ROWS: usize = 32;

/// A map that is sorted by key, built in that order and changed in bulk.
///
/// Rows are packed one after the other. Of each key, only the end that differs from the key before it is stored: the
/// keys of a site have much in common, so a row takes little more than its value.
#[derive(Clone)]
pub struct PackedMap<V> {
    blocks: Vec<Block>,
    /// The rows after all blocks, which become a block when there are [`BLOCK_ROWS`].
    open: Vec<u8>,
    open_rows: usize,
    len: usize,
    last_key: String,
    values: PhantomData<V>,
}

/// Some packed rows. The first one has its whole key, so that a block can be unpacked by itself.
#[derive(Clone)]
struct Block {
    rows: Box<[u8]>,
    len: usize,
}

impl<V: Serialize + DeserializeOwned> PackedMap<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, key: &str) -> Option<V> {
        let is_past = |block: &[u8]| first_key(block).is_none_or(|first| first > key);
        let block = if is_past(&self.open) {
            let next = self.blocks.partition_point(|block| !is_past(&block.rows));
            &*self.blocks.get(next.checked_sub(1)?)?.rows
        } else {
            &*self.open
        };
        let mut rows = Rows::new([block].into_iter());
        let (found, value) = rows.find(|(found, _)| found.as_str() >= key)?;
        (found == key).then_some(value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (String, V)> {
        let blocks = self.blocks.iter().map(|block| &*block.rows);
        Rows::new(blocks.chain([&*self.open]))
    }

    /// Adds a row after all others. Returns the row if that is not its place.
    pub fn push<K: AsRef<str>>(&mut self, key: K, value: V) -> Option<(K, V)> {
        let (new, last) = (key.as_ref(), self.last_key.as_str());
        if !self.is_empty() && new <= last {
            return Some((key, value));
        }
        let common = common_bytes(last, new);
        let shared = if self.open_rows == 0 { 0 } else { common };
        // A row is: how many bytes of the key before it are the same, the other bytes, and the value. Writing to a Vec
        // cannot fail.
        let _ = postcard::to_io(&(shared, &new[shared..], value), &mut self.open);
        self.last_key.truncate(common);
        self.last_key.push_str(&new[common..]);
        self.len += 1;
        self.open_rows += 1;
        if self.open_rows == BLOCK_ROWS {
            self.close_block();
        }
        None
    }

    /// Adds all rows of another map.
    pub fn append(&mut self, mut other: Self) {
        other.close_block();
        let first = other.blocks.first().and_then(|block| first_key(&block.rows));
        if !self.is_empty() && first <= Some(&self.last_key) {
            return self.extend(other.iter());
        }
        self.close_block();
        self.blocks.append(&mut other.blocks);
        self.len += other.len;
        self.last_key = other.last_key;
    }

    fn close_block(&mut self) {
        if self.open_rows > 0 {
            let rows = self.open.as_slice().into();
            let len = std::mem::take(&mut self.open_rows);
            self.blocks.push(Block { rows, len });
            self.open.clear();
        }
    }

    /// Sets values, or removes them; only the blocks that contain the keys are packed again.
    ///
    /// Of several changes of one key, the last one counts.
    pub fn change<K: AsRef<str>>(&mut self, mut changes: Vec<(K, Option<V>)>) {
        if changes.is_empty() {
            return;
        }
        changes.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        // In descending order, so that the next changes are at the end, where they can be split off. The last change of
        // a key is now the first one with that key.
        changes.reverse();
        changes.dedup_by(|later, kept| later.0.as_ref() == kept.0.as_ref());
        self.close_block();
        let mut blocks = std::mem::take(self).blocks.into_iter().peekable();
        while blocks.peek().is_some() || !changes.is_empty() {
            let block = blocks.next();
            let until = blocks.peek().and_then(|next| first_key(&next.rows));
            let is_later = |key: &str| until.is_some_and(|until| key >= until);
            let due = changes.partition_point(|(key, _)| is_later(key.as_ref()));
            match block {
                Some(block) if due == changes.len() => self.push_block(block),
                block => self.merge(block, changes.split_off(due)),
            }
        }
        self.close_block();
        let last = self.blocks.last().map(|block| &*block.rows);
        let last = Rows::<_, V>::new(last.into_iter()).last();
        self.last_key = last.map(|(key, _)| key).unwrap_or_default();
    }

    /// Adds a block after all rows.
    fn push_block(&mut self, block: Block) {
        self.close_block();
        self.len += block.len;
        self.blocks.push(block);
    }

    /// Adds the rows of a block after all others, with changes, which are in descending order.
    fn merge<K: AsRef<str>>(&mut self, block: Option<Block>, mut changes: Vec<(K, Option<V>)>) {
        let rows = block.as_ref().map(|block| &*block.rows);
        let mut rows = Rows::new(rows.into_iter()).peekable();
        while let Some((key, value)) = changes.pop() {
            while let Some((key, value)) = rows.next_if(|(it, _)| **it < *key.as_ref()) {
                self.push(key, value);
            }
            rows.next_if(|(it, _)| it == key.as_ref());
            if let Some(value) = value {
                self.push(key, value);
            }
        }
        for (key, value) in rows {
            self.push(key, value);
        }
    }
}

/// Returns the key of a block's first row.
fn first_key(block: &[u8]) -> Option<&str> {
    let row = postcard::take_from_bytes::<(usize, &str)>(block);
    row.ok().map(|((_, key), _)| key)
}

/// Returns how many bytes both begin with, in whole characters.
fn common_bytes(one: &str, other: &str) -> usize {
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b);
    let mut common = same.count();
    while !other.is_char_boundary(common) {
        common -= 1;
    }
    common
}

/// An iterator over the unpacked rows of blocks.
struct Rows<'r, B, V> {
    blocks: B,
    block: &'r [u8],
    key: String,
    values: PhantomData<V>,
}

impl<B, V> Rows<'_, B, V> {
    fn new(blocks: B) -> Self {
        Self { blocks, block: &[], key: String::new(), values: PhantomData }
    }
}

impl<'r, B: Iterator<Item = &'r [u8]>, V: DeserializeOwned> Iterator for Rows<'r, B, V> {
    type Item = (String, V);

    fn next(&mut self) -> Option<(String, V)> {
        if self.block.is_empty() {
            self.block = self.blocks.next()?;
        }
        let row = postcard::take_from_bytes::<(usize, &str, V)>(self.block);
        let ((shared, differing, value), rest) = row.ok()?;
        self.block = rest;
        self.key.truncate(shared);
        self.key.push_str(differing);
        Some((self.key.clone(), value))
    }
}

impl<V> Default for PackedMap<V> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            open: Vec::new(),
            open_rows: 0,
            len: 0,
            last_key: String::new(),
            values: PhantomData,
        }
    }
}

impl<V: Serialize + DeserializeOwned + PartialEq> PartialEq for PackedMap<V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<V: Serialize + DeserializeOwned + fmt::Debug> fmt::Debug for PackedMap<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<K: AsRef<str>, V: Serialize + DeserializeOwned> Extend<(K, V)> for PackedMap<V> {
    /// Adds rows in any order. Those in the order of their keys are packed immediately, the others together at the end.
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        let misplaced = items.into_iter().filter_map(|(key, value)| {
            let (key, value) = self.push(key, value)?;
            Some((key, Some(value)))
        });
        let misplaced = misplaced.collect();
        self.change(misplaced);
    }
}

impl<K: AsRef<str>, V: Serialize + DeserializeOwned> FromIterator<(K, V)> for PackedMap<V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(items: I) -> Self {
        let mut packed = Self::default();
        packed.extend(items);
        packed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn as_map(packed: &PackedMap<u8>) -> BTreeMap<String, u8> {
        packed.iter().collect()
    }

    proptest! {
        #[test]
        fn appending_a_map_equals_inserting_its_rows(
            one in vec(("[abé/]{0,4}", any::<u8>()), 0..100),
            other in vec(("[abé/]{0,4}", any::<u8>()), 0..100),
            is_after: bool,
        ) {
            let prefix = if is_after { "é" } else { "" };
            let other: Vec<_> = other.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)).collect();
            let one: Vec<_> = one.into_iter().filter(|(key, _)| !is_after || !key.starts_with('é')).collect();
            let all = PackedMap::from_iter(one.iter().chain(&other).cloned());
            let mut packed = PackedMap::from_iter(one);
            packed.append(PackedMap::from_iter(other));
            prop_assert_eq!(packed.len(), all.len());
            prop_assert_eq!(&packed, &all);
            for (key, value) in all.iter() {
                prop_assert_eq!(packed.get(&key), Some(value));
            }
        }

        #[test]
        fn it_equals_a_btree_map(
            items in vec(("[abé/]{0,4}", any::<u8>()), 0..100),
            changes in vec(("[abé/]{0,4}", any::<Option<u8>>()), 0..10),
            all_changes in vec(("[abé/]{0,4}", any::<Option<u8>>()), 0..100),
            more in vec(("[abé/]{0,4}", any::<u8>()), 0..5),
        ) {
            let mut map: BTreeMap<String, u8> = items.iter().cloned().collect();
            let mut packed = PackedMap::from_iter(items);
            prop_assert_eq!(&as_map(&packed), &map);
            for changes in [changes, all_changes] {
                for (key, value) in &changes {
                    match value {
                        Some(value) => map.insert(key.clone(), *value),
                        None => map.remove(key),
                    };
                }
                packed.change(changes.clone());
                prop_assert_eq!(&as_map(&packed), &map);
                prop_assert_eq!(packed.len(), map.len());
                prop_assert!(packed.iter().map(|(key, _)| key).eq(map.keys().cloned()), "in the same order");
                prop_assert_eq!(&packed, &PackedMap::from_iter(map.clone()));
                for (key, _) in &changes {
                    prop_assert_eq!(packed.get(key), map.get(key).copied());
                }
            }
            packed.extend(more.iter().cloned());
            map.extend(more);
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), map.into_iter().collect::<Vec<_>>());
        }
    }
}
