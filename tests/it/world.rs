//! A deterministic world around the function: AWS as it may behave, and people as they do.
//!
//! A seed determines a [`Plan`](plan::Plan): how AWS behaves, and who does what when. Time is virtual and jumps from one
//! event to the next, and everything that takes effect does so at a time of its own, so that a plan always takes the
//! same course. At the end everybody behaves, everything settles, and the promises must hold. A plan that fails is made
//! smaller and told in words.
//!
//! `DROPSHIP_WORLDS` sets the number of worlds, and `DROPSHIP_SEED` the first seed. With `DROPSHIP_STORIES=all` every
//! kind of failure is told, and with `DROPSHIP_CALLS=1` every call.

mod check;
mod contents;
mod edge;
mod history;
mod notifications;
mod people;
mod plan;
mod previews;
mod queue;
mod story;
mod watch;

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeZone, Utc};
use fastrand::Rng;
use futures_util::FutureExt as _;
use serde_json::json;
use standins::{Call, Cloud, Etags, Latencies, Latency, Versioning, VirtualClock};
use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc};
use tokio::task::{LocalSet, spawn_local};

use self::history::{History, Sent};
use self::plan::{Aws, Deed, Notification, Plan, Upload, What};
use self::queue::{Failed, Queue};
use crate::note::note;
use crate::stage::{LIVE, STAGING, TABLE};

/// The worlds of an ordinary test run. `.ci/run` asks for more.
const WORLDS: u64 = 100;

/// The name of the site in the ledger.
const SITE: &str = "site";

/// A world that has not settled after this time never will.
const PATIENCE: Duration = Duration::from_secs(60 * 24 * 3_600);

/// How often the failure queue is redriven at the end.
const ROUNDS: u64 = 3;

/// Kinds of failures that are known and not mended yet. It must be empty.
const KNOWN_RED: &[&str] = &[];

/// How many worlds have begun in this process.
static RUNS: AtomicU64 = AtomicU64::new(0);

/// The number of the upload that comes last, when everything has settled.
const LAST: u64 = 1_000_000;

/// A world on its course.
pub struct World {
    plan: Plan,
    start: DateTime<Utc>,
    clock: VirtualClock,
    cloud: Cloud,
    /// The function's environment.
    variables: RefCell<BTreeMap<String, String>>,
    /// The distributions of the site.
    distributions: RefCell<Vec<String>>,
    history: RefCell<History>,
    queue: RefCell<Queue>,
    /// Whether everyone behaves from now on.
    is_fair: Cell<bool>,
    visits: Cell<u64>,
    /// The upload and the run that the ledger said were live, when it was last written.
    seen_live: Cell<Option<(u64, u64)>>,
    /// Whether the story tells every call.
    tells_calls: bool,
    /// Deeds that are still to be done, and notifications on their way.
    deeds: Cell<usize>,
    changed: Notify,
}

/// The work of a world, in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ran {
    calls: u64,
    deaths: u64,
    seconds: u64,
    /// Everything that happened, for comparisons.
    log: Vec<String>,
}

/// A world that broke a promise.
struct Failure {
    /// The fault, without details, so that failures can be compared.
    kind: String,
    story: String,
}

impl World {
    async fn new(plan: Plan) -> Rc<Self> {
        let start = Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap();
        let clock = VirtualClock::starting_at(start);
        // The SDK's budget for retries is that of a region in this process.
        let region = format!("world-{}", RUNS.fetch_add(1, Ordering::Relaxed));
        let cloud = Cloud::in_process(clock.clone(), latencies(&plan), &region);
        cloud.create_bucket(STAGING, Versioning::On, Etags::Md5);
        let etags = if plan.aws.has_opaque_etags { Etags::Opaque } else { Etags::Md5 };
        cloud.create_bucket(LIVE, Versioning::Off, etags);
        cloud.create_table(TABLE);
        cloud.set_quota(plan.aws.quota);
        let distributions = edge::distributions(&plan);
        let variables = [
            ("STAGING_BUCKET", STAGING.to_owned()),
            ("LIVE_BUCKET", LIVE.to_owned()),
            ("TABLE_NAME", TABLE.to_owned()),
            ("SITE", SITE.to_owned()),
            ("PREVIEWS", "true".to_owned()),
            ("DISTRIBUTION_IDS", distributions.join(",")),
            ("S3_FORCE_PATH_STYLE", "true".to_owned()),
            ("RETAIN_REMOVED_DAYS", plan.aws.retain_days.to_string()),
            ("MAX_INVALIDATION_PATHS", plan.aws.max_items.to_string()),
            ("HISTORY_DAYS", plan.aws.history_days.to_string()),
        ];
        let world = Rc::new(Self {
            start,
            clock,
            cloud,
            variables: RefCell::new(variables.map(|(name, value)| (name.to_owned(), value)).into()),
            distributions: RefCell::new(distributions.clone()),
            history: RefCell::default(),
            queue: RefCell::default(),
            is_fair: Cell::new(false),
            visits: Cell::new(0),
            seen_live: Cell::new(None),
            tells_calls: std::env::var_os("DROPSHIP_CALLS").is_some(),
            deeds: Cell::new(plan.deeds.len()),
            changed: Notify::new(),
            plan,
        });
        for id in &distributions {
            world.create_distribution(id);
        }
        world.visit_everything();
        let (seen, calls) = mpsc::unbounded_channel::<Call>();
        world.cloud.hand_over_calls(Arc::new(move |call| {
            if call.status.is_some() {
                // The watcher lives as long as the world.
                let _ = seen.send(call.clone());
            }
        }));
        let watcher = world.clone();
        world.spawn(async move { watcher.watch(calls).await });
        world
    }

    /// Takes its course, and checks at the end.
    async fn run(self: &Rc<Self>) -> Result<(), String> {
        for deed in self.plan.deeds.clone() {
            let world = self.clone();
            self.spawn(async move {
                people::perform(world.clone(), deed).await;
                world.visit_everything();
                world.done();
            });
        }
        self.rest().await;
        self.become_fair();
        self.redrive_all(LAST).await;
        // The lease of an invocation that died has lapsed by the time of the daily sweep.
        self.clock.turn_in(Duration::from_secs(3_600), 0).await;
        self.sweep(LAST).await;
        self.settle_caches().await;
        self.check_settled().await?;
        self.check_previews()?;
        self.check_tombstones().await?;
        // The next deployment puts right what unkind people did.
        self.deploy_last().await;
        self.check_last().await?;
        self.check_previews()
    }

    /// Notes that a deed is done, or a notification sent.
    fn done(&self) {
        self.deeds.set(self.deeds.get() - 1);
        self.changed.notify_waiters();
    }

    /// Ends all harm: faults, throttles, and settings that no build can be deployed with.
    fn become_fair(&self) {
        self.tell("from here on, everyone behaves".to_owned());
        self.is_fair.set(true);
        self.cloud.clear_faults();
        self.queue().throttled_until = None;
        self.set("ARCHIVE_ROOT", "");
        self.set("MAX_ENTRIES", "");
    }

    /// Redrives what is in the failure queue, some times over, except what was refused meanwhile.
    async fn redrive_all(self: &Rc<Self>, number: u64) {
        for round in 0..ROUNDS {
            let refused = self.take_refused(round > 0);
            let is_empty = self.queue().failed.is_empty();
            if !is_empty {
                people::redrive(self, number + round, 1);
                self.rest().await;
            }
            self.queue().failed.extend(refused);
        }
    }

    /// Takes the events out of the failure queue that were refused for what they say, if this round looks at that.
    fn take_refused(&self, looks: bool) -> Vec<Failed> {
        let failed = std::mem::take(&mut self.queue().failed);
        let is_refused = |failed: &Failed| looks && self.history().is_refused(&failed.request);
        let (refused, others) = failed.into_iter().partition(is_refused);
        self.queue().failed = others;
        refused
    }

    async fn sweep(self: &Rc<Self>, number: u64) {
        self.send(format!("{number}-sweep"), json!({"sweep": true}), Sent::Sweep);
        self.rest().await;
    }

    /// Waits until every invalidation has spread and every answer has arrived.
    async fn settle_caches(&self) {
        self.clock.turn_in(Duration::from_secs(300), 0).await;
    }

    /// CI uploads once more.
    async fn deploy_last(self: &Rc<Self>) {
        self.visit_everything();
        let mut build = contents::Build::random(&mut self.plan.salt(LAST, 3), false);
        build.files.insert("index.html", "last");
        let notifications = vec![Notification { delay: 500, is_from_event_bridge: false }];
        let upload = Upload { build, key: "uploads/site.zip", initiated_before: 0, notifications };
        let at = (self.now() - self.start).num_milliseconds() as u64 + 5_000;
        let deed = Deed { number: LAST, at, what: What::Upload(upload) };
        people::perform(self.clone(), deed).await;
        self.clock.turn_in(Duration::from_secs(1), 0).await;
        self.rest().await;
        self.redrive_all(LAST + 10).await;
        self.settle_caches().await;
    }

    /// Waits until every deed is done and every event has been answered or is in the failure queue.
    async fn rest(&self) {
        loop {
            let changed = self.changed.notified();
            if self.deeds.get() == 0 && self.queue().pending == 0 {
                return;
            }
            changed.await;
        }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    fn history(&self) -> RefMut<'_, History> {
        self.history.borrow_mut()
    }

    fn queue(&self) -> RefMut<'_, Queue> {
        self.queue.borrow_mut()
    }

    fn tell(&self, what: String) {
        let now = self.now();
        self.history().story.push((now, what));
    }

    fn wrong(&self, what: String) {
        self.tell(format!("WRONG: {what}"));
        self.history().wrong.push(what);
    }

    /// Runs a task of this world, whose panic is a failure.
    fn spawn(self: &Rc<Self>, task: impl Future<Output = ()> + 'static) {
        let world = self.clone();
        spawn_local(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                world.wrong(format!("panic: {}", text.unwrap_or_default()));
            }
        });
    }

    /// Returns random numbers that a request's name determines.
    fn draw(&self, request: &str, what: u64) -> Rng {
        Rng::with_seed(self.plan.seed ^ hash(&(request, what)))
    }

    fn chance(&self, request: &str, what: u64, every: u64) -> bool {
        every > 0 && self.draw(request, what).u64(..every) == 0
    }

    fn order(&self, request: &str, copy: u64) -> u64 {
        hash(&(request, copy))
    }
}

fn hash(value: &impl Hash) -> u64 {
    // The hasher's keys are fixed, so that a seed means the same in every process.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns the latencies of a plan's network: each call has its own, which no other call influences.
fn latencies(plan: &Plan) -> Latencies {
    let (seed, longest, slow_every) = (plan.seed, plan.aws.latency_ms, plan.aws.slow_every);
    Arc::new(move |_, number| {
        let mut draws = Rng::with_seed(seed ^ number);
        let is_slow = slow_every > 0 && draws.u64(..slow_every) == 0;
        let mut one = || Duration::from_millis(draws.u64(1..=if is_slow { 20_000 } else { longest }));
        Latency { there: one(), back: one() }
    })
}

/// Runs one world in a runtime of its own.
fn run_world(plan: &Plan) -> Result<Ran, Failure> {
    fastrand::seed(plan.seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let world = World::new(plan.clone()).await;
        let result = match AssertUnwindSafe(tokio::time::timeout(PATIENCE, world.run())).catch_unwind().await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("never settles".to_owned()),
            Err(_) => Err("panic in a check".to_owned()),
        };
        let seconds = (world.now() - world.start).num_seconds() as u64;
        let history = world.history();
        let wrong = history.wrong.first().cloned().map_or(result, Err);
        let log: Vec<String> =
            history.story.iter().map(|(at, what)| format!("{} {what}", at.format("%d. %H:%M:%S%.3f"))).collect();
        match wrong {
            Ok(()) => Ok(Ran { calls: world.cloud.latest_sequence() as u64, deaths: history.deaths, seconds, log }),
            Err(kind) => Err(Failure { story: format!("{}\n{}", world.plan.aws.story(), log.join("\n")), kind }),
        }
    })
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {value:?}")),
        Err(_) => default,
    }
}

/// Returns what a failure is about, without its names and numbers.
fn kind(failure: &Failure) -> &str {
    failure.kind.split(':').next().unwrap_or_default()
}

#[test]
fn in_every_world_the_promises_hold_once_everything_has_settled() {
    let first = number_from_environment("DROPSHIP_SEED", 0);
    let worlds = number_from_environment("DROPSHIP_WORLDS", WORLDS);
    let next = AtomicU64::new(first);
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = || {
        let (mut total, mut failures) = (Ran::default(), Vec::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + worlds {
                return (total, failures);
            }
            match run_world(&Plan::new(seed)) {
                Ok(ran) => {
                    total.calls += ran.calls;
                    total.deaths += ran.deaths;
                    total.seconds += ran.seconds;
                }
                Err(failure) => failures.push((seed, failure)),
            }
        }
    };
    let results: Vec<(Ran, Vec<(u64, Failure)>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().expect("panics of worlds are caught")).collect()
    });
    let sum = |of: fn(&Ran) -> u64| results.iter().map(|(ran, _)| of(ran)).sum::<u64>();
    note(&format!(
        "world: {worlds} worlds, {} calls, {} deaths, {} hours of virtual time, in {:.0?}",
        sum(|ran| ran.calls),
        sum(|ran| ran.deaths),
        sum(|ran| ran.seconds) / 3_600,
        began.elapsed()
    ));
    let failures: Vec<&(u64, Failure)> = results.iter().flat_map(|(_, failures)| failures).collect();
    let mut seeds_by_kind = BTreeMap::<&str, Vec<u64>>::new();
    for (seed, failure) in &failures {
        seeds_by_kind.entry(kind(failure)).or_default().push(*seed);
    }
    for (kind, seeds) in &seeds_by_kind {
        let known = if KNOWN_RED.contains(kind) { " (known)" } else { "" };
        note(&format!("world: {} fail by {kind:?}{known}: {:?}", seeds.len(), &seeds[..seeds.len().min(12)]));
    }
    if std::env::var("DROPSHIP_STORIES").as_deref() == Ok("all") {
        for seeds in seeds_by_kind.values() {
            note(&story_of(seeds[0]));
        }
    }
    let unknown = failures.iter().filter(|(_, failure)| !KNOWN_RED.contains(&kind(failure)));
    let Some((seed, _)) = unknown.min_by_key(|(seed, _)| *seed) else { return };
    panic!("{}", story_of(*seed));
}

/// Tells why a seed fails, by the smallest story that fails in the same way.
fn story_of(seed: u64) -> String {
    let plan = Plan::new(seed);
    let Err(failure) = run_world(&plan) else { return format!("seed {seed} has no failure") };
    let smallest = story::shrink(plan, |plan| run_world(plan).is_err_and(|smaller| kind(&smaller) == kind(&failure)));
    let smallest = run_world(&smallest).err().unwrap_or(failure);
    format!("DROPSHIP_WORLDS=1 DROPSHIP_SEED={seed}: {}\n{}", smallest.kind, smallest.story)
}

#[test]
fn without_what_is_assumed_about_invalidations_pages_stay_stale() {
    let assumptions: [fn(&mut Aws); 2] = [|aws| aws.voids_fetches = false, |aws| aws.is_regional_first = false];
    for assumption in assumptions {
        let is_stale = |seed| {
            let mut plan = Plan::new(seed);
            plan.aws.spread_seconds = 60;
            let failure_with = |plan: &Plan| run_world(plan).err().map(|failure| kind(&failure).to_owned());
            let before = failure_with(&plan);
            assumption(&mut plan.aws);
            before.is_none() && failure_with(&plan).is_some_and(|kind| kind.starts_with("stale"))
        };
        assert!((0..200).any(is_stale), "no world needs the assumption");
    }
}

#[test]
fn a_seed_always_takes_the_same_course() {
    for seed in 0..8 {
        let plan = Plan::new(seed);
        let course = || match run_world(&plan) {
            Ok(ran) => ran.log,
            Err(failure) => failure.story.lines().map(str::to_owned).collect(),
        };
        let (first, second) = (course(), course());
        let differs = first.iter().zip(&second).position(|(first, second)| first != second);
        let around = |log: &[String]| differs.map(|at| log[at.saturating_sub(3)..=at].join("\n"));
        assert_eq!(around(&first), around(&second), "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}
