//! CloudFront: what a distribution does in front of the live bucket, and the sending of batches.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_cloudfront::error::ProvideErrorMetadata;
use aws_sdk_cloudfront::types::{self, CustomErrorResponse, DistributionConfig, InvalidationBatch, Paths};
use percent_encoding::percent_decode_str;
use tokio::sync::Mutex;

use super::failed;
use crate::config::{self, Config};
use crate::error::Error;
use crate::invalidation::{Batch, Distribution, Tagging};

/// CloudFront's own default (Developer Guide, "Controlling how long CloudFront caches errors").
const DEFAULT_ERROR_CACHING_SECONDS: i64 = 10;

/// "Under 25 seconds at P95" is what AWS says of completion (What's New, April 2026), and the API's rate is low.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// S3 gives user metadata back in headers of this prefix (S3 user guide, "User-defined object metadata").
const USER_METADATA: &str = "x-amz-meta-";

/// Longer than a changed configuration is on its way to all edge locations; minutes are usual.
const DEPLOYMENT_SECONDS: i64 = 3_600;

/// The distributions in front of the live bucket.
pub struct Cdn {
    client: aws_sdk_cloudfront::Client,
    configured: Vec<config::DistributionConfig>,
    bucket: String,
    live_prefix: String,
    /// What was discovered lives as long as the function instance, but for cache tags: what relies on
    /// them has to know of each change.
    discovered: Mutex<HashMap<String, Distribution>>,
}

/// What CloudFront made of a batch.
#[derive(Debug)]
pub enum Reply {
    /// Accepted now, under this id.
    Accepted(String),
    /// Accepted by an earlier attempt whose answer was lost.
    AcceptedBefore,
    /// Too many invalidations are in progress: offer it again later.
    QuotaFull(String),
    /// The distribution does not exist any more.
    NoSuchDistribution,
}

impl Cdn {
    pub fn new(client: aws_sdk_cloudfront::Client, config: &Config) -> Self {
        Self {
            client,
            configured: config.distributions.clone(),
            bucket: config.live_bucket.clone(),
            live_prefix: config.live_prefix.clone(),
            discovered: Mutex::default(),
        }
    }

    /// The site's distributions, each read once per function instance, and each time if it takes cache tags.
    ///
    /// # Errors
    /// `WrongDistribution` when one has no origin that serves the live prefix, since invalidating a wrong
    /// distribution succeeds silently; `Aws`.
    pub async fn discover(&self) -> Result<Vec<Distribution>, Error> {
        let mut discovered = self.discovered.lock().await;
        for distribution in &self.configured {
            let known = discovered.get(&distribution.id);
            if known.is_none_or(|known| known.tags.is_some()) {
                discovered.insert(distribution.id.clone(), self.read(distribution).await?);
            }
        }
        Ok(self.configured.iter().filter_map(|distribution| discovered.get(&distribution.id).cloned()).collect())
    }

    async fn read(&self, distribution: &config::DistributionConfig) -> Result<Distribution, Error> {
        let id = &distribution.id;
        if let Some(path) = &distribution.origin_path {
            return Ok(Distribution {
                id: id.clone(),
                origin_paths: vec![path.clone()],
                default_root_object: None,
                caches_errors: false,
                fallbacks: Vec::new(),
                tags: None,
            });
        }
        let answer = self.client.get_distribution().id(id).send().await;
        let answer = answer.map_err(|error| failed(format!("reading distribution {id}"), error))?;
        let version = answer.e_tag.unwrap_or_default();
        let distribution = answer.distribution;
        let described = distribution.as_ref().and_then(|distribution| {
            let config = distribution.distribution_config.as_ref()?;
            let described = describe(id, config, &self.bucket, &self.live_prefix)?;
            Some(Distribution { tags: tagging(distribution, version), ..described })
        });
        described.ok_or_else(|| Error::WrongDistribution {
            id: id.clone(),
            bucket: self.bucket.clone(),
            prefix: self.live_prefix.clone(),
        })
    }

    /// The version of a distribution's configuration; none when there is no such distribution.
    ///
    /// # Errors
    /// `Aws`, after the SDK's retries.
    pub async fn version(&self, id: &str) -> Result<Option<String>, Error> {
        match self.client.get_distribution().id(id).send().await {
            Ok(answer) => Ok(answer.e_tag),
            Err(error) if error.code() == Some("NoSuchDistribution") => Ok(None),
            Err(error) => Err(failed(format!("reading distribution {id}"), error)),
        }
    }

    /// Offers a batch to CloudFront.
    ///
    /// # Errors
    /// `Aws`, after the SDK's retries.
    pub async fn send(&self, batch: &Batch) -> Result<Reply, Error> {
        let what = || format!("invalidating {} items on {}", batch.items.len(), batch.distribution);
        let malformed = |error: aws_sdk_cloudfront::error::BuildError| Error::Aws {
            what: what(),
            reason: error.to_string(),
            source: None,
        };
        let paths = Paths::builder()
            .quantity(i32::try_from(batch.items.len()).unwrap_or(i32::MAX))
            .set_items(Some(batch.items.clone()))
            .build()
            .map_err(malformed)?;
        let body = InvalidationBatch::builder().caller_reference(&batch.reference).paths(paths);
        let body = body.build().map_err(malformed)?;
        let request = self.client.create_invalidation().distribution_id(&batch.distribution);
        match request.invalidation_batch(body).send().await {
            Ok(answer) => Ok(Reply::Accepted(answer.invalidation.map(|it| it.id).unwrap_or_default())),
            Err(error) => match error.code() {
                Some("TooManyInvalidationsInProgress") => {
                    Ok(Reply::QuotaFull(error.message().unwrap_or_default().to_owned()))
                }
                Some("NoSuchDistribution") => Ok(Reply::NoSuchDistribution),
                code if is_known_reference(code, error.message()) => Ok(Reply::AcceptedBefore),
                _ => Err(failed(what(), error)),
            },
        }
    }

    /// Waits, without end, until CloudFront reports an invalidation as completed; false when it cannot be asked.
    pub async fn completion(&self, distribution: &str, id: &str) -> bool {
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let request = self.client.get_invalidation();
            match request.distribution_id(distribution).id(id).send().await {
                Ok(answer) if answer.invalidation().is_some_and(|it| it.status() == "Completed") => {
                    return true;
                }
                Ok(_) => {}
                Err(error) => {
                    let error = failed(format!("asking for invalidation {id}"), error);
                    tracing::warn!("nobody knows whether the invalidation is completed: {error}");
                    return false;
                }
            }
        }
    }
}

/// Whether the answer says that the reference was used before. A reference is made from its items, so it was
/// this very batch. The documentation names the first spelling, the service was seen to use the second
/// (aws/aws-cdk#3878).
fn is_known_reference(code: Option<&str>, message: Option<&str>) -> bool {
    match code {
        Some("InvalidationBatchAlreadyExists") => true,
        Some("InvalidArgument") => {
            message.is_some_and(|message| message.to_ascii_lowercase().contains("caller reference"))
        }
        _ => false,
    }
}

/// What a distribution does with the bucket; `None` when no viewer's path leads to the live prefix.
fn describe(id: &str, config: &DistributionConfig, bucket: &str, live_prefix: &str) -> Option<Distribution> {
    let origins = config.origins().map(|origins| origins.items()).unwrap_or_default();
    let mut origin_paths: Vec<String> = origins
        .iter()
        .filter(|origin| is_bucket_domain(origin.domain_name(), bucket))
        .map(|origin| origin.origin_path().unwrap_or_default().trim_end_matches('/').to_owned())
        .filter(|origin_path| config::reaches(origin_path, live_prefix))
        .collect();
    origin_paths.sort();
    origin_paths.dedup();
    let errors = config.custom_error_responses().map(|errors| errors.items()).unwrap_or_default();
    let is_kept = |error: &&CustomErrorResponse| {
        let ttl_seconds = error.error_caching_min_ttl();
        ttl_seconds.is_some_and(|seconds| seconds > DEFAULT_ERROR_CACHING_SECONDS)
    };
    (!origin_paths.is_empty()).then(|| Distribution {
        id: id.to_owned(),
        origin_paths,
        default_root_object: config
            .default_root_object()
            .map(|object| object.trim_start_matches('/').to_owned())
            .filter(|object| !object.is_empty()),
        caches_errors: errors.iter().any(|error| is_kept(&error)),
        fallbacks: errors.iter().filter(is_kept).filter_map(fallback).collect(),
        tags: None,
    })
}

/// How it learns cache tags, if it does, and from a header that S3 can give.
fn tagging(distribution: &types::Distribution, version: String) -> Option<Tagging> {
    let config = distribution.distribution_config.as_ref()?;
    let header = config.cache_tag_config()?.header_name();
    let metadata = header.to_ascii_lowercase();
    let metadata = metadata.strip_prefix(USER_METADATA)?;
    if metadata.is_empty() {
        return None;
    }
    // It does not say when it was deployed, only when it was changed, and whether it is deployed.
    let is_deployed = distribution.status() == "Deployed";
    let since = distribution.last_modified_time().secs() + DEPLOYMENT_SECONDS;
    Some(Tagging { metadata: metadata.to_owned(), since: is_deployed.then_some(since), version })
}

/// The page that viewers get as if it were what they asked for. One that says that it is an error is left
/// to its time to live: what it stands for never was an object of the site.
fn fallback(error: &CustomErrorResponse) -> Option<String> {
    // What S3 answers for a missing key, without and with the right to list the bucket.
    let is_missing_key = matches!(error.error_code(), 403 | 404);
    let is_success = error.response_code().is_some_and(|code| code.starts_with('2'));
    let page = error.response_page_path().filter(|_| is_missing_key && is_success)?;
    let page = percent_decode_str(page).decode_utf8_lossy();
    Some(format!("/{}", page.trim_start_matches('/')))
}

/// Whether an origin's domain is the bucket, in any of S3's spellings: `<bucket>.s3.amazonaws.com`, regional,
/// dualstack, website endpoint with dash or dot, accelerate.
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

    #[test]
    fn a_known_reference_is_told_from_a_malformed_path() {
        let used = "Your request contains a caller reference that was used for a previous invalidation batch \
                    for the same distribution.";
        assert!(is_known_reference(Some("InvalidArgument"), Some(used)));
        assert!(is_known_reference(Some("InvalidationBatchAlreadyExists"), None));
        assert!(!is_known_reference(
            Some("InvalidArgument"),
            Some("Your request contains one or more invalid invalidation paths.")
        ));
    }
}
