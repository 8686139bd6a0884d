//! The crash matrix: a process dies just before or just after each of its AWS calls, and things go on.

use chrono::TimeDelta;
use dropship::deployment::Record;
use futures_util::future::join;
use futures_util::stream;
use futures_util::stream::StreamExt;
use serde_json::{Value, json};
use standins::{Does, Fault, Headers};

use crate::build::Files;
use crate::note::note;
use crate::scene::{AN_HOUR, Scene, first, second, third};
use crate::stage::{LIVE, Stage};

// Watched calls take effect one by one, so that dying before a call leaves what dying after the one before it
// leaves. The first matrix does both all the same, the others the latter.

/// Every so many calls there is a death; `DROPSHIP_CRASH_STRIDE` chooses another number, 1 for everywhere.
fn stride(after: After) -> usize {
    let chosen = std::env::var("DROPSHIP_CRASH_STRIDE").ok();
    let usual = if after == After::SameRequest { 1 } else { 2 };
    chosen.and_then(|stride| stride.parse().ok()).filter(|stride| *stride > 0).unwrap_or(usual)
}

/// How many cases are under way at once.
const AT_ONCE: usize = 6;

/// What the one that dies is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    First,
    Update,
    Rollback,
    /// Two uploads at work at once; the older dies.
    OverlapOlder,
    /// Two uploads at work at once; the newer dies.
    OverlapNewer,
}

const DOINGS: [Doing; 5] = [Doing::First, Doing::Update, Doing::Rollback, Doing::OverlapOlder, Doing::OverlapNewer];

/// What happens after the death.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    SameRequest,
    NewRequest,
    NewerUpload,
    NewerRefused,
    ForeignWrite,
    ForeignDelete,
}

/// The time that a function which is to die has: its lease lapses within the 5 minutes of a duplicate.
pub const SHORT: TimeDelta = TimeDelta::seconds(60);

pub const LAPSED: TimeDelta = TimeDelta::seconds(66);

/// A process that is about to die, and what must be live in the end.
struct Case {
    scene: Scene,
    /// The function as it is configured now.
    stage: Stage,
    cache_control: Option<&'static str>,
    event: Value,
    /// The event that brings `build`, and the build.
    newest: (Value, Files),
    died: bool,
}

impl Case {
    async fn run(doing: Doing, does: Does, n: usize, after: After) -> Self {
        let scene = Scene::new().await;
        let base = scene.stage.clone();
        let changed = base.clone().with("CACHE_CONTROL_ASSETS", AN_HOUR);
        let one = base.upload("site.zip", &first());
        let must = async |stage: &Stage, id: &str, event: &Value| {
            scene.deliver(stage, id, event).await.unwrap();
        };
        if doing != Doing::First {
            must(&base, "one", &one).await;
        }
        let die = || {
            base.cloud.fault(Fault { client: Some("victim".to_owned()), first: n, ..Fault::any(does.clone()) });
        };
        let (stage, cache_control, event, newest) = match doing {
            Doing::First => (base.clone(), None, one.clone(), (one, first())),
            Doing::Update => {
                let two = base.upload("site.zip", &second());
                (changed, Some(AN_HOUR), two.clone(), (two, second()))
            }
            Doing::Rollback => {
                let two = base.upload("site.zip", &second());
                must(&changed, "two", &two).await;
                let by_name = matches!(after, After::NewRequest | After::NewerUpload);
                let event = match by_name {
                    true => json!({"Records": one["Records"], "options": {"replay": true}}),
                    false => json!({"rollback": "previous"}),
                };
                (base.clone(), None, event, (one, first()))
            }
            Doing::OverlapOlder | Doing::OverlapNewer => {
                let two = base.upload("site.zip", &second());
                let three = base.upload("site.zip", &third());
                let event = match doing {
                    Doing::OverlapOlder => two.clone(),
                    _ => three.clone(),
                };
                let (older, newer) = match doing {
                    Doing::OverlapOlder => ("victim", "other"),
                    _ => ("other", "victim"),
                };
                die();
                let work = join(
                    async {
                        let handled = scene.invoke(&changed, older, older, &two, SHORT).await;
                        if handled.is_none() {
                            base.pass(LAPSED);
                        }
                        handled
                    },
                    async {
                        // The older one has the lease by then, or is dead.
                        tokio::select! {
                            () = scene.calls_pass(5) => {}
                            () = base.cloud.death(older) => {}
                        }
                        let time_left = TimeDelta::minutes(10);
                        scene.invoke(&changed, newer, newer, &three, time_left).await
                    },
                );
                let (older, newer) = scene.watched(work).await;
                let died = older.is_none() || newer.is_none();
                for handled in [older, newer].into_iter().flatten() {
                    handled.into_answer().unwrap();
                }
                base.cloud.clear_faults();
                return Self {
                    stage: changed,
                    cache_control: Some(AN_HOUR),
                    event,
                    newest: (three, third()),
                    died,
                    scene,
                };
            }
        };
        die();
        let handled = scene.watched(scene.invoke(&stage, "victim", "victim", &event, SHORT)).await;
        base.cloud.clear_faults();
        let died = handled.is_none();
        if let Some(handled) = handled {
            handled.into_answer().unwrap();
        }
        Self { scene, stage, cache_control, event, newest, died }
    }

    /// Goes on after the death.
    async fn settle(&mut self, doing: Doing, after: After, n: usize) -> Result<(), String> {
        let Self { scene, stage, event, newest, .. } = self;
        let lapse = || stage.pass(TimeDelta::minutes(11));
        match after {
            After::SameRequest => {
                scene.deliver(stage, "victim", event).await?;
            }
            After::NewRequest => {
                stage.pass(LAPSED);
                if doing == Doing::OverlapNewer {
                    lapse();
                }
                scene.deliver(stage, "another", event).await?;
            }
            After::NewerUpload => {
                lapse();
                let claimed = record(stage, &newest.0).await;
                let has_asked =
                    claimed.is_some_and(|record| serde_json::to_string(&record).unwrap().contains("\"victim\""));
                let build = Files::from_iter(third().into_iter().chain([("app.2.js".to_owned(), b"again".to_vec())]));
                let newer = stage.upload("site.zip", &build);
                scene.deliver(stage, "newer", &newer).await?;
                stage.pass(TimeDelta::minutes(20));
                scene.deliver(stage, "victim", event).await?;
                // A replay that died before anyone heard of it is still to be done.
                if doing != Doing::Rollback || has_asked {
                    *newest = (newer, build);
                }
            }
            After::NewerRefused => {
                lapse();
                let broken = stage.upload_bytes("site.zip", b"no archive".to_vec());
                match scene.deliver(stage, "broken", &broken).await {
                    Err(error) if error.contains("ArchiveRejected") => {}
                    other => return Err(format!("the broken archive: {other:?}")),
                }
                scene.deliver(stage, "victim", event).await?;
            }
            After::ForeignWrite | After::ForeignDelete => {
                let keys = ["data.json", "index.html", "logo.svg", "app.2.js", "app.1.js"];
                // Another few of them each time.
                for (bit, key) in keys.into_iter().enumerate() {
                    if (n >> bit) & 1 == 0 {
                        continue;
                    }
                    if after == After::ForeignDelete {
                        stage.cloud.delete_object(LIVE, key);
                    } else {
                        let headers = Headers::of_type("text/plain");
                        stage.cloud.put_object(LIVE, key, "foreign", headers);
                    }
                }
                scene.ask_for_everything();
                scene.deliver(stage, "victim", event).await?;
                // A retry that comes too late repairs nothing; the event of what is live does.
                lapse();
                let newest = &newest.0;
                let repair = json!({"Records": newest["Records"], "options": {"replay": true}});
                scene.deliver(stage, "repair", &repair).await?;
            }
        }
        let (event, build) = &*newest;
        scene.has_settled(build, event, self.cache_control).await
    }
}

/// The record of the deployment that an event asks for.
async fn record(stage: &Stage, event: &Value) -> Option<Record> {
    let site = stage.site("judge").await;
    let wanted = &event["Records"][0]["s3"]["object"]["versionId"];
    let records = site.clients.ledger.started_by("victim").await.unwrap();
    records.filter(|record| record.version_id.as_deref() == wanted.as_str())
}

/// Dies before or after the n-th call, until there are no more: how often that was, and what went wrong.
async fn die_everywhere(doing: Doing, does: Does, after: After) -> (usize, Vec<String>) {
    let (mut points, mut wrong) = (0, Vec::new());
    let stride = stride(after);
    // They begin at different calls, since the later ones are the same for all.
    for n in (1 + doing as usize % stride..).step_by(stride) {
        let mut case = Case::run(doing, does.clone(), n, after).await;
        if !case.died {
            return (points, wrong);
        }
        points += 1;
        if let Err(error) = case.settle(doing, after, n).await {
            let calls = case.stage.cloud.calls();
            let last = calls.iter().rfind(|call| call.client == "victim");
            let call = last.map(|call| (call.operation.clone(), call.key.clone()));
            wrong.push(format!("{doing:?} {does:?} {n} {call:?}: {error}"));
        }
    }
    unreachable!("the range has no end");
}

async fn matrix(after: After, deaths: &[Does]) {
    let rows = DOINGS.into_iter().flat_map(|doing| deaths.iter().map(move |does| (doing, does.clone())));
    let results: Vec<(usize, Vec<String>)> = stream::iter(rows)
        .map(|(doing, does)| die_everywhere(doing, does, after))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let points: usize = results.iter().map(|(points, _)| points).sum();
    let wrong: Vec<String> = results.into_iter().flat_map(|(_, wrong)| wrong).collect();
    note(&format!("crash matrix {after:?}: {points} crash points tried"));
    let fewest = 100 / stride(after);
    assert!(points > fewest, "only {points} crash points");
    assert!(wrong.is_empty(), "{} of {points} crash points:\n{}", wrong.len(), wrong.join("\n"));
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
