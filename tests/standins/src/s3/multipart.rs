//! Multipart uploads.

use std::ops::RangeInclusive;

use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Result, s3_error};

use super::checksums::body_checksums;
use super::objects::stored_headers;
use super::{Api, checksum_type, conditions, error_of, read_body, strong};
use crate::storage::{etag_matches, parse_crc32};

/// Every part except the last has at least 5 MiB.
const MIN_PART_BYTES: usize = 5 * 1024 * 1024;

const PART_NUMBERS: RangeInclusive<i32> = 1..=10_000;

pub(super) async fn create(
    api: &Api,
    request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let mut input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let checksum_type = input.checksum_type.as_ref();
    let full_object = checksum_type.is_some_and(|it| it.as_str() == ChecksumType::FULL_OBJECT);
    let algorithm = input.checksum_algorithm.as_ref().map(|it| it.as_str().to_owned());
    let upload_id = bucket.begin_upload(&input.key, stored_headers!(input), algorithm, full_object);
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(upload_id),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: input.checksum_type,
        ..Default::default()
    })
}

pub(super) async fn upload_part(api: &Api, mut request: S3Request<UploadPartInput>) -> S3Result<UploadPartOutput> {
    let checksums = body_checksums!(request);
    let mut input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    check_part_number(input.part_number)?;
    let body = read_body(input.body.take()).await?;
    let checksum = checksums.verify(request.trailing_headers, &body)?;
    let crc32 = checksum.crc32.as_deref().and_then(parse_crc32);
    let etag = bucket.put_part(&input.upload_id, input.part_number, body, crc32).ok_or_else(no_such_upload)?;
    Ok(UploadPartOutput { e_tag: Some(strong(&etag)), checksum_crc32: checksum.crc32, ..Default::default() })
}

pub(super) async fn complete(
    api: &Api,
    request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let upload = bucket.multipart_upload(&input.upload_id).ok_or_else(no_such_upload)?;
    let listed = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
    if !listed.is_sorted_by(|a, b| a.part_number < b.part_number) {
        return Err(s3_error!(InvalidPartOrder, "The list of parts was not in ascending order."));
    }
    let mut parts = Vec::new();
    for part in &listed {
        let etag = part.e_tag.as_ref().map_or("", ETag::value);
        let stored = upload
            .parts
            .get(&part.part_number.unwrap_or_default())
            .filter(|stored| etag_matches(etag, &stored.etag))
            .ok_or_else(|| s3_error!(InvalidPart, "One or more of the specified parts could not be found."))?;
        parts.push(stored);
    }
    let Some((_, all_but_last)) = parts.split_last() else {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    };
    if all_but_last.iter().any(|part| part.body.len() < MIN_PART_BYTES) {
        return Err(s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"));
    }
    let draft = upload.join(&parts);
    if input.checksum_crc32.is_some_and(|sent| draft.checksum.crc32 != Some(sent)) {
        return Err(s3_error!(BadDigest, "The CRC32 you specified did not match the calculated checksum."));
    }
    let conditions = conditions(input.if_match, input.if_none_match)?;
    let object = bucket.write(&input.key, draft, &conditions).map_err(error_of)?;
    bucket.end_upload(&input.upload_id);
    Ok(CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(strong(&object.etag)),
        checksum_type: Some(checksum_type(&object.checksum)),
        checksum_crc32: object.checksum.crc32,
        version_id: object.version_id,
        ..Default::default()
    })
}

pub(super) async fn abort(
    api: &Api,
    request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    if bucket.end_upload(&input.upload_id) { Ok(AbortMultipartUploadOutput::default()) } else { Err(no_such_upload()) }
}

pub(super) async fn list(
    api: &Api,
    request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<ListMultipartUploadsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let mut uploads = bucket.multipart_uploads();
    uploads.retain(|upload| upload.key.starts_with(&prefix));
    uploads.sort_by(|a, b| a.key.cmp(&b.key));
    let uploads = uploads.into_iter().map(|upload| MultipartUpload {
        key: Some(upload.key),
        upload_id: Some(upload.id),
        initiated: Some(upload.initiated.into()),
        ..Default::default()
    });
    Ok(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: input.prefix,
        uploads: Some(uploads.collect()),
        is_truncated: Some(false),
        ..Default::default()
    })
}

pub(super) fn check_part_number(number: i32) -> S3Result<()> {
    if !PART_NUMBERS.contains(&number) {
        return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive"));
    }
    Ok(())
}

pub(super) fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )
}
