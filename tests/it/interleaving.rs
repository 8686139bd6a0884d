//! Handlers that meet on one site, under schedules that let one of their calls through at a time.
//!
//! A schedule is a seed. From it come the builds, who is told of which and when, who dies where, what
//! viewers ask for in between, and which waiting call goes next. `DROPSHIP_SCHEDULES` says how many are run,
//! `DROPSHIP_SEED` which is the first: with 1 and the seed of a failure, that failure is run again.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use dropship::deployment::DeploymentId;
use dropship::handler::Handled;
use dropship::report::Outcome;
use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use standins::{Does, Fault, Gate, Waiting};

use crate::build::Files;
use crate::note::note;
use crate::stage::{DISTRIBUTION, Stage};

const SCHEDULES: u64 = 1_000;

/// So many accounts at once on each thread: while one of them waits, another computes.
const ACCOUNTS_AT_ONCE: usize = 4;

/// A handler that has not settled after so many attempts never will.
const MOST_ATTEMPTS: usize = 5;

/// A schedule that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

const NAMES: [&str; 5] = ["a.html", "a.js", "b.css", "d/index.html", "index.html"];
const BODIES: [&str; 3] = ["0", "1", "22"];
const URLS: [&str; 6] = ["/", "/a.html", "/a.js", "/b.css", "/d/index.html", "/index.html"];

#[test]
fn under_every_schedule_the_newest_upload_wins_and_no_page_is_stale() {
    let number = |name: &str, default: u64| match std::env::var(name) {
        Ok(value) => value.parse().expect("it is a number"),
        Err(_) => default,
    };
    let first = number("DROPSHIP_SEED", 0);
    let schedules = number("DROPSHIP_SCHEDULES", SCHEDULES);
    let (next, steps, deaths) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let began = std::time::Instant::now();
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
        let seeds = std::iter::from_fn(|| {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            (seed < schedules).then_some(first + seed)
        });
        let failures = stream::iter(seeds)
            .map(async |seed| {
                let run = tokio::time::timeout(PATIENCE, schedule(seed));
                let failure = match AssertUnwindSafe(run).catch_unwind().await {
                    Ok(Ok(Ok(ran))) => {
                        steps.fetch_add(ran.steps, Ordering::Relaxed);
                        deaths.fetch_add(ran.deaths, Ordering::Relaxed);
                        return None;
                    }
                    Ok(Ok(Err(failure))) => failure,
                    Ok(Err(_)) => format!("not settled after {PATIENCE:?}"),
                    Err(_) => "panicked".to_owned(),
                };
                Some(format!("DROPSHIP_SCHEDULES=1 DROPSHIP_SEED={seed}: {failure}"))
            })
            .buffer_unordered(ACCOUNTS_AT_ONCE)
            .filter_map(async |failure| failure);
        runtime.block_on(failures.collect::<Vec<String>>())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let failures = threads.into_iter();
        failures.flat_map(|thread| thread.join().expect("failures are caught before")).collect()
    });
    note(&format!(
        "interleaving: {schedules} schedules, {} calls one by one, {} deaths, in {:?}",
        steps.into_inner(),
        deaths.into_inner(),
        began.elapsed()
    ));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What came of a schedule.
struct Ran {
    steps: u64,
    deaths: u64,
}

/// A build, and the event of its upload.
struct Build {
    files: Files,
    event: Value,
}

/// One request: an event under an id that its retries keep.
struct Handler {
    /// Which build it is about.
    build: usize,
    event: Value,
    is_replay: bool,
    /// How many steps others have made before it is invoked.
    begins_at: u64,
    attempts: usize,
    is_settled: bool,
    /// While it is at work.
    abort: Option<AbortHandle>,
}

/// The call at which a handler dies, and whether that call still takes effect.
struct Death {
    handler: usize,
    call: usize,
    does: Does,
}

impl Handler {
    /// The label of its calls; each attempt is a process of its own.
    fn client(&self, number: usize) -> String {
        format!("handler-{number}-attempt-{}", self.attempts)
    }
}

async fn schedule(seed: u64) -> Result<Ran, String> {
    let mut rng = Rng::with_seed(seed);
    let stage = Stage::new().await;
    let mut builds: Vec<Build> = Vec::new();
    let has_base = rng.u8(..4) > 0;
    let uploads = if has_base { 3 } else { 2 } + usize::from(rng.u8(..3) == 0);
    for number in 0..uploads {
        let key = ["site.zip".to_owned(), format!("{number}.zip")];
        let files = files(&mut rng);
        let event = stage.upload(&key[rng.usize(..2)], &files);
        builds.push(Build { files, event });
    }
    if has_base {
        stage.deploy("base", &builds[0].event).await;
        stage.cloud.edge(DISTRIBUTION).warm_all(URLS);
    }
    let mut handlers = handlers(&mut rng, &builds, has_base);
    let mut death = (rng.u8(..4) == 0).then(|| Death {
        handler: rng.usize(..handlers.len()),
        call: rng.usize(1..40),
        does: if rng.bool() { Does::DieBefore } else { Does::DieAfter },
    });
    let mut ran = Ran { steps: 0, deaths: 0 };
    let mut reports: Vec<(usize, Outcome, u64)> = Vec::new();

    let gate = stage.cloud.gate();
    let mut work = FuturesUnordered::new();
    loop {
        for (number, handler) in handlers.iter_mut().enumerate() {
            let is_due = handler.begins_at <= ran.steps || work.is_empty();
            if handler.is_settled || handler.abort.is_some() || !is_due {
                continue;
            }
            if handler.attempts == MOST_ATTEMPTS {
                return Err(format!("handler {number} has not settled"));
            }
            handler.attempts += 1;
            let client = handler.client(number);
            if let Some(Death { handler: _, call, does }) = death.take_if(|death| death.handler == number) {
                stage.cloud.fault(Fault { client: Some(client.clone()), first: call, ..Fault::any(does) });
            }
            let (abort, aborted) = AbortHandle::new_pair();
            handler.abort = Some(abort);
            let invocation = invoke(stage.clone(), client, number, handler.event.clone());
            work.push(Abortable::new(invocation, aborted));
        }
        if work.is_empty() {
            break;
        }
        let waiting = tokio::select! {
            biased;
            done = work.next() => {
                if let Some(Ok((number, handled))) = done {
                    let handler = &mut handlers[number];
                    handler.abort = None;
                    let results = handled.results().first();
                    if let Some(Ok(report)) = results {
                        handler.is_settled = true;
                        reports.push((handler.build, report.outcome, report.run));
                    }
                }
                continue;
            }
            waiting = all_waiting(&gate, &handlers) => waiting,
        };
        let Some(next) = choose(&mut rng, waiting) else {
            continue;
        };
        let client = next.call.client.clone();
        gate.let_through(next.ticket).await;
        ran.steps += 1;
        let killed = handlers
            .iter_mut()
            .enumerate()
            .find(|(number, handler)| handler.client(*number) == client && stage.cloud.is_dead(&client));
        if let Some((_, handler)) = killed {
            handler.abort.take().inspect(AbortHandle::abort);
            // Lambda tries again a while later.
            handler.begins_at = ran.steps + rng.u64(..60);
            ran.deaths += 1;
        }
        if rng.bool() {
            let url = URLS[rng.usize(..URLS.len())];
            stage.cloud.edge(DISTRIBUTION).get(url);
        }
    }
    drop(gate);
    check(&stage, &builds, &handlers, &reports).await?;
    Ok(ran)
}

/// A random build; an archive without a file would be refused.
fn files(rng: &mut Rng) -> Files {
    let mut files = Files::new();
    while files.is_empty() {
        for name in NAMES {
            if rng.bool() {
                let body = BODIES[rng.usize(..BODIES.len())];
                files.insert(name.to_owned(), body.as_bytes().to_vec());
            }
        }
    }
    files
}

/// One handler for every build but the one that is live, and often one more: a duplicate or a replay.
fn handlers(rng: &mut Rng, builds: &[Build], has_base: bool) -> Vec<Handler> {
    let told = usize::from(has_base)..builds.len();
    let mut handlers: Vec<Handler> = told
        .map(|build| Handler {
            build,
            event: builds[build].event.clone(),
            is_replay: false,
            begins_at: 0,
            attempts: 0,
            is_settled: false,
            abort: None,
        })
        .collect();
    if handlers.len() < 3 && rng.u8(..3) > 0 {
        let build = rng.usize(..builds.len());
        let is_replay = rng.bool();
        let mut event = builds[build].event.clone();
        if is_replay {
            event["options"] = json!({"replay": true});
        }
        handlers.push(Handler { build, event, is_replay, begins_at: 0, attempts: 0, is_settled: false, abort: None });
    }
    for handler in &mut handlers {
        // Most meet; some come when the others are nearly through, or behind them.
        handler.begins_at = if rng.bool() { 0 } else { rng.u64(..120) };
    }
    rng.shuffle(&mut handlers);
    handlers
}

fn invoke(stage: Stage, client: String, number: usize, event: Value) -> LocalBoxFuture<'static, (usize, Handled)> {
    async move {
        let request = format!("request-{number}");
        let handled = stage.invoke_as(&client, &request, &event, TimeDelta::minutes(15));
        (number, handled.await)
    }
    .boxed_local()
}

/// Waits until everybody at work is in front of the gate, and gives their calls.
async fn all_waiting(gate: &Gate, handlers: &[Handler]) -> Vec<Waiting> {
    let clients: BTreeSet<String> = handlers
        .iter()
        .enumerate()
        .filter(|(_, handler)| handler.abort.is_some())
        .map(|(number, handler)| handler.client(number))
        .collect();
    let mut seen = 0;
    loop {
        let mut waiting = gate
            .wait_until(|waiting| clients.iter().all(|client| waiting.iter().any(|it| it.call.client == *client)))
            .await;
        // The dead may have left calls behind.
        waiting.retain(|it| clients.contains(&it.call.client));
        // A handler makes some of its calls side by side: the others of them are on their way.
        if waiting.len() == seen {
            return waiting;
        }
        seen = waiting.len();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Chooses first who goes on, then with which call: the order of arrival has no say in it.
fn choose(rng: &mut Rng, mut waiting: Vec<Waiting>) -> Option<Waiting> {
    let clients: BTreeSet<String> = waiting.iter().map(|it| it.call.client.clone()).collect();
    let client = rng.choice(clients)?;
    waiting.retain(|it| it.call.client == client);
    waiting.sort_by(|a, b| {
        let name = |it: &Waiting| (it.call.operation.clone(), it.call.key.clone());
        name(a).cmp(&name(b))
    });
    rng.choice(waiting)
}

/// Everybody has had an answer: what must be true now.
///
/// The live build is the one whose run has the highest number of those that reached their end. Without a
/// replay that is the newest upload. With one, it is the newest upload or the replayed one, whichever took
/// the site later.
async fn check(
    stage: &Stage,
    builds: &[Build],
    handlers: &[Handler],
    reports: &[(usize, Outcome, u64)],
) -> Result<(), String> {
    let story = || format!("{reports:?}");
    let site = stage.site("check").await;
    let ledger = &site.clients.ledger;
    let head = ledger.head().await.map_err(|error| error.to_string())?;
    let is_end = |outcome: Outcome| matches!(outcome, Outcome::Deployed | Outcome::Unchanged | Outcome::RolledBack);
    let last = reports.iter().filter(|(_, outcome, _)| is_end(*outcome)).max_by_key(|(.., run)| *run);
    let newest = builds.len() - 1;
    let live = last.map_or(newest, |(build, ..)| *build);
    let replayed = handlers.iter().find(|handler| handler.is_replay);
    let is_replayed = replayed.is_some_and(|handler| handler.build == live);
    if live != newest && !is_replayed {
        return Err(format!("build {live} went live last: {}", story()));
    }
    if let Some(handler) = replayed
        && live == newest
        && let Some((.., replay)) =
            reports.iter().find(|(build, outcome, _)| *build == handler.build && *outcome == Outcome::RolledBack)
        && last.is_some_and(|(.., run)| run < replay)
    {
        return Err(format!("the replay did not last: {}", story()));
    }
    let objects = stage.cloud.objects("live");
    let bodies: Files = objects.iter().map(|(key, object)| (key.clone(), object.body.to_vec())).collect();
    if bodies != builds[live].files {
        return Err(format!(
            "live is {:?} and not build {live}, {:?}: {}",
            bodies.keys(),
            builds[live].files.keys(),
            story()
        ));
    }
    let recorded = head.live.as_ref().map(|run| &run.deployment);
    if recorded != Some(&deployment(&builds[live].event)) {
        return Err(format!("the ledger says that {recorded:?} is live"));
    }
    if head.lease.is_some() || head.unfinished.is_some() {
        return Err(format!("something is left open: {head:?}"));
    }
    let owed = ledger.owed().await.map_err(|error| error.to_string())?;
    if !owed.is_empty() {
        return Err(format!("still owed: {owed:?}"));
    }
    let stale = stage.cloud.edge(DISTRIBUTION).stale();
    if !stale.is_empty() {
        return Err(format!("{stale:?} are stale: {}", story()));
    }
    let references: Vec<String> =
        stage.cloud.invalidations(DISTRIBUTION).into_iter().map(|it| it.caller_reference).collect();
    if references.iter().collect::<BTreeSet<_>>().len() < references.len() {
        return Err(format!("a reference was accepted twice: {references:?}"));
    }
    Ok(())
}

/// The id that the event of one upload stands for.
fn deployment(event: &Value) -> DeploymentId {
    use dropship::event::Event;
    match Event::parse(event, crate::stage::STAGING) {
        Ok(Event::Uploads { uploads, .. }) => {
            let uploaded_at = uploads[0].uploaded_at.expect("the event says when");
            DeploymentId::of(&uploads[0], uploaded_at)
        }
        other => panic!("the event of one upload: {other:?}"),
    }
}
