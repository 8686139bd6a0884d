//! What has to be done to bring the live bucket to the archive's contents, as a value.
//!
//! Planning reads nothing: what the listing and the manifest cannot tell is asked for as [`questions`], and
//! the answers come back as [`Observed`]. Planning again after the plan was carried out gives nothing to do.

mod known;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::archive::{ArchiveIndex, Encoding, Entry};
use crate::cache_tag::CacheTags;
use crate::config::{Compare, Prune};
use crate::etag::Etag;
use crate::headers::{HeaderRules, Headers, HeadersDigest};
use crate::listing::{Listing, Object};
use crate::manifest::{Manifest, Row};

use known::{Known, all_known};

/// Deletes up to this many objects are never held back by the guard: small sites change wholesale.
const DELETES_ALWAYS_ALLOWED: usize = 100;

/// CopyObject copies at most 5 GB (S3 API, CopyObject); larger objects are written again.
const MAX_COPY_BYTES: u64 = 5_000_000_000;

/// What was learnt of one object by asking for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The full-object CRC-32 that S3 keeps of it, if any.
    pub crc32: Option<u32>,
    /// Whether the object has the bytes that it is to have, where they were compared.
    pub same_bytes: Option<bool>,
    pub headers: HeadersDigest,
}

/// What S3 knows of an object's bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sum {
    /// In hexadecimal, as in an ETag.
    Md5(String),
    Crc32(u32),
}

/// What the plan follows besides archive and bucket.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    pub live_prefix: &'a str,
    pub headers: &'a HeaderRules,
    pub tags: &'a CacheTags,
    /// Whether compressible text is stored as gzip.
    pub gzip: bool,
    pub compare: Compare,
    pub prune: Prune,
    pub max_delete_percent: u8,
    pub allow_large_delete: bool,
    pub retain_removed_days: u32,
    /// Epoch seconds.
    pub now: i64,
}

impl Rules<'_> {
    /// How an entry is stored.
    pub fn wanted(&self, entry: &Entry) -> Wanted {
        let mut headers = self.headers_of(&entry.name);
        let is_gzip =
            self.gzip && headers.content_encoding.is_none() && headers.is_text() && Encoding::can_be_gzip(entry);
        let encoding = if is_gzip {
            headers.content_encoding = Some("gzip".to_owned());
            Encoding::Gzip
        } else {
            Encoding::Identity
        };
        Wanted { headers, encoding }
    }

    /// The headers that a file of this name gets, whether or not the archive has it, as long as it is not
    /// compressed.
    pub fn headers_of(&self, name: &str) -> Headers {
        self.tags.mark(name, self.headers.headers(name))
    }

    /// By what an object that was asked for is to be compared with the bytes of its entry, which have to be
    /// read for it; `None` where the archive's directory settles it, or nothing can.
    pub fn comparison(&self, object: &Object, seen: &Observed, encoding: Encoding) -> Option<Sum> {
        let md5 = object.md5().map(Sum::Md5);
        let crc32 = seen.crc32.map(Sum::Crc32);
        match (self.compare, encoding) {
            (Compare::Content, _) => md5.or(crc32),
            (Compare::Crc32, Encoding::Identity) if crc32.is_some() => None,
            // What looks like an MD5 need not be one: the CRC-32 is surer.
            (Compare::Crc32, _) => crc32.or(md5),
        }
    }
}

/// How an entry is to be stored in the live bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub headers: Headers,
    pub encoding: Encoding,
}

impl Wanted {
    /// Whether the object of this row has the entry's contents, in the encoding that is wanted.
    fn is_content_of(&self, row: &Row, entry: &Entry) -> bool {
        let size_bytes = match self.encoding {
            Encoding::Identity if row.gzip_of.is_none() => Some(row.size_bytes),
            Encoding::Identity => None,
            Encoding::Gzip => row.gzip_of,
        };
        row.crc32 == entry.crc32 && size_bytes == Some(entry.size_bytes)
    }
}

/// Lists by verdict; every key of archive and bucket is in exactly one of them, or is kept and only counted.
#[derive(Debug, Default)]
pub struct Plan<'a> {
    /// Entries to put, in the order of their keys.
    pub puts: Vec<Put<'a>>,
    /// Objects with the right bytes and the wrong headers: copied onto themselves.
    pub copies: Vec<Copy<'a>>,
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

/// One entry to put.
#[derive(Debug)]
pub struct Put<'a> {
    pub entry: &'a Entry,
    pub key: Cow<'a, str>,
    /// The ETag of the object that it replaces; none for a new key.
    pub replaces: Option<Etag>,
    pub is_page: bool,
}

/// One object to give other headers.
#[derive(Debug)]
pub struct Copy<'a> {
    pub entry: &'a Entry,
    pub key: Cow<'a, str>,
    pub etag: Etag,
    pub size_bytes: u64,
    pub is_page: bool,
}

/// One object to delete.
#[derive(Clone, Debug)]
pub struct Delete {
    pub key: String,
    /// The object that was listed; another one is not deleted.
    pub etag: Etag,
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

impl Writes<'_> {
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.copies.is_empty()
    }
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

/// The plan would take more off the site than the guard allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{deletes} of {objects} objects would be taken off the site")]
pub struct LargeDelete {
    pub deletes: usize,
    pub objects: usize,
}

/// The entries whose objects have to be asked for, because neither size nor manifest settles them, and the
/// encoding that these are to have.
pub fn questions<'a>(
    index: &'a ArchiveIndex,
    listing: &Listing,
    manifest: &Manifest,
    rules: &Rules,
) -> Vec<(String, &'a Entry, Encoding)> {
    all_known(index, listing, manifest, rules.live_prefix)
        .filter_map(|known| {
            let (entry, object) = (known.entry?, known.object.as_ref()?);
            if rules.compare == Compare::Crc32 && known.valid_row().is_some() {
                return None;
            }
            let encoding = rules.wanted(entry).encoding;
            (object.size_bytes == encoding.size_bytes(entry)).then(|| (known.key().into_owned(), entry, encoding))
        })
        .collect()
}

/// The row of `key`, if the listing still shows what it recorded.
pub fn valid_row(manifest: &Manifest, key: &str, object: &Object) -> Option<Row> {
    manifest.get(key).filter(|row| is_valid(manifest, row, object))
}

/// Whether the object is the one of the row. What was written after the manifest was saved is someone
/// else's, even if it has the same bytes: its headers may be others.
fn is_valid(manifest: &Manifest, row: &Row, object: &Object) -> bool {
    let is_ours = row.etag == object.etag && row.size_bytes == object.size_bytes;
    is_ours && manifest.covers(object.modified_at)
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
            self.copies.push(Copy {
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
    pub fn stale<'k>(&'k self, listing: &Listing, kept: &'k mut Vec<String>) -> Stale<'k> {
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
        Stale { new, deleted, kept: kept.iter().map(String::as_str).collect(), changed }
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

/// Whether an earlier deployment has taken the object off the site, and only retains it.
fn was_removed(known: &Known<'_, '_>) -> bool {
    known.valid_row().is_some_and(|row| row.removed_at.is_some())
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

impl Row {
    /// The row of an entry whose object is in the bucket as it was wanted.
    pub fn written(entry: &Entry, size_bytes: u64, etag: Etag, wanted: &Wanted) -> Self {
        let digest = wanted.headers.digest();
        Self::of(entry, size_bytes, etag, wanted, digest)
    }

    fn of(entry: &Entry, size_bytes: u64, etag: Etag, wanted: &Wanted, headers: HeadersDigest) -> Self {
        Self {
            size_bytes,
            crc32: entry.crc32,
            etag,
            headers,
            immutable: wanted.headers.is_immutable(),
            removed_at: None,
            gzip_of: (wanted.encoding == Encoding::Gzip).then_some(entry.size_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::collection::btree_map;
    use proptest::prelude::*;

    use super::*;
    use crate::archive::{Limits, Parsed};
    use crate::config::CacheControl;

    const NOW: i64 = 1_795_341_300;
    const DAY: i64 = 86_400;

    static NO_TAGS: LazyLock<CacheTags> = LazyLock::new(CacheTags::default);

    fn header_rules(assets: &str) -> HeaderRules {
        let cache_control = CacheControl { pages: "max-age=0".to_owned(), assets: assets.to_owned() };
        HeaderRules::new(cache_control, &[], None)
    }

    fn rules(headers: &HeaderRules) -> Rules<'_> {
        Rules {
            live_prefix: "",
            headers,
            gzip: false,
            tags: &NO_TAGS,
            compare: Compare::Crc32,
            prune: Prune::All,
            max_delete_percent: 90,
            allow_large_delete: false,
            retain_removed_days: 0,
            now: NOW,
        }
    }

    /// An index as the parser makes it: of a real archive.
    fn index(files: &BTreeMap<String, String>) -> ArchiveIndex {
        use std::io::Write;
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, body) in files {
            zip.start_file(name.as_str(), zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(body.as_bytes()).unwrap();
        }
        let zip = zip.finish().unwrap().into_inner();
        match ArchiveIndex::parse(zip.len() as u64, &zip, "", &Limits::default()).unwrap() {
            Parsed::Index(index) => index,
            Parsed::NeedsFrom(_) => unreachable!("the whole archive was given"),
        }
    }

    /// A bucket as a model: what S3 would tell of each object.
    #[derive(Clone, Debug, Default)]
    struct Bucket(BTreeMap<String, (String, Headers)>);

    impl Bucket {
        fn etag(body: &str) -> Etag {
            format!("{:032x}", crc32fast::hash(body.as_bytes())).into()
        }

        fn listing(&self) -> Listing {
            let object =
                |body: &str| Object { size_bytes: body.len() as u64, etag: Self::etag(body), modified_at: None };
            self.0.iter().map(|(key, (body, _))| (key, object(body))).collect()
        }

        fn observe(&self, key: &str) -> Observed {
            let (body, headers) = &self.0[key];
            Observed { crc32: Some(crc32fast::hash(body.as_bytes())), same_bytes: None, headers: headers.digest() }
        }

        /// Carries a plan out; gives the manifest that a run would write.
        fn apply(
            &mut self,
            plan: &Plan,
            before: &Manifest,
            files: &BTreeMap<String, String>,
            rules: &Rules,
        ) -> Manifest {
            let mut manifest = amended(plan, before);
            let mut changes = Vec::new();
            for put in &plan.puts {
                let before = self.0.get(&*put.key).map(|(body, _)| Self::etag(body));
                assert_eq!(put.replaces, before, "the condition on {} holds", put.key);
                let body = files[&*put.entry.name].clone();
                let wanted = rules.wanted(put.entry);
                let row = Row::written(put.entry, body.len() as u64, Self::etag(&body), &wanted);
                changes.push((&*put.key, Some(row)));
                self.0.insert(put.key.to_string(), (body, wanted.headers));
            }
            for copy in &plan.copies {
                let wanted = rules.wanted(copy.entry);
                let row = Row::written(copy.entry, copy.size_bytes, copy.etag.clone(), &wanted);
                changes.push((&*copy.key, Some(row)));
                self.0.get_mut(&*copy.key).unwrap().1 = wanted.headers;
            }
            for delete in &plan.deletes {
                self.0.remove(&delete.key);
                changes.push((&*delete.key, None));
            }
            manifest.change(changes);
            manifest
        }
    }

    fn amended(plan: &Plan, before: &Manifest) -> Manifest {
        let mut manifest = before.clone();
        let has_changed = plan.amend(&mut manifest);
        assert_eq!(has_changed, manifest != *before);
        manifest
    }

    fn plan<'a>(index: &'a ArchiveIndex, bucket: &Bucket, manifest: &Manifest, rules: &Rules) -> Plan<'a> {
        let listing = bucket.listing();
        let asked = questions(index, &listing, manifest, rules);
        let observed = asked.into_iter().map(|(key, ..)| (key.clone(), bucket.observe(&key))).collect();
        Plan::new(index, &listing, manifest, &observed, rules).unwrap()
    }

    fn site() -> impl Strategy<Value = BTreeMap<String, String>> {
        btree_map("[ab]{1,2}\\.(html|js)", "[xy]{0,2}", 1..6)
    }

    /// Other people's objects: right or wrong bytes, right or wrong headers, keys of ours or not.
    fn foreign() -> impl Strategy<Value = BTreeMap<String, (String, bool)>> {
        btree_map("[ab]{1,2}\\.(html|js)", ("[xy]{0,2}", any::<bool>()), 0..6)
    }

    proptest! {
        #[test]
        fn applying_a_plan_gives_the_archive_and_planning_again_gives_nothing_to_do(
            old in site(), new in site(), foreign in foreign(), has_manifest in any::<bool>(), assets in "max-age=[12]",
        ) {
            let first = header_rules("max-age=1");
            let mut bucket = Bucket::default();
            let old_index = index(&old);
            let manifest = {
                let plan = plan(&old_index, &bucket, &Manifest::default(), &rules(&first));
                bucket.apply(&plan, &Manifest::default(), &old, &rules(&first))
            };
            for (key, (body, has_headers)) in foreign {
                let wrong = Headers { content_type: "text/plain".to_owned(), ..first.headers(&key) };
                let headers = if has_headers { first.headers(&key) } else { wrong };
                // A change of headers alone, by others, is what nobody can see in a listing.
                let is_visible = bucket.0.get(&key).is_none_or(|(before, _)| *before != body);
                if is_visible {
                    bucket.0.insert(key, (body, headers));
                }
            }
            let manifest = if has_manifest { manifest } else { Manifest::default() };

            let second = header_rules(&assets);
            let rules = rules(&second);
            let new_index = index(&new);
            let changes = plan(&new_index, &bucket, &manifest, &rules);
            let before = bucket.clone();
            let listed = bucket.listing();
            let manifest = bucket.apply(&changes, &manifest, &new, &rules);
            let wanted: BTreeMap<_, _> =
                new.iter().map(|(key, body)| (key.clone(), (body.clone(), second.headers(key)))).collect();
            prop_assert_eq!(&bucket.0, &wanted);

            // Every object that differs from before is stale or new, and nothing else is.
            let mut kept = Vec::new();
            let stale = changes.stale(&listed, &mut kept);
            let mut told: Vec<&str> = [stale.changed, stale.new, stale.deleted].concat();
            told.sort_unstable();
            let keys = before.0.keys().chain(bucket.0.keys()).collect::<std::collections::BTreeSet<_>>();
            let differs: Vec<&str> =
                keys.into_iter().filter(|key| before.0.get(*key) != bucket.0.get(*key)).map(String::as_str).collect();
            prop_assert_eq!(told, differs);

            let again = plan(&new_index, &bucket, &manifest, &rules);
            prop_assert!(again.is_empty(), "{again:?}");
            prop_assert_eq!(again.drift, 0);
            prop_assert_eq!(amended(&again, &manifest), manifest.clone());
            prop_assert!(questions(&new_index, &bucket.listing(), &manifest, &rules).is_empty());
        }

        #[test]
        fn a_row_that_a_write_could_revive_is_forgotten_first(old in site(), new in site(), other in site()) {
            // The manifest is of `old`; an interrupted run has written `other` without noting it.
            let (one, two) = (header_rules("max-age=1"), header_rules("max-age=2"));
            let (mut bucket, old_index) = (Bucket::default(), index(&old));
            let manifest = {
                let plan = plan(&old_index, &bucket, &Manifest::default(), &rules(&one));
                bucket.apply(&plan, &Manifest::default(), &old, &rules(&one))
            };
            let other_index = index(&other);
            let interrupted = plan(&other_index, &bucket, &manifest, &rules(&two));
            let left = if interrupted.forgets { amended(&interrupted, &manifest) } else { manifest.clone() };
            bucket.apply(&interrupted, &manifest, &other, &rules(&two));

            let new_index = index(&new);
            let next = plan(&new_index, &bucket, &left, &rules(&one));
            bucket.apply(&next, &left, &new, &rules(&one));
            for (key, (_, headers)) in &bucket.0 {
                prop_assert_eq!(headers, &one.headers(key), "{}", key);
            }
        }
    }

    fn listing(keys: impl IntoIterator<Item = String>) -> Listing {
        keys.into_iter().map(|key| (key, Object { size_bytes: 1, etag: "e".into(), modified_at: None })).collect()
    }

    fn one_page() -> BTreeMap<String, String> {
        [("index.html".to_owned(), "page".to_owned())].into()
    }

    fn deletes(objects: usize, rules: &Rules) -> Result<usize, LargeDelete> {
        let index = index(&one_page());
        let live = listing((0..objects).map(|n| format!("{n}.html")));
        let plan = Plan::new(&index, &live, &Manifest::default(), &BTreeMap::new(), rules)?;
        Ok(plan.deletes.len())
    }

    #[test]
    fn up_to_a_hundred_deletes_are_never_held_back() {
        let headers = header_rules("");
        assert_eq!(deletes(100, &rules(&headers)), Ok(100));
        assert_eq!(deletes(101, &rules(&headers)), Err(LargeDelete { deletes: 101, objects: 101 }));
    }

    #[test]
    fn a_large_delete_goes_through_when_it_is_allowed_or_below_the_share() {
        let headers = header_rules("");
        let rules = rules(&headers);
        assert_eq!(deletes(101, &Rules { allow_large_delete: true, ..rules.clone() }), Ok(101));
        assert_eq!(deletes(101, &Rules { max_delete_percent: 100, ..rules }), Ok(101));
    }

    #[test]
    fn what_would_be_retained_is_guarded_once_as_it_leaves_the_site() {
        let headers = header_rules("max-age=31536000, immutable");
        let rules = |days: i64| Rules { retain_removed_days: 7, now: NOW + days * DAY, ..rules(&headers) };
        let old: BTreeMap<String, String> = (0..200).map(|n| (format!("{n}.js"), "asset".to_owned())).collect();
        let (old_index, new) = (index(&old), one_page());
        let new_index = index(&new);
        let mut bucket = Bucket::default();
        let first = plan(&old_index, &bucket, &Manifest::default(), &rules(0));
        let manifest = bucket.apply(&first, &Manifest::default(), &old, &rules(0));
        let planned = |bucket: &Bucket, manifest: &Manifest, rules: &Rules| {
            let plan = Plan::new(&new_index, &bucket.listing(), manifest, &BTreeMap::new(), rules);
            plan.map(|plan| (plan.retained.len(), plan.deletes.len()))
        };
        let refused = LargeDelete { deletes: 200, objects: 200 };
        assert_eq!(planned(&bucket, &manifest, &rules(1)), Err(refused));
        let allowed = Rules { allow_large_delete: true, ..rules(1) };
        let removal = plan(&new_index, &bucket, &manifest, &allowed);
        let manifest = bucket.apply(&removal, &manifest, &new, &allowed);
        assert_eq!(planned(&bucket, &manifest, &rules(2)), Ok((200, 0)));
        assert_eq!(planned(&bucket, &manifest, &rules(9)), Ok((0, 200)));
    }

    #[test]
    fn prune_owned_deletes_only_what_we_wrote_and_nobody_touched_since() {
        let headers = header_rules("");
        let index = index(&one_page());
        let live = listing(["ours.js", "touched.js", "theirs.js"].map(str::to_owned));
        let row = |etag: &str| Row {
            size_bytes: 1,
            crc32: 0,
            etag: etag.into(),
            headers: headers.headers("x.js").digest(),
            immutable: false,
            removed_at: None,
            gzip_of: None,
        };
        let manifest =
            [("ours.js".to_owned(), row("e")), ("touched.js".to_owned(), row("another"))].into_iter().collect();
        let deleted = |prune| {
            let rules = Rules { prune, ..rules(&headers) };
            let plan = Plan::new(&index, &live, &manifest, &BTreeMap::new(), &rules).unwrap();
            plan.deletes.into_iter().map(|delete| delete.key).collect::<Vec<_>>()
        };
        assert_eq!(deleted(Prune::All), ["ours.js", "theirs.js", "touched.js"]);
        assert_eq!(deleted(Prune::Owned), ["ours.js"]);
        assert_eq!(deleted(Prune::Off), [] as [&str; 0]);
    }

    #[test]
    fn an_immutable_asset_is_retained_for_its_days_and_then_deleted_without_an_invalidation() {
        let headers = header_rules("max-age=31536000, immutable");
        let (old, new) = (
            [("app.1.js".to_owned(), "one".to_owned()), ("index.html".to_owned(), "page".to_owned())].into(),
            one_page(),
        );
        let at = |days: i64| Rules { retain_removed_days: 7, now: NOW + days * DAY, ..rules(&headers) };
        let mut bucket = Bucket::default();
        let old_index = index(&old);
        let first = plan(&old_index, &bucket, &Manifest::default(), &at(0));
        let manifest = bucket.apply(&first, &Manifest::default(), &old, &at(0));

        let new_index = index(&new);
        let removed = plan(&new_index, &bucket, &manifest, &at(1));
        assert_eq!((removed.retained.len(), removed.deletes.len()), (1, 0));
        let manifest = bucket.apply(&removed, &manifest, &new, &at(1));

        let kept = plan(&new_index, &bucket, &manifest, &at(7));
        assert_eq!((kept.retained.len(), kept.deletes.len()), (1, 0), "six days after its removal");
        let manifest = bucket.apply(&kept, &manifest, &new, &at(7));

        let back = plan(&old_index, &bucket, &manifest, &at(7));
        assert!(back.is_empty() && back.retained.is_empty(), "a key that comes back is kept: {back:?}");

        let due = plan(&new_index, &bucket, &manifest, &at(8));
        assert_eq!((due.retained.len(), due.deletes.len()), (0, 1));
        assert!(due.stale(&bucket.listing(), &mut Vec::new()).deleted.is_empty());

        // What comes in its place may be answered from its copy, which is still there.
        let in_its_place = [("app.1.js/index.html".to_owned(), "two".to_owned())];
        let index = index(&in_its_place.into());
        let due = plan(&index, &bucket, &manifest, &at(8));
        let mut kept = Vec::new();
        let stale = due.stale(&bucket.listing(), &mut kept);
        assert_eq!(stale.new, ["app.1.js/index.html"]);
        assert_eq!(stale.kept, ["app.1.js"]);
    }

    #[test]
    fn pages_are_in_a_later_wave_than_all_that_they_may_refer_to() {
        let headers = header_rules("");
        let files = ["a.html", "app.js", "b/index.html", "z.css"].map(|name| (name.to_owned(), name.to_owned()));
        let index = index(&files.into());
        let plan = plan(&index, &Bucket::default(), &Manifest::default(), &rules(&headers));
        let (waves, _) = plan.into_waves();
        let keys = waves.map(|wave| wave.puts.into_iter().map(|put| put.key).collect::<Vec<_>>());
        assert_eq!(keys, [vec!["app.js", "z.css"], vec!["a.html", "b/index.html"]]);
    }
}
