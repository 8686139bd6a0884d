//! Reads and writes manifests, objects in the staging bucket under `.dropship/<site>/`.

use aws_sdk_s3::primitives::DateTime;

use super::response::{failed, status};
use crate::config::Config;
use crate::error::Error;
use crate::key::OWN_FOLDER;
use crate::manifest::{Decoder, Manifest};

/// The name of the user metadata that says when the rows were true, in epoch seconds, if the object was written later.
const AS_OF: &str = "as-of";

/// The manifests in the staging bucket, under `.dropship/<site>/`.
#[derive(Clone)]
pub struct Manifests {
    s3: aws_sdk_s3::Client,
    bucket: String,
    folder: String,
    account_id: Option<String>,
}

impl Manifests {
    pub fn new(s3: aws_sdk_s3::Client, config: &Config) -> Self {
        Self {
            s3,
            bucket: config.staging_bucket.clone(),
            folder: folder(config),
            account_id: config.account_id.clone(),
        }
    }

    /// Returns the manifests of another site.
    pub(super) fn of_site(&self, config: &Config) -> Self {
        Self { folder: folder(config), ..self.clone() }
    }

    /// Reads the manifest under `key`. Returns `None` if it is missing or damaged.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn load(&self, key: Option<&str>) -> Result<Option<Manifest>, Error> {
        let Some(key) = key else {
            return Ok(None);
        };
        let request = self.s3.get_object().bucket(&self.bucket).key(key);
        let answer = match request.set_expected_bucket_owner(self.account_id.clone()).send().await {
            Ok(answer) => answer,
            Err(error) if status(&error) == Some(404) => {
                tracing::warn!(%key, "the manifest is gone; each object costs one HEAD this time");
                return Ok(None);
            }
            Err(error) => return Err(failed(format!("reading the manifest {key}"), error)),
        };
        let as_of = (answer.metadata.as_ref()).and_then(|metadata| metadata.get(AS_OF)?.parse().ok());
        let saved_at = as_of.or_else(|| answer.last_modified.as_ref().map(DateTime::secs));
        let mut body = answer.body;
        let mut decoder = Decoder::default();
        let mut decoded = Ok(());
        while let (Ok(()), Some(piece)) = (&decoded, body.next().await) {
            let piece = piece.map_err(|error| Error::Aws {
                what: format!("reading the manifest {key}"),
                reason: error.to_string(),
                source: None,
            })?;
            decoded = decoder.read(&piece);
        }
        let decoded = decoded.and_then(|()| decoder.finish());
        let decoded = decoded.inspect_err(|error| tracing::warn!(%key, "{error}"));
        Ok(decoded.ok().map(|manifest| manifest.with_saved_at(saved_at)))
    }

    /// Writes a manifest under a key that no other version of the site's head uses. Returns the key.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn save(&self, manifest: &Manifest, version: u64) -> Result<String, Error> {
        let key = format!("{}/manifest-{version}.gz", self.folder);
        let request = self
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(&key)
            // A loaded manifest keeps its date until it is compared with a listing.
            .set_metadata(manifest.saved_at().map(|at| [(AS_OF.to_owned(), at.to_string())].into()))
            .body(manifest.encode().into());
        let answer =
            request.content_type("application/gzip").set_expected_bucket_owner(self.account_id.clone()).send().await;
        answer.map_err(|error| failed(format!("writing the manifest {key}"), error))?;
        Ok(key)
    }

    /// Returns the keys of all manifests of the site, up to a thousand.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn list(&self) -> Result<Vec<String>, Error> {
        let prefix = format!("{}/manifest-", self.folder);
        let request = self.s3.list_objects_v2().bucket(&self.bucket).prefix(&prefix);
        let answer = request.set_expected_bucket_owner(self.account_id.clone()).send().await;
        let answer = answer.map_err(|error| failed(format!("listing the manifests in {}/", self.folder), error))?;
        let keys = answer.contents.unwrap_or_default().into_iter().filter_map(|object| object.key);
        // A site of another name may have its folder under the same prefix.
        Ok(keys.filter(|key| !key[prefix.len()..].contains('/')).collect())
    }

    /// Deletes a manifest that no head points at any more. One that is left over does harm only if a head that points at
    /// it is restored from a backup.
    pub async fn remove(&self, key: &str) {
        let request = self.s3.delete_object().bucket(&self.bucket).key(key);
        if let Err(error) = request.set_expected_bucket_owner(self.account_id.clone()).send().await {
            tracing::warn!(%key, "could not delete an outdated manifest: {error}");
        }
    }
}

fn folder(config: &Config) -> String {
    format!("{OWN_FOLDER}{}", config.site.trim_end_matches('/'))
}
