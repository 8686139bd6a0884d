//! S3's API over the buckets in memory; `s3s` speaks the protocol.

use std::sync::Arc;

use base64::Engine as _;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use hyper::HeaderMap;
use md5::{Digest as _, Md5};
use s3s::auth::{S3Auth, SecretKey};
use s3s::checksum::ChecksumHasher;
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::stream::ByteStream as _;
use s3s::{Body, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use crate::bucket::{
    self, Bucket, Buckets, Conditions, Draft, Etags, Headers, RefusedKeys, Unmet, Versioning, crc32_base64, crc32_of,
    etag_matches, joined,
};
use crate::{REGION, SECRET};

/// S3 returns at most so many keys in a page of a listing.
const MAX_KEYS: i32 = 1000;

/// Every part but the last has at least 5 MiB.
const MIN_PART_BYTES: usize = 5 * 1024 * 1024;

/// Builds the protocol service. Signatures are verified; any access key id is known.
pub(crate) fn service(buckets: Arc<Buckets>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Api { buckets });
    builder.set_auth(AnyClient);
    builder.build()
}

struct AnyClient;

#[async_trait::async_trait]
impl S3Auth for AnyClient {
    async fn get_secret_key(&self, _access_key: &str) -> S3Result<SecretKey> {
        Ok(SecretKey::from(SECRET))
    }
}

struct Api {
    buckets: Arc<Buckets>,
}

impl Api {
    fn bucket(&self, name: &str, expected_owner: Option<&str>) -> S3Result<Arc<Bucket>> {
        let bucket = self.buckets.get(name).ok_or(S3ErrorCode::NoSuchBucket)?;
        if !self.buckets.are_owned_by(expected_owner) {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(bucket)
    }
}

fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.trim_matches('"').to_owned())
}

fn text(condition: Option<ETagCondition>) -> Option<String> {
    condition.map(|condition| match condition {
        ETagCondition::Any => "*".to_owned(),
        ETagCondition::ETag(etag) => etag.into_value(),
    })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

fn unmet(unmet: Unmet) -> S3Error {
    match unmet {
        Unmet::Missing => s3_error!(NoSuchKey, "The specified key does not exist."),
        Unmet::PreconditionFailed => {
            s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        }
    }
}

/// Conditions of a write. `If-None-Match` with an ETag is not implemented by S3 either.
fn conditions(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Conditions> {
    if matches!(if_none_match, Some(ETagCondition::ETag(_))) {
        return Err(s3_error!(NotImplemented, "A header you provided implies functionality that is not implemented"));
    }
    Ok(Conditions { if_match: text(if_match), if_none_match: text(if_none_match) })
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else {
        return Ok(Bytes::new());
    };
    let mut first = Bytes::new();
    let mut more: Option<BytesMut> = None;
    loop {
        let remaining_bytes = body.remaining_length().exact().unwrap_or_default();
        let Some(chunk) = body.next().await else {
            return Ok(more.map_or(first, BytesMut::freeze));
        };
        let chunk = chunk.map_err(|source| S3Error::with_source(S3ErrorCode::IncompleteBody, source))?;
        match &mut more {
            Some(more) => more.extend_from_slice(&chunk),
            None if first.is_empty() => first = chunk,
            None => {
                let mut joined = BytesMut::with_capacity(first.len() + remaining_bytes);
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&chunk);
                more = Some(joined);
            }
        }
    }
}

/// Checksums that came with a body, in headers or trailers.
#[derive(Default)]
struct Sent {
    crc32: Option<String>,
    crc32c: Option<String>,
    crc64nvme: Option<String>,
    sha1: Option<String>,
    sha256: Option<String>,
    md5: Option<String>,
}

impl Sent {
    fn read_trailers(&mut self, trailers: Option<TrailingHeaders>) {
        let Some(trailers) = trailers.and_then(|trailers| trailers.take()) else {
            return;
        };
        let slots = [
            ("x-amz-checksum-crc32", &mut self.crc32),
            ("x-amz-checksum-crc32c", &mut self.crc32c),
            ("x-amz-checksum-crc64nvme", &mut self.crc64nvme),
            ("x-amz-checksum-sha1", &mut self.sha1),
            ("x-amz-checksum-sha256", &mut self.sha256),
        ];
        for (name, slot) in slots {
            *slot = header(&trailers, name).or(slot.take());
        }
    }

    /// Refuses a body that is not what the checksums say.
    fn verify(&self, body: &[u8]) -> S3Result<bucket::Checksum> {
        let hasher = ChecksumHasher {
            crc32: None,
            crc32c: self.crc32c.as_ref().map(|_| Default::default()),
            sha1: self.sha1.as_ref().map(|_| Default::default()),
            sha256: self.sha256.as_ref().map(|_| Default::default()),
            crc64nvme: self.crc64nvme.as_ref().map(|_| Default::default()),
        };
        let mut hasher = hasher;
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
        if let Some(md5) = &self.md5 {
            let computed = base64::engine::general_purpose::STANDARD.encode(Md5::digest(body));
            if *md5 != computed {
                return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
            }
        }
        Ok(bucket::Checksum { algorithm: algorithm.to_owned(), crc32, composite: false })
    }
}

/// `aws-chunked` describes the transfer; S3 does not keep it.
fn kept_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let kept: Vec<&str> =
        encoding.split(',').map(str::trim).filter(|coding| !coding.is_empty() && *coding != "aws-chunked").collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

/// Collects the headers that an input carries; inputs share the names of their fields.
macro_rules! headers_of {
    ($input:expr) => {
        Headers {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_encoding: kept_encoding($input.content_encoding.take()),
            content_language: $input.content_language.take(),
            content_disposition: $input.content_disposition.take(),
            metadata: $input.metadata.take().unwrap_or_default().into_iter().collect(),
        }
    };
}

/// An object for reading: the version asked for, judged by the conditions of the request.
fn read(
    bucket: &Bucket,
    key: &str,
    version_id: Option<&str>,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<bucket::Object> {
    let object = match version_id {
        None => bucket.object(key).ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."))?,
        Some(version_id) => {
            let version = bucket
                .version(key, version_id)
                .ok_or_else(|| s3_error!(NoSuchVersion, "The specified version does not exist."))?;
            version.object.ok_or_else(|| {
                s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.")
            })?
        }
    };
    if let Some(wanted) = text(if_match)
        && !etag_matches(&wanted, &object.etag)
    {
        return Err(unmet(Unmet::PreconditionFailed));
    }
    if let Some(unwanted) = text(if_none_match)
        && etag_matches(&unwanted, &object.etag)
    {
        return Err(S3ErrorCode::NotModified.into());
    }
    Ok(object)
}

fn checksum_type(checksum: &bucket::Checksum) -> ChecksumType {
    ChecksumType::from_static(match checksum.composite {
        true => ChecksumType::COMPOSITE,
        false => ChecksumType::FULL_OBJECT,
    })
}

fn asks_for_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

fn default_type(content_type: Option<String>) -> Option<String> {
    // "The default is binary/octet-stream."
    content_type.or_else(|| Some("binary/octet-stream".to_owned()))
}

fn length(body: &Bytes) -> i64 {
    i64::try_from(body.len()).expect("a body in memory fits")
}

/// A page of objects, its folders, and the key to go on after.
type Page = (Vec<(String, Object)>, Vec<String>, Option<String>);

/// What a listing tells of an object, with its key beside it.
fn listed(key: &str, object: &bucket::Object) -> (String, Object) {
    let algorithm = object.checksum.algorithm.clone();
    let told = Object {
        e_tag: Some(strong(&object.etag)),
        size: Some(length(&object.body)),
        last_modified: Some(object.modified.into()),
        checksum_type: Some(checksum_type(&object.checksum)),
        checksum_algorithm: Some(vec![ChecksumAlgorithm::from(algorithm)]),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Default::default()
    };
    (key.to_owned(), told)
}

/// Rolls keys up to the first `delimiter` behind the prefix; a folder counts as one key.
fn grouped(all: Vec<(String, Object)>, prefix: &str, delimiter: &str, limit: usize) -> Page {
    let (mut objects, mut folders, mut last) = (Vec::new(), Vec::<String>::new(), None);
    for (key, object) in all {
        let folder =
            key[prefix.len()..].find(delimiter).map(|at| key[..prefix.len() + at + delimiter.len()].to_owned());
        let is_open = folder.is_some() && folders.last() == folder.as_ref();
        if !is_open && objects.len() + folders.len() == limit {
            return (objects, folders, last);
        }
        last = Some(key.clone());
        match folder {
            None => objects.push((key, object)),
            Some(folder) if !is_open => folders.push(folder),
            Some(_) => {}
        }
    }
    (objects, folders, None)
}

/// Encodes a key for a listing with `encoding-type=url`: as a form, but `/` stands.
fn url_encoded(text: String, encoding: Option<&EncodingType>) -> String {
    const KEPT: percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'*')
        .remove(b'/')
        .remove(b' ');
    if encoding.is_none() {
        return text;
    }
    percent_encoding::utf8_percent_encode(&text, &KEPT).to_string().replace(' ', "+")
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        let name = req.input.bucket;
        if self.buckets.get(&name).is_some() {
            return Err(S3ErrorCode::BucketAlreadyOwnedByYou.into());
        }
        self.buckets.create(&name, Versioning::Off, Etags::Md5);
        Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{name}")) }))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        let input = req.input;
        self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() }))
    }

    async fn list_buckets(&self, _req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        let names = self.buckets.names().into_iter();
        let buckets = names.map(|name| s3s::dto::Bucket { name: Some(name), ..Default::default() });
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets.collect()), ..Default::default() }))
    }

    async fn get_bucket_versioning(
        &self,
        req: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let enabled = bucket.versioning() == Versioning::On;
        Ok(S3Response::new(GetBucketVersioningOutput {
            status: enabled.then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
            ..Default::default()
        }))
    }

    async fn put_bucket_versioning(
        &self,
        req: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let status = input.versioning_configuration.status;
        match status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => bucket.set_versioning(Versioning::On),
            _ => return Err(s3_error!(NotImplemented, "only Enabled is emulated")),
        }
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let conditions = conditions(input.if_match.take(), input.if_none_match.take())?;
        let body = whole(input.body.take()).await?;
        let mut sent = Sent {
            crc32: input.checksum_crc32.take(),
            crc32c: input.checksum_crc32c.take(),
            crc64nvme: input.checksum_crc64nvme.take(),
            sha1: input.checksum_sha1.take(),
            sha256: input.checksum_sha256.take(),
            md5: input.content_md5.take(),
        };
        sent.read_trailers(req.trailing_headers);
        let checksum = sent.verify(&body)?;
        let draft = Draft::new(body, headers_of!(input), checksum);
        let object = bucket.write(&input.key, draft, &conditions).map_err(unmet)?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(strong(&object.etag)),
            checksum_type: Some(checksum_type(&object.checksum)),
            checksum_crc32: object.checksum.crc32,
            version_id: object.version_id,
            ..Default::default()
        }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let object = read(&bucket, &input.key, input.version_id.as_deref(), input.if_match, input.if_none_match)?;
        let size_bytes = object.body.len() as u64;
        let span = input.range.map(|range| range.check(size_bytes)).transpose()?;
        let body = match &span {
            // A span inside a body in memory fits in usize.
            Some(span) => object.body.slice(span.start as usize..span.end as usize),
            None => object.body.clone(),
        };
        // A part of the body is not what the checksum of the whole describes.
        let checksum = (asks_for_checksum(input.checksum_mode.as_ref()) && span.is_none()).then_some(object.checksum);
        let headers = object.headers;
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(&body)),
            content_range: span.map(|span| format!("bytes {}-{}/{size_bytes}", span.start, span.end - 1)),
            body: Some(StreamingBlob::from(Body::from(body))),
            e_tag: Some(strong(&object.etag)),
            last_modified: Some(object.modified.into()),
            version_id: object.version_id,
            checksum_type: checksum.as_ref().map(checksum_type),
            checksum_crc32: checksum.and_then(|checksum| checksum.crc32),
            content_type: default_type(headers.content_type),
            cache_control: headers.cache_control,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            metadata: Some(headers.metadata.into_iter().collect()),
            ..Default::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let object = read(&bucket, &input.key, input.version_id.as_deref(), input.if_match, input.if_none_match)?;
        let checksum = asks_for_checksum(input.checksum_mode.as_ref()).then_some(object.checksum);
        let headers = object.headers;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(length(&object.body)),
            e_tag: Some(strong(&object.etag)),
            last_modified: Some(object.modified.into()),
            version_id: object.version_id,
            checksum_type: checksum.as_ref().map(checksum_type),
            checksum_crc32: checksum.and_then(|checksum| checksum.crc32),
            content_type: default_type(headers.content_type),
            cache_control: headers.cache_control,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            metadata: Some(headers.metadata.into_iter().collect()),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let max_keys = input.max_keys.unwrap_or(MAX_KEYS).clamp(0, MAX_KEYS);
        let prefix = input.prefix.clone().unwrap_or_default();
        // The token is the last key of the page before; real ones are opaque, too.
        let after = match &input.continuation_token {
            Some(token) => hex::decode(token)
                .ok()
                .and_then(|key| String::from_utf8(key).ok())
                .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is incorrect"))?,
            None => input.start_after.clone().unwrap_or_default(),
        };
        let limit = usize::try_from(max_keys).unwrap_or_default();
        let (page, folders, next) = match input.delimiter.as_deref().filter(|it| !it.is_empty()) {
            Some(delimiter) => {
                let (all, _) = bucket.page(&prefix, &after, usize::MAX, listed);
                grouped(all, &prefix, delimiter, limit)
            }
            None => {
                let (page, is_truncated) = bucket.page(&prefix, &after, limit, listed);
                let next = page.last().filter(|_| is_truncated).map(|(key, _)| key.clone());
                (page, Vec::new(), next)
            }
        };
        let encoding = input.encoding_type;
        let contents =
            page.into_iter().map(|(key, object)| Object { key: Some(url_encoded(key, encoding.as_ref())), ..object });
        let contents: Vec<Object> = contents.collect();
        let encoded = |text: String| url_encoded(text, encoding.as_ref());
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(encoded),
            start_after: input.start_after.map(encoded),
            max_keys: Some(max_keys),
            key_count: Some(i32::try_from(contents.len() + folders.len()).expect("at most max_keys")),
            contents: Some(contents),
            common_prefixes: Some(
                folders.into_iter().map(|folder| CommonPrefix { prefix: Some(encoded(folder)) }).collect(),
            ),
            delimiter: input.delimiter,
            is_truncated: Some(next.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: next.map(hex::encode),
            encoding_type: encoding.clone(),
            ..Default::default()
        }))
    }

    async fn list_object_versions(
        &self,
        req: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let mut versions = Vec::new();
        let mut markers = Vec::new();
        for (key, history) in bucket.history(input.prefix.as_deref().unwrap_or_default()) {
            let count = history.len();
            for (index, version) in history.into_iter().enumerate().rev() {
                let is_latest = Some(index + 1 == count);
                match version.object {
                    Some(object) => versions.push(ObjectVersion {
                        key: Some(key.clone()),
                        version_id: Some(version.id),
                        is_latest,
                        e_tag: Some(strong(&object.etag)),
                        size: Some(length(&object.body)),
                        last_modified: Some(version.modified.into()),
                        ..Default::default()
                    }),
                    None => markers.push(DeleteMarkerEntry {
                        key: Some(key.clone()),
                        version_id: Some(version.id),
                        is_latest,
                        last_modified: Some(version.modified.into()),
                        ..Default::default()
                    }),
                }
            }
        }
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: input.prefix,
            // One page, however long: the stand-in's own tests are its only readers.
            is_truncated: Some(false),
            versions: Some(versions),
            delete_markers: Some(markers),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        if let Some(version_id) = input.version_id {
            bucket.expire(&input.key, &version_id);
            return Ok(S3Response::new(DeleteObjectOutput { version_id: Some(version_id), ..Default::default() }));
        }
        let conditions = conditions(input.if_match, None)?;
        let marker = bucket.delete_if(&input.key, &conditions).map_err(unmet)?;
        Ok(S3Response::new(DeleteObjectOutput {
            delete_marker: marker.as_ref().map(|_| true),
            version_id: marker,
            ..Default::default()
        }))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > MAX_KEYS as usize {
            return Err(s3_error!(
                MalformedXML,
                "The XML you provided was not well-formed or did not validate against our published schema"
            ));
        }
        let refused = req.extensions.get::<RefusedKeys>().cloned().unwrap_or_default();
        let quiet = input.delete.quiet.unwrap_or_default();
        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        for object in objects {
            let key = object.key;
            let mut fail = |code: &str, message: &str| {
                errors.push(s3s::dto::Error {
                    key: Some(key.clone()),
                    code: Some(code.to_owned()),
                    message: Some(message.to_owned()),
                    version_id: None,
                });
            };
            if let Some(code) = refused.code(&key) {
                fail(code, &format!("injected {code}"));
                continue;
            }
            if let Some(version_id) = object.version_id {
                bucket.expire(&key, &version_id);
                deleted.push(DeletedObject { key: Some(key), version_id: Some(version_id), ..Default::default() });
                continue;
            }
            let conditions = Conditions { if_match: object.e_tag.map(ETag::into_value), if_none_match: None };
            match bucket.delete_if(&key, &conditions) {
                Ok(marker) => deleted.push(DeletedObject {
                    key: Some(key),
                    delete_marker: marker.as_ref().map(|_| true),
                    delete_marker_version_id: marker,
                    version_id: None,
                }),
                Err(reason) => {
                    let error = unmet(reason);
                    fail(error.code().as_str(), error.message().unwrap_or_default());
                }
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..Default::default()
        }))
    }

    async fn copy_object(&self, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let mut input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let (source_bucket, source_key, source_version) = source(&input.copy_source)?;
        let from = self.bucket(&source_bucket, input.expected_source_bucket_owner.as_deref())?;
        let object = read(&from, &source_key, source_version.as_deref(), input.copy_source_if_match.take(), None)?;
        let directive = input.metadata_directive.as_ref();
        let replaces = directive.is_some_and(|it| it.as_str() == MetadataDirective::REPLACE);
        let onto_itself = source_bucket == input.bucket && source_key == input.key && source_version.is_none();
        if onto_itself && !replaces {
            return Err(s3_error!(
                InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
            ));
        }
        // The protocol layer does not know the conditions on the destination yet.
        let conditions = Conditions {
            if_match: header(&req.headers, "if-match"),
            if_none_match: header(&req.headers, "if-none-match"),
        };
        let mut checksum = object.checksum;
        let asks_for_crc32 = (input.checksum_algorithm.as_ref()).is_some_and(|it| it.as_str() == "CRC32");
        // The copy is one piece, so a checksum of checksums does not describe it.
        if asks_for_crc32 || checksum.composite {
            checksum.algorithm = "CRC32".to_owned();
            checksum.crc32 = Some(crc32_base64(crc32fast::hash(&object.body)));
            checksum.composite = false;
        }
        let headers = match replaces {
            true => headers_of!(input),
            false => object.headers,
        };
        let draft = Draft::new(object.body, headers, checksum);
        let copy = bucket.write(&input.key, draft, &conditions).map_err(unmet)?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(strong(&copy.etag)),
                last_modified: Some(copy.modified.into()),
                checksum_type: Some(checksum_type(&copy.checksum)),
                checksum_crc32: copy.checksum.crc32,
                ..Default::default()
            }),
            copy_source_version_id: object.version_id,
            version_id: copy.version_id,
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let mut input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let kind = input.checksum_type.as_ref();
        let full_object = kind.is_some_and(|it| it.as_str() == ChecksumType::FULL_OBJECT);
        let algorithm = input.checksum_algorithm.as_ref().map(|it| it.as_str().to_owned());
        let upload_id = bucket.begin_upload(&input.key, headers_of!(input), algorithm, full_object);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..Default::default()
        }))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let body = whole(input.body.take()).await?;
        let mut sent = Sent {
            crc32: input.checksum_crc32.take(),
            crc32c: input.checksum_crc32c.take(),
            crc64nvme: input.checksum_crc64nvme.take(),
            sha1: input.checksum_sha1.take(),
            sha256: input.checksum_sha256.take(),
            md5: input.content_md5.take(),
        };
        sent.read_trailers(req.trailing_headers);
        let checksum = sent.verify(&body)?;
        let crc32 = checksum.crc32.as_deref().and_then(crc32_of);
        let etag = bucket.put_part(&input.upload_id, input.part_number, body, crc32).ok_or_else(no_such_upload)?;
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(strong(&etag)),
            checksum_crc32: checksum.crc32,
            ..Default::default()
        }))
    }

    async fn upload_part_copy(
        &self,
        req: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let (source_bucket, source_key, source_version) = source(&input.copy_source)?;
        let from = self.bucket(&source_bucket, input.expected_source_bucket_owner.as_deref())?;
        let object = read(&from, &source_key, source_version.as_deref(), input.copy_source_if_match, None)?;
        let body = match input.copy_source_range {
            None => object.body,
            Some(range) => {
                let range = Range::parse(&range).map_err(|_| {
                    s3_error!(InvalidArgument, "The x-amz-copy-source-range value must be of the form bytes=first-last")
                })?;
                let span = range.check(object.body.len() as u64)?;
                object.body.slice(span.start as usize..span.end as usize)
            }
        };
        let upload = bucket.upload(&input.upload_id).ok_or_else(no_such_upload)?;
        let crc32 = (upload.algorithm.as_deref() == Some("CRC32")).then(|| crc32fast::hash(&body));
        let etag = bucket.put_part(&input.upload_id, input.part_number, body, crc32).ok_or_else(no_such_upload)?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(CopyPartResult {
                e_tag: Some(strong(&etag)),
                last_modified: Some(object.modified.into()),
                checksum_crc32: crc32.map(crc32_base64),
                ..Default::default()
            }),
            copy_source_version_id: object.version_id,
            ..Default::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let upload = bucket.upload(&input.upload_id).ok_or_else(no_such_upload)?;
        let listed = input.multipart_upload.and_then(|upload| upload.parts);
        let listed = listed.unwrap_or_default();
        if listed.is_empty() {
            return Err(s3_error!(MalformedXML, "You must specify at least one part"));
        }
        if !listed.is_sorted_by_key(|part| part.part_number) {
            return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
        }
        let mut parts = Vec::new();
        for part in &listed {
            let number = part.part_number.unwrap_or_default();
            let stored = upload.parts.get(&number);
            let etag = part.e_tag.as_ref().map_or("", ETag::value);
            let stored = stored
                .filter(|stored| etag_matches(etag, &stored.etag))
                .ok_or_else(|| s3_error!(InvalidPart, "One or more of the specified parts could not be found."))?;
            parts.push(stored);
        }
        let (_, all_but_last) = parts.split_last().expect("at least one part");
        if all_but_last.iter().any(|part| part.body.len() < MIN_PART_BYTES) {
            return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
        }
        let headers = upload.headers.clone();
        let draft = joined(&parts, headers, &upload);
        if let Some(sent) = &input.checksum_crc32
            && draft.checksum.crc32.as_ref() != Some(sent)
        {
            return Err(s3_error!(BadDigest, "The CRC32 you specified did not match the calculated checksum."));
        }
        let conditions = conditions(input.if_match, input.if_none_match)?;
        let object = bucket.write(&input.key, draft, &conditions).map_err(unmet)?;
        bucket.end_upload(&input.upload_id);
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(strong(&object.etag)),
            checksum_type: Some(checksum_type(&object.checksum)),
            checksum_crc32: object.checksum.crc32,
            version_id: object.version_id,
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        match bucket.end_upload(&input.upload_id) {
            true => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            false => Err(no_such_upload()),
        }
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = req.input;
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let mut uploads = bucket.uploads();
        uploads.retain(|upload| upload.key.starts_with(&prefix));
        uploads.sort_by(|a, b| a.key.cmp(&b.key));
        let uploads = uploads.into_iter().map(|upload| MultipartUpload {
            key: Some(upload.key),
            upload_id: Some(upload.id),
            initiated: Some(upload.initiated.into()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: input.prefix,
            uploads: Some(uploads.collect()),
            is_truncated: Some(false),
            ..Default::default()
        }))
    }
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )
}

fn source(source: &CopySource) -> S3Result<(String, String, Option<String>)> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => {
            Ok((bucket.to_string(), key.to_string(), version_id.as_ref().map(ToString::to_string)))
        }
        _ => Err(s3_error!(NotImplemented, "only copies from buckets are emulated")),
    }
}
