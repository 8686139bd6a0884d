//! The permissions that a call needs, by the Service Authorization Reference and the services' API pages.

use standins::{Call, Service};

use crate::cloudformation::ACCOUNT;
use crate::stage::STAGING;

/// An action on a resource.
pub type Permission = (String, String);

/// Returns the permissions that a call needs if it is answered with this status.
pub fn needs(call: &Call, status: Option<u16>) -> Vec<Permission> {
    if status == Some(404) {
        // S3 API, GetObject and HeadObject, "Permissions": without s3:ListBucket the status is 403.
        return vec![need("s3:ListBucket", bucket_arn(call.bucket.as_deref().unwrap_or_default()))];
    }
    match call.service {
        Service::S3 => s3_needs(call),
        Service::CloudFront => cloudfront_needs(call),
        Service::DynamoDb => dynamodb_needs(call),
        Service::Lambda | Service::Sqs | Service::CloudWatch | Service::Iam => {
            panic!("the function does not call {:?}", call.service)
        }
    }
}

fn s3_needs(call: &Call) -> Vec<Permission> {
    let bucket = call.bucket.as_deref().unwrap_or_default();
    let key = call.key.as_deref().unwrap_or_default();
    let object = |key: &str| object_arn(bucket, key);
    let mut needs = match call.operation.as_str() {
        "GetObject" | "HeadObject" if call.version_id.is_some() => vec![need("s3:GetObjectVersion", object(key))],
        "GetObject" | "HeadObject" => vec![need("s3:GetObject", object(key))],
        "PutObject" | "CreateMultipartUpload" | "UploadPart" | "CompleteMultipartUpload" => {
            vec![need("s3:PutObject", object(key))]
        }
        "CopyObject" => {
            let (source_bucket, source) = copy_source(call);
            assert_eq!(source_bucket, bucket, "an object is only copied onto itself");
            let mut needs = vec![need("s3:GetObject", object(source)), need("s3:PutObject", object(key))];
            // S3 API, CopyObject, "x-amz-tagging-directive" and "x-amz-object-annotation-directive".
            let copies = |what| call.copied_by_default.contains(&what);
            let actions = [("tags", "Tagging"), ("annotations", "Annotation")].into_iter().filter(|it| copies(it.0));
            for (_, action) in actions {
                needs.push(need(&format!("s3:GetObject{action}"), object(source)));
                needs.push(need(&format!("s3:PutObject{action}"), object(key)));
            }
            needs
        }
        // S3 API, UploadPartCopy, "Permissions": to read the version of the source, and to write the object.
        "UploadPartCopy" => {
            let (source_bucket, source) = copy_source(call);
            let (source, action) = match source.split_once("?versionId=") {
                Some((source, _)) => (source, "s3:GetObjectVersion"),
                None => (source, "s3:GetObject"),
            };
            vec![need(action, object_arn(source_bucket, source)), need("s3:PutObject", object(key))]
        }
        "AbortMultipartUpload" => vec![need("s3:AbortMultipartUpload", object(key))],
        "DeleteObject" => vec![need("s3:DeleteObject", object(key))],
        "DeleteObjects" => call.keys.iter().map(|key| need("s3:DeleteObject", object(key))).collect(),
        "HeadBucket" | "ListObjectsV2" => vec![need("s3:ListBucket", bucket_arn(bucket))],
        other => panic!("no rule says what S3's {other} needs"),
    };
    needs.extend(kms_needs(call));
    if call.is_etag_required {
        // S3 user guide, "Conditional writes": If-Match also needs s3:GetObject.
        let keys = call.keys.iter().map(String::as_str);
        needs.extend(keys.chain(call.key.as_deref()).map(|key| need("s3:GetObject", object(key))));
    }
    needs
}

/// S3 user guide, "Using server-side encryption with AWS KMS keys": a copy and a multipart upload also decrypt. The
/// requests for the parts and the end of an upload do not name the key, so its beginning counts for them.
fn kms_needs(call: &Call) -> Vec<Permission> {
    let Some(key) = call.encryption.as_deref().and_then(|encryption| encryption.strip_prefix("aws:kms:")) else {
        return Vec::new();
    };
    let actions: &[&str] = match call.operation.as_str() {
        "PutObject" => &["kms:GenerateDataKey"],
        _ => &["kms:GenerateDataKey", "kms:Decrypt"],
    };
    actions.iter().map(|action| need(action, key.to_owned())).collect()
}

fn cloudfront_needs(call: &Call) -> Vec<Permission> {
    match call.operation.as_str() {
        "CreateInvalidation" | "GetDistribution" | "GetInvalidation" => {
            let id = call.distribution.as_deref().unwrap_or_default();
            let arn = format!("arn:aws:cloudfront::{ACCOUNT}:distribution/{id}");
            vec![need(&format!("cloudfront:{}", call.operation), arn)]
        }
        "GetCachePolicy" => {
            let id = call.cache_policy.as_deref().unwrap_or_default();
            vec![need("cloudfront:GetCachePolicy", format!("arn:aws:cloudfront::{ACCOUNT}:cache-policy/{id}"))]
        }
        other => panic!("no rule says what CloudFront's {other} needs"),
    }
}

fn dynamodb_needs(call: &Call) -> Vec<Permission> {
    let table = format!("arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Ledger");
    let need = |operation: &str| need(&format!("dynamodb:{operation}"), table.clone());
    match call.operation.as_str() {
        "TransactGetItems" | "TransactWriteItems" => call.items.iter().map(|(operation, _)| need(operation)).collect(),
        "GetItem" | "PutItem" | "UpdateItem" | "DeleteItem" | "Query" => vec![need(&call.operation)],
        other => panic!("no rule says what DynamoDB's {other} needs"),
    }
}

fn need(action: &str, resource: String) -> Permission {
    (action.to_owned(), resource)
}

/// Returns the bucket and the key of a copy's source, the key perhaps with its version.
fn copy_source(call: &Call) -> (&str, &str) {
    let source = call.copy_source.as_deref().unwrap_or_default();
    source.trim_start_matches('/').split_once('/').unwrap()
}

fn bucket_arn(bucket: &str) -> String {
    format!("arn:aws:s3:::{}", real_bucket(bucket))
}

/// Returns the ARN of an object. Tests upload to the root of the staging bucket, users to the template's folder.
fn object_arn(bucket: &str, key: &str) -> String {
    let folder = if bucket == STAGING && !key.starts_with(".dropship/") { "uploads/" } else { "" };
    format!("{}/{folder}{key}", bucket_arn(bucket))
}

/// Returns the name that the stack gives to the tests' staging bucket, and any other name unchanged.
pub fn real_bucket(name: &str) -> String {
    match name {
        STAGING => format!("dropship-staging-{ACCOUNT}-us-east-1"),
        other => other.to_owned(),
    }
}
