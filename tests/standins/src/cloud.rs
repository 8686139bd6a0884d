//! The account: everything that a test does to the services, and reads back from them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::bucket::{Buckets, Etags, Headers, Object, Upload, Version, Versioning};
use crate::calls::{Call, CallLog, Observer, Service};
use crate::cloudfront::{CloudFront, Distribution, Invalidation, ReferenceConflict};
use crate::dynamodb::DynamoDb;
use crate::edge::Edge;
use crate::faults::{Fault, Faults};
use crate::gate::{Gate, Queue};
use crate::{CLIENT, REGION, SECRET, s3, server};

/// An account with S3, CloudFront and DynamoDB behind one HTTP endpoint.
///
/// Clones share one account, which ends with the last of them.
#[derive(Clone)]
pub struct Cloud {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) listener: server::Listener,
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) s3: s3s::service::S3Service,
    pub(crate) cloudfront: CloudFront,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) calls: CallLog,
    pub(crate) faults: Faults,
    pub(crate) gate: Arc<Queue>,
    authorizers: Mutex<HashMap<String, Authorizer>>,
}

/// Says whether a call is allowed, and of an answer whether its status may be told.
pub type Authorizer = Arc<dyn Fn(&Call, Option<u16>) -> bool + Send + Sync>;

impl Cloud {
    /// Starts an empty account on a free port of the loopback interface.
    pub async fn start() -> Self {
        let (socket, listener) = server::bind().await;
        let buckets = Arc::new(Buckets::default());
        let cloud = Self {
            inner: Arc::new(Inner {
                listener,
                s3: s3::service(buckets.clone()),
                buckets,
                cloudfront: CloudFront::default(),
                dynamodb: DynamoDb::default(),
                calls: CallLog::default(),
                faults: Faults::default(),
                gate: Arc::default(),
                authorizers: Mutex::default(),
            }),
        };
        server::listen(socket, &cloud);
        cloud
    }

    /// Returns the endpoint of all three services, `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.inner.listener.address)
    }

    /// Returns a configuration for SDK clients named [`CLIENT`].
    ///
    /// S3 clients made of it need `force_path_style(true)`.
    pub async fn sdk_config(&self) -> aws_config::SdkConfig {
        self.sdk_config_for(CLIENT).await
    }

    /// Returns a configuration for SDK clients whose calls are labelled `client`.
    ///
    /// Retries wait milliseconds, so that tests of faults stay quick.
    pub async fn sdk_config_for(&self, client: &str) -> aws_config::SdkConfig {
        let retries = aws_config::retry::RetryConfig::standard()
            .with_initial_backoff(Duration::from_millis(5))
            .with_max_backoff(Duration::from_millis(20));
        let credentials = aws_credential_types::Credentials::new(client, SECRET, None, None, "stand-in");
        aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .endpoint_url(self.endpoint())
            .region(aws_config::Region::new(REGION))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
            .retry_config(retries)
            .build()
    }

    /// Returns the environment variables that point a child process here.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint().as_str()),
            ("AWS_ACCESS_KEY_ID", CLIENT),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("S3_FORCE_PATH_STYLE", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Sets the account id; calls that expect another bucket owner get a 403.
    pub fn set_account_id(&self, account_id: &str) {
        self.inner.buckets.set_account_id(account_id);
    }

    /// Creates an empty bucket, or replaces one.
    pub fn create_bucket(&self, name: &str, versioning: Versioning, etags: Etags) {
        self.inner.buckets.create(name, versioning, etags);
    }

    /// Creates a table with the keys `site` and `item`, both strings.
    pub async fn create_table(&self, name: &str) {
        self.inner.dynamodb.create_table(name).await;
    }

    /// Creates a distribution, or replaces its configuration and empties its cache.
    pub fn create_distribution(&self, distribution: Distribution) {
        self.inner.cloudfront.create(distribution);
    }

    /// Returns the current objects of a bucket.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Object> {
        self.inner.buckets.open(bucket).objects()
    }

    /// Returns the current object of a key.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        self.inner.buckets.open(bucket).object(key)
    }

    /// Returns a certain version of an object.
    pub fn object_version(&self, bucket: &str, key: &str, version_id: &str) -> Option<Object> {
        self.inner.buckets.open(bucket).object_version(key, version_id)
    }

    /// Returns all versions of a key, the oldest first.
    pub fn versions(&self, bucket: &str, key: &str) -> Vec<Version> {
        self.inner.buckets.open(bucket).versions(key)
    }

    /// Returns the multipart uploads that were neither completed nor aborted.
    pub fn uploads(&self, bucket: &str) -> Vec<Upload> {
        self.inner.buckets.open(bucket).uploads()
    }

    /// Writes an object as someone else would: no HTTP, no entry in the log.
    pub fn put_object(&self, bucket: &str, key: &str, body: impl Into<Bytes>, headers: Headers) -> Object {
        self.inner.buckets.open(bucket).put(key, body.into(), headers)
    }

    /// Deletes an object as someone else would.
    pub fn delete_object(&self, bucket: &str, key: &str) {
        self.inner.buckets.open(bucket).delete(key);
    }

    /// Deletes one version for good, as a lifecycle rule would.
    pub fn expire_version(&self, bucket: &str, key: &str, version_id: &str) {
        self.inner.buckets.open(bucket).expire(key, version_id);
    }

    /// Returns the calls so far, in the order in which they began to take effect.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.all()
    }

    /// Hands every call to an observer from now on, and writes none down.
    pub fn hand_over_calls(&self, observer: Observer) {
        self.inner.calls.hand_over(observer);
    }

    /// Forgets the calls so far. Sequence numbers go on.
    pub fn clear_calls(&self) {
        self.inner.calls.clear();
    }

    /// Returns the sequence number of the latest call, 0 before the first.
    pub fn latest_sequence(&self) -> usize {
        self.inner.calls.latest_sequence()
    }

    /// Changes a distribution's configuration; what is cached stays.
    pub fn change_distribution(&self, distribution: Distribution) {
        self.inner.cloudfront.change(distribution);
    }

    /// Makes every object of a bucket so much older.
    pub fn backdate(&self, bucket: &str, by: Duration) {
        self.inner.buckets.open(bucket).backdate(by);
    }

    /// Returns the accepted invalidations of a distribution, the oldest first.
    pub fn invalidations(&self, distribution: &str) -> Vec<Invalidation> {
        self.inner.cloudfront.invalidations(distribution)
    }

    /// Keeps the next invalidations in progress until
    /// [`complete_invalidations`](Self::complete_invalidations).
    ///
    /// The edge drops the paths at once all the same; quotas count what is in progress.
    pub fn hold_invalidations(&self, distribution: &str) {
        self.inner.cloudfront.hold(distribution);
    }

    /// Completes what is in progress, and from now on each at once.
    pub fn complete_invalidations(&self, distribution: &str) {
        self.inner.cloudfront.complete(distribution);
    }

    /// Sets how many paths and wildcards someone else has in progress.
    pub fn occupy_invalidations(&self, distribution: &str, paths: usize, wildcards: usize) {
        self.inner.cloudfront.occupy(distribution, paths, wildcards);
    }

    /// Chooses how a distribution answers a caller reference that it has seen.
    pub fn set_reference_conflict(&self, distribution: &str, conflict: ReferenceConflict) {
        self.inner.cloudfront.set_reference_conflict(distribution, conflict);
    }

    /// Returns the edge cache of a distribution. There is one; handles share it.
    pub fn edge(&self, distribution: &str) -> Edge {
        Edge::of(self.clone(), distribution)
    }

    /// Adds a fault rule; its count begins now.
    pub fn fault(&self, fault: Fault) {
        self.inner.faults.add(fault);
    }

    /// Removes all fault rules; dead clients stay dead.
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// Returns how often a fault struck so far.
    pub fn faults_struck(&self) -> usize {
        self.inner.faults.struck()
    }

    /// Waits until a client has died of [`Does::DieBefore`] or [`Does::DieAfter`].
    pub async fn death(&self, client: &str) {
        self.inner.faults.death(client).await;
    }

    /// Tells whether a client has died and was not revived.
    pub fn is_dead(&self, client: &str) -> bool {
        self.inner.faults.is_dead(client)
    }

    /// Lets a client die now: its calls hang until [`revive`](Self::revive).
    pub fn kill(&self, client: &str) {
        self.inner.faults.die(client);
    }

    /// Lets the calls of a dead client through again. What hung until now stays lost.
    pub fn revive(&self, client: &str) {
        self.inner.faults.revive(client);
    }

    /// Delays every answer of a service, as a network and a busy service would.
    pub fn set_latency(&self, service: Service, latency: Duration) {
        self.inner.faults.set_latency(service, latency);
    }

    /// Lets a client do only what an authorizer allows. A 404 of S3 that may not be told is a 403.
    pub fn authorize(&self, client: &str, authorizer: Authorizer) {
        let mut authorizers = self.inner.authorizers.lock().expect("no holder panics");
        authorizers.insert(client.to_owned(), authorizer);
    }

    pub(crate) fn authorizer(&self, client: &str) -> Option<Authorizer> {
        let authorizers = self.inner.authorizers.lock().expect("no holder panics");
        authorizers.get(client).cloned()
    }

    /// Makes every call wait until the test lets it through, while the gate lives.
    pub fn gate(&self) -> Gate {
        Gate::close(&self.inner.gate)
    }
}
