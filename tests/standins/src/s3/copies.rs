//! Copying objects, and ranges of them into parts.

use s3s::dto::*;
use s3s::{S3Request, S3Result, s3_error};

use super::multipart::{check_part_number, no_such_upload};
use super::objects::{satisfied, stored_headers};
use super::{Api, checksum_type, error_of, find, header, strong};
use crate::storage::{Conditions, Draft, crc32_base64};

pub(super) async fn copy_object(api: &Api, request: S3Request<CopyObjectInput>) -> S3Result<CopyObjectOutput> {
    let mut input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let source = Source::parse(&input.copy_source)?;
    let from = api.bucket(source.bucket, input.expected_source_bucket_owner.as_deref())?;
    let object = find(&from, source.key, source.version_id, input.copy_source_if_match.take(), None)?;
    let directive = input.metadata_directive.as_ref();
    let replaces_headers = directive.is_some_and(|it| it.as_str() == MetadataDirective::REPLACE);
    let is_onto_itself = source.bucket == input.bucket && source.key == input.key && source.version_id.is_none();
    if is_onto_itself && !replaces_headers {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
        ));
    }
    // s3s does not parse the conditions on the destination.
    let conditions = Conditions {
        if_match: header(&request.headers, "if-match"),
        if_none_match: header(&request.headers, "if-none-match"),
    };
    let mut checksum = object.checksum;
    let wants_crc32 = input.checksum_algorithm.as_ref().is_some_and(|it| it.as_str() == "CRC32");
    // The copy has no parts, so a composite checksum does not describe it.
    if wants_crc32 || checksum.composite {
        checksum.algorithm = "CRC32".to_owned();
        checksum.crc32 = Some(crc32_base64(crc32fast::hash(&object.body)));
        checksum.composite = false;
    }
    let headers = if replaces_headers { stored_headers!(input) } else { object.headers };
    let draft = Draft::new(object.body, headers, checksum);
    let copy = bucket.write(&input.key, draft, &conditions).map_err(error_of)?;
    Ok(CopyObjectOutput {
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
    })
}

pub(super) async fn upload_part_copy(
    api: &Api,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<UploadPartCopyOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let source = Source::parse(&input.copy_source)?;
    let from = api.bucket(source.bucket, input.expected_source_bucket_owner.as_deref())?;
    let object = find(&from, source.key, source.version_id, input.copy_source_if_match, None)?;
    let body = match input.copy_source_range {
        None => object.body,
        Some(range) => {
            let Ok(range @ Range::Int { last: Some(_), .. }) = Range::parse(&range) else {
                return Err(s3_error!(
                    InvalidArgument,
                    "The x-amz-copy-source-range value must be of the form bytes=first-last"
                ));
            };
            object.body.slice(satisfied(range, &object.body)?)
        }
    };
    check_part_number(input.part_number)?;
    let upload = bucket.multipart_upload(&input.upload_id).ok_or_else(no_such_upload)?;
    let crc32 = (upload.algorithm.as_deref() == Some("CRC32")).then(|| crc32fast::hash(&body));
    let etag = bucket.put_part(&input.upload_id, input.part_number, body, crc32).ok_or_else(no_such_upload)?;
    Ok(UploadPartCopyOutput {
        copy_part_result: Some(CopyPartResult {
            e_tag: Some(strong(&etag)),
            last_modified: Some(object.modified.into()),
            checksum_crc32: crc32.map(crc32_base64),
            ..Default::default()
        }),
        copy_source_version_id: object.version_id,
        ..Default::default()
    })
}

/// The object that a copy reads.
struct Source<'a> {
    bucket: &'a str,
    key: &'a str,
    version_id: Option<&'a str>,
}

impl<'a> Source<'a> {
    fn parse(source: &'a CopySource) -> S3Result<Self> {
        match source {
            CopySource::Bucket { bucket, key, version_id } => {
                Ok(Self { bucket, key, version_id: version_id.as_deref() })
            }
            _ => Err(s3_error!(NotImplemented, "only copies from buckets are emulated")),
        }
    }
}
