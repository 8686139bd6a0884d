//! The survey of the live site, from which a plan is made.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Site;
use super::attempt::Attempt;
use super::build::Build;
use crate::archive::ArchiveIndex;
use crate::aws::bucket::Bucket;
use crate::deployment::{Head, Owed};
use crate::error::Error;
use crate::invalidation::Distribution;
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
        Ok(Self { listing, manifest, distributions, owed })
    }
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
    pub(super) async fn complete(
        attempt: &Attempt<'_>,
        build: &Build,
        live: Live,
        transfer: &Transfer<'_>,
        rules: &Rules<'_>,
    ) -> Result<Self, Error> {
        let to_inspect = plan::to_inspect(&build.index, &live.listing, &live.manifest, rules);
        let mut inspections = inspect(&attempt.site.clients.bucket, to_inspect.iter().map(|(key, ..)| key)).await?;
        // An entry is read only if S3 has no CRC-32 of its object, or one that the archive does not have.
        let comparisons = to_inspect.into_iter().filter_map(|(key, entry, encoding)| {
            let seen = inspections.get(&key)?;
            let checksum = seen.comparison(&live.listing.get(&key)?, rules.compare, encoding)?;
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
        Plan::new(index, listing, manifest, &self.inspections, rules).map_err(|large| Error::LargeDelete {
            removed: large.removed,
            objects: large.objects,
            percent: rules.max_delete_percent,
        })
    }
}

/// Asks S3 for objects, one HEAD each. An object that is gone is left out.
async fn inspect(bucket: &Bucket, keys: impl Iterator<Item = &String>) -> Result<BTreeMap<String, Inspection>, Error> {
    stream::iter(keys)
        .map(async |key| Ok((key, bucket.inspect(key).await?)))
        .buffer_unordered(INSPECTIONS_AT_ONCE)
        .try_filter_map(async |(key, found)| {
            let inspection =
                found.map(|found| Inspection { crc32: found.crc32, same_bytes: None, headers: found.headers.digest() });
            Ok(inspection.map(|inspection| (key.clone(), inspection)))
        })
        .try_collect()
        .await
}
