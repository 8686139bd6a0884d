//! The manifest: what we last wrote to the live bucket, so that an unchanged file costs nothing.
//!
//! A row counts only while the bucket's listing shows the ETag and the size that it recorded. So a lost or outdated
//! manifest costs time, but never correctness. A listing does not show whether only the headers of an object have
//! changed. Rows are therefore forgotten *before* an object is rewritten with the same bytes (`Plan::revives_rows`).

mod format;

use serde::{Deserialize, Serialize};

use crate::etag::Etag;
use crate::headers::HeadersDigest;
use crate::packed_map::PackedMap;

pub use format::{BadManifest, Decoder};

/// How far apart S3's own clocks may be.
const CLOCK_SKEW_SECONDS: i64 = 2;

/// The rows of all objects, by key.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    rows: PackedMap<Row>,
    /// See [`Manifest::saved_at`].
    saved_at: Option<i64>,
}

/// Manifests with equal rows are equal, whenever they were saved.
impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

/// One object as we wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The size of the object.
    pub size_bytes: u64,
    /// The CRC-32 of the contents, before compression.
    pub crc32: u32,
    pub etag: Etag,
    pub headers: HeadersDigest,
    /// Whether the object is no page and its Cache-Control says `immutable`; then clients may keep the object for as long as they like.
    pub immutable: bool,
    /// When the key left the site, in epoch seconds, if the object is retained or has [departed](Row::departed).
    pub removed_at: Option<i64>,
    /// The size of the contents before compression, if the object is stored as gzip.
    pub gzip_of: Option<u64>,
}

impl Row {
    /// Returns the row of a key that a run is about to write. It matches no object and only says that the key is ours.
    pub fn announced() -> Self {
        Self {
            size_bytes: 0,
            crc32: 0,
            etag: "".into(),
            headers: HeadersDigest::default(),
            immutable: false,
            removed_at: None,
            gzip_of: None,
        }
    }

    pub fn is_announced(&self) -> bool {
        Self { removed_at: None, ..self.clone() } == Self::announced()
    }

    /// Returns the row of a key whose object was deleted without an invalidation. Caches may still have a copy of it,
    /// which is stale once the key comes back.
    pub fn departed(removed_at: i64) -> Self {
        Self { immutable: true, removed_at: Some(removed_at), ..Self::announced() }
    }

    /// The row of a key that a run is about to write. It stays known when an object of the key has departed.
    #[must_use]
    pub fn announced_again(&self) -> Self {
        Self { removed_at: self.departed_at(), ..Self::announced() }
    }

    /// Returns when an object of the key departed, in epoch seconds, if one did and no other has come since.
    pub fn departed_at(&self) -> Option<i64> {
        self.removed_at.filter(|_| Self { immutable: false, ..self.clone() }.is_announced())
    }

    /// Returns when the key left the site, in epoch seconds, if the object is retained.
    pub fn retained_since(&self) -> Option<i64> {
        self.removed_at.filter(|_| self.departed_at().is_none())
    }
}

impl Manifest {
    pub fn get(&self, key: &str) -> Option<Row> {
        self.rows.get(key)
    }

    /// Sets the rows of keys, or removes them.
    pub fn change<K: AsRef<str>>(&mut self, changes: Vec<(K, Option<Row>)>) {
        self.rows.change(changes);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (String, Row)> {
        self.rows.iter()
    }

    /// Returns when the manifest was saved, by S3's clock and in epoch seconds.
    ///
    /// Without a time, its rows cover objects of any age.
    pub fn saved_at(&self) -> Option<i64> {
        self.saved_at
    }

    pub fn set_saved_at(&mut self, saved_at: Option<i64>) {
        self.saved_at = saved_at;
    }

    pub fn with_saved_at(self, saved_at: Option<i64>) -> Self {
        Self { saved_at, ..self }
    }

    /// Returns whether the rows can describe an object that was written at a time, in epoch seconds.
    pub fn covers(&self, modified_at: Option<i64>) -> bool {
        match self.saved_at {
            None => true,
            Some(saved_at) => modified_at.is_some_and(|modified_at| modified_at <= saved_at + CLOCK_SKEW_SECONDS),
        }
    }
}

#[cfg(test)]
impl FromIterator<(String, Row)> for Manifest {
    fn from_iter<I: IntoIterator<Item = (String, Row)>>(rows: I) -> Self {
        Self { rows: rows.into_iter().collect(), saved_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_covers_no_object_that_was_written_after_it() {
        let manifest = Manifest::default().with_saved_at(Some(100));
        assert!(manifest.covers(Some(100)) && manifest.covers(Some(102)));
        assert!(!manifest.covers(Some(103)) && !manifest.covers(None));
        assert!(Manifest::default().covers(Some(103)) && Manifest::default().covers(None));
    }
}
