//! Reads a distribution's configuration.

use aws_sdk_cloudfront::types::{self, CustomErrorResponse, DistributionConfig};
use percent_encoding::percent_decode_str;

use crate::config;
use crate::invalidation::{Distribution, Tagging};

/// CloudFront's own default (Developer Guide, "Controlling how long CloudFront caches errors").
const DEFAULT_ERROR_CACHING_SECONDS: i64 = 10;

/// S3 returns user metadata in headers with this prefix (S3 user guide, "User-defined object metadata").
const USER_METADATA: &str = "x-amz-meta-";

/// A changed configuration reaches all edge locations in less than this; it usually takes minutes.
const DEPLOYMENT_SECONDS: i64 = 3_600;

/// Reads how a distribution serves the bucket. Returns `None` if no viewer's path leads to the live prefix.
pub(super) fn describe(id: &str, config: &DistributionConfig, bucket: &str, live_prefix: &str) -> Option<Distribution> {
    let origins = config.origins().map(types::Origins::items).unwrap_or_default();
    let mut origin_paths: Vec<String> = origins
        .iter()
        .filter(|origin| is_bucket_domain(origin.domain_name(), bucket))
        .map(|origin| origin.origin_path().unwrap_or_default().trim_end_matches('/').to_owned())
        .filter(|origin_path| config::reaches(origin_path, live_prefix))
        .collect();
    origin_paths.sort();
    origin_paths.dedup();
    let errors = config.custom_error_responses().map(types::CustomErrorResponses::items).unwrap_or_default();
    let mut cached_errors = errors.iter().filter(|error| is_cached_for_long(error)).peekable();
    (!origin_paths.is_empty()).then(|| Distribution {
        id: id.to_owned(),
        origin_paths,
        default_root_object: config
            .default_root_object()
            .map(|object| object.trim_start_matches('/').to_owned())
            .filter(|object| !object.is_empty()),
        caches_errors: cached_errors.peek().is_some(),
        fallbacks: cached_errors.filter_map(fallback).collect(),
        tags: None,
    })
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

/// Whether an origin's domain is the bucket in any of S3's spellings: `<bucket>.s3.amazonaws.com`, regional, dualstack,
/// website endpoint with dash or dot, accelerate.
fn is_bucket_domain(domain: &str, bucket: &str) -> bool {
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
