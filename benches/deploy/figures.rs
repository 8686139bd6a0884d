//! The figures, as text and as JSON.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::arguments::Arguments;
use crate::function::Invocation;
use crate::handshake::Handshake;
use crate::minimum::Minimum;
use crate::services::Traffic;
use crate::timeline::Timeline;
use crate::workload::Scenario;

const MIB: f64 = (1 << 20) as f64;

/// All measurements.
#[derive(Serialize)]
pub struct Figures {
    pub latency_ms: u64,
    pub processors: usize,
    /// The function's memory.
    pub memory_mib: u64,
    /// The function's share of a processor; `None` for all of them.
    pub processor: Option<f64>,
    pub tls: bool,
    /// With TLS: what a handshake costs.
    pub handshake: Option<Handshake>,
    pub binary_bytes: u64,
    /// The settings from the command line, as `NAME=VALUE`.
    pub settings: Vec<String>,
    pub rows: Vec<Row>,
}

/// One scenario of one workload.
#[derive(Serialize)]
pub struct Row {
    pub workload: String,
    pub scenario: String,
    pub about: String,
    pub archive_bytes: u64,
    /// How often it was measured.
    pub runs: usize,
    /// The measurements that count.
    pub samples: Vec<Sample>,
    /// The traffic of the first measurement. Only `UpdateItem` and the handshakes vary.
    pub traffic: Option<Traffic>,
    /// The minimum of the first measurement; None for an archive that must be refused.
    pub minimum: Option<Minimum>,
    /// The time that a cold deployment takes if nothing but S3 holds its writes up: docs/performance.md.
    pub bound_seconds: Option<f64>,
    pub refusal: Option<String>,
    /// The difference between the traffic of the first measurement and the numbers in `counts.rs`.
    pub other_traffic: Option<String>,
}

/// One measurement.
#[derive(Serialize)]
pub struct Sample {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    /// The CPU time of the stand-ins, which share the processors.
    pub services_cpu_seconds: f64,
    /// The CPU time that the host of a virtual machine took away in the meantime.
    pub stolen_seconds: f64,
    pub peak_mib: f64,
    pub start_ms: f64,
    pub idle_mib: f64,
    /// How long one core took to inflate all entries that memory does not hold, measured just before.
    pub inflate_seconds: f64,
    pub traffic: Traffic,
    /// Only if it was asked for.
    #[serde(skip)]
    pub timeline: Option<Timeline>,
}

impl Sample {
    pub fn of(
        invocation: &Invocation,
        services_cpu: Duration,
        traffic: Traffic,
        timeline: Option<Timeline>,
        minimum: &Minimum,
    ) -> Self {
        Self {
            wall_seconds: invocation.wall.as_secs_f64(),
            cpu_seconds: invocation.cpu.as_secs_f64(),
            services_cpu_seconds: services_cpu.as_secs_f64(),
            stolen_seconds: invocation.stolen.as_secs_f64(),
            peak_mib: invocation.peak_bytes as f64 / MIB,
            start_ms: invocation.start.as_secs_f64() * 1e3,
            idle_mib: invocation.idle_bytes as f64 / MIB,
            inflate_seconds: minimum.inflate.as_secs_f64(),
            traffic,
            timeline,
        }
    }

    /// Returns whether the host took at most 2 % of the time, apart from one tick of its clock.
    fn is_undisturbed(&self) -> bool {
        self.stolen_seconds <= 0.01 + 0.02 * self.wall_seconds
    }
}

impl Figures {
    pub fn new(arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            latency_ms: u64::try_from(arguments.latency.as_millis()).unwrap_or(u64::MAX),
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: arguments.memory_mib,
            processor: arguments.share(),
            tls: arguments.tls,
            handshake: arguments.tls.then(Handshake::measure).transpose()?,
            binary_bytes: std::fs::metadata(env!("CARGO_BIN_EXE_bootstrap"))?.len(),
            settings: arguments.settings.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            rows: Vec::new(),
        })
    }

    pub fn heading(&self) -> String {
        let handshake = self.handshake.map(|Handshake { full, resumed }| {
            format!("; {} µs for a handshake, {} µs for a resumed one", full.as_micros(), resumed.as_micros())
        });
        format!(
            "{}{}; binary of {:.1} MiB\nmedians (least to most); exact figures are followed by the minimum of the protocols \
             and their ratio to it",
            self.conditions(),
            handshake.unwrap_or_default(),
            self.binary_bytes as f64 / MIB,
        )
    }

    /// Returns under which conditions everything was measured.
    pub fn conditions(&self) -> String {
        let mut conditions = vec![
            format!("{} ms added to every answer", self.latency_ms),
            format!("{} MiB", self.memory_mib),
            match self.processor {
                Some(share) => format!("{share:.2} of a processor"),
                None => format!("{} processors", self.processors),
            },
            if self.tls { "TLS" } else { "no TLS" }.to_owned(),
        ];
        conditions.extend(self.settings.iter().cloned());
        conditions.join("; ")
    }

    /// Summarizes the cold starts of all measurements.
    pub fn footing(&self) -> String {
        let samples = || self.rows.iter().flat_map(|row| &row.samples);
        format!(
            "\ncold start: {} ms from the process's start to its first request for an event; {} MiB when idle",
            Spread::of(samples().map(|sample| sample.start_ms)),
            Spread::of(samples().map(|sample| sample.idle_mib)),
        )
    }
}

impl Row {
    pub fn new(workload: &str, scenario: &str, about: &str) -> Self {
        Self {
            workload: workload.to_owned(),
            scenario: scenario.to_owned(),
            about: about.to_owned(),
            archive_bytes: 0,
            runs: 0,
            samples: Vec::new(),
            traffic: None,
            minimum: None,
            bound_seconds: None,
            refusal: None,
            other_traffic: None,
        }
    }

    pub fn undisturbed_samples(&self) -> usize {
        let undisturbed = self.samples.iter().filter(|sample| sample.is_undisturbed());
        undisturbed.count()
    }

    /// Keeps the samples from whose time the host took the smallest share.
    pub fn keep_least_disturbed(&mut self, count: usize) {
        self.runs = self.samples.len();
        let share = |sample: &Sample| sample.stolen_seconds / sample.wall_seconds;
        self.samples.sort_by(|one, other| share(one).total_cmp(&share(other)));
        self.samples.truncate(count);
    }

    pub fn wall_seconds(&self) -> Spread {
        self.spread(|sample| sample.wall_seconds)
    }

    pub fn spread(&self, of: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(of))
    }

    /// Returns the number of requests.
    pub fn requests(&self) -> Exact {
        let found = self.traffic.as_ref().map_or(0, |traffic| traffic.calls.values().sum());
        let minimum = self.minimum.as_ref().map_or(0, |minimum| minimum.calls.values().sum());
        Exact { found, minimum }
    }

    /// Returns the number of bytes read of the archive.
    pub fn bytes_read(&self) -> Exact {
        let found = self.traffic.as_ref().map_or(0, |traffic| traffic.bytes_read);
        let minimum = self.minimum.as_ref().map_or(0, |minimum| minimum.bytes_read);
        Exact { found, minimum }
    }

    /// Computes the bound of a cold deployment from its writes, from the most of them at once in any measurement, and
    /// from the most that may start in a second.
    pub fn compute_bound(&mut self, latency: Duration, writes_per_second: u32) {
        let minimum = self.minimum.as_ref();
        if let Some(minimum) = minimum.filter(|_| self.scenario == Scenario::Cold.name()) {
            let writes =
                minimum.calls.iter().filter(|(operation, _)| Traffic::is_write(operation)).map(|(_, count)| count);
            let writes = writes.sum::<u64>() as f64;
            let answers = 1.15 * writes * latency.as_secs_f64() / self.writes_at_once().max(1) as f64;
            self.bound_seconds = Some(answers.max(writes / f64::from(writes_per_second)) + 0.3);
        }
    }

    fn writes_at_once(&self) -> u64 {
        let each = self.samples.iter();
        let each = each.map(|sample| sample.traffic.writes_at_once);
        each.max().unwrap_or_default()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |of| self.spread(of);
        let wall = spread(|sample| sample.wall_seconds);
        let cpu = spread(|sample| sample.cpu_seconds);
        let peak = spread(|sample| sample.peak_mib);
        let services = spread(|sample| sample.services_cpu_seconds);
        let stolen = spread(|sample| sample.stolen_seconds);
        writeln!(
            out,
            "\n{} {} ({}; archive of {:.1} MiB; {} of {} runs)",
            self.workload,
            self.scenario,
            self.about,
            self.archive_bytes as f64 / MIB,
            self.samples.len(),
            self.runs,
        )?;
        writeln!(
            out,
            "  wall {wall} s, CPU {cpu} s, peak {peak} MiB; the stand-ins' CPU {services} s; the host took {stolen} s"
        )?;
        let slower = |sample: &&Sample| sample.wall_seconds >= wall.median;
        let typical = self.samples.iter().filter(slower).min_by(|a, b| a.wall_seconds.total_cmp(&b.wall_seconds));
        if let Some(timeline) = typical.and_then(|sample| sample.timeline.as_ref()) {
            writeln!(out, "{timeline}")?;
        }
        if let Some(refusal) = &self.refusal {
            writeln!(out, "  {refusal}")?;
        }
        let (Some(minimum), Some(traffic)) = (&self.minimum, &self.traffic) else {
            return Ok(());
        };
        if minimum.objects > 0 {
            let objects = minimum.objects as f64;
            writeln!(
                out,
                "  {} objects written, {:.0} a second, {:.3} ms of CPU for each",
                minimum.objects,
                objects / wall.median,
                cpu.median * 1e3 / objects,
            )?;
        }
        if let Some(bound) = self.bound_seconds {
            writeln!(out, "  bound, with {} writes at once: {bound:.2} s", self.writes_at_once())?;
        }
        if traffic.full_handshakes > 0 {
            let (full, resumed) = (traffic.full_handshakes, traffic.resumed_handshakes);
            writeln!(out, "  TLS connections: {full} with a full handshake, {resumed} resumed")?;
        }
        let pages = traffic.calls.get("ListObjectsV2").copied();
        if let Some(pages) = pages.filter(|pages| *pages > 1) {
            let listing = spread(|sample| sample.traffic.listing.length.as_secs_f64());
            writeln!(out, "  all {pages} pages of the listing took {listing} s")?;
        }
        let inflate = spread(|sample| sample.inflate_seconds);
        if inflate.median > 0.01 {
            writeln!(out, "  one core inflates the entries that memory does not hold in {inflate} s")?;
        }
        let operations: BTreeSet<&String> = minimum.calls.keys().chain(traffic.calls.keys()).collect();
        let mut each = Vec::new();
        for operation in operations {
            let count =
                |calls: &std::collections::BTreeMap<String, u64>| calls.get(operation).copied().unwrap_or_default();
            let exact = Exact { found: count(&traffic.calls), minimum: count(&minimum.calls) };
            each.push(if exact.found == exact.minimum {
                format!("{operation} {}", exact.found)
            } else {
                format!("{operation} {}/{}", exact.found, exact.minimum)
            });
        }
        writeln!(out, "  requests {}: {}", self.requests(), each.join(", "))?;
        let written = Exact { found: traffic.bytes_written, minimum: minimum.bytes_written };
        write!(out, "  bytes read of the archive {}; bytes written {written}", self.bytes_read())
    }
}

/// A figure that does not vary, and its minimum.
pub struct Exact {
    pub found: u64,
    pub minimum: u64,
}

impl fmt::Display for Exact {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} / {}", self.found, self.minimum)?;
        if self.minimum > 0 {
            write!(out, " = {:.2}", self.found as f64 / self.minimum as f64)?;
        }
        Ok(())
    }
}

/// A median and the extremes.
pub struct Spread {
    least: f64,
    pub median: f64,
    most: f64,
}

impl Spread {
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or_default();
        let middle = values.len() / 2;
        Self {
            least: at(0),
            median: if values.len().is_multiple_of(2) && middle > 0 {
                (at(middle - 1) + at(middle)) / 2.0
            } else {
                at(middle)
            },
            most: at(values.len().saturating_sub(1)),
        }
    }

    /// Returns a median in seconds, for a table or a chart.
    pub fn seconds(&self) -> String {
        let median = self.median;
        if median >= 10.0 { format!("{median:.0}") } else { format!("{median:.2}") }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.median < 10.0 { 3 } else { 1 };
        write!(out, "{:.digits$} ({:.digits$} to {:.digits$})", self.median, self.least, self.most)
    }
}
