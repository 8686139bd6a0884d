//! The requests of a person's tools: they read a stack's settings and alarms, upload archives, send the function events,
//! and look after the queue of failed events.

mod alarms;
mod bucket;
mod distribution;
mod function;
mod queue;
mod rights;
mod upload;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;

pub use alarms::Alarm;
pub use bucket::{Expiry, Notifications, Trigger};
pub use distribution::{Access as OriginAccess, CachePolicy, DistributionSettings, OriginSettings};
pub use function::{Function, Invoked};
pub use queue::FailedEvent;
pub use rights::{Missing, Rights};
pub use upload::{LocalArchive, Newest, Uploaded, Written};

use super::response::causes;
use crate::config::Config;

/// The profile, the region and the endpoint that a person names; the SDK finds the rest as everywhere.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A profile that is named on the command line. As in the AWS CLI, it wins over keys in the environment.
    pub profile: Option<String>,
    /// The profile for where the environment has no keys.
    pub usual_profile: Option<String>,
    pub region: Option<String>,
    pub endpoint_url: Option<String>,
}

/// Loads the SDK's configuration.
pub async fn load(access: Access) -> SdkConfig {
    // A dry run that a person waits for may take minutes.
    let mut loader = super::loader(&super::patient_connector());
    let region = access.region.map(Region::new);
    if let Some(profile) = access.profile {
        loader = loader.credentials_provider(credentials(&profile, region.clone()).await).profile_name(profile);
    } else if let Some(profile) = access.usual_profile {
        loader = loader.profile_name(profile);
    }
    if let Some(region) = region {
        loader = loader.region(region);
    }
    if let Some(endpoint) = access.endpoint_url {
        loader = loader.endpoint_url(endpoint);
    }
    loader.load().await
}

/// Returns a profile's credentials. A role of the profile is assumed in its region.
async fn credentials(profile: &str, region: Option<Region>) -> ProfileFileCredentialsProvider {
    let config = ProviderConfig::default().with_http_client(super::http_client(&super::patient_connector()));
    let region = match region {
        None => {
            let of_profile = ProfileFileRegionProvider::builder().profile_name(profile).build();
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new()).or_else(of_profile).region().await
        }
        region => region,
    };
    let config = config.with_region(region);
    ProfileFileCredentialsProvider::builder().configure(&config).profile_name(profile).build()
}

/// Whether the configuration names a region, without which no request can be made.
pub fn has_region(sdk: &SdkConfig) -> bool {
    sdk.region().is_some()
}

/// Returns why there are no credentials; `None` if there are some.
pub async fn missing_credentials(sdk: &SdkConfig) -> Option<String> {
    let provider = sdk.credentials_provider()?;
    provider.provide_credentials().await.err().map(|error| causes(&error))
}

/// The clients for one stack.
pub struct Operator {
    cloudfront: aws_sdk_cloudfront::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    iam: aws_sdk_iam::Client,
    s3: aws_sdk_s3::Client,
    lambda: aws_sdk_lambda::Client,
    sqs: aws_sdk_sqs::Client,
    account_id: Option<String>,
}

impl Operator {
    pub fn new(sdk: &SdkConfig, config: &Config) -> Self {
        let s3 = aws_sdk_s3::config::Builder::from(sdk).force_path_style(config.s3_force_path_style);
        Self {
            cloudfront: aws_sdk_cloudfront::Client::new(sdk),
            cloudwatch: aws_sdk_cloudwatch::Client::new(sdk),
            iam: aws_sdk_iam::Client::new(sdk),
            s3: aws_sdk_s3::Client::from_conf(s3.build()),
            lambda: aws_sdk_lambda::Client::new(sdk),
            sqs: aws_sdk_sqs::Client::new(sdk),
            account_id: config.account_id.clone(),
        }
    }
}
