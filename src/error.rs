//! The errors of the contract. Each variant's name is the `errorType` of a failed invocation.

use std::error::Error as StdError;

use chrono::{DateTime, Utc};
use lambda_runtime::Diagnostic;

use crate::deployment::{DeploymentId, Head};
use crate::plan::LargeDelete;
use crate::{archive, config, cut, event, headers};

/// The reason why a deployment, or a whole invocation, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the archive was refused: {0}")]
    ArchiveRejected(String),
    /// The data of an entry is not what the archive states about it, so no settings can make the archive deployable.
    ///
    /// It is the only refusal that a run may meet after its first write: an entry that memory cannot hold is read late.
    #[error("the archive was refused: {0}")]
    CorruptBody(String),
    /// A run has found the archive corrupt before. The text is its error.
    #[error("{0}")]
    RefusedForGood(String),
    /// A run was refused after its first write.
    #[error("{refusal}; the site is left between two builds: {}", way_out(.back_to))]
    Torn {
        refusal: Box<Error>,
        /// The deployment to roll back to, as a rollback names it.
        back_to: Option<String>,
    },
    #[error("the archive s3://{bucket}/{key}{} is gone: {reason}", version(.version_id))]
    ArchiveGone { bucket: String, key: String, version_id: Option<String>, reason: String },
    #[error("{0}")]
    LargeDelete(#[from] LargeDelete),
    /// An upload waits for the site; a replay does not.
    #[error("{} holds the site until {until}: {}", holder(.deployment), next_try(*.waits))]
    Busy { deployment: Option<DeploymentId>, until: DateTime<Utc>, waits: bool },
    #[error(
        "this invocation's lease ended and another invocation took the site over, so this one stopped: Lambda tries \
         the event twice more, after one and two minutes; if that fails too, send it again"
    )]
    LeaseLost,
    #[error(
        "the deadline came before the deployment was finished ({done} of {total} objects): the work done so far is \
         kept, and Lambda's two retries continue from there; if they do not suffice, raise MemorySize and send the \
         event again"
    )]
    Unfinished { done: usize, total: usize },
    #[error(
        "CloudFront has not accepted {batches} invalidation batches yet ({reason}): they are recorded, and \
         Lambda's two retries, the next deployment of the site or a sweep sends them"
    )]
    InvalidationOwed { batches: usize, reason: String },
    #[error(
        "distribution {id} has no origin that serves s3://{bucket}/{prefix}: correct DistributionIds (DISTRIBUTION_IDS), or name the \
         path of the bucket that it serves in OriginPaths, as {id}=/path or {id}=/, if the bucket is hidden behind \
         another origin"
    )]
    WrongDistribution { id: String, bucket: String, prefix: String },
    #[error(
        "this account has no distribution {id}: correct DistributionIds (DISTRIBUTION_IDS), or take the id out if it was \
         deleted"
    )]
    NoSuchDistribution { id: String },
    #[error(
        "the function may not read distribution {id} ({reason}): if it is one of this account's, name it in \
         DistributionIds, from which the template makes the role's policy; otherwise correct DISTRIBUTION_IDS"
    )]
    DeniedDistribution { id: String, reason: String },
    #[error(
        "the ledger of {site} has no such deployment to roll back to: look its id up with `aws dynamodb query`, or \
         send the saved event of the deployment"
    )]
    NoSuchDeployment { site: String },
    #[error(
        "the ledger of {site} knows no deployment before the live one: name the one to roll back to by its id, as \
         {{\"rollback\":\"<deployment id>\"}}"
    )]
    NoPrevious { site: String },
    #[error("{0}")]
    BadEvent(#[from] event::BadEvent),
    #[error("{0}")]
    BadConfig(#[from] config::ConfigErrors),
    /// A request to AWS failed, or an answer makes no sense. It also stands for a task that panicked while it unpacked
    /// an entry, and for objects that other writers change faster than the run can write or delete them.
    #[error("{what} failed: {reason}")]
    Aws {
        what: String,
        reason: String,
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

fn way_out(back_to: &Option<String>) -> String {
    match back_to {
        Some(target) => format!("send {{\"rollback\":\"{target}\"}} to bring the last build back"),
        None => "upload a sound build".to_owned(),
    }
}

fn holder(deployment: &Option<DeploymentId>) -> String {
    deployment.as_ref().map_or_else(|| "a sweep".to_owned(), |id| format!("another deployment ({id})"))
}

fn next_try(waits: bool) -> &'static str {
    if waits {
        "this upload waits, and whoever is done with the site next deploys it, if Lambda's two retries do not come first"
    } else {
        "Lambda tries this event twice more, after one and two minutes; if that fails too, send it again"
    }
}

fn version(version_id: &Option<String>) -> String {
    version_id.as_ref().map(|id| format!(" (version {id})")).unwrap_or_default()
}

impl Error {
    /// Returns the contract's `errorType`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ArchiveRejected(_) | Self::CorruptBody(_) | Self::RefusedForGood(_) => "ArchiveRejected",
            Self::Torn { refusal, .. } => refusal.kind(),
            Self::ArchiveGone { .. } => "ArchiveGone",
            Self::LargeDelete(_) => "LargeDelete",
            Self::Busy { .. } => "Busy",
            Self::LeaseLost => "LeaseLost",
            Self::Unfinished { .. } => "Unfinished",
            Self::InvalidationOwed { .. } => "InvalidationOwed",
            Self::WrongDistribution { .. } | Self::NoSuchDistribution { .. } | Self::DeniedDistribution { .. } => {
                "WrongDistribution"
            }
            Self::BadEvent(_) | Self::NoSuchDeployment { .. } | Self::NoPrevious { .. } => "BadEvent",
            Self::BadConfig(_) => "BadConfig",
            Self::Aws { .. } => "Aws",
        }
    }

    /// Returns the contract's `errorMessage`: what to do, cut where it quotes too much.
    pub fn message(&self) -> String {
        cut::text(&self.to_string())
    }

    /// Whether the run was refused: what it would do is wrong, and trying again does not help.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::ArchiveRejected(_)
                | Self::CorruptBody(_)
                | Self::RefusedForGood(_)
                | Self::LargeDelete(_)
                | Self::Torn { .. }
        )
    }

    /// Returns the refusal alone, without the state in which it leaves the site.
    pub fn refusal(&self) -> &Self {
        match self {
            Self::Torn { refusal, .. } => refusal,
            other => other,
        }
    }

    /// Returns the error of an upload that finds the site between two builds: a refusal then says how to bring the last
    /// one back, since no later run may do so.
    pub fn between_builds(self, head: &Head, config: &config::Config) -> Self {
        if head.is_torn && self.is_refusal() {
            let back_to = head.live.as_ref().map(|live| config.rollback_target(live.deployment.as_str()));
            return Self::Torn { refusal: Box::new(self), back_to };
        }
        self
    }

    /// Whether the archive is refused whatever the settings and the options are.
    pub fn is_final(&self) -> bool {
        match self {
            Self::CorruptBody(_) => true,
            Self::Torn { refusal, .. } => refusal.is_final(),
            _ => false,
        }
    }
}

impl From<archive::Rejection> for Error {
    fn from(rejection: archive::Rejection) -> Self {
        match rejection {
            // It follows the data, so it may be read as late as the data.
            archive::Rejection::Descriptor { .. } => Self::CorruptBody(rejection.to_string()),
            _ => Self::ArchiveRejected(rejection.to_string()),
        }
    }
}

impl From<archive::Corrupt> for Error {
    fn from(corrupt: archive::Corrupt) -> Self {
        Self::CorruptBody(corrupt.to_string())
    }
}

impl From<headers::BadHeadersFile> for Error {
    fn from(bad: headers::BadHeadersFile) -> Self {
        Self::ArchiveRejected(bad.to_string())
    }
}

// `lambda_runtime` would otherwise use the name of the boxed type as the `errorType`.
impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.kind().to_owned(), error_message: error.message() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_waits_for_the_site_but_a_replay_has_to_be_sent_again() {
        let busy = |waits| Error::Busy { deployment: None, until: DateTime::UNIX_EPOCH, waits };
        insta::assert_snapshot!(busy(true), @"a sweep holds the site until 1970-01-01 00:00:00 UTC: this upload waits, and whoever is done with the site next deploys it, if Lambda's two retries do not come first");
        insta::assert_snapshot!(busy(false), @"a sweep holds the site until 1970-01-01 00:00:00 UTC: Lambda tries this event twice more, after one and two minutes; if that fails too, send it again");
    }
}
