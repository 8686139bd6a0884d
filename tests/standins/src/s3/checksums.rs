//! The checksums that a client sends with a body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::{S3Result, TrailingHeaders, s3_error};

use super::header;
use crate::storage::{Checksum, crc32_base64};

/// The checksums that came with a body, in headers or trailers.
#[derive(Default)]
pub(super) struct BodyChecksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
    pub(super) md5: Option<String>,
}

/// Takes the checksums out of an input. The inputs share the names of these fields, but no trait.
macro_rules! body_checksums {
    ($request:expr) => {
        $crate::s3::checksums::BodyChecksums {
            crc32: $request.input.checksum_crc32.take(),
            crc32c: $request.input.checksum_crc32c.take(),
            crc64nvme: $request.input.checksum_crc64nvme.take(),
            sha1: $request.input.checksum_sha1.take(),
            sha256: $request.input.checksum_sha256.take(),
            md5: $request.input.content_md5.take(),
        }
    };
}
pub(super) use body_checksums;

impl BodyChecksums {
    /// Verifies a body and returns the checksum to store.
    ///
    /// Call it after the body was read: only then are the trailers there.
    pub(super) fn verify(mut self, trailers: Option<TrailingHeaders>, body: &[u8]) -> S3Result<Checksum> {
        self.read_trailers(trailers);
        let mut hasher = ChecksumHasher {
            crc32: None,
            crc32c: self.crc32c.as_ref().map(|_| Default::default()),
            sha1: self.sha1.as_ref().map(|_| Default::default()),
            sha256: self.sha256.as_ref().map(|_| Default::default()),
            crc64nvme: self.crc64nvme.as_ref().map(|_| Default::default()),
        };
        hasher.update(body);
        let computed = hasher.finalize();
        let crc32 = self.crc32.as_ref().map(|_| crc32_base64(crc32fast::hash(body)));
        let pairs = [
            ("CRC32", &self.crc32, &crc32),
            ("CRC32C", &self.crc32c, &computed.checksum_crc32c),
            ("SHA1", &self.sha1, &computed.checksum_sha1),
            ("SHA256", &self.sha256, &computed.checksum_sha256),
            ("CRC64NVME", &self.crc64nvme, &computed.checksum_crc64nvme),
        ];
        let mut algorithm = "CRC64NVME";
        for (name, sent, computed) in pairs {
            if sent.is_some() {
                algorithm = name;
            }
            if sent != computed {
                return Err(s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum."));
            }
        }
        if self.md5.is_some_and(|md5| md5 != STANDARD.encode(Md5::digest(body))) {
            return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
        }
        Ok(Checksum { algorithm: algorithm.to_owned(), crc32, composite: false })
    }

    fn read_trailers(&mut self, trailers: Option<TrailingHeaders>) {
        let Some(trailers) = trailers.and_then(|trailers| trailers.take()) else {
            return;
        };
        let fields = [
            ("x-amz-checksum-crc32", &mut self.crc32),
            ("x-amz-checksum-crc32c", &mut self.crc32c),
            ("x-amz-checksum-crc64nvme", &mut self.crc64nvme),
            ("x-amz-checksum-sha1", &mut self.sha1),
            ("x-amz-checksum-sha256", &mut self.sha256),
        ];
        for (name, field) in fields {
            *field = header(&trailers, name).or(field.take());
        }
    }
}
