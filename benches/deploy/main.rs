//! Measures deployments: `cargo bench --bench deploy -- --help` tells the options, `docs/performance.md` what the
//! figures mean.
//!
//! Three processes take part. This one makes the plan and measures. The stand-ins for S3, DynamoDB and CloudFront
//! run in a child, so that their work is not counted. The function is the release binary itself, started anew for
//! each measurement and fed by a minimal Lambda Runtime API.

mod bomb;
mod chart;
mod figures;
mod function;
mod minimum;
mod options;
mod process;
mod services;
mod workload;

use std::error::Error;
use std::process::ExitCode;

use bomb::BOMBS;
use figures::{Figures, Row, Sample};
use options::{Options, USAGE};
use services::Services;
use workload::{Scenario, WORKLOADS, Workload};

/// Another Cache-Control than the stack's own.
const OTHER_CACHE_CONTROL: &str = "public, max-age=60, s-maxage=86400";

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
    let options = Options::read(arguments)?;
    let mut figures = Figures::new(&options)?;
    println!("{}", figures.heading());
    for workload in WORKLOADS {
        if !options.wants(workload.name) {
            continue;
        }
        if !workload.is_available() {
            println!("{}: left out, DROPSHIP_SHARED has no such site", workload.name);
            continue;
        }
        for row in measure_workload(workload, &options).await? {
            println!("{row}");
            figures.rows.push(row);
        }
    }
    if options.wants("bombs") {
        for row in measure_bombs(&options).await? {
            println!("{row}");
            figures.rows.push(row);
        }
    }
    println!("{}", figures.footing());
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    if let Some(path) = &options.svg {
        std::fs::write(path, chart::draw(&figures))?;
    }
    Ok(())
}

async fn measure_workload(workload: &Workload, options: &Options) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut services = Services::start(workload.name)?;
    let mut rows: Vec<Row> = workload
        .scenarios
        .iter()
        .filter(|scenario| options.wants_scenario(**scenario))
        .map(|scenario| Row::new(workload.name, scenario.name(), workload.about))
        .collect();
    let mut environment = Vec::new();
    for scenario in workload.sequence(options.runs) {
        if scenario == Scenario::Cold {
            if rows.iter().all(|row| row.undisturbed_runs() >= options.runs) {
                break;
            }
            environment = services.reset(options.latency)?;
            environment.extend(options.settings.iter().cloned());
        } else if !options.wants_scenario(scenario) {
            continue;
        }
        let task = services.upload(scenario)?;
        let mut environment = environment.clone();
        if scenario == Scenario::Headers {
            for name in ["CACHE_CONTROL_PAGES", "CACHE_CONTROL_ASSETS"] {
                environment.push((name.to_owned(), OTHER_CACHE_CONTROL.to_owned()));
            }
        }
        let memory_mib = options.memory_mib.unwrap_or(workload.memory_mib);
        let services_cpu = services.cpu()?;
        let run = function::run(&environment, memory_mib, &task.event).await?;
        let services_cpu = services.cpu()?.saturating_sub(services_cpu);
        let traffic = services.observe()?;
        if let Err(error) = &run.answer {
            return Err(format!("{} {}: {error}", workload.name, scenario.name()).into());
        }
        let row = rows.iter_mut().find(|row| row.scenario == scenario.name());
        let Some(row) = row else { continue };
        row.samples.push(Sample::of(&run, services_cpu, &traffic, &task.minimum));
        row.traffic = Some(traffic);
        row.minimum = Some(task.minimum);
        row.archive_bytes = task.archive_bytes;
    }
    for row in &mut rows {
        row.keep_least_disturbed(options.runs);
        row.judge(options.latency);
    }
    Ok(rows)
}

async fn measure_bombs(options: &Options) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut services = Services::start("bombs")?;
    let mut rows = Vec::new();
    for bomb in BOMBS {
        let mut row = Row::new("bombs", bomb.name, bomb.about);
        for _ in 0..options.runs {
            let environment = services.reset(options.latency)?;
            let task = services.upload_bomb(bomb.name)?;
            let memory_mib = options.memory_mib.unwrap_or(512);
            let services_cpu = services.cpu()?;
            let run = function::run(&environment, memory_mib, &task.event).await?;
            let services_cpu = services.cpu()?.saturating_sub(services_cpu);
            let traffic = services.observe()?;
            match &run.answer {
                Ok(answer) => return Err(format!("{} was deployed: {answer}", bomb.name).into()),
                Err(error) if error.starts_with("ArchiveRejected") => {
                    row.refusal = Some(error.clone());
                }
                Err(error) => return Err(format!("{}: {error}", bomb.name).into()),
            }
            row.samples.push(Sample::of(&run, services_cpu, &traffic, &task.minimum));
            row.archive_bytes = task.archive_bytes;
        }
        row.keep_least_disturbed(options.runs);
        rows.push(row);
    }
    Ok(rows)
}
