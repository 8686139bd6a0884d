//! The format in which a manifest is stored.
//!
//! It is gzip over a first line with the version and then a line for each row, of tab-separated fields, so that `zcat`
//! shows it. The fields are: key, size, CRC-32, ETag, headers digest, `i` if immutable, the time of removal in epoch
//! seconds, and the size of the contents if the object is stored as gzip. The last three may be empty.

use std::fmt::Write as _;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::{GzDecoder, GzEncoder};

use super::{Manifest, Row};
use crate::packed_map::PackedMap;

/// The first line.
const VERSION: &str = "dropship manifest 2";

/// The first line of manifests whose rows end before the size of the contents.
const FIRST_VERSION: &str = "dropship manifest 1";

/// Far more than 1,000,000 rows with keys of 1,024 bytes. The limit bounds the cost of a damaged object.
const MAX_TEXT_BYTES: u64 = 2 << 30;

/// How much text is collected before it is compressed.
const PIECE_BYTES: usize = 1 << 16;

/// A manifest that cannot be read. It counts as lost.
#[derive(Debug, thiserror::Error)]
#[error("could not read the manifest ({0}); making a new one, which takes a request for each object")]
pub struct BadManifest(String);

impl From<io::Error> for BadManifest {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl Manifest {
    /// Encodes the manifest. Equal manifests have equal encodings.
    pub fn encode(&self) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let mut text = format!("{VERSION}\n");
        for (key, row) in self.rows.iter() {
            write_line(&mut text, &key, &row);
            if text.len() > PIECE_BYTES {
                // Writing to a Vec cannot fail.
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

fn write_line(text: &mut String, key: &str, row: &Row) {
    let Row { size_bytes, crc32, etag, headers, immutable, removed_at, gzip_of } = row;
    let immutable = if *immutable { "i" } else { "" };
    let removed_at = removed_at.as_ref().map(i64::to_string).unwrap_or_default();
    let gzip_of = gzip_of.as_ref().map(u64::to_string).unwrap_or_default();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{key}\t{size_bytes}\t{crc32:08x}\t{etag}\t{headers}\t{immutable}\t{removed_at}\t{gzip_of}");
}

fn parse_line(line: &str) -> Option<(&str, Row)> {
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
        gzip_of: match fields.next() {
            None | Some("") => None,
            Some(size) => Some(size.parse().ok()?),
        },
    };
    fields.next().is_none().then_some((key, row))
}

/// Decodes a manifest piece by piece, as it arrives.
///
/// One malformed line makes the whole manifest unreadable: it is never used in part.
pub struct Decoder(GzDecoder<Lines>);

impl Default for Decoder {
    fn default() -> Self {
        Self(GzDecoder::new(Lines::default()))
    }
}

impl Decoder {
    /// Reads the next piece.
    ///
    /// # Errors
    ///
    /// Fails if the piece is damaged.
    pub fn read(&mut self, piece: &[u8]) -> Result<(), BadManifest> {
        Ok(self.0.write_all(piece)?)
    }

    /// Returns the manifest that consists of all pieces.
    ///
    /// # Errors
    ///
    /// Fails if the end is missing.
    pub fn finish(self) -> Result<Manifest, BadManifest> {
        let Lines { rows, has_version, unfinished, .. } = self.0.finish()?;
        if !has_version || !unfinished.is_empty() {
            return Err(BadManifest("the last line is incomplete".to_owned()));
        }
        Ok(Manifest { rows, saved_at: None })
    }
}

/// The lines that are decoded so far.
#[derive(Default)]
struct Lines {
    rows: PackedMap<Row>,
    has_version: bool,
    /// The start of a line whose end has not arrived.
    unfinished: Vec<u8>,
    text_bytes: u64,
}

impl Lines {
    /// Adds a line, without its end. Returns `None` if it is malformed.
    fn add(&mut self, line: &[u8]) -> Option<()> {
        let line = str::from_utf8(line).ok()?;
        if self.has_version {
            let (key, row) = parse_line(line)?;
            // The rows are written in the order of their keys.
            return self.rows.push(key, row).is_none().then_some(());
        }
        self.has_version = true;
        [VERSION, FIRST_VERSION].contains(&line).then_some(())
    }
}

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.text_bytes += text.len() as u64;
        if self.text_bytes > MAX_TEXT_BYTES {
            return Err(io::Error::other("it is too long"));
        }
        let mut pieces = text.split(|byte| *byte == b'\n');
        // There is at least one piece, and no line ends after the last one.
        let unfinished = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            let mut line = std::mem::take(&mut self.unfinished);
            line.extend_from_slice(piece);
            let added = self.add(&line);
            added.ok_or_else(|| io::Error::other(format!("line `{}`", String::from_utf8_lossy(&line))))?;
            // The allocation serves the next line.
            line.clear();
            self.unfinished = line;
        }
        self.unfinished.extend_from_slice(unfinished);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
        fn an_encoded_manifest_is_decoded_to_itself(rows in prop::collection::btree_map("[a-é /.]{1,8}", row(), 0..20)) {
            let manifest = Manifest::from_iter(rows);
            prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
        }

        #[test]
        fn a_truncated_manifest_is_refused(
            rows in prop::collection::btree_map("[a-z]{1,8}", row(), 1..20),
            cut in 1..40usize,
        ) {
            let bytes = Manifest::from_iter(rows).encode();
            prop_assert!(Manifest::decode(&bytes[..bytes.len() - cut.min(bytes.len())]).is_err());
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(b"dropship manifest 9\n").unwrap();
        assert!(Manifest::decode(&gzip.finish().unwrap()).is_err());
    }
}
