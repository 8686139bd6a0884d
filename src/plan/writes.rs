//! The writes and deletes of a plan.

use std::borrow::Cow;

use crate::archive::Entry;
use crate::etag::Etag;
use crate::manifest::Row;

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
pub struct SelfCopy<'a> {
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
    pub copies: Vec<SelfCopy<'a>>,
}

impl Writes<'_> {
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.copies.is_empty()
    }
}
