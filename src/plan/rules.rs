//! The rules that a plan follows, and how an entry is stored under them.

use super::writes::Role;
use crate::archive::{Encoding, Entry};
use crate::cache_tag::CacheTags;
use crate::config::{EntryPoints, Prune};
use crate::etag::Etag;
use crate::headers::{HeaderRules, Headers, HeadersDigest};
use crate::manifest::Row;

/// The settings and headers that a plan follows.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    pub live_prefix: &'a str,
    pub headers: &'a HeaderRules,
    pub tags: &'a CacheTags,
    pub entry_points: &'a EntryPoints,
    /// Whether compressible text is stored as gzip.
    pub gzip: bool,
    pub prune: Prune,
    pub max_delete_percent: u8,
    /// Whether no plan is refused for what it takes away.
    pub allow_large_delete: bool,
    /// The folder of the archive to deploy, if one is set; "" says that the archive's root is meant.
    pub archive_root: Option<&'a str>,
    pub index_document: &'a str,
    pub retain_removed_days: u32,
    /// Epoch seconds.
    pub now: i64,
}

impl Rules<'_> {
    /// Returns how an entry is stored.
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

    /// Returns the headers of an uncompressed file with this name, whether or not the archive has it.
    pub fn headers_of(&self, name: &str) -> Headers {
        self.tags.mark(name, self.headers.headers(name))
    }

    /// Returns the role of a file with these headers.
    pub(super) fn role(&self, name: &str, headers: &Headers) -> Role {
        if self.entry_points.has(name) {
            Role::EntryPoint
        } else if headers.is_page() {
            Role::Page
        } else {
            Role::Asset
        }
    }
}

/// How an entry is stored in the live bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub headers: Headers,
    pub encoding: Encoding,
}

impl Wanted {
    /// Whether the object that the row recorded has the entry's contents in this encoding.
    pub(super) fn is_recorded_by(&self, row: &Row, entry: &Entry) -> bool {
        let size_bytes = match self.encoding {
            Encoding::Identity if row.gzip_of.is_none() => Some(row.size_bytes),
            Encoding::Identity => None,
            Encoding::Gzip => row.gzip_of,
        };
        row.crc32 == entry.crc32 && size_bytes == Some(entry.size_bytes)
    }

    /// Returns the row of an entry's object that is stored like this.
    pub fn row(&self, entry: &Entry, size_bytes: u64, etag: Etag) -> Row {
        self.row_with(entry, size_bytes, etag, Recorded::of(&self.headers))
    }

    /// Returns the same as [`Self::row`], for a caller that already has the part that follows from the headers.
    pub(super) fn row_with(&self, entry: &Entry, size_bytes: u64, etag: Etag, recorded: Recorded) -> Row {
        Row {
            size_bytes,
            crc32: entry.crc32,
            etag,
            headers: recorded.digest,
            immutable: recorded.immutable,
            removed_at: None,
            gzip_of: (self.encoding == Encoding::Gzip).then_some(entry.size_bytes),
        }
    }
}

/// The part of a row that follows from the object's headers alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recorded {
    pub(super) digest: HeadersDigest,
    immutable: bool,
}

impl Recorded {
    pub(super) fn of(headers: &Headers) -> Self {
        Self { digest: headers.digest(), immutable: headers.is_immutable() }
    }
}
