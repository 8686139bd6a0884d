//! The verdict on each key: whether its object is new, changed, kept, deleted or retained, or only gets other headers.

use std::collections::{BTreeMap, HashMap};

use super::inspection::Inspection;
use super::known::Known;
use super::rules::{Recorded, Rules};
use super::writes::{Delete, HeaderChange, Put};
use crate::archive::Entry;
use crate::headers::Headers;
use crate::listing::Object;
use crate::manifest::Row;

/// `CopyObject` copies at most 5 GB (S3 API); larger objects are put again.
const MAX_COPY_BYTES: u64 = 5_000_000_000;

/// How many departed objects a manifest remembers. Beyond them, an object is deleted with an invalidation.
pub const MAX_DEPARTED: usize = 100_000;

/// How long caches may keep a departed object: "one year" is the longest that RFC 2616 asked for, and what tools write
/// beside `immutable`.
const DEPARTED_SECONDS: i64 = 366 * 86_400;

/// The plan for one key.
pub(super) enum Verdict<'a> {
    /// A new or changed entry is put.
    Put(Put<'a>),
    /// The object has the right bytes but the wrong headers.
    Headers(HeaderChange<'a>),
    /// The object is as the rules want it, and this is its row.
    Kept(Row),
    /// The archive lacks the object.
    Deleted(Delete),
    /// The archive lacks the object, but clients with old pages may still ask for it.
    Retained(Row),
    /// The archive lacks the object, but the rules do not let the deployment delete it.
    Foreign,
    /// Only the manifest has the key.
    Missing,
}

/// The verdicts on all keys.
pub(super) struct Verdicts<'r> {
    rules: &'r Rules<'r>,
    inspections: &'r BTreeMap<String, Inspection>,
    recent: RecentHeaders,
    /// How many departed objects the manifest remembers so far.
    departed: usize,
}

impl<'r> Verdicts<'r> {
    pub(super) fn new(rules: &'r Rules<'r>, inspections: &'r BTreeMap<String, Inspection>) -> Self {
        Self { rules, inspections, recent: RecentHeaders::default(), departed: 0 }
    }

    /// Returns the verdict on a key.
    pub(super) fn verdict<'a>(&mut self, known: &Known<'a, '_>) -> Verdict<'a> {
        self.departed += usize::from(known.departed_at.is_some());
        match (known.entry, &known.object) {
            (Some(entry), Some(object)) => self.of_entry_and_object(known, entry, object),
            (Some(entry), None) => {
                let role = self.rules.role(&entry.name, &self.rules.headers_of(&entry.name));
                Verdict::Put(Put { entry, key: known.key(), replaces: None, role })
            }
            (None, Some(object)) => self.of_object_without_entry(known, object),
            (None, None) => Verdict::Missing,
        }
    }

    /// Whether writing the entry could make an outdated row of its key look valid again, because the row recorded the
    /// same contents.
    pub(super) fn revives_row(&self, known: &Known<'_, '_>) -> bool {
        let recorded = known.entry.zip(known.row.as_ref());
        recorded
            .is_some_and(|(entry, row)| row.crc32 == entry.crc32 && self.rules.wanted(entry).is_recorded_by(row, entry))
    }

    /// Returns the verdict on an entry whose key has an object.
    fn of_entry_and_object<'a>(&mut self, known: &Known<'a, '_>, entry: &'a Entry, object: &Object) -> Verdict<'a> {
        let rules = self.rules;
        let wanted = rules.wanted(entry);
        let recorded = self.recent.recorded(&wanted.headers);
        let inspection = known.stored_key().and_then(|key| self.inspections.get(key));
        let (has_bytes, headers) = match (known.valid_row(), inspection) {
            (_, Some(inspection)) => {
                let has_crc32 = inspection.crc32 == Some(entry.crc32);
                (inspection.same_bytes.unwrap_or(has_crc32), Some(inspection.headers))
            }
            (Some(row), None) => (wanted.is_recorded_by(row, entry), Some(row.headers)),
            // The object was not inspected, because its size is wrong; or it was gone by then.
            (None, None) => (false, None),
        };
        let (key, etag) = (known.key(), object.etag.clone());
        if has_bytes && headers == Some(recorded.digest) {
            return Verdict::Kept(wanted.row_with(entry, object.size_bytes, etag, recorded));
        }
        let role = rules.role(&entry.name, &wanted.headers);
        if has_bytes && object.size_bytes <= MAX_COPY_BYTES {
            Verdict::Headers(HeaderChange { entry, key, etag, size_bytes: object.size_bytes, role })
        } else {
            Verdict::Put(Put { entry, key, replaces: Some(etag), role })
        }
    }

    /// Returns the verdict on an object that the archive lacks.
    fn of_object_without_entry(&mut self, known: &Known<'_, '_>, object: &Object) -> Verdict<'static> {
        let rules = self.rules;
        if !known.may_delete(rules.prune) {
            return Verdict::Foreign;
        }
        let row = known.valid_row().cloned().or_else(|| self.inspected_row(known, object));
        let key = known.key().into_owned();
        let name = key.strip_prefix(rules.live_prefix).unwrap_or(&key);
        // People ask for a page by its URL, so it must be gone immediately.
        let is_immutable = row.as_ref().is_some_and(|row| row.immutable) && !rules.headers_of(name).is_page();
        let removed_at = row.as_ref().and_then(|row| row.removed_at).unwrap_or(rules.now);
        match row {
            Some(row) if is_immutable && !is_due(removed_at, rules.retain_removed_days, rules.now) => {
                Verdict::Retained(Row { removed_at: Some(removed_at), ..row })
            }
            row => {
                // The cached copy of an immutable object is right for every page that names it, as long as the key does
                // not come back.
                let is_quiet = is_immutable && rules.retain_removed_days > 0 && self.departed < MAX_DEPARTED;
                self.departed += usize::from(is_quiet);
                Verdict::Deleted(Delete {
                    key,
                    etag: object.etag.clone(),
                    row: row.or_else(|| known.is_announced.then(Row::announced)),
                    is_stale: !is_quiet,
                })
            }
        }
    }

    /// Returns the row of an immutable object that was inspected because it has none.
    fn inspected_row(&self, known: &Known<'_, '_>, object: &Object) -> Option<Row> {
        let inspection = known.stored_key().and_then(|key| self.inspections.get(key))?;
        inspection.immutable.then_some(Row {
            size_bytes: object.size_bytes,
            crc32: inspection.crc32?,
            etag: object.etag.clone(),
            headers: inspection.headers,
            immutable: true,
            removed_at: None,
            gzip_of: None,
        })
    }
}

/// Whether caches have no copy any more of an object that departed at `departed_at`; both times in epoch seconds.
pub fn is_forgotten(departed_at: i64, now: i64) -> bool {
    now > departed_at.saturating_add(DEPARTED_SECONDS)
}

/// Whether an object that left the site at `removed_at` has been retained long enough; both times in epoch seconds.
pub fn is_due(removed_at: i64, retain_removed_days: u32, now: i64) -> bool {
    now >= removed_at.saturating_add(i64::from(retain_removed_days) * 86_400)
}

/// The part of a row that follows from the headers, for recent headers: most files of a site share a few sets of them.
#[derive(Default)]
struct RecentHeaders(HashMap<Headers, Recorded>);

impl RecentHeaders {
    /// The most sets that are kept, because a `_headers` file can give every file headers of its own.
    const MAX: usize = 1_000;

    fn recorded(&mut self, headers: &Headers) -> Recorded {
        if let Some(recorded) = self.0.get(headers) {
            return *recorded;
        }
        if self.0.len() == Self::MAX {
            self.0.clear();
        }
        let recorded = Recorded::of(headers);
        self.0.insert(headers.clone(), recorded);
        recorded
    }
}
