//! The answers of the origins: the object behind a viewer's path, or an error page.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::EdgeAnswer;
use crate::pattern;
use crate::storage::Buckets;
use crate::{Distribution, Object, Origin};

/// Returns the answer of the origin, or for an error the error page. Also returns whether an object was found.
pub(super) fn fetch(config: &Distribution, buckets: &Buckets, path_and_query: &str) -> (EdgeAnswer, bool) {
    let (path, _) = split_query(path_and_query);
    if let Some(object) = find(config, buckets, path) {
        return (answer(200, object), true);
    }
    let custom = config.custom_errors.iter().find(|error| error.code == 404);
    let page = custom.and_then(|error| error.page.as_ref());
    let page = page.and_then(|(path, status)| Some(answer(*status, find(config, buckets, path)?)));
    (page.unwrap_or_else(not_found), false)
}

/// Splits a path from its query string.
pub(super) fn split_query(path_and_query: &str) -> (&str, Option<&str>) {
    match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    }
}

/// Finds the object behind a viewer's path.
fn find(config: &Distribution, buckets: &Buckets, path: &str) -> Option<Object> {
    let origin = origin_of(config, path)?;
    let bucket = buckets.get(&origin.bucket)?;
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let name = path.strip_prefix('/').unwrap_or(&path);
    let folder = origin.path.trim_matches('/');
    let look_up = |name: &str| match folder {
        "" => bucket.object(name),
        folder => bucket.object(&format!("{folder}/{name}")),
    };
    if name.is_empty() && !config.default_root_object.is_empty() {
        return look_up(&config.default_root_object);
    }
    let index = || {
        if name.is_empty() || name.ends_with('/') {
            look_up(&format!("{name}index.html"))
        } else {
            look_up(&format!("{name}/index.html"))
        }
    };
    look_up(name)
        .or_else(|| config.index_documents.then(index)?)
        .or_else(|| config.clean_urls.then(|| look_up(&format!("{name}.html")))?)
}

/// Returns the origin of the first matching behaviour, or of the default one.
fn origin_of<'a>(config: &'a Distribution, path: &str) -> Option<&'a Origin> {
    let matches = |origin: &&Origin| origin.path_pattern.as_ref().is_some_and(|it| pattern::matches(it, path));
    config.origins.iter().find(matches).or(config.origins.first())
}

fn answer(status: u16, object: Object) -> EdgeAnswer {
    let stored = object.headers;
    let mut headers: BTreeMap<String, String> = [
        ("content-type", stored.content_type),
        ("cache-control", stored.cache_control),
        ("content-encoding", stored.content_encoding),
        ("content-language", stored.content_language),
        ("content-disposition", stored.content_disposition),
        ("etag", Some(object.etag)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    for (name, value) in stored.metadata {
        headers.insert(format!("x-amz-meta-{}", name.to_lowercase()), value);
    }
    EdgeAnswer { status, headers, body: object.body, from_cache: false }
}

fn not_found() -> EdgeAnswer {
    EdgeAnswer {
        status: 404,
        headers: BTreeMap::from([("content-type".to_owned(), "application/xml".to_owned())]),
        body: Bytes::from_static(b"<Error><Code>NoSuchKey</Code></Error>"),
        from_cache: false,
    }
}
