//! The survey of the live site, from which a plan is made.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Site;
use super::attempt::Attempt;
use super::build::Build;
use crate::archive::ArchiveIndex;
use crate::aws::bucket::Bucket;
use crate::config::{Config, Prune};
use crate::cut;
use crate::deployment::{Head, Owed};
use crate::error::Error;
use crate::invalidation::{Distribution, StaleKeys, fingerprint};
use crate::listing::Listing;
use crate::manifest::Manifest;
use crate::plan::{self, Inspection, Plan, Rules};
use crate::transfer::{Comparison, Transfer};

/// How many objects are inspected in parallel.
const INSPECTIONS_AT_ONCE: usize = 64;

/// The live site, as AWS and the ledger describe it.
pub(super) struct Live {
    pub listing: Listing,
    pub manifest: Manifest,
    pub distributions: Vec<Distribution>,
    /// The invalidations that are recorded and not yet accepted.
    pub owed: Vec<Owed>,
    /// The keys of manifests that the head does not know, if its own is missing: it is new, or was restored.
    pub foreign_manifests: Vec<String>,
    /// Whether there is no manifest. Caches may then hold answers for keys that the site had at some time, and errors
    /// for keys that are new to it: the distribution may be older than the site.
    is_unrecorded: bool,
    /// Whether the site is new as far as the ledger and the bucket know, so that a manifest is not expected.
    is_new: bool,
    /// Whether the distributions were reconfigured since a run that has not finished began to write. Its batches follow
    /// from what they said before.
    is_reconfigured: bool,
    /// Whether objects without a row may be ours all the same.
    may_lack_rows: bool,
    /// The keys in the folder of previews that were the site's before it had previews.
    given_up: Vec<String>,
}

impl Live {
    /// Reads everything in parallel; the head says where to split the listing.
    ///
    /// # Errors
    /// `WrongDistribution`, `Aws`.
    pub(super) async fn read(site: &Site, head: &Head) -> Result<Self, Error> {
        let clients = &site.clients;
        let (listing, manifest, distributions, owed) = tokio::try_join!(
            clients.bucket.list(&head.list_at),
            clients.manifests.load(head.manifest.as_deref()),
            clients.cdn.discover(),
            clients.ledger.owed(),
        )?;
        tracing::info!(objects = listing.len(), "live bucket listed");
        let is_unrecorded = manifest.is_none();
        let foreign_manifests = if is_unrecorded { clients.manifests.list().await? } else { Vec::new() };
        let before = head.distributions.as_ref().filter(|_| head.is_between_builds());
        let is_reconfigured = before.is_some_and(|before| *before != fingerprint(&distributions));
        let is_new = head.manifest.is_none() && listing.is_empty();
        let mut manifest = manifest.unwrap_or_default();
        let given_up = match site.config.folder_of_previews() {
            Some(folder) => give_up(&mut manifest, &folder),
            None => Vec::new(),
        };
        Ok(Self {
            listing,
            manifest,
            distributions,
            owed,
            foreign_manifests,
            is_unrecorded,
            is_new,
            is_reconfigured,
            may_lack_rows: is_unrecorded || head.has_unfinished(),
            given_up,
        })
    }

    /// Whether the manifest is not the saved one any more.
    pub(super) fn has_given_up(&self) -> bool {
        !self.given_up.is_empty()
    }

    /// Returns what the site's owner should know about objects in the folder of previews, if the site had some.
    pub(super) fn warning_about_previews(&self) -> Option<String> {
        (!self.given_up.is_empty()).then(|| {
            format!(
                "{} objects that the site had are in the folder of previews (Previews=true), so they are its own no \
                 more and stay as they are: delete them yourself ({})",
                self.given_up.len(),
                cut::sentence(&self.given_up)
            )
        })
    }

    /// Returns the keys that go stale. It fills `kept` and borrows it, like [`Plan::stale`].
    pub(super) fn stale<'k>(&self, plan: &'k Plan<'_>, config: &'k Config, kept: &'k mut Vec<String>) -> StaleKeys<'k> {
        let mut stale = plan.stale(&self.listing, kept);
        if self.is_unrecorded || self.is_reconfigured {
            return StaleKeys { unknown_under: Some(&config.live_prefix), ..stale };
        }
        if self.may_lack_rows {
            // The run that died may have written a new key, and something else deleted it since.
            stale.changed.append(&mut stale.new);
            stale.changed_entry_points.append(&mut stale.new_entry_points);
        }
        stale
    }

    /// Returns what the site's owner should know if a manifest is missing. A new site has none.
    pub(super) fn warning(&self, config: &Config) -> Option<String> {
        let kept = match (config.prune, config.retain_removed_days) {
            (Prune::Owned, _) => ", and objects that the archive lacks stay, because nothing says whose they are",
            (Prune::All, 1..) => ", and the days for which removed files are retained start again",
            _ => "",
        };
        (self.is_unrecorded && !self.is_new).then(|| {
            format!(
                "no manifest says what the live bucket had (it was lost, or this is the first deployment over other \
                 objects): everything under `/{}` is invalidated once{kept}",
                config.live_prefix
            )
        })
    }
}

/// Forgets the rows of a folder that is not the site's any more, and returns their keys.
fn give_up(manifest: &mut Manifest, folder: &str) -> Vec<String> {
    let keys: Vec<String> = manifest.iter().map(|(key, _)| key).filter(|key| key.starts_with(folder)).collect();
    if !keys.is_empty() {
        manifest.change(keys.iter().map(|key| (key, None)).collect());
    }
    keys
}

/// Everything that a plan is made from, except the archive.
pub(super) struct Survey {
    pub live: Live,
    /// The inspections of single objects, by key.
    pub inspections: BTreeMap<String, Inspection>,
}

impl Survey {
    /// Inspects the objects that listing and manifest leave open.
    ///
    /// # Errors
    /// `Aws`, and those of reading the archive.
    pub(super) async fn complete<'t>(
        attempt: &Attempt<'_>,
        build: &'t Build,
        live: Live,
        transfer: &Transfer<'t>,
        rules: &Rules<'_>,
    ) -> Result<Self, Error> {
        let to_inspect = plan::to_inspect(&build.index, &live.listing, &live.manifest, rules);
        let removed = if live.may_lack_rows {
            plan::removed_without_row(&build.index, &live.listing, &live.manifest, rules)
        } else {
            Vec::new()
        };
        let keys = to_inspect.iter().map(|(key, ..)| key).chain(&removed);
        let mut inspections = inspect(&attempt.site.clients.bucket, keys).await?;
        // An entry is read only if S3 has no CRC-32 of its object, or one that the archive does not have.
        let comparisons = to_inspect.into_iter().filter_map(|(key, entry, encoding)| {
            let seen = inspections.get(&key)?;
            let checksum = seen.comparison(&live.listing.get(&key)?, encoding)?;
            Some(Comparison { entry, key, checksum })
        });
        let comparisons: Vec<_> = comparisons.collect();
        if !comparisons.is_empty() {
            let keys: Vec<String> = comparisons.iter().map(|comparison| comparison.key.clone()).collect();
            let same = transfer.same_bytes(comparisons).await?;
            for key in keys {
                let is_same = same.contains(&key);
                inspections.entry(key).and_modify(|seen| seen.same_bytes = Some(is_same));
            }
        }
        Ok(Self { live, inspections })
    }

    /// Compares archive and bucket.
    ///
    /// # Errors
    /// `LargeDelete`.
    pub(super) fn plan<'i>(&self, index: &'i ArchiveIndex, rules: &Rules) -> Result<Plan<'i>, Error> {
        let Live { listing, manifest, .. } = &self.live;
        Ok(Plan::new(index, listing, manifest, &self.inspections, rules)?)
    }
}

/// Asks S3 for objects, one HEAD each. An object that is gone is left out.
async fn inspect(bucket: &Bucket, keys: impl Iterator<Item = &String>) -> Result<BTreeMap<String, Inspection>, Error> {
    stream::iter(keys)
        .map(async |key| Ok((key, bucket.inspect(key).await?)))
        .buffer_unordered(INSPECTIONS_AT_ONCE)
        .try_filter_map(async |(key, found)| {
            let inspection = found.map(|found| Inspection {
                crc32: found.crc32,
                same_bytes: None,
                headers: found.headers.digest(),
                immutable: found.headers.is_immutable(),
            });
            Ok(inspection.map(|inspection| (key.clone(), inspection)))
        })
        .try_collect()
        .await
}
