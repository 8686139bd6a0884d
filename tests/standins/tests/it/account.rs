//! An account with one bucket, and helpers for its clients.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use standins::{CLIENT, Cloud, Etags, Versioning};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub type S3 = aws_sdk_s3::Client;
pub type CloudFront = aws_sdk_cloudfront::Client;

pub async fn s3_for(cloud: &Cloud, client: &str) -> S3 {
    let config = cloud.sdk_config_for(client).await;
    let config = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
    S3::from_conf(config.build())
}

/// Returns an account with the versioned bucket `site`, and a client.
pub async fn account() -> (Cloud, S3) {
    let cloud = Cloud::start().await;
    cloud.create_bucket("site", Versioning::On, Etags::Md5);
    let s3 = s3_for(&cloud, CLIENT).await;
    (cloud, s3)
}

/// Returns the error code and the HTTP status of a call that must fail.
pub fn refusal<T, E: ProvideErrorMetadata>(
    result: Result<T, SdkError<E, aws_sdk_s3::config::http::HttpResponse>>,
) -> (String, u16) {
    let Err(error) = result else { panic!("the call succeeded") };
    let status = error.raw_response().map_or(0, |it| it.status().as_u16());
    (error.code().unwrap_or_default().to_owned(), status)
}

pub fn crc32(body: &[u8]) -> String {
    STANDARD.encode(crc32fast::hash(body).to_be_bytes())
}

pub fn body(text: &str) -> ByteStream {
    ByteStream::from(text.as_bytes().to_vec())
}

pub async fn put(s3: &S3, key: &str, text: &str) -> String {
    let put = s3.put_object().bucket("site").key(key).body(body(text));
    put.send().await.unwrap().e_tag.unwrap()
}

pub async fn cloudfront_of(cloud: &Cloud) -> CloudFront {
    CloudFront::new(&cloud.sdk_config().await)
}

/// Creates an invalidation of `E1` and returns its id, or the error code and status.
pub async fn offer(cloudfront: &CloudFront, reference: &str, items: &[&str]) -> Result<String, (String, u16)> {
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

/// Sends a request as it is, and returns all bytes until the server closes the connection.
pub async fn raw_http(url: &str, request: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let end = stream.read_to_string(&mut answer);
    timeout(Duration::from_secs(10), end).await.expect("the server closes the connection").unwrap();
    answer
}
