//! What archive, listing and manifest know, key by key.
//!
//! All three are in the order of S3's keys, so that one walk side by side takes the place of a search for
//! each key in each of them.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::iter;

use crate::archive::{ArchiveIndex, Entry};
use crate::key::live_key;
use crate::listing::{Listing, Object};
use crate::manifest::{Manifest, Row};

/// What is known of one key; something always is.
pub(super) struct Known<'a, 's> {
    pub(super) entry: Option<&'a Entry>,
    pub(super) object: Option<Object>,
    /// Of the manifest, whether or not it still holds.
    pub(super) row: Option<Row>,
    is_valid: bool,
    /// As listing or manifest have it.
    stored_key: Option<String>,
    live_prefix: &'s str,
}

impl<'a> Known<'a, '_> {
    /// Without a live prefix the key of an entry is its name, and takes no memory of its own.
    pub(super) fn key(&self) -> Cow<'a, str> {
        match (self.entry, &self.stored_key) {
            (Some(entry), _) if self.live_prefix.is_empty() => Cow::Borrowed(&entry.name),
            (_, Some(key)) => Cow::Owned(key.clone()),
            (Some(entry), None) => Cow::Owned(live_key(self.live_prefix, &entry.name)),
            (None, None) => Cow::default(),
        }
    }

    /// The key, unless the entry alone has it.
    pub(super) fn stored_key(&self) -> Option<&str> {
        self.stored_key.as_deref()
    }

    /// The row, if the object is the one that it recorded.
    pub(super) fn valid_row(&self) -> Option<&Row> {
        self.row.as_ref().filter(|_| self.is_valid)
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
        // Where there is none, it comes last.
        let of_both = object_key.is_none().cmp(&row_key.is_none());
        let of_both = of_both.then_with(|| object_key.cmp(&row_key));
        let least = if of_both.is_le() { object_key } else { row_key };
        let order = match (entries.peek(), least) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(entry), Some(key)) => compare(live_prefix, &entry.name, key),
        };
        let entry = entries.next_if(|_| order.is_le());
        let object = objects.next_if(|_| order.is_ge() && of_both.is_le());
        let row = rows.next_if(|_| order.is_ge() && of_both.is_ge());
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

/// Compares the key of an entry with another key.
fn compare(live_prefix: &str, name: &str, key: &str) -> Ordering {
    match key.strip_prefix(live_prefix) {
        Some(rest) => name.cmp(rest),
        None => live_prefix.cmp(key),
    }
}

/// The row of `key`, if the listing still shows what it recorded.
pub(super) fn valid_row(manifest: &Manifest, key: &str, object: &Object) -> Option<Row> {
    manifest.get(key).filter(|row| is_valid(manifest, row, object))
}

/// Whether the object is the one of the row. What was written after the manifest was saved is someone
/// else's, even if it has the same bytes: its headers may be others.
fn is_valid(manifest: &Manifest, row: &Row, object: &Object) -> bool {
    let is_ours = row.etag == object.etag && row.size_bytes == object.size_bytes;
    is_ours && manifest.covers(object.modified_at)
}

/// Whether an earlier deployment has taken the object off the site, and only retains it.
pub(super) fn was_removed(known: &Known<'_, '_>) -> bool {
    known.valid_row().is_some_and(|row| row.removed_at.is_some())
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
