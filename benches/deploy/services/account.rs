//! One site on the stand-ins.

use std::error::Error;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::json;
use standins::{Cloud, Distribution, Etags, Headers, Service, Versioning};

use super::tls::{Authority, Handshakes, Terminator};
use super::{Task, Traffic};
use crate::minimum::{Build, Minimum};
use crate::workload::Scenario;

const STAGING: &str = "staging";
pub(super) const LIVE: &str = "live";
const TABLE: &str = "ledger";
const DISTRIBUTION: &str = "E1BENCH";
pub(super) const KEY: &str = "site.zip";

pub struct Account {
    cloud: Cloud,
    /// The build that is live.
    live: Build,
    uploads: i32,
    /// The calls since the last upload.
    traffic: Arc<Mutex<Traffic>>,
    tls: Option<Tls>,
}

/// TLS in front of the account.
struct Tls {
    authority: Authority,
    terminator: Option<Terminator>,
    handshakes: Arc<Handshakes>,
}

impl Account {
    pub async fn new(tls: bool) -> Result<Self, Box<dyn Error>> {
        let tls = if tls {
            Some(Tls { authority: Authority::new()?, terminator: None, handshakes: Arc::default() })
        } else {
            None
        };
        Ok(Self { cloud: Cloud::start().await, live: Build::default(), uploads: 0, traffic: Arc::default(), tls })
    }

    /// Replaces everything by empty services.
    pub async fn reset(&mut self, latency: Duration) -> Result<(), Box<dyn Error>> {
        self.cloud = Cloud::start().await;
        if let Some(tls) = &mut self.tls {
            let to = self.cloud.endpoint().trim_start_matches("http://").parse()?;
            tls.terminator = Some(tls.authority.terminate(to, tls.handshakes.clone()).await?);
        }
        let traffic = self.traffic.clone();
        // Count the calls instead of recording them: there may be a million.
        self.cloud.hand_over_calls(Arc::new(move |call| lock(&traffic).add(call)));
        // Opaque ETags, as with SSE-KMS: computing MD5s is S3's work, and must not take CPU from the function.
        self.cloud.create_bucket(STAGING, Versioning::On, Etags::Opaque);
        self.cloud.create_bucket(LIVE, Versioning::Off, Etags::Opaque);
        self.cloud.create_table(TABLE);
        self.cloud.create_distribution(Distribution::of(DISTRIBUTION, LIVE));
        if !latency.is_zero() {
            for service in [Service::S3, Service::DynamoDb, Service::CloudFront] {
                self.cloud.set_latency(service, latency);
            }
        }
        self.live = Build::default();
        Ok(())
    }

    /// Returns the environment of the function.
    pub fn environment(&self) -> Vec<(String, String)> {
        let settings = [
            ("STAGING_BUCKET", STAGING),
            ("LIVE_BUCKET", LIVE),
            ("TABLE_NAME", TABLE),
            ("DISTRIBUTION_IDS", DISTRIBUTION),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut environment: Vec<(String, String)> = self.cloud.environment().into_iter().chain(settings).collect();
        if let Some(Tls { authority, terminator: Some(terminator), .. }) = &self.tls {
            environment.push(("AWS_ENDPOINT_URL".to_owned(), format!("https://{}", terminator.address)));
            environment.push(("SSL_CERT_FILE".to_owned(), authority.file.display().to_string()));
        }
        environment
    }

    /// Uploads an archive. Without a scenario, it must be refused.
    pub fn upload(&mut self, archive: Bytes, scenario: Option<Scenario>) -> Result<Task, Box<dyn Error>> {
        let archive_bytes = archive.len() as u64;
        let minimum = match scenario {
            None => Minimum::default(),
            Some(scenario) => self.minimum(&archive, scenario)?,
        };
        // Free the memory of the previous archive.
        for version in self.cloud.versions(STAGING, KEY) {
            self.cloud.expire_version(STAGING, KEY, &version.id);
        }
        let put = self.cloud.put_object(STAGING, KEY, archive, Headers::of_type("application/zip"));
        self.observe();
        // Each upload needs a second of its own: uploads of the same second are ordered by their digests.
        self.uploads += 1;
        let at = Utc::now() + TimeDelta::seconds(i64::from(self.uploads));
        let event = json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "us-east-1",
            "eventTime": at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": STAGING},
                "object": {
                    "key": KEY,
                    "size": archive_bytes,
                    "eTag": put.etag.trim_matches('"'),
                    "versionId": put.version_id,
                },
            },
        }]});
        Ok(Task { event, archive_bytes, minimum })
    }

    /// Returns the minimum of a deployment, and counts its build as live from now on.
    fn minimum(&mut self, archive: &[u8], scenario: Scenario) -> Result<Minimum, Box<dyn Error>> {
        let next = Build::of(archive)?;
        let mut minimum = Minimum::between(&self.live, &next, scenario);
        if scenario == Scenario::Cold {
            minimum.inflate = next.inflate_large(archive)?;
            // Take the memory for the new objects from the kernel now, so that it is not part of the measurement.
            let bytes = usize::try_from(minimum.bytes_written)?;
            drop(std::hint::black_box(vec![1_u8; bytes]));
        }
        self.live = next;
        Ok(minimum)
    }

    /// Returns the traffic since the last upload, and starts to count again.
    pub fn observe(&self) -> Traffic {
        let mut traffic = std::mem::take(&mut *lock(&self.traffic));
        if let Some(tls) = &self.tls {
            traffic.full_handshakes = tls.handshakes.full.swap(0, Ordering::Relaxed);
            traffic.resumed_handshakes = tls.handshakes.resumed.swap(0, Ordering::Relaxed);
        }
        traffic
    }
}

fn lock(traffic: &Mutex<Traffic>) -> MutexGuard<'_, Traffic> {
    traffic.lock().unwrap_or_else(PoisonError::into_inner)
}
