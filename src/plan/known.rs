//! What archive, listing and manifest know, key by key.
//!
//! All three are in the order of S3's keys, so that one walk side by side takes the place of a search for
//! each key in each of them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::iter;

use super::{Listing, Object, is_valid};
use crate::archive::{ArchiveIndex, Entry};
use crate::key::live_key;
use crate::manifest::{Manifest, Row};

/// What is known of one key; something always is.
pub(super) struct Known<'a, 's> {
    pub(super) entry: Option<&'a Entry>,
    pub(super) object: Option<&'s Object>,
    /// Of the manifest, whether or not it still holds.
    pub(super) row: Option<&'s Row>,
    /// The row, if the object is the one that it recorded.
    pub(super) valid: Option<&'s Row>,
    /// As listing or manifest have it.
    stored_key: Option<&'s str>,
    live_prefix: &'s str,
}

impl<'a> Known<'a, '_> {
    /// Without a live prefix the key of an entry is its name, and takes no memory of its own.
    pub(super) fn key(&self) -> Cow<'a, str> {
        match (self.entry, self.stored_key) {
            (Some(entry), _) if self.live_prefix.is_empty() => Cow::Borrowed(&entry.name),
            (_, Some(key)) => Cow::Owned(key.to_owned()),
            (Some(entry), None) => Cow::Owned(live_key(self.live_prefix, &entry.name)),
            (None, None) => Cow::default(),
        }
    }

    /// The key, unless the entry alone has it.
    pub(super) fn stored_key(&self) -> Option<&str> {
        self.stored_key
    }
}

/// Walks over all keys, in their order.
pub(super) fn all_known<'a, 's>(
    index: &'a ArchiveIndex,
    listing: &'s Listing,
    manifest: &'s Manifest,
    live_prefix: &'s str,
) -> impl Iterator<Item = Known<'a, 's>> {
    let mut entries = index.entries.iter().peekable();
    let mut objects = listing.iter().peekable();
    let mut rows = manifest.iter().peekable();
    iter::from_fn(move || {
        let object_key = objects.peek().map(|(key, _)| *key);
        let row_key = rows.peek().map(|(key, _)| *key);
        let least = object_key.into_iter().chain(row_key).min();
        let order = match (entries.peek(), least) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(entry), Some(key)) => compare(live_prefix, &entry.name, key),
        };
        let entry = entries.next_if(|_| order.is_le());
        let stored_key = least.filter(|_| order.is_ge());
        let object = objects.next_if(|(key, _)| Some(*key) == stored_key);
        let object = object.map(|(_, object)| object);
        let row = rows.next_if(|(key, _)| Some(*key) == stored_key);
        let row = row.map(|(_, row)| row);
        let valid = row.filter(|row| object.is_some_and(|it| is_valid(manifest, row, it)));
        Some(Known {
            entry,
            object,
            row,
            valid,
            stored_key,
            live_prefix,
        })
    })
}

/// Compares the key of an entry with another key.
fn compare(live_prefix: &str, name: &str, key: &str) -> Ordering {
    match key.strip_prefix(live_prefix) {
        Some(rest) => name.cmp(rest),
        None => live_prefix.cmp(key),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn entries_and_keys_are_compared_as_if_the_prefix_were_in_front(
            prefix in "([a-c]{1,2}/)?", name in "[a-c/]{0,3}", key in "[a-c/]{0,5}",
        ) {
            prop_assert_eq!(compare(&prefix, &name, &key), live_key(&prefix, &name).cmp(&key));
        }
    }
}
