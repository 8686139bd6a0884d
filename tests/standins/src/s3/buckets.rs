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

pub(super) async fn get_policy(api: &Api, request: S3Request<GetBucketPolicyInput>) -> S3Result<GetBucketPolicyOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let policy = bucket.settings().policy.ok_or(S3ErrorCode::NoSuchBucketPolicy)?;
    Ok(GetBucketPolicyOutput { policy: Some(policy) })
}

pub(super) async fn get_lifecycle(
    api: &Api,
    request: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<GetBucketLifecycleConfigurationOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let expiries = bucket.settings().expiries;
    if expiries.is_empty() {
        return Err(S3ErrorCode::NoSuchLifecycleConfiguration.into());
    }
    let rules = expiries.into_iter().map(|expiry| LifecycleRule {
        filter: Some(LifecycleRuleFilter { prefix: Some(expiry.prefix), ..Default::default() }),
        expiration: expiry.days.map(|days| LifecycleExpiration { days: Some(days), ..Default::default() }),
        noncurrent_version_expiration: expiry
            .noncurrent_days
            .map(|days| NoncurrentVersionExpiration { noncurrent_days: Some(days), ..Default::default() }),
        status: ExpirationStatus::from_static(ExpirationStatus::ENABLED),
        abort_incomplete_multipart_upload: None,
        id: None,
        noncurrent_version_transitions: None,
        prefix: None,
        transitions: None,
    });
    Ok(GetBucketLifecycleConfigurationOutput { rules: Some(rules.collect()), ..Default::default() })
}

pub(super) async fn get_notifications(
    api: &Api,
    request: S3Request<GetBucketNotificationConfigurationInput>,
) -> S3Result<GetBucketNotificationConfigurationOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let configurations = bucket.settings().triggers.into_iter().map(|(function_arn, folder)| {
        let name = Some(FilterRuleName::from_static(FilterRuleName::PREFIX));
        let rules = Some(vec![FilterRule { name, value: Some(folder) }]);
        LambdaFunctionConfiguration {
            events: vec!["s3:ObjectCreated:*".to_owned().into()],
            filter: Some(NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules: rules }) }),
            id: None,
            lambda_function_arn: function_arn,
        }
    });
    Ok(GetBucketNotificationConfigurationOutput {
        lambda_function_configurations: Some(configurations.collect()),
        ..Default::default()
    })
}
