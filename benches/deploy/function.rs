//! The function as Lambda runs it, measured from outside.

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::Value;
use standins::Function;

use crate::process::{Process, stolen};

/// Lambda's longest timeout.
const PATIENCE: Duration = Duration::from_secs(900);

/// What one invocation of a fresh process came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// From the event to the answer.
    pub wall: Duration,
    /// Of all its threads, from the event to the answer.
    pub cpu: Duration,
    /// Of the processors, by a virtual machine's host, from the event to the answer.
    pub stolen: Duration,
    /// From the process's start to the answer.
    pub peak_bytes: u64,
    /// From the process's start to its first question for an event.
    pub start: Duration,
    /// When it asks its first question.
    pub idle_bytes: u64,
    /// The answer, or the error in words.
    pub answer: Result<Value, String>,
}

/// Starts the function and sends it one event.
pub async fn run(environment: &[(String, String)], memory_mib: u64, event: &Value) -> Result<Run, Box<dyn Error>> {
    let memory = [("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), memory_mib.to_string())];
    let environment = environment.iter().cloned().chain(memory);
    let started = Instant::now();
    let function = Function::start(env!("CARGO_BIN_EXE_bootstrap"), environment).await;
    function.polled().await;
    let start = started.elapsed();
    let process = Process::of(function.process_id().ok_or("the function has ended")?);
    let idle_bytes = process.memory_bytes("VmRSS:")?;
    let cpu_before = process.cpu()?;
    let request_id = format!("bench-{}", fastrand::u64(..));
    let stolen_before = stolen()?;
    let sent = Instant::now();
    let answer = function.invoke(&request_id, PATIENCE, event).await;
    let wall = sent.elapsed();
    let cpu = process.cpu()?.saturating_sub(cpu_before);
    Ok(Run {
        wall,
        cpu,
        stolen: stolen()?.saturating_sub(stolen_before),
        peak_bytes: process.memory_bytes("VmHWM:")?,
        start,
        idle_bytes,
        answer: answer.map_err(|error| error.to_string()),
    })
}
