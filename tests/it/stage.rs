//! A site on the stand-ins for AWS, with a clock that tests set.

pub mod interruption;
pub mod observe;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use dropship::aws::Clients;
use dropship::config::Config;
use dropship::deploy::{Invocation, Site};
use dropship::handler::{Handled, handle};
use dropship::report::{Progress, Report};
use serde_json::{Value, json};
use standins::{
    CLIENT, Call, Cloud, Distribution, Etags, Headers, Latency, Object, Quota, Versioning, VirtualClock, Waiting,
};

use crate::build::{Files, zipped};
use crate::policy;

pub const STAGING: &str = "staging";

pub const LIVE: &str = "live";

pub const TABLE: &str = "ledger";

pub const DISTRIBUTION: &str = "E1EXAMPLE";

/// Lambda's longest timeout.
const TIMEOUT: TimeDelta = TimeDelta::minutes(15);

/// The buckets, the table and the distribution of one site. Clones share them.
#[derive(Clone)]
pub struct Stage {
    pub cloud: Cloud,
    variables: BTreeMap<String, String>,
    clock: Clock,
}

#[derive(Clone)]
enum Clock {
    /// Tests set it.
    Set(Arc<Mutex<DateTime<Utc>>>),
    /// It jumps to whatever happens next.
    Virtual(VirtualClock),
}

impl Stage {
    /// Creates a stage whose live bucket is empty and has MD5 ETags.
    pub async fn new() -> Self {
        Self::with_etags(Etags::Md5).await
    }

    /// Creates a stage whose live bucket is empty and has ETags of this kind.
    pub async fn with_etags(etags: Etags) -> Self {
        Self::on(Cloud::start().await, Clock::Set(Arc::new(Mutex::new(start()))), etags).await
    }

    /// Creates a stage in this process, with virtual time. The runtime's time must be paused.
    pub async fn in_virtual_time() -> Self {
        static STAGES: AtomicU64 = AtomicU64::new(0);
        let clock = VirtualClock::starting_at(start());
        // The function draws its pauses on this thread.
        fastrand::seed(1);
        let one_way = Duration::from_millis(8);
        let latencies = Arc::new(move |_: &Call, _| Latency { there: one_way, back: one_way });
        // The SDK's budget for retries is that of a region in this process.
        let region = format!("stage-{}", STAGES.fetch_add(1, Ordering::Relaxed));
        let cloud = Cloud::in_process(clock.clone(), latencies, &region);
        Self::on(cloud, Clock::Virtual(clock), Etags::Md5).await
    }

    /// Creates a stage in virtual time, in an account to which this quota of invalidations applies.
    pub async fn under(quota: Quota) -> Self {
        let stage = Self::in_virtual_time().await;
        stage.cloud.set_quota(quota);
        stage
    }

    async fn on(cloud: Cloud, clock: Clock, etags: Etags) -> Self {
        cloud.create_bucket(STAGING, Versioning::On, Etags::Md5);
        cloud.create_bucket(LIVE, Versioning::Off, etags);
        cloud.create_table(TABLE);
        cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
        let variables = [
            ("STAGING_BUCKET", STAGING),
            ("LIVE_BUCKET", LIVE),
            ("TABLE_NAME", TABLE),
            ("DISTRIBUTION_IDS", DISTRIBUTION),
            ("S3_FORCE_PATH_STYLE", "true"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Self { cloud, variables, clock }
    }

    /// Returns the same stage with another environment variable of the function.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub fn now(&self) -> DateTime<Utc> {
        match &self.clock {
            Clock::Set(now) => *now.lock().unwrap(),
            Clock::Virtual(clock) => clock.now(),
        }
    }

    /// Moves the clock forward. Virtual time passes by itself.
    pub fn pass(&self, time: TimeDelta) {
        if let Clock::Set(now) = &self.clock {
            *now.lock().unwrap() += time;
        }
    }

    /// Uploads a build, one second after the previous upload, and returns the event that S3 sends.
    pub fn upload(&self, key: &str, files: &Files) -> Value {
        self.upload_bytes(key, zipped(files))
    }

    pub fn upload_bytes(&self, key: &str, archive: Vec<u8>) -> Value {
        self.pass(TimeDelta::seconds(1));
        let object = self.cloud.put_object(STAGING, key, archive, Headers::of_type("application/zip"));
        put_event(STAGING, key, &object, &self.now().to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    /// Creates a cold function instance whose calls are labelled `client`.
    pub async fn site(&self, client: &str) -> Site {
        let config = Config::from_variables(|name| self.variables.get(name).cloned()).unwrap();
        self.cloud.authorize(client, policy::authorizer(&self.variables));
        let sdk = self.cloud.sdk_config_for(client).await;
        let clients = match &self.clock {
            Clock::Set(_) => Clients::new(&sdk, &config),
            Clock::Virtual(_) => Clients::over([self.cloud.connector(), self.cloud.connector()], &sdk, &config),
        };
        Site { clients, config }
    }

    /// Invokes a cold function, 15 minutes before its deadline.
    pub async fn invoke(&self, request_id: &str, event: &Value) -> Handled {
        self.invoke_as(CLIENT, request_id, event, TIMEOUT).await
    }

    /// Invokes a cold function whose calls are labelled `client`, `time_left` before its deadline.
    pub async fn invoke_as(&self, client: &str, request_id: &str, event: &Value, time_left: TimeDelta) -> Handled {
        let site = self.site(client).await;
        self.handle(&site, request_id, event, self.now() + time_left, &|| self.now(), &Progress::default()).await
    }

    /// Invokes the function instance `site`, 15 minutes before its deadline.
    pub async fn invoke_on(&self, site: &Site, request_id: &str, event: &Value, progress: &Progress) -> Handled {
        self.handle(site, request_id, event, self.now() + TIMEOUT, &|| self.now(), progress).await
    }

    /// Invokes a cold function whose deadline is near as soon as `is_late` says so.
    pub async fn invoke_late_once(
        &self,
        request_id: &str,
        event: &Value,
        is_late: impl Fn() -> bool + Sync,
    ) -> Handled {
        let site = self.site(CLIENT).await;
        let deadline = self.now() + TIMEOUT;
        let clock = || if is_late() { deadline - TimeDelta::seconds(10) } else { self.now() };
        self.handle(&site, request_id, event, deadline, &clock, &Progress::default()).await
    }

    async fn handle(
        &self,
        site: &Site,
        request_id: &str,
        event: &Value,
        deadline: DateTime<Utc>,
        clock: &(dyn Fn() -> DateTime<Utc> + Sync),
        progress: &Progress,
    ) -> Handled {
        let pause = Duration::from_millis(5);
        let invocation = Invocation { request_id, deadline, clock, progress, pause, waits: true };
        // The future is large, and some tests nest it deeply: on the heap it does not overflow a thread's stack.
        Box::pin(handle(site, event, &invocation)).await
    }

    /// Invokes a cold function that must succeed, with the event of one upload.
    pub async fn deploy(&self, request_id: &str, event: &Value) -> Report {
        report(self.invoke(request_id, event).await)
    }

    /// Deploys like [`deploy`](Self::deploy), with one call answered at a time.
    ///
    /// `next` gets the calls that wait, may change the world meanwhile, and returns the index of the call to answer.
    pub async fn deploy_by_call(
        &self,
        request_id: &str,
        event: &Value,
        mut next: impl FnMut(&[Waiting]) -> usize,
    ) -> Report {
        let gate = self.cloud.gate();
        let calls = async {
            loop {
                let waiting = gate.wait_until(|waiting| !waiting.is_empty()).await;
                gate.let_through(waiting[next(&waiting)].ticket).await;
            }
        };
        tokio::select! {
            biased;
            report = self.deploy(request_id, event) => report,
            never = calls => never,
        }
    }
}

/// Returns an event with the option that no plan is refused for what it takes away.
pub fn allowing(mut event: Value) -> Value {
    event["options"] = json!({"allowLargeDelete": true});
    event
}

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap()
}

/// Returns the report of an invocation that must have succeeded with a single one.
#[track_caller]
pub fn report(handled: Handled) -> Report {
    let mut answer = match handled.into_answer() {
        Ok(answer) => answer,
        Err(failure) => panic!("{}: {}", failure.error_type, failure.error_message),
    };
    assert_eq!(answer.deployments.len(), 1);
    answer.deployments.remove(0)
}

/// Returns the event that S3 sends for an object.
pub fn put_event(bucket: &str, key: &str, object: &Object, event_time: &str) -> Value {
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": event_time,
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": bucket},
            "object": {
                "key": key,
                "size": object.body.len(),
                "eTag": object.etag.trim_matches('"'),
                "versionId": object.version_id,
            },
        },
    }]})
}
