//! The answers of the origins: the object behind a viewer's path, or an error page.

use std::collections::BTreeMap;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::EdgeAnswer;
use crate::pattern;
use crate::storage::Buckets;
use crate::{Distribution, IndexFunction, Object, Origin};

/// Returns the answer of the origin, or for an error the error page. Also returns whether an object was found.
pub(super) fn fetch(config: &Distribution, buckets: &Buckets, path_and_query: &str) -> (EdgeAnswer, bool) {
    let (path, _) = split_query(path_and_query);
    if let Some(answer) = find(config, buckets, path) {
        return (answer, true);
    }
    let custom = config.custom_errors.iter().find(|error| error.code == 404);
    let page = custom.and_then(|error| error.page.as_ref());
    let page = page.and_then(|(path, status)| {
        let found = find(config, buckets, path).filter(|page| page.status == 200)?;
        Some(EdgeAnswer { status: *status, ..found })
    });
    (page.unwrap_or_else(not_found), false)
}

/// Splits a path from its query string.
pub(super) fn split_query(path_and_query: &str) -> (&str, Option<&str>) {
    match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    }
}

/// Finds the object behind a viewer's path, or a website endpoint's redirect.
fn find(config: &Distribution, buckets: &Buckets, path: &str) -> Option<EdgeAnswer> {
    let origin = origin_of(config, path)?;
    let bucket = buckets.get(&origin.bucket)?;
    let path = match config.index_function {
        IndexFunction::RewritingKey => rewritten(config, path),
        _ => path.to_owned(),
    };
    let path = percent_decode_str(&path).decode_utf8().ok()?;
    let name = path.strip_prefix('/').unwrap_or(&path);
    let folder = origin.path.trim_matches('/');
    let look_up = |name: &str| match folder {
        "" => bucket.object(name).map(found),
        folder => bucket.object(&format!("{folder}/{name}")).map(found),
    };
    if name.is_empty() && !config.default_root_object.is_empty() {
        return look_up(&config.default_root_object);
    }
    let is_folder = name.is_empty() || name.ends_with('/');
    let slash = if is_folder { "" } else { "/" };
    let index = || look_up(&format!("{name}{slash}{}", config.index_document));
    let answer = match config.index_function {
        // S3 User Guide, "Configuring an index document".
        IndexFunction::None if origin.is_website() && is_folder => index(),
        IndexFunction::None if origin.is_website() => {
            let redirect = || index().map(|_| redirect(format!("{}/{name}/", origin.path)));
            look_up(name).or_else(redirect)
        }
        IndexFunction::None | IndexFunction::RewritingKey => look_up(name),
        _ => look_up(name).or_else(index),
    };
    answer.or_else(|| config.clean_urls.then(|| look_up(&format!("{name}.html")))?)
}

/// Returns the path to which [`IndexFunction::RewritingKey`] maps a viewer's.
pub(super) fn rewritten(config: &Distribution, path: &str) -> String {
    let (document, root) = (&config.index_document, &config.default_root_object);
    let name = path.rsplit('/').next().unwrap_or_default();
    match name {
        _ if path == "/" && !root.is_empty() => format!("/{root}"),
        "" => format!("{path}{document}"),
        _ if name.contains('.') => path.to_owned(),
        _ if config.clean_urls => format!("{path}.html"),
        _ => format!("{path}/{document}"),
    }
}

/// Returns the origin of the first matching behaviour, or of the default one.
fn origin_of<'a>(config: &'a Distribution, path: &str) -> Option<&'a Origin> {
    let matches = |origin: &&Origin| origin.path_pattern.as_ref().is_some_and(|it| pattern::matches(it, path));
    config.origins.iter().find(matches).or(config.origins.first())
}

fn found(object: Object) -> EdgeAnswer {
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
    EdgeAnswer { status: 200, headers, body: object.body, from_cache: false }
}

fn redirect(location: String) -> EdgeAnswer {
    let headers = BTreeMap::from([("location".to_owned(), location)]);
    EdgeAnswer { status: 302, headers, body: Bytes::new(), from_cache: false }
}

fn not_found() -> EdgeAnswer {
    EdgeAnswer {
        status: 404,
        headers: BTreeMap::from([("content-type".to_owned(), "application/xml".to_owned())]),
        body: Bytes::from_static(b"<Error><Code>NoSuchKey</Code></Error>"),
        from_cache: false,
    }
}
