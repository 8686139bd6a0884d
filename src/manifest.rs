//! What we last wrote to the live bucket: the cache that lets an unchanged file cost nothing.
//!
//! A row counts only while the bucket's listing shows the very ETag and size that it recorded, so a lost or
//! stale manifest costs time and never correctness. The one thing a listing cannot show is a change of
//! headers alone; therefore rows are forgotten *before* an object is rewritten with the bytes that it has
//! (`Plan::forgets`).
//!
//! The format is gzip over lines of tab-separated fields, so that `zcat` shows it:
//! `key, size, crc32, etag, headers digest, "i" if immutable, removed at (epoch seconds, or empty), size of
//! what it is the gzip of (or empty)`. Size and ETag are the object's, the CRC-32 is that of the contents.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::headers::HeadersDigest;

const HEADER: &str = "dropship manifest 2";

/// S3's own clocks are not exactly one.
const CLOCKS_APART_SECONDS: i64 = 2;

/// The rows by key.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    rows: BTreeMap<String, Row>,
    /// When it was saved by S3's clock, in epoch seconds, if it was.
    saved_at: Option<i64>,
}

/// Equal are those with equal rows, whenever they were saved.
impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

/// One object as we wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Of the object.
    pub size_bytes: u64,
    /// Of the contents, before they were compressed.
    pub crc32: u32,
    /// As the API gives it, without quotes.
    pub etag: String,
    pub headers: HeadersDigest,
    /// Its Cache-Control says `immutable`: clients may hold it for as long as they like.
    pub immutable: bool,
    /// When the key left the site, in epoch seconds, for a retained object.
    pub removed_at: Option<i64>,
    /// How many bytes of contents the object is the gzip of, if it is.
    pub gzip_of: Option<u64>,
}

/// A manifest that cannot be read; it counts as lost.
#[derive(Debug, thiserror::Error)]
#[error("the manifest cannot be read ({0}): it is made anew, which costs one request per object")]
pub struct BadManifest(String);

impl Manifest {
    pub fn get(&self, key: &str) -> Option<&Row> {
        self.rows.get(key)
    }

    pub fn insert(&mut self, key: String, row: Row) {
        self.rows.insert(key, row);
    }

    pub fn remove(&mut self, key: &str) {
        self.rows.remove(key);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When it was saved, if it was.
    pub fn as_of(&self) -> Option<i64> {
        self.saved_at
    }

    /// The same manifest, saved at that time.
    pub fn saved_at(self, saved_at: Option<i64>) -> Self {
        Self { saved_at, ..self }
    }

    /// Whether what was written at a time, in epoch seconds, can be what the rows speak of.
    pub fn covers(&self, modified_at: Option<i64>) -> bool {
        let latest = self.saved_at.map(|at| at + CLOCKS_APART_SECONDS);
        latest.is_none_or(|latest| modified_at.is_some_and(|modified_at| modified_at <= latest))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.rows.iter().map(|(key, row)| (key.as_str(), row))
    }

    /// Encodes the manifest; equal manifests give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let mut text = String::from(HEADER);
        text.push('\n');
        for (key, row) in &self.rows {
            use std::fmt::Write;
            let Row {
                size_bytes,
                crc32,
                etag,
                headers,
                immutable,
                removed_at,
                gzip_of,
            } = row;
            let immutable = if *immutable { "i" } else { "" };
            let removed = removed_at.map(|at| at.to_string()).unwrap_or_default();
            let gzip_of = gzip_of.map(|size| size.to_string()).unwrap_or_default();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{key}\t{size_bytes}\t{crc32:08x}\t{etag}\t{headers}\t{immutable}\t{removed}\t{gzip_of}"
            );
            if text.len() > 1 << 16 {
                // Nor can writing to a Vec.
                let _ = gzip.write_all(text.as_bytes());
                text.clear();
            }
        }
        let _ = gzip.write_all(text.as_bytes());
        gzip.finish().unwrap_or_default()
    }

    /// Decodes what [`Manifest::encode`] made.
    ///
    /// # Errors
    /// When a line is not of the format: the whole manifest is then refused, never half-used.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        let mut lines = BufReader::new(GzDecoder::new(bytes).take(MAX_TEXT_BYTES));
        let mut line = String::new();
        lines
            .read_line(&mut line)
            .map_err(|error| BadManifest(error.to_string()))?;
        if line.trim_end() != HEADER {
            return Err(BadManifest(format!("it does not begin with `{HEADER}`")));
        }
        let mut rows = Vec::new();
        loop {
            line.clear();
            if lines
                .read_line(&mut line)
                .map_err(|error| BadManifest(error.to_string()))?
                == 0
            {
                break;
            }
            rows.push(
                parse(&line).ok_or_else(|| BadManifest(format!("line `{}`", line.trim_end())))?,
            );
        }
        Ok(Self {
            rows: BTreeMap::from_iter(rows),
            saved_at: None,
        })
    }
}

/// Far above 1,000,000 rows with keys of 1,024 bytes; it only bounds what a damaged object can cost.
const MAX_TEXT_BYTES: u64 = 2 << 30;

fn parse(line: &str) -> Option<(String, Row)> {
    let mut fields = line.strip_suffix('\n')?.split('\t');
    let key = fields.next()?.to_owned();
    let row = Row {
        size_bytes: fields.next()?.parse().ok()?,
        crc32: u32::from_str_radix(fields.next()?, 16).ok()?,
        etag: fields.next()?.to_owned(),
        headers: fields.next()?.parse().ok()?,
        immutable: match fields.next()? {
            "" => false,
            "i" => true,
            _ => return None,
        },
        removed_at: match fields.next()? {
            "" => None,
            at => Some(at.parse().ok()?),
        },
        gzip_of: match fields.next()? {
            "" => None,
            size => Some(size.parse().ok()?),
        },
    };
    fields.next().is_none().then_some((key, row))
}

impl FromIterator<(String, Row)> for Manifest {
    fn from_iter<I: IntoIterator<Item = (String, Row)>>(rows: I) -> Self {
        Self {
            rows: rows.into_iter().collect(),
            saved_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row() -> impl Strategy<Value = Row> {
        (
            any::<u64>(),
            any::<u32>(),
            "[0-9a-f]{32}(-[0-9]{1,3})?",
            "[0-9a-f]{16}",
            any::<bool>(),
            any::<Option<i64>>(),
            any::<Option<u64>>(),
        )
            .prop_map(
                |(size_bytes, crc32, etag, headers, immutable, removed_at, gzip_of)| Row {
                    size_bytes,
                    crc32,
                    etag,
                    headers: headers.parse().unwrap(),
                    immutable,
                    removed_at,
                    gzip_of,
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(rows in prop::collection::btree_map("[a-é /.]{1,8}", row(), 0..20)) {
            let manifest = Manifest { rows, saved_at: None };
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }

        #[test]
        fn a_cut_manifest_is_refused(rows in prop::collection::btree_map("[a-z]{1,8}", row(), 1..20), cut in 1..40usize) {
            let bytes = Manifest { rows, saved_at: None }.encode();
            prop_assert!(Manifest::decode(&bytes[..bytes.len() - cut.min(bytes.len())]).is_err());
        }
    }

    #[test]
    fn a_manifest_speaks_of_nothing_that_was_written_after_it() {
        let manifest = Manifest::default().saved_at(Some(100));
        assert!(manifest.covers(Some(100)) && manifest.covers(Some(102)));
        assert!(!manifest.covers(Some(103)) && !manifest.covers(None));
        assert!(Manifest::default().covers(Some(103)) && Manifest::default().covers(None));
    }

    #[test]
    fn another_format_is_refused() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"dropship manifest 9\n").unwrap();
        assert!(Manifest::decode(&gzip.finish().unwrap()).is_err());
    }
}
