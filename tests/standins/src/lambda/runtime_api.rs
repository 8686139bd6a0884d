//! The four routes of the Runtime API.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use s3s::Body;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::server::read_body;

/// One event for the function.
pub(super) struct Invocation {
    pub(super) request_id: String,
    pub(super) deadline: SystemTime,
    pub(super) payload: String,
    pub(super) answer: oneshot::Sender<Result<Value, InvocationError>>,
}

/// The error of an invocation, as the function reports it, or Lambda in its place.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InvocationError {
    pub error_type: String,
    pub error_message: String,
}

impl fmt::Display for InvocationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.error_type, self.error_message)
    }
}

/// The state behind the routes.
pub(super) struct RuntimeApi {
    invocations: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    unanswered: Mutex<HashMap<String, oneshot::Sender<Result<Value, InvocationError>>>>,
    init_error: Mutex<Option<InvocationError>>,
    /// Stores the function's first request for an event until [`RuntimeApi::polled`] is called.
    polled: Notify,
}

impl RuntimeApi {
    pub(super) fn new(invocations: mpsc::UnboundedReceiver<Invocation>) -> Self {
        Self {
            invocations: tokio::sync::Mutex::new(invocations),
            unanswered: Mutex::default(),
            init_error: Mutex::default(),
            polled: Notify::new(),
        }
    }

    pub(super) async fn polled(&self) {
        self.polled.notified().await;
    }

    pub(super) fn init_error(&self) -> Option<InvocationError> {
        lock(&self.init_error).clone()
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let Ok(body) = read_body(body).await else {
            return empty(StatusCode::BAD_REQUEST);
        };
        let path: Vec<&str> = head.uri.path().split('/').collect();
        match path.as_slice() {
            ["", "2018-06-01", "runtime", "invocation", "next"] => self.next().await,
            ["", "2018-06-01", "runtime", "invocation", id, "response"] => self.settle(id, Ok(json(&body))),
            ["", "2018-06-01", "runtime", "invocation", id, "error"] => self.settle(id, Err(json(&body))),
            ["", "2018-06-01", "runtime", "init", "error"] => {
                *lock(&self.init_error) = Some(json(&body));
                empty(StatusCode::ACCEPTED)
            }
            _ => empty(StatusCode::NOT_FOUND),
        }
    }

    /// Holds the function's request until there is an event, as Lambda does.
    async fn next(&self) -> Response<Body> {
        self.polled.notify_one();
        let Some(invocation) = self.invocations.lock().await.recv().await else {
            return empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let deadline = invocation.deadline.duration_since(UNIX_EPOCH);
        let deadline_ms = deadline.expect("the deadline is after 1970").as_millis();
        let request_id = invocation.request_id;
        lock(&self.unanswered).insert(request_id.clone(), invocation.answer);
        Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", request_id)
            .header("lambda-runtime-deadline-ms", deadline_ms.to_string())
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:dropship")
            .body(Body::from(Bytes::from(invocation.payload)))
            .expect("the request id is a valid header value")
    }

    fn settle(&self, id: &str, answer: Result<Value, InvocationError>) -> Response<Body> {
        match lock(&self.unanswered).remove(id) {
            Some(waiting) => {
                // The test may no longer wait for its answer.
                let _ = waiting.send(answer);
                empty(StatusCode::ACCEPTED)
            }
            None => empty(StatusCode::BAD_REQUEST),
        }
    }
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Parses the JSON that the function posted. Anything else fails the test.
fn json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> T {
    serde_json::from_slice(body)
        .unwrap_or_else(|error| panic!("bootstrap posted {:?}: {error}", String::from_utf8_lossy(body)))
}

/// Locks a mutex, even if a test panicked while it held the lock: it left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
