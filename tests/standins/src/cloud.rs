//! The account: everything that a test does to the services, and reads back from them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use bytes::Bytes;
use chrono::TimeDelta;
use s3s::service::S3Service;
use serde_json::Value;

use crate::call::{Call, Service};
use crate::call_log::{CallLog, Observer};
use crate::clock::{Clock, VirtualClock};
use crate::cloudfront::{CloudFront, Distribution, Invalidation, Quota, ReferenceConflict};
use crate::cloudwatch::{Alarm, CloudWatch};
use crate::dynamodb::DynamoDb;
use crate::edge::{Edge, Spread};
use crate::faults::{Fault, Faults};
use crate::function::{self, Functions, Handler};
use crate::gate::{Gate, Queue};
use crate::iam::Iam;
use crate::network::{Connector, Latencies, Network};
use crate::s3::{Misdirected, Regions};
use crate::server::Listener;
use crate::storage::{BucketSettings, Buckets, Etags, Headers, MultipartUpload, Object, Version, Versioning};
use crate::{CLIENT, REGION, SECRET, dispatch, s3};

/// An account with S3, CloudFront and DynamoDB behind one HTTP endpoint, or in this process.
///
/// Clones share the account. It ends with the last of them.
#[derive(Clone)]
pub struct Cloud {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// None for an account in this process.
    listener: Option<Listener>,
    /// Only for an account in this process.
    pub(crate) network: Option<Arc<Network>>,
    region: String,
    clock: Clock,
    pub(crate) buckets: Arc<Buckets>,
    pub(crate) s3: S3Service,
    pub(crate) regions: Regions,
    pub(crate) cloudfront: CloudFront,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) functions: Functions,
    pub(crate) cloudwatch: CloudWatch,
    pub(crate) iam: Iam,
    pub(crate) calls: CallLog,
    pub(crate) faults: Faults,
    pub(crate) gate: Arc<Queue>,
    authorizers: Mutex<HashMap<String, Authorizer>>,
}

/// Returns whether a call is allowed. With a status, returns whether the client may see an answer of that status.
pub type Authorizer = Arc<dyn Fn(&Call, Option<u16>) -> bool + Send + Sync>;

impl Cloud {
    /// Starts an empty account on a free port of the loopback interface.
    pub async fn start() -> Self {
        Self::start_at(0).await.expect("the loopback interface has a free port")
    }

    /// Starts an empty account on a port of the loopback interface, or on a free one for 0.
    ///
    /// # Errors
    /// When another process has the port.
    pub async fn start_at(port: u16) -> std::io::Result<Self> {
        let (socket, listener) = Listener::bind(port).await?;
        let cloud = Self::new(Some(listener), None, REGION, Clock::System);
        let account = Arc::downgrade(&cloud.inner);
        if let Some(listener) = &cloud.inner.listener {
            listener.serve(socket, move |request| dispatch::answer(account.clone(), request));
        }
        Ok(cloud)
    }

    /// Creates an empty account in this process, with virtual time and without sockets.
    ///
    /// Its clients use the [`connector`](Self::connector). Every call takes effect in a [turn](VirtualClock::turn) of
    /// its own. The SDK keeps the budget for retries of a service per region and process, so that accounts whose
    /// clients must not influence each other need regions of their own.
    pub fn in_process(clock: VirtualClock, latencies: Latencies, region: &str) -> Self {
        let network = Network::new(clock.clone(), latencies);
        Self::new(None, Some(network), region, Clock::Virtual(clock))
    }

    fn new(listener: Option<Listener>, network: Option<Network>, region: &str, clock: Clock) -> Self {
        let buckets = Arc::new(Buckets::new(clock.clone()));
        Self {
            inner: Arc::new(Inner {
                listener,
                network: network.map(Arc::new),
                region: region.to_owned(),
                clock: clock.clone(),
                s3: s3::service(buckets.clone()),
                regions: Regions::default(),
                buckets,
                cloudfront: CloudFront::new(clock),
                dynamodb: DynamoDb::default(),
                functions: Functions::default(),
                cloudwatch: CloudWatch::default(),
                iam: Iam::default(),
                calls: CallLog::default(),
                faults: Faults::default(),
                gate: Arc::default(),
                authorizers: Mutex::default(),
            }),
        }
    }

    /// Returns the connector that leads to an account in this process.
    ///
    /// # Panics
    /// If the account has an endpoint instead.
    pub fn connector(&self) -> SharedHttpConnector {
        assert!(self.inner.network.is_some(), "the account was not created in this process");
        SharedHttpConnector::new(Connector { account: Arc::downgrade(&self.inner) })
    }

    /// Returns the endpoint of all three services, `http://127.0.0.1:PORT`. That of an account in this process has no
    /// address.
    pub fn endpoint(&self) -> String {
        match &self.inner.listener {
            Some(listener) => format!("http://{}", listener.address),
            None => "http://aws.invalid".to_owned(),
        }
    }

    /// Returns a configuration for SDK clients named [`CLIENT`].
    ///
    /// An S3 client that uses it also needs `force_path_style(true)`.
    pub async fn sdk_config(&self) -> aws_config::SdkConfig {
        self.sdk_config_for(CLIENT).await
    }

    /// Returns a configuration for SDK clients whose calls are labelled `client`.
    ///
    /// Retries wait only milliseconds, so that tests of faults are fast.
    pub async fn sdk_config_for(&self, client: &str) -> aws_config::SdkConfig {
        let retries = aws_config::retry::RetryConfig::standard()
            .with_initial_backoff(Duration::from_millis(5))
            .with_max_backoff(Duration::from_millis(20));
        let credentials = Credentials::new(client, SECRET, None, None, "stand-in");
        aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .endpoint_url(self.endpoint())
            .region(aws_config::Region::new(self.inner.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .retry_config(retries)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// Returns the environment variables that make a child process use this account.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint().as_str()),
            ("AWS_ACCESS_KEY_ID", CLIENT),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", &self.inner.region),
            ("AWS_DEFAULT_REGION", &self.inner.region),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("S3_FORCE_PATH_STYLE", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// Sets the account id. Calls that expect another bucket owner then get a 403.
    pub fn set_account_id(&self, account_id: &str) {
        self.inner.buckets.set_account_id(account_id);
    }

    /// Creates an empty bucket, or replaces one.
    pub fn create_bucket(&self, name: &str, versioning: Versioning, etags: Etags) {
        self.inner.buckets.create(name, versioning, etags);
    }

    /// Moves a bucket to another region than [`REGION`]. Requests that are signed for a wrong one are refused.
    pub fn set_region(&self, bucket: &str, region: &str, misdirected: Misdirected) {
        self.inner.regions.set(bucket, region, misdirected);
    }

    /// Creates a table with the keys `site` and `item`, both strings.
    pub fn create_table(&self, name: &str) {
        self.inner.dynamodb.create_table(name, &self.inner.region);
    }

    /// Creates a function that runs in this process, or replaces one. Its queue of failed events has the same name.
    ///
    /// S3 sends it the event of each upload to a bucket's folder, which `uploads` names.
    pub fn create_function(
        &self,
        name: &str,
        variables: Vec<(String, String)>,
        uploads: (&str, &str),
        handler: Handler,
    ) {
        let (bucket, folder) = uploads;
        let trigger = (function::arn(name), folder.to_owned());
        self.inner.buckets.expect(bucket).change_settings(|settings| settings.triggers = vec![trigger]);
        self.inner.functions.create(name, variables, uploads, handler);
    }

    /// Sets the description of a function.
    pub fn describe_function(&self, name: &str, description: &str) {
        self.inner.functions.describe(name, description);
    }

    /// Sets the account's alarms.
    pub fn set_alarms(&self, alarms: Vec<Alarm>) {
        self.inner.cloudwatch.set_alarms(alarms);
    }

    /// Makes the simulation of every role's rights deny an action.
    pub fn deny(&self, action: &str) {
        self.inner.iam.deny(action);
    }

    /// Changes the settings of a bucket.
    pub fn change_bucket(&self, bucket: &str, change: impl FnOnce(&mut BucketSettings)) {
        self.inner.buckets.expect(bucket).change_settings(change);
    }

    /// Sends the event of an upload to the function that waits for it.
    pub(crate) fn notify(&self, call: &Call) {
        let (Some(bucket), Some(key)) = (&call.bucket, &call.key) else {
            return;
        };
        if let Some(object) = self.inner.buckets.get(bucket).and_then(|bucket| bucket.object(key)) {
            self.inner.functions.notify(bucket, key, &object);
        }
    }

    /// Creates a distribution, or replaces its configuration and empties its cache.
    pub fn create_distribution(&self, distribution: Distribution) {
        self.inner.cloudfront.create(distribution);
    }

    /// Returns the current objects of a bucket.
    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Object> {
        self.inner.buckets.expect(bucket).objects()
    }

    /// Returns the current object of a key.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Object> {
        self.inner.buckets.expect(bucket).object(key)
    }

    /// Returns one version of an object.
    pub fn object_version(&self, bucket: &str, key: &str, version_id: &str) -> Option<Object> {
        self.inner.buckets.expect(bucket).object_version(key, version_id)
    }

    /// Returns all versions of a key, the oldest first.
    pub fn versions(&self, bucket: &str, key: &str) -> Vec<Version> {
        self.inner.buckets.expect(bucket).versions(key)
    }

    /// Returns the multipart uploads that were neither completed nor aborted.
    pub fn multipart_uploads(&self, bucket: &str) -> Vec<MultipartUpload> {
        self.inner.buckets.expect(bucket).multipart_uploads()
    }

    /// Writes an object as another program would: without HTTP and without a call in the log.
    pub fn put_object(&self, bucket: &str, key: &str, body: impl Into<Bytes>, headers: Headers) -> Object {
        self.inner.buckets.expect(bucket).put(key, body.into(), headers)
    }

    /// Deletes an object as another program would.
    pub fn delete_object(&self, bucket: &str, key: &str) {
        self.inner.buckets.expect(bucket).delete(key);
    }

    /// Deletes one version permanently, as a lifecycle rule would.
    pub fn expire_version(&self, bucket: &str, key: &str, version_id: &str) {
        self.inner.buckets.expect(bucket).expire(key, version_id);
    }

    /// Returns the calls so far, in the order in which they began to take effect.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.all()
    }

    /// From now on, passes every call to an observer instead of recording it.
    pub fn hand_over_calls(&self, observer: Observer) {
        self.inner.calls.hand_over(observer);
    }

    /// Forgets the calls so far. The sequence numbers continue.
    pub fn clear_calls(&self) {
        self.inner.calls.clear();
    }

    /// Returns the sequence number of the latest call, or 0 before the first.
    pub fn latest_sequence(&self) -> usize {
        self.inner.calls.latest_sequence()
    }

    /// Changes the configuration of a distribution and keeps its cache.
    pub fn change_distribution(&self, distribution: Distribution) {
        self.inner.cloudfront.change(distribution);
    }

    /// Returns the configuration of a distribution.
    pub fn distribution(&self, distribution: &str) -> Distribution {
        self.inner.cloudfront.open(distribution, |state| state.config.clone())
    }

    /// Sets the Last-Modified of an object, which for a multipart upload is the time of its initiation.
    pub fn set_modified(&self, bucket: &str, key: &str, modified: SystemTime) {
        self.inner.buckets.expect(bucket).set_modified(key, modified);
    }

    /// Makes all versions in a bucket older.
    pub fn backdate(&self, bucket: &str, by: Duration) {
        self.inner.buckets.expect(bucket).backdate(by);
    }

    /// Returns the accepted invalidations of a distribution, the oldest first.
    pub fn invalidations(&self, distribution: &str) -> Vec<Invalidation> {
        self.inner.cloudfront.invalidations(distribution)
    }

    /// Keeps the next invalidations in progress until [`complete_invalidations`](Self::complete_invalidations).
    ///
    /// The edge still drops the paths immediately. The quotas count the invalidations in progress.
    pub fn hold_invalidations(&self, distribution: &str) {
        self.inner.cloudfront.hold(distribution);
    }

    /// Completes the invalidations in progress, and from now on each one immediately.
    pub fn complete_invalidations(&self, distribution: &str) {
        self.inner.cloudfront.complete(distribution);
    }

    /// Sets how many paths and wildcards another client has in progress.
    pub fn occupy_invalidations(&self, distribution: &str, paths: usize, wildcards: usize) {
        self.inner.cloudfront.occupy(distribution, paths, wildcards);
    }

    /// Deletes a distribution, as an operator may.
    pub fn delete_distribution(&self, distribution: &str) {
        self.inner.cloudfront.delete(distribution);
    }

    /// Sets which quota of invalidations applies in the account.
    pub fn set_quota(&self, quota: Quota) {
        self.inner.cloudfront.set_quota(quota);
    }

    /// Sets how long the next invalidations of a distribution are in progress; by default no time at all.
    pub fn set_invalidation_time(&self, distribution: &str, time: TimeDelta) {
        self.inner.cloudfront.set_duration(distribution, time);
    }

    /// Sets how long a distribution remembers caller references; by default for ever.
    pub fn set_reference_memory(&self, distribution: &str, memory: Option<TimeDelta>) {
        self.inner.cloudfront.set_memory(distribution, memory);
    }

    /// Sets how the next invalidations of a distribution spread through its caches.
    pub fn set_spread(&self, distribution: &str, spread: Spread) {
        self.inner.cloudfront.set_spread(distribution, spread);
    }

    /// Returns all items of a table, each as DynamoDB's JSON, sorted by their keys.
    pub fn table(&self, name: &str) -> Vec<Value> {
        self.inner.dynamodb.items(name, &self.inner.region)
    }

    /// Returns one item of a table, as DynamoDB's JSON.
    pub fn item(&self, table: &str, site: &str, item: &str) -> Option<Value> {
        self.inner.dynamodb.item(table, &self.inner.region, site, item)
    }

    /// Deletes the items of a table whose `expires_at` has passed, as DynamoDB does some time later.
    pub fn expire_items(&self, table: &str) {
        let now = self.inner.clock.now().timestamp();
        let mut items = self.table(table);
        let count = items.len();
        let expires_at = |item: &Value| item["expires_at"]["N"].as_str()?.parse().ok();
        items.retain(|item| expires_at(item).is_none_or(|at: i64| at > now));
        if items.len() < count {
            self.restore_table(table, &items);
        }
    }

    /// Replaces all items of a table, as a restored backup does.
    pub fn restore_table(&self, name: &str, items: &[Value]) {
        self.inner.dynamodb.restore(name, &self.inner.region, items);
    }

    /// Sets how a distribution answers a caller reference that was used before.
    pub fn set_reference_conflict(&self, distribution: &str, conflict: ReferenceConflict) {
        self.inner.cloudfront.set_reference_conflict(distribution, conflict);
    }

    /// Returns the edge of a distribution. All handles share one cache.
    pub fn edge(&self, distribution: &str) -> Edge {
        Edge::of(self.clone(), distribution)
    }

    /// Adds a fault, which counts calls from now on.
    pub fn fault(&self, fault: Fault) {
        self.inner.faults.add(fault);
    }

    /// Removes all faults. Dead clients stay dead.
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// Returns how often faults have struck so far.
    pub fn faults_struck(&self) -> usize {
        self.inner.faults.struck()
    }

    /// Waits until a client is dead.
    pub async fn death(&self, client: &str) {
        self.inner.faults.death(client).await;
    }

    /// Returns whether a client has died and was not revived.
    pub fn is_dead(&self, client: &str) -> bool {
        self.inner.faults.is_dead(client)
    }

    /// Makes a client die now. Its calls hang until [`revive`](Self::revive).
    pub fn kill(&self, client: &str) {
        self.inner.faults.die(client);
    }

    /// Answers the calls of a dead client again, from the next one on. The calls that hang stay lost.
    pub fn revive(&self, client: &str) {
        self.inner.faults.revive(client);
    }

    /// Delays every answer of a service, as a network and a busy service do.
    pub fn set_latency(&self, service: Service, latency: Duration) {
        self.inner.faults.set_latency(service, latency);
    }

    /// Limits a client to the calls that an authorizer allows.
    ///
    /// A 404 of S3 that the client may not see becomes a 403.
    pub fn authorize(&self, client: &str, authorizer: Authorizer) {
        let mut authorizers = self.inner.authorizers.lock().expect("no holder panics");
        authorizers.insert(client.to_owned(), authorizer);
    }

    pub(crate) fn authorizer(&self, client: &str) -> Option<Authorizer> {
        let authorizers = self.inner.authorizers.lock().expect("no holder panics");
        authorizers.get(client).cloned()
    }

    /// Closes a gate: until it is dropped, every call waits until the test lets it through.
    pub fn gate(&self) -> Gate {
        Gate::close(&self.inner.gate)
    }
}
