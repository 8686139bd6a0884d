//! Operations on buckets.

use s3s::dto::*;
use s3s::{S3ErrorCode, S3Request, S3Result, s3_error};

use super::Api;
use crate::REGION;
use crate::storage::{Etags, Versioning};

pub(super) async fn create(api: &Api, request: S3Request<CreateBucketInput>) -> S3Result<CreateBucketOutput> {
    let name = request.input.bucket;
    if api.buckets.get(&name).is_some() {
        return Err(S3ErrorCode::BucketAlreadyOwnedByYou.into());
    }
    api.buckets.create(&name, Versioning::Off, Etags::Md5);
    Ok(CreateBucketOutput { location: Some(format!("/{name}")) })
}

pub(super) async fn head(api: &Api, request: S3Request<HeadBucketInput>) -> S3Result<HeadBucketOutput> {
    let input = request.input;
    api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    Ok(HeadBucketOutput { bucket_region: Some(REGION.to_owned()), ..Default::default() })
}

pub(super) async fn delete(api: &Api, request: S3Request<DeleteBucketInput>) -> S3Result<DeleteBucketOutput> {
    let input = request.input;
    api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    if !api.buckets.remove_empty(&input.bucket) {
        return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty"));
    }
    Ok(DeleteBucketOutput {})
}

pub(super) async fn list(api: &Api, _request: S3Request<ListBucketsInput>) -> S3Result<ListBucketsOutput> {
    let buckets = api.buckets.all().into_iter();
    let buckets = buckets.map(|bucket| Bucket {
        name: Some(bucket.name().to_owned()),
        creation_date: Some(bucket.created().into()),
        ..Default::default()
    });
    let owner = Owner { display_name: Some("stand-in".to_owned()), id: Some("0".repeat(64)) };
    Ok(ListBucketsOutput { buckets: Some(buckets.collect()), owner: Some(owner), ..Default::default() })
}

/// Answers without a name, which means us-east-1.
pub(super) async fn get_location(
    api: &Api,
    request: S3Request<GetBucketLocationInput>,
) -> S3Result<GetBucketLocationOutput> {
    let input = request.input;
    api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    Ok(GetBucketLocationOutput::default())
}

pub(super) async fn get_versioning(
    api: &Api,
    request: S3Request<GetBucketVersioningInput>,
) -> S3Result<GetBucketVersioningOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let is_enabled = bucket.versioning() == Versioning::On;
    Ok(GetBucketVersioningOutput {
        status: is_enabled.then(|| BucketVersioningStatus::from_static(BucketVersioningStatus::ENABLED)),
        ..Default::default()
    })
}

pub(super) async fn put_versioning(
    api: &Api,
    request: S3Request<PutBucketVersioningInput>,
) -> S3Result<PutBucketVersioningOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let status = input.versioning_configuration.status;
    match status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => bucket.set_versioning(Versioning::On),
        _ => return Err(s3_error!(NotImplemented, "only Enabled is emulated")),
    }
    Ok(PutBucketVersioningOutput::default())
}
