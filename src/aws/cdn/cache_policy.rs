//! Cache policies: whether query strings are part of the cache key.

use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use aws_sdk_cloudfront::types::{CachePolicyQueryStringBehavior, ParametersInCacheKeyAndForwardedToOrigin};

use super::super::response::failed;
use crate::error::Error;

/// AWS's policies that leave query strings out of the cache key. Their ids are the same in every account (CloudFront
/// Developer Guide, "Use managed cache policies").
const WITHOUT_QUERY_STRINGS: [&str; 3] = [
    // CachingOptimized
    "658327ea-f89d-4fab-a63d-7e88639e58f6",
    // CachingOptimizedForUncompressedObjects
    "b2884449-e4de-46a7-ac36-70bc7f1ddd6d",
    // CachingDisabled
    "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
];

/// The query strings in a policy's cache key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum QueryStrings {
    Ignored,
    InKey,
    /// The function may not read the policy.
    Unknown,
}

/// Reads a policy, unless it is a well-known one.
///
/// # Errors
/// `Aws`, after the SDK's retries.
pub(super) async fn query_strings(client: &aws_sdk_cloudfront::Client, id: &str) -> Result<QueryStrings, Error> {
    if WITHOUT_QUERY_STRINGS.contains(&id) {
        return Ok(QueryStrings::Ignored);
    }
    let answer = match client.get_cache_policy().id(id).send().await {
        Ok(answer) => answer,
        Err(error) if error.code() == Some("AccessDenied") => return Ok(QueryStrings::Unknown),
        Err(error) => return Err(failed(format!("reading cache policy {id}"), error)),
    };
    let config = answer.cache_policy().and_then(|policy| policy.cache_policy_config());
    let parameters = config.and_then(|config| config.parameters_in_cache_key_and_forwarded_to_origin());
    let query_strings = parameters.and_then(ParametersInCacheKeyAndForwardedToOrigin::query_strings_config);
    let is_ignored = query_strings.is_none_or(|it| *it.query_string_behavior() == CachePolicyQueryStringBehavior::None);
    Ok(if is_ignored { QueryStrings::Ignored } else { QueryStrings::InKey })
}
