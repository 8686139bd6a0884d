//! A site whose viewers request every URL after every call, and the conditions that it must satisfy in the end.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use dropship::deployment::Status;
use dropship::handler::Handled;
use dropship::report::Report;
use serde_json::Value;
use standins::{CustomError, Distribution, ReferenceConflict};
use tokio::sync::watch;

use crate::build::{Files, files};
use crate::edge::content;
use crate::stage::{DISTRIBUTION, LIVE, Stage};
use crate::viewers::Viewers;

/// A second distribution, which caches errors for five minutes and answers a known caller reference with an error.
pub const ERRORS_CACHED: &str = "E2ERRORS";

/// A third distribution, which no configuration names. Its cache is always empty, so that its answers are fresh.
const COLD: &str = "E0COLD";

/// A Cache-Control other than the default.
pub const AN_HOUR: &str = "public, max-age=0, s-maxage=3600";

const DEFAULT: &str = "public, max-age=0, s-maxage=86400, must-revalidate";

/// Returns the first build.
pub fn first() -> Files {
    files([
        ("index.html", "<script src=/app.1.js></script>"),
        ("docs/index.html", "docs"),
        ("about.html", "about"),
        ("app.1.js", "one"),
        ("data.json", "1"),
        ("logo.svg", "<svg/>"),
        ("old/index.html", "old"),
        ("sw.js", "one"),
        ("version.json", "kept"),
    ])
}

/// Returns the second build, in which files of [`first`] are new, changed, kept and deleted.
///
/// If assets get another Cache-Control, only the headers of `logo.svg` and of the entry point `version.json` change.
pub fn second() -> Files {
    files([
        ("index.html", "<script src=/app.2.js></script>"),
        ("docs/index.html", "more docs"),
        ("about.html", "about"),
        ("app.2.js", "two"),
        ("data.json", "2"),
        ("logo.svg", "<svg/>"),
        ("sw.js", "two"),
        ("version.json", "kept"),
    ])
}

/// Returns the third build, in which the files that [`second`] deleted return with other contents, and those that it
/// added are gone.
pub fn third() -> Files {
    files([
        ("index.html", "<script src=/app.3.js></script>"),
        ("docs/index.html", "docs"),
        ("app.1.js", "one again"),
        ("app.3.js", "three"),
        ("data.json", "3"),
        ("logo.svg", "<svg/>"),
        ("old/index.html", "old again"),
        ("sw.js", "three"),
    ])
}

/// A site behind two distributions.
pub struct Scene {
    pub stage: Stage,
    urls: Vec<String>,
    /// How many calls of watched work have been let through.
    calls: watch::Sender<usize>,
}

impl Scene {
    pub async fn new() -> Self {
        let both = format!("{DISTRIBUTION},{ERRORS_CACHED}");
        let stage = Stage::new().await.with("DISTRIBUTION_IDS", &both);
        stage.cloud.create_distribution(Distribution {
            custom_errors: vec![CustomError { code: 404, page: None, min_ttl_seconds: 300 }],
            ..Distribution::of(ERRORS_CACHED, LIVE)
        });
        stage.cloud.set_reference_conflict(ERRORS_CACHED, ReferenceConflict::AlwaysInvalidArgument);
        stage.cloud.create_distribution(Distribution::of(COLD, LIVE));
        let builds = [first(), second(), third()];
        let keys = builds.iter().flat_map(|build| build.keys());
        let urls: BTreeSet<String> = keys.flat_map(|key| urls(key)).collect();
        let scene = Self { stage, urls: urls.into_iter().collect(), calls: watch::Sender::new(0) };
        scene.request_every_url();
        scene
    }

    /// Requests every URL from every edge, so that everything that can be cached is cached.
    pub fn request_every_url(&self) {
        for distribution in [DISTRIBUTION, ERRORS_CACHED] {
            self.stage.cloud.edge(distribution).warm_all(&self.urls);
        }
    }

    /// Does `work` with its calls taking effect one by one, and requests every URL after each of them. The answers of
    /// every other time are on their way while the next call takes effect.
    pub async fn watched<T>(&self, work: impl Future<Output = T>) -> T {
        let gate = self.stage.cloud.gate();
        let viewers = async {
            let edges = [DISTRIBUTION, ERRORS_CACHED].map(|distribution| self.stage.cloud.edge(distribution));
            let mut viewers = edges.map(|edge| Viewers::new(edge, self.urls.clone()));
            loop {
                let waiting = gate.wait_until(|waiting| !waiting.is_empty()).await;
                gate.let_through(waiting[0].ticket).await;
                let calls = *self.calls.borrow();
                for viewers in &mut viewers {
                    viewers.visit(|| calls.is_multiple_of(2));
                }
                self.calls.send_modify(|calls| *calls += 1);
            }
        };
        let done = tokio::select! {
            biased;
            done = work => done,
            never = viewers => never,
        };
        self.request_every_url();
        done
    }

    /// Waits until this many more calls of watched work have been let through.
    pub async fn wait_for_calls(&self, calls: usize) {
        let goal = *self.calls.borrow() + calls;
        // The sender lives as long as the scene.
        let _ = self.calls.subscribe().wait_for(|now| *now >= goal).await;
    }

    /// Invokes a function that may crash, and returns `None` if it does.
    pub async fn invoke(
        &self,
        stage: &Stage,
        client: &str,
        request_id: &str,
        event: &Value,
        time_left: TimeDelta,
    ) -> Option<Handled> {
        tokio::select! {
            biased;
            () = stage.cloud.death(client) => None,
            handled = stage.invoke_as(client, request_id, event, time_left) => Some(handled),
        }
    }

    /// Invokes a function with watched calls that must succeed with one report.
    pub async fn deliver(&self, stage: &Stage, request_id: &str, event: &Value) -> Result<Report, String> {
        let handled = self.watched(stage.invoke_as("healthy", request_id, event, TimeDelta::minutes(15))).await;
        match handled.into_answer() {
            Ok(mut answer) if answer.deployments.len() == 1 => Ok(answer.deployments.remove(0)),
            Ok(answer) => Err(format!("{request_id}: {answer:?}")),
            Err(failure) => Err(format!("{request_id}: {}: {}", failure.error_type, failure.error_message)),
        }
    }

    /// Checks that the site has settled on `build`, which was uploaded with `event`.
    ///
    /// `cache_control` is that of the assets, or `None` for the default.
    pub async fn has_settled(&self, build: &Files, event: &Value, cache_control: Option<&str>) -> Result<(), String> {
        let mut wrong = Vec::new();
        self.check_objects(build, cache_control, &mut wrong);
        self.check_edges(&mut wrong);
        self.check_ledger(event, &mut wrong).await;
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    /// Checks that the live bucket holds the build, with the headers that the configuration asks for.
    fn check_objects(&self, build: &Files, assets: Option<&str>, wrong: &mut Vec<String>) {
        let objects = self.stage.cloud.objects(LIVE);
        let found: Vec<&String> = objects.keys().collect();
        let expected: Vec<&String> = build.keys().collect();
        if found != expected {
            wrong.push(format!("live has {found:?}"));
        }
        for (key, object) in &objects {
            if build.get(key).is_some_and(|body| object.body != body) {
                wrong.push(format!("{key} is {:?}", object.body));
            }
            let (content_type, cache_control) = match key.rsplit('.').next() {
                Some("html") => ("text/html; charset=utf-8", DEFAULT),
                Some("js") => ("text/javascript; charset=utf-8", assets.unwrap_or(DEFAULT)),
                Some("json") => ("application/json; charset=utf-8", assets.unwrap_or(DEFAULT)),
                _ => ("image/svg+xml; charset=utf-8", assets.unwrap_or(DEFAULT)),
            };
            let headers = &object.headers;
            if headers.content_type.as_deref() != Some(content_type)
                || headers.cache_control.as_deref() != Some(cache_control)
            {
                wrong.push(format!("{key} has {headers:?}"));
            }
        }
    }

    /// Checks that the edges serve nothing stale, and that each accepted every caller reference once.
    fn check_edges(&self, wrong: &mut Vec<String>) {
        let cold = self.stage.cloud.edge(COLD);
        cold.clear();
        for distribution in [DISTRIBUTION, ERRORS_CACHED] {
            let edge = self.stage.cloud.edge(distribution);
            for url in &self.urls {
                let (seen, fresh) = (content(edge.get(url)), content(cold.get(url)));
                if seen != fresh {
                    wrong.push(format!("{distribution}{url} is stale: {} {:?}", seen.status, seen.body));
                }
            }
            let accepted = self.stage.cloud.invalidations(distribution);
            let references: BTreeSet<_> = accepted.iter().map(|it| &it.caller_reference).collect();
            if references.len() != accepted.len() {
                wrong.push(format!("{distribution} accepted a reference twice"));
            }
        }
    }

    /// Checks that the ledger says that the event's upload is live and finished, and that nothing is left to do.
    async fn check_ledger(&self, event: &Value, wrong: &mut Vec<String>) {
        let ledger = self.stage.ledger().await;
        let owed = ledger.owed().await.unwrap();
        if !owed.is_empty() {
            wrong.push(format!("owed: {owed:?}"));
        }
        let head = ledger.head().await.unwrap();
        if head.lease.is_some() || !head.unfinished.is_empty() {
            wrong.push(format!("head: {head:?}"));
        }
        let Some(live) = head.live else {
            return wrong.push("nothing is live".to_owned());
        };
        let record = ledger.record(&live.deployment).await.unwrap().unwrap();
        if record.status != Status::Finished || record.version_id != version(event) {
            wrong.push(format!("live: {record:?}"));
        }
    }
}

/// Returns the version of the archive that an event names.
fn version(event: &Value) -> Option<String> {
    let version = &event["Records"][0]["s3"]["object"]["versionId"];
    version.as_str().map(str::to_owned)
}

/// Returns the URLs under which viewers request a key.
fn urls(key: &str) -> Vec<String> {
    let mut urls = vec![format!("/{key}")];
    if let Some(folder) = key.strip_suffix("index.html") {
        urls.push(format!("/{folder}"));
        urls.push(format!("/{}", folder.trim_end_matches('/')));
    }
    urls
}
