//! Deleting objects.

use s3s::dto::*;
use s3s::{S3Request, S3Result, s3_error};

use super::{Api, MAX_KEYS, conditions, error_of};
use crate::faults::RefusedKeys;
use crate::storage::Conditions;

pub(super) async fn delete_object(api: &Api, request: S3Request<DeleteObjectInput>) -> S3Result<DeleteObjectOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    if let Some(version_id) = input.version_id {
        bucket.expire(&input.key, &version_id);
        return Ok(DeleteObjectOutput { version_id: Some(version_id), ..Default::default() });
    }
    let conditions = conditions(input.if_match, None)?;
    let marker = bucket.delete_if(&input.key, &conditions).map_err(error_of)?;
    Ok(DeleteObjectOutput { delete_marker: marker.as_ref().map(|_| true), version_id: marker, ..Default::default() })
}

pub(super) async fn delete_objects(api: &Api, request: S3Request<DeleteObjectsInput>) -> S3Result<DeleteObjectsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let objects = input.delete.objects;
    // XML 1.0 cannot carry some characters, and the whole request is refused because of one (boto/boto3#2005).
    let has_odd_key = objects.iter().any(|object| object.key.contains(is_outside_xml));
    if has_odd_key || objects.is_empty() || objects.len() > MAX_KEYS as usize {
        return Err(s3_error!(
            MalformedXML,
            "The XML you provided was not well-formed or did not validate against our published schema"
        ));
    }
    let refused = request.extensions.get::<RefusedKeys>().cloned().unwrap_or_default();
    let quiet = input.delete.quiet.unwrap_or_default();
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for object in objects {
        let key = object.key;
        if let Some(code) = refused.code(&key) {
            errors.push(error(key, code, &format!("injected {code}")));
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
            Err(unmet) => {
                let reason = error_of(unmet);
                errors.push(error(key, reason.code().as_str(), reason.message().unwrap_or_default()));
            }
        }
    }
    Ok(DeleteObjectsOutput {
        deleted: (!quiet).then_some(deleted),
        errors: (!errors.is_empty()).then_some(errors),
        ..Default::default()
    })
}

/// Whether no XML 1.0 document can have the character (section 2.2, "Characters").
fn is_outside_xml(char: char) -> bool {
    !matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

fn error(key: String, code: &str, message: &str) -> Error {
    Error { key: Some(key), code: Some(code.to_owned()), message: Some(message.to_owned()), version_id: None }
}
