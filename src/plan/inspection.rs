//! The objects that must be inspected, with one HEAD each, and the results.

use super::known::all_known;
use super::rules::Rules;
use crate::archive::{ArchiveIndex, Encoding, Entry};
use crate::headers::HeadersDigest;
use crate::listing::{Listing, Object};
use crate::manifest::Manifest;

/// The result of inspecting an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The CRC-32 of the full object that S3 keeps, if any.
    pub crc32: Option<u32>,
    /// Whether the object has the wanted bytes; `None` if they were not compared.
    pub same_bytes: Option<bool>,
    pub headers: HeadersDigest,
    /// Whether the object is no page and its Cache-Control says `immutable`.
    pub immutable: bool,
}

/// The checksum by which an object is compared with its entry.
#[derive(Clone, Debug, PartialEq)]
pub enum Checksum {
    /// In hexadecimal, as in an ETag.
    Md5(String),
    Crc32(u32),
}

/// Returns the keys of the objects to inspect, each with its entry and the encoding that the rules want.
///
/// These are the objects of the right size that the manifest does not settle.
pub fn to_inspect<'a>(
    index: &'a ArchiveIndex,
    listing: &Listing,
    manifest: &Manifest,
    rules: &Rules,
) -> Vec<(String, &'a Entry, Encoding)> {
    all_known(index, listing, manifest, rules.live_prefix)
        .filter_map(|known| {
            let (entry, object) = (known.entry?, known.object.as_ref()?);
            if known.valid_row().is_some() {
                return None;
            }
            let encoding = rules.wanted(entry).encoding;
            (object.size_bytes == encoding.size_bytes(entry)).then(|| (known.key().into_owned(), entry, encoding))
        })
        .collect()
}

/// Returns the keys of the objects to inspect because they have no valid row, and would be retained if they had one.
///
/// These are objects that the archive lacks and the rules let the deployment delete.
pub fn removed_without_row(index: &ArchiveIndex, listing: &Listing, manifest: &Manifest, rules: &Rules) -> Vec<String> {
    if rules.retain_removed_days == 0 {
        return Vec::new();
    }
    all_known(index, listing, manifest, rules.live_prefix)
        .filter(|known| known.entry.is_none() && known.object.is_some() && known.valid_row().is_none())
        .filter(|known| known.may_delete(rules.prune))
        .map(|known| known.key().into_owned())
        .collect()
}

impl Inspection {
    /// Returns the checksum with which the bytes of the entry must be compared, after reading them.
    ///
    /// Returns `None` if the CRC-32 in the archive's directory settles it, or if S3 keeps no checksum.
    pub fn comparison(&self, object: &Object, encoding: Encoding) -> Option<Checksum> {
        match (self.crc32, encoding) {
            (Some(_), Encoding::Identity) => None,
            (Some(crc32), Encoding::Gzip) => Some(Checksum::Crc32(crc32)),
            // An ETag that looks like an MD5 may be something else, as those of SSE-KMS do. Then the bytes differ from
            // it, and the object is written once, with a CRC-32.
            (None, _) => object.md5().map(Checksum::Md5),
        }
    }
}
