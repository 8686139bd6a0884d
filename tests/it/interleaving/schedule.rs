//! One schedule: its builds, its handlers, and the order of their calls.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use dropship::handler::Handled;
use dropship::report::Outcome;
use fastrand::Rng;
use futures_util::FutureExt;
use futures_util::future::{AbortHandle, Abortable, LocalBoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use standins::{Does, Fault, Gate, Waiting};

use super::check::check;
use crate::build::Files;
use crate::stage::{DISTRIBUTION, Stage};

/// A handler that has not settled after this many attempts never will.
const MAX_ATTEMPTS: usize = 5;

const NAMES: [&str; 5] = ["a.html", "a.js", "b.css", "d/index.html", "index.html"];
const BODIES: [&str; 3] = ["0", "1", "22"];
const URLS: [&str; 6] = ["/", "/a.html", "/a.js", "/b.css", "/d/index.html", "/index.html"];

/// A build, and the event of its upload.
pub struct Build {
    pub files: Files,
    pub event: Value,
}

/// One request: an event under an id that its retries keep.
pub struct Handler {
    /// The index of the build that the event names.
    pub build: usize,
    event: Value,
    pub is_replay: bool,
    /// How many calls the others make before the handler is invoked.
    begins_at: u64,
    attempts: usize,
    is_settled: bool,
    /// Set during an attempt.
    abort: Option<AbortHandle>,
}

/// A handler's successful answer.
#[derive(Debug)]
pub struct Answer {
    pub build: usize,
    pub outcome: Outcome,
    pub run: u64,
}

/// The call at which a handler's process crashes, and whether that call still takes effect.
struct Crash {
    handler: usize,
    call: usize,
    does: Does,
}

/// An attempt of a handler, with the handler's number.
type Attempt = Abortable<LocalBoxFuture<'static, (usize, Handled)>>;

pub struct Schedule {
    rng: Rng,
    stage: Stage,
    builds: Vec<Build>,
    handlers: Vec<Handler>,
    crash: Option<Crash>,
    answers: Vec<Answer>,
    ran: Ran,
}

/// The work of a schedule, in numbers.
#[derive(Default)]
pub struct Ran {
    pub steps: u64,
    pub crashes: u64,
}

impl Handler {
    fn new(build: usize, event: Value, is_replay: bool) -> Self {
        Self { build, event, is_replay, begins_at: 0, attempts: 0, is_settled: false, abort: None }
    }

    /// Returns the label of the handler's calls; each attempt is a process of its own.
    fn client(&self, number: usize) -> String {
        format!("handler-{number}-attempt-{}", self.attempts)
    }
}

impl Schedule {
    pub async fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let stage = Stage::new().await;
        let mut builds: Vec<Build> = Vec::new();
        let has_base = rng.u8(..4) > 0;
        let uploads = if has_base { 3 } else { 2 } + usize::from(rng.u8(..3) == 0);
        for number in 0..uploads {
            let key = ["site.zip".to_owned(), format!("{number}.zip")];
            let files = random_files(&mut rng);
            let event = stage.upload(&key[rng.usize(..2)], &files);
            builds.push(Build { files, event });
        }
        if has_base {
            stage.deploy("base", &builds[0].event).await;
            stage.cloud.edge(DISTRIBUTION).warm_all(URLS);
        }
        let handlers = random_handlers(&mut rng, &builds, has_base);
        let crash = (rng.u8(..4) == 0).then(|| Crash {
            handler: rng.usize(..handlers.len()),
            call: rng.usize(1..40),
            does: if rng.bool() { Does::DieBefore } else { Does::DieAfter },
        });
        Self { rng, stage, builds, handlers, crash, answers: Vec::new(), ran: Ran::default() }
    }

    /// Runs the handlers until every one of them has had an answer, and checks the result.
    pub async fn run(mut self) -> Result<Ran, String> {
        let gate = self.stage.cloud.gate();
        let mut work = FuturesUnordered::new();
        loop {
            for number in 0..self.handlers.len() {
                if let Some(attempt) = self.start(number, work.is_empty())? {
                    work.push(attempt);
                }
            }
            if work.is_empty() {
                break;
            }
            let waiting = tokio::select! {
                biased;
                done = work.next() => {
                    if let Some(Ok((number, handled))) = done {
                        self.note_answer(number, &handled);
                    }
                    continue;
                }
                waiting = all_waiting(&gate, &self.handlers) => waiting,
            };
            if let Some(next) = choose(&mut self.rng, waiting) {
                let client = next.call.client.clone();
                gate.let_through(next.ticket).await;
                self.after_call(&client);
            }
        }
        drop(gate);
        check(&self.stage, &self.builds, &self.handlers, &self.answers).await?;
        Ok(self.ran)
    }

    /// Starts an attempt of a handler if it is due, or if nothing else is running.
    fn start(&mut self, number: usize, is_idle: bool) -> Result<Option<Attempt>, String> {
        let handler = &mut self.handlers[number];
        let is_due = handler.begins_at <= self.ran.steps || is_idle;
        if handler.is_settled || handler.abort.is_some() || !is_due {
            return Ok(None);
        }
        if handler.attempts == MAX_ATTEMPTS {
            return Err(format!("handler {number} has not settled"));
        }
        handler.attempts += 1;
        let client = handler.client(number);
        if let Some(Crash { handler: _, call, does }) = self.crash.take_if(|crash| crash.handler == number) {
            self.stage.cloud.fault(Fault { client: Some(client.clone()), first: call, ..Fault::any(does) });
        }
        let (abort, aborted) = AbortHandle::new_pair();
        handler.abort = Some(abort);
        let invocation = invoke(self.stage.clone(), client, number, handler.event.clone());
        Ok(Some(Abortable::new(invocation, aborted)))
    }

    /// Ends an attempt. A handler whose deployment failed is invoked again.
    fn note_answer(&mut self, number: usize, handled: &Handled) {
        let handler = &mut self.handlers[number];
        handler.abort = None;
        if let Some(Ok(report)) = handled.results().first() {
            handler.is_settled = true;
            self.answers.push(Answer { build: handler.build, outcome: report.outcome, run: report.run });
        }
    }

    /// Ends the process of a client whose call was its last, and lets viewers request something.
    fn after_call(&mut self, client: &str) {
        self.ran.steps += 1;
        let mut handlers = self.handlers.iter_mut().enumerate();
        let crashed =
            handlers.find(|(number, handler)| handler.client(*number) == client && self.stage.cloud.is_dead(client));
        if let Some((_, handler)) = crashed {
            handler.abort.take().inspect(AbortHandle::abort);
            // Lambda retries some time later.
            handler.begins_at = self.ran.steps + self.rng.u64(..60);
            self.ran.crashes += 1;
        }
        if self.rng.bool() {
            let url = URLS[self.rng.usize(..URLS.len())];
            self.stage.cloud.edge(DISTRIBUTION).get(url);
        }
    }
}

/// Returns a random build with at least one file, because an archive without files would be refused.
fn random_files(rng: &mut Rng) -> Files {
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

/// Returns one handler for every build that is not live yet, and often another one with a duplicate or a replay.
fn random_handlers(rng: &mut Rng, builds: &[Build], has_base: bool) -> Vec<Handler> {
    let new_builds = usize::from(has_base)..builds.len();
    let mut handlers: Vec<Handler> =
        new_builds.map(|build| Handler::new(build, builds[build].event.clone(), false)).collect();
    if handlers.len() < 3 && rng.u8(..3) > 0 {
        let build = rng.usize(..builds.len());
        let is_replay = rng.bool();
        let mut event = builds[build].event.clone();
        if is_replay {
            event["options"] = json!({"replay": true});
        }
        handlers.push(Handler::new(build, event, is_replay));
    }
    for handler in &mut handlers {
        // Most handlers meet; some come when the others are almost or entirely done.
        handler.begins_at = if rng.bool() { 0 } else { rng.u64(..120) };
    }
    rng.shuffle(&mut handlers);
    handlers
}

fn invoke(stage: Stage, client: String, number: usize, event: Value) -> LocalBoxFuture<'static, (usize, Handled)> {
    async move {
        let request_id = format!("request-{number}");
        let handled = stage.invoke_as(&client, &request_id, &event, TimeDelta::minutes(15));
        (number, handled.await)
    }
    .boxed_local()
}

/// Waits until every running handler waits at the gate, and returns their calls.
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
        // Crashed processes may have left calls behind.
        waiting.retain(|it| clients.contains(&it.call.client));
        // A handler makes some of its calls in parallel: wait until no more of them arrive.
        if waiting.len() == seen {
            return waiting;
        }
        seen = waiting.len();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Chooses a client, then one of its calls, so that the order in which the calls arrived does not matter.
fn choose(rng: &mut Rng, mut waiting: Vec<Waiting>) -> Option<Waiting> {
    let clients: BTreeSet<String> = waiting.iter().map(|it| it.call.client.clone()).collect();
    let client = rng.choice(clients)?;
    waiting.retain(|it| it.call.client == client);
    waiting.sort_by_key(|it| (it.call.operation.clone(), it.call.key.clone()));
    rng.choice(waiting)
}
