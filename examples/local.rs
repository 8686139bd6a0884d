//! Deploys archives to in-memory stand-ins for S3, DynamoDB and CloudFront, and serves the site.
//!
//! Run `cargo run --example local -- [--exit] [ARCHIVE…]`. An archive is a zip or a folder. Without one, the example
//! deploys two versions of a small sample site.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use dropship::aws::Clients;
use dropship::config::{Config, VARIABLES};
use dropship::deploy::{Invocation, Site};
use dropship::handler::handle;
use dropship::invalidation::{Folders, InvalidationRules, Origin, matches};
use dropship::printable::printable;
use dropship::report::{Answer, Progress, Report};
use lambda_runtime::Diagnostic;
use serde_json::Value;
use standins::{
    Answer as FunctionAnswer, Cloud, Distribution, Etags, Headers, InvocationError, Object, Versioning, upload_event,
};
use tokio::sync::{mpsc, oneshot};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const STAGING: &str = "staging";
/// The folder of the staging bucket for archives.
const UPLOADS: &str = "uploads/";
const LIVE: &str = "live";
const TABLE: &str = "dropship";
const DISTRIBUTION: &str = "E1LOCAL";

/// The most items of an invalidation that the report shows.
const ITEMS_SHOWN: usize = 12;

/// The name of the function, and so of the stack that `dropship --stack` names.
const STACK: &str = "local";

const USAGE: &str = "usage: cargo run --example local -- [--exit] [--port PORT] [ARCHIVE…]
  ARCHIVE      a zip, or a folder to zip; several archives are deployed one after another
  --exit       stop after the last deployment instead of serving the site
  --port PORT  port of the services; the default is a free one";

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

    let cloud = Cloud::start_at(arguments.port).await;
    let cloud = cloud.map_err(|error| format!("port {}: {error}; name another one with --port", arguments.port))?;
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
    let events = local.create_function();
    print(&format!(
        "
The site, through the edge:  {edge}
Push another build, from another terminal:
  export AWS_ENDPOINT_URL={services} AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=secret
  export DROPSHIP_STACK={STACK}
  cargo build --features cli --bin dropship --example local
  target/debug/dropship push examples/site/first
Then try plan, history, rollback and the others: target/debug/dropship --help
Without it: aws s3 cp site.zip s3://{STAGING}/{UPLOADS}
Stop with Ctrl-C.
"
    ));
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        () = local.follow(events) => Ok(()),
    }
}

struct Arguments {
    archives: Vec<PathBuf>,
    exit: bool,
    port: u16,
}

impl Arguments {
    /// Parses the command line. Returns None if it asks for help.
    fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        let mut parsed = Self { archives: Vec::new(), exit: false, port: 0 };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exit" => parsed.exit = true,
                "--port" => {
                    let port = arguments.next().unwrap_or_default();
                    parsed.port = port.parse().map_err(|_| format!("{port:?} is no port\n{USAGE}"))?;
                }
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
    /// Creates the function behind Lambda's API, which S3's events start too. Returns what it is asked.
    fn create_function(&self) -> mpsc::UnboundedReceiver<Asked> {
        let (ask, asked) = mpsc::unbounded_channel();
        let handler = move |request_id, event| {
            let (answer, answered) = oneshot::channel();
            let _ = ask.send(Asked { request_id, event, answer });
            Box::pin(async move { answered.await.unwrap_or_else(|_| Err(stopped())) }) as FunctionAnswer
        };
        let names = ["STAGING_BUCKET", "LIVE_BUCKET", "TABLE_NAME", "DISTRIBUTION_IDS", "S3_FORCE_PATH_STYLE"];
        let variables = names.into_iter().chain(VARIABLES.iter().copied());
        let variables = variables.filter_map(|name| Some((name.to_owned(), variable(name)?))).collect();
        self.cloud.create_function(STACK, variables, (STAGING, UPLOADS), Arc::new(handler));
        asked
    }

    /// Answers what the function is asked from now on.
    async fn follow(&mut self, mut events: mpsc::UnboundedReceiver<Asked>) {
        while let Some(Asked { request_id, event, answer }) = events.recv().await {
            let result = self.handle(&request_id, &event).await;
            if let Err(failure) = &result {
                eprintln!("\n{}: {}", failure.error_type, printable(&failure.error_message));
            }
            let _ = answer.send(result);
        }
    }

    /// Passes the event of an upload to the handler, and prints the result.
    async fn deploy(&mut self, key: &str, upload: &Object) -> Result<(), Box<dyn Error>> {
        self.deployments += 1;
        let request_id = format!("local-{}", self.deployments);
        let handled = self.handle(&request_id, &upload_event(STAGING, key, upload)).await;
        handled.map(drop).map_err(|failure| format!("{key}: {failure}").into())
    }

    /// Passes an event to the handler, and prints the reports.
    async fn handle(&mut self, request_id: &str, event: &Value) -> Result<Value, InvocationError> {
        let before = self.cloud.objects(LIVE);
        let earlier = self.cloud.invalidations(DISTRIBUTION).len();
        let started = Instant::now();
        let answer = handle_with_progress(&self.site, event, request_id).await?;
        for report in &answer.deployments {
            print_report(report, started.elapsed());
        }
        let invalidations = self.cloud.invalidations(DISTRIBUTION).into_iter().skip(earlier);
        let items: Vec<String> = invalidations.flat_map(|invalidation| invalidation.items).collect();
        print_items(&items, &before, &self.cloud.objects(LIVE));
        serde_json::to_value(answer)
            .map_err(|error| InvocationError { error_type: "Local".to_owned(), error_message: error.to_string() })
    }
}

/// An event for the function.
struct Asked {
    request_id: String,
    event: Value,
    answer: oneshot::Sender<Result<Value, InvocationError>>,
}

fn stopped() -> InvocationError {
    InvocationError { error_type: "Local".to_owned(), error_message: "the example has stopped".to_owned() }
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
async fn handle_with_progress(site: &Site, event: &Value, request_id: &str) -> Result<Answer, InvocationError> {
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
    handled
        .into_answer()
        .map_err(|Diagnostic { error_type, error_message }| InvocationError { error_type, error_message })
}

/// Returns the key to which an archive is uploaded.
fn staging_key(archive: &Path) -> String {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    if archive.is_dir() { format!("{UPLOADS}{name}.zip") } else { format!("{UPLOADS}{name}") }
}

/// Reads a zip, or zips a folder.
fn read(archive: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    if !archive.is_dir() {
        if !std::fs::metadata(archive)?.is_file() {
            return Err("it is neither a zip nor a folder".into());
        }
        return Ok(std::fs::read(archive)?);
    }
    let root = archive.canonicalize()?;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let mut folders = vec![root.clone()];
    let mut files = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.strip_prefix(&root)?.display().to_string();
            if !path.canonicalize().is_ok_and(|target| target.starts_with(&root)) {
                return Err(format!("{name} is a link out of the folder").into());
            }
            let kind = std::fs::metadata(&path)?.file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                files.insert(path);
            } else {
                return Err(format!("{name} is neither a file nor a folder").into());
            }
        }
    }
    for file in files {
        let name: Vec<_> = file.strip_prefix(&root)?.iter().map(|part| part.to_string_lossy()).collect();
        zip.start_file(name.join("/"), SimpleFileOptions::default())?;
        zip.write_all(&std::fs::read(&file)?)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// Prints a text. A closed pipe is no error: its reader has read enough.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn print_report(report: &Report, took: Duration) {
    let name = report.archive.as_ref().map_or("", |archive| archive.key.as_str());
    let outcome = serde_json::to_value(report.outcome).unwrap_or_default();
    let mut text = format!(
        "\n{}  {}  in {:.2} s\n  {} new, {} changed, {} with new headers, {} kept, {} deleted\n  read {}, wrote {}\n",
        printable(name),
        outcome.as_str().unwrap_or_default(),
        took.as_secs_f64(),
        report.new,
        report.changed,
        report.headers,
        report.kept,
        report.deleted,
        size_text(report.bytes_read),
        size_text(report.bytes_written)
    );
    for warning in &report.warnings {
        text.push_str(&format!("  warning: {}\n", printable(warning)));
    }
    print(&text);
}

/// Prints the invalidated items. The reasons for an item are the objects that it matches and that differ.
fn print_items(items: &[String], before: &BTreeMap<String, Object>, after: &BTreeMap<String, Object>) {
    let new: Vec<&String> = after.keys().filter(|key| !before.contains_key(*key)).collect();
    let mut text = String::new();
    for key in new.iter().take(ITEMS_SHOWN) {
        text.push_str(&format!("  new: {}\n", printable(key)));
    }
    if new.len() > ITEMS_SHOWN {
        text.push_str(&format!("  … and {} more\n", new.len() - ITEMS_SHOWN));
    }
    if items.is_empty() {
        print(&format!("{text}  nothing to invalidate\n"));
        return;
    }
    text.push_str(&format!("  invalidated {} items:\n", items.len()));
    let rules = InvalidationRules::default();
    let distribution = dropship::invalidation::Distribution {
        host: String::new(),
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
        text.push_str(&format!("    {}  ({})\n", printable(item), printable(&reasons)));
    }
    if items.len() > ITEMS_SHOWN {
        text.push_str(&format!("    … and {} more\n", items.len() - ITEMS_SHOWN));
    }
    print(&text);
}

fn size_text(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
