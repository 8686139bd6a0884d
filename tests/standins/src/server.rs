//! The HTTP side: one listener, and the way of one call through gate, faults and service.

use std::future;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::Body;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::bucket::RefusedKeys;
use crate::cloud::Inner;
use crate::{Call, Cloud, Does, Fault, Service};

/// Where the account listens. Dropping it frees the port.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    accepting: std::sync::OnceLock<AbortHandle>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.get() {
            task.abort();
        }
    }
}

pub(crate) async fn bind() -> (TcpListener, Listener) {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface has a free port");
    let address = socket.local_addr().expect("a bound socket has an address");
    let listener = Listener { address, accepting: std::sync::OnceLock::new() };
    (socket, listener)
}

/// Serves connections until the last handle of the account is gone.
pub(crate) fn listen(socket: TcpListener, cloud: &Cloud) {
    let account = Arc::downgrade(&cloud.inner);
    let task = tokio::spawn(accept(socket, move |request| answer(account.clone(), request)));
    let _ = cloud.inner.listener.accepting.set(task.abort_handle());
}

/// Accepts connections for ever and serves each in a task of its own.
pub(crate) async fn accept<F, R>(socket: TcpListener, answer: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Result<Response<Body>, Dropped>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = socket.accept().await else {
            continue;
        };
        // Answers are small and latency counts: no waiting for a fuller packet.
        let _ = stream.set_nodelay(true);
        let service = hyper::service::service_fn(answer.clone());
        tokio::spawn(async move {
            // An error here is a connection that a fault or its client broke off.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection was dropped")]
pub(crate) struct Dropped;

/// Copies a body as it comes into room of its own. What hyper hands out holds a whole read buffer,
/// which is better used for what comes next.
async fn whole(mut body: Incoming) -> Result<Bytes, Dropped> {
    let announced = body.size_hint().exact().unwrap_or_default();
    let mut bytes = BytesMut::with_capacity(usize::try_from(announced).map_err(|_| Dropped)?);
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| Dropped)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.freeze())
}

async fn answer(account: Weak<Inner>, request: Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    // The whole body first: what waits, fails or dies afterwards was sent in full.
    let body = whole(body).await?;
    let inner = account.upgrade().ok_or(Dropped)?;
    let cloud = Cloud { inner };
    let mut call = Call::of(&parts, &body);
    let service = call.service;

    let pass = cloud.inner.gate.pass(&call).await;
    if cloud.inner.faults.is_dead(&call.client) {
        drop(pass);
        return hang().await;
    }
    let faults = cloud.inner.faults.strike(&call);
    cloud.inner.calls.begin(&mut call);
    let authorizer = cloud.authorizer(&call.client);
    let is_allowed = |status| authorizer.as_ref().is_none_or(|authorizer| authorizer(&call, status));

    let mut refused = None;
    for fault in &faults {
        match &fault.does {
            Does::Delay(delay) => tokio::time::sleep(*delay).await,
            Does::Refuse { status, code, message } => refused = Some(error(service, *status, code, message)),
            Does::DropBefore => return Err(Dropped),
            Does::DieBefore => {
                cloud.inner.faults.die(&call.client);
            }
            _ => {}
        }
    }
    // Others of this client may have died meanwhile.
    if cloud.inner.faults.is_dead(&call.client) {
        drop(pass);
        return hang().await;
    }

    let mut response = match refused {
        Some(response) => response,
        None if !is_allowed(None) => denied(service),
        None => dispatch(&cloud, service, parts, body, call.sequence, &faults).await?,
    };
    if service == Service::S3 && response.status() == 404 && !is_allowed(Some(404)) {
        response = denied(service);
    }

    for fault in &faults {
        match &fault.does {
            Does::RefuseAfter { status, code, message } => response = error(service, *status, code, message),
            Does::Truncate(size_bytes) => response = truncated(response, *size_bytes),
            Does::DropAfter => return Err(Dropped),
            Does::DieAfter => {
                cloud.inner.faults.die(&call.client);
                drop(pass);
                return hang().await;
            }
            _ => {}
        }
    }
    cloud.inner.faults.delay(service).await;
    let status = response.status().as_u16();
    cloud.inner.calls.end(call, status, size_bytes(&response));
    Ok(response)
}

fn denied(service: Service) -> Response<Body> {
    match service {
        Service::S3 | Service::CloudFront => {
            error(service, 403, "AccessDenied", "the template's policy does not allow it")
        }
        Service::DynamoDb => error(service, 400, "AccessDeniedException", "the template's policy does not allow it"),
    }
}

/// Never answers. The connection ends when the client goes away.
async fn hang() -> Result<Response<Body>, Dropped> {
    future::pending().await
}

async fn dispatch(
    cloud: &Cloud,
    service: Service,
    parts: Parts,
    body: Bytes,
    sequence: usize,
    faults: &[Fault],
) -> Result<Response<Body>, Dropped> {
    match service {
        Service::S3 => {
            let mut request = Request::from_parts(parts, Body::from(body));
            let refused = RefusedKeys::of(faults);
            request.extensions_mut().insert(refused);
            cloud.inner.s3.call(request).await.map_err(|_| Dropped)
        }
        Service::CloudFront => {
            let body = String::from_utf8_lossy(&body);
            let answer = cloud.inner.cloudfront.answer(&parts, &body, sequence);
            Ok(answer.unwrap_or_else(|refusal| error(service, refusal.status, refusal.code, &refusal.message)))
        }
        Service::DynamoDb => Ok(cloud.inner.dynamodb.answer(parts, body).await),
    }
}

/// Builds an error answer in the format of the service.
pub(crate) fn error(service: Service, status: u16, code: &str, message: &str) -> Response<Body> {
    let (content_type, body) = match service {
        Service::S3 => (
            "application/xml",
            format!("<Error><Code>{code}</Code><Message>{message}</Message><RequestId>injected</RequestId></Error>"),
        ),
        Service::CloudFront => (
            "text/xml",
            format!(
                "<ErrorResponse xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>injected</RequestId></ErrorResponse>"
            ),
        ),
        Service::DynamoDb => (
            "application/x-amz-json-1.0",
            serde_json::json!({
                "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
                "message": message,
            })
            .to_string(),
        ),
    };
    respond(status, content_type, body)
}

pub(crate) fn respond(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .body(Body::from(body.into()))
        .expect("status and content type are valid")
}

fn size_bytes(response: &Response<Body>) -> u64 {
    let exact = response.body().size_hint().exact();
    let declared = || {
        let length = response.headers().get(CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    };
    exact.or_else(declared).unwrap_or_default()
}

/// Announces the whole body, sends the beginning and breaks off.
fn truncated(response: Response<Body>, size_bytes: usize) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    let size_hint = body.size_hint();
    if let Some(length) = size_hint.exact() {
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
                // Idle once, so that hyper sends what it has before it sees the error.
                tokio::task::yield_now().await;
                Some((Err(Dropped), (None, 0)))
            }
        }
    });
    Response::from_parts(parts, Body::http_body_unsync(StreamBody::new(beginning)))
}
