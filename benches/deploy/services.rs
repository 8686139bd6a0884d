//! The stand-ins for AWS, in a process of their own, so that neither their CPU nor their memory counts as ours.
//!
//! The process is this benchmark's own executable. It takes one command a line and answers each with one line.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use standins::{Call, Cloud, Distribution, Etags, Headers, Service, Versioning};

use crate::bomb::Bomb;
use crate::minimum::{Build, Minimum};
use crate::process::Process;
use crate::workload::{Builds, Scenario, Workload};

/// The argument that makes the executable serve.
pub const ARGUMENT: &str = "--serve";

/// Memory for bodies comes in pages of 2 MiB and is kept: page by page of 4 KiB, the kernel takes longer to
/// give it than the stand-in to fill it ("Memory Allocation Tunables" in the manual of glibc).
const MALLOC: &str = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1:glibc.malloc.top_pad=67108864:\
    glibc.malloc.trim_threshold=17179869184:glibc.malloc.mmap_max=0";

const STAGING: &str = "staging";
const LIVE: &str = "live";
const TABLE: &str = "ledger";
const DISTRIBUTION: &str = "E1BENCH";
const KEY: &str = "site.zip";

#[derive(Serialize, Deserialize)]
enum Order {
    /// Begins a workload: makes its first archive.
    Make { workload: String },
    /// Empties everything.
    Reset { latency_ms: u64 },
    /// Uploads the archive of a scenario.
    Upload { scenario: Scenario },
    /// Uploads an archive that is to be refused.
    UploadBomb { name: String },
    /// Tells what was asked for since the last upload.
    Observe,
}

/// An upload that waits to be deployed.
#[derive(Serialize, Deserialize)]
pub struct Task {
    pub event: Value,
    pub archive_bytes: u64,
    pub minimum: Minimum,
}

/// What a deployment asked of the services.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    pub calls: BTreeMap<String, u64>,
    /// Of the archive.
    pub bytes_read: u64,
    /// To the live bucket.
    pub bytes_written: u64,
    /// The most that were under way at any time.
    pub writes_at_once: u64,
    /// All pages of listings.
    pub listing: Window,
    /// All uploads in parts, from begin to completion.
    pub in_parts: Window,
    #[serde(skip)]
    writes_under_way: u64,
}

/// The time from the first of some requests to the last answer to one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    pub length: Duration,
    #[serde(skip)]
    since: Option<Instant>,
}

impl Window {
    fn extend(&mut self) {
        self.length = self.since.get_or_insert_with(Instant::now).elapsed();
    }
}

/// The process, from outside.
pub struct Services {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Services {
    /// Starts the process and lets it make a workload's first archive.
    pub fn start(workload: &str) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .env("GLIBC_TUNABLES", MALLOC)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take().ok_or("stdin is piped")?;
        let answers = process.stdout.take().ok_or("stdout is piped")?;
        let mut services = Self { process, orders, answers: BufReader::new(answers) };
        let workload = workload.to_owned();
        services.ask::<()>(&Order::Make { workload })?;
        Ok(services)
    }

    /// Empties everything; gives the environment of a function.
    pub fn reset(&mut self, latency: Duration) -> Result<Vec<(String, String)>, Box<dyn Error>> {
        let latency_ms = u64::try_from(latency.as_millis())?;
        self.ask(&Order::Reset { latency_ms })
    }

    pub fn upload(&mut self, scenario: Scenario) -> Result<Task, Box<dyn Error>> {
        self.ask(&Order::Upload { scenario })
    }

    pub fn upload_bomb(&mut self, name: &str) -> Result<Task, Box<dyn Error>> {
        let name = name.to_owned();
        self.ask(&Order::UploadBomb { name })
    }

    pub fn observe(&mut self) -> Result<Traffic, Box<dyn Error>> {
        self.ask(&Order::Observe)
    }

    /// What the process has used of the processors.
    pub fn cpu(&self) -> Result<Duration, Box<dyn Error>> {
        Process::of(self.process.id()).cpu()
    }

    fn ask<T: for<'de> Deserialize<'de>>(&mut self, order: &Order) -> Result<T, Box<dyn Error>> {
        writeln!(self.orders, "{}", serde_json::to_string(order)?)?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err("the services have ended; what they said is above".into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Traffic {
    fn add(&mut self, call: &Call) {
        match call.operation.as_str() {
            "ListObjectsV2" => self.listing.extend(),
            "CreateMultipartUpload" | "CompleteMultipartUpload" => self.in_parts.extend(),
            _ => {}
        }
        let is_write = matches!(call.operation.as_str(), "PutObject" | "CopyObject" | "UploadPart" | "UploadPartCopy");
        if call.status.is_none() {
            self.writes_under_way += u64::from(is_write);
            self.writes_at_once = self.writes_at_once.max(self.writes_under_way);
            return;
        }
        // What began before the last upload does not count.
        self.writes_under_way = self.writes_under_way.saturating_sub(u64::from(is_write));
        let is_archive = call.key.as_deref() == Some(KEY);
        let is_live = call.bucket.as_deref() == Some(LIVE);
        match call.operation.as_str() {
            "GetObject" if is_archive => self.bytes_read += call.bytes_out,
            "PutObject" | "UploadPart" if is_live => self.bytes_written += call.bytes_in,
            _ => {}
        }
        *self.calls.entry(call.operation.clone()).or_default() += 1;
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // It holds nothing that is worth a clean end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Takes orders until its standard input ends.
pub async fn serve() -> Result<(), Box<dyn Error>> {
    let mut account = Account::new().await;
    for line in std::io::stdin().lines() {
        let answer = match serde_json::from_str(&line?)? {
            Order::Make { workload } => {
                let workload = Workload::named(&workload);
                account.builds = workload.map(Builds::new).transpose()?;
                Value::Null
            }
            Order::Reset { latency_ms } => {
                account.reset(Duration::from_millis(latency_ms)).await;
                json!(account.environment())
            }
            Order::Upload { scenario } => {
                let builds = account.builds.as_mut().ok_or("no workload was made")?;
                let archive = builds.next(scenario)?;
                json!(account.upload(archive, Some(scenario))?)
            }
            Order::UploadBomb { name } => {
                let bomb = Bomb::named(&name).ok_or("there is no such archive")?;
                json!(account.upload(bomb.archive()?.into(), None)?)
            }
            Order::Observe => json!(account.observe()),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// One site on stand-ins.
struct Account {
    cloud: Cloud,
    builds: Option<Builds>,
    /// The build that is live.
    live: Build,
    uploads: i32,
    /// Since the last upload.
    traffic: Arc<Mutex<Traffic>>,
}

impl Account {
    async fn new() -> Self {
        Self { cloud: Cloud::start().await, builds: None, live: Build::default(), uploads: 0, traffic: Arc::default() }
    }

    async fn reset(&mut self, latency: Duration) {
        self.cloud = Cloud::start().await;
        let traffic = self.traffic.clone();
        // A million calls are counted, not kept.
        self.cloud.hand_over_calls(Arc::new(move |call| {
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            traffic.add(call);
        }));
        // As with SSE-KMS: MD5 is S3's work, which is not to take the function's processors.
        self.cloud.create_bucket(STAGING, Versioning::On, Etags::Opaque);
        self.cloud.create_bucket(LIVE, Versioning::Off, Etags::Opaque);
        self.cloud.create_table(TABLE).await;
        self.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
        if !latency.is_zero() {
            for service in [Service::S3, Service::DynamoDb, Service::CloudFront] {
                self.cloud.set_latency(service, latency);
            }
        }
        self.live = Build::default();
    }

    fn environment(&self) -> Vec<(String, String)> {
        let settings = [
            ("STAGING_BUCKET", STAGING),
            ("LIVE_BUCKET", LIVE),
            ("TABLE_NAME", TABLE),
            ("DISTRIBUTION_IDS", DISTRIBUTION),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.cloud.environment().into_iter().chain(settings).collect()
    }

    /// Uploads an archive that makes the bucket what it holds, or, without a scenario, is refused.
    fn upload(&mut self, archive: Bytes, scenario: Option<Scenario>) -> Result<Task, Box<dyn Error>> {
        let archive_bytes = archive.len() as u64;
        let minimum = match scenario {
            None => Minimum::default(),
            Some(scenario) => {
                let next = Build::of(&archive)?;
                let mut minimum = Minimum::between(&self.live, &next, scenario);
                if scenario == Scenario::Cold {
                    minimum.inflate = next.inflate_large(&archive)?;
                    // Room for what will come, so that no run is measured with the kernel's giving of it.
                    let bytes = usize::try_from(minimum.bytes_written)?;
                    drop(std::hint::black_box(vec![1_u8; bytes]));
                }
                self.live = next;
                minimum
            }
        };
        // The archive before is in nobody's way but takes room.
        for version in self.cloud.versions(STAGING, KEY) {
            self.cloud.expire_version(STAGING, KEY, &version.id);
        }
        let put = self.cloud.put_object(STAGING, KEY, archive, Headers::of_type("application/zip"));
        self.observe();
        // Uploads of one second would be ordered by their digest.
        self.uploads += 1;
        let at = Utc::now() + TimeDelta::seconds(i64::from(self.uploads));
        let event = json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": STAGING},
                "object": {
                    "key": KEY,
                    "size": archive_bytes,
                    "eTag": put.etag.trim_matches('"'),
                    "versionId": put.version_id,
                },
            },
        }]});
        Ok(Task { event, archive_bytes, minimum })
    }

    fn observe(&self) -> Traffic {
        std::mem::take(&mut *self.traffic.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
