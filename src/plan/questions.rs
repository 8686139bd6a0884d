//! What listing and manifest cannot tell of an object, and what was learnt by asking for it.

use super::known::all_known;
use super::rules::Rules;
use crate::archive::{ArchiveIndex, Encoding, Entry};
use crate::config::Compare;
use crate::headers::HeadersDigest;
use crate::listing::{Listing, Object};
use crate::manifest::Manifest;

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

impl Observed {
    /// By what the object is to be compared with the bytes of its entry, which have to be read for it; `None`
    /// where the archive's directory settles it, or nothing can.
    pub fn comparison(&self, object: &Object, compare: Compare, encoding: Encoding) -> Option<Sum> {
        let md5 = object.md5().map(Sum::Md5);
        let crc32 = self.crc32.map(Sum::Crc32);
        match (compare, encoding) {
            (Compare::Content, _) => md5.or(crc32),
            (Compare::Crc32, Encoding::Identity) if crc32.is_some() => None,
            // What looks like an MD5 need not be one: the CRC-32 is surer.
            (Compare::Crc32, _) => crc32.or(md5),
        }
    }
}
