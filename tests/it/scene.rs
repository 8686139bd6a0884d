//! A site under the worst viewers there are, and what must be true of it once its deployments have settled.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use dropship::deployment::Status;
use dropship::handler::Handled;
use serde_json::Value;
use standins::{CustomError, Distribution, ReferenceConflict};
use tokio::sync::watch;

use crate::build::{Files, files};
use crate::stage::{DISTRIBUTION, LIVE, Stage};

/// A second distribution, which keeps errors for five minutes and answers a known reference with an error.
pub const ERRORS_CACHED: &str = "E2ERRORS";

/// A third one, whose cache is always empty: what it answers is fresh. It belongs to nobody.
const COLD: &str = "E0COLD";

/// The Cache-Control that is not the default one.
pub const AN_HOUR: &str = "public, max-age=0, s-maxage=3600";

const DEFAULT: &str = "public, max-age=0, s-maxage=86400, must-revalidate";

/// The build before.
pub fn first() -> Files {
    files([
        ("index.html", "<script src=/app.1.js></script>"),
        ("docs/index.html", "docs"),
        ("about.html", "about"),
        ("app.1.js", "one"),
        ("data.json", "1"),
        ("logo.svg", "<svg/>"),
        ("old/index.html", "old"),
    ])
}

/// Against [`first`]: new, changed, kept and deleted files, and `logo.svg` with other headers alone where
/// assets get another Cache-Control.
pub fn second() -> Files {
    files([
        ("index.html", "<script src=/app.2.js></script>"),
        ("docs/index.html", "more docs"),
        ("about.html", "about"),
        ("app.2.js", "two"),
        ("data.json", "2"),
        ("logo.svg", "<svg/>"),
    ])
}

/// Against [`second`]: what was deleted comes back as something else, what was new is gone.
pub fn third() -> Files {
    files([
        ("index.html", "<script src=/app.3.js></script>"),
        ("docs/index.html", "docs"),
        ("app.1.js", "one again"),
        ("app.3.js", "three"),
        ("data.json", "3"),
        ("logo.svg", "<svg/>"),
        ("old/index.html", "old again"),
    ])
}

/// A site behind two distributions.
pub struct Scene {
    pub stage: Stage,
    urls: Vec<String>,
    /// How many calls have been let through.
    calls: watch::Sender<usize>,
}

impl Scene {
    pub async fn new() -> Self {
        let both = format!("{DISTRIBUTION},{ERRORS_CACHED}");
        let stage = Stage::new().await.with("DISTRIBUTION_IDS", &both);
        let keeps_errors = CustomError { code: 404, page: None, min_ttl_seconds: 300 };
        stage.cloud.create_distribution(Distribution {
            custom_errors: vec![keeps_errors],
            ..Distribution::of(ERRORS_CACHED, LIVE)
        });
        stage.cloud.set_reference_conflict(ERRORS_CACHED, ReferenceConflict::AlwaysInvalidArgument);
        stage.cloud.create_distribution(Distribution::of(COLD, LIVE));
        let builds = [first(), second(), third()];
        let keys = builds.iter().flat_map(|build| build.keys());
        let urls: BTreeSet<String> = keys.flat_map(|key| urls(key)).collect();
        let scene = Self { stage, urls: urls.into_iter().collect(), calls: watch::Sender::new(0) };
        scene.ask_for_everything();
        scene
    }

    /// Lets viewers ask every edge for every URL, so that whatever may be cached is.
    pub fn ask_for_everything(&self) {
        for distribution in [DISTRIBUTION, ERRORS_CACHED] {
            self.stage.cloud.edge(distribution).warm_all(&self.urls);
        }
    }

    /// Does `work` with its calls taking effect one by one; viewers ask for everything after each of them.
    pub async fn watched<T>(&self, work: impl Future<Output = T>) -> T {
        let gate = self.stage.cloud.gate();
        let viewers = async {
            loop {
                let waiting = gate.wait_until(|waiting| !waiting.is_empty()).await;
                gate.let_through(waiting[0].ticket).await;
                self.ask_for_everything();
                self.calls.send_modify(|calls| *calls += 1);
            }
        };
        let done = tokio::select! {
            biased;
            done = work => done,
            never = viewers => never,
        };
        self.ask_for_everything();
        done
    }

    /// Waits until so many more calls have been let through.
    pub async fn calls_pass(&self, calls: usize) {
        let goal = *self.calls.borrow() + calls;
        // The sender lives as long as the scene.
        let _ = self.calls.subscribe().wait_for(|now| *now >= goal).await;
    }

    /// Invokes a function that may die; `None` when it did.
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

    /// Invokes a function that must succeed, under the viewers' eyes.
    pub async fn deliver(
        &self,
        stage: &Stage,
        request_id: &str,
        event: &Value,
    ) -> Result<dropship::report::Report, String> {
        let handled = self.watched(stage.invoke_as("healthy", request_id, event, TimeDelta::minutes(15))).await;
        match handled.into_answer() {
            Ok(mut answer) if answer.deployments.len() == 1 => Ok(answer.deployments.remove(0)),
            Ok(answer) => Err(format!("{request_id}: {answer:?}")),
            Err(failure) => Err(format!("{request_id}: {}: {}", failure.error_type, failure.error_message)),
        }
    }

    /// Checks that the site has settled on `build`, which came by `event`, with assets under `cache_control`
    /// (`None`: the default one).
    pub async fn has_settled(&self, build: &Files, event: &Value, cache_control: Option<&str>) -> Result<(), String> {
        let mut wrong = Vec::new();
        self.check_objects(build, cache_control, &mut wrong);
        self.check_edges(&mut wrong);
        self.check_ledger(event, &mut wrong).await;
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong.join("; ")),
        }
    }

    fn check_objects(&self, build: &Files, assets: Option<&str>, wrong: &mut Vec<String>) {
        let objects = self.stage.cloud.objects(LIVE);
        let found: Vec<&String> = objects.keys().collect();
        let wanted: Vec<&String> = build.keys().collect();
        if found != wanted {
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

    fn check_edges(&self, wrong: &mut Vec<String>) {
        let cold = self.stage.cloud.edge(COLD);
        cold.clear();
        for distribution in [DISTRIBUTION, ERRORS_CACHED] {
            let edge = self.stage.cloud.edge(distribution);
            for url in &self.urls {
                let (seen, fresh) = (edge.get(url), cold.get(url));
                let told = |answer: &standins::EdgeAnswer| (answer.status, answer.headers.clone(), answer.body.clone());
                if told(&seen) != told(&fresh) {
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

    async fn check_ledger(&self, event: &Value, wrong: &mut Vec<String>) {
        let ledger = self.stage.ledger().await;
        let owed = ledger.owed().await.unwrap();
        if !owed.is_empty() {
            wrong.push(format!("owed: {owed:?}"));
        }
        let head = ledger.head().await.unwrap();
        if head.lease.is_some() || head.unfinished.is_some() {
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

/// The version of the archive that an event names.
fn version(event: &Value) -> Option<String> {
    let version = &event["Records"][0]["s3"]["object"]["versionId"];
    version.as_str().map(str::to_owned)
}

/// What viewers call an object.
fn urls(key: &str) -> Vec<String> {
    let mut urls = vec![format!("/{key}")];
    if let Some(folder) = key.strip_suffix("index.html") {
        urls.push(format!("/{folder}"));
        urls.push(format!("/{}", folder.trim_end_matches('/')));
    }
    urls
}
