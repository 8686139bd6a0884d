//! Listings of objects and versions.

use s3s::dto::*;
use s3s::{S3Request, S3Result, s3_error};

use super::{Api, MAX_KEYS, checksum_type, size_bytes, strong};
use crate::storage;

pub(super) async fn list_objects(api: &Api, request: S3Request<ListObjectsInput>) -> S3Result<ListObjectsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let max_keys = max_keys(input.max_keys)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = input.marker.clone().unwrap_or_default();
    let page = Page::of(&bucket, &prefix, &after, input.delimiter.as_deref(), max_keys);
    let encoding = input.encoding_type.as_ref();
    Ok(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: input.prefix.map(|prefix| encoded(prefix, encoding)),
        marker: input.marker.map(|marker| encoded(marker, encoding)),
        max_keys: Some(max_keys),
        is_truncated: Some(page.next.is_some()),
        next_marker: page.next.map(|key| encoded(key, encoding)),
        contents: Some(contents(page.objects, encoding)),
        common_prefixes: Some(common_prefixes(page.folders, encoding)),
        delimiter: input.delimiter,
        encoding_type: encoding.cloned(),
        ..Default::default()
    })
}

pub(super) async fn list_objects_v2(
    api: &Api,
    request: S3Request<ListObjectsV2Input>,
) -> S3Result<ListObjectsV2Output> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let max_keys = max_keys(input.max_keys)?;
    let prefix = input.prefix.clone().unwrap_or_default();
    let after = match &input.continuation_token {
        Some(token) => parse_token(token)?,
        None => input.start_after.clone().unwrap_or_default(),
    };
    let page = Page::of(&bucket, &prefix, &after, input.delimiter.as_deref(), max_keys);
    let encoding = input.encoding_type.as_ref();
    let key_count = page.objects.len() + page.folders.len();
    Ok(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: input.prefix.map(|prefix| encoded(prefix, encoding)),
        start_after: input.start_after.map(|key| encoded(key, encoding)),
        max_keys: Some(max_keys),
        key_count: Some(i32::try_from(key_count).expect("a page has at most max_keys")),
        contents: Some(contents(page.objects, encoding)),
        common_prefixes: Some(common_prefixes(page.folders, encoding)),
        delimiter: input.delimiter,
        is_truncated: Some(page.next.is_some()),
        continuation_token: input.continuation_token,
        next_continuation_token: page.next.map(hex::encode),
        encoding_type: encoding.cloned(),
        ..Default::default()
    })
}

/// Returns the most keys that a page may have.
fn max_keys(requested: Option<i32>) -> S3Result<i32> {
    match requested {
        Some(..0) => Err(s3_error!(InvalidArgument, "Argument maxKeys must be an integer between 0 and 2147483647")),
        Some(keys) => Ok(keys.min(MAX_KEYS)),
        None => Ok(MAX_KEYS),
    }
}

fn contents(objects: Vec<(String, Object)>, encoding: Option<&EncodingType>) -> Vec<Object> {
    objects.into_iter().map(|(key, object)| Object { key: Some(encoded(key, encoding)), ..object }).collect()
}

fn common_prefixes(folders: Vec<String>, encoding: Option<&EncodingType>) -> Vec<CommonPrefix> {
    folders.into_iter().map(|folder| CommonPrefix { prefix: Some(encoded(folder, encoding)) }).collect()
}

/// Parses a continuation token: the last key of the previous page, in hex, so that clients must treat it as opaque.
fn parse_token(token: &str) -> S3Result<String> {
    let key = hex::decode(token).ok().and_then(|key| String::from_utf8(key).ok());
    key.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token is incorrect"))
}

/// A page of a listing.
struct Page {
    objects: Vec<(String, Object)>,
    folders: Vec<String>,
    /// The key after which the next page begins; None on the last page.
    next: Option<String>,
}

impl Page {
    fn of(bucket: &storage::Bucket, prefix: &str, after: &str, delimiter: Option<&str>, max_keys: i32) -> Self {
        let limit = usize::try_from(max_keys).unwrap_or_default();
        match delimiter.filter(|it| !it.is_empty()) {
            Some(delimiter) => {
                let (all, _) = bucket.page(prefix, after, usize::MAX, listed);
                Self::grouped(all, prefix, delimiter, limit)
            }
            None => {
                let (objects, is_truncated) = bucket.page(prefix, after, limit, listed);
                let next = objects.last().filter(|_| is_truncated).map(|(key, _)| key.clone());
                Self { objects, folders: Vec::new(), next }
            }
        }
    }

    /// Groups keys by their text up to the first `delimiter` after the prefix. A group, called folder, counts as one key.
    fn grouped(all: Vec<(String, Object)>, prefix: &str, delimiter: &str, limit: usize) -> Self {
        let mut page = Self { objects: Vec::new(), folders: Vec::new(), next: None };
        let mut last = None;
        for (key, object) in all {
            let rest = &key[prefix.len()..];
            let folder = rest.find(delimiter).map(|at| key[..prefix.len() + at + delimiter.len()].to_owned());
            let is_open = folder.is_some() && page.folders.last() == folder.as_ref();
            if !is_open && page.objects.len() + page.folders.len() == limit {
                page.next = last;
                return page;
            }
            last = Some(key.clone());
            match folder {
                None => page.objects.push((key, object)),
                Some(folder) if !is_open => page.folders.push(folder),
                Some(_) => {}
            }
        }
        page
    }
}

/// Returns the key and the line of an object in a listing; the line lacks the key, which may have to be encoded.
fn listed(key: &str, object: &storage::Object) -> (String, Object) {
    let line = Object {
        e_tag: Some(strong(&object.etag)),
        size: Some(size_bytes(&object.body)),
        last_modified: Some(object.modified.into()),
        checksum_type: Some(checksum_type(&object.checksum)),
        checksum_algorithm: Some(vec![ChecksumAlgorithm::from(object.checksum.algorithm.clone())]),
        storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
        ..Default::default()
    };
    (key.to_owned(), line)
}

/// Encodes a key for `encoding-type=url`: like a form, except that `/` stays.
fn encoded(text: String, encoding: Option<&EncodingType>) -> String {
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

/// Lists all versions in one page, however many there are.
pub(super) async fn list_versions(
    api: &Api,
    request: S3Request<ListObjectVersionsInput>,
) -> S3Result<ListObjectVersionsOutput> {
    let input = request.input;
    let bucket = api.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let mut versions = Vec::new();
    let mut delete_markers = Vec::new();
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
                    size: Some(size_bytes(&object.body)),
                    last_modified: Some(version.modified.into()),
                    ..Default::default()
                }),
                None => delete_markers.push(DeleteMarkerEntry {
                    key: Some(key.clone()),
                    version_id: Some(version.id),
                    is_latest,
                    last_modified: Some(version.modified.into()),
                    ..Default::default()
                }),
            }
        }
    }
    Ok(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: input.prefix,
        is_truncated: Some(false),
        versions: Some(versions),
        delete_markers: Some(delete_markers),
        ..Default::default()
    })
}
