//! The name of a deployment.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::Upload;

/// How an id writes the time of its upload.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// Names one upload brought live: `<upload time as 20261122T101500Z>-<12 hex digits>`.
///
/// Ids sort by upload time, to the second. An event always leads to the same id: nothing in it is random.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentId(String);

impl DeploymentId {
    /// Computes the id of an upload that was completed at `uploaded_at`.
    ///
    /// The digest covers bucket, key and version id; in a bucket without versioning, ETag and sequencer take the
    /// place of the version id.
    pub fn of(upload: &Upload, uploaded_at: DateTime<Utc>) -> Self {
        let fields = match &upload.version_id {
            Some(version) => [&upload.bucket, &upload.key, version.as_str(), ""],
            None => [
                upload.bucket.as_str(),
                &upload.key,
                upload.etag.as_deref().unwrap_or_default(),
                upload.sequencer.as_deref().unwrap_or_default(),
            ],
        };
        let mut hash = Sha256::new();
        for field in fields {
            // The length in front keeps ("a", "bc") and ("ab", "c") apart.
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        let digest = hex::encode(&hash.finalize()[..6]);
        Self(format!("{}-{digest}", uploaded_at.format(TIME_FORMAT)))
    }

    /// Returns the id by which the invalidations of a removal are known.
    pub fn of_removal(asked_at: DateTime<Utc>) -> Self {
        Self(format!("{}-removal", asked_at.format(TIME_FORMAT)))
    }

    /// Takes an id as a person wrote it. It may name no deployment: the ledger knows.
    pub fn named(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// Returns the time of the upload, to the second; `None` if the id is none that [`Self::of`] has computed.
    pub fn uploaded_at(&self) -> Option<DateTime<Utc>> {
        let (time, _) = self.0.split_once('-')?;
        NaiveDateTime::parse_from_str(time, TIME_FORMAT).ok().map(|time| time.and_utc())
    }

    /// Returns the 12 hex digits that name the upload whatever time its event gives.
    pub fn digest(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, digest)| digest)
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
