//! The crash matrix: a process crashes just before or just after each of its AWS calls, and the site recovers.
//!
//! Watched calls take effect one by one, so that a crash before a call leaves the same state as a crash after the
//! call before it. The first matrix tries both nevertheless, the others only crashes after a call.

use chrono::TimeDelta;
use dropship::deployment::Record;
use dropship::handler::Handled;
use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use standins::{Does, Fault, Headers};

use crate::build::Files;
use crate::note::note;
use crate::scene::{AN_HOUR, Scene, first, second, third};
use crate::stage::{LIVE, Stage};

/// How many cases run concurrently.
const CONCURRENT_CASES: usize = 6;

/// The work during which the process crashes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scenario {
    First,
    Update,
    Rollback,
    /// Two uploads are deployed concurrently; the process of the older one crashes.
    OverlapOlder,
    /// Two uploads are deployed concurrently; the process of the newer one crashes.
    OverlapNewer,
}

const SCENARIOS: [Scenario; 5] =
    [Scenario::First, Scenario::Update, Scenario::Rollback, Scenario::OverlapOlder, Scenario::OverlapNewer];

/// The events after the crash.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    SameRequest,
    NewRequest,
    NewerUpload,
    NewerRefused,
    ForeignWrite,
    ForeignDelete,
}

/// The time left for a function that will crash: its lease expires before its event is old enough to be a replay.
pub const SHORT: TimeDelta = TimeDelta::seconds(60);

/// The time after which the lease of such a function has expired.
pub const LEASE_EXPIRED: TimeDelta = TimeDelta::seconds(66);

/// A process that may have crashed, and the build that must be live in the end.
struct Case {
    scene: Scene,
    /// The function with its present configuration.
    stage: Stage,
    cache_control: Option<&'static str>,
    event: Value,
    /// The build that must be live, and its event.
    newest: (Value, Files),
    has_crashed: bool,
}

impl Case {
    /// Runs a scenario up to a crash at the `n`-th call.
    async fn run(scenario: Scenario, crash: Does, n: usize, after: After) -> Self {
        let scene = Scene::new().await;
        let base = scene.stage.clone();
        let changed = base.clone().with("CACHE_CONTROL_ASSETS", AN_HOUR);
        let fault = Fault { client: Some("victim".to_owned()), first: n, ..Fault::any(crash) };
        let one = base.upload("site.zip", &first());
        if scenario != Scenario::First {
            scene.deliver(&base, "one", &one).await.unwrap();
        }
        let (stage, cache_control, event, newest) = match scenario {
            Scenario::First => (base, None, one.clone(), (one, first())),
            Scenario::Update => {
                let two = base.upload("site.zip", &second());
                (changed, Some(AN_HOUR), two.clone(), (two, second()))
            }
            Scenario::Rollback => {
                let two = base.upload("site.zip", &second());
                scene.deliver(&changed, "two", &two).await.unwrap();
                let event = if matches!(after, After::NewRequest | After::NewerUpload) {
                    json!({"Records": one["Records"], "options": {"replay": true}})
                } else {
                    json!({"rollback": "previous"})
                };
                (base, None, event, (one, first()))
            }
            Scenario::OverlapOlder | Scenario::OverlapNewer => {
                return Self::run_overlapping(scene, changed, scenario, fault).await;
            }
        };
        stage.cloud.fault(fault);
        let handled = scene.watched(scene.invoke(&stage, "victim", "victim", &event, SHORT)).await;
        stage.cloud.clear_faults();
        let has_crashed = !succeeded(handled);
        Self { scene, stage, cache_control, event, newest, has_crashed }
    }

    /// Deploys the second and the third build concurrently, up to a crash in one of the two processes.
    async fn run_overlapping(scene: Scene, stage: Stage, scenario: Scenario, fault: Fault) -> Self {
        let two = stage.upload("site.zip", &second());
        let three = stage.upload("site.zip", &third());
        let (event, older, newer) = match scenario {
            Scenario::OverlapOlder => (two.clone(), "victim", "other"),
            _ => (three.clone(), "other", "victim"),
        };
        stage.cloud.fault(fault);
        let work = join(
            async {
                let handled = scene.invoke(&stage, older, older, &two, SHORT).await;
                if handled.is_none() {
                    stage.pass(LEASE_EXPIRED);
                }
                handled
            },
            async {
                // Wait until the older process has the lease or has crashed.
                tokio::select! {
                    () = scene.wait_for_calls(5) => {}
                    () = stage.cloud.death(older) => {}
                }
                scene.invoke(&stage, newer, newer, &three, TimeDelta::minutes(10)).await
            },
        );
        let (older, newer) = scene.watched(work).await;
        let has_crashed = [older, newer].map(succeeded).contains(&false);
        stage.cloud.clear_faults();
        let newest = (three, third());
        Self { stage, cache_control: Some(AN_HOUR), event, newest, has_crashed, scene }
    }

    /// Continues after the crash, and checks that the site settles.
    async fn settle(&mut self, scenario: Scenario, after: After, n: usize) -> Result<(), String> {
        let Self { scene, stage, event, newest, .. } = self;
        // Every lease has expired by then.
        let long_after = TimeDelta::minutes(11);
        match after {
            After::SameRequest => {
                scene.deliver(stage, "victim", event).await?;
            }
            After::NewRequest => {
                stage.pass(LEASE_EXPIRED);
                if scenario == Scenario::OverlapNewer {
                    stage.pass(long_after);
                }
                scene.deliver(stage, "another", event).await?;
            }
            After::NewerUpload => {
                stage.pass(long_after);
                let claimed = victims_record(stage, &newest.0).await;
                let has_claimed =
                    claimed.is_some_and(|record| serde_json::to_string(&record).unwrap().contains("\"victim\""));
                let build = Files::from_iter(third().into_iter().chain([("app.2.js".to_owned(), b"again".to_vec())]));
                let newer = stage.upload("site.zip", &build);
                scene.deliver(stage, "newer", &newer).await?;
                stage.pass(TimeDelta::minutes(20));
                scene.deliver(stage, "victim", event).await?;
                // A replay that crashed before its claim left no trace, so that its retry still takes effect.
                if scenario != Scenario::Rollback || has_claimed {
                    *newest = (newer, build);
                }
            }
            After::NewerRefused => {
                stage.pass(long_after);
                let broken = stage.upload_bytes("site.zip", b"no archive".to_vec());
                match scene.deliver(stage, "broken", &broken).await {
                    Err(error) if error.contains("ArchiveRejected") => {}
                    other => return Err(format!("the broken archive was not rejected: {other:?}")),
                }
                scene.deliver(stage, "victim", event).await?;
            }
            After::ForeignWrite | After::ForeignDelete => {
                let keys = ["data.json", "index.html", "logo.svg", "app.2.js", "app.1.js"];
                // Each crash point has its own selection of keys.
                for (bit, key) in keys.into_iter().enumerate() {
                    if (n >> bit) & 1 == 0 {
                        continue;
                    }
                    if after == After::ForeignDelete {
                        stage.cloud.delete_object(LIVE, key);
                    } else {
                        stage.cloud.put_object(LIVE, key, "foreign", Headers::of_type("text/plain"));
                    }
                }
                scene.request_every_url();
                scene.deliver(stage, "victim", event).await?;
                // A retry that comes too late repairs nothing; a replay of the live build does.
                stage.pass(long_after);
                let repair = json!({"Records": newest.0["Records"], "options": {"replay": true}});
                scene.deliver(stage, "repair", &repair).await?;
            }
        }
        let (event, build) = &*newest;
        scene.has_settled(build, event, self.cache_control).await
    }
}

/// Returns whether a process has ended by itself. It must then have succeeded.
fn succeeded(handled: Option<Handled>) -> bool {
    match handled.map(Handled::into_answer) {
        Some(Ok(_)) => true,
        Some(Err(failure)) => panic!("{failure:?}"),
        None => false,
    }
}

/// Returns the record of an event's deployment, if the crashed process has begun it.
async fn victims_record(stage: &Stage, event: &Value) -> Option<Record> {
    let version = &event["Records"][0]["s3"]["object"]["versionId"];
    let record = stage.ledger().await.started_by("victim").await.unwrap();
    record.filter(|record| record.version_id.as_deref() == version.as_str())
}

/// Returns the distance between the calls at which the process crashes; `DROPSHIP_CRASH_STRIDE` overrides it.
fn stride(after: After) -> usize {
    let chosen = std::env::var("DROPSHIP_CRASH_STRIDE").ok();
    let default = if after == After::SameRequest { 3 } else { 6 };
    chosen.and_then(|stride| stride.parse().ok()).filter(|stride| *stride > 0).unwrap_or(default)
}

/// Crashes at one call after another until the scenario ends by itself.
///
/// Returns the number of crashes, and the errors after them.
async fn crash_everywhere(scenario: Scenario, crash: Does, after: After) -> (usize, Vec<String>) {
    let (mut points, mut wrong) = (0, Vec::new());
    let stride = stride(after);
    // The scenarios start at different calls, since their last calls are the same.
    for n in (1 + scenario as usize % stride..).step_by(stride) {
        let mut case = Case::run(scenario, crash.clone(), n, after).await;
        if !case.has_crashed {
            return (points, wrong);
        }
        points += 1;
        if let Err(error) = case.settle(scenario, after, n).await {
            let calls = case.stage.cloud.calls();
            let last = calls.iter().rfind(|call| call.client == "victim");
            let call = last.map(|call| (call.operation.clone(), call.key.clone()));
            wrong.push(format!("{scenario:?} {crash:?} {n} {call:?}: {error}"));
        }
    }
    unreachable!("the range has no end");
}

async fn matrix(after: After, crashes: &[Does]) {
    let rows = SCENARIOS.into_iter().flat_map(|scenario| crashes.iter().map(move |crash| (scenario, crash.clone())));
    let results: Vec<(usize, Vec<String>)> = stream::iter(rows)
        .map(|(scenario, crash)| crash_everywhere(scenario, crash, after))
        .buffer_unordered(CONCURRENT_CASES)
        .collect()
        .await;
    let points: usize = results.iter().map(|(points, _)| points).sum();
    let wrong: Vec<String> = results.into_iter().flat_map(|(_, wrong)| wrong).collect();
    note(&format!("crash matrix {after:?}: {points} crash points tried"));
    let fewest = 100 / stride(after);
    assert!(points > fewest, "only {points} crash points");
    assert!(wrong.is_empty(), "{} of {points} crash points failed:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_is_finished_by_the_same_request() {
    matrix(After::SameRequest, &[Does::DieBefore, Does::DieAfter]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_is_finished_by_another_request_once_the_lease_has_expired() {
    matrix(After::NewRequest, &[Does::DieAfter]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_is_overtaken_by_a_newer_upload_and_a_late_retry_changes_nothing() {
    matrix(After::NewerUpload, &[Does::DieAfter]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_is_finished_although_a_newer_upload_was_refused() {
    matrix(After::NewerRefused, &[Does::DieAfter]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_is_finished_despite_foreign_writes() {
    matrix(After::ForeignWrite, &[Does::DieAfter]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_call_is_finished_despite_foreign_deletes() {
    matrix(After::ForeignDelete, &[Does::DieAfter]).await;
}
