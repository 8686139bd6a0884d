//! The writes and deletes of a plan.

use std::borrow::Cow;

use crate::archive::Entry;
use crate::etag::Etag;
use crate::manifest::Row;

/// The part that an object plays for a browser. It decides the wave in which the object is written.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Role {
    Asset,
    /// A page refers to assets.
    Page,
    /// It tells a browser that there is a new build, which makes the browser fetch pages and assets.
    EntryPoint,
}

/// An entry to put.
#[derive(Debug)]
pub struct Put<'a> {
    pub entry: &'a Entry,
    pub key: Cow<'a, str>,
    /// The ETag of the object that the entry replaces; `None` for a new key.
    pub replaces: Option<Etag>,
    pub role: Role,
}

/// An object to copy onto itself, which changes its headers.
#[derive(Debug)]
pub struct HeaderChange<'a> {
    pub entry: &'a Entry,
    pub key: Cow<'a, str>,
    pub etag: Etag,
    pub size_bytes: u64,
    pub role: Role,
}

/// An object to delete.
#[derive(Clone, Debug)]
pub struct Delete {
    pub key: String,
    /// The ETag of the listed object. If the key has another object by now, that one is not deleted.
    pub etag: Etag,
    /// The object's row, which stays in the manifest until the object is deleted, so that an interrupted run still
    /// knows whose object it is.
    pub row: Option<Row>,
    /// Whether caches that may hold the object must be invalidated.
    pub is_stale: bool,
}

/// Writes that may run in parallel.
#[derive(Debug, Default)]
pub struct Wave<'a> {
    pub puts: Vec<Put<'a>>,
    pub header_changes: Vec<HeaderChange<'a>>,
}

/// The writes and deletes of a plan, in their order.
#[derive(Debug)]
pub struct Waves<'a> {
    pub assets: Wave<'a>,
    pub pages: Wave<'a>,
    pub entry_points: Wave<'a>,
    pub deletes: Vec<Delete>,
}

impl Wave<'_> {
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.header_changes.is_empty()
    }
}
