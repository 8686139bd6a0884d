//! A site on the embedded services, with a clock that tests turn.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone, Utc};
use dropship::aws::Clients;
use dropship::config::Config;
use dropship::deploy::{Invocation, Site};
use dropship::handler::{Handled, handle};
use dropship::report::{Progress, Report};
use serde_json::{Value, json};

use crate::policy;
use crate::support::{CLIENT, Cloud, Distribution, Etags, Headers, Versioning, Waiting};

pub const STAGING: &str = "staging";
pub const LIVE: &str = "live";
pub const TABLE: &str = "ledger";
pub const DISTRIBUTION: &str = "E1EXAMPLE";

/// The files of a build, by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Buckets, table and distribution of one site. Clones share them.
#[derive(Clone)]
pub struct Stage {
    pub cloud: Cloud,
    variables: BTreeMap<String, String>,
    now: Arc<Mutex<DateTime<Utc>>>,
}

impl Stage {
    /// A stage whose live bucket is empty and has MD5 ETags.
    pub async fn new() -> Self {
        Self::with_etags(Etags::Md5).await
    }

    pub async fn with_etags(etags: Etags) -> Self {
        let cloud = Cloud::start().await;
        cloud.create_bucket(STAGING, Versioning::On, Etags::Md5);
        cloud.create_bucket(LIVE, Versioning::Off, etags);
        cloud.create_table(TABLE).await;
        cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
        let variables = [
            ("STAGING_BUCKET", STAGING),
            ("LIVE_BUCKET", LIVE),
            ("TABLE_NAME", TABLE),
            ("DISTRIBUTION_IDS", DISTRIBUTION),
            ("S3_FORCE_PATH_STYLE", "true"),
        ];
        let start = Utc.with_ymd_and_hms(2026, 11, 22, 10, 15, 0).unwrap();
        Self {
            cloud,
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            now: Arc::new(Mutex::new(start)),
        }
    }

    /// The same stage with another environment variable of the function.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub fn now(&self) -> DateTime<Utc> {
        *self.now.lock().unwrap()
    }

    pub fn pass(&self, time: TimeDelta) {
        *self.now.lock().unwrap() += time;
    }

    /// Uploads a build, a second after the one before; gives the event that S3 sends.
    pub fn upload(&self, key: &str, files: &Files) -> Value {
        self.upload_bytes(key, zipped(files))
    }

    pub fn upload_bytes(&self, key: &str, archive: Vec<u8>) -> Value {
        self.pass(TimeDelta::seconds(1));
        let size = archive.len();
        let put = self.cloud.put_object(STAGING, key, archive, Headers::of_type("application/zip"));
        json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": self.now().to_rfc3339_opts(SecondsFormat::Millis, true),
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": STAGING},
                "object": {
                    "key": key,
                    "size": size,
                    "eTag": put.etag.trim_matches('"'),
                    "versionId": put.version_id,
                },
            },
        }]})
    }

    /// A cold function instance whose calls are labelled `client`.
    pub async fn site(&self, client: &str) -> Site {
        let config = Config::from_variables(|name| self.variables.get(name).cloned()).unwrap();
        self.cloud.authorize(client, policy::authorizer(&self.variables));
        Site { clients: Clients::new(&self.cloud.sdk_config_for(client).await, &config), config }
    }

    /// Invokes a cold function with 15 minutes to live.
    pub async fn invoke(&self, request_id: &str, event: &Value) -> Handled {
        self.invoke_as(CLIENT, request_id, event, TimeDelta::minutes(15)).await
    }

    pub async fn invoke_as(&self, client: &str, request_id: &str, event: &Value, time_left: TimeDelta) -> Handled {
        let site = self.site(client).await;
        let invocation = Invocation {
            request_id,
            deadline: self.now() + time_left,
            clock: &|| self.now(),
            progress: &Progress::default(),
            pause: Duration::from_millis(5),
        };
        handle(&site, event, &invocation).await
    }

    /// Invokes a cold function for an event of one upload that must succeed.
    pub async fn deploy(&self, request_id: &str, event: &Value) -> Report {
        report(self.invoke(request_id, event).await)
    }

    /// The same with one call of its answered at a time: `next` sees those that wait, does what is to happen
    /// meanwhile, and says which is next.
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

    /// Checks that the live bucket holds these files and nothing else.
    #[track_caller]
    pub fn assert_live(&self, files: &Files) {
        let objects = self.cloud.objects(LIVE);
        let live: Vec<&String> = objects.keys().collect();
        assert_eq!(live, files.keys().collect::<Vec<_>>(), "the keys of the live bucket");
        for (key, object) in &objects {
            assert!(object.body == files[key], "the bytes of {key}");
        }
    }

    /// Checks that the live bucket holds these files, and maybe others.
    #[track_caller]
    pub fn assert_contains(&self, files: &Files) {
        let objects = self.cloud.objects(LIVE);
        for (name, body) in files {
            let found = objects.get(name).is_some_and(|object| object.body == *body);
            assert!(found, "{name} is as in the build");
        }
    }

    /// The calls to one operation, by what they were about.
    pub fn count(&self, operation: &str) -> usize {
        self.cloud.calls().iter().filter(|call| call.operation == operation).count()
    }
}

/// The one report of an invocation that must have succeeded.
#[track_caller]
pub fn report(handled: Handled) -> Report {
    let mut answer = match handled.into_answer() {
        Ok(answer) => answer,
        Err(failure) => panic!("{}: {}", failure.error_type, failure.error_message),
    };
    assert_eq!(answer.deployments.len(), 1);
    answer.deployments.remove(0)
}

/// A build of these files.
pub fn files<const N: usize>(files: [(&str, &str); N]) -> Files {
    files.map(|(name, body)| (name.to_owned(), body.as_bytes().to_vec())).into()
}

/// Packs a build.
pub fn zipped(files: &Files) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(name, body)| (name.as_str(), body)).collect();
    crate::zipped::zipped(&files)
}

/// The files of a packed build, by another reader than ours.
pub fn unzipped(archive: &[u8]) -> Files {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive)).unwrap();
    let mut files = Files::new();
    for number in 0..zip.len() {
        let mut entry = zip.by_index(number).unwrap();
        if entry.is_file() {
            let name = entry.name().unwrap().into_owned();
            let mut body = Vec::new();
            std::io::copy(&mut entry, &mut body).unwrap();
            files.insert(name, body);
        }
    }
    files
}

/// Data that is not part of the project; none, said aloud, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var("DROPSHIP_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let path = PathBuf::from(folder).join(path);
    if !path.exists() {
        let path = path.display();
        crate::settled::say(&format!("SKIPPED: {path} is not there (DROPSHIP_SHARED)"));
        return None;
    }
    Some(path)
}
