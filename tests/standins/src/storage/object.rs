//! Objects, their versions and their headers.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Object {
    pub body: Bytes,
    /// With its quotes, as the API returns it.
    pub etag: String,
    pub headers: Headers,
    pub checksum: Checksum,
    /// None in a bucket without versioning.
    pub version_id: Option<String>,
    pub modified: SystemTime,
}

/// The headers that S3 stores with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub content_type: Option<String>,
    pub cache_control: Option<String>,
    pub content_encoding: Option<String>,
    pub content_language: Option<String>,
    pub content_disposition: Option<String>,
    /// User metadata, with names that lack `x-amz-meta-`.
    pub metadata: BTreeMap<String, String>,
}

impl Headers {
    /// Returns headers with only a Content-Type.
    pub fn of_type(content_type: &str) -> Self {
        Self { content_type: Some(content_type.to_owned()), ..Self::default() }
    }
}

/// The checksum that S3 stores with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// `CRC32`, `SHA256`, …; `CRC64NVME` if the upload named none.
    pub algorithm: String,
    /// The CRC-32 in base64 if a client sent or requested it, with a suffix `-N` if it is composite.
    pub crc32: Option<String>,
    /// Whether the CRC-32 covers the checksums of the parts instead of the body.
    pub composite: bool,
}

/// One entry in the history of a key.
#[derive(Clone, Debug)]
pub struct Version {
    pub id: String,
    pub modified: SystemTime,
    /// None for a delete marker.
    pub object: Option<Object>,
}

/// A body that is about to become an object.
pub(crate) struct Draft {
    pub(crate) body: Bytes,
    pub(crate) headers: Headers,
    pub(crate) checksum: Checksum,
    /// The ETag of a multipart upload in a bucket with MD5 ETags, without quotes.
    pub(crate) multipart_etag: Option<String>,
}

impl Draft {
    pub(crate) fn new(body: Bytes, headers: Headers, checksum: Checksum) -> Self {
        Self { body, headers, checksum, multipart_etag: None }
    }
}

/// Returns a CRC-32 as S3 writes it: its big-endian bytes in base64.
pub(crate) fn crc32_base64(crc32: u32) -> String {
    STANDARD.encode(crc32.to_be_bytes())
}

/// Parses the output of [`crc32_base64`].
pub(crate) fn parse_crc32(text: &str) -> Option<u32> {
    let bytes = STANDARD.decode(text).ok()?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}
