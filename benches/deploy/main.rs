//! Measures deployments. `cargo bench --bench deploy -- --help` lists the options, and `docs/performance.md` explains the
//! figures.
//!
//! Three processes take part. This one decides what to deploy, and measures. The stand-ins for S3, DynamoDB and
//! CloudFront run in a child process, so that their work is not counted. The function is the release binary, which every
//! measurement starts again, behind a minimal Lambda Runtime API.

mod arguments;
mod bomb;
mod builds;
mod chart;
mod counts;
mod figures;
mod function;
mod handshake;
mod minimum;
mod process;
mod processor;
mod release;
mod services;
mod site;
mod table;
mod timeline;
mod workload;

use std::error::Error;
use std::process::ExitCode;

use serde_json::Value;

use arguments::{Arguments, USAGE};
use bomb::BOMBS;
use counts::Count;
use figures::{Figures, Row, Sample};
use function::LONGEST_TIMEOUT;
use services::{Services, Task};
use timeline::Timeline;
use workload::{Scenario, WORKLOADS, Workload};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.first().map(String::as_str) {
        Some(services::ARGUMENT) => services::serve().await,
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => measure(arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse(arguments)?;
    let mut figures = Figures::new(&arguments)?;
    println!("{}", figures.heading());
    for workload in WORKLOADS {
        if !arguments.wants(workload.name) {
            continue;
        }
        if !workload.is_available() {
            println!("{}: skipped, because DROPSHIP_SHARED has no such site", workload.name);
            continue;
        }
        for row in measure_workload(workload, &arguments).await? {
            println!("{row}");
            figures.rows.push(row);
        }
    }
    if arguments.wants("bombs") {
        for row in measure_bombs(&arguments).await? {
            println!("{row}");
            figures.rows.push(row);
        }
    }
    println!("{}", figures.footing());
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, chart::draw(&figures))?;
    }
    if let Some(path) = &arguments.table {
        std::fs::write(path, table::write(&figures))?;
    }
    let other: Vec<&str> = figures.rows.iter().filter_map(|row| row.other_traffic.as_deref()).collect();
    if other.is_empty() { Ok(()) } else { Err(other.join("\n").into()) }
}

async fn measure_workload(workload: &Workload, arguments: &Arguments) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut services = Services::start(workload.name, arguments.tls)?;
    let mut rows: Vec<Row> = workload
        .scenarios
        .iter()
        .filter(|scenario| arguments.wants_scenario(**scenario))
        .map(|scenario| Row::new(workload.name, scenario.name(), workload.about))
        .collect();
    let mut environment = Vec::new();
    for scenario in workload.sequence(arguments.runs) {
        if scenario == Scenario::Cold {
            if rows.iter().all(|row| row.undisturbed_samples() >= arguments.runs) {
                break;
            }
            environment = services.reset(arguments.latency)?;
            environment.extend(arguments.settings.iter().cloned());
        } else if !arguments.wants_scenario(scenario) {
            continue;
        }
        let task = services.upload(scenario)?;
        let mut environment = environment.clone();
        environment.extend(scenario.settings());
        let (sample, answer) = measure_task(&mut services, &environment, arguments, &task).await?;
        if let Err(error) = answer {
            return Err(format!("{} {}: {error}", workload.name, scenario.name()).into());
        }
        let row = rows.iter_mut().find(|row| row.scenario == scenario.name());
        let Some(row) = row else { continue };
        if row.samples.is_empty() {
            if arguments.has_default_traffic() {
                row.other_traffic = Count::check(workload.name, scenario.name(), &sample.traffic).err();
            }
            row.traffic = Some(sample.traffic.clone());
            row.minimum = Some(task.minimum);
            row.archive_bytes = task.archive_bytes;
        }
        row.samples.push(sample);
    }
    for row in &mut rows {
        row.keep_least_disturbed(arguments.runs);
        row.compute_bound(arguments.latency, arguments.writes_per_second());
    }
    Ok(rows)
}

async fn measure_bombs(arguments: &Arguments) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut services = Services::start("bombs", arguments.tls)?;
    let mut rows = Vec::new();
    for bomb in BOMBS {
        let mut row = Row::new("bombs", bomb.name, bomb.about);
        for _ in 0..arguments.runs {
            let environment = services.reset(arguments.latency)?;
            let task = services.upload_bomb(bomb.name)?;
            let (sample, answer) = measure_task(&mut services, &environment, arguments, &task).await?;
            match answer {
                Ok(answer) => return Err(format!("{} was deployed: {answer}", bomb.name).into()),
                Err(error) if error.starts_with("ArchiveRejected") => {
                    row.refusal = Some(error);
                }
                Err(error) => return Err(format!("{}: {error}", bomb.name).into()),
            }
            if row.samples.is_empty() && arguments.has_default_traffic() {
                row.other_traffic = Count::check("bombs", bomb.name, &sample.traffic).err();
            }
            row.samples.push(sample);
            row.archive_bytes = task.archive_bytes;
        }
        row.keep_least_disturbed(arguments.runs);
        rows.push(row);
    }
    Ok(rows)
}

/// Invokes the function for one upload. Returns the measurement, and the answer or the text of the error.
async fn measure_task(
    services: &mut Services,
    environment: &[(String, String)],
    arguments: &Arguments,
    task: &Task,
) -> Result<(Sample, Result<Value, String>), Box<dyn Error>> {
    let cpu_before = services.cpu()?;
    let invocation =
        function::invoke(environment, arguments.memory_mib, arguments.share(), LONGEST_TIMEOUT, &task.event).await?;
    let services_cpu = services.cpu()?.saturating_sub(cpu_before);
    let mut traffic = services.observe()?;
    let requests = std::mem::take(&mut traffic.requests);
    let (started_at, event_at, answered_at) = (invocation.started_at, invocation.event_at, invocation.answered_at);
    let timeline = arguments.timeline.then_some(Timeline { started_at, event_at, answered_at, requests });
    let sample = Sample::of(&invocation, services_cpu, traffic, timeline, &task.minimum);
    Ok((sample, invocation.answer))
}
