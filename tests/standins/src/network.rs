//! A network without sockets: calls go straight to the services, and take virtual time.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::{Body as HttpBody, Frame};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::http::request::Parts;
use s3s::Body;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::cloud::Inner;
use crate::server::Dropped;
use crate::{Call, VirtualClock, dispatch};

/// How long a client waits for an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The times that a call takes: to the service, and back with the answer. At least one millisecond each.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    pub there: Duration,
    pub back: Duration,
}

/// Returns how long a call takes. The second argument tells calls apart that are equal otherwise: it depends on the
/// call and on how many such calls came before it, and on no other calls.
pub type Latencies = Arc<dyn Fn(&Call, u64) -> Latency + Send + Sync>;

/// The way between clients and services.
pub(crate) struct Network {
    clock: VirtualClock,
    latencies: Latencies,
    /// How many calls of each kind were made.
    counts: Mutex<HashMap<u64, u64>>,
}

impl Network {
    pub(crate) fn new(clock: VirtualClock, latencies: Latencies) -> Self {
        Self { clock, latencies, counts: Mutex::default() }
    }

    /// Returns a number for a call that depends on the call, and on how many such calls came before it.
    fn number(&self, call: &Call) -> u64 {
        // The hasher's keys are fixed, so that a number is the same in every process.
        let mut hasher = DefaultHasher::new();
        (&call.client, call.service, &call.operation, &call.bucket, &call.key).hash(&mut hasher);
        (&call.keys, &call.range, &call.distribution, &call.copy_source).hash(&mut hasher);
        let kind = hasher.finish();
        let mut counts = self.counts.lock().expect("no holder of this lock panics");
        let count = counts.entry(kind).or_default();
        *count += 1;
        (kind, *count).hash(&mut hasher);
        hasher.finish()
    }

    /// Carries a call to the services and its answer back.
    async fn carry(
        &self,
        account: Weak<Inner>,
        call: Call,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Dropped> {
        let number = self.number(&call);
        let latency = (self.latencies)(&call, number);
        self.clock.turn_in(latency.there, number).await;
        let answer = dispatch::take_effect(account, call, parts, body).await;
        self.clock.turn_in(latency.back, number).await;
        answer
    }
}

/// A connector of SDK clients that leads to an account in this process.
#[derive(Clone)]
pub(crate) struct Connector {
    pub(crate) account: Weak<Inner>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    /// Makes a call. It goes on if the client drops it, as a request does that has left the client.
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (answered, answer) = oneshot::channel();
        let account = self.account.clone();
        tokio::spawn(async move {
            // The client may have gone away.
            let _ = answered.send(send(account, request).await);
        });
        HttpConnectorFuture::new(async move {
            match timeout(READ_TIMEOUT, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(ConnectorError::io(Dropped.into())),
                Err(elapsed) => Err(ConnectorError::timeout(elapsed.into())),
            }
        })
    }
}

async fn send(account: Weak<Inner>, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let inner = account.upgrade().ok_or_else(|| ConnectorError::io(Dropped.into()))?;
    let network = inner.network.clone().expect("only an account in this process hands out connectors");
    drop(inner);
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.map_err(ConnectorError::user)?.to_bytes();
    complete(&mut parts, body.len());
    let call = Call::of(&parts, &body);
    let answer =
        network.carry(account, call, parts, body).await.map_err(|dropped| ConnectorError::io(dropped.into()))?;
    let (parts, body) = answer.into_parts();
    let answer = Response::from_parts(parts, SdkBody::from_body_1_x(Received::of(body).await));
    HttpResponse::try_from(answer).map_err(|error| ConnectorError::other(error.into(), None))
}

/// Adds what an HTTP/1.1 client adds to a request, and brings its target into the form that a server sees.
fn complete(parts: &mut Parts, size_bytes: usize) {
    if let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        parts.headers.entry(HOST).or_insert(host);
    }
    if size_bytes > 0 {
        parts.headers.entry(CONTENT_LENGTH).or_insert(size_bytes.into());
    }
    if let Some(target) = parts.uri.path_and_query() {
        parts.uri = target.clone().into();
    }
}

/// The bytes of an answer's body that have arrived, and whether the connection was closed after them.
struct Received {
    bytes: Option<Bytes>,
    was_dropped: bool,
}

impl Received {
    async fn of(mut body: Body) -> Self {
        let (mut bytes, mut was_dropped) = (BytesMut::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => was_dropped = true,
            }
            if was_dropped {
                break;
            }
        }
        Self { bytes: (!bytes.is_empty()).then(|| bytes.freeze()), was_dropped }
    }
}

impl HttpBody for Received {
    type Data = Bytes;
    type Error = Dropped;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Dropped>>> {
        if let Some(bytes) = self.bytes.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let was_dropped = std::mem::take(&mut self.was_dropped);
        Poll::Ready(was_dropped.then_some(Err(Dropped)))
    }
}
