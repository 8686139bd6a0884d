//! Lambda: a function's executable as a process that polls a minimal Runtime API.
//!
//! The API follows "Using the Lambda runtime API for custom runtimes" in the AWS Lambda Developer Guide. Like Lambda, it
//! gives the function one invocation at a time, kills a process that outlives its deadline, and reports a process that
//! ends before it has answered.

mod runtime_api;

use std::ffi::OsStr;
use std::io::Write;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use runtime_api::InvocationError;
use runtime_api::{Invocation, RuntimeApi};

use crate::server;

/// How long a log line may take from the process's pipe to the test.
const LOG_TIMEOUT: Duration = Duration::from_secs(10);

/// A running function. Its process is killed when the value is dropped.
pub struct Function {
    api: Arc<RuntimeApi>,
    queue: mpsc::UnboundedSender<Invocation>,
    server: JoinHandle<()>,
    stop: Arc<Notify>,
    exited: watch::Receiver<Option<ExitStatus>>,
    log: watch::Receiver<Vec<String>>,
    process_id: Option<u32>,
}

impl Function {
    /// Starts an executable.
    ///
    /// Its environment is the one that Lambda and the template give to every function, with `environment` over it. It
    /// inherits nothing else.
    pub async fn start<K, V>(executable: &str, environment: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        Self::start_by(Command::new(executable), environment).await
    }

    /// Starts an executable by a command, which must become it.
    pub async fn start_by<K, V>(mut command: Command, environment: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<OsStr>,
        V: AsRef<OsStr>,
    {
        let (socket, address) = server::bind().await;
        let (queue, invocations) = mpsc::unbounded_channel();
        let api = Arc::new(RuntimeApi::new(invocations));
        let server = tokio::spawn(server::accept(socket, {
            let api = Arc::clone(&api);
            move |request| {
                let api = Arc::clone(&api);
                async move { Ok(api.answer(request).await) }
            }
        }));

        let mut process = command
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
            .expect("the executable starts");

        let process_id = process.id();
        let (lines, log) = watch::channel(Vec::new());
        let lines = Arc::new(lines);
        let stdout = process.stdout.take().expect("stdout is piped");
        let stderr = process.stderr.take().expect("stderr is piped");
        tokio::spawn(collect_lines(stdout, Arc::clone(&lines)));
        tokio::spawn(collect_lines(stderr, lines));

        let stop = Arc::new(Notify::new());
        let (exit, exited) = watch::channel(None);
        tokio::spawn(watch_process(process, Arc::clone(&stop), exit));

        Self { api, queue, server, stop, exited, log, process_id }
    }

    /// Returns the id of the process, or None if it ended immediately.
    pub fn process_id(&self) -> Option<u32> {
        self.process_id
    }

    /// Waits until the function has asked for its first event.
    ///
    /// # Errors
    /// If its process ends before.
    pub async fn polled(&self) -> Result<(), InvocationError> {
        tokio::select! {
            biased;
            () = self.api.polled() => Ok(()),
            error = self.exit() => Err(error),
        }
    }

    /// Sends one event and waits for its answer, at most until the deadline `remaining` from now.
    ///
    /// The request id becomes part of a URL, so it must consist of letters, digits and hyphens.
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
        tokio::select! {
            biased;
            Ok(answer) = answered => answer,
            error = self.exit() => Err(error),
            () = tokio::time::sleep(remaining) => {
                self.kill().await;
                Err(InvocationError {
                    error_type: "Sandbox.Timedout".to_owned(),
                    error_message: format!("bootstrap did not answer within {remaining:?}"),
                })
            }
        }
    }

    /// Waits for the end of the process, and returns the error that Lambda reports then.
    async fn exit(&self) -> InvocationError {
        let mut exited = self.exited.clone();
        let status = exited.wait_for(Option::is_some).await;
        let status = status.expect("the task that watches the process reports its end");
        let status = status.expect("the condition above found it");
        self.api.init_error().unwrap_or_else(|| InvocationError {
            error_type: "Runtime.ExitError".to_owned(),
            error_message: format!("bootstrap ended: {status}"),
        })
    }

    /// Ends the process as Lambda does: by SIGKILL, with no chance to clean up.
    pub async fn kill(&self) {
        self.stop.notify_one();
        let mut exited = self.exited.clone();
        exited.wait_for(Option::is_some).await.expect("the task that watches the process reports its end");
    }

    /// Waits for a line of the process's output that is JSON and that `wanted` accepts.
    pub async fn logged(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let find = |lines: &Vec<String>| {
            lines.iter().filter_map(|line| serde_json::from_str(line).ok()).find(|line| wanted(line))
        };
        let mut log = self.log.clone();
        let lines = tokio::time::timeout(LOG_TIMEOUT, log.wait_for(|lines| find(lines).is_some()))
            .await
            .expect("the line is logged in time")
            .expect("the process's output is still open");
        find(&lines).expect("the condition above found it")
    }

    /// Returns the lines that the process has printed so far, on both streams together.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        self.stop.notify_one();
        self.server.abort();
        if std::thread::panicking() {
            // If stderr is closed, there is nowhere to report it.
            let _ = writeln!(std::io::stderr(), "--- output of bootstrap ---\n{}\n---", self.log().join("\n"));
        }
    }
}

/// Returns the template's settings of the C library.
fn tunables() -> &'static str {
    let lines = include_str!("../../../template.yaml").lines();
    let mut values = lines.filter_map(|line| line.trim().strip_prefix("GLIBC_TUNABLES: "));
    values.next().expect("the template sets GLIBC_TUNABLES")
}

/// Waits until the process has ended, or kills it, and reports its status.
async fn watch_process(mut process: Child, stop: Arc<Notify>, exit: watch::Sender<Option<ExitStatus>>) {
    let status = tokio::select! {
        status = process.wait() => status,
        () = stop.notified() => {
            process.start_kill().expect("a running process can be killed");
            process.wait().await
        }
    };
    exit.send_replace(Some(status.expect("the process can be waited for")));
}

async fn collect_lines(stream: impl AsyncRead + Unpin, log: Arc<watch::Sender<Vec<String>>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| log.push(line));
    }
}
