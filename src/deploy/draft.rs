//! The next manifest: what the bucket holds of ours, kept up to date with every write.

use futures_util::future::join_all;

use crate::aws::manifests::Manifests;
use crate::deployment::Head;
use crate::error::Error;
use crate::listing;
use crate::manifest::{Manifest, Row};

/// The manifest while its site changes.
pub(super) struct Draft<'a> {
    manifests: &'a Manifests,
    manifest: Manifest,
    /// Whether it differs from the manifest that the head points at.
    is_changed: bool,
}

impl<'a> Draft<'a> {
    /// Returns an empty draft: there is nothing to save until [`Self::start`].
    pub(super) fn new(manifests: &'a Manifests) -> Self {
        Self { manifests, manifest: Manifest::default(), is_changed: false }
    }

    /// Starts from a manifest, which may already differ from the saved one.
    pub(super) fn start(&mut self, manifest: Manifest, is_changed: bool) {
        self.manifest = manifest;
        self.is_changed = is_changed;
    }

    /// Returns the keys of all objects that are ours.
    pub(super) fn keys(&self) -> Vec<String> {
        self.manifest.iter().map(|(key, _)| key).collect()
    }

    /// Sets rows, or removes those that are `None`.
    pub(super) fn change<K: AsRef<str>>(&mut self, rows: Vec<(K, Option<Row>)>) {
        self.is_changed |= !rows.is_empty();
        self.manifest.change(rows);
    }

    /// Notes keys that will be written.
    pub(super) fn announce(&mut self, keys: Vec<&str>) {
        let announced = |key| self.manifest.get(key).unwrap_or_else(Row::announced).announced_again();
        let rows = keys.into_iter().map(|key| (key, Some(announced(key)))).collect();
        self.change(rows);
    }

    /// Writes the manifest if it has changed, and returns its key for [`Self::note_saved`].
    ///
    /// # Errors
    /// `Aws`.
    pub(super) async fn save(&self, version: u64) -> Result<Option<String>, Error> {
        if !self.is_changed {
            return Ok(None);
        }
        self.manifests.save(&self.manifest, version).await.map(Some)
    }

    /// Lets the head point at the manifest that was written.
    pub(super) fn note_saved(&mut self, key: String, head: &mut Head) {
        self.is_changed = false;
        // A manifest of another past may have had the same key.
        head.outdated.retain(|outdated| *outdated != key);
        head.outdated.extend(head.manifest.replace(key));
        head.list_at = listing::split_keys(&self.manifest);
    }

    /// Deletes manifests that the head has stopped pointing at. If an older head is restored from a backup, it must
    /// find none: keys that it does not know may have left the site.
    pub(super) async fn remove(&self, outdated: &[String]) {
        join_all(outdated.iter().map(|key| self.manifests.remove(key))).await;
    }
}
