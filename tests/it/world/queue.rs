//! Lambda's queue of asynchronous events, the function's invocations, and the queue of events that failed.

use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dropship::aws::Clients;
use dropship::config::Config;
use dropship::deploy::{Invocation, Site};
use dropship::handler::handle;
use dropship::report::Progress;
use serde_json::{Value, json};
use standins::{Does, Fault};

use super::World;
use super::history::{Answer, Outcome, Request, Sent};

/// Lambda retries an event twice, after one and after two minutes.
const RETRIES: [u64; 2] = [60, 120];

/// Lambda keeps a throttled event this long.
const MAX_AGE: TimeDelta = TimeDelta::hours(6);

/// Lambda retries a throttled event with growing pauses up to five minutes.
const LONGEST_THROTTLE_PAUSE: Duration = Duration::from_secs(300);

/// The function's instances and its failed events.
#[derive(Default)]
pub struct Queue {
    pub failed: Vec<Failed>,
    /// Events that are neither answered nor in the failure queue.
    pub pending: usize,
    pub running: usize,
    pub throttled_until: Option<DateTime<Utc>>,
    instances: u64,
    /// How often the settings have changed.
    settings: u64,
    /// Instances that may take another event.
    warm: Vec<Instance>,
    /// The request that each instance works on, and since when.
    pub at_work: Vec<(String, String, DateTime<Utc>)>,
}

/// An event in the failure queue.
#[derive(Clone)]
pub struct Failed {
    pub request: String,
    pub record: Value,
    pub sent: Sent,
}

struct Instance {
    name: String,
    site: Site,
    /// How often the settings had changed when it started.
    settings: u64,
}

/// How an invocation ended.
enum Ended {
    Answered,
    Failed,
    /// It died, or was killed at its deadline.
    Killed,
}

impl World {
    /// Sends an event to the function's queue.
    pub fn send(self: &Rc<Self>, request: String, event: Value, sent: Sent) {
        self.tell(format!("{sent} is sent as request {request}"));
        let times = ["/Records/0/eventTime", "/time"].map(|time| [time.to_owned(), format!("/requestPayload{time}")]);
        let is_timed = times.as_flattened().iter().any(|time| event.pointer(time).is_some());
        let sent_as = Request { id: request.clone(), sent: sent.clone(), is_timed, invoked_at: None };
        self.history().requests.push(sent_as);
        let copies = if self.chance(&request, 1, self.plan.aws.doubles_every) { 2 } else { 1 };
        for copy in 0..copies {
            self.queue().pending += 1;
            let (world, request, event, sent) = (self.clone(), request.clone(), event.clone(), sent.clone());
            self.spawn(async move {
                if copy > 0 {
                    let delay = Duration::from_millis(world.draw(&request, 2).u64(..90_000));
                    world.tell(format!("request {request} is delivered a second time in {delay:?}"));
                    world.clock.turn_in(delay, world.order(&request, copy)).await;
                }
                world.deliver(&request, copy, &event, &sent).await;
                world.queue().pending -= 1;
                world.changed.notify_waiters();
            });
        }
    }

    /// Invokes the function until it answers or its retries are spent.
    async fn deliver(self: &Rc<Self>, request: &str, copy: u64, event: &Value, sent: &Sent) {
        let queued_at = self.now();
        let mut attempt = 0;
        loop {
            if !self.admitted(request, copy, queued_at).await {
                return self.give_up(request, event, sent, "EventAgeExceeded");
            }
            let ended = self.invoke(request, copy, attempt, event).await;
            self.queue().running -= 1;
            if matches!(ended, Ended::Answered) {
                return;
            }
            let Some(pause) = RETRIES.get(attempt as usize) else {
                return self.give_up(request, event, sent, "RetriesExhausted");
            };
            attempt += 1;
            self.clock.turn_in(Duration::from_secs(*pause), self.order(request, copy)).await;
        }
    }

    /// Waits until the function may be invoked, and returns whether that was before the event was too old.
    async fn admitted(&self, request: &str, copy: u64, queued_at: DateTime<Utc>) -> bool {
        let mut pause = Duration::from_secs(1);
        loop {
            let now = self.now();
            {
                let mut queue = self.queue();
                let is_throttled = queue.throttled_until.is_some_and(|until| until > now);
                if !is_throttled && queue.running < self.plan.aws.concurrency {
                    queue.running += 1;
                    return true;
                }
            }
            if now - queued_at > MAX_AGE {
                return false;
            }
            self.clock.turn_in(pause, self.order(request, copy)).await;
            pause = (pause * 2).min(LONGEST_THROTTLE_PAUSE);
        }
    }

    fn give_up(&self, request: &str, event: &Value, sent: &Sent, condition: &str) {
        self.tell(format!("request {request} goes to the failure queue ({condition})"));
        let record = json!({
            "version": "1.0",
            "requestContext": {"requestId": request, "condition": condition},
            "requestPayload": event,
        });
        self.queue().failed.push(Failed { request: request.to_owned(), record, sent: sent.clone() });
    }

    /// Invokes the function once.
    async fn invoke(&self, request: &str, copy: u64, attempt: u64, event: &Value) -> Ended {
        let began = self.now();
        let deadline = began + TimeDelta::seconds(self.plan.aws.timeout_seconds);
        let mut draws = self.draw(request, 10 + copy * 10 + attempt);
        let is_fair = self.is_fair.get();
        let dies = !is_fair && self.plan.aws.deaths_every > 0 && draws.u64(..self.plan.aws.deaths_every) == 0;
        let instance = self.instance(dies).await;
        if let Some(request) = self.history().requests.iter_mut().find(|it| it.id == request) {
            request.invoked_at.get_or_insert(began);
        }
        self.tell(format!("{} begins request {request}, attempt {}", instance.name, attempt + 1));
        if dies {
            let does = if draws.bool() { Does::DieBefore } else { Does::DieAfter };
            let client = Some(instance.name.clone());
            self.cloud.fault(Fault { client, first: draws.usize(1..45), ..Fault::any(does) });
        }
        self.queue().at_work.push((instance.name.clone(), request.to_owned(), began));
        self.note_work(&instance.name, request);
        let progress = Progress::default();
        let clock = self.clock.clone();
        let invocation = Invocation {
            request_id: request,
            deadline,
            clock: &|| clock.now(),
            progress: &progress,
            pause: Duration::from_secs(self.plan.aws.pause_seconds),
            waits: true,
        };
        let handled = tokio::select! {
            biased;
            () = self.cloud.death(&instance.name) => None,
            () = self.clock.turn(deadline, self.order(request, copy)) => None,
            handled = Box::pin(handle(&instance.site, event, &invocation)) => Some(handled),
        };
        // A call that killed its instance is in no log.
        self.watch_head(Some(&instance.name)).await;
        self.queue().at_work.retain(|(name, ..)| *name != instance.name);
        let Some(handled) = handled else {
            self.tell(format!("{} dies", instance.name));
            self.history().deaths += 1;
            // Calls that have left the instance may still take effect.
            if draws.bool() {
                self.cloud.revive(&instance.name);
            } else {
                self.cloud.kill(&instance.name);
            }
            return Ended::Killed;
        };
        let result = match handled.into_answer() {
            Ok(answer) => {
                self.note_previews(&answer);
                Ok(answer.deployments.iter().map(Outcome::of).collect::<Vec<_>>())
            }
            Err(failure) => Err((failure.error_type, failure.error_message)),
        };
        self.tell(match &result {
            Ok(outcomes) => format!("{} answers request {request}: {}", instance.name, words(outcomes)),
            Err((kind, message)) => format!("{} fails at request {request}: {kind}: {message}", instance.name),
        });
        let ended = if result.is_ok() { Ended::Answered } else { Ended::Failed };
        let answer = Answer { at: self.now(), request: request.to_owned(), began, result };
        self.check_answer(&answer);
        self.history().answers.push(answer);
        if !dies && instance.settings == self.queue().settings {
            self.queue().warm.push(instance);
        }
        ended
    }

    /// Returns a warm instance, or starts one.
    async fn instance(&self, is_cold: bool) -> Instance {
        let warm = if is_cold { None } else { self.queue().warm.pop() };
        if let Some(instance) = warm {
            return instance;
        }
        let (number, settings) = {
            let mut queue = self.queue();
            queue.instances += 1;
            (queue.instances, queue.settings)
        };
        let name = format!("instance-{number}");
        let variables = self.variables.borrow().clone();
        let config = Config::from_variables(|name| variables.get(name).cloned()).expect("the settings are valid");
        let connectors = [self.cloud.connector(), self.cloud.connector()];
        let clients = Clients::over(connectors, &self.cloud.sdk_config_for(&name).await, &config);
        Instance { name, site: Site { config, clients }, settings }
    }

    /// Ends all warm instances, as a change of the settings does. Those at work take no other event.
    pub fn restart(&self) {
        let mut queue = self.queue();
        queue.warm.clear();
        queue.settings += 1;
    }

    /// Stops the function, and waits until nothing runs any more, as careful people do.
    pub async fn stop(&self, order: u64) {
        self.queue().throttled_until = Some(DateTime::<Utc>::MAX_UTC);
        while self.queue().running > 0 {
            self.clock.turn_in(Duration::from_secs(60), order).await;
        }
    }
}

impl Outcome {
    fn of(report: &dropship::report::Report) -> Self {
        let value = serde_json::to_value(report).expect("a report is JSON");
        Self {
            of_preview: report.preview.is_some(),
            id: value["id"].as_str().map(str::to_owned),
            run: report.run,
            outcome: value["outcome"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

fn words(outcomes: &[Outcome]) -> String {
    let outcomes = outcomes.iter().map(|it| match &it.id {
        Some(id) => format!("{} ({id}, run {})", it.outcome, it.run),
        None => it.outcome.clone(),
    });
    outcomes.collect::<Vec<_>>().join(", ")
}
