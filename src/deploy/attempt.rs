//! One invocation's attempt at one upload: who it is, whether it may, and what it finds.

use std::collections::BTreeMap;
use std::pin::pin;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{self, Either};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::{Invocation, Site};
use crate::archive::{ArchiveIndex, Limits};
use crate::aws::archive::Archive;
use crate::aws::ledger::{Commit, Owed};
use crate::cache_tag::CacheTags;
use crate::deployment::{Decision, DeploymentId, Head, LEASE_GRACE, Record, Request, Status, decide};
use crate::error::Error;
use crate::event::{Options, Upload};
use crate::headers::{HeaderRules, HeadersFile};
use crate::invalidation::{self, Distribution, Invalidation, InvalidationRules, StaleKeys, is_tag};
use crate::listing::Listing;
use crate::manifest::Manifest;
use crate::plan::{self, Observed, Plan, Rules, TagEvidence};
use crate::report::{ArchiveName, Outcome, Planned, PlannedItems, Progress, Report};
use crate::transfer::{Comparison, Transfer};

/// How many objects are asked for at once.
const QUESTIONS_AT_ONCE: usize = 64;

/// CloudFront has room for 15 wildcards in progress; the rest is left to the site's owner.
const MAX_WILDCARDS: usize = 10;

/// S3's longest key in bytes (S3 user guide, "Object key naming").
const MAX_KEY_BYTES: usize = 1_024;

/// One upload, in one invocation.
pub struct Attempt<'a> {
    pub site: &'a Site,
    pub invocation: &'a Invocation<'a>,
    pub id: DeploymentId,
    upload: Upload,
    uploaded_at: DateTime<Utc>,
    options: Options,
    started_at: DateTime<Utc>,
}

/// The outcome of the decision table.
pub enum Claimed {
    Yes(Box<Claim>),
    /// There is nothing to do; the number is the deployment's last run, or 0.
    No(Outcome, u64),
}

/// An archive that was judged by its index.
pub struct Build {
    pub archive: Archive,
    pub index: ArchiveIndex,
    pub headers: HeaderRules,
    /// Sentences for the report.
    pub warnings: Vec<String>,
}

/// A site claimed for a run, the build that it will bring live, and what it found live.
pub struct Claim {
    pub build: Build,
    pub live: Result<Live, Error>,
    pub before: Head,
    pub head: Head,
    pub record: Record,
}

/// What is live and what is known of it.
pub struct Live {
    pub listing: Listing,
    pub manifest: Manifest,
    pub distributions: Vec<Distribution>,
    /// The invalidations that are recorded and were not yet accepted.
    pub owed: Vec<Owed>,
}

/// Everything a plan is made from, besides the archive.
pub struct Situation {
    pub live: Live,
    pub observed: BTreeMap<String, Observed>,
}

impl<'a> Attempt<'a> {
    /// Completes the upload where its event was written by hand.
    ///
    /// # Errors
    /// `ArchiveGone`, `Aws`.
    pub async fn new(
        site: &'a Site,
        upload: &Upload,
        options: Options,
        invocation: &'a Invocation<'a>,
    ) -> Result<Self, Error> {
        let started_at = invocation.now();
        let upload = site.clients.archives.identify(upload).await?;
        // What S3 gives no date cannot be ordered, and is taken as new.
        let uploaded_at = upload.uploaded_at.unwrap_or(started_at);
        let id = DeploymentId::of(&upload, uploaded_at);
        tracing::Span::current().record("deployment", tracing::field::display(&id));
        tracing::info!(archive = upload.key, version = upload.version_id, "deploying");
        Ok(Self { site, invocation, id, upload, uploaded_at, options, started_at })
    }

    pub fn progress(&self) -> &Progress {
        self.invocation.progress
    }

    /// Decides, waits where another deployment is at work, and takes the lease. The archive's index is judged
    /// first, so that a refused archive never touches the head.
    ///
    /// What does not depend on each other is asked for at the same time: the index while the ledger is read,
    /// and what is live while the lease is taken. What was read of the live site before the lease was ours is
    /// as good as if it were read afterwards: every run writes the head before anything else, and the commit
    /// takes place only if nobody has since it was read.
    ///
    /// # Errors
    /// `ArchiveRejected`, which is recorded; `ArchiveGone`; `Busy`; `Aws`.
    pub async fn claim(&self) -> Result<Claimed, Error> {
        let ledger = &self.site.clients.ledger;
        // Boxed, as are the others that run beside something: they are large, and stacks are not.
        let mut judging = Box::pin(future::maybe_done(self.judge()));
        loop {
            // Both as of one moment: with a head that is newer than the record, the commit could go through on
            // what an outdated record says.
            let (head, record) = beside(ledger.read(&self.id), judging.as_mut()).await?;
            let decision = decide(&head, record.as_ref(), &self.request());
            let last_run = record.as_ref().map_or(0, |record| record.run);
            match decision {
                Decision::Rejected(reason) => return Err(Error::ArchiveRejected(reason)),
                Decision::InProgress => return Ok(Claimed::No(Outcome::InProgress, last_run)),
                Decision::Duplicate => return Ok(Claimed::No(Outcome::Duplicate, last_run)),
                Decision::Superseded => {
                    let superseded = Record { status: Status::Superseded, ..self.record(record.as_ref()) };
                    if ledger.note(record.as_ref(), &superseded).await? == Commit::Done {
                        return Ok(Claimed::No(Outcome::Superseded, last_run));
                    }
                    continue;
                }
                Decision::Run { .. } | Decision::Resume | Decision::Wait => {}
            }
            judging.as_mut().await;
            if !matches!(judging.as_mut().output_mut(), Some(Ok(_))) {
                return self.refused(judging.as_mut().take_output(), record.as_ref()).await;
            }
            let next = match decision {
                Decision::Run { rollback } => Record {
                    status: Status::Running,
                    run: head.sequence + 1,
                    rollback,
                    batches: 0,
                    ..self.record(record.as_ref())
                },
                Decision::Resume => self.record(record.as_ref()),
                _ => {
                    self.wait(&head).await?;
                    continue;
                }
            };
            let next = next.claimed_by(self.invocation.request_id);
            let until = self.invocation.deadline + LEASE_GRACE;
            let claimed = head.claimed(&self.request(), next.run, until);
            let (committed, live) =
                tokio::join!(ledger.commit(&head, &claimed, Some(&next), &[], &[]), Box::pin(self.live(&head)),);
            if committed? == Commit::Done
                && let Some(Ok(build)) = judging.as_mut().take_output()
            {
                tracing::Span::current().record("run", next.run);
                tracing::info!(run = next.run, rollback = next.rollback, "claimed");
                let claim = Claim { build, live, before: head, head: claimed, record: next };
                return Ok(Claimed::Yes(Box::new(claim)));
            }
        }
    }

    /// Remembers that the archive was refused, and passes on why; so with any other error of judging it.
    async fn refused(&self, judged: Option<Result<Build, Error>>, record: Option<&Record>) -> Result<Claimed, Error> {
        let Some(Err(error)) = judged else {
            return Err(Error::ArchiveRejected("it was not read".to_owned()));
        };
        if let Error::ArchiveRejected(reason) = &error {
            let rejected = Record { status: Status::Rejected, rejection: Some(reason.clone()), ..self.record(record) };
            // Where another run has changed the record meanwhile, the next event finds the same.
            let _ = self.site.clients.ledger.note(record, &rejected).await?;
        }
        Err(error)
    }

    /// Opens the archive and judges it by its index.
    async fn judge(&self) -> Result<Build, Error> {
        let archive = self.site.clients.archives.open(&self.upload);
        let config = &self.site.config;
        let limits = Limits {
            max_entries: config.max_entries,
            max_expanded_bytes: config.max_archive_bytes,
            max_ratio: config.max_ratio,
            max_name_bytes: MAX_KEY_BYTES.saturating_sub(config.live_prefix.len()),
            ..Limits::default()
        };
        let index = archive.index(&config.archive_root, &limits).await?;
        tracing::info!(entries = index.entries.len(), left_out = index.left_out, "archive read");
        let file = match &index.headers_file {
            Some(entry) => Some(HeadersFile::parse(&archive.small(entry).await?)?),
            None => None,
        };
        let names: Vec<&str> = index.entries.iter().map(|entry| &*entry.name).collect();
        let mut warnings = index.warnings.clone();
        if let Some(file) = &file {
            warnings.extend(file.check(&names)?);
        }
        let headers = HeaderRules::new(config.cache_control.clone(), &names, file);
        Ok(Build { archive, index, headers, warnings })
    }

    async fn wait(&self, head: &Head) -> Result<(), Error> {
        if self.invocation.is_late() {
            let lease = head.lease.as_ref();
            return Err(Error::Busy {
                deployment: lease.map(|lease| lease.deployment.to_string()).unwrap_or_default(),
                until: lease.map(|lease| lease.until.to_rfc3339()).unwrap_or_default(),
            });
        }
        tracing::debug!("another deployment is at work; waiting");
        // With some jitter, so that those who wait do not look all at once.
        let pause = self.invocation.pause.mul_f64(0.7 + 0.6 * fastrand::f64());
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Says what a run would do, and changes nothing, not even in the ledger.
    ///
    /// # Errors
    /// Those that the run would meet before its first write.
    pub async fn rehearse(&self) -> Result<Report, Error> {
        let build = self.judge().await?;
        let head = self.site.clients.ledger.head().await?;
        let live = self.live(&head).await?;
        let tags = self.tags(&live);
        let rules = self.rules(&build.headers, &tags);
        let situation = self.look(&build, live, &rules).await?;
        let plan = self.plan(&build.index, &situation, &rules)?;
        let is_late = || self.invocation.is_late();
        self.transfer(&build.archive, &rules, &is_late).preflight(&plan.puts).await?;
        let mut report = self.report(Outcome::Planned, 0);
        report.count(&plan);
        report.bytes_read = build.archive.bytes_read();
        report.warnings.extend(build.warnings);
        let owned = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
        let evidence =
            TagEvidence { listing: &situation.live.listing, manifest: &situation.live.manifest, rules: &rules };
        let mut kept = Vec::new();
        let stale = plan.stale(&situation.live.listing, &mut kept);
        let items = self.invalidations(&situation.live.distributions, &stale, Some(&evidence));
        let warnings = items.iter().filter_map(|(distribution, invalidation)| self.warning(distribution, invalidation));
        report.warnings.extend(warnings);
        report.plan = Some(Planned {
            new: owned(plan.new_keys()),
            changed: plan.puts.iter().filter(|put| put.replaces.is_some()).map(|put| put.key.to_string()).collect(),
            headers: plan.copies.iter().map(|copy| copy.key.to_string()).collect(),
            deleted: plan.deletes.iter().map(|delete| delete.key.clone()).collect(),
            items: items
                .into_iter()
                .map(|(distribution, invalidation)| PlannedItems {
                    distribution_id: distribution.id.clone(),
                    items: [invalidation.changed.paths, invalidation.deleted.paths].concat(),
                })
                .collect(),
        });
        Ok(report)
    }

    /// Reads what is live, side by side; the head says where to begin listing.
    ///
    /// # Errors
    /// `WrongDistribution`, `Aws`.
    async fn live(&self, head: &Head) -> Result<Live, Error> {
        let clients = &self.site.clients;
        let (listing, manifest, distributions, owed) = tokio::try_join!(
            clients.bucket.list(&head.list_at),
            clients.manifests.load(head.manifest.as_deref()),
            clients.cdn.discover(),
            clients.ledger.owed(),
        )?;
        Ok(Live { listing, manifest, distributions, owed })
    }

    /// Asks for the objects that listing and manifest do not settle.
    ///
    /// # Errors
    /// `Aws`, and those of reading the archive.
    pub async fn look(
        &self,
        Build { archive, index, .. }: &Build,
        live: Live,
        rules: &Rules<'_>,
    ) -> Result<Situation, Error> {
        let clients = &self.site.clients;
        let Live { listing, manifest, .. } = &live;
        tracing::info!(objects = listing.len(), "live bucket listed");
        let questions = plan::questions(index, listing, manifest, rules);
        let inspected = stream::iter(&questions)
            .map(async |(key, ..)| Ok::<_, Error>((key.clone(), clients.bucket.inspect(key).await?)))
            .buffer_unordered(QUESTIONS_AT_ONCE);
        let mut observed: BTreeMap<String, Observed> = inspected
            .try_filter_map(async |(key, found)| {
                let found = found.map(|found| Observed {
                    crc32: found.crc32,
                    same_bytes: None,
                    headers: found.headers.digest(),
                });
                Ok(found.map(|found| (key, found)))
            })
            .try_collect()
            .await?;
        // Only what S3 has no CRC-32 of, or one that the archive does not have, is read to be compared.
        let unsettled = questions.into_iter().filter_map(|(key, entry, encoding)| {
            let seen = observed.get(&key)?;
            let sum = seen.comparison(&listing.get(&key)?, rules.compare, encoding)?;
            Some(Comparison { entry, key, sum })
        });
        let unsettled: Vec<_> = unsettled.collect();
        if !unsettled.is_empty() {
            let keys: Vec<String> = unsettled.iter().map(|it| it.key.clone()).collect();
            let is_late = || self.invocation.is_late();
            let transfer = self.transfer(archive, rules, &is_late);
            let same = transfer.same_bytes(unsettled).await?;
            for key in keys {
                let is_same = same.contains(&key);
                observed.entry(key).and_modify(|seen| seen.same_bytes = Some(is_same));
            }
        }
        Ok(Situation { live, observed })
    }

    /// The means to read and write.
    pub fn transfer<'t>(
        &'t self,
        archive: &'t Archive,
        rules: &'t Rules<'t>,
        is_late: &'t (dyn Fn() -> bool + Sync),
    ) -> Transfer<'t> {
        Transfer::new(archive, &self.site.clients.bucket, rules, self.progress(), is_late, self.site.config.memory_mib)
    }

    /// Compares archive and bucket.
    ///
    /// # Errors
    /// `LargeDelete`.
    pub fn plan<'i>(&self, index: &'i ArchiveIndex, found: &Situation, rules: &Rules) -> Result<Plan<'i>, Error> {
        Plan::new(index, &found.live.listing, &found.live.manifest, &found.observed, rules).map_err(|large| {
            Error::LargeDelete { deletes: large.deletes, objects: large.objects, percent: rules.max_delete_percent }
        })
    }

    /// The cache tags that the distributions want.
    pub fn tags(&self, live: &Live) -> CacheTags {
        CacheTags::new(&self.site.config.site, &live.distributions)
    }

    pub fn rules<'r>(&'r self, headers: &'r HeaderRules, tags: &'r CacheTags) -> Rules<'r> {
        let config = &self.site.config;
        Rules {
            live_prefix: &config.live_prefix,
            headers,
            gzip: config.gzip,
            tags,
            compare: config.compare,
            prune: config.prune,
            max_delete_percent: config.max_delete_percent,
            allow_large_delete: self.options.allow_large_delete,
            retain_removed_days: config.retain_removed_days,
            now: self.started_at.timestamp(),
        }
    }

    /// What goes stale on each distribution; without evidence, no tag is relied on.
    pub fn invalidations<'d>(
        &self,
        distributions: &'d [Distribution],
        stale: &StaleKeys,
        evidence: Option<&TagEvidence>,
    ) -> Vec<(&'d Distribution, Invalidation)> {
        let config = &self.site.config;
        let rules = InvalidationRules {
            max_items: config.max_invalidation_paths,
            max_wildcards: MAX_WILDCARDS,
            clean_urls: config.clean_urls,
            invalidate_new: config.invalidate_new,
            query_strings: config.invalidate_query_strings,
        };
        let plan = |distribution: &Distribution| {
            let tagging = distribution.tags.as_ref();
            match evidence.zip(tagging.and_then(|tagging| tagging.since)) {
                None => invalidation::invalidation(distribution, stale, &rules),
                Some((evidence, since)) => {
                    let tags = || evidence.tags(stale, since);
                    invalidation::tagged_invalidation(distribution, stale, &rules, tags)
                }
            }
        };
        distributions.iter().map(|distribution| (distribution, plan(distribution))).collect()
    }

    /// What the site's owner may want to change where unchanged objects are evicted.
    pub fn warning(&self, distribution: &Distribution, invalidation: &Invalidation) -> Option<String> {
        let (id, evicted) = (&distribution.id, invalidation.collateral);
        if let Some(page) = &invalidation.fallback {
            return Some(format!(
                "{id} serves {page} under any path and keeps it for over 10 seconds: as it changes, everything is \
                 evicted ({evicted} unchanged objects); an error caching minimum TTL of 10 avoids that"
            ));
        }
        let is_tagged = [&invalidation.changed, &invalidation.deleted]
            .iter()
            .any(|items| items.paths.iter().any(|item| is_tag(item)));
        let what = if is_tagged { "wildcards and cache tags" } else { "wildcards" };
        (evicted > 0).then(|| {
            format!(
                "{what} evict {evicted} unchanged objects from {id}: more than MAX_INVALIDATION_PATHS ({}) \
                 items would be needed without them, or a stale path has characters that CloudFront cannot name",
                self.site.config.max_invalidation_paths
            )
        })
    }

    /// A report without counts.
    pub fn report(&self, outcome: Outcome, run: u64) -> Report {
        let archive = ArchiveName {
            bucket: self.upload.bucket.clone(),
            key: self.upload.key.clone(),
            version_id: self.upload.version_id.clone(),
        };
        let site = self.site.config.site.clone();
        Report { duration_ms: self.duration_ms(), ..Report::new(self.id.clone(), run, site, outcome, archive) }
    }

    pub fn duration_ms(&self) -> u64 {
        u64::try_from((self.invocation.now() - self.started_at).num_milliseconds()).unwrap_or_default()
    }

    fn request(&self) -> Request<'_> {
        Request {
            id: self.invocation.request_id,
            deployment: &self.id,
            uploaded_at: self.uploaded_at,
            replay: self.options.replay,
            arrived_at: self.started_at,
            now: self.invocation.now(),
        }
    }

    /// The record as it was, or a fresh one.
    fn record(&self, record: Option<&Record>) -> Record {
        let expires_at = self.invocation.now() + TimeDelta::days(i64::from(self.site.config.history_days));
        Record {
            expires_at: expires_at.timestamp(),
            ..record.cloned().unwrap_or_else(|| Record {
                deployment: self.id.clone(),
                uploaded_at: self.uploaded_at,
                status: Status::Running,
                run: 0,
                rollback: false,
                requests: Vec::new(),
                batches: 0,
                rejection: None,
                version_id: self.upload.version_id.clone(),
                etag: self.upload.etag.clone(),
                sequencer: self.upload.sequencer.clone(),
                event: self.upload.event.to_string(),
                answer: None,
                expires_at: 0,
            })
        }
    }
}

/// Waits for `first`, and lets `second` get on meanwhile.
async fn beside<T>(first: impl Future<Output = T>, second: impl Future) -> T {
    match future::select(pin!(first), pin!(second)).await {
        Either::Left((output, _)) => output,
        Either::Right((_, first)) => first.await,
    }
}
