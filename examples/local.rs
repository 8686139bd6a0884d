//! Deploys archives to in-memory stand-ins for S3, DynamoDB and CloudFront, and serves the site.
//!
//! Run `cargo run --example local -- [--exit] [ARCHIVE…]`. An archive is a zip or a folder. Without one, the example
//! deploys two versions of a small sample site.

#![expect(dead_code, reason = "the command line uses the rest of its modules")]

#[path = "../src/bin/dropship/failure.rs"]
mod failure;
#[path = "../src/bin/dropship/folder.rs"]
mod folder;
#[path = "../src/bin/dropship/pack.rs"]
mod pack;
#[path = "../src/bin/dropship/print.rs"]
mod print;
#[path = "../src/bin/dropship/report.rs"]
mod report;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use dropship::aws::Clients;
use dropship::config::{Config, VARIABLES};
use dropship::deploy::{Invocation, Site};
use dropship::error::Error;
use dropship::handler::{Handled, handle};
use dropship::invalidation::{Folders, InvalidationRules, Origin, matches};
use dropship::printable::printable;
use dropship::report::{Answer, Outcome, Progress};
use failure::Failure;
use lambda_runtime::Diagnostic;
use print::{DIM, Printer, Unit, bytes};
use serde_json::{Value, json};
use standins::{
    Answer as FunctionAnswer, Cloud, Distribution, Etags, Headers, InvocationError, Object, Versioning, upload_event,
};
use tokio::sync::{mpsc, oneshot};

const STAGING: &str = "staging";
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
  --port PORT  port of the services; the default is a free one
Settings of the function can be tried through the environment, such as PRUNE=off.
";

#[tokio::main]
async fn main() -> ExitCode {
    let printer = Printer::new(false);
    match run(&printer).await {
        Ok(code) => code,
        Err(failure) => {
            printer.failure(&failure);
            failure.code().into()
        }
    }
}

async fn run(printer: &Printer) -> Result<ExitCode, Failure> {
    let Some(arguments) = Arguments::parse()? else {
        printer.result(&USAGE, USAGE);
        return Ok(ExitCode::SUCCESS);
    };

    let cloud = Cloud::start_at(arguments.port).await;
    let cloud = cloud
        .map_err(|error| Failure::Usage(format!("port {}: {error}; name another one with --port", arguments.port)))?;
    cloud.create_bucket(STAGING, Versioning::On, Etags::Md5);
    cloud.create_bucket(LIVE, Versioning::Off, Etags::Md5);
    cloud.create_table(TABLE);
    cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
    cloud.change_bucket(LIVE, |settings| settings.policy = Some(live_policy()));
    let config = Config::from_variables(variable).map_err(|errors| Failure::Aws(Error::from(errors)))?;
    let site = Site { clients: Clients::new(&cloud.sdk_config().await, &config), config };
    let local = Local { printer, cloud, site };

    for (number, archive) in (1..).zip(&arguments.archives) {
        let about = |failure| Failure::Usage(format!("{}: {failure}", archive.display()));
        let contents = local.read(archive).map_err(about)?;
        let key = local.staging_key(archive);
        let upload = local.cloud.put_object(STAGING, &key, contents, Headers::of_type("application/zip"));
        let deployed = local.handle(&format!("local-{number}"), &upload_event(STAGING, &key, &upload)).await;
        if deployed.is_err() {
            return Ok(ExitCode::FAILURE);
        }
    }
    if arguments.exit {
        return Ok(ExitCode::SUCCESS);
    }
    let (edge, services) = (local.cloud.edge(DISTRIBUTION).serve().await, local.cloud.endpoint());
    let events = local.create_function();
    let uploads = &local.site.config.upload_prefix;
    let text = format!(
        "
The site, through the edge:  {edge}
Push another build, from another terminal:
  export AWS_ENDPOINT_URL={services} AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=secret
  export DROPSHIP_STACK={STACK}
  cargo build --features cli --bin dropship --example local
  target/debug/dropship push examples/site/first
Then try plan, history, rollback and the others: target/debug/dropship --help
Without it: aws s3 cp site.zip s3://{STAGING}/{uploads}
Stop with Ctrl-C.
"
    );
    printer.result(&text, &text);
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped.map_err(Failure::local)?,
        () = local.follow(events) => {}
    }
    Ok(ExitCode::SUCCESS)
}

struct Arguments {
    archives: Vec<PathBuf>,
    exit: bool,
    port: u16,
}

impl Arguments {
    /// Parses the command line. Returns None if it asks for help.
    fn parse() -> Result<Option<Self>, Failure> {
        let mut parsed = Self { archives: Vec::new(), exit: false, port: 0 };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exit" => parsed.exit = true,
                "--port" => {
                    let port = arguments.next().unwrap_or_default();
                    parsed.port = port.parse().map_err(|_| Failure::Usage(format!("{port:?} is no port")))?;
                }
                "--help" | "-h" => return Ok(None),
                option if option.starts_with('-') => {
                    return Err(Failure::Usage(format!("there is no option {option}; --help lists them")));
                }
                archive => parsed.archives.push(archive.into()),
            }
        }
        if parsed.archives.is_empty() {
            let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("site");
            parsed.archives = vec![samples.join("first"), samples.join("second")];
        }
        Ok(Some(parsed))
    }
}

/// A site on the stand-ins.
struct Local<'a> {
    printer: &'a Printer,
    cloud: Cloud,
    site: Site,
}

impl Local<'_> {
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
        let uploads = &self.site.config.upload_prefix;
        self.cloud.create_function(STACK, variables, (STAGING, uploads), Arc::new(handler));
        self.cloud.describe_function(STACK, concat!("dropship ", env!("CARGO_PKG_VERSION")));
        asked
    }

    /// Answers what the function is asked from now on.
    async fn follow(&self, mut events: mpsc::UnboundedReceiver<Asked>) {
        while let Some(Asked { request_id, event, answer }) = events.recv().await {
            let _ = answer.send(self.handle(&request_id, &event).await);
        }
    }

    /// Returns the key to which an archive is uploaded.
    fn staging_key(&self, archive: &Path) -> String {
        let path = archive.canonicalize().unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let extension = if archive.is_dir() { ".zip" } else { "" };
        format!("{}{name}{extension}", self.site.config.upload_prefix)
    }

    /// Reads a zip, or zips a folder.
    fn read(&self, archive: &Path) -> Result<Vec<u8>, Failure> {
        if archive.is_dir() {
            let config = &self.site.config;
            let mut items = folder::list(archive, config)?;
            folder::check_index(archive, &items, config)?;
            let bar = self.printer.bar("zipping", 2 * folder::size_bytes(&items), Unit::Bytes);
            folder::digest(&mut items, &bar)?;
            let zip = pack::pack(&items, Vec::new(), &bar);
            bar.finish_and_clear();
            return zip;
        }
        if !std::fs::metadata(archive).map_err(Failure::local)?.is_file() {
            return Err(Failure::Usage("it is neither a folder nor a file".to_owned()));
        }
        std::fs::read(archive).map_err(Failure::local)
    }

    /// Passes an event to the handler, and prints what came of it.
    async fn handle(&self, request_id: &str, event: &Value) -> Result<Value, InvocationError> {
        let before = self.cloud.objects(LIVE);
        let earlier = self.cloud.invalidations(DISTRIBUTION).len();
        let handled = self.handle_with_progress(request_id, event).await;
        for (result, line) in handled.results().iter().zip(handled.plain_lines()) {
            if result.is_err() {
                self.printer.failure(&Failure::Local(line));
            }
        }
        let answer = handled.into_answer();
        let mut answer =
            answer.map_err(|Diagnostic { error_type, error_message }| InvocationError { error_type, error_message })?;
        for report in &mut answer.deployments {
            // The distribution's own name leads nowhere.
            report.url = None;
        }
        let invalidations = self.cloud.invalidations(DISTRIBUTION).into_iter().skip(earlier);
        let items: Vec<String> = invalidations.flat_map(|invalidation| invalidation.items).collect();
        let text = text(&answer, &differences(&items, &before, &self.cloud.objects(LIVE)));
        self.printer.result(&answer, &text);
        serde_json::to_value(answer)
            .map_err(|error| InvocationError { error_type: "Local".to_owned(), error_message: error.to_string() })
    }

    /// Passes an event to the handler, and shows its progress: a bar on a terminal, a line every second elsewhere.
    async fn handle_with_progress(&self, request_id: &str, event: &Value) -> Handled {
        let progress = Progress::default();
        let invocation = Invocation {
            request_id,
            deadline: Utc::now() + TimeDelta::minutes(15),
            clock: &Utc::now,
            progress: &progress,
            pause: Duration::from_secs(1),
            waits: true,
        };
        let bar = self.printer.bar("writing", 0, Unit::Objects);
        let handling = handle(&self.site, event, &invocation);
        tokio::pin!(handling);
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.tick().await;
        loop {
            tokio::select! {
                handled = &mut handling => {
                    bar.finish_and_clear();
                    return handled;
                }
                _ = ticks.tick() => {
                    let (done, total) = (progress.objects(), progress.total());
                    bar.set_length(total);
                    bar.set_position(done);
                    if bar.is_hidden() {
                        let written = bytes(progress.bytes());
                        self.printer.tell(&format!("  … {done} of {total} objects written, {written}"));
                    }
                }
            }
        }
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

/// Returns the policy with which the template lets a distribution read the site.
fn live_policy() -> String {
    let resource = format!("arn:aws:s3:::{LIVE}/*");
    let principal = json!({"Service": "cloudfront.amazonaws.com"});
    json!({"Statement": {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": resource}})
        .to_string()
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

/// Returns the reports of an answer as text, each under the name of its archive. The differences follow a deployment.
fn text(answer: &Answer, differences: &str) -> String {
    let mut text = String::new();
    for report in &answer.deployments {
        let archive = report.archive.as_ref().map_or("", |archive| archive.key.as_str());
        let _ = writeln!(text, "\n{}", printable(archive));
        if report.outcome == Outcome::Planned {
            text.push_str(&report::plan(report));
        } else {
            text.push_str(&report::text(report));
            text.push_str(differences);
        }
    }
    text
}

/// Returns the new objects and the invalidated items as text. The reasons for an item are the objects that it matches
/// and that differ.
fn differences(items: &[String], before: &BTreeMap<String, Object>, after: &BTreeMap<String, Object>) -> String {
    let new: Vec<&String> = after.keys().filter(|key| !before.contains_key(*key)).collect();
    let mut text = String::new();
    for key in new.iter().take(ITEMS_SHOWN) {
        let _ = writeln!(text, "  new: {}", printable(key));
    }
    if new.len() > ITEMS_SHOWN {
        let _ = writeln!(text, "  {DIM}and {} more{DIM:#}", new.len() - ITEMS_SHOWN);
    }
    if items.is_empty() {
        text.push_str("  nothing to invalidate\n");
        return text;
    }
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
        let _ = writeln!(text, "  invalidated: {}  {DIM}({}){DIM:#}", printable(item), printable(&reasons));
    }
    if items.len() > ITEMS_SHOWN {
        let _ = writeln!(text, "  {DIM}and {} more{DIM:#}", items.len() - ITEMS_SHOWN);
    }
    text
}
