//! What has to be done to bring the live bucket to the archive's contents, as a value.
//!
//! Planning reads nothing: what the listing and the manifest cannot tell is asked for as [`questions`], and
//! the answers come back as [`Observed`]. Planning again after the plan was carried out gives nothing to do.

use std::collections::{BTreeMap, HashSet};

use crate::archive::{ArchiveIndex, Entry};
use crate::config::{CacheControl, Compare, Prune};
use crate::headers::{Headers, HeadersDigest};
use crate::key::live_key;
use crate::manifest::{Manifest, Row};

/// Deletes up to this many objects are never held back by the guard: small sites change wholesale.
const DELETES_ALWAYS_ALLOWED: usize = 100;

/// CopyObject copies at most 5 GB (S3 API, CopyObject); larger objects are written again.
const MAX_COPY_BYTES: u64 = 5_000_000_000;

/// The objects under the live prefix, by full key.
pub type Listing = BTreeMap<String, Object>;

/// One line of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub size_bytes: u64,
    /// Without quotes.
    pub etag: String,
}

impl Object {
    /// The MD5 of the contents, when the ETag is one: not for multipart, SSE-KMS and SSE-C objects.
    pub fn md5(&self) -> Option<&str> {
        let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        (self.etag.len() == 32 && self.etag.bytes().all(is_hex)).then_some(self.etag.as_str())
    }
}

/// What was learnt of one object by asking for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The full-object CRC-32 that S3 keeps of it, if any.
    pub crc32: Option<u32>,
    /// Whether the entry's MD5 is the object's, where that was compared.
    pub same_md5: Option<bool>,
    pub headers: HeadersDigest,
}

/// What the plan follows besides archive and bucket.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    pub live_prefix: &'a str,
    pub cache_control: &'a CacheControl,
    pub compare: Compare,
    pub prune: Prune,
    pub max_delete_percent: u8,
    pub allow_large_delete: bool,
    pub retain_removed_days: u32,
    /// Epoch seconds.
    pub now: i64,
}

impl Rules<'_> {
    pub fn headers(&self, key: &str) -> Headers {
        Headers::for_key(key, self.cache_control)
    }

    /// Whether an object that was asked for has still to be compared by its contents.
    pub fn needs_md5(&self, seen: &Observed) -> bool {
        self.compare == Compare::Content || seen.crc32.is_none()
    }
}

/// Lists by verdict; every key of archive and bucket is in exactly one of them.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Entries to put, in the order of their keys.
    pub puts: Vec<Put<'a>>,
    /// Objects with the right bytes and the wrong headers: copied onto themselves.
    pub copies: Vec<Copy<'a>>,
    pub deletes: Vec<Delete>,
    pub kept: Vec<(String, Row)>,
    /// Removed from the site, and kept for clients that still hold old pages.
    pub retained: Vec<(String, Row)>,
    /// Objects in the bucket that are not ours to delete.
    pub foreign: Vec<String>,
    /// Objects that others changed, added or removed since the last deployment.
    pub drift: usize,
    /// The write that follows could make an outdated row of the manifest look valid again.
    pub forgets: bool,
}

/// One entry to put.
#[derive(Debug)]
pub struct Put<'a> {
    pub entry: &'a Entry,
    pub key: String,
    /// The ETag of the object that it replaces; none for a new key.
    pub replaces: Option<String>,
    pub is_page: bool,
}

/// One object to give other headers.
#[derive(Debug)]
pub struct Copy<'a> {
    pub entry: &'a Entry,
    pub key: String,
    pub etag: String,
    pub is_page: bool,
}

/// One object to delete.
#[derive(Clone, Debug)]
pub struct Delete {
    pub key: String,
    /// The object that was listed; another one is not deleted.
    pub etag: String,
    /// The row it had, so that an interrupted run still knows whose it is.
    pub row: Option<Row>,
    /// Whether viewers may be served it from a cache that has to be told.
    pub is_stale: bool,
}

/// Writes that may run in parallel.
#[derive(Debug, Default)]
pub struct Writes<'a> {
    pub puts: Vec<Put<'a>>,
    pub copies: Vec<Copy<'a>>,
}

/// The keys of a plan by what happens to what viewers' caches hold of them.
#[derive(Debug, Default)]
pub struct Stale<'k> {
    pub changed: Vec<&'k str>,
    pub new: Vec<&'k str>,
    pub deleted: Vec<&'k str>,
    /// What a wildcard would evict in vain.
    pub kept: Vec<&'k str>,
}

/// The plan would delete more than the guard allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{deletes} of {objects} objects would be deleted")]
pub struct LargeDelete {
    pub deletes: usize,
    pub objects: usize,
}

/// The entries whose objects have to be asked for, because neither size nor manifest settles them.
pub fn questions<'a>(
    index: &'a ArchiveIndex,
    listing: &Listing,
    manifest: &Manifest,
    rules: &Rules,
) -> Vec<(String, &'a Entry)> {
    let keyed = index
        .entries
        .iter()
        .map(|entry| (live_key(rules.live_prefix, &entry.name), entry));
    keyed
        .filter(|(key, entry)| {
            listing.get(key).is_some_and(|object| {
                object.size_bytes == entry.size_bytes
                    && (rules.compare == Compare::Content
                        || valid_row(manifest, key, object).is_none())
            })
        })
        .collect()
}

/// The row of `key`, if the listing still shows what it recorded.
fn valid_row<'m>(manifest: &'m Manifest, key: &str, object: &Object) -> Option<&'m Row> {
    let row = manifest.get(key)?;
    (row.etag == object.etag && row.size_bytes == object.size_bytes).then_some(row)
}

impl<'a> Plan<'a> {
    /// Compares archive and bucket.
    ///
    /// # Errors
    /// When it would delete over 100 objects and over `max_delete_percent` of the site.
    pub fn new(
        index: &'a ArchiveIndex,
        listing: &Listing,
        manifest: &Manifest,
        observed: &BTreeMap<String, Observed>,
        rules: &Rules,
    ) -> Result<Self, LargeDelete> {
        let mut plan = Self {
            drift: drift(listing, manifest, rules.prune),
            ..Self::default()
        };
        let mut wanted = HashSet::with_capacity(index.entries.len());
        for entry in &index.entries {
            let key = live_key(rules.live_prefix, &entry.name);
            wanted.extend(listing.get_key_value(&key).map(|(key, _)| key.as_str()));
            plan.settle(entry, key, listing, manifest, observed, rules);
        }
        for (key, object) in listing {
            if !wanted.contains(key.as_str()) {
                plan.remove(key, object, manifest, rules);
            }
        }
        let deletes = plan.deletes.len();
        let is_large = deletes > DELETES_ALWAYS_ALLOWED
            && deletes * 100 > listing.len() * usize::from(rules.max_delete_percent);
        if is_large && !rules.allow_large_delete {
            return Err(LargeDelete {
                deletes,
                objects: listing.len(),
            });
        }
        Ok(plan)
    }

    /// Finds the verdict on one entry.
    fn settle(
        &mut self,
        entry: &'a Entry,
        key: String,
        listing: &Listing,
        manifest: &Manifest,
        observed: &BTreeMap<String, Observed>,
        rules: &Rules,
    ) {
        let headers = rules.headers(&key);
        let is_page = headers.is_page();
        let same_row = manifest
            .get(&key)
            .is_some_and(|row| row.crc32 == entry.crc32 && row.size_bytes == entry.size_bytes);
        let Some(object) = listing.get(&key) else {
            self.forgets |= same_row;
            self.puts.push(Put {
                entry,
                key,
                replaces: None,
                is_page,
            });
            return;
        };
        let (has_bytes, has_headers) = match (valid_row(manifest, &key, object), observed.get(&key))
        {
            _ if object.size_bytes != entry.size_bytes => (false, None),
            (_, Some(seen)) => {
                let same_crc32 = seen.crc32.map(|crc32| crc32 == entry.crc32);
                (
                    seen.same_md5.or(same_crc32).unwrap_or(false),
                    Some(seen.headers),
                )
            }
            (Some(row), None) => (row.crc32 == entry.crc32, Some(row.headers)),
            (None, None) => (false, None),
        };
        let digest = headers.digest();
        let etag = object.etag.clone();
        if has_bytes && has_headers == Some(digest) {
            let row = Row::written(entry, etag, &headers);
            self.kept.push((key, row));
        } else if has_bytes && entry.size_bytes <= MAX_COPY_BYTES {
            self.forgets |= same_row;
            self.copies.push(Copy {
                entry,
                key,
                etag,
                is_page,
            });
        } else {
            self.forgets |= same_row;
            self.puts.push(Put {
                entry,
                key,
                replaces: Some(etag),
                is_page,
            });
        }
    }

    /// Finds the verdict on one object that the archive does not have.
    fn remove(&mut self, key: &str, object: &Object, manifest: &Manifest, rules: &Rules) {
        let row = valid_row(manifest, key, object);
        let is_ours_to_delete = match rules.prune {
            Prune::All => true,
            Prune::Owned => row.is_some(),
            Prune::Off => false,
        };
        let is_immutable = row.is_some_and(|row| row.immutable);
        let removed_at = row.and_then(|row| row.removed_at).unwrap_or(rules.now);
        let kept_until = removed_at.saturating_add(i64::from(rules.retain_removed_days) * 86_400);
        match row {
            _ if !is_ours_to_delete => self.foreign.push(key.to_owned()),
            Some(row) if is_immutable && rules.now < kept_until => {
                let row = Row {
                    removed_at: Some(removed_at),
                    ..row.clone()
                };
                self.retained.push((key.to_owned(), row));
            }
            row => self.deletes.push(Delete {
                key: key.to_owned(),
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

    /// The manifest as long as nothing of the plan is done: what is kept, and what is still to be deleted.
    pub fn manifest(&self) -> Manifest {
        let pending = self
            .deletes
            .iter()
            .filter_map(|delete| Some((delete.key.clone(), delete.row.clone()?)));
        self.kept
            .iter()
            .chain(&self.retained)
            .cloned()
            .chain(pending)
            .collect()
    }

    /// What the plan makes stale.
    pub fn stale(&self) -> Stale<'_> {
        let replaced = self
            .puts
            .iter()
            .filter(|put| put.replaces.is_some())
            .map(|put| put.key.as_str());
        let rows = self
            .kept
            .iter()
            .chain(&self.retained)
            .map(|(key, _)| key.as_str());
        Stale {
            changed: replaced
                .chain(self.copies.iter().map(|copy| copy.key.as_str()))
                .collect(),
            new: self.new_keys(),
            deleted: self
                .deletes
                .iter()
                .filter(|it| it.is_stale)
                .map(|it| it.key.as_str())
                .collect(),
            kept: rows
                .chain(self.foreign.iter().map(String::as_str))
                .collect(),
        }
    }

    pub fn new_keys(&self) -> Vec<&str> {
        self.puts
            .iter()
            .filter(|put| put.replaces.is_none())
            .map(|put| put.key.as_str())
            .collect()
    }

    /// The writes in their order, pages after all that they refer to, and the deletes that follow them.
    pub fn into_waves(self) -> ([Writes<'a>; 2], Vec<Delete>) {
        let (page_puts, puts) = self.puts.into_iter().partition(|put| put.is_page);
        let (page_copies, copies) = self.copies.into_iter().partition(|copy| copy.is_page);
        let pages = Writes {
            puts: page_puts,
            copies: page_copies,
        };
        ([Writes { puts, copies }, pages], self.deletes)
    }
}

/// Counts the keys on which listing and manifest disagree; without a manifest there is nothing to compare.
fn drift(listing: &Listing, manifest: &Manifest, prune: Prune) -> usize {
    if manifest.is_empty() {
        return 0;
    }
    let touched = listing
        .iter()
        .filter(|(key, object)| match manifest.get(key) {
            Some(_) => valid_row(manifest, key, object).is_none(),
            // Where others may keep objects of their own, one more of them is no drift.
            None => prune == Prune::All,
        });
    let gone = manifest
        .iter()
        .filter(|(key, _)| !listing.contains_key(*key));
    touched.count() + gone.count()
}

impl Row {
    /// The row of an entry that is in the bucket with these headers.
    pub fn written(entry: &Entry, etag: String, headers: &Headers) -> Self {
        Self {
            size_bytes: entry.size_bytes,
            crc32: entry.crc32,
            etag,
            headers: headers.digest(),
            immutable: headers.is_immutable(),
            removed_at: None,
        }
    }
}
