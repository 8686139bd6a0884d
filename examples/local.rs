//! Deploys archives to in-memory stand-ins for S3, DynamoDB and CloudFront, and serves the site.
//!
//! Run `cargo run --example local -- [--exit] [ARCHIVE…]`. An archive is a zip or a folder. Without one, the example
//! deploys two versions of a small sample site.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use dropship::aws::Clients;
use dropship::config::Config;
use dropship::deploy::{Invocation, Site};
use dropship::handler::handle;
use dropship::invalidation::{Folders, InvalidationRules, Origin, matches};
use dropship::report::{Progress, Report};
use serde_json::{Value, json};
use standins::{Cloud, Distribution, Etags, Headers, Object, Versioning};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const STAGING: &str = "staging";
const LIVE: &str = "live";
const TABLE: &str = "dropship";
const DISTRIBUTION: &str = "E1LOCAL";

/// The most items of an invalidation that the report shows.
const ITEMS_SHOWN: usize = 12;

const USAGE: &str = "usage: cargo run --example local -- [--exit] [ARCHIVE…]
  ARCHIVE  a zip, or a folder to zip; several archives are deployed one after another
  --exit   stop after the last deployment instead of serving the site";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Some(arguments) = Arguments::parse()? else {
        println!("{USAGE}");
        return Ok(());
    };

    let cloud = Cloud::start().await;
    cloud.create_bucket(STAGING, Versioning::On, Etags::Md5);
    cloud.create_bucket(LIVE, Versioning::Off, Etags::Md5);
    cloud.create_table(TABLE).await;
    cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
    let config = Config::from_variables(variable)?;
    let site = Site { clients: Clients::new(&cloud.sdk_config().await, &config), config };
    let mut local = Local { cloud, site, deployments: 0 };

    for archive in &arguments.archives {
        let bytes = read(archive).map_err(|error| format!("{}: {error}", archive.display()))?;
        let key = staging_key(archive);
        let upload = local.cloud.put_object(STAGING, &key, bytes, Headers::of_type("application/zip"));
        local.deploy(&key, &upload).await?;
    }
    if arguments.exit {
        return Ok(());
    }
    let (edge, services) = (local.cloud.edge(DISTRIBUTION).serve().await, local.cloud.endpoint());
    println!("\nThe site, through the edge:  {edge}");
    println!("The services:                {services} (AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=secret)");
    println!("Upload another build:        aws --endpoint-url {services} s3 cp site.zip s3://{STAGING}/");
    println!("Stop with Ctrl-C.");
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        never = local.follow() => never,
    }
}

struct Arguments {
    archives: Vec<PathBuf>,
    exit: bool,
}

impl Arguments {
    /// Parses the command line. Returns None if it asks for help.
    fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        let mut parsed = Self { archives: Vec::new(), exit: false };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--exit" => parsed.exit = true,
                "--help" | "-h" => return Ok(None),
                option if option.starts_with('-') => return Err(format!("unknown option {option}\n{USAGE}").into()),
                archive => parsed.archives.push(archive.into()),
            }
        }
        if parsed.archives.is_empty() {
            let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/site");
            parsed.archives = vec![samples.join("first"), samples.join("second")];
        }
        Ok(Some(parsed))
    }
}

/// A site on the stand-ins.
struct Local {
    cloud: Cloud,
    site: Site,
    deployments: usize,
}

impl Local {
    /// Deploys every archive that is uploaded from now on.
    async fn follow(&mut self) -> Result<(), Box<dyn Error>> {
        let mut seen: BTreeSet<Option<String>> = self.uploads().map(|(_, upload)| upload.version_id).collect();
        loop {
            // The stand-ins send no events, and looking is cheap.
            tokio::time::sleep(Duration::from_millis(300)).await;
            for (key, upload) in self.uploads() {
                if seen.insert(upload.version_id.clone())
                    && let Err(error) = self.deploy(&key, &upload).await
                {
                    eprintln!("{error}");
                }
            }
        }
    }

    fn uploads(&self) -> impl Iterator<Item = (String, Object)> + use<> {
        self.cloud.objects(STAGING).into_iter().filter(|(key, _)| key.ends_with(".zip"))
    }

    /// Passes the event of an upload to the handler, and prints the result.
    async fn deploy(&mut self, key: &str, upload: &Object) -> Result<(), Box<dyn Error>> {
        let before = self.cloud.objects(LIVE);
        let earlier = self.cloud.invalidations(DISTRIBUTION).len();
        let started = Instant::now();
        self.deployments += 1;
        let request_id = format!("local-{}", self.deployments);
        let report = handle_with_progress(&self.site, &event(key, upload), &request_id).await?;
        print_report(key, upload.body.len(), &report, started.elapsed());
        let invalidations = self.cloud.invalidations(DISTRIBUTION).into_iter().skip(earlier);
        let items: Vec<String> = invalidations.flat_map(|invalidation| invalidation.items).collect();
        print_items(&items, &before, &self.cloud.objects(LIVE));
        Ok(())
    }
}

/// Returns an environment variable of the function.
fn variable(name: &str) -> Option<String> {
    let value = match name {
        "STAGING_BUCKET" => STAGING,
        "LIVE_BUCKET" => LIVE,
        "TABLE_NAME" => TABLE,
        "DISTRIBUTION_IDS" => DISTRIBUTION,
        "S3_FORCE_PATH_STYLE" => "true",
        // Other settings can be tried through the environment of this process.
        other => return std::env::var(other).ok(),
    };
    Some(value.to_owned())
}

/// Passes one event to the handler, and prints its progress every second.
async fn handle_with_progress(site: &Site, event: &Value, request_id: &str) -> Result<Report, Box<dyn Error>> {
    let progress = Progress::default();
    let invocation = Invocation {
        request_id,
        deadline: Utc::now() + TimeDelta::minutes(15),
        clock: &Utc::now,
        progress: &progress,
        pause: Duration::from_secs(1),
        waits: true,
    };
    let handling = handle(site, event, &invocation);
    tokio::pin!(handling);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let handled = loop {
        tokio::select! {
            handled = &mut handling => break handled,
            _ = ticks.tick() => eprintln!(
                "  … {} of {} objects written, {}",
                progress.objects(), progress.total(), size_text(progress.bytes())
            ),
        }
    };
    let answer = handled.into_answer();
    let answer = answer.map_err(|failure| format!("{}: {}", failure.error_type, failure.error_message))?;
    Ok(answer.deployments.into_iter().next().ok_or("the event names no archive")?)
}

/// Returns the event that S3 would send.
fn event(key: &str, upload: &Object) -> Value {
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": STAGING, "arn": format!("arn:aws:s3:::{STAGING}")},
            "object": {
                "key": form_encoded(key),
                "size": upload.body.len(),
                "eTag": upload.etag.trim_matches('"'),
                "versionId": upload.version_id,
            },
        },
    }]})
}

/// Encodes a key like a form, which is how S3 writes it in its events.
fn form_encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/' => char::from(byte).to_string(),
            b' ' => "+".to_owned(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Returns the key to which an archive is uploaded.
fn staging_key(archive: &Path) -> String {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    if archive.is_dir() { format!("{name}.zip") } else { name.into_owned() }
}

/// Reads a zip, or zips a folder.
fn read(archive: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    if !archive.is_dir() {
        return Ok(std::fs::read(archive)?);
    }
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut folders = vec![archive.to_path_buf()];
    let mut files = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    for file in files {
        let name: Vec<_> = file.strip_prefix(archive)?.iter().map(|part| part.to_string_lossy()).collect();
        zip.start_file(name.join("/"), SimpleFileOptions::default())?;
        zip.write_all(&std::fs::read(&file)?)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn print_report(name: &str, size: usize, report: &Report, took: Duration) {
    let outcome = serde_json::to_value(report.outcome).unwrap_or_default();
    println!("\n{name}  {}  in {:.2} s", outcome.as_str().unwrap_or_default(), took.as_secs_f64());
    println!(
        "  {} new, {} changed, {} with new headers, {} kept, {} deleted",
        report.new, report.changed, report.headers, report.kept, report.deleted
    );
    println!(
        "  archive of {}: read {}, wrote {}",
        size_text(size as u64),
        size_text(report.bytes_read),
        size_text(report.bytes_written)
    );
    for warning in &report.warnings {
        println!("  warning: {warning}");
    }
}

/// Prints the invalidated items. The reasons for an item are the objects that it matches and that differ.
fn print_items(items: &[String], before: &BTreeMap<String, Object>, after: &BTreeMap<String, Object>) {
    if items.is_empty() {
        println!("  nothing to invalidate");
        return;
    }
    println!("  invalidated {} items:", items.len());
    let rules = InvalidationRules::default();
    let distribution = dropship::invalidation::Distribution {
        id: DISTRIBUTION.to_owned(),
        origins: vec![Origin { path: String::new(), folders: Folders::Function }],
        default_root_object: Some("index.html".to_owned()),
        caches_errors: false,
        fallbacks: Vec::new(),
        query_strings: false,
        tags: None,
        warnings: Vec::new(),
    };
    for item in items.iter().take(ITEMS_SHOWN) {
        let is_reason = |key: &&String| {
            before.get(*key).map(|it| &it.etag) != after.get(*key).map(|it| &it.etag)
                && dropship::invalidation::paths(key, &distribution, &rules).iter().any(|path| matches(item, path))
        };
        let reasons: Vec<String> = before
            .keys()
            .filter(is_reason)
            .map(|key| match after.get(key) {
                Some(_) => format!("{key} changed"),
                None => format!("{key} deleted"),
            })
            .collect();
        // A first deployment evicts what nobody can know.
        let reasons = if reasons.is_empty() { "whatever was cached before".to_owned() } else { reasons.join(", ") };
        println!("    {item}  ({reasons})");
    }
    if items.len() > ITEMS_SHOWN {
        println!("    … and {} more", items.len() - ITEMS_SHOWN);
    }
}

fn size_text(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
