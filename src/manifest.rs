//! What we last wrote to the live bucket: the cache that lets an unchanged file cost nothing.
//!
//! A row counts only while the bucket's listing shows the very ETag and size that it recorded, so a lost or
//! stale manifest costs time and never correctness. The one thing a listing cannot show is a change of
//! headers alone; therefore rows are forgotten *before* an object is rewritten with the bytes that it has
//! (`Plan::revives_rows`).
//!
//! The format is gzip over lines of tab-separated fields, so that `zcat` shows it:
//! `key, size, crc32, etag, headers digest, "i" if immutable, removed at (epoch seconds, or empty), size of
//! what it is the gzip of (or empty)`. Size and ETag are the object's, the CRC-32 is that of the contents.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};
use serde::{Deserialize, Serialize};

use crate::etag::Etag;
use crate::headers::HeadersDigest;
use crate::packed_map::PackedMap;

const HEADER: &str = "dropship manifest 2";

/// S3's own clocks are not exactly one.
const CLOCKS_APART_SECONDS: i64 = 2;

/// The rows by key.
#[derive(Clone, Debug, Default)]
pub struct Manifest {
    rows: PackedMap<Row>,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Of the object.
    pub size_bytes: u64,
    /// Of the contents, before they were compressed.
    pub crc32: u32,
    pub etag: Etag,
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

impl From<io::Error> for BadManifest {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl Manifest {
    pub fn get(&self, key: &str) -> Option<Row> {
        self.rows.get(key)
    }

    /// Gives keys other rows, or none.
    pub fn change<K: AsRef<str>>(&mut self, changes: Vec<(K, Option<Row>)>) {
        self.rows.change(changes);
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// When it was saved, if it was.
    pub fn as_of(&self) -> Option<i64> {
        self.saved_at
    }

    /// The same manifest, saved at that time.
    pub fn saved_at(mut self, saved_at: Option<i64>) -> Self {
        self.date(saved_at);
        self
    }

    /// Gives it another date, or none: then its rows hold whenever their objects were written.
    pub fn date(&mut self, saved_at: Option<i64>) {
        self.saved_at = saved_at;
    }

    /// Whether what was written at a time, in epoch seconds, can be what the rows speak of.
    pub fn covers(&self, modified_at: Option<i64>) -> bool {
        let latest = self.saved_at.map(|at| at + CLOCKS_APART_SECONDS);
        latest.is_none_or(|latest| modified_at.is_some_and(|modified_at| modified_at <= latest))
    }

    pub fn iter(&self) -> impl Iterator<Item = (String, Row)> {
        self.rows.iter()
    }

    /// Encodes the manifest; equal manifests give equal bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let mut text = String::from(HEADER);
        text.push('\n');
        for (key, row) in self.rows.iter() {
            use std::fmt::Write;
            let Row { size_bytes, crc32, etag, headers, immutable, removed_at, gzip_of } = row;
            let immutable = if immutable { "i" } else { "" };
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

    #[cfg(test)]
    fn decode(bytes: &[u8]) -> Result<Self, BadManifest> {
        let mut decoder = Decoder::default();
        decoder.read(bytes)?;
        decoder.finish()
    }
}

/// Decodes what [`Manifest::encode`] made while it comes in, piece by piece.
///
/// When a line is not of the format, the whole manifest is refused, never half-used.
pub struct Decoder(GzDecoder<Lines>);

#[derive(Default)]
struct Lines {
    rows: PackedMap<Row>,
    has_begun: bool,
    /// What there is of a line whose end is still to come.
    begun: Vec<u8>,
    text_bytes: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self(GzDecoder::new(Lines::default()))
    }
}

impl Decoder {
    /// Takes the next piece.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(&mut self, piece: &[u8]) -> Result<(), BadManifest> {
        Ok(self.0.write_all(piece)?)
    }

    /// Gives what all the pieces were.
    ///
    /// # Errors
    /// When something is missing at the end.
    pub fn finish(self) -> Result<Manifest, BadManifest> {
        let Lines { rows, has_begun, begun, .. } = self.0.finish()?;
        if !has_begun || !begun.is_empty() {
            return Err(BadManifest("it ends in a line".to_owned()));
        }
        Ok(Manifest { rows, saved_at: None })
    }
}

impl Lines {
    /// Takes a line without its end.
    fn line(&mut self, line: &[u8]) -> Option<()> {
        let line = str::from_utf8(line).ok()?;
        if self.has_begun {
            let (key, row) = parse(line)?;
            // In the order of the keys, as they were written.
            return self.rows.push(key, row).is_none().then_some(());
        }
        self.has_begun = true;
        (line == HEADER).then_some(())
    }
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text_bytes += text.len() as u64;
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err(io::Error::other("it is too long"));
        }
        let mut pieces = text.split(|byte| *byte == b'\n');
        // There is one piece at least, and the last one is not yet a line.
        let begun = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            let mut line = std::mem::take(&mut self.begun);
            line.extend_from_slice(piece);
            let read = self.line(&line);
            read.ok_or_else(|| io::Error::other(format!("line `{}`", String::from_utf8_lossy(&line))))?;
            line.clear();
            self.begun = line;
        }
        self.begun.extend_from_slice(begun);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Far above 1,000,000 rows with keys of 1,024 bytes; it only bounds what a damaged object can cost.
const MAX_TEXT_BYTES: u64 = 2 << 30;

fn parse(line: &str) -> Option<(&str, Row)> {
    let mut fields = line.split('\t');
    let key = fields.next()?;
    let row = Row {
        size_bytes: fields.next()?.parse().ok()?,
        crc32: u32::from_str_radix(fields.next()?, 16).ok()?,
        etag: fields.next()?.into(),
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

#[cfg(test)]
impl FromIterator<(String, Row)> for Manifest {
    fn from_iter<I: IntoIterator<Item = (String, Row)>>(rows: I) -> Self {
        Self { rows: rows.into_iter().collect(), saved_at: None }
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
            .prop_map(|(size_bytes, crc32, etag, headers, immutable, removed_at, gzip_of)| Row {
                size_bytes,
                crc32,
                etag: etag.into(),
                headers: headers.parse().unwrap(),
                immutable,
                removed_at,
                gzip_of,
            })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(rows in prop::collection::btree_map("[a-é /.]{1,8}", row(), 0..20)) {
            let manifest = Manifest::from_iter(rows);
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }

        #[test]
        fn a_cut_manifest_is_refused(rows in prop::collection::btree_map("[a-z]{1,8}", row(), 1..20), cut in 1..40usize) {
            let bytes = Manifest::from_iter(rows).encode();
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
