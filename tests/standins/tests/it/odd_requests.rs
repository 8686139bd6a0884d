//! Requests that dropship does not send, but other clients and viewers do. Each gets an answer.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use standins::{Distribution, Headers, Service};

use crate::account::{account, body, cloudfront_of, offer, put, raw_http, refusal};

fn code(code: &str, status: u16) -> (String, u16) {
    (code.to_owned(), status)
}

#[tokio::test]
async fn no_range_of_an_empty_object_is_satisfiable() {
    let (_cloud, s3) = account().await;
    put(&s3, "empty", "").await;
    let get = || s3.get_object().bucket("site").key("empty");
    let whole = get().send().await.unwrap();
    assert_eq!((whole.content_length(), whole.content_range()), (Some(0), None));
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=5-9"] {
        assert_eq!(refusal(get().range(range).send().await), code("InvalidRange", 416), "{range}");
        let head = s3.head_object().bucket("site").key("empty").range(range);
        assert_eq!(refusal(head.send().await).1, 416, "{range}");
    }
}

#[tokio::test]
async fn a_head_with_a_range_describes_that_range() {
    let (_cloud, s3) = account().await;
    put(&s3, "k", "0123456789").await;
    let head = s3.head_object().bucket("site").key("k").range("bytes=-3").send().await.unwrap();
    assert_eq!((head.content_length(), head.content_range()), (Some(3), Some("bytes 7-9/10")));
}

#[tokio::test]
async fn ranges_end_at_the_end_of_the_object() {
    let (_cloud, s3) = account().await;
    put(&s3, "k", "0123456789").await;
    for (range, text) in [("bytes=8-99", "89"), ("bytes=-99", "0123456789"), ("bytes=9-9223372036854775807", "9")] {
        let get = s3.get_object().bucket("site").key("k").range(range).send().await.unwrap();
        assert_eq!(get.body.collect().await.unwrap().to_vec(), text.as_bytes(), "{range}");
    }
}

#[tokio::test]
async fn buckets_are_listed_with_dates_and_only_empty_ones_can_be_deleted() {
    let (_cloud, s3) = account().await;
    s3.create_bucket().bucket("other").send().await.unwrap();
    put(&s3, "k", "x").await;
    let list = s3.list_buckets().send().await.unwrap();
    let names: Vec<_> = list.buckets().iter().map(|bucket| bucket.name().unwrap()).collect();
    assert_eq!(names, ["other", "site"]);
    assert!(list.buckets().iter().all(|bucket| bucket.creation_date().is_some()));
    assert!(list.owner().is_some());

    s3.get_bucket_location().bucket("site").send().await.unwrap();
    let delete = |bucket| s3.delete_bucket().bucket(bucket).send();
    assert_eq!(refusal(delete("site").await), code("BucketNotEmpty", 409));
    assert_eq!(refusal(delete("none").await), code("NoSuchBucket", 404));
    delete("other").await.unwrap();
    assert_eq!(refusal(s3.head_bucket().bucket("other").send().await).1, 404);
}

#[tokio::test]
async fn list_objects_has_the_same_pages_as_its_second_version() {
    let (cloud, s3) = account().await;
    for key in ["a", "b/1", "b/2", "c d", "e"] {
        cloud.put_object("site", key, "x", Headers::default());
    }
    let (mut keys, mut folders, mut marker) = (Vec::new(), Vec::new(), String::new());
    loop {
        let list = s3.list_objects().bucket("site").delimiter("/").max_keys(2).marker(&marker);
        let page = list.send().await.unwrap();
        keys.extend(page.contents().iter().map(|object| object.key().unwrap().to_owned()));
        folders.extend(page.common_prefixes().iter().map(|folder| folder.prefix().unwrap().to_owned()));
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = page.next_marker().unwrap().to_owned();
    }
    assert_eq!(keys, ["a", "c d", "e"]);
    assert_eq!(folders, ["b/"]);
}

#[tokio::test]
async fn a_listing_accepts_any_max_keys_except_negative_ones() {
    let (cloud, s3) = account().await;
    cloud.put_object("site", "k", "x", Headers::default());
    let list = |max_keys| s3.list_objects_v2().bucket("site").max_keys(max_keys).send();
    let none = list(0).await.unwrap();
    assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
    assert_eq!(list(i32::MAX).await.unwrap().key_count(), Some(1));
    assert_eq!(refusal(list(-1).await), code("InvalidArgument", 400));
    let token = s3.list_objects_v2().bucket("site").continuation_token("no token");
    assert_eq!(refusal(token.send().await), code("InvalidArgument", 400));
}

#[tokio::test]
async fn part_numbers_range_from_1_to_10000_and_must_ascend() {
    let (_cloud, s3) = account().await;
    let id = s3.create_multipart_upload().bucket("site").key("k").send().await.unwrap().upload_id.unwrap();
    let part = |number| {
        let part = s3.upload_part().bucket("site").key("k").upload_id(&id).part_number(number);
        part.body(body("x")).send()
    };
    for number in [0, -1, 10_001] {
        assert_eq!(refusal(part(number).await), code("InvalidArgument", 400), "{number}");
    }
    let etag = part(10_000).await.unwrap().e_tag.unwrap();
    let complete = |numbers: &[i32]| {
        let parts = numbers.iter().map(|number| CompletedPart::builder().part_number(*number).e_tag(&etag).build());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
        s3.complete_multipart_upload().bucket("site").key("k").upload_id(&id).multipart_upload(parts).send()
    };
    assert_eq!(refusal(complete(&[10_000, 10_000]).await), code("InvalidPartOrder", 400));
    assert_eq!(refusal(complete(&[]).await), code("MalformedXML", 400));
    complete(&[10_000]).await.unwrap();

    let id = s3.create_multipart_upload().bucket("site").key("k").send().await.unwrap().upload_id.unwrap();
    let copy = |range| {
        let copy = s3.upload_part_copy().bucket("site").key("k").upload_id(&id).part_number(1);
        copy.copy_source("site/k").copy_source_range(range).send()
    };
    for range in ["bytes=-1", "bytes=0-", "bytes=1-0", "0-0"] {
        assert_eq!(refusal(copy(range).await), code("InvalidArgument", 400), "{range}");
    }
    copy("bytes=0-0").await.unwrap();
}

#[tokio::test]
async fn distributions_can_be_listed_and_their_configuration_read() {
    let (cloud, _s3) = account().await;
    let cloudfront = cloudfront_of(&cloud).await;
    let list = || async { cloudfront.list_distributions().send().await.unwrap().distribution_list.unwrap() };
    assert_eq!(list().await.quantity(), 0);
    for id in ["E1", "E2"] {
        cloud.create_distribution(Distribution::of(id, "site"));
    }
    let list = list().await;
    let ids: Vec<_> = list.items().iter().map(|it| (it.id(), it.default_cache_behavior().is_some())).collect();
    assert_eq!(ids, [("E1", true), ("E2", true)]);
    let config = cloudfront.get_distribution_config().id("E1").send().await.unwrap();
    assert_eq!(config.e_tag(), Some("E0000000000001"));
    assert_eq!(config.distribution_config().unwrap().default_root_object(), Some("index.html"));
}

#[tokio::test]
async fn an_operation_that_is_not_emulated_is_not_implemented() {
    let (cloud, s3) = account().await;
    put(&s3, "k", "x").await;
    assert_eq!(refusal(s3.get_bucket_cors().bucket("site").send().await), code("NotImplemented", 501));
    assert_eq!(refusal(s3.get_object_tagging().bucket("site").key("k").send().await), code("NotImplemented", 501));
    let functions = cloudfront_of(&cloud).await.list_functions().send().await;
    assert_eq!(refusal(functions), code("NotImplemented", 501));
    let dynamodb = aws_sdk_dynamodb::Client::new(&cloud.sdk_config().await);
    let table = dynamodb.describe_table().table_name("none").send().await;
    assert_eq!(refusal(table), code("UnknownOperationException", 400));
    let scan = dynamodb.scan().table_name("none").send().await;
    assert_eq!(refusal(scan), code("ResourceNotFoundException", 400));
}

#[tokio::test]
async fn a_bucket_without_a_policy_or_lifecycle_rules_says_so() {
    let (_cloud, s3) = account().await;
    assert_eq!(refusal(s3.get_bucket_policy().bucket("site").send().await), code("NoSuchBucketPolicy", 404));
    let rules = s3.get_bucket_lifecycle_configuration().bucket("site").send().await;
    assert_eq!(refusal(rules), code("NoSuchLifecycleConfiguration", 404));
}

#[tokio::test]
async fn an_error_message_is_escaped() {
    let (cloud, _s3) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site"));
    let cloudfront = cloudfront_of(&cloud).await;
    assert_eq!(offer(&cloudfront, "1", &["a&b<c"]).await, Err(code("InvalidArgument", 400)));
}

#[tokio::test]
async fn every_request_gets_an_answer() {
    let (cloud, _s3) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site"));
    let url = cloud.endpoint();
    let invalidation = "POST /2020-05-31/distribution/E1/invalidation";
    let mut unexpected = Vec::new();
    for (request, headers, body, status) in [
        ("GET /", "", "", 403),
        ("OPTIONS /site/k", "", "", 501),
        ("GET /site/%ff%00?versionId=%", "", "", 400),
        ("PUT /site", "content-type: multipart/form-data; boundary=x\r\n", "--x--", 403),
        ("POST /site?delete", "", "<Delete><Object><Key>&#x110000;", 403),
        ("GET /site/k", "authorization: AWS4-HMAC-SHA256 Credential=\r\n", "", 400),
        ("GET /2020-05-31/", "", "", 501),
        ("GET /2020-05-31/distribution/E1/", "", "", 501),
        ("DELETE /2020-05-31/distribution/E1", "", "", 501),
        (invalidation, "", "", 400),
        (invalidation, "", "<Paths><Quantity>x</Quantity></Paths><CallerReference>&#0;</CallerReference>", 400),
        ("POST /", "x-amz-target: DynamoDB_20120810.Nothing\r\n", "{}", 400),
        ("POST /", "x-amz-target: DynamoDB_20120810.PutItem\r\n", "{\"Item\": [", 400),
        ("POST /", "x-amz-target: \r\n", "", 400),
    ] {
        let length = body.len();
        let request = format!(
            "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        let answer = raw_http(&url, &request).await;
        if !answer.starts_with(&format!("HTTP/1.1 {status} ")) {
            unexpected.push(format!("{request}\n{answer}"));
        }
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n---\n"));
}

/// A server may answer such a request immediately (RFC 9110, section 10.1.1). The AWS CLI then misreads the next answer
/// on the same connection, and waits forever.
#[tokio::test]
async fn an_empty_body_with_expect_continue_closes_the_connection() {
    let (cloud, _s3) = account().await;
    let request = "PUT /site/empty HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n";
    let answer = raw_http(&cloud.endpoint(), request).await;
    assert!(answer.to_lowercase().contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_huge_content_length_reserves_little_memory() {
    let (cloud, s3) = account().await;
    let request = format!("PUT /site/k HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\nx", 1_u64 << 46);
    let address = cloud.endpoint().replace("http://", "");
    {
        use tokio::io::AsyncWriteExt as _;
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    put(&s3, "k", "x").await;
    let calls = cloud.calls();
    assert_eq!((calls.len(), calls[0].service), (1, Service::S3));
}

#[tokio::test]
async fn the_edge_omits_headers_that_http_cannot_carry() {
    let (cloud, _s3) = account().await;
    cloud.create_distribution(Distribution::of("E1", "site"));
    let headers =
        Headers { cache_control: Some("max-age=1\r\nx: y".to_owned()), ..Headers::of_type("text/plain; name=ü") };
    cloud.put_object("site", "a.txt", "text", headers);
    let edge = cloud.edge("E1").serve().await;
    let answer = raw_http(&edge, "GET /a.txt HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\ntext"), "{answer}");
    assert!(answer.contains("name=ü") && !answer.contains("max-age"), "{answer}");
}
