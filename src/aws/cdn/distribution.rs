//! Reads a distribution's configuration.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudfront::types::{self, CustomErrorResponse, DistributionConfig};
use percent_encoding::percent_decode_str;

use super::behaviour::{Behaviour, behaviours};
use super::cache_policy::QueryStrings;
use crate::config;
use crate::invalidation::{Distribution, Folders, Origin, Tagging};

/// CloudFront's own default (Developer Guide, "Controlling how long CloudFront caches errors").
const DEFAULT_ERROR_CACHING_SECONDS: i64 = 10;

/// S3 returns user metadata in headers with this prefix (S3 user guide, "User-defined object metadata").
const USER_METADATA: &str = "x-amz-meta-";

/// A changed configuration reaches all edge locations in less than this; it usually takes minutes.
const DEPLOYMENT_SECONDS: i64 = 3_600;

/// A distribution as its configuration describes it.
pub(super) struct Described {
    pub(super) distribution: Distribution,
    /// The ids of the cache policies under which it caches the live bucket.
    pub(super) cache_policies: BTreeSet<String>,
    pub(super) traffic: Traffic,
}

impl Described {
    /// Adds what the distribution's cache policies say about query strings.
    pub(super) fn add_query_strings(&mut self, policies: &BTreeMap<String, QueryStrings>) {
        let Self { distribution, cache_policies, .. } = self;
        for id in cache_policies.iter() {
            let query_strings = policies.get(id).copied().unwrap_or(QueryStrings::Unknown);
            distribution.query_strings |= query_strings != QueryStrings::Ignored;
            if query_strings == QueryStrings::Unknown {
                distribution.warnings.push(format!(
                    "the function may not read cache policy {id} of {}: in case query strings are part of its cache \
                     key, every path is invalidated with all its query strings; give the function's role \
                     cloudfront:GetCachePolicy",
                    distribution.id
                ));
            }
        }
    }
}

/// The part of its viewers that a distribution serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Traffic {
    All,
    /// A staging distribution may take some of them.
    Shared,
    /// It is such a staging distribution.
    Staging,
}

/// Whether a distribution shows the bucket, but nothing that is under a live prefix.
pub(super) fn shows_another_folder(config: &DistributionConfig, bucket: &str, live_prefix: &str) -> bool {
    let origins = config.origins().map(types::Origins::items).unwrap_or_default().iter();
    let mut shown = origins.filter(|origin| is_bucket_domain(origin.domain_name(), bucket)).peekable();
    shown.peek().is_some() && !shown.any(|origin| config::reaches(path_of(origin), live_prefix))
}

/// Reads how a distribution serves the bucket, with the origin path that the settings state, if any. Returns `None` if
/// no viewer's path leads to the live prefix.
pub(super) fn describe(
    configured: &config::DistributionConfig,
    config: &DistributionConfig,
    bucket: &str,
    live_prefix: &str,
) -> Option<Described> {
    let stated = configured.origin_path.as_deref();
    let shown: Vec<&types::Origin> = (config.origins().map(types::Origins::items).unwrap_or_default().iter())
        .filter(|origin| is_bucket_domain(origin.domain_name(), bucket))
        .filter(|origin| config::reaches(path_of(origin), live_prefix))
        .filter(|origin| stated.is_none_or(|stated| stated == path_of(origin)))
        .collect();
    let mut behaviours = behaviours(config);
    let mut origins: Vec<Origin> = shown.iter().map(|origin| view(origin, &behaviours)).collect();
    origins.sort();
    origins.dedup();
    if origins.is_empty() {
        // The bucket is behind another origin, and any behaviour may lead there.
        origins.push(Origin { path: stated?.to_owned(), folders: Folders::Server });
    } else {
        behaviours.retain(|behaviour| shown.iter().any(|origin| behaviour.leads_to(origin.id())));
    }
    let errors = config.custom_error_responses().map(types::CustomErrorResponses::items).unwrap_or_default();
    let mut cached_errors = errors.iter().filter(|error| is_cached_for_long(error)).peekable();
    let root_object = config.default_root_object().map(|object| object.trim_start_matches('/').to_owned());
    let distribution = Distribution {
        id: configured.id.clone(),
        host: host(config).unwrap_or_default(),
        origins,
        default_root_object: root_object.filter(|object| !object.is_empty()),
        caches_errors: cached_errors.peek().is_some(),
        fallbacks: cached_errors.filter_map(fallback).collect(),
        query_strings: behaviours.iter().any(|it| it.cache_policy.is_none() && it.forwards_query_strings),
        tags: None,
        warnings: Vec::new(),
    };
    let cache_policies = behaviours.iter().filter_map(|it| it.cache_policy).map(str::to_owned).collect();
    Some(Described { distribution, cache_policies, traffic: traffic(config) })
}

/// Returns the first domain name of a distribution's own that names a single host.
fn host(config: &DistributionConfig) -> Option<String> {
    let names = config.aliases().map(types::Aliases::items).unwrap_or_default();
    names.iter().find(|name| !name.contains('*')).cloned()
}

fn path_of(origin: &types::Origin) -> &str {
    origin.origin_path().unwrap_or_default().trim_end_matches('/')
}

/// Returns what an origin that is the bucket shows of it.
fn view(origin: &types::Origin, behaviours: &[Behaviour<'_>]) -> Origin {
    let has_function = behaviours.iter().any(|behaviour| behaviour.has_function && behaviour.leads_to(origin.id()));
    let folders = match has_function {
        true => Folders::Function,
        false if is_website(origin.domain_name()) => Folders::Website,
        false => Folders::Keys,
    };
    Origin { path: path_of(origin).to_owned(), folders }
}

fn traffic(config: &DistributionConfig) -> Traffic {
    if config.staging() == Some(true) {
        Traffic::Staging
    } else if config.continuous_deployment_policy_id().is_some_and(|id| !id.is_empty()) {
        Traffic::Shared
    } else {
        Traffic::All
    }
}

fn is_cached_for_long(error: &CustomErrorResponse) -> bool {
    error.error_caching_min_ttl().is_some_and(|seconds| seconds > DEFAULT_ERROR_CACHING_SECONDS)
}

/// Reads how a distribution learns cache tags. Returns `None` if it does not, or not from a header that S3 can send.
pub(super) fn tagging(distribution: &types::Distribution, version: String) -> Option<Tagging> {
    let config = distribution.distribution_config.as_ref()?;
    let header = config.cache_tag_config()?.header_name();
    let metadata = header.to_ascii_lowercase();
    let metadata = metadata.strip_prefix(USER_METADATA)?;
    if metadata.is_empty() {
        return None;
    }
    // The API says when the configuration was changed and whether it is deployed, but not when it was deployed.
    let is_deployed = distribution.status() == "Deployed";
    let since = distribution.last_modified_time().secs() + DEPLOYMENT_SECONDS;
    Some(Tagging { metadata: metadata.to_owned(), since: is_deployed.then_some(since), version })
}

/// Returns the page that viewers get with a success status in place of a missing one.
///
/// A page with an error status is left to its time to live: no object of the site was ever at such a path.
fn fallback(error: &CustomErrorResponse) -> Option<String> {
    // S3 answers 404 for a missing key, or 403 if the distribution may not list the bucket.
    let is_missing_key = matches!(error.error_code(), 403 | 404);
    let is_success = error.response_code().is_some_and(|code| code.starts_with('2'));
    let page = error.response_page_path().filter(|_| is_missing_key && is_success)?;
    let page = percent_decode_str(page).decode_utf8_lossy();
    Some(format!("/{}", page.trim_start_matches('/')))
}

/// Whether the domain of a bucket is its website endpoint, which Regions spell with a dash or a dot.
pub(in crate::aws) fn is_website(domain: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    domain.contains(".s3-website-") || domain.contains(".s3-website.")
}

/// Whether an origin's domain is the bucket in any of S3's spellings: `<bucket>.s3.amazonaws.com`, regional, dualstack,
/// website endpoint with dash or dot, accelerate.
pub(in crate::aws) fn is_bucket_domain(domain: &str, bucket: &str) -> bool {
    let domain = domain.to_ascii_lowercase();
    let Some(rest) = domain.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('.')) else {
        return false;
    };
    let Some(service) = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn")) else {
        return false;
    };
    let first = service.split('.').next().unwrap_or_default();
    // `s3-eu-west-1` is the old regional spelling, `s3-website-eu-west-1` the old website endpoint.
    first == "s3" || first.starts_with("s3-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_the_bucket_is_recognised() {
        for domain in [
            "site.s3.amazonaws.com",
            "site.s3.eu-west-1.amazonaws.com",
            "site.s3-eu-west-1.amazonaws.com",
            "site.s3.dualstack.eu-west-1.amazonaws.com",
            "site.s3-website-us-east-1.amazonaws.com",
            "site.s3-website.eu-central-1.amazonaws.com",
            "site.s3-accelerate.amazonaws.com",
            "site.s3-accelerate.dualstack.amazonaws.com",
            "site.s3.cn-north-1.amazonaws.com.cn",
            "Site.S3.amazonaws.com",
        ] {
            assert!(is_bucket_domain(domain, "site"), "{domain}");
        }
    }

    #[test]
    fn another_bucket_or_server_is_not_the_bucket() {
        for domain in [
            "sites.s3.amazonaws.com",
            "my.site.s3.amazonaws.com",
            "site.example.com",
            "site.s3.amazonaws.com.example.com",
            "site.execute-api.eu-west-1.amazonaws.com",
            "sites3.amazonaws.com",
        ] {
            assert!(!is_bucket_domain(domain, "site"), "{domain}");
        }
    }
}
