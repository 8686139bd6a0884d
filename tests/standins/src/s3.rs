//! S3's API over the buckets in memory. The crate `s3s` speaks the protocol; each operation is a function in the module
//! of its noun. Everything else is answered with `NotImplemented`.

mod buckets;
mod checksums;
mod copies;
mod deletions;
mod listings;
mod multipart;
mod objects;
mod regions;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use hyper::HeaderMap;
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::stream::ByteStream as _;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

pub use regions::Misdirected;
pub(crate) use regions::Regions;

use crate::SECRET;
use crate::storage::{self, Bucket, Buckets, Conditions, Unmet, etag_matches};

/// The most keys in a page of a listing, and in a `DeleteObjects`.
const MAX_KEYS: i32 = 1000;

/// Builds the service. It verifies signatures, and knows every access key id.
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

/// Implements each operation by the function of the same input and output.
macro_rules! operations {
    ($($name:ident($input:ty) -> $output:ty = $function:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Api {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    $function(self, request).await.map(S3Response::new)
                }
            )*
        }
    };
}

operations! {
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::get_location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::get_versioning;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = buckets::put_versioning;

    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = buckets::get_policy;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput)
        -> GetBucketLifecycleConfigurationOutput = buckets::get_lifecycle;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput)
        -> GetBucketNotificationConfigurationOutput = buckets::get_notifications;

    put_object(PutObjectInput) -> PutObjectOutput = objects::put;
    get_object(GetObjectInput) -> GetObjectOutput = objects::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = objects::head;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copies::copy_object;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = deletions::delete_object;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = deletions::delete_objects;

    list_objects(ListObjectsInput) -> ListObjectsOutput = listings::list_objects;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listings::list_objects_v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = listings::list_versions;

    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = multipart::create;
    upload_part(UploadPartInput) -> UploadPartOutput = multipart::upload_part;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = copies::upload_part_copy;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = multipart::abort;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = multipart::list;
}

/// Finds the requested version of an object and checks the conditions of the request.
fn find(
    bucket: &Bucket,
    key: &str,
    version_id: Option<&str>,
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
) -> S3Result<storage::Object> {
    let object = match version_id {
        None => bucket.object(key).ok_or_else(|| error_of(Unmet::Missing))?,
        Some(version_id) => {
            let version = bucket
                .version(key, version_id)
                .ok_or_else(|| s3_error!(NoSuchVersion, "The specified version does not exist."))?;
            version.object.ok_or_else(|| {
                s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.")
            })?
        }
    };
    if if_match.is_some_and(|wanted| !etag_matches(&etag_text(wanted), &object.etag)) {
        return Err(error_of(Unmet::PreconditionFailed));
    }
    if if_none_match.is_some_and(|unwanted| etag_matches(&etag_text(unwanted), &object.etag)) {
        return Err(S3ErrorCode::NotModified.into());
    }
    Ok(object)
}

/// Returns the conditions of a write. Like S3, it refuses an ETag in `If-None-Match`.
fn conditions(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Conditions> {
    if matches!(if_none_match, Some(ETagCondition::ETag(_))) {
        return Err(s3_error!(NotImplemented, "A header you provided implies functionality that is not implemented"));
    }
    Ok(Conditions { if_match: if_match.map(etag_text), if_none_match: if_none_match.map(etag_text) })
}

fn error_of(unmet: Unmet) -> S3Error {
    match unmet {
        Unmet::Missing => s3_error!(NoSuchKey, "The specified key does not exist."),
        Unmet::PreconditionFailed => {
            s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        }
    }
}

fn etag_text(condition: ETagCondition) -> String {
    match condition {
        ETagCondition::Any => "*".to_owned(),
        ETagCondition::ETag(etag) => etag.into_value(),
    }
}

fn strong(etag: &str) -> ETag {
    ETag::Strong(etag.trim_matches('"').to_owned())
}

fn checksum_type(checksum: &storage::Checksum) -> ChecksumType {
    ChecksumType::from_static(if checksum.composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT })
}

fn size_bytes(body: &Bytes) -> i64 {
    i64::try_from(body.len()).expect("the size of a body in memory fits into an i64")
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Reads a whole body. A body of one chunk, which is usual, is not copied.
async fn read_body(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else {
        return Ok(Bytes::new());
    };
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    loop {
        let remaining_bytes = body.remaining_length().exact().unwrap_or_default();
        let Some(chunk) = body.next().await else {
            return Ok(all.map_or(first, BytesMut::freeze));
        };
        let chunk = chunk.map_err(|source| S3Error::with_source(S3ErrorCode::IncompleteBody, source))?;
        match &mut all {
            Some(all) => all.extend_from_slice(&chunk),
            None if first.is_empty() => first = chunk,
            None => {
                let mut joined = BytesMut::with_capacity(first.len() + remaining_bytes);
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&chunk);
                all = Some(joined);
            }
        }
    }
}
