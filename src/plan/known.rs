//! Everything that archive, listing and manifest say about each key.
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
    /// The manifest's row of an object that was written, whether or not it is still valid.
    pub(super) row: Option<Row>,
    /// Whether a run that did not finish may have written the object.
    pub(super) is_announced: bool,
    /// When an object of the key was deleted without an invalidation, in epoch seconds.
    pub(super) departed_at: Option<i64>,
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
            (None, Some(_)) => prune == Prune::All && !self.is_announced,
            (None, None) => false,
        }
    }

    /// Whether the deployment may delete the object if the archive lacks it.
    pub(super) fn may_delete(&self, prune: Prune) -> bool {
        match prune {
            Prune::All => true,
            Prune::Owned => self.valid_row().is_some() || self.is_announced,
            Prune::Off => false,
        }
    }

    /// Whether an earlier deployment has removed the object from the site, and only retains it.
    pub(super) fn was_removed(&self) -> bool {
        self.valid_row().is_some_and(|row| row.removed_at.is_some())
    }
}

/// The object and row of one key; at least one of them is there.
struct Stored {
    key: String,
    object: Option<Object>,
    row: Option<Row>,
}

/// Walks over all keys, in their order.
pub(super) fn all_known<'a, 's>(
    index: &'a ArchiveIndex,
    listing: &'s Listing,
    manifest: &'s Manifest,
    live_prefix: &'s str,
) -> impl Iterator<Item = Known<'a, 's>> {
    let compare = move |entry: &&Entry, stored: &Stored| compare(live_prefix, &entry.name, &stored.key);
    merge(index.entries.iter(), all_stored(listing, manifest), compare).map(move |(entry, stored)| {
        let (stored_key, object, row) = match stored {
            Some(Stored { key, object, row }) => (Some(key), object, row),
            None => (None, None, None),
        };
        let is_announced = row.as_ref().is_some_and(Row::is_announced);
        let departed_at = row.as_ref().and_then(Row::departed_at);
        let row = row.filter(|_| !is_announced && departed_at.is_none());
        let recorded = object.as_ref().zip(row.as_ref());
        let is_valid = recorded.is_some_and(|(object, row)| is_valid(manifest, row, object));
        Known { entry, object, row, is_announced, departed_at, is_valid, stored_key, live_prefix }
    })
}

/// Walks over all keys of the listing and the manifest, in their order.
fn all_stored(listing: &Listing, manifest: &Manifest) -> impl Iterator<Item = Stored> {
    let pairs = merge(listing.iter(), manifest.iter(), |(object_key, _), (row_key, _)| object_key.cmp(row_key));
    pairs.filter_map(|(object, row)| {
        let ((object_key, object), (row_key, row)) = (object.unzip(), row.unzip());
        Some(Stored { key: object_key.or(row_key)?, object, row })
    })
}

/// Walks over two sorted lists side by side, and pairs the items that are equal.
fn merge<L, R>(
    left: impl Iterator<Item = L>,
    right: impl Iterator<Item = R>,
    compare: impl Fn(&L, &R) -> Ordering,
) -> impl Iterator<Item = (Option<L>, Option<R>)> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => compare(left, right),
        };
        Some((left.next_if(|_| order.is_le()), right.next_if(|_| order.is_ge())))
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
