//! Objects: bodies, headers, versions, conditions and checksums.

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, Delete, MetadataDirective, ObjectIdentifier};
use standins::{Does, Etags, Fault, Headers, Versioning};

use crate::account::{S3, account, body, crc32, put, refusal};

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
async fn a_version_can_be_read_in_ranges() {
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
async fn delete_objects_reports_each_key() {
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
async fn delete_objects_refuses_all_keys_because_of_one_that_xml_cannot_carry() {
    let (cloud, s3) = account().await;
    for odd in ["\u{10}", "\u{fffe}"] {
        put(&s3, "plain", "x").await;
        put(&s3, odd, "x").await;
        let objects = ["plain", odd].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
        let delete = Delete::builder().set_objects(Some(objects.into())).build().unwrap();
        let refused = refusal(s3.delete_objects().bucket("site").delete(delete).send().await);
        assert_eq!(refused, ("MalformedXML".to_owned(), 400));
        s3.delete_object().bucket("site").key(odd).send().await.unwrap();
        assert!(cloud.objects("site").keys().eq(["plain"]));
    }
}

#[tokio::test]
async fn a_call_that_expects_another_bucket_owner_is_refused() {
    let (cloud, s3) = account().await;
    cloud.set_account_id("111122223333");
    let list = |owner| s3.list_objects_v2().bucket("site").expected_bucket_owner(owner).send();
    list("111122223333").await.unwrap();
    assert_eq!(refusal(list("444455556666").await), ("AccessDenied".to_owned(), 403));
    let list = s3.list_objects_v2().bucket("other-site").send().await;
    assert_eq!(refusal(list), ("NoSuchBucket".to_owned(), 404));
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
