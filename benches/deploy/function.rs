//! The function as Lambda runs it, measured from outside.

use std::error::Error;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;
use standins::Function;
use tokio::process::Command;

use crate::process::{Process, stolen_time};
use crate::processor::Group;

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_bootstrap");

/// Lambda's longest timeout.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(900);

/// The first invocation of a new process.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// From the event to the answer.
    pub wall: Duration,
    /// The CPU time of all threads of the process, from the event to the answer.
    pub cpu: Duration,
    /// The CPU time that a virtual machine's host took away, from the event to the answer.
    pub stolen: Duration,
    /// The most memory of the process, from its start to the answer.
    pub peak_bytes: u64,
    /// From the start of the process to its first request for an event. With a share of a processor, it includes the
    /// start of the shell that the process takes the place of.
    pub start: Duration,
    /// When the process started.
    pub started_at: SystemTime,
    /// When the event was sent.
    pub event_at: SystemTime,
    pub answered_at: SystemTime,
    /// The memory of the process at its first request for an event.
    pub idle_bytes: u64,
    /// The answer, or the text of the error.
    pub answer: Result<Value, String>,
}

/// Starts the function and sends it one event, which it must answer within the timeout.
pub async fn invoke(
    environment: &[(String, String)],
    memory_mib: u64,
    processor: Option<f64>,
    timeout: Duration,
    event: &Value,
) -> Result<Invocation, Box<dyn Error>> {
    let memory = [("AWS_LAMBDA_FUNCTION_MEMORY_SIZE".to_owned(), memory_mib.to_string())];
    let environment = environment.iter().cloned().chain(memory);
    let group = processor.map(Group::with_share).transpose()?;
    let (started, started_at) = (Instant::now(), SystemTime::now());
    let function = match &group {
        None => Function::start(EXECUTABLE, environment).await,
        // The shell joins the group, and the function takes its place.
        Some(group) => {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", "echo $$ > \"$0\" && exec \"$1\""]).arg(group.processes()).arg(EXECUTABLE);
            Function::start_by(shell, environment).await
        }
    };
    let invocation = measure(&function, (started, started_at), timeout, event).await;
    // The group must be empty when it is removed.
    function.kill().await;
    invocation.map_err(|error| format!("{error}\n{}", function.log().join("\n")).into())
}

/// Sends an event to a function, which was started at this time.
async fn measure(
    function: &Function,
    (started, started_at): (Instant, SystemTime),
    timeout: Duration,
    event: &Value,
) -> Result<Invocation, Box<dyn Error>> {
    function.polled().await.map_err(|error| error.to_string())?;
    let start = started.elapsed();
    let process = Process::of(function.process_id().ok_or("the function has ended")?);
    let idle_bytes = process.memory_bytes("VmRSS:")?;
    let cpu_before = process.cpu()?;
    let request_id = format!("bench-{}", fastrand::u64(..));
    let stolen_before = stolen_time()?;
    let (sent, event_at) = (Instant::now(), SystemTime::now());
    let answer = function.invoke(&request_id, timeout, event).await;
    let (wall, answered_at) = (sent.elapsed(), SystemTime::now());
    let answer = match answer {
        Ok(answer) => Ok(answer),
        // Then the kernel knows nothing of the process any more.
        Err(error) if error.error_type == "Runtime.ExitError" => return Err(error.to_string().into()),
        Err(error) => Err(error.to_string()),
    };
    let cpu = process.cpu()?.saturating_sub(cpu_before);
    Ok(Invocation {
        wall,
        cpu,
        stolen: stolen_time()?.saturating_sub(stolen_before),
        peak_bytes: process.memory_bytes("VmHWM:")?,
        start,
        started_at,
        event_at,
        answered_at,
        idle_bytes,
        answer,
    })
}
