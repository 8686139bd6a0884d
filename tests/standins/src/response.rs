//! HTTP responses: bodies, errors in the format of a service, and truncated ones.

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Response;
use hyper::body::{Body as _, Frame};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use s3s::Body;

use crate::Service;
use crate::cbor::Encoder;
use crate::server::Dropped;
use crate::xml::escaped;

pub(crate) fn response(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .body(Body::from(body.into()))
        .expect("status and content type are valid")
}

/// Builds an error in the format of a service.
pub(crate) fn error(service: Service, status: u16, code: &str, message: &str) -> Response<Body> {
    match service {
        Service::S3 => {
            let message = escaped(message);
            let body = format!(
                "<Error><Code>{code}</Code><Message>{message}</Message><RequestId>injected</RequestId></Error>"
            );
            response(status, "application/xml", body)
        }
        Service::CloudFront => query_error(status, "http://cloudfront.amazonaws.com/doc/2020-05-31/", code, message),
        Service::Iam => query_error(status, "https://iam.amazonaws.com/doc/2010-05-08/", code, message),
        Service::CloudWatch => {
            let mut body = Encoder::default();
            body.map(2).str("__type").str(code).str("message").str(message);
            let mut answer = response(status, "application/cbor", body.into_bytes());
            answer.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
            answer
        }
        Service::DynamoDb => {
            let code = format!("com.amazonaws.dynamodb.v20120810#{code}");
            let body = serde_json::json!({"__type": code, "message": message});
            response(status, "application/x-amz-json-1.0", body.to_string())
        }
        Service::Sqs => {
            let body = serde_json::json!({"__type": code, "message": message});
            response(status, "application/x-amz-json-1.0", body.to_string())
        }
        Service::Lambda => {
            let body = serde_json::json!({"Type": "User", "Message": message});
            let mut answer = response(status, "application/json", body.to_string());
            let code = HeaderValue::from_str(code).expect("a code has letters alone");
            answer.headers_mut().insert("x-amzn-errortype", code);
            answer
        }
    }
}

/// Builds an error as the services with XML answers other than S3 do.
fn query_error(status: u16, namespace: &str, code: &str, message: &str) -> Response<Body> {
    let message = escaped(message);
    let body = format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>injected</RequestId></ErrorResponse>"
    );
    response(status, "text/xml", body)
}

/// Builds the error of a call that the authorizer does not allow.
pub(crate) fn denied(service: Service) -> Response<Body> {
    let (status, code) = match service {
        Service::S3 | Service::CloudFront | Service::CloudWatch | Service::Iam => (403, "AccessDenied"),
        Service::Lambda => (403, "AccessDeniedException"),
        Service::DynamoDb | Service::Sqs => (400, "AccessDeniedException"),
    };
    error(service, status, code, "the template's policy does not allow it")
}

/// Returns the size of a body, as far as its headers tell.
pub(crate) fn size_bytes(response: &Response<Body>) -> u64 {
    let declared = || response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    response.body().size_hint().exact().or_else(declared).unwrap_or_default()
}

/// Announces the whole body, sends its first bytes and closes the connection.
pub(crate) fn truncated(response: Response<Body>, size_bytes: usize) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact() {
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    let beginning = futures_util::stream::unfold((Some(body), size_bytes), |(body, remaining_bytes)| async move {
        let mut body = body?;
        match body.frame().await {
            Some(Ok(frame)) if remaining_bytes > 0 => {
                let data = frame.into_data().unwrap_or_default();
                let data = data.slice(..data.len().min(remaining_bytes));
                let remaining_bytes = remaining_bytes - data.len();
                Some((Ok(Frame::data(data)), (Some(body), remaining_bytes)))
            }
            _ => {
                // Yield once, so that hyper sends what it has before it sees the error.
                tokio::task::yield_now().await;
                Some((Err(Dropped), (None, 0)))
            }
        }
    });
    Response::from_parts(parts, Body::http_body_unsync(StreamBody::new(beginning)))
}
