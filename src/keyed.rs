//! Values by key, for what a site has by the million.

use std::cmp::Ordering;
use std::fmt;

/// A map in the order of its keys, to be made in that order and changed in bulk.
///
/// All keys lie in one text, so that each takes eight bytes besides its own and none has to be allocated.
#[derive(Clone, Eq, PartialEq)]
pub struct Keyed<V> {
    text: String,
    /// Where each key ends in `text`.
    ends: Vec<usize>,
    values: Vec<V>,
}

impl<V> Keyed<V> {
    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&V> {
        self.find(key).ok().map(|at| &self.values[at])
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|at| self.key(at))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.keys().zip(&self.values)
    }

    /// Adds a value or replaces one: at once where the key is behind all others, and elsewhere by moving these.
    pub fn insert(&mut self, key: &str, value: V) {
        let is_last = self.values.is_empty() || self.key(self.len() - 1) < key;
        let found = if is_last {
            Err(self.len())
        } else {
            self.find(key)
        };
        match found {
            Ok(at) => self.values[at] = value,
            Err(at) => {
                let start = self.start(at);
                self.text.insert_str(start, key);
                self.ends.insert(at, start);
                for end in &mut self.ends[at..] {
                    *end += key.len();
                }
                self.values.insert(at, value);
            }
        }
    }

    /// Adds what another one holds.
    pub fn append(&mut self, mut other: Self) {
        let values = std::mem::take(&mut other.values);
        for (at, value) in values.into_iter().enumerate() {
            self.insert(other.key(at), value);
        }
    }

    /// Replaces, adds and removes values in one pass; of several changes of a key the last one counts.
    pub fn change<K: AsRef<str>>(&mut self, mut changes: Vec<(K, Option<V>)>) {
        if changes.is_empty() {
            return;
        }
        changes.sort_by(|(a, _), (b, _)| a.as_ref().cmp(b.as_ref()));
        let mut changed = Self::with_capacity(self.len() + changes.len(), self.text.len());
        let mut changes = changes.into_iter().peekable();
        let values = std::mem::take(&mut self.values);
        for (at, value) in values.into_iter().enumerate() {
            let key = self.key(at);
            let mut is_kept = true;
            while let Some((changed_key, value)) = changes.next_if(|(it, _)| it.as_ref() <= key) {
                is_kept &= changed_key.as_ref() != key;
                changed.settle(changed_key.as_ref(), value);
            }
            if is_kept {
                changed.insert(key, value);
            }
        }
        for (key, value) in changes {
            changed.settle(key.as_ref(), value);
        }
        *self = changed;
    }

    /// Carries out one change behind all others.
    fn settle(&mut self, key: &str, value: Option<V>) {
        let last = self.len().checked_sub(1);
        if let Some(last) = last.filter(|&last| self.key(last) == key) {
            self.values.pop();
            self.ends.pop();
            self.text.truncate(self.start(last));
        }
        if let Some(value) = value {
            self.insert(key, value);
        }
    }

    fn with_capacity(count: usize, text_bytes: usize) -> Self {
        Self {
            text: String::with_capacity(text_bytes),
            ends: Vec::with_capacity(count),
            values: Vec::with_capacity(count),
        }
    }

    /// Gives back what room there is for more.
    pub fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn key(&self, at: usize) -> &str {
        &self.text[self.start(at)..self.ends[at]]
    }

    /// Where the key is, or where it would be.
    fn find(&self, key: &str) -> Result<usize, usize> {
        let (mut from, mut to) = (0, self.ends.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.key(middle).cmp(key) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }
}

impl<V> Default for Keyed<V> {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl<V: fmt::Debug> fmt::Debug for Keyed<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.iter()).finish()
    }
}

impl<K: AsRef<str>, V> Extend<(K, V)> for Keyed<V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, items: I) {
        for (key, value) in items {
            self.insert(key.as_ref(), value);
        }
    }
}

impl<K: AsRef<str>, V> FromIterator<(K, V)> for Keyed<V> {
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
        keyed
            .iter()
            .map(|(key, value)| (key.to_owned(), *value))
            .collect()
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
            prop_assert!(keyed.keys().eq(map.keys()), "in the same order");
            prop_assert_eq!(&keyed, &Keyed::from_iter(map.clone()));
            for (key, _) in &changes {
                prop_assert_eq!(keyed.get(key), map.get(key));
            }
        }
    }
}
