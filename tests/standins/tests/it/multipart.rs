//! Multipart uploads.

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use standins::Headers;

use crate::account::{account, crc32, refusal};

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
    assert_eq!(cloud.multipart_uploads("site").len(), 1);
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
    assert!(cloud.multipart_uploads("site").is_empty());

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
