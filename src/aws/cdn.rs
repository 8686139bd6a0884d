//! CloudFront: reads the distributions in front of the live bucket, and sends invalidation batches to them.

pub(super) mod behaviour;
mod cache_policy;
pub(super) mod distribution;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_cloudfront::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_cloudfront::operation::get_distribution::GetDistributionError;
use aws_sdk_cloudfront::types::{InvalidationBatch, Paths};
use futures_util::future::try_join_all;

use super::response::failed;
use crate::config::{self, Config};
use crate::error::Error;
use crate::invalidation::{Batch, Distribution};

use cache_policy::{QueryStrings, query_strings};
use distribution::{Described, Traffic, describe, shows_another_folder, tagging};

/// The pauses between two reads of an invalidation's status, which double. AWS says that invalidations complete "under
/// 25 seconds at P95" (What's New, April 2026), and the API takes few requests per second.
const FIRST_POLL_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_POLL_PAUSE: Duration = Duration::from_secs(8);

/// The distributions in front of the live bucket.
#[derive(Clone)]
pub struct Cdn {
    client: aws_sdk_cloudfront::Client,
    configured: Vec<config::DistributionConfig>,
    bucket: String,
    live_prefix: String,
    /// Whether a function maps the site's host to its folder, so that viewers see it as a root.
    maps_hosts: bool,
    is_preview: bool,
    /// The host under which viewers reach the site, if its distribution has one for each preview.
    host: Option<String>,
}

/// CloudFront's reply to a batch.
#[derive(Debug)]
pub enum Reply {
    /// It was accepted now, with this id.
    Accepted(String),
    /// It was accepted before, in an attempt whose answer was lost.
    AcceptedBefore,
    /// Too many invalidations are in progress. The batch has to be offered again later.
    QuotaFull(String),
    /// CloudFront will never accept a batch of these items.
    Refused(String),
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
            is_preview: config.is_preview(),
            maps_hosts: config.maps_hosts(),
            host: config.preview_host(),
        }
    }

    /// Returns the distributions of another site of the same stack.
    pub fn of_site(&self, config: &Config) -> Self {
        Self::new(self.client.clone(), config)
    }

    /// Returns the site's distributions, as they are configured now.
    ///
    /// # Errors
    /// `WrongDistribution` when one does not exist, is another account's, or has no origin that serves the live prefix,
    /// because invalidating a wrong distribution succeeds silently; `Aws`.
    pub async fn discover(&self) -> Result<Vec<Distribution>, Error> {
        let read = try_join_all(self.configured.iter().map(|configured| self.read(configured))).await?;
        let mut described: Vec<Described> = read.into_iter().flatten().collect();
        if let Some(first) = self.configured.first().filter(|_| described.is_empty()) {
            return Err(self.wrong(&first.id));
        }
        let ids: BTreeSet<String> = described.iter().flat_map(|it| it.cache_policies.iter().cloned()).collect();
        let policies = try_join_all(ids.into_iter().map(|id| self.read_policy(id))).await?.into_iter().collect();
        let count = |traffic| described.iter().filter(|it| it.traffic == traffic).count();
        // A staging distribution does not say whose viewers it takes.
        let lacks_staging = count(Traffic::Shared) > count(Traffic::Staging);
        for it in &mut described {
            it.add_query_strings(&policies);
            if lacks_staging && it.traffic == Traffic::Shared {
                it.distribution.warnings.push(staging_warning(&it.distribution.id));
            }
        }
        Ok(described.into_iter().map(|it| it.distribution).collect())
    }

    /// Returns a distribution as it is configured now; `None` if it shows a folder of the bucket that this preview is not
    /// in.
    async fn read(&self, configured: &config::DistributionConfig) -> Result<Option<Described>, Error> {
        let id = &configured.id;
        let answer = self.client.get_distribution().id(id).send().await;
        let answer = answer.map_err(|error| unreadable(id, error))?;
        let version = answer.e_tag.unwrap_or_default();
        let distribution = answer.distribution;
        let config = distribution.as_ref().and_then(|distribution| distribution.distribution_config.as_ref());
        if self.is_preview && config.is_some_and(|config| shows_another_folder(config, &self.bucket, &self.live_prefix))
        {
            return Ok(None);
        }
        let described = distribution.as_ref().and_then(|distribution| {
            let mut described = describe(configured, config?, &self.bucket, &self.live_prefix)?;
            described.distribution.tags = tagging(distribution, version);
            if self.maps_hosts {
                described.distribution.show_as_root(&self.live_prefix);
            }
            if let Some(host) = &self.host {
                described.distribution.host.clone_from(host);
            } else if described.distribution.host.is_empty() {
                described.distribution.host = distribution.domain_name().to_owned();
            }
            Some(described)
        });
        described.map(Some).ok_or_else(|| self.wrong(id))
    }

    fn wrong(&self, id: &str) -> Error {
        Error::WrongDistribution { id: id.to_owned(), bucket: self.bucket.clone(), prefix: self.live_prefix.clone() }
    }

    async fn read_policy(&self, id: String) -> Result<(String, QueryStrings), Error> {
        let query_strings = query_strings(&self.client, &id).await?;
        Ok((id, query_strings))
    }

    /// Returns the version of a distribution's configuration, or `None` if there is no such distribution.
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
    pub async fn offer(&self, batch: &Batch) -> Result<Reply, Error> {
        let what = || format!("invalidating {} items on {}", batch.items.len(), batch.distribution);
        let malformed = |error: BuildError| Error::Aws { what: what(), reason: error.to_string(), source: None };
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
                Some("InvalidArgument" | "BatchTooLarge" | "MissingBody" | "InconsistentQuantities") => {
                    Ok(Reply::Refused(error.message().unwrap_or_default().to_owned()))
                }
                _ => Err(failed(what(), error)),
            },
        }
    }

    /// Waits until CloudFront reports an invalidation as completed, for as long as that takes. Returns `false` if its
    /// status cannot be read.
    pub async fn completion(&self, distribution: &str, id: &str) -> bool {
        let mut pause = FIRST_POLL_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_POLL_PAUSE);
            let request = self.client.get_invalidation();
            match request.distribution_id(distribution).id(id).send().await {
                Ok(answer) if answer.invalidation().is_some_and(|it| it.status() == "Completed") => {
                    return true;
                }
                Ok(_) => {}
                Err(error) => {
                    let error = failed(format!("reading the status of invalidation {id}"), error);
                    tracing::warn!("could not wait for an invalidation to complete: {error}");
                    return false;
                }
            }
        }
    }
}

/// Returns the error of a distribution that cannot be read.
///
/// The first two answers stay the same until the settings are corrected: the role may read exactly the distributions
/// that the template lists.
fn unreadable(id: &str, error: SdkError<GetDistributionError>) -> Error {
    let id = id.to_owned();
    match error.code() {
        Some("NoSuchDistribution") => Error::NoSuchDistribution { id },
        Some("AccessDenied") => {
            Error::DeniedDistribution { id, reason: error.message().unwrap_or("AccessDenied").to_owned() }
        }
        _ => failed(format!("reading distribution {id}"), error),
    }
}

fn staging_warning(id: &str) -> String {
    format!(
        "{id} has a continuous deployment policy, so a staging distribution may serve some of its viewers from a \
         cache of its own, which is not invalidated: add the staging distribution's id to DistributionIds \
         (DISTRIBUTION_IDS)"
    )
}

/// Whether the answer says that the caller reference was used before.
///
/// A reference is made from its items, so this very batch was accepted before. The documentation names the first error
/// code; the service has been seen to use the second (aws/aws-cdk#3878).
fn is_known_reference(code: Option<&str>, message: Option<&str>) -> bool {
    match code {
        Some("InvalidationBatchAlreadyExists") => true,
        Some("InvalidArgument") => {
            message.is_some_and(|message| message.to_ascii_lowercase().contains("caller reference"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
