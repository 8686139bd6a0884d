//! The knowledge of archive, listing and manifest about each key.
//!
//! All three are sorted by key, so one walk over them side by side replaces a search for each key in each of them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::iter;

use crate::archive::{ArchiveIndex, Entry};
use crate::config::Prune;
use crate::key::live_key;
use crate::listing::{Listing, Object};
use crate::manifest::{Manifest, Row};

/// The entry, object and row of one key; at least one of them is there.
pub(super) struct Known<'a, 's> {
    pub(super) entry: Option<&'a Entry>,
    pub(super) object: Option<Object>,
    /// The manifest's row, whether or not it is still valid.
    pub(super) row: Option<Row>,
    is_valid: bool,
    /// The key in the listing or the manifest.
    stored_key: Option<String>,
    live_prefix: &'s str,
}

impl<'a> Known<'a, '_> {
    /// Returns the key. Without a live prefix it is the entry's name, and is borrowed.
    pub(super) fn key(&self) -> Cow<'a, str> {
        match (self.entry, &self.stored_key) {
            (Some(entry), _) if self.live_prefix.is_empty() => Cow::Borrowed(&entry.name),
            (_, Some(key)) => Cow::Owned(key.clone()),
            (Some(entry), None) => Cow::Owned(live_key(self.live_prefix, &entry.name)),
            (None, None) => Cow::default(),
        }
    }

    /// Returns the key if the listing or the manifest has it.
    pub(super) fn stored_key(&self) -> Option<&str> {
        self.stored_key.as_deref()
    }

    /// Returns the row if the object is the one that it recorded.
    pub(super) fn valid_row(&self) -> Option<&Row> {
        self.row.as_ref().filter(|_| self.is_valid)
    }

    /// Whether only the manifest still has an object under the key.
    pub(super) fn is_object_missing(&self) -> bool {
        self.object.is_none() && self.row.is_some()
    }

    /// Whether listing and manifest disagree. With `Prune::Owned` and `Prune::Off` others may keep objects of their
    /// own in the bucket, so an additional object is no drift.
    pub(super) fn is_drift(&self, prune: Prune) -> bool {
        match (&self.row, &self.object) {
            (Some(_), _) => self.valid_row().is_none(),
            (None, Some(_)) => prune == Prune::All,
            (None, None) => false,
        }
    }

    /// Whether an earlier deployment has removed the object from the site, and only retains it.
    pub(super) fn was_removed(&self) -> bool {
        self.valid_row().is_some_and(|row| row.removed_at.is_some())
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
        let object_key = objects.peek().map(|(key, _)| key);
        let row_key = rows.peek().map(|(key, _)| key);
        // A list that has ended sorts after any key.
        let object_to_row = object_key.is_none().cmp(&row_key.is_none());
        let object_to_row = object_to_row.then_with(|| object_key.cmp(&row_key));
        let least = if object_to_row.is_le() { object_key } else { row_key };
        let order = match (entries.peek(), least) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(entry), Some(key)) => compare(live_prefix, &entry.name, key),
        };
        let entry = entries.next_if(|_| order.is_le());
        let object = objects.next_if(|_| order.is_ge() && object_to_row.is_le());
        let row = rows.next_if(|_| order.is_ge() && object_to_row.is_ge());
        let ((object_key, object), (row_key, row)) = (object.unzip(), row.unzip());
        let recorded = object.as_ref().zip(row.as_ref());
        Some(Known {
            is_valid: recorded.is_some_and(|(object, row)| is_valid(manifest, row, object)),
            entry,
            object,
            row,
            stored_key: object_key.or(row_key),
            live_prefix,
        })
    })
}

/// Compares an entry's key with another key.
fn compare(live_prefix: &str, name: &str, key: &str) -> Ordering {
    match key.strip_prefix(live_prefix) {
        Some(rest) => name.cmp(rest),
        None => live_prefix.cmp(key),
    }
}

/// Returns the row of `key` if the listing still shows the object that it recorded.
pub(super) fn valid_row(manifest: &Manifest, key: &str, object: &Object) -> Option<Row> {
    manifest.get(key).filter(|row| is_valid(manifest, row, object))
}

/// Whether the object is the one that the row recorded. An object that was written after the manifest was saved is
/// someone else's even if its bytes are equal, because its headers may differ.
fn is_valid(manifest: &Manifest, row: &Row, object: &Object) -> bool {
    let is_ours = row.etag == object.etag && row.size_bytes == object.size_bytes;
    is_ours && manifest.covers(object.modified_at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_compares_like_its_full_key(
            prefix in "([a-c]{1,2}/)?", name in "[a-c/]{0,3}", key in "[a-c/]{0,5}",
        ) {
            prop_assert_eq!(compare(&prefix, &name, &key), live_key(&prefix, &name).cmp(&key));
        }
    }
}
