//! The independent judge: the real binary runs against MiniStack, and boto3 checks the result.
//!
//! The stand-ins of the other tests could share the mistakes of the code. MiniStack and boto3 cannot: they are the work of
//! others. `.ci/run` installs both into a virtual environment of their own and names it in `DROPSHIP_MINISTACK`.

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use standins::Function;

use crate::build::zipped;
use crate::note::note;
use crate::shared_data::shared;

/// Where `.ci/install` installs MiniStack.
const USUAL_ENVIRONMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/venv/ministack");
const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ministack/judge.py");
const TIMEOUT: Duration = Duration::from_secs(900);

#[tokio::test(flavor = "multi_thread")]
async fn the_judge_agrees_on_a_small_site() {
    let Some(environment) = environment("the_judge_agrees_on_a_small_site") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = archive(
        &folder.path().join("first build.zip"),
        &[
            ("index.html", "<h1>one</h1>"),
            ("about/index.html", "<h1>about</h1>"),
            ("blog/index.html", "<h1>gone tomorrow</h1>"),
            ("it (draft).html", "<h1>spaces and brackets</h1>"),
            ("caf\u{e9}.html", "<h1>not ASCII</h1>"),
            ("app.0a1b.js", "console.log(1)"),
            ("site.css", "body { color: #111 }"),
            ("data/same.json", "{}"),
            ("logo.svg", "<svg/>"),
        ],
    );
    let second = archive(
        &folder.path().join("second build.zip"),
        &[
            ("index.html", "<h1>two</h1>"), // changed, of the same size
            ("about/index.html", "<h1>about us</h1>"),
            ("it (draft).html", "<h1>changed</h1>"),
            ("caf\u{e9}.html", "<h1>changed too</h1>"),
            ("app.2c3d.js", "console.log(2)"),
            ("site.css", "body { color: #111 }"),
            ("data/same.json", "{}"),
            ("data/new.wasm", "\0asm"),
            ("logo.svg", "<svg/>"),
        ],
    );
    let counts = Counts { entries: 9, kept: 3, changed: 4, new: 2, deleted: 2 };
    judge_two_builds(&environment, &first, &second, &counts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_judge_agrees_on_two_real_releases() {
    let Some(environment) = environment("the_judge_agrees_on_two_real_releases") else {
        return;
    };
    let Some(sites) = shared("sites") else {
        return;
    };
    let first = sites.join("streamlit-1.48.0.zip");
    let second = sites.join("streamlit-1.48.1.zip");
    let counts = Counts { entries: 156, kept: 88, changed: 2, new: 66, deleted: 66 };
    judge_two_builds(&environment, &first, &second, &counts).await;
}

/// How two builds differ, and so what the answers must count.
struct Counts {
    /// The entries of each of the two archives.
    entries: u64,
    kept: u64,
    changed: u64,
    new: u64,
    deleted: u64,
}

/// Deploys both builds, then rolls back and forward in every way.
async fn judge_two_builds(environment: &Path, first: &Path, second: &Path, counts: &Counts) {
    let stack = MiniStack::start(environment);
    let mut function_environment = stack.judge(json!({"act": "create"}));
    function_environment["AWS_ENDPOINT_URL"] = json!(stack.endpoint);
    let distribution = function_environment["DISTRIBUTION_IDS"].clone();
    let function = Function::start(
        env!("CARGO_BIN_EXE_bootstrap"),
        function_environment
            .as_object()
            .expect("an object of variables")
            .iter()
            .map(|(name, value)| (name, value.as_str().expect("a string"))),
    )
    .await;

    let mut first_event = stack.upload(first, "builds/first build+1.zip", 5);
    let answer = deployment(&function, "first", &first_event).await;
    assert_counts(&answer, "deployed", [counts.entries, 0, 0, 0]);
    let first_id = answer["id"].clone();
    let mut seen = Vec::new();
    let mut check = |before: Option<&Path>, after: &Path, live: &Value, all: &[&Value]| {
        let fresh = stack.judge(json!({
            "act": "check",
            "before": before,
            "after": after,
            "distribution": distribution,
            "live": live,
            "deployments": all,
            "seen": seen,
        }));
        seen.extend_from_slice(fresh.as_array().expect("a list of invalidations"));
    };
    check(None, first, &first_id, &[&first_id]);

    let second_event = stack.upload(second, "builds/second.zip", 0);
    let answer = deployment(&function, "second", &second_event).await;
    let changes = [counts.new, counts.changed, counts.kept, counts.deleted];
    assert_counts(&answer, "deployed", changes);
    let second_id = answer["id"].clone();
    let both = [&first_id, &second_id];
    check(Some(first), second, &second_id, &both);

    // S3 delivers events at least once. A second delivery must not bring the old build back.
    let answer = deployment(&function, "late-duplicate", &first_event).await;
    assert_eq!(answer["outcome"], "duplicate", "{answer}");
    check(Some(second), second, &second_id, &both);

    first_event["options"] = json!({"replay": true});
    let answer = deployment(&function, "replay", &first_event).await;
    // The way back deletes the files that the second build added.
    let changes = [counts.deleted, counts.changed, counts.kept, counts.new];
    assert_counts(&answer, "rolledBack", changes);
    assert_eq!(answer["id"], first_id, "{answer}");
    check(Some(second), first, &first_id, &both);

    let back = json!({"rollback": second_id});
    let answer = deployment(&function, "rollback-to-the-second", &back).await;
    let changes = [counts.new, counts.changed, counts.kept, counts.deleted];
    assert_counts(&answer, "rolledBack", changes);
    assert_eq!(answer["id"], second_id, "{answer}");
    check(Some(first), second, &second_id, &both);

    let back = json!({"rollback": "previous"});
    let answer = deployment(&function, "rollback-to-the-previous", &back).await;
    let changes = [counts.deleted, counts.changed, counts.kept, counts.new];
    assert_counts(&answer, "rolledBack", changes);
    assert_eq!(answer["id"], first_id, "{answer}");
    check(Some(second), first, &first_id, &both);
}

/// Sends the event of one upload, and returns its part of the answer.
async fn deployment(function: &Function, request_id: &str, event: &Value) -> Value {
    let answer =
        function.invoke(request_id, TIMEOUT, event).await.unwrap_or_else(|error| panic!("{request_id}: {error}"));
    let deployments =
        answer["deployments"].as_array().unwrap_or_else(|| panic!("{request_id}: no deployments in {answer}"));
    assert_eq!(deployments.len(), 1, "{request_id}: {answer}");
    deployments[0].clone()
}

/// Checks outcome and counts of an answer. The counts are new, changed, kept and deleted.
#[track_caller]
fn assert_counts(answer: &Value, outcome: &str, counts: [u64; 4]) {
    assert_eq!(answer["outcome"], outcome, "{answer}");
    let [new, changed, kept, deleted] = counts.map(Value::from);
    assert_eq!(answer["new"], new, "{answer}");
    assert_eq!(answer["changed"], changed, "{answer}");
    assert_eq!(answer["kept"], kept, "{answer}");
    assert_eq!(answer["deleted"], deleted, "{answer}");
}

fn archive(path: &Path, files: &[(&str, &str)]) -> PathBuf {
    fs::write(path, zipped(files.iter().copied())).expect("the folder is writable");
    path.to_owned()
}

/// Returns the virtual environment with MiniStack and boto3.
///
/// Returns None if it does not exist. Fails instead if the environment variable names it, or in CI.
fn environment(test: &str) -> Option<PathBuf> {
    let named = env::var_os("DROPSHIP_MINISTACK");
    let required = named.is_some() || env::var_os("CI").is_some_and(|value| value == "true");
    let environment = PathBuf::from(named.unwrap_or_else(|| USUAL_ENVIRONMENT.into()));
    if environment.join("bin/ministack").exists() {
        return Some(environment);
    }
    let reason = format!("no MiniStack in {}; `.ci/install ministack` installs it", environment.display());
    assert!(!required, "{reason}");
    note(&format!("SKIPPED {test}: {reason}"));
    None
}

/// A MiniStack on its own port. It is killed when the value is dropped.
struct MiniStack {
    process: Child,
    endpoint: String,
    python: PathBuf,
}

impl MiniStack {
    fn start(environment: &Path) -> Self {
        // Another process may take the free port before MiniStack does.
        (0..3)
            .find_map(|_| Self::start_on(free_port(), environment))
            .expect("MiniStack starts on one of three free ports")
    }

    /// Starts it and waits until it answers. Returns None if it ends before.
    fn start_on(port: u16, environment: &Path) -> Option<Self> {
        let endpoint = format!("http://127.0.0.1:{port}");
        let process = Command::new(environment.join("bin/ministack"))
            .env("BIND_HOST", "127.0.0.1") // by default it listens on every interface
            .env("GATEWAY_PORT", port.to_string())
            .env("IOT_MTLS_ENABLED", "0")
            .env("SFTP_ENABLED", "0")
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("LOG_LEVEL", "WARNING")
            .stdin(Stdio::null())
            .spawn()
            .expect("ministack can be run");
        let mut stack = Self { process, endpoint, python: environment.join("bin/python") };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_healthy(port) {
            if let Some(_ended) = stack.process.try_wait().expect("the process is a child") {
                return None;
            }
            assert!(Instant::now() < deadline, "MiniStack did not become healthy");
            thread::sleep(Duration::from_millis(20));
        }
        Some(stack)
    }

    fn upload(&self, archive: &Path, key: &str, age_seconds: u64) -> Value {
        self.judge(json!({
            "act": "upload",
            "archive": archive,
            "key": key,
            "age_seconds": age_seconds,
        }))
    }

    /// Makes the judge do one thing. If it finds a mistake, the test fails with its sentence.
    fn judge(&self, mut request: Value) -> Value {
        request["endpoint"] = json!(self.endpoint);
        let mut judge = Command::new(&self.python)
            .arg(JUDGE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the virtual environment has a Python");
        let mut stdin = judge.stdin.take().expect("stdin is piped");
        stdin.write_all(request.to_string().as_bytes()).expect("the judge reads its request");
        drop(stdin);
        let output = judge.wait_with_output().expect("the judge ends");
        assert!(output.status.success(), "{request}\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("the judge answers in JSON")
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    listener.local_addr().expect("it is bound").port()
}

fn is_healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /_ministack/health HTTP/1.1\r\nHost: ministack\r\nConnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(String::from_utf8_lossy(&status).into_owned())
    };
    ask().is_ok_and(|status| status == "HTTP/1.1 200")
}
