//! The stand-ins for AWS in a process of their own, so that their CPU and memory are not measured as the function's.
//!
//! The process runs this benchmark's executable. It takes one request per line and answers each with one line.

mod account;
pub mod tls;
mod traffic;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bomb::Bomb;
use crate::builds::Builds;
use crate::minimum::Minimum;
use crate::process::Process;
use crate::workload::{Scenario, Workload};

pub use account::Account;
pub use traffic::Traffic;

/// The argument that makes the executable serve.
pub const ARGUMENT: &str = "--serve";

/// The argument that makes it serve TLS.
const TLS: &str = "--tls";

/// Makes glibc take memory for bodies in pages of 2 MiB and keep it. With pages of 4 KiB, the kernel needs longer to
/// provide the memory than the stand-in to fill it ("Memory Allocation Tunables" in the manual of glibc).
const MALLOC: &str = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.top_pad=67108864:\
    glibc.malloc.trim_threshold=17179869184:glibc.malloc.mmap_max=0";

#[derive(Serialize, Deserialize)]
enum Request {
    /// Makes the first build of a workload.
    Make { workload: String },
    /// Replaces the account by an empty one.
    Reset { latency_ms: u64 },
    /// Uploads the archive of a scenario.
    Upload { scenario: Scenario },
    /// Uploads an archive that must be refused.
    UploadBomb { name: String },
    /// Returns the traffic since the last upload.
    Observe,
}

/// An upload that waits for its deployment.
#[derive(Serialize, Deserialize)]
pub struct Task {
    pub event: Value,
    pub archive_bytes: u64,
    pub minimum: Minimum,
}

/// The process of the stand-ins, as the benchmark sees it.
pub struct Services {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Services {
    /// Starts the process and makes the first build of a workload.
    pub fn start(workload: &str, tls: bool) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .args(tls.then_some(TLS))
            .env("GLIBC_TUNABLES", MALLOC)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = process.stdout.take().ok_or("stdout is piped")?;
        let mut services = Self { process, answers: BufReader::new(answers) };
        services.ask::<()>(&Request::Make { workload: workload.to_owned() })?;
        Ok(services)
    }

    /// Replaces the account by an empty one. Returns the environment of the function.
    pub fn reset(&mut self, latency: Duration) -> Result<Vec<(String, String)>, Box<dyn Error>> {
        self.ask(&Request::Reset { latency_ms: u64::try_from(latency.as_millis())? })
    }

    pub fn upload(&mut self, scenario: Scenario) -> Result<Task, Box<dyn Error>> {
        self.ask(&Request::Upload { scenario })
    }

    pub fn upload_bomb(&mut self, name: &str) -> Result<Task, Box<dyn Error>> {
        self.ask(&Request::UploadBomb { name: name.to_owned() })
    }

    /// Returns the traffic since the last upload.
    pub fn observe(&mut self) -> Result<Traffic, Box<dyn Error>> {
        self.ask(&Request::Observe)
    }

    /// Returns the CPU time that the process has used.
    pub fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        Process::of(self.process.id()).cpu()
    }

    fn ask<T: for<'de> Deserialize<'de>>(&mut self, request: &Request) -> Result<T, Box<dyn Error>> {
        let requests = self.process.stdin.as_mut().ok_or("stdin is piped")?;
        writeln!(requests, "{}", serde_json::to_string(request)?)?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err("the process of the stand-ins has ended; its error is above".into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // This closes its standard input, so that it removes its files and ends. It may have ended already.
        let _ = self.process.wait();
    }
}

/// Answers requests until standard input ends.
pub async fn serve() -> Result<(), Box<dyn Error>> {
    let mut account = Account::new(std::env::args().any(|argument| argument == TLS)).await?;
    let mut builds: Option<Builds> = None;
    for line in std::io::stdin().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Request::Make { workload } => {
                builds = Workload::named(&workload).map(Builds::new).transpose()?;
                Value::Null
            }
            Request::Reset { latency_ms } => {
                account.reset(Duration::from_millis(latency_ms)).await?;
                json!(account.environment())
            }
            Request::Upload { scenario } => {
                let archive = builds.as_mut().ok_or("no workload was made")?.next(scenario)?;
                json!(account.upload(archive, Some(scenario))?)
            }
            Request::UploadBomb { name } => {
                let bomb = Bomb::named(&name).ok_or("there is no such archive")?;
                json!(account.upload(bomb.archive()?.into(), None)?)
            }
            Request::Observe => json!(account.observe()),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}
