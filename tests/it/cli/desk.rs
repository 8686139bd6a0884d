//! A person's desk: a folder with a site, and the executable.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dropship::deploy::Invocation;
use dropship::handler::handle;
use dropship::report::Progress;
use serde_json::Value;
use standins::{Answer, Handler, InvocationError};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::build::Files;
use crate::stage::{STAGING, Stage};

pub(super) const STACK: &str = "dropship-test";

/// A stage with a function, and a folder on this machine.
pub(super) struct Desk {
    pub(super) stage: Stage,
    folder: TempDir,
}

/// What the executable has printed.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Desk {
    pub(super) async fn new() -> Self {
        Self::over(Stage::new().await)
    }

    pub(super) fn over(stage: Stage) -> Self {
        let function = function(&stage);
        Self::with_function(stage, function)
    }

    /// Creates a desk whose function does something else with its events.
    pub(super) fn with_function(stage: Stage, function: Handler) -> Self {
        let variables = stage.variables().clone().into_iter().collect();
        stage.cloud.create_function(STACK, variables, (STAGING, "uploads/"), function);
        Self { stage, folder: tempfile::tempdir().unwrap() }
    }

    /// Creates a desk whose function gets its events and never answers. It notifies of each.
    pub(super) async fn without_answers() -> (Self, Arc<Notify>) {
        let arrived = Arc::new(Notify::new());
        let never: Handler = {
            let arrived = arrived.clone();
            Arc::new(move |_, _| {
                arrived.notify_one();
                Box::pin(std::future::pending()) as Answer
            })
        };
        (Self::with_function(Stage::new().await, never), arrived)
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the site into the folder `site`, and nothing else.
    pub(super) fn write(&self, site: &Files) {
        let folder = self.path().join("site");
        let _ = fs::remove_dir_all(&folder);
        for (name, contents) in site {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, contents).unwrap();
        }
    }

    /// Runs the executable for the stack.
    pub(super) async fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments).env("DROPSHIP_STACK", STACK).output().await.unwrap().into()
    }

    /// Runs the executable, which prints JSON.
    pub(super) async fn run_json(&self, arguments: &[&str]) -> (i32, Value) {
        let said = self.run(&[arguments, &["--json"]].concat()).await;
        (said.code, said.json())
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dropship"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command.env_clear().envs(self.stage.cloud.environment()).env("HOME", self.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// The function itself, with the real time.
pub(super) fn function(stage: &Stage) -> Handler {
    let stage = stage.clone();
    Arc::new(move |request_id, event| {
        let stage = stage.clone();
        Box::pin(async move { invoke(stage, request_id, event).await }) as Answer
    })
}

/// Invokes the function on a thread of its own: Lambda asks for no future that may move between threads.
pub(super) async fn invoke(stage: Stage, request_id: String, event: Value) -> Result<Value, InvocationError> {
    let runtime = Handle::current();
    let invoking = tokio::task::spawn_blocking(move || runtime.block_on(answer(&stage, &request_id, &event)));
    invoking.await.unwrap()
}

async fn answer(stage: &Stage, request_id: &str, event: &Value) -> Result<Value, InvocationError> {
    let site = stage.site("function").await;
    let invocation = Invocation {
        request_id,
        deadline: Utc::now() + TimeDelta::minutes(15),
        clock: &Utc::now,
        progress: &Progress::default(),
        pause: Duration::from_millis(5),
        waits: true,
    };
    match Box::pin(handle(&site, event, &invocation)).await.into_answer() {
        Ok(answer) => Ok(serde_json::to_value(answer).unwrap()),
        Err(failure) => Err(InvocationError { error_type: failure.error_type, error_message: failure.error_message }),
    }
}
