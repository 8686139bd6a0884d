//! All traffic with AWS. Nothing outside this folder names an SDK type.

pub mod archive;
pub mod bucket;
pub mod cdn;
pub mod delete;
pub mod ledger;
mod listing;
pub mod manifests;
pub mod multipart;
#[cfg(feature = "cli")]
pub mod operator;
mod rate_limit;
mod region;
mod response;
mod signed_request;
mod streamed_put;
pub mod write;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig};
use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{
    HttpConnectorSettings, HttpConnectorSettingsBuilder, SharedHttpConnector, http_client_fn,
};

use crate::config::Config;
use signed_request::SignedRequests;

/// CloudFront answers 503 for longer than the SDK's usual three attempts take (aws/aws-cdk#15891).
const MAX_ATTEMPTS: u32 = 10;

/// The clients of one function instance, built once per cold start.
pub struct Clients {
    pub archives: archive::Archives,
    pub bucket: bucket::Bucket,
    pub manifests: manifests::Manifests,
    pub ledger: ledger::Ledger,
    pub cdn: cdn::Cdn,
}

impl Clients {
    /// Returns clients with the SDK's configuration from the environment: region, credentials, `AWS_ENDPOINT_URL` and the
    /// rest.
    pub async fn load(config: &Config) -> Self {
        let connectors = new_connectors();
        let sdk = loader(&connectors[0]).load().await;
        Self::over(connectors, &sdk, config)
    }

    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        Self::over(new_connectors(), sdk, config)
    }

    /// Returns clients that make their requests over the first connector. The second one carries long bodies, of
    /// requests and of answers; whoever sends or reads them watches that they go on.
    pub fn over(connectors: [SharedHttpConnector; 2], sdk: &SdkConfig, config: &Config) -> Self {
        let [connector, long_connector] = connectors;
        let sdk = with_retries(sdk, http_client(&connector));
        let rate_limit = rate_limit::RateLimit::new(config.max_writes_per_second);
        let s3 = aws_sdk_s3::config::Builder::from(&sdk)
            .force_path_style(config.s3_force_path_style)
            .interceptor(rate_limit.clone());
        // The live bucket may be in another region than the staging bucket, whose events start the function.
        let region = region::BucketRegion::default();
        let live = aws_sdk_s3::Client::from_conf(s3.clone().interceptor(region.clone()).build());
        let s3 = aws_sdk_s3::Client::from_conf(s3.build());
        let signed = |s3: &aws_sdk_s3::Client| {
            let short = SignedRequests::new(s3.clone(), connector.clone(), sdk.credentials_provider());
            let long = short.over(long_connector.clone());
            [short, long]
        };
        let (signed, signed_live) = (signed(&s3), signed(&live));
        Self {
            archives: archive::Archives::new(s3.clone(), signed, config),
            bucket: bucket::Bucket::new(live, signed_live, region, rate_limit, config),
            manifests: manifests::Manifests::new(s3, config),
            ledger: ledger::Ledger::new(aws_sdk_dynamodb::Client::new(&sdk), config),
            cdn: cdn::Cdn::new(aws_sdk_cloudfront::Client::new(&sdk), config),
        }
    }
}

impl Clients {
    /// Returns clients of another site of the same stack, which share the connections.
    pub fn of_site(&self, config: &Config) -> Self {
        Self {
            archives: self.archives.clone(),
            bucket: self.bucket.of_site(config),
            manifests: self.manifests.of_site(config),
            ledger: self.ledger.of_site(config),
            cdn: self.cdn.of_site(config),
        }
    }
}

fn with_retries(sdk: &SdkConfig, http_client: SharedHttpClient) -> SdkConfig {
    let retries = sdk.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
    // An upload that stalls runs into the connector's timeout. Watching it as well would cost CPU for every few KiB
    // of every body.
    let stalls = StalledStreamProtectionConfig::enabled().upload_enabled(false).build();
    sdk.clone()
        .into_builder()
        .retry_config(retries.with_max_attempts(MAX_ATTEMPTS))
        .http_client(http_client)
        .stalled_stream_protection(stalls)
        .build()
}

fn http_client(connector: &SharedHttpConnector) -> SharedHttpClient {
    let connector = connector.clone();
    http_client_fn(move |_, _| connector.clone())
}

/// Returns a loader of the SDK's configuration. Without a client of ours, the SDK has none.
fn loader(connector: &SharedHttpConnector) -> ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest()).http_client(http_client(connector))
}

/// Returns the two pools of connections that [`Clients::over`] takes.
///
/// All clients share one pool, because a bucket's connections are the same for every client; only long bodies go
/// over the second one.
fn new_connectors() -> [SharedHttpConnector; 2] {
    let short = connector(connect_timeout().read_timeout(Duration::from_secs(30)).build());
    [short, patient_connector()]
}

/// Returns a pool of connections that wait for an answer without limit, as the SDK's own do.
fn patient_connector() -> SharedHttpConnector {
    connector(connect_timeout().build())
}

fn connect_timeout() -> HttpConnectorSettingsBuilder {
    HttpConnectorSettings::builder().connect_timeout(Duration::from_secs(3))
}

fn connector(limits: HttpConnectorSettings) -> SharedHttpConnector {
    let connector = aws_smithy_http_client::Connector::builder()
        .connector_settings(limits)
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build();
    SharedHttpConnector::new(connector)
}
