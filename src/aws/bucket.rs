//! The live bucket's objects, and the manifest beside the archives.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    EncodingType, MetadataDirective, ObjectIdentifier,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{failed, status};
use crate::config::Config;
use crate::error::Error;
use crate::headers::Headers;
use crate::key::form_decode;
use crate::manifest::Manifest;
use crate::plan::{Listing, Object};

/// DeleteObjects takes at most 1,000 keys (S3 API).
pub const DELETES_PER_CALL: usize = 1_000;

/// The live bucket, under its prefix.
pub struct Bucket {
    s3: aws_sdk_s3::Client,
    name: String,
    prefix: String,
    owner: Option<String>,
}

/// An object as S3 describes it when asked for it alone.
pub struct Inspected {
    pub size_bytes: u64,
    pub etag: String,
    /// The CRC-32 over the whole object, if it was uploaded with one.
    pub crc32: Option<u32>,
    pub headers: Headers,
}

/// What became of a conditional write.
pub enum Written {
    /// The new object's ETag.
    Done(String),
    /// The object is not what the condition said: someone else has written, or a lost answer was ours.
    Conflict,
}

/// What a write demands of the object that it replaces.
#[derive(Clone, Copy, Debug)]
pub enum Condition<'a> {
    Absent,
    Etag(&'a str),
}

impl<'a> Condition<'a> {
    pub fn replacing(etag: Option<&'a str>) -> Self {
        etag.map_or(Self::Absent, Self::Etag)
    }

    fn if_match(self) -> Option<String> {
        match self {
            Self::Absent => None,
            Self::Etag(etag) => Some(format!("\"{etag}\"")),
        }
    }

    fn if_none_match(self) -> Option<String> {
        matches!(self, Self::Absent).then(|| "*".to_owned())
    }
}

/// A key that DeleteObjects did not delete.
#[derive(Debug)]
pub struct NotDeleted {
    pub key: String,
    pub code: String,
    pub message: String,
}

impl NotDeleted {
    /// Whether someone else has written the object since it was listed.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self.code.as_str(),
            "PreconditionFailed" | "ConditionalRequestConflict"
        )
    }
}

impl Bucket {
    pub fn new(s3: aws_sdk_s3::Client, config: &Config) -> Self {
        Self {
            s3,
            name: config.live_bucket.clone(),
            prefix: config.live_prefix.clone(),
            owner: config.account_id.clone(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lists all objects under the prefix.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn list(&self) -> Result<Listing, Error> {
        let mut pages = self
            .s3
            .list_objects_v2()
            .bucket(&self.name)
            .set_prefix((!self.prefix.is_empty()).then(|| self.prefix.clone()))
            // A key may hold characters that XML cannot (S3 API, ListObjectsV2, EncodingType).
            .encoding_type(EncodingType::Url)
            .set_expected_bucket_owner(self.owner.clone())
            .into_paginator()
            .send();
        let mut listing = Listing::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                failed(format!("listing s3://{}/{}", self.name, self.prefix), error)
            })?;
            // The SDK leaves the decoding to its caller.
            let is_encoded = page.encoding_type() == Some(&EncodingType::Url);
            let objects = page.contents.unwrap_or_default().into_iter();
            listing.extend(objects.filter_map(|object| {
                let size = object.size.and_then(|size| u64::try_from(size).ok());
                let etag = unquoted(object.e_tag.as_deref().unwrap_or_default());
                let key = object.key?;
                let key = if is_encoded { form_decode(&key)? } else { key };
                Some((
                    key,
                    Object {
                        size_bytes: size.unwrap_or_default(),
                        etag,
                    },
                ))
            }));
        }
        Ok(listing)
    }

    /// Asks for one object's checksum and headers; `None` when it does not exist.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn inspect(&self, key: &str) -> Result<Option<Inspected>, Error> {
        let answer = self
            .s3
            .head_object()
            .bucket(&self.name)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await;
        let head = match answer {
            Ok(head) => head,
            Err(error) if status(&error) == Some(404) => return Ok(None),
            Err(error) => return Err(failed(format!("asking for {key}"), error)),
        };
        // A composite checksum is one over the parts' checksums, not over the bytes.
        let is_full = head
            .checksum_type()
            .is_none_or(|kind| *kind == ChecksumType::FullObject);
        let crc32 = head
            .checksum_crc32()
            .filter(|_| is_full)
            .and_then(decode_crc32);
        Ok(Some(Inspected {
            size_bytes: head
                .content_length()
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or_default(),
            etag: unquoted(head.e_tag().unwrap_or_default()),
            crc32,
            headers: Headers {
                content_type: head.content_type.unwrap_or_default(),
                cache_control: head.cache_control,
                content_disposition: head.content_disposition,
                content_language: head.content_language,
                content_encoding: head.content_encoding,
                metadata: head.metadata.unwrap_or_default().into_iter().collect(),
            },
        }))
    }

    /// Writes one object whose CRC-32 S3 checks.
    ///
    /// # Errors
    /// `Aws`; a failed condition is no error.
    pub async fn put(
        &self,
        key: &str,
        body: Bytes,
        crc32: u32,
        headers: &Headers,
        condition: Condition<'_>,
    ) -> Result<Written, Error> {
        let answer = self
            .s3
            .put_object()
            .bucket(&self.name)
            .key(key)
            .body(ByteStream::from(body))
            .checksum_crc32(encode_crc32(crc32))
            .content_type(&headers.content_type)
            .set_cache_control(headers.cache_control.clone())
            .set_content_disposition(headers.content_disposition.clone())
            .set_content_language(headers.content_language.clone())
            .set_content_encoding(headers.content_encoding.clone())
            .set_metadata(Some(headers.metadata.clone().into_iter().collect()))
            .set_if_match(condition.if_match())
            .set_if_none_match(condition.if_none_match())
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await;
        written(answer.map(|output| output.e_tag), || {
            format!("writing {key}")
        })
    }

    /// Copies one object onto itself under other headers, all of which it sends again: a header that is
    /// left out of a replacing copy is lost (S3 API, CopyObject, MetadataDirective).
    ///
    /// # Errors
    /// `Aws`; a failed condition is no error.
    pub async fn copy_onto_itself(
        &self,
        key: &str,
        etag: &str,
        headers: &Headers,
    ) -> Result<Written, Error> {
        let answer = self
            .s3
            .copy_object()
            .bucket(&self.name)
            .key(key)
            .copy_source(format!(
                "{}/{}",
                self.name,
                utf8_percent_encode(key, NON_ALPHANUMERIC)
            ))
            .copy_source_if_match(format!("\"{etag}\""))
            .metadata_directive(MetadataDirective::Replace)
            .content_type(&headers.content_type)
            .set_cache_control(headers.cache_control.clone())
            .set_content_disposition(headers.content_disposition.clone())
            .set_content_language(headers.content_language.clone())
            .set_content_encoding(headers.content_encoding.clone())
            .set_metadata(Some(headers.metadata.clone().into_iter().collect()))
            .set_expected_bucket_owner(self.owner.clone())
            .set_expected_source_bucket_owner(self.owner.clone())
            .send()
            .await;
        written(
            answer.map(|output| output.copy_object_result.and_then(|result| result.e_tag)),
            || format!("changing the headers of {key}"),
        )
    }

    /// Deletes up to 1,000 objects, each only while it has the ETag given; gives those that remain.
    ///
    /// # Errors
    /// `Aws` when the call as a whole failed.
    pub async fn delete(&self, keys: &[(&str, Option<&str>)]) -> Result<Vec<NotDeleted>, Error> {
        let objects = keys.iter().filter_map(|(key, etag)| {
            // It fails only without a key.
            ObjectIdentifier::builder()
                .key(*key)
                .set_e_tag(etag.map(|etag| format!("\"{etag}\"")))
                .build()
                .ok()
        });
        let delete = aws_sdk_s3::types::Delete::builder()
            .set_objects(Some(objects.collect()))
            .quiet(true)
            .build();
        let what = || format!("deleting {} objects", keys.len());
        let delete = delete.map_err(|error| Error::Aws {
            what: what(),
            reason: error.to_string(),
            source: None,
        })?;
        let request = self.s3.delete_objects().bucket(&self.name).delete(delete);
        let answer = request
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await;
        let errors = answer
            .map_err(|error| failed(what(), error))?
            .errors
            .unwrap_or_default();
        let remaining = errors.into_iter().map(|error| NotDeleted {
            key: error.key.unwrap_or_default(),
            code: error.code.unwrap_or_default(),
            message: error.message.unwrap_or_default(),
        });
        // What is gone already is what was wanted.
        Ok(remaining
            .filter(|error| error.code != "NoSuchKey")
            .collect())
    }

    /// Begins a multipart upload of a large object, whose whole CRC-32 S3 checks at the end.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn begin(&self, key: &str, headers: &Headers) -> Result<MultipartUpload<'_>, Error> {
        let answer = self
            .s3
            .create_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::FullObject)
            .content_type(&headers.content_type)
            .set_cache_control(headers.cache_control.clone())
            .set_content_disposition(headers.content_disposition.clone())
            .set_content_language(headers.content_language.clone())
            .set_content_encoding(headers.content_encoding.clone())
            .set_metadata(Some(headers.metadata.clone().into_iter().collect()))
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
            .map_err(|error| failed(format!("beginning the upload of {key}"), error))?;
        Ok(MultipartUpload {
            bucket: self,
            key: key.to_owned(),
            id: answer.upload_id.unwrap_or_default(),
            parts: Vec::new(),
        })
    }
}

/// A multipart upload under way; it is either completed or aborted, never left behind on purpose.
pub struct MultipartUpload<'a> {
    bucket: &'a Bucket,
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
}

impl MultipartUpload<'_> {
    /// Uploads the next part: 5 MiB or more, but for the last.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn part(&mut self, body: Bytes) -> Result<(), Error> {
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let crc32 = encode_crc32(crc32fast::hash(&body));
        let bucket = self.bucket;
        let request = bucket
            .s3
            .upload_part()
            .bucket(&bucket.name)
            .key(&self.key)
            .upload_id(&self.id);
        let request = request
            .part_number(number)
            .body(ByteStream::from(body))
            .checksum_crc32(&crc32);
        let answer = request
            .set_expected_bucket_owner(bucket.owner.clone())
            .send()
            .await;
        let answer = answer
            .map_err(|error| failed(format!("uploading part {number} of {}", self.key), error))?;
        let part = CompletedPart::builder()
            .part_number(number)
            .checksum_crc32(crc32)
            .set_e_tag(answer.e_tag);
        self.parts.push(part.build());
        Ok(())
    }

    /// Makes the object of its parts.
    ///
    /// # Errors
    /// `Aws`; a failed condition is no error. The parts are gone either way.
    pub async fn complete(self, crc32: u32, condition: Condition<'_>) -> Result<Written, Error> {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(self.parts.clone()))
            .build();
        let bucket = self.bucket;
        let request = bucket
            .s3
            .complete_multipart_upload()
            .bucket(&bucket.name)
            .key(&self.key)
            .upload_id(&self.id);
        let answer = request
            .multipart_upload(parts)
            .checksum_crc32(encode_crc32(crc32))
            .checksum_type(ChecksumType::FullObject)
            .set_if_match(condition.if_match())
            .set_if_none_match(condition.if_none_match())
            .set_expected_bucket_owner(bucket.owner.clone())
            .send()
            .await;
        let result = written(answer.map(|output| output.e_tag), || {
            format!("completing the upload of {}", self.key)
        });
        if !matches!(result, Ok(Written::Done(_))) {
            self.abort().await;
        }
        result
    }

    /// Gives the upload up and frees its parts; the bucket's lifecycle rule is what remains if this fails.
    pub async fn abort(self) {
        let bucket = self.bucket;
        let request = bucket
            .s3
            .abort_multipart_upload()
            .bucket(&bucket.name)
            .key(&self.key)
            .upload_id(&self.id);
        if let Err(error) = request
            .set_expected_bucket_owner(bucket.owner.clone())
            .send()
            .await
            && status(&error) != Some(404)
        {
            tracing::warn!(key = %self.key, "an aborted upload may have left parts: {error}");
        }
    }
}

/// The manifests in the staging bucket, under `.dropship/<site>/`.
pub struct Manifests {
    s3: aws_sdk_s3::Client,
    bucket: String,
    folder: String,
    owner: Option<String>,
}

impl Manifests {
    pub fn new(s3: aws_sdk_s3::Client, config: &Config) -> Self {
        Self {
            s3,
            bucket: config.staging_bucket.clone(),
            folder: format!(".dropship/{}", config.site.trim_end_matches('/')),
            owner: config.account_id.clone(),
        }
    }

    /// Reads the manifest under `key`; one that is missing or damaged is an empty one.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn load(&self, key: Option<&str>) -> Result<Manifest, Error> {
        let Some(key) = key else {
            return Ok(Manifest::default());
        };
        let request = self.s3.get_object().bucket(&self.bucket).key(key);
        let answer = match request
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
        {
            Ok(answer) => answer,
            Err(error) if status(&error) == Some(404) => {
                tracing::warn!(%key, "the manifest is gone: every object is asked for once");
                return Ok(Manifest::default());
            }
            Err(error) => return Err(failed(format!("reading the manifest {key}"), error)),
        };
        let body = answer.body.collect().await.map_err(|error| Error::Aws {
            what: format!("reading the manifest {key}"),
            reason: error.to_string(),
            source: None,
        })?;
        Ok(
            Manifest::decode(&body.into_bytes()).unwrap_or_else(|error| {
                tracing::warn!(%key, "{error}");
                Manifest::default()
            }),
        )
    }

    /// Writes a manifest under a key that no other write of the site's ledger uses; gives the key.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn save(&self, manifest: &Manifest, version: u64) -> Result<String, Error> {
        let key = format!("{}/manifest-{version}.gz", self.folder);
        let request = self
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            .body(manifest.encode().into());
        let answer = request
            .content_type("application/gzip")
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await;
        answer.map_err(|error| failed(format!("writing the manifest {key}"), error))?;
        Ok(key)
    }

    /// Deletes a manifest that nothing points at any more; a leftover does no harm.
    pub async fn remove(&self, key: &str) {
        let request = self.s3.delete_object().bucket(&self.bucket).key(key);
        if let Err(error) = request
            .set_expected_bucket_owner(self.owner.clone())
            .send()
            .await
        {
            tracing::warn!(%key, "an outdated manifest was left behind: {error}");
        }
    }
}

fn written<E>(
    answer: Result<Option<String>, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
    what: impl Fn() -> String,
) -> Result<Written, Error>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match answer {
        Ok(Some(etag)) => Ok(Written::Done(unquoted(&etag))),
        Ok(None) => Err(Error::Aws {
            what: what(),
            reason: "the answer has no ETag".to_owned(),
            source: None,
        }),
        // 412: the condition does not hold. 409: another write to the key was under way. 404: the object that
        // was to be replaced is gone (S3 user guide, "Conditional writes").
        Err(error)
            if matches!(status(&error), Some(404 | 409 | 412))
                && error.code() != Some("NoSuchBucket") =>
        {
            Ok(Written::Conflict)
        }
        Err(error) => Err(failed(what(), error)),
    }
}

fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

/// As S3 writes checksums: base64 over the big-endian bytes.
fn encode_crc32(crc32: u32) -> String {
    BASE64.encode(crc32.to_be_bytes())
}

fn decode_crc32(text: &str) -> Option<u32> {
    Some(u32::from_be_bytes(
        BASE64.decode(text).ok()?.try_into().ok()?,
    ))
}
