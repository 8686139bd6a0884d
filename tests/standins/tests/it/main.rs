//! The stand-ins, held against the real SDK clients.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete, EncodingType,
    MetadataDirective, ObjectIdentifier,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use standins::{
    CLIENT, Cloud, CustomError, Distribution, Does, Domain, EdgeAnswer, Etags, Fault, Headers, Origin,
    ReferenceConflict, Service, Versioning,
};

type S3 = aws_sdk_s3::Client;
type CloudFront = aws_sdk_cloudfront::Client;
type DynamoDb = aws_sdk_dynamodb::Client;

async fn s3_for(cloud: &Cloud, client: &str) -> S3 {
    let config = cloud.sdk_config_for(client).await;
    let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
    S3::from_conf(config.build())
}

/// An account with the versioned bucket `site` and a client.
async fn account() -> (Cloud, S3) {
    let cloud = Cloud::start().await;
    cloud.create_bucket("site", Versioning::On, Etags::Md5);
    let s3 = s3_for(&cloud, CLIENT).await;
    (cloud, s3)
}

/// Returns error code and HTTP status.
fn refusal<T, E: ProvideErrorMetadata>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> (String, u16) {
    let Err(error) = result else { panic!("the call succeeded") };
    let status = error.raw_response().map_or(0, |it| it.status().as_u16());
    (error.code().unwrap_or_default().to_owned(), status)
}

fn crc32(body: &[u8]) -> String {
    STANDARD.encode(crc32fast::hash(body).to_be_bytes())
}

fn body(text: &str) -> ByteStream {
    ByteStream::from(text.as_bytes().to_vec())
}

async fn put(s3: &S3, key: &str, text: &str) -> String {
    let put = s3.put_object().bucket("site").key(key).body(body(text));
    put.send().await.unwrap().e_tag.unwrap()
}

#[tokio::test]
async fn an_object_keeps_body_and_headers() {
    let (cloud, s3) = account().await;
    let put = s3.put_object().bucket("site").key("a b/ü+~'.html");
    let put = put
        .body(body("hello"))
        .content_type("text/html; charset=utf-8")
        .cache_control("max-age=1")
        .content_encoding("gzip")
        .content_language("de")
        .content_disposition("inline")
        .metadata("cache-tag", "page");
    let put = put.send().await.unwrap();
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));

    let get = s3.get_object().bucket("site").key("a b/ü+~'.html");
    let get = get.send().await.unwrap();
    assert_eq!(get.version_id(), put.version_id());
    assert_eq!(get.content_type(), Some("text/html; charset=utf-8"));
    assert_eq!(get.cache_control(), Some("max-age=1"));
    assert_eq!(get.content_encoding(), Some("gzip"));
    assert_eq!(get.content_language(), Some("de"));
    assert_eq!(get.content_disposition(), Some("inline"));
    assert_eq!(get.metadata().unwrap()["cache-tag"], "page");
    assert_eq!(get.body.collect().await.unwrap().to_vec(), b"hello");

    let objects = cloud.objects("site");
    let object = &objects["a b/ü+~'.html"];
    assert_eq!(object.headers.content_encoding.as_deref(), Some("gzip"));
    assert_eq!(object.checksum.crc32, Some(crc32(b"hello")));

    let calls = cloud.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[0].operation.as_str(), calls[0].bytes_in), ("PutObject", 5));
    assert_eq!((calls[1].operation.as_str(), calls[1].bytes_out), ("GetObject", 5));
    assert_eq!(calls[1].key.as_deref(), Some("a b/ü+~'.html"));
    assert_eq!(calls[1].status, Some(200));
    assert!(calls[0].ended_at < Some(calls[1].sequence));
}

#[tokio::test]
async fn writes_obey_their_conditions() {
    let (_cloud, s3) = account().await;
    let new = || s3.put_object().bucket("site").key("k").if_none_match("*");
    let etag = new().send().await.unwrap().e_tag.unwrap();
    let refused = refusal(new().send().await);
    assert_eq!(refused, ("PreconditionFailed".to_owned(), 412));

    let matching = |key, etag: &str| s3.put_object().bucket("site").key(key).if_match(etag);
    let refused = refusal(matching("k", "\"other\"").send().await);
    assert_eq!(refused, ("PreconditionFailed".to_owned(), 412));
    let refused = refusal(matching("missing", &etag).send().await);
    assert_eq!(refused, ("NoSuchKey".to_owned(), 404));
    matching("k", &etag).body(body("2")).send().await.unwrap();

    let delete = s3.delete_object().bucket("site").key("k").if_match(etag);
    assert_eq!(refusal(delete.send().await).1, 412);
}

#[tokio::test]
async fn a_range_of_a_version_is_read() {
    let (cloud, s3) = account().await;
    put(&s3, "k", "first version").await;
    put(&s3, "k", "second").await;
    let versions = cloud.versions("site", "k");
    assert_eq!(versions.len(), 2);
    let get = || s3.get_object().bucket("site").key("k").version_id(&versions[0].id);

    let part = get().range("bytes=6-12").send().await.unwrap();
    assert_eq!(part.content_range(), Some("bytes 6-12/13"));
    assert_eq!(part.body.collect().await.unwrap().to_vec(), b"version");
    let tail = get().range("bytes=-4").send().await.unwrap();
    assert_eq!(tail.content_range(), Some("bytes 9-12/13"));
    let refused = refusal(get().range("bytes=13-20").send().await);
    assert_eq!(refused, ("InvalidRange".to_owned(), 416));

    s3.delete_object().bucket("site").key("k").send().await.unwrap();
    assert!(cloud.object("site", "k").is_none());
    let refused = refusal(s3.get_object().bucket("site").key("k").send().await);
    assert_eq!(refused, ("NoSuchKey".to_owned(), 404));
    get().send().await.unwrap();
    cloud.expire_version("site", "k", &versions[0].id);
    assert_eq!(refusal(get().send().await), ("NoSuchVersion".to_owned(), 404));
    let head = s3.head_object().bucket("site").key("k").send().await;
    assert_eq!(refusal(head).1, 404);
}

#[tokio::test]
async fn a_wrong_checksum_is_refused() {
    let (cloud, s3) = account().await;
    let put = |sum: String| {
        let put = s3.put_object().bucket("site").key("k").body(body("hello"));
        put.checksum_crc32(sum).send()
    };
    let refused = refusal(put(crc32(b"other")).await);
    assert_eq!(refused, ("BadDigest".to_owned(), 400));
    assert!(cloud.objects("site").is_empty());
    put(crc32(b"hello")).await.unwrap();
    let head = s3.head_object().bucket("site").key("k");
    let head = head.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
    assert_eq!(head.checksum_crc32(), Some(crc32(b"hello").as_str()));
    assert_eq!(head.checksum_type(), Some(&ChecksumType::FullObject));
}

#[tokio::test]
async fn a_streamed_body_carries_its_checksum_in_a_trailer() {
    let (cloud, s3) = account().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let content = "x".repeat(200_000);
    std::fs::write(file.path(), &content).unwrap();
    let stream = ByteStream::read_from().path(file.path()).build().await.unwrap();
    let put = s3.put_object().bucket("site").key("k").body(stream);
    put.send().await.unwrap();
    let object = cloud.object("site", "k").unwrap();
    assert_eq!(object.body, content.as_bytes());
    assert_eq!(object.checksum.crc32, Some(crc32(content.as_bytes())));
    assert_eq!(object.headers.content_encoding, None);
    assert_eq!(cloud.calls()[0].bytes_in, 200_000);
}

#[tokio::test]
async fn listings_come_in_pages_of_1000_in_byte_order() {
    let (cloud, s3) = account().await;
    let mut keys: Vec<String> = (0..2100).map(|number| format!("d/{number}")).collect();
    keys.extend(["d/é", "d/z", "d/a b", "d/😀", "d/～", "e"].map(str::to_owned));
    for key in &keys {
        cloud.put_object("site", key, "x", Headers::default());
    }
    cloud.delete_object("site", "d/0");
    keys.retain(|key| key.starts_with("d/") && key != "d/0");
    keys.sort();

    let list = || s3.list_objects_v2().bucket("site").prefix("d/");
    let mut listed = Vec::new();
    let mut sizes = Vec::new();
    let mut pages = list().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        sizes.push(page.contents().len());
        listed.extend(page.contents.unwrap_or_default());
    }
    assert_eq!(sizes, [1000, 1000, 104]);
    assert!(listed.iter().map(|object| object.key().unwrap()).eq(&keys));
    assert_eq!(listed[0].e_tag(), Some("\"9dd4e461268c8034f5c8564e155c67a6\""));
    assert_eq!(listed[0].size(), Some(1));

    let rest = list().start_after("d/a").encoding_type(EncodingType::Url);
    let rest = rest.send().await.unwrap();
    let encoded = rest.contents().iter().map(|object| object.key().unwrap());
    let expected = ["d/a+b", "d/z", "d/%C3%A9", "d/%EF%BD%9E", "d/%F0%9F%98%80"];
    assert!(encoded.eq(expected));
}

#[tokio::test]
async fn a_copy_onto_itself_replaces_all_headers_or_is_refused() {
    let (cloud, s3) = account().await;
    let old = Headers { cache_control: Some("no-cache".to_owned()), ..Headers::of_type("text/html") };
    let before = cloud.put_object("site", "a b+ü", "hello", old);
    let copy = || {
        let source = "site/a%20b%2B%C3%BC";
        s3.copy_object().bucket("site").key("a b+ü").copy_source(source)
    };
    assert_eq!(refusal(copy().send().await), ("InvalidRequest".to_owned(), 400));
    let copy = || copy().metadata_directive(MetadataDirective::Replace).content_type("text/css");
    let refused = refusal(copy().copy_source_if_match("\"x\"").send().await);
    assert_eq!(refused, ("PreconditionFailed".to_owned(), 412));
    let refused = refusal(copy().if_match("\"x\"").send().await);
    assert_eq!(refused, ("PreconditionFailed".to_owned(), 412));
    let copied = copy().if_match(&before.etag).copy_source_if_match(&before.etag);
    let copied = copied.send().await.unwrap();
    assert_eq!(copied.copy_object_result().unwrap().e_tag(), Some(before.etag.as_str()));
    let after = cloud.object("site", "a b+ü").unwrap();
    assert_eq!(after.headers, Headers::of_type("text/css"));
    assert_eq!(after.etag, before.etag);
    assert_eq!(after.checksum.crc32, None);
    assert_ne!(after.version_id, before.version_id);
}

#[tokio::test]
async fn opaque_etags_change_with_every_write() {
    let (cloud, s3) = account().await;
    cloud.create_bucket("site", Versioning::Off, Etags::Opaque);
    let first = put(&s3, "k", "hello").await;
    let second = put(&s3, "k", "hello").await;
    assert_ne!(first, second);
    assert_ne!(first, "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_eq!(cloud.versions("site", "k").len(), 1);
}

#[tokio::test]
async fn a_multipart_upload_is_checked_as_a_whole() {
    let (cloud, s3) = account().await;
    let create = s3.create_multipart_upload().bucket("site").key("k");
    let create = create
        .content_type("font/woff2")
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .checksum_type(ChecksumType::FullObject);
    let id = create.send().await.unwrap().upload_id.unwrap();
    let bodies = [vec![b'a'; 5 << 20], b"tail".to_vec()];
    let mut parts = CompletedMultipartUpload::builder();
    for (number, body) in (1..).zip(&bodies) {
        let part = s3.upload_part().bucket("site").key("k").upload_id(&id);
        let part = part.part_number(number).body(body.clone().into()).send().await;
        let part = CompletedPart::builder().part_number(number).e_tag(part.unwrap().e_tag.unwrap());
        parts = parts.parts(part.build());
    }
    let parts = parts.build();
    assert_eq!(cloud.uploads("site").len(), 1);
    let listed = s3.list_multipart_uploads().bucket("site").send().await.unwrap();
    assert_eq!(listed.uploads()[0].key(), Some("k"));

    let complete = || {
        let complete = s3.complete_multipart_upload().bucket("site").key("k");
        complete.upload_id(&id).multipart_upload(parts.clone())
    };
    let refused = refusal(complete().checksum_crc32(crc32(b"other")).send().await);
    assert_eq!(refused, ("BadDigest".to_owned(), 400));
    let refused = refusal(complete().if_match("\"x\"").send().await);
    assert_eq!(refused, ("NoSuchKey".to_owned(), 404));
    let whole = crc32(&bodies.concat());
    let done = complete().checksum_crc32(&whole).if_none_match("*").send();
    let etag = done.await.unwrap().e_tag.unwrap();
    assert!(etag.ends_with("-2\""), "{etag}");
    let object = cloud.object("site", "k").unwrap();
    assert_eq!(object.body, bodies.concat());
    assert_eq!(object.checksum.crc32, Some(whole));
    assert_eq!(object.headers, Headers::of_type("font/woff2"));
    assert!(cloud.uploads("site").is_empty());

    let create = s3.create_multipart_upload().bucket("site").key("copy").send();
    let id = create.await.unwrap().upload_id.unwrap();
    let part = s3.upload_part_copy().bucket("site").key("copy").upload_id(&id);
    let part = part.part_number(1).copy_source("site/k").copy_source_range("bytes=5242880-5242883");
    let part = part.send().await.unwrap();
    assert!(part.copy_part_result().unwrap().e_tag().is_some());
    let abort = s3.abort_multipart_upload().bucket("site").key("copy").upload_id(&id);
    abort.clone().send().await.unwrap();
    assert_eq!(refusal(abort.send().await), ("NoSuchUpload".to_owned(), 404));
}

#[tokio::test]
async fn delete_objects_answers_per_key() {
    let (cloud, s3) = account().await;
    for key in ["a", "b", "c&d"] {
        put(&s3, key, key).await;
    }
    cloud.fault(Fault {
        key: Some("b*".to_owned()),
        ..Fault::on("DeleteObjects", Does::RefuseKeys { code: "InternalError".to_owned() })
    });
    let object = |key: &str| ObjectIdentifier::builder().key(key);
    let objects = [object("a").e_tag("\"x\""), object("b"), object("c&d"), object("none")];
    let objects = objects.map(|object| object.build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.into())).build().unwrap();
    let answer = s3.delete_objects().bucket("site").delete(delete);
    let answer = answer.send().await.unwrap();
    let errors: BTreeMap<_, _> =
        answer.errors().iter().map(|error| (error.key().unwrap(), error.code().unwrap())).collect();
    let expected = [("a", "PreconditionFailed"), ("b", "InternalError")];
    assert_eq!(errors, BTreeMap::from(expected));
    assert_eq!(answer.deleted().len(), 2);
    assert!(cloud.objects("site").keys().eq(["a", "b"]));
    assert_eq!(cloud.calls().last().unwrap().keys, ["a", "b", "c&d", "none"]);
}

#[tokio::test]
async fn another_bucket_owner_is_refused() {
    let (cloud, s3) = account().await;
    cloud.set_account_id("111122223333");
    let list = |owner| s3.list_objects_v2().bucket("site").expected_bucket_owner(owner).send();
    list("111122223333").await.unwrap();
    assert_eq!(refusal(list("444455556666").await), ("AccessDenied".to_owned(), 403));
    let list = s3.list_objects_v2().bucket("other-site").send().await;
    assert_eq!(refusal(list), ("NoSuchBucket".to_owned(), 404));
}

/// Offers an invalidation and returns its id.
async fn offer(cloudfront: &CloudFront, reference: &str, items: &[&str]) -> Result<String, (String, u16)> {
    let paths = aws_sdk_cloudfront::types::Paths::builder()
        .quantity(items.len() as i32)
        .set_items(Some(items.iter().map(|item| (*item).to_owned()).collect()))
        .build()
        .unwrap();
    let batch = aws_sdk_cloudfront::types::InvalidationBatch::builder()
        .paths(paths)
        .caller_reference(reference)
        .build()
        .unwrap();
    let create = cloudfront.create_invalidation().distribution_id("E1");
    match create.invalidation_batch(batch).send().await {
        Ok(answer) => Ok(answer.invalidation.unwrap().id),
        refused => Err(refusal(refused)),
    }
}

fn invalid(code: &str) -> Result<String, (String, u16)> {
    Err((code.to_owned(), 400))
}

async fn cloudfront_of(cloud: &Cloud) -> CloudFront {
    CloudFront::new(&cloud.sdk_config().await)
}

#[tokio::test]
async fn a_caller_reference_names_one_invalidation() {
    let (cloud, _) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site"));
    let cloudfront = cloudfront_of(&cloud).await;
    let first = offer(&cloudfront, "r1", &["/a&b", "/c*"]).await.unwrap();
    let again = offer(&cloudfront, "r1", &["/c*", "/a&b"]).await;
    assert_eq!(again, Ok(first.clone()));
    let exists = invalid("InvalidationBatchAlreadyExists");
    assert_eq!(offer(&cloudfront, "r1", &["/d"]).await, exists);
    cloud.set_reference_conflict("E1", ReferenceConflict::InvalidArgument);
    assert_eq!(offer(&cloudfront, "r1", &["/d"]).await, invalid("InvalidArgument"));
    assert_eq!(offer(&cloudfront, "r1", &["/c*", "/a&b"]).await, Ok(first.clone()));
    cloud.set_reference_conflict("E1", ReferenceConflict::AlwaysInvalidArgument);
    let refused = offer(&cloudfront, "r1", &["/c*", "/a&b"]).await;
    assert_eq!(refused, invalid("InvalidArgument"));

    let accepted = cloud.invalidations("E1");
    assert_eq!(accepted.len(), 1);
    assert_eq!(accepted[0].items, ["/a&b", "/c*"]);
    assert_eq!(accepted[0].accepted_at_sequence, 1);
    let get = cloudfront.get_invalidation().distribution_id("E1").id(&first);
    let get = get.send().await.unwrap().invalidation.unwrap();
    assert_eq!(get.status(), "Completed");
    assert_eq!(get.invalidation_batch().unwrap().caller_reference(), "r1");
    let list = cloudfront.list_invalidations().distribution_id("E1").send().await.unwrap();
    assert_eq!(list.invalidation_list().unwrap().items()[0].id(), first);
}

#[tokio::test]
async fn invalid_paths_and_full_quotas_are_refused() {
    let (cloud, _) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site"));
    let cloudfront = cloudfront_of(&cloud).await;
    let long = format!("/{}", "x".repeat(4000));
    for bad in ["a", "/a b", "/~a", "/é", "/a*b", "/a**", long.as_str(), ""] {
        let refused = offer(&cloudfront, bad, &["/good", bad]).await;
        assert_eq!(refused, invalid("InvalidArgument"), "{bad}");
    }
    offer(&cloudfront, "fits", &[&long[..4000]]).await.unwrap();

    cloud.hold_invalidations("E1");
    let wildcards: Vec<String> = (0..15).map(|number| format!("/{number}/*")).collect();
    let wildcards: Vec<&str> = wildcards.iter().map(String::as_str).collect();
    let id = offer(&cloudfront, "wildcards", &wildcards).await.unwrap();
    let full = invalid("TooManyInvalidationsInProgress");
    assert_eq!(offer(&cloudfront, "more", &["/x*"]).await, full);
    offer(&cloudfront, "path", &["/x"]).await.unwrap();
    cloud.occupy_invalidations("E1", 2999, 0);
    assert_eq!(offer(&cloudfront, "path2", &["/y"]).await, full);
    let status = || async {
        let get = cloudfront.get_invalidation().distribution_id("E1").id(&id);
        get.send().await.unwrap().invalidation.unwrap().status
    };
    assert_eq!(status().await, "InProgress");
    cloud.complete_invalidations("E1");
    assert_eq!(status().await, "Completed");
    offer(&cloudfront, "more", &["/x*"]).await.unwrap();
    let missing = cloudfront.get_distribution().id("E2").send().await;
    assert_eq!(refusal(missing), ("NoSuchDistribution".to_owned(), 404));
}

#[tokio::test]
async fn a_distribution_can_be_read() {
    let (cloud, _) = account().await;
    let mut distribution = Distribution::of("E1", "site").with_origin_path("/www");
    distribution.origins.push(Origin {
        bucket: "site".to_owned(),
        path: "/en".to_owned(),
        domain: Domain::Website,
        path_pattern: Some("/en/*".to_owned()),
    });
    distribution.custom_errors.push(CustomError {
        code: 404,
        page: Some(("/404.html".to_owned(), 404)),
        min_ttl_seconds: 300,
    });
    distribution.cache_tag_header = Some("x-amz-meta-cache-tag".to_owned());
    cloud.create_distribution(distribution);
    let get = cloudfront_of(&cloud).await.get_distribution().id("E1").send();
    let config = get.await.unwrap().distribution.unwrap().distribution_config.unwrap();
    assert_eq!(config.default_root_object(), Some("index.html"));
    let origins = config.origins().unwrap().items();
    assert_eq!(origins[0].domain_name(), "site.s3.us-east-1.amazonaws.com");
    assert_eq!(origins[0].origin_path(), Some("/www"));
    assert!(origins[0].s3_origin_config().is_some());
    assert_eq!(origins[1].domain_name(), "site.s3-website-us-east-1.amazonaws.com");
    assert!(origins[1].custom_origin_config().is_some());
    let behaviours = config.cache_behaviors().unwrap().items();
    assert_eq!(behaviours[0].path_pattern(), "/en/*");
    assert_eq!(behaviours[0].target_origin_id(), origins[1].id());
    let errors = config.custom_error_responses().unwrap().items();
    assert_eq!(errors[0].error_caching_min_ttl(), Some(300));
    assert_eq!(errors[0].response_page_path(), Some("/404.html"));
    let tags = config.cache_tag_config().unwrap();
    assert_eq!(tags.header_name(), "x-amz-meta-cache-tag");
    let default = config.default_cache_behavior().unwrap();
    assert_eq!(default.target_origin_id(), origins[0].id());
}

fn text(answer: &EdgeAnswer) -> (u16, &str) {
    (answer.status, std::str::from_utf8(&answer.body).unwrap())
}

#[tokio::test]
async fn a_delimiter_rolls_keys_up_into_folders_over_all_pages() {
    let (cloud, s3) = account().await;
    for key in ["a", "b/1", "b/2", "b/c/3", "d", "e/4", "f"] {
        cloud.put_object("site", key, "x", Headers::default());
    }
    for size in 1..=6 {
        let list = s3.list_objects_v2().bucket("site").delimiter("/").max_keys(size);
        let mut pages = list.into_paginator().send();
        let (mut keys, mut folders) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = page.unwrap();
            keys.extend(page.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
            let prefixes = page.common_prefixes().iter();
            folders.extend(prefixes.filter_map(|it| it.prefix()).map(str::to_owned));
        }
        assert_eq!(keys, ["a", "d", "f"], "{size} a page");
        assert_eq!(folders, ["b/", "e/"], "{size} a page");
    }
}

#[tokio::test]
async fn the_edge_serves_stale_pages_until_an_item_matches() {
    let (cloud, _) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site").with_origin_path("/www"));
    let cloudfront = cloudfront_of(&cloud).await;
    let edge = cloud.edge("E1");
    let put = |text: &'static str| {
        for key in ["index.html", "docs/index.html", "a b~.html", "[x].html", "it's.html"] {
            let headers = Headers::of_type("text/html");
            cloud.put_object("site", &format!("www/{key}"), text, headers);
        }
    };
    let urls = [
        "/",
        "/index.html",
        "/docs",
        "/docs/",
        "/docs/index.html",
        "/docs/?q=1",
        "/a%20b~.html",
        "/[x].html",
        "/it's.html",
        "/it%27s.html",
    ];
    put("old");
    edge.warm_all(urls);
    put("new");
    let stale = || -> Vec<&str> {
        let stale = |url: &&str| text(&edge.get(url)) == (200, "old");
        urls.into_iter().filter(stale).collect()
    };
    assert_eq!(stale(), urls);

    let mut count = 0;
    let mut send = async |items: &[&str]| {
        count += 1;
        offer(&cloudfront, &count.to_string(), items).await.unwrap();
    };
    // Not what viewers send, another case, and what CloudFront ignores.
    send(&["/it%27S.html", "/Docs/", "/a%20b%7E.html", "/[x].html", "/a%20b", "/www/*"]).await;
    assert_eq!(stale(), urls);
    send(&["/", "/docs/"]).await;
    let left = ["/index.html", "/docs", "/docs/index.html"];
    let rest = ["/a%20b~.html", "/[x].html", "/it's.html", "/it%27s.html"];
    assert_eq!(stale(), [&left[..], &rest].concat());
    send(&["/docs*", "/index.html", "/it's.html", "/%5Bx%5D.html"]).await;
    assert_eq!(stale(), ["/a%20b~.html", "/it%27s.html"]);
    send(&["/a%20b*", "/it*"]).await;
    assert!(stale().is_empty());
    assert!(edge.get("/docs").from_cache);
    assert_eq!(edge.get("/docs").headers["content-type"], "text/html");
}

#[tokio::test]
async fn the_edge_keeps_variants_errors_and_tags_as_configured() {
    let (cloud, _) = account().await;
    let plain = Distribution::of("E1", "site");
    cloud.create_distribution(plain.clone());
    let cloudfront = cloudfront_of(&cloud).await;
    let edge = cloud.edge("E1");
    let page = |cache_control: Option<&str>, tags: Option<&str>| Headers {
        cache_control: cache_control.map(str::to_owned),
        metadata: tags.map(|tags| ("cache-tag".to_owned(), tags.to_owned())).into_iter().collect(),
        ..Headers::of_type("text/html")
    };

    // The default keeps no error longer than a test takes.
    assert_eq!(edge.get("/a.html").status, 404);
    cloud.put_object("site", "a.html", "a", page(Some("no-store"), None));
    assert_eq!(text(&edge.get("/a.html")), (200, "a"));
    assert!(edge.cached().is_empty());

    cloud.create_distribution(Distribution {
        custom_errors: vec![CustomError { code: 404, page: Some(("/404.html".to_owned(), 404)), min_ttl_seconds: 300 }],
        cache_query_strings: true,
        clean_urls: true,
        cache_tag_header: Some("x-amz-meta-cache-tag".to_owned()),
        ..plain
    });
    cloud.put_object("site", "404.html", "gone", page(None, None));
    edge.warm_all(["/b.html", "/b.html?x=1", "/b"]);
    cloud.put_object("site", "b.html", "b", page(None, Some("Page,b")));
    assert_eq!(text(&edge.get("/b.html")), (404, "gone"));
    offer(&cloudfront, "1", &["/b.html", "/b"]).await.unwrap();
    assert_eq!(text(&edge.get("/b.html")), (200, "b"));
    assert_eq!(text(&edge.get("/b")), (200, "b"));
    assert_eq!(text(&edge.get("/b.html?x=1")), (404, "gone"));
    offer(&cloudfront, "2", &["/b.html*"]).await.unwrap();
    assert_eq!(text(&edge.get("/b.html?x=1")), (200, "b"));
    offer(&cloudfront, "3", &["#page"]).await.unwrap();
    assert!(edge.cached().is_empty());

    edge.get("/b.html");
    let url = edge.serve().await;
    let answer = raw_http(&url, "GET /b.html HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = answer.await;
    assert!(answer.contains("x-cache: Hit from cloudfront"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nb"), "{answer}");
}

async fn raw_http(url: &str, request: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_kth_call_fails_and_the_sdk_retries() {
    let (cloud, s3) = account().await;
    cloud.fault(Fault {
        key: Some("*.html".to_owned()),
        first: 2,
        times: 2,
        ..Fault::on("PutObject", Does::refuse(503, "SlowDown"))
    });
    put(&s3, "a.html", "a").await;
    put(&s3, "b.css", "b").await;
    put(&s3, "c.html", "c").await;
    let statuses: Vec<_> = cloud.calls().iter().map(|call| call.status.unwrap()).collect();
    assert_eq!(statuses, [200, 200, 503, 503, 200]);
    assert_eq!(cloud.faults_struck(), 2);

    cloud.fault(Fault::any(Does::refuse(409, "ConditionalRequestConflict")));
    let refused = refusal(s3.put_object().bucket("site").key("k").send().await);
    assert_eq!(refused, ("ConditionalRequestConflict".to_owned(), 409));
    assert!(cloud.object("site", "k").is_none());
    cloud.fault(Fault::on("PutObject", Does::refuse_after(400, "Odd")));
    refusal(s3.put_object().bucket("site").key("k").send().await);
    assert!(cloud.object("site", "k").is_some());
}

#[tokio::test]
async fn a_dropped_connection_comes_before_or_after_the_effect() {
    let (cloud, s3) = account().await;
    cloud.fault(Fault::on("PutObject", Does::DropAfter));
    let put = s3.put_object().bucket("site").key("k").if_none_match("*");
    // The SDK retries, and meets what its lost attempt wrote.
    assert_eq!(refusal(put.send().await).1, 412);
    let calls = cloud.calls();
    assert_eq!((calls[0].status, calls[1].status), (None, Some(412)));
    cloud.fault(Fault { times: 3, ..Fault::on("PutObject", Does::DropBefore) });
    s3.put_object().bucket("site").key("l").send().await.unwrap_err();
    assert!(cloud.object("site", "l").is_none());

    cloud.put_object("site", "m", "0123456789", Headers::default());
    cloud.fault(Fault::on("GetObject", Does::Truncate(4)));
    let get = s3.get_object().bucket("site").key("m").send().await.unwrap();
    assert!(get.body.collect().await.is_err());
}

#[tokio::test]
async fn a_dead_client_has_no_more_effects() {
    let (cloud, s3) = account().await;
    let other = s3_for(&cloud, "other").await;
    for (does, remains) in [(Does::DieBefore, false), (Does::DieAfter, true)] {
        cloud.fault(Fault { first: 2, client: Some(CLIENT.to_owned()), ..Fault::any(does) });
        let process = tokio::spawn({
            let s3 = s3.clone();
            async move {
                put(&s3, "first", "1").await;
                put(&s3, "second", "2").await;
            }
        });
        cloud.death(CLIENT).await;
        put(&other, "third", "3").await;
        process.abort();
        assert!(process.await.unwrap_err().is_cancelled());
        assert_eq!(cloud.object("site", "second").is_some(), remains);
        let hung = s3.delete_object().bucket("site").key("first").send();
        tokio::time::timeout(Duration::from_millis(50), hung).await.unwrap_err();
        assert!(cloud.object("site", "first").is_some());
        cloud.revive(CLIENT);
        s3.delete_object().bucket("site").key("second").send().await.unwrap();
    }
}

#[tokio::test]
async fn a_gate_decides_the_order_of_effects() {
    let (cloud, _) = account().await;
    let gate = cloud.gate();
    let mut tasks = tokio::task::JoinSet::new();
    for name in ["one", "two", "three"] {
        let s3 = s3_for(&cloud, name).await;
        tasks.spawn(async move { put(&s3, "k", name).await });
    }
    let waiting = gate.wait_until(|waiting| waiting.len() == 3).await;
    assert!(cloud.calls().is_empty());
    for name in ["two", "one"] {
        let waiting = waiting.iter().find(|waiting| waiting.call.client == name).unwrap();
        assert!(gate.let_through(waiting.ticket).await);
        assert!(!gate.let_through(waiting.ticket).await);
        assert_eq!(cloud.object("site", "k").unwrap().body, name);
    }
    drop(gate);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(cloud.object("site", "k").unwrap().body, "three");
    let clients: Vec<_> = cloud.calls().into_iter().map(|call| call.client).collect();
    assert_eq!(clients, ["two", "one", "three"]);
}

#[tokio::test]
async fn latency_delays_every_answer() {
    let (cloud, s3) = account().await;
    cloud.set_latency(Service::S3, Duration::from_millis(30));
    let begun = std::time::Instant::now();
    put(&s3, "k", "x").await;
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn the_table_keeps_conditions_and_transactions() {
    use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
    let (cloud, _) = account().await;
    cloud.create_table("ledger").await;
    let dynamodb = DynamoDb::new(&cloud.sdk_config().await);
    let s = |text: &str| AttributeValue::S(text.to_owned());
    let n = |number: u32| AttributeValue::N(number.to_string());
    let create = || {
        let put = dynamodb.put_item().table_name("ledger");
        put.item("site", s("a")).item("item", s("head")).item("sequence", n(1))
    };
    let create = || create().condition_expression("attribute_not_exists(site)");
    create().send().await.unwrap();
    let refused = refusal(create().send().await);
    assert_eq!(refused, ("ConditionalCheckFailedException".to_owned(), 400));

    let update = || {
        let update = dynamodb.update_item().table_name("ledger");
        let update = update.key("site", s("a")).key("item", s("head"));
        update
            .update_expression("SET lease = :lease, #n = if_not_exists(#n, :zero) + :one")
            .expression_attribute_names("#n", "sequence")
            .expression_attribute_values(":lease", s("me"))
            .expression_attribute_values(":zero", n(0))
            .expression_attribute_values(":one", n(1))
    };
    update().condition_expression("attribute_not_exists(lease)").send().await.unwrap();
    let again = update().condition_expression("attribute_not_exists(lease)").send().await;
    assert_eq!(refusal(again).0, "ConditionalCheckFailedException");

    let owed = |number: u32| {
        let put = Put::builder().table_name("ledger").item("site", s("a"));
        let put = put.item("item", s(&format!("owed#{number}"))).build().unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let held = |by: &str| {
        let update = Update::builder().table_name("ledger").key("site", s("a"));
        let update = update.key("item", s("head")).update_expression("SET batches = :one");
        let update = update.condition_expression("lease = :by");
        let update = update.expression_attribute_values(":one", n(1));
        let update = update.expression_attribute_values(":by", s(by)).build().unwrap();
        TransactWriteItem::builder().update(update).build()
    };
    let transact = |by: &str| {
        let write = dynamodb.transact_write_items();
        write.transact_items(held(by)).transact_items(owed(1)).transact_items(owed(2)).send()
    };
    assert_eq!(refusal(transact("you").await).0, "TransactionCanceledException");
    let query = || {
        let query = dynamodb.query().table_name("ledger").consistent_read(true);
        let query = query.key_condition_expression("site = :s AND begins_with(#i, :p)");
        let query = query.expression_attribute_names("#i", "item");
        let query = query.expression_attribute_values(":s", s("a"));
        query.expression_attribute_values(":p", s("owed#")).send()
    };
    assert_eq!(query().await.unwrap().count(), 0);
    transact("me").await.unwrap();
    assert_eq!(query().await.unwrap().count(), 2);

    let key = |item: &str| {
        let get = dynamodb.get_item().table_name("ledger").consistent_read(true);
        get.key("site", s("a")).key("item", s(item)).send()
    };
    let head = key("head").await.unwrap().item.unwrap();
    assert_eq!(head["sequence"], n(2));
    assert_eq!(head["batches"], n(1));
    let delete = dynamodb.delete_item().table_name("ledger");
    let delete = delete.key("site", s("a")).key("item", s("owed#1"));
    let delete = || delete.clone().condition_expression("attribute_exists(site)").send();
    delete().await.unwrap();
    assert_eq!(refusal(delete().await).0, "ConditionalCheckFailedException");
    assert_eq!(key("owed#1").await.unwrap().item, None);

    let large = dynamodb.put_item().table_name("ledger").item("site", s("a"));
    let large = large.item("item", s("x")).item("text", s(&"x".repeat(400 * 1024)));
    assert_eq!(refusal(large.send().await), ("ValidationException".to_owned(), 400));
    let call = cloud.calls().into_iter().find(|call| call.operation == "UpdateItem").unwrap();
    assert_eq!((call.table.as_deref(), call.key.as_deref()), (Some("ledger"), Some("head")));

    let throttled = Does::refuse(400, "ProvisionedThroughputExceededException");
    cloud.fault(Fault::on("GetItem", throttled));
    key("head").await.unwrap();
    let last: Vec<_> = cloud.calls().iter().rev().take(2).map(|call| call.status).collect();
    assert_eq!(last, [Some(200), Some(400)]);
}

#[tokio::test]
async fn a_client_without_the_secret_is_refused() {
    let (cloud, _) = account().await;
    let config = cloud.sdk_config().await;
    let wrong = aws_sdk_s3::config::Credentials::new("client", "wrong", None, None, "test");
    let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).credentials_provider(wrong);
    let s3 = S3::from_conf(config.build());
    let refused = refusal(s3.list_objects_v2().bucket("site").send().await);
    assert_eq!(refused, ("SignatureDoesNotMatch".to_owned(), 403));
}
