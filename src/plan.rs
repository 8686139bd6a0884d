//! What has to be done to bring the live bucket to the archive's contents, as a value.
//!
//! Planning reads nothing: what the listing and the manifest cannot tell is asked for as [`questions`], and
//! the answers come back as [`Observed`]. Planning again after the plan was carried out gives nothing to do.

mod known;
mod questions;
mod rules;
mod tag_evidence;
mod writes;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::archive::{ArchiveIndex, Entry};
use crate::config::{Compare, Prune};
use crate::headers::{Headers, HeadersDigest};
use crate::invalidation::StaleKeys;
use crate::listing::{Listing, Object};
use crate::manifest::{Manifest, Row};

use known::{Known, all_known, was_removed};

pub use questions::{Observed, Sum, questions};
pub use rules::{Rules, Wanted};
pub use tag_evidence::TagEvidence;
pub use writes::{Delete, Put, SelfCopy, Writes};

/// Deletes up to this many objects are never held back by the guard: small sites change wholesale.
const DELETES_ALWAYS_ALLOWED: usize = 100;

/// CopyObject copies at most 5 GB (S3 API, CopyObject); larger objects are written again.
const MAX_COPY_BYTES: u64 = 5_000_000_000;

/// Lists by verdict; every key of archive and bucket is in exactly one of them, or is kept and only counted.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Entries to put, in the order of their keys.
    pub puts: Vec<Put<'a>>,
    /// Objects with the right bytes and the wrong headers: copied onto themselves.
    pub copies: Vec<SelfCopy<'a>>,
    pub deletes: Vec<Delete>,
    /// How many objects are as the archive wants them.
    pub kept: usize,
    /// The rows of such objects of which the manifest has none, or another one.
    pub noted: Vec<(String, Row)>,
    /// Removed from the site, and kept for clients that still hold old pages.
    pub retained: Vec<(String, Row)>,
    /// Objects in the bucket that are not ours to delete.
    pub foreign: Vec<String>,
    /// Keys that the manifest knows and the bucket has no longer: someone removed the object and told no cache.
    pub missed: Vec<String>,
    /// The objects of the site that it takes away, and those that there are; what an earlier deployment has
    /// removed is no part of the site any more.
    removes: usize,
    objects: usize,
    /// Objects that others changed, added or removed since the last deployment.
    pub drift: usize,
    /// The write that follows could make an outdated row of the manifest look valid again.
    pub forgets: bool,
}

/// The plan would take more off the site than the guard allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{deletes} of {objects} objects would be taken off the site")]
pub struct LargeDelete {
    pub deletes: usize,
    pub objects: usize,
}

/// Whether what left the site at `removed_at` has been kept for long enough; both times in epoch seconds.
pub fn is_due(removed_at: i64, retain_removed_days: u32, now: i64) -> bool {
    now >= removed_at.saturating_add(i64::from(retain_removed_days) * 86_400)
}

impl<'a> Plan<'a> {
    /// Compares archive and bucket.
    ///
    /// # Errors
    /// When it would take over 100 objects and over `max_delete_percent` of the site away.
    pub fn new(
        index: &'a ArchiveIndex,
        listing: &Listing,
        manifest: &Manifest,
        observed: &BTreeMap<String, Observed>,
        rules: &Rules,
    ) -> Result<Self, LargeDelete> {
        let mut plan = Self::default();
        let mut digests = Digests::default();
        for known in all_known(index, listing, manifest, rules.live_prefix) {
            // Without a manifest there is nothing to compare with.
            plan.drift += usize::from(!manifest.is_empty() && is_drift(&known, rules.prune));
            if known.object.is_none() && known.row.is_some() {
                plan.missed.push(known.key().into_owned());
            }
            if known.object.is_some() && !was_removed(&known) {
                plan.objects += 1;
            }
            match (known.entry, &known.object) {
                (Some(entry), object) => {
                    plan.settle(entry, &known, object.as_ref(), observed, rules, &mut digests);
                }
                (None, Some(object)) => plan.remove(&known, object, rules),
                (None, None) => {}
            }
        }
        plan.guard(rules).map(|()| plan)
    }

    /// Holds back what would take most of the site away, whether its objects go at once or are retained first.
    fn guard(&self, rules: &Rules) -> Result<(), LargeDelete> {
        let &Self { removes, objects, .. } = self;
        let is_large =
            removes > DELETES_ALWAYS_ALLOWED && removes * 100 > objects * usize::from(rules.max_delete_percent);
        if is_large && !rules.allow_large_delete {
            return Err(LargeDelete { deletes: removes, objects });
        }
        Ok(())
    }

    /// Finds the verdict on one entry.
    fn settle(
        &mut self,
        entry: &'a Entry,
        known: &Known<'a, '_>,
        object: Option<&Object>,
        observed: &BTreeMap<String, Observed>,
        rules: &Rules,
        digests: &mut Digests,
    ) {
        let wanted = rules.wanted(entry);
        let is_page = wanted.headers.is_page();
        let same_row = (known.row.as_ref()).is_some_and(|row| wanted.is_content_of(row, entry));
        let Some(object) = object else {
            self.forgets |= same_row;
            self.puts.push(Put { entry, key: known.key(), replaces: None, is_page });
            return;
        };
        let seen = known.stored_key().and_then(|key| observed.get(key));
        let (has_bytes, has_headers) = match (known.valid_row(), seen) {
            (_, Some(seen)) => {
                let same_crc32 = seen.crc32 == Some(entry.crc32);
                (seen.same_bytes.unwrap_or(same_crc32), Some(seen.headers))
            }
            (Some(row), None) if rules.compare == Compare::Crc32 => {
                (wanted.is_content_of(row, entry), Some(row.headers))
            }
            _ => (false, None),
        };
        let digest = digests.of(&wanted.headers);
        if has_bytes && has_headers == Some(digest) {
            self.kept += 1;
            let etag = object.etag.clone();
            let row = Row::of(entry, object.size_bytes, etag, &wanted, digest);
            if known.row.as_ref() != Some(&row) {
                self.noted.push((known.key().into_owned(), row));
            }
        } else if has_bytes && object.size_bytes <= MAX_COPY_BYTES {
            self.forgets |= same_row;
            self.copies.push(SelfCopy {
                entry,
                key: known.key(),
                etag: object.etag.clone(),
                size_bytes: object.size_bytes,
                is_page,
            });
        } else {
            self.forgets |= same_row;
            self.puts.push(Put { entry, key: known.key(), replaces: Some(object.etag.clone()), is_page });
        }
    }

    /// Finds the verdict on one object that the archive does not have.
    fn remove(&mut self, known: &Known<'_, '_>, object: &Object, rules: &Rules) {
        let (key, row) = (known.key().into_owned(), known.valid_row());
        let is_ours_to_delete = match rules.prune {
            Prune::All => true,
            Prune::Owned => row.is_some(),
            Prune::Off => false,
        };
        if !is_ours_to_delete {
            self.foreign.push(key);
            return;
        }
        self.removes += usize::from(!was_removed(known));
        let is_immutable = row.is_some_and(|row| row.immutable);
        let removed_at = row.and_then(|row| row.removed_at).unwrap_or(rules.now);
        match row {
            Some(row) if is_immutable && !is_due(removed_at, rules.retain_removed_days, rules.now) => {
                let row = Row { removed_at: Some(removed_at), ..row.clone() };
                self.retained.push((key, row));
            }
            row => self.deletes.push(Delete {
                key,
                etag: object.etag.clone(),
                row: row.cloned(),
                // What a cache holds of an immutable object is what every page that names it wants.
                is_stale: !is_immutable,
            }),
        }
    }

    /// Whether the bucket is already as the archive wants it.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.copies.is_empty() && self.deletes.is_empty()
    }

    /// Brings the manifest that the plan was made from to what holds as long as nothing of the plan is done:
    /// what is kept, and what is still to be deleted. Tells whether a row has changed.
    pub fn amend(&self, manifest: &mut Manifest) -> bool {
        let written = self.puts.iter().map(|put| &*put.key);
        let deleted = self.deletes.iter().filter(|delete| delete.row.is_none());
        let lost = written
            .chain(self.copies.iter().map(|copy| &*copy.key))
            .chain(deleted.map(|delete| &*delete.key))
            .chain(self.foreign.iter().chain(&self.missed).map(String::as_str));
        let seen = self.noted.iter().chain(&self.retained);
        let changes = lost.map(|key| (key, None)).chain(seen.map(|(key, row)| (key.as_str(), Some(row))));
        let changes: Vec<(&str, Option<Row>)> = changes
            .filter(|(key, row)| manifest.get(key).as_ref() != *row)
            .map(|(key, row)| (key, row.cloned()))
            .collect();
        let has_changed = !changes.is_empty();
        manifest.change(changes);
        // The listing that it was compared with is younger than any manifest.
        manifest.date(None);
        has_changed
    }

    /// What the plan makes stale, of the listing that it was made from. `kept` holds the keys whose cached
    /// copies stay good, though the object of an immutable one may be deleted.
    pub fn stale<'k>(&'k self, listing: &Listing, kept: &'k mut Vec<String>) -> StaleKeys<'k> {
        let replaced = self.puts.iter().filter(|put| put.replaces.is_some()).map(|put| &*put.key);
        let changed: Vec<&str> = replaced
            .chain(self.copies.iter().map(|copy| &*copy.key))
            .chain(self.missed.iter().map(String::as_str))
            .collect();
        let deleted = self.deletes.iter().filter(|delete| delete.is_stale);
        let deleted: Vec<&str> = deleted.map(|delete| &*delete.key).collect();
        let gone: HashSet<&str> = changed.iter().chain(&deleted).copied().collect();
        let new = self.new_keys();
        if !(gone.is_empty() && new.is_empty()) {
            let keys = listing.iter().map(|(key, _)| key);
            kept.reserve_exact(listing.len());
            kept.extend(keys.filter(|key| !gone.contains(key.as_str())));
        }
        StaleKeys { new, deleted, kept: kept.iter().map(String::as_str).collect(), changed }
    }

    pub fn new_keys(&self) -> Vec<&str> {
        self.puts.iter().filter(|put| put.replaces.is_none()).map(|put| &*put.key).collect()
    }

    /// The writes in their order, pages after all that they refer to, and the deletes that follow them.
    pub fn into_waves(self) -> ([Writes<'a>; 2], Vec<Delete>) {
        let Self { mut puts, mut copies, deletes, .. } = self;
        // In place: there may be a million of them. As they lie in the archive, of which each turn then reads a part.
        puts.sort_unstable_by_key(|put| (put.is_page, put.entry.header_offset));
        copies.sort_unstable_by_key(|copy| (copy.is_page, copy.entry.header_offset));
        let pages = Writes {
            puts: puts.split_off(puts.partition_point(|put| !put.is_page)),
            copies: copies.split_off(copies.partition_point(|copy| !copy.is_page)),
        };
        ([Writes { puts, copies }, pages], deletes)
    }
}

/// Whether listing and manifest disagree.
fn is_drift(known: &Known<'_, '_>, prune: Prune) -> bool {
    match (&known.row, &known.object) {
        (Some(_), _) => known.valid_row().is_none(),
        // Where others may keep objects of their own, one more of them is no drift.
        (None, Some(_)) => prune == Prune::All,
        (None, None) => false,
    }
}

/// The digests of the headers that were met last: most files of a site share a few sets of them.
#[derive(Default)]
struct Digests(HashMap<Headers, HeadersDigest>);

impl Digests {
    /// A `_headers` file can give every file headers of its own.
    const REMEMBERED: usize = 1_000;

    fn of(&mut self, headers: &Headers) -> HeadersDigest {
        if let Some(digest) = self.0.get(headers) {
            return *digest;
        }
        if self.0.len() == Self::REMEMBERED {
            self.0.clear();
        }
        let digest = headers.digest();
        self.0.insert(headers.clone(), digest);
        digest
    }
}

#[cfg(test)]
mod tests;
