//! Multipart uploads that are in progress, and the object that their parts make.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};

use super::object::{Checksum, Draft, Headers, crc32_base64};
use super::{Etags, md5_hex};
use crate::storage::Bucket;

/// A multipart upload in progress.
#[derive(Clone, Debug)]
pub struct MultipartUpload {
    pub id: String,
    pub key: String,
    pub headers: Headers,
    /// The checksum algorithm that `CreateMultipartUpload` announced.
    pub algorithm: Option<String>,
    /// Whether the checksum covers the object, not the checksums of its parts.
    pub full_object: bool,
    pub parts: BTreeMap<i32, UploadedPart>,
    pub initiated: SystemTime,
}

/// One part of a multipart upload.
#[derive(Clone, Debug)]
pub struct UploadedPart {
    pub body: Bytes,
    /// With its quotes.
    pub etag: String,
    /// The CRC-32 if the client sent it or a copy computed it.
    pub crc32: Option<u32>,
}

impl MultipartUpload {
    /// Joins parts of this upload, in the given order.
    pub(crate) fn join(&self, parts: &[&UploadedPart]) -> Draft {
        let algorithm = self.algorithm.clone().unwrap_or_else(|| "CRC64NVME".to_owned());
        let crc32 = (algorithm == "CRC32").then(|| {
            if self.full_object {
                crc32_base64(crc32_of_object(parts))
            } else {
                format!("{}-{}", crc32_base64(crc32_of_checksums(parts)), parts.len())
            }
        });
        Draft {
            body: concatenated(parts),
            headers: self.headers.clone(),
            checksum: Checksum { composite: !self.full_object && crc32.is_some(), algorithm, crc32 },
            multipart_etag: Some(etag(parts)),
        }
    }
}

impl UploadedPart {
    fn crc32(&self) -> u32 {
        self.crc32.unwrap_or_else(|| crc32fast::hash(&self.body))
    }
}

/// Combines the checksums of the parts, so that no body is hashed twice.
fn crc32_of_object(parts: &[&UploadedPart]) -> u32 {
    let mut object = crc32fast::Hasher::new();
    for part in parts {
        object.combine(&crc32fast::Hasher::new_with_initial_len(part.crc32(), part.body.len() as u64));
    }
    object.finalize()
}

fn crc32_of_checksums(parts: &[&UploadedPart]) -> u32 {
    let checksums: Vec<u8> = parts.iter().flat_map(|part| part.crc32().to_be_bytes()).collect();
    crc32fast::hash(&checksums)
}

/// Returns the MD5 of the parts' MD5s and their number. In a bucket with MD5 ETags, the ETag of a part is its MD5.
fn etag(parts: &[&UploadedPart]) -> String {
    let md5s = parts.iter().flat_map(|part| hex::decode(part.etag.trim_matches('"')).unwrap_or_default());
    format!("{}-{}", md5_hex(&md5s.collect::<Vec<u8>>()), parts.len())
}

fn concatenated(parts: &[&UploadedPart]) -> Bytes {
    if let [part] = parts {
        return part.body.clone();
    }
    let mut body = BytesMut::with_capacity(parts.iter().map(|part| part.body.len()).sum());
    for part in parts {
        body.extend_from_slice(&part.body);
    }
    body.freeze()
}

impl Bucket {
    pub(crate) fn multipart_uploads(&self) -> Vec<MultipartUpload> {
        self.lock().uploads.values().cloned().collect()
    }

    pub(crate) fn multipart_upload(&self, upload_id: &str) -> Option<MultipartUpload> {
        self.lock().uploads.get(upload_id).cloned()
    }

    /// Begins an upload and returns its id.
    pub(crate) fn begin_upload(
        &self,
        key: &str,
        headers: Headers,
        algorithm: Option<String>,
        full_object: bool,
    ) -> String {
        let mut state = self.lock();
        let id = state.next_id(&self.name, "upload");
        let upload = MultipartUpload {
            id: id.clone(),
            key: key.to_owned(),
            headers,
            algorithm,
            full_object,
            parts: BTreeMap::new(),
            initiated: self.clock.whole_seconds(),
        };
        state.uploads.insert(id.clone(), upload);
        id
    }

    /// Stores a part and returns its ETag, or None if there is no such upload.
    pub(crate) fn put_part(&self, upload_id: &str, number: i32, body: Bytes, crc32: Option<u32>) -> Option<String> {
        let md5 = (self.etags == Etags::Md5).then(|| md5_hex(&body));
        let mut state = self.lock();
        let etag = md5.unwrap_or_else(|| state.next_id(&self.name, "part"));
        let etag = format!("\"{etag}\"");
        let upload = state.uploads.get_mut(upload_id)?;
        upload.parts.insert(number, UploadedPart { body, etag: etag.clone(), crc32 });
        Some(etag)
    }

    /// Removes an upload and its parts. Returns false if there is none.
    pub(crate) fn end_upload(&self, upload_id: &str) -> bool {
        self.lock().uploads.remove(upload_id).is_some()
    }
}
