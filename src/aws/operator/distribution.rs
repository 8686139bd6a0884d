//! The settings of a distribution that a deployment does not need.

use aws_sdk_cloudfront::types::{
    CachePolicyConfig, CustomErrorResponses, DistributionConfig, Origin, OriginAccessControlSigningBehaviors, Origins,
    S3OriginConfig,
};
use futures_util::future::try_join_all;

use super::Operator;
use crate::aws::cdn::behaviour::{Behaviour, behaviours};
use crate::aws::cdn::distribution::{is_bucket_domain, is_website};
use crate::aws::response::failed;
use crate::error::Error;

/// A distribution as an operator reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistributionSettings {
    pub arn: String,
    pub is_enabled: bool,
    /// Whether its last change has reached all edge locations.
    pub is_deployed: bool,
    /// The object that answers `/`; empty for none.
    pub root_object: String,
    /// Whether a function may answer `/` instead.
    pub has_function: bool,
    /// The origins that are the live bucket.
    pub origins: Vec<OriginSettings>,
    /// The custom error responses: the status, and the seconds for which its answers are cached at least.
    pub errors: Vec<(i32, i64)>,
    /// The cache policies under which it caches the live bucket.
    pub cache_policies: Vec<CachePolicy>,
}

/// How a distribution reads the live bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginSettings {
    pub domain: String,
    /// The origin path, without a slash at its end.
    pub path: String,
    pub access: Access,
}

/// The identity with which a distribution reads a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None: the bucket must be public.
    Anyone,
    /// Origin access control that signs requests, or one that leaves it to the viewer's own headers.
    Control { signs: bool },
    /// The older origin access identity.
    Identity,
}

/// A cache policy's times to live, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    pub name: String,
    pub min_seconds: i64,
    pub max_seconds: i64,
}

impl Operator {
    /// Reads a distribution in front of a bucket.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn distribution(&self, id: &str, bucket: &str) -> Result<DistributionSettings, Error> {
        let answer = self.cloudfront.get_distribution().id(id).send().await;
        let answer = answer.map_err(|error| failed(format!("reading distribution {id}"), error))?;
        let without = || Error::Aws {
            what: format!("reading distribution {id}"),
            reason: "the answer has no configuration".to_owned(),
            source: None,
        };
        let distribution = answer.distribution.ok_or_else(without)?;
        let config = distribution.distribution_config.as_ref().ok_or_else(without)?;
        let all = config.origins().map(Origins::items).unwrap_or_default();
        let shown: Vec<&Origin> = all.iter().filter(|origin| is_bucket_domain(origin.domain_name(), bucket)).collect();
        let mut behaviours = behaviours(config);
        behaviours.retain(|behaviour| shown.is_empty() || shown.iter().any(|origin| behaviour.leads_to(origin.id())));
        let mut policies: Vec<&str> = behaviours.iter().filter_map(|behaviour| behaviour.cache_policy).collect();
        policies.sort_unstable();
        policies.dedup();
        Ok(DistributionSettings {
            arn: distribution.arn().to_owned(),
            is_enabled: config.enabled(),
            is_deployed: distribution.status() == "Deployed",
            root_object: config.default_root_object().unwrap_or_default().trim_start_matches('/').to_owned(),
            has_function: behaviours.iter().any(|behaviour: &Behaviour<'_>| behaviour.has_function),
            origins: try_join_all(shown.into_iter().map(|origin| self.origin(origin))).await?,
            errors: errors(config),
            cache_policies: try_join_all(policies.into_iter().map(|id| self.cache_policy(id))).await?,
        })
    }

    async fn origin(&self, origin: &Origin) -> Result<OriginSettings, Error> {
        let identity = origin.s3_origin_config().map(S3OriginConfig::origin_access_identity).unwrap_or_default();
        let access = match origin.origin_access_control_id().filter(|id| !id.is_empty()) {
            // A website endpoint is a web server to CloudFront, which signs no request to it.
            _ if is_website(origin.domain_name()) => Access::Anyone,
            Some(id) => {
                let answer = self.cloudfront.get_origin_access_control().id(id).send().await;
                let answer = answer.map_err(|error| failed(format!("reading origin access control {id}"), error))?;
                let config = answer.origin_access_control.and_then(|it| it.origin_access_control_config);
                let signing = config.map(|config| config.signing_behavior);
                Access::Control { signs: signing == Some(OriginAccessControlSigningBehaviors::Always) }
            }
            None if identity.is_empty() => Access::Anyone,
            None => Access::Identity,
        };
        let path = origin.origin_path().unwrap_or_default().trim_end_matches('/');
        Ok(OriginSettings { domain: origin.domain_name().to_owned(), path: path.to_owned(), access })
    }

    async fn cache_policy(&self, id: &str) -> Result<CachePolicy, Error> {
        let answer = self.cloudfront.get_cache_policy().id(id).send().await;
        let answer = answer.map_err(|error| failed(format!("reading cache policy {id}"), error))?;
        let config = answer.cache_policy.and_then(|policy| policy.cache_policy_config);
        let config = config.as_ref();
        Ok(CachePolicy {
            name: config.map(|config| config.name().to_owned()).unwrap_or_else(|| id.to_owned()),
            min_seconds: config.map(CachePolicyConfig::min_ttl).unwrap_or_default(),
            // The default is a year (CloudFront API, `CachePolicyConfig`).
            max_seconds: config.and_then(CachePolicyConfig::max_ttl).unwrap_or(31_536_000),
        })
    }
}

fn errors(config: &DistributionConfig) -> Vec<(i32, i64)> {
    let errors = config.custom_error_responses().map(CustomErrorResponses::items).unwrap_or_default();
    // Without a time of its own an error is cached for ten seconds.
    errors.iter().map(|error| (error.error_code(), error.error_caching_min_ttl().unwrap_or(10))).collect()
}
