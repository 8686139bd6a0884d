//! What is asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::workload::{Scenario, WORKLOADS};

pub const USAGE: &str = "usage: cargo bench --bench deploy -- [OPTION…]
  --workloads A,B   only these (`bombs` are the archives that are to be refused)
  --scenarios A,B   only these; a cold deployment comes before them all the same
  --runs N          how often each scenario is measured (5); up to four times as often where it takes seconds and
                    the host of a virtual machine disturbs, and then those count that it disturbed least
  --latency MS      added to every answer of S3, DynamoDB and CloudFront (15)
  --memory MIB      what the function is told it has, instead of each workload's own
  --set NAME=VALUE  another environment variable of the function; may be repeated
  --json PATH       writes all figures there
  --svg PATH        draws the chart of the wall times there";

pub struct Options {
    pub workloads: Vec<String>,
    pub scenarios: Vec<String>,
    pub runs: usize,
    pub latency: Duration,
    pub memory_mib: Option<u64>,
    pub settings: Vec<(String, String)>,
    pub json: Option<PathBuf>,
    pub svg: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments.
    ///
    /// # Errors
    /// A sentence for the caller.
    pub fn read(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            workloads: Vec::new(),
            scenarios: Vec::new(),
            runs: 5,
            latency: Duration::from_millis(15),
            memory_mib: None,
            settings: Vec::new(),
            json: None,
            svg: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--workloads" => {
                    options.workloads = value()?.split(',').map(str::to_owned).collect();
                }
                "--scenarios" => {
                    options.scenarios = value()?.split(',').map(str::to_owned).collect();
                }
                "--runs" => options.runs = number(&value()?)?,
                "--latency" => options.latency = Duration::from_millis(number(&value()?)?),
                "--memory" => options.memory_mib = Some(number(&value()?)?),
                "--set" => {
                    let value = value()?;
                    let (name, text) =
                        value.split_once('=').ok_or_else(|| format!("--set wants NAME=VALUE, not {value}"))?;
                    options.settings.push((name.to_owned(), text.to_owned()));
                }
                "--json" => options.json = Some(value()?.into()),
                "--svg" => options.svg = Some(value()?.into()),
                // Cargo says so to every benchmark.
                "--bench" => {}
                other => return Err(format!("unknown option {other}\n{USAGE}")),
            }
        }
        let workloads = WORKLOADS.iter().map(|workload| workload.name);
        check("workload", &options.workloads, workloads.chain(["bombs"]))?;
        let scenarios = Scenario::ALL.iter().map(|scenario| scenario.name());
        check("scenario", &options.scenarios, scenarios)?;
        Ok(options)
    }

    pub fn wants_scenario(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name())
    }

    pub fn wants(&self, workload: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|name| name == workload)
    }
}

/// Refuses a name that is none of those that there are.
fn check<'n>(kind: &str, asked: &[String], names: impl Iterator<Item = &'n str>) -> Result<(), String> {
    let names: Vec<&str> = names.collect();
    let unknown = asked.iter().find(|name| !names.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| {
        let names = names.join(", ");
        Err(format!("there is no {kind} {name}; there are {names}"))
    })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number\n{USAGE}"))
}
