//! The real `bootstrap` as a process, polling a minimal Lambda Runtime API.
//!
//! What the API answers follows "Using the Lambda runtime API for custom runtimes" in the AWS
//! Lambda Developer Guide. Like Lambda, it gives the function one invocation at a time, kills the
//! process that outlives its deadline, and reports a process that ends before it has answered.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// How long a log line may take from the process's pipe to the test.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// A running `bootstrap`. It is killed when the value is dropped.
pub struct Function {
    api: Arc<RuntimeApi>,
    queue: mpsc::UnboundedSender<Invocation>,
    server: JoinHandle<()>,
    stop: Arc<Notify>,
    exited: watch::Receiver<Option<ExitStatus>>,
    log: watch::Receiver<Vec<String>>,
    process_id: Option<u32>,
}

/// What the function, or Lambda in its place, reports of an invocation that failed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InvocationError {
    pub error_type: String,
    pub error_message: String,
}

struct Invocation {
    request_id: String,
    deadline: SystemTime,
    payload: String,
    answer: oneshot::Sender<Result<Value, InvocationError>>,
}

/// What the template tells the C library.
fn tunables() -> &'static str {
    let lines = include_str!("../../../template.yaml").lines();
    let mut values = lines.filter_map(|line| line.trim().strip_prefix("GLIBC_TUNABLES: "));
    values.next().expect("the template sets GLIBC_TUNABLES")
}

impl Function {
    /// Starts an executable with what Lambda itself and the template put into every function's environment, and
    /// `environment` over it. Nothing else is inherited.
    pub async fn start<K, V>(executable: &str, environment: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let (queue, waiting) = mpsc::unbounded_channel();
        let api = Arc::new(RuntimeApi::new(waiting));
        let server = tokio::spawn(serve(listener, Arc::clone(&api)));

        let mut process = Command::new(executable)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "dropship")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("GLIBC_TUNABLES", tunables())
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("bootstrap starts");

        let process_id = process.id();
        let (lines, log) = watch::channel(Vec::new());
        let lines = Arc::new(lines);
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        tokio::spawn(collect_lines(stdout, Arc::clone(&lines)));
        tokio::spawn(collect_lines(stderr, lines));

        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let (exit, exited) = watch::channel(None);
        tokio::spawn(async move {
            let status = tokio::select! {
                status = process.wait() => status,
                () = stopped.notified() => {
                    process.start_kill().expect("a running process can be killed");
                    process.wait().await
                }
            };
            exit.send_replace(Some(status.expect("the process can be waited for")));
        });

        Self { api, queue, server, stop, exited, log, process_id }
    }

    /// The process that was started; none when it had ended at once.
    pub fn process_id(&self) -> Option<u32> {
        self.process_id
    }

    /// Waits until the function has asked for its first event.
    pub async fn polled(&self) {
        self.api.polled.notified().await;
    }

    /// Sends one event and waits for its answer, at most until the deadline `remaining` from now.
    ///
    /// The request id becomes part of a URL: letters, digits and hyphens.
    pub async fn invoke(
        &self,
        request_id: &str,
        remaining: Duration,
        payload: &Value,
    ) -> Result<Value, InvocationError> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .send(Invocation {
                request_id: request_id.to_owned(),
                deadline: SystemTime::now() + remaining,
                payload: payload.to_string(),
                answer,
            })
            .expect("the Runtime API outlives its function");
        let mut exited = self.exited.clone();
        tokio::select! {
            biased;
            Ok(answer) = answered => answer,
            status = exited.wait_for(Option::is_some) => {
                let status = status.expect("the process's end is always told");
                let status = status.expect("it has just been told");
                Err(self.api.init_error().unwrap_or_else(|| InvocationError {
                    error_type: "Runtime.ExitError".to_owned(),
                    error_message: format!("bootstrap ended before it answered: {status}"),
                }))
            }
            () = tokio::time::sleep(remaining) => {
                self.kill().await;
                Err(InvocationError {
                    error_type: "Sandbox.Timedout".to_owned(),
                    error_message: format!("bootstrap did not answer within {remaining:?}"),
                })
            }
        }
    }

    /// Ends the process as Lambda does: SIGKILL, with no chance to clean up.
    pub async fn kill(&self) {
        self.stop.notify_one();
        let mut exited = self.exited.clone();
        exited.wait_for(Option::is_some).await.expect("the process's end is always told");
    }

    /// Waits for a line of the process's output that is JSON and that `wanted` accepts.
    pub async fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = |lines: &Vec<String>| {
            lines.iter().filter_map(|line| serde_json::from_str(line).ok()).find(|line| wanted(line))
        };
        let mut log = self.log.clone();
        let lines = tokio::time::timeout(LOG_PATIENCE, log.wait_for(|lines| find(lines).is_some()))
            .await
            .expect("the line is logged in time")
            .expect("the process's output is still open");
        find(&lines).expect("the condition above found it")
    }

    /// Everything that the process has printed so far, line by line, both streams together.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.stop.notify_one();
        self.server.abort();
        if std::thread::panicking() {
            // Nothing is left to do about an output that cannot be written to.
            let _ = writeln!(std::io::stderr(), "--- output of bootstrap ---\n{}\n---", self.log().join("\n"));
        }
    }
}

impl fmt::Display for InvocationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.error_type, self.error_message)
    }
}

/// The state behind the API's four routes.
struct RuntimeApi {
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    unanswered: Mutex<HashMap<String, oneshot::Sender<Result<Value, InvocationError>>>>,
    init_error: Mutex<Option<InvocationError>>,
    /// Keeps the first question for an event until someone waits for it.
    polled: Notify,
}

impl RuntimeApi {
    fn new(waiting: mpsc::UnboundedReceiver<Invocation>) -> Self {
        Self {
            waiting: tokio::sync::Mutex::new(waiting),
            unanswered: Mutex::default(),
            init_error: Mutex::default(),
            polled: Notify::new(),
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return accepted(StatusCode::BAD_REQUEST);
        };
        let body = body.to_bytes();
        let path: Vec<&str> = head.uri.path().split('/').collect();
        match path.as_slice() {
            ["", "2018-06-01", "runtime", "invocation", "next"] => self.next().await,
            ["", "2018-06-01", "runtime", "invocation", id, "response"] => self.settle(id, Ok(json(&body))),
            ["", "2018-06-01", "runtime", "invocation", id, "error"] => self.settle(id, Err(json(&body))),
            ["", "2018-06-01", "runtime", "init", "error"] => {
                *lock(&self.init_error) = Some(json(&body));
                accepted(StatusCode::ACCEPTED)
            }
            _ => accepted(StatusCode::NOT_FOUND),
        }
    }

    /// Holds the function's request until there is an event, as Lambda does.
    async fn next(&self) -> Response<Full<Bytes>> {
        self.polled.notify_one();
        let Some(invocation) = self.waiting.lock().await.recv().await else {
            return accepted(StatusCode::INTERNAL_SERVER_ERROR);
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
            .body(Full::new(invocation.payload.into()))
            .expect("the request id is a valid header value")
    }

    fn settle(&self, id: &str, answer: Result<Value, InvocationError>) -> Response<Full<Bytes>> {
        match lock(&self.unanswered).remove(id) {
            Some(waiting) => {
                // A test that stopped waiting for its answer no longer wants it.
                let _ = waiting.send(answer);
                accepted(StatusCode::ACCEPTED)
            }
            None => accepted(StatusCode::BAD_REQUEST),
        }
    }

    fn init_error(&self) -> Option<InvocationError> {
        lock(&self.init_error).clone()
    }
}

async fn serve(listener: TcpListener, api: Arc<RuntimeApi>) {
    while let Ok((stream, _)) = listener.accept().await {
        let api = Arc::clone(&api);
        let service = service_fn(move |request| {
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(api.route(request).await) }
        });
        // The connection ends in an error when its function is killed, which tests do on purpose.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn collect_lines(stream: impl AsyncRead + Unpin, log: Arc<watch::Sender<Vec<String>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| log.push(line));
    }
}

fn accepted(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Reads what the function posted; a body that is not the JSON it should be fails the test.
fn json<T: for<'de> Deserialize<'de>>(body: &[u8]) -> T {
    serde_json::from_slice(body)
        .unwrap_or_else(|error| panic!("bootstrap posted {:?}: {error}", String::from_utf8_lossy(body)))
}

/// A test that panicked with the lock held has left nothing half done behind it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
