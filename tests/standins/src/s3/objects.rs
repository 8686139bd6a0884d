//! Writing and reading objects.

use std::ops;

use bytes::Bytes;
use s3s::dto::*;
use s3s::{Body, S3ErrorCode, S3Request, S3Result};

use super::checksums::body_checksums;
use super::{Api, checksum_type, conditions, error_of, find, read_body, size_bytes, strong};
use crate::storage::Draft;

/// Takes the stored headers out of an input. The inputs share the names of these fields, but no trait.
macro_rules! stored_headers {
    ($input:expr) => {
        $crate::storage::Headers {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_encoding: $crate::s3::objects::stored_encoding($input.content_encoding.take()),
            content_language: $input.content_language.take(),
            content_disposition: $input.content_disposition.take(),
            metadata: $input.metadata.take().unwrap_or_default().into_iter().collect(),
        }
    };
}
pub(super) use stored_headers;

/// Removes `aws-chunked`, which describes the transfer; S3 does not store it.
pub(super) fn stored_encoding(encoding: Option<String>) -> Option<String> {
    let encoding = encoding?;
    let codings = encoding.split(',').map(str::trim);
    let stored: Vec<&str> = codings.filter(|coding| !coding.is_empty() && *coding != "aws-chunked").collect();
    (!stored.is_empty()).then(|| stored.join(","))
}

/// Finds the object that an input asks for, and the bytes of it that its range selects.
macro_rules! find_span {
    ($api:expr, $input:expr) => {{
        let bucket = $api.bucket(&$input.bucket, $input.expected_bucket_owner.as_deref())?;
        let conditions = ($input.if_match.take(), $input.if_none_match.take());
        let object = find(&bucket, &$input.key, $input.version_id.as_deref(), conditions.0, conditions.1)?;
        let span = $input.range.map(|range| satisfied(range, &object.body)).transpose()?;
        (object, span)
    }};
}

/// Fills in the fields that describe an object, which the outputs of GET and HEAD share.
macro_rules! described {
    ($output:ident, $object:expr, $span:expr, $wants_checksum:expr) => {{
        // The checksum covers the whole body, so S3 does not send it with a part of it.
        let checksum = ($wants_checksum && $span.is_none()).then_some($object.checksum);
        let headers = $object.headers;
        $output {
            accept_ranges: Some("bytes".to_owned()),
            content_range: $span.map(|span| content_range(&span, &$object.body)),
            e_tag: Some(strong(&$object.etag)),
            last_modified: Some($object.modified.into()),
            version_id: $object.version_id,
            checksum_type: checksum.as_ref().map(checksum_type),
            checksum_crc32: checksum.and_then(|checksum| checksum.crc32),
            content_type: type_or_default(headers.content_type),
            cache_control: headers.cache_control,
            content_encoding: headers.content_encoding,
            content_language: headers.content_language,
            content_disposition: headers.content_disposition,
            metadata: Some(headers.metadata.into_iter().collect()),
            ..Default::default()
        }
    }};
}

pub(super) async fn put(api: &Api, mut request: S3Request<PutObjectInput>) -> S3Result<PutObjectOutput> {
    let checksums = body_checksums!(request);
    let mut input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let conditions = conditions(input.if_match.take(), input.if_none_match.take())?;
    let body = read_body(input.body.take()).await?;
    let checksum = checksums.verify(request.trailing_headers, &body)?;
    let draft = Draft::new(body, stored_headers!(input), checksum);
    let object = bucket.write(&input.key, draft, &conditions).map_err(error_of)?;
    Ok(PutObjectOutput {
        e_tag: Some(strong(&object.etag)),
        checksum_type: Some(checksum_type(&object.checksum)),
        checksum_crc32: object.checksum.crc32,
        version_id: object.version_id,
        ..Default::default()
    })
}

pub(super) async fn get(api: &Api, request: S3Request<GetObjectInput>) -> S3Result<GetObjectOutput> {
    let mut input = request.input;
    let (object, span) = find_span!(api, input);
    let body = selected(&object.body, span.as_ref());
    let content_length = size_bytes(&body);
    let wants_checksum = wants_checksum(input.checksum_mode.as_ref());
    let output = described!(GetObjectOutput, object, span, wants_checksum);
    let body = Some(StreamingBlob::from(Body::from(body)));
    Ok(GetObjectOutput { content_length: Some(content_length), body, ..output })
}

pub(super) async fn head(api: &Api, request: S3Request<HeadObjectInput>) -> S3Result<HeadObjectOutput> {
    let mut input = request.input;
    let (object, span) = find_span!(api, input);
    let content_length = size_bytes(&selected(&object.body, span.as_ref()));
    let wants_checksum = wants_checksum(input.checksum_mode.as_ref());
    let output = described!(HeadObjectOutput, object, span, wants_checksum);
    Ok(HeadObjectOutput { content_length: Some(content_length), ..output })
}

/// Returns the bytes of a body that a range selects. Like S3, it refuses every range of an empty body, even a suffix.
pub(super) fn satisfied(range: Range, body: &Bytes) -> S3Result<ops::Range<usize>> {
    if body.is_empty() {
        return Err(S3ErrorCode::InvalidRange.into());
    }
    let span = range.check(body.len() as u64)?;
    // A position in a body in memory fits into a usize.
    Ok(span.start as usize..span.end as usize)
}

/// Returns a part of a body, or the whole.
fn selected(body: &Bytes, span: Option<&ops::Range<usize>>) -> Bytes {
    span.map_or_else(|| body.clone(), |span| body.slice(span.clone()))
}

fn content_range(span: &ops::Range<usize>, body: &Bytes) -> String {
    format!("bytes {}-{}/{}", span.start, span.end - 1, body.len())
}

fn wants_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

fn type_or_default(content_type: Option<String>) -> Option<String> {
    // "The default is binary/octet-stream."
    content_type.or_else(|| Some("binary/octet-stream".to_owned()))
}
