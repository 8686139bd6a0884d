//! The arguments of the command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::processor::share_of;
use crate::workload::{DEFAULT_MEMORY_MIB, Scenario, WORKLOADS};

pub const USAGE: &str = "usage: cargo bench --bench deploy -- [OPTION…]
  --workloads A,B   measure only these workloads (`bombs` are archives that must be refused)
  --scenarios A,B   measure only these scenarios; a cold deployment still comes first
  --runs N          how many measurements of each scenario count (5), but one of a cold `million`; if the host of a
                    virtual machine disturbs them, all scenarios of the workload are measured again, up to four times as
                    often, and the least disturbed count; not so with `huge-site`, `million`, `giant` and `bombs`
  --latency MS      add this latency to every answer of S3, DynamoDB and CloudFront (15)
  --memory MIB      give the function this much memory (512)
  --processor SHARE give the function this share of a processor, by the kernel's quota; `memory` is Lambda's share for
                    its memory. It needs the right to write control groups
  --tls             put TLS between the function and the services
  --set NAME=VALUE  set an environment variable of the function; may be repeated
  --timeline        show when the first 100 requests of each deployment began and were answered
  --json PATH       write all figures to this file
  --table PATH      write the figures as tables in Markdown to this file
  --svg PATH        draw the chart of the wall times to this file";

pub struct Arguments {
    pub workloads: Vec<String>,
    pub scenarios: Vec<String>,
    pub runs: usize,
    pub latency: Duration,
    pub memory_mib: u64,
    /// `None` for all processors.
    pub processor: Option<Share>,
    pub tls: bool,
    pub settings: Vec<(String, String)>,
    pub timeline: bool,
    pub json: Option<PathBuf>,
    pub table: Option<PathBuf>,
    pub svg: Option<PathBuf>,
}

/// A share of a processor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// As Lambda gives it for the function's memory.
    OfMemory,
    Of(f64),
}

impl Share {
    fn value(self, memory_mib: u64) -> f64 {
        match self {
            Self::OfMemory => share_of(memory_mib),
            Self::Of(share) => share,
        }
    }
}

impl Arguments {
    /// Parses the arguments.
    ///
    /// # Errors
    /// A sentence for the user if an argument is wrong.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut parsed = Self {
            workloads: Vec::new(),
            scenarios: Vec::new(),
            runs: 5,
            latency: Duration::from_millis(15),
            memory_mib: DEFAULT_MEMORY_MIB,
            processor: None,
            tls: false,
            settings: Vec::new(),
            timeline: false,
            json: None,
            table: None,
            svg: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--workloads" => {
                    parsed.workloads = value()?.split(',').map(str::to_owned).collect();
                }
                "--scenarios" => {
                    parsed.scenarios = value()?.split(',').map(str::to_owned).collect();
                }
                "--runs" => parsed.runs = number(&value()?)?,
                "--latency" => parsed.latency = Duration::from_millis(number(&value()?)?),
                "--memory" => parsed.memory_mib = number(&value()?)?,
                "--processor" => {
                    let value = value()?;
                    let share = if value == "memory" { Share::OfMemory } else { Share::Of(number(&value)?) };
                    parsed.processor = Some(share);
                }
                "--tls" => parsed.tls = true,
                "--timeline" => parsed.timeline = true,
                "--set" => {
                    let value = value()?;
                    let (name, text) =
                        value.split_once('=').ok_or_else(|| format!("--set needs NAME=VALUE, not {value}"))?;
                    parsed.settings.push((name.to_owned(), text.to_owned()));
                }
                "--json" => parsed.json = Some(value()?.into()),
                "--table" => parsed.table = Some(value()?.into()),
                "--svg" => parsed.svg = Some(value()?.into()),
                // Cargo passes it to every benchmark.
                "--bench" => {}
                other => return Err(format!("unknown option {other}\n{USAGE}")),
            }
        }
        let workloads = WORKLOADS.iter().map(|workload| workload.name);
        check("workload", &parsed.workloads, workloads.chain(["bombs"]))?;
        let scenarios = Scenario::ALL.iter().map(|scenario| scenario.name());
        check("scenario", &parsed.scenarios, scenarios)?;
        // The kernel gives no shorter quota than 1 ms in 100 ms.
        match parsed.share() {
            Some(share) if share.is_nan() || share < 0.01 => {
                Err(format!("a share of {share} is less than 0.01 of a processor"))
            }
            _ => Ok(parsed),
        }
    }

    /// Returns the function's share of a processor; `None` for all processors.
    pub fn share(&self) -> Option<f64> {
        self.processor.map(|share| share.value(self.memory_mib))
    }

    /// Returns whether nothing was asked for that changes the requests or bytes of a deployment.
    pub fn has_default_traffic(&self) -> bool {
        self.memory_mib == DEFAULT_MEMORY_MIB && self.settings.is_empty() && self.scenarios.is_empty()
    }

    /// Returns the most writes that the function starts in a second.
    pub fn writes_per_second(&self) -> u32 {
        let set = self.settings.iter().find(|(name, _)| name == "MAX_WRITES_PER_SECOND");
        set.and_then(|(_, value)| value.parse().ok()).unwrap_or(3_500)
    }

    pub fn wants_scenario(&self, scenario: Scenario) -> bool {
        self.scenarios.is_empty() || self.scenarios.iter().any(|name| name == scenario.name())
    }

    pub fn wants(&self, workload: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|name| name == workload)
    }
}

/// Refuses a name that does not exist.
fn check<'a>(kind: &str, asked: &[String], names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let names: Vec<&str> = names.collect();
    match asked.iter().find(|name| !names.contains(&name.as_str())) {
        Some(unknown) => Err(format!("there is no {kind} {unknown}; there are {}", names.join(", "))),
        None => Ok(()),
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number\n{USAGE}"))
}
