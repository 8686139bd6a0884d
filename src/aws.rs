//! All traffic with AWS; nothing outside this folder names an SDK type.

pub mod archive;
pub mod bucket;
pub mod cdn;
pub mod ledger;
mod listing;
pub mod manifests;
pub mod multipart;
mod rate_limit;
mod signed_request;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};

use crate::config::Config;
use crate::error::Error;

/// CloudFront answers 503 for longer than the SDK's usual three attempts (aws/aws-cdk#15891).
const MAX_ATTEMPTS: u32 = 10;

/// How long a body may bring nothing: the connector's limit on an answer ends with its headers.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// The clients of one function instance, built once per cold start.
pub struct Clients {
    pub archives: archive::Archives,
    pub bucket: bucket::Bucket,
    pub manifests: manifests::Manifests,
    pub ledger: ledger::Ledger,
    pub cdn: cdn::Cdn,
}

/// Loads the SDK's configuration from the environment: region, credentials, `AWS_ENDPOINT_URL` and the rest.
pub async fn load() -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest()).load().await
}

impl Clients {
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        let retries = sdk.retry_config().cloned().unwrap_or_else(RetryConfig::standard);
        let retries = retries.with_max_attempts(MAX_ATTEMPTS);
        let connector = connector();
        let http_client = {
            let connector = connector.clone();
            http_client_fn(move |_, _| connector.clone())
        };
        let sdk = sdk
            .clone()
            .into_builder()
            .retry_config(retries)
            .http_client(http_client)
            // An upload that stalls runs into the timeout above; a look at every body of some KiB is for nothing.
            .stalled_stream_protection(StalledStreamProtectionConfig::enabled().upload_enabled(false).build())
            .build();
        let rate_limit = rate_limit::RateLimit::new(config.max_writes_per_second);
        let s3 = aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::config::Builder::from(&sdk)
                .force_path_style(config.s3_force_path_style)
                .interceptor(rate_limit.clone())
                .build(),
        );
        let signed = |connector| signed_request::SignedRequests::new(s3.clone(), connector, sdk.credentials_provider());
        let bulk = signed(self::connector());
        let signed = signed(connector);
        Self {
            archives: archive::Archives::new(s3.clone(), signed.clone(), bulk, config),
            bucket: bucket::Bucket::new(s3.clone(), signed, rate_limit, config),
            manifests: manifests::Manifests::new(s3, config),
            ledger: ledger::Ledger::new(aws_sdk_dynamodb::Client::new(&sdk), config),
            cdn: cdn::Cdn::new(aws_sdk_cloudfront::Client::new(&sdk), config),
        }
    }
}

/// One pool of connections, for all clients but what reads long answers: a bucket's connections are the same
/// whichever client asks. Certificates are loaded once.
fn connector() -> SharedHttpConnector {
    // The SDK sets no limit on an answer that never comes.
    let limits = HttpConnectorSettings::builder()
        .connect_timeout(Duration::from_secs(3))
        .read_timeout(Duration::from_secs(30))
        .build();
    let connector = aws_smithy_http_client::Connector::builder()
        .connector_settings(limits)
        .proxy_config(ProxyConfig::from_env())
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .build();
    SharedHttpConnector::new(connector)
}

/// Says what was tried and what came back; the SDK has already retried what is worth it.
fn failed<E, R>(what: impl Into<String>, error: SdkError<E, R>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let reason = match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => DisplayErrorContext(&error).to_string(),
    };
    Error::Aws { what: what.into(), reason, source: Some(Box::new(error)) }
}

/// The HTTP status of the service's answer, if there was one.
fn status<E>(error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// An ETag without the quotes that S3's answers put around it.
fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}
