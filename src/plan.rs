//! The plan: everything that brings the live bucket to the archive's contents, as a value.
//!
//! Planning reads nothing. [`to_inspect`] returns the objects that listing and manifest do not settle, and the results
//! come back as [`Inspection`]s. A second plan, made after the first was carried out, is empty.

mod drift;
mod guard;
mod inspection;
mod known;
mod rules;
mod tag_evidence;
mod verdict;
mod writes;

use std::collections::{BTreeMap, HashSet};

use crate::archive::ArchiveIndex;
use crate::invalidation::StaleKeys;
use crate::listing::Listing;
use crate::manifest::{Manifest, Row};

use guard::Guard;
use known::all_known;
use verdict::{Verdict, Verdicts};

pub use drift::Drift;
pub use guard::LargeDelete;
pub use inspection::{Checksum, Inspection, removed_without_row, to_inspect};
pub use rules::{Rules, Wanted};
pub use tag_evidence::TagEvidence;
pub use verdict::{MAX_DEPARTED, is_due, is_forgotten};
pub use writes::{Delete, HeaderChange, Put, Role, Wave, Waves};

/// The plan of one deployment, with one list per verdict.
///
/// Every key of archive and bucket is in exactly one of `puts`, `header_changes`, `deletes`, `retained` and `foreign`,
/// or is only counted because it is kept.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// The entries to put, sorted by key.
    pub puts: Vec<Put<'a>>,
    /// The objects with the right bytes and the wrong headers.
    pub header_changes: Vec<HeaderChange<'a>>,
    pub deletes: Vec<Delete>,
    /// How many objects are already as the rules want them.
    pub kept: usize,
    /// The rows of kept objects that the manifest lacks, or has otherwise.
    noted: Vec<(String, Row)>,
    /// The objects that leave the site but stay in the bucket for clients with old pages.
    pub retained: Vec<(String, Row)>,
    /// The keys of objects that the deployment must not delete, and whose rows are wrong.
    foreign: Vec<String>,
    /// The foreign keys that had an object of ours. Caches may have that one.
    taken: Vec<String>,
    /// The keys that the manifest has and the bucket lacks. Someone deleted the object without an invalidation.
    missing: Vec<String>,
    /// The keys that come back after an object of theirs was deleted without an invalidation.
    returning: Vec<String>,
    /// The keys of kept objects that are not the ones that the manifest has: others have written them, or a run whose
    /// batches are lost.
    unrecorded: Vec<String>,
    /// The keys whose rows say nothing any more: an unfinished run announced them and did not write them, or they
    /// departed so long ago that no cache has them.
    pointless: Vec<String>,
    /// The objects that others changed, added or removed since the last deployment.
    pub drift: Drift,
    /// Whether a write could make an outdated row of the manifest look valid again. The amended manifest must then be
    /// saved before the first write.
    pub revives_rows: bool,
}

impl<'a> Plan<'a> {
    /// Compares archive and bucket.
    ///
    /// # Errors
    /// The plan would take most of the site away, or its index document, or replace it by a folder.
    pub fn new(
        index: &'a ArchiveIndex,
        listing: &Listing,
        manifest: &Manifest,
        inspections: &BTreeMap<String, Inspection>,
        rules: &Rules,
    ) -> Result<Self, LargeDelete> {
        let mut plan = Self::default();
        let mut guard = Guard::new(index, rules);
        let mut verdicts = Verdicts::new(rules, inspections);
        for known in all_known(index, listing, manifest, rules.live_prefix) {
            // Without a manifest there is nothing to compare the listing with.
            if !manifest.is_empty() && known.is_drift(rules.prune) {
                plan.drift.note(&known.key());
            }
            if known.is_object_missing() {
                plan.missing.push(known.key().into_owned());
            }
            if let Some(departed_at) = known.departed_at {
                if is_forgotten(departed_at, rules.now) {
                    plan.pointless.push(known.key().into_owned());
                } else if known.entry.is_some() && known.object.is_none() {
                    plan.returning.push(known.key().into_owned());
                }
            }
            let verdict = verdicts.verdict(&known);
            guard.count(&known, &verdict);
            match verdict {
                Verdict::Put(put) => {
                    plan.revives_rows |= verdicts.revives_row(&known);
                    plan.puts.push(put);
                }
                Verdict::Headers(change) => {
                    plan.revives_rows |= verdicts.revives_row(&known);
                    plan.header_changes.push(change);
                }
                Verdict::Kept(row) => {
                    plan.kept += 1;
                    // Without a manifest, everything is evicted anyway.
                    if !manifest.is_empty() && known.valid_row().is_none() {
                        plan.unrecorded.push(known.key().into_owned());
                    }
                    if known.row.as_ref() != Some(&row) {
                        plan.noted.push((known.key().into_owned(), row));
                    }
                }
                Verdict::Deleted(delete) => plan.deletes.push(delete),
                Verdict::Retained(row) => plan.retained.push((known.key().into_owned(), row)),
                // A departed object stays known, whatever others put in its place.
                Verdict::Foreign if known.departed_at.is_none() => {
                    if known.row.is_some() && known.valid_row().is_none() {
                        plan.taken.push(known.key().into_owned());
                    }
                    plan.foreign.push(known.key().into_owned());
                }
                Verdict::Foreign => {}
                Verdict::Missing if known.is_announced => plan.pointless.push(known.key().into_owned()),
                Verdict::Missing => {}
            }
        }
        guard.check(rules)?;
        Ok(plan)
    }

    /// Whether the bucket is already as the rules want it.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.header_changes.is_empty() && self.deletes.is_empty()
    }

    /// Changes the manifest that the plan was made from to one that is right before any of the plan is carried out.
    ///
    /// It then has the rows of objects that are kept, retained, or still to be deleted. Returns whether a row has
    /// changed.
    pub fn amend(&self, manifest: &mut Manifest) -> bool {
        let deleted = self.deletes.iter().filter(|delete| delete.row.is_none());
        // A departed object is remembered until its key is written.
        let is_returning = |key: &&str| self.returning.binary_search_by(|known| known.as_str().cmp(key)).is_ok();
        let lost = self
            .written_keys()
            .filter(|key| !is_returning(key))
            .chain(deleted.map(|delete| &*delete.key))
            .chain(self.foreign.iter().chain(&self.missing).chain(&self.pointless).map(String::as_str));
        let seen = self.noted.iter().chain(&self.retained);
        let changes = lost.map(|key| (key, None)).chain(seen.map(|(key, row)| (key.as_str(), Some(row))));
        let changes: Vec<(&str, Option<Row>)> = changes
            .filter(|(key, row)| manifest.get(key).as_ref() != *row)
            .map(|(key, row)| (key, row.cloned()))
            .collect();
        let has_changed = !changes.is_empty();
        manifest.change(changes);
        // The rows now come from the listing, which is younger than any saved manifest.
        manifest.set_saved_at(None);
        has_changed
    }

    /// Returns the keys that the plan writes.
    pub fn written_keys(&self) -> impl Iterator<Item = &str> {
        let puts = self.puts.iter().map(|put| &*put.key);
        puts.chain(self.header_changes.iter().map(|change| &*change.key))
    }

    /// Returns the keys that go stale, given the listing that the plan was made from.
    ///
    /// It fills `kept` with the keys whose cached copies stay right, and borrows them. These include immutable objects
    /// that are deleted.
    pub fn stale<'k>(&'k self, listing: &Listing, kept: &'k mut Vec<String>) -> StaleKeys<'k> {
        let replaced = self.puts.iter().filter(|put| put.replaces.is_some()).map(|put| &*put.key);
        let changed: Vec<&str> = replaced
            .chain(self.header_changes.iter().map(|change| &*change.key))
            .chain(
                self.missing
                    .iter()
                    .chain(&self.returning)
                    .chain(&self.unrecorded)
                    .chain(&self.taken)
                    .map(String::as_str),
            )
            .collect();
        let deleted = self.deletes.iter().filter(|delete| delete.is_stale);
        let deleted: Vec<&str> = deleted.map(|delete| &*delete.key).collect();
        let stale: HashSet<&str> = changed.iter().chain(&deleted).copied().collect();
        let new = self.new_keys();
        let last: HashSet<&str> = self.entry_points().collect();
        let is_last = |key: &&str| last.contains(key);
        let (changed_entry_points, changed) = changed.into_iter().partition(is_last);
        if !(stale.is_empty() && new.is_empty()) {
            let keys = listing.iter().map(|(key, _)| key);
            kept.reserve_exact(listing.len());
            kept.extend(keys.filter(|key| !stale.contains(key.as_str())));
        }
        let (new_entry_points, new) = new.into_iter().partition(is_last);
        StaleKeys {
            changed,
            new,
            changed_entry_points,
            new_entry_points,
            deleted,
            kept: kept.iter().map(String::as_str).collect(),
            unknown_under: None,
        }
    }

    /// Returns the keys of the entry points that the plan writes.
    pub fn entry_points(&self) -> impl Iterator<Item = &str> {
        let puts = self.puts.iter().map(|put| (&*put.key, put.role));
        let header_changes = self.header_changes.iter().map(|change| (&*change.key, change.role));
        puts.chain(header_changes).filter(|(_, role)| *role == Role::EntryPoint).map(|(key, _)| key)
    }

    pub fn new_keys(&self) -> Vec<&str> {
        self.puts.iter().filter(|put| put.replaces.is_none()).map(|put| &*put.key).collect()
    }

    /// Returns the waves of writes, and the deletes.
    ///
    /// Pages may refer to assets, and entry points send browsers to both.
    pub fn into_waves(self) -> Waves<'a> {
        let Self { mut puts, mut header_changes, deletes, .. } = self;
        // There may be a million writes, so they are sorted in place. Their order within a wave is that of the archive,
        // so that each turn reads one part of it.
        puts.sort_unstable_by_key(|put| (put.role, put.entry.header_offset));
        header_changes.sort_unstable_by_key(|change| (change.role, change.entry.header_offset));
        // The last wave is split off first.
        let mut split_off = |role| Wave {
            puts: puts.split_off(puts.partition_point(|put| put.role < role)),
            header_changes: header_changes.split_off(header_changes.partition_point(|change| change.role < role)),
        };
        let (entry_points, pages) = (split_off(Role::EntryPoint), split_off(Role::Page));
        Waves { assets: Wave { puts, header_changes }, pages, entry_points, deletes }
    }
}

#[cfg(test)]
mod tests;
