//! Offers of owed batches to CloudFront, until it accepts them or the deadline nears.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::invalidations::invalidations;
use super::{Invocation, Site};
use crate::aws::cdn::Reply;
use crate::deployment::Owed;
use crate::invalidation::{Batch, Distribution, Items, StaleKeys, is_tag, matches};
use crate::report::Invalidated;

/// The first pause between two offers of a batch while CloudFront's quota is full; each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two offers of a batch.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The time between two offers once CloudFront has refused one because of its quotas. Those of 2026 count per second
/// and account.
const PACE: Duration = Duration::from_secs(1);

/// Offers batches to the distributions of a site.
pub(super) struct Sender<'a> {
    pub site: &'a Site,
    pub invocation: &'a Invocation<'a>,
    /// The site's distributions, as they are configured now.
    pub distributions: &'a [Distribution],
    pub pace: &'a Pace,
}

/// When the next batch may be offered, once CloudFront has refused one because of its quotas; `None` until then.
///
/// All offers wait here for their turns, whatever their distribution: the quotas count for the whole account. Whoever
/// waits holds the lock, so that the turns are in the order in which the offers came.
pub(super) type Pace = Mutex<Option<Instant>>;

/// The state of the batches after they were offered.
#[derive(Default)]
pub(super) struct Sent {
    pub accepted: Vec<Invalidated>,
    /// Sentences for the report.
    pub warnings: Vec<String>,
    /// Owed no more, but still in the ledger. Until they are deleted there, later runs offer them again under the same
    /// reference, which CloudFront recognises.
    pub settled: Vec<Owed>,
    /// Still owed to distributions of the site.
    pub remaining: Vec<Owed>,
    /// Why batches remain.
    pub reason: Option<String>,
    /// Still owed to distributions that the site no longer names.
    pub of_former_distributions: Vec<Owed>,
}

/// A batch that is owed no more.
struct Settled {
    /// `None` if its distribution is gone.
    accepted: Option<Invalidated>,
    /// Why everything was invalidated instead of its items, if it was.
    replaced: Option<String>,
}

impl Sender<'_> {
    /// Offers batches to all distributions in parallel, so that a failure of one does not delay the others.
    pub(super) async fn offer_all(&self, due: Vec<Owed>) -> Sent {
        let mut by_distribution = BTreeMap::<String, Vec<Owed>>::new();
        for owed in due {
            by_distribution.entry(owed.distribution.clone()).or_default().push(owed);
        }
        let offering = by_distribution.into_iter().map(|(distribution, due)| self.offer_to_one(distribution, due));
        let mut sent = Sent::default();
        for one in join_all(offering).await {
            sent.accepted.extend(one.accepted);
            sent.warnings.extend(one.warnings);
            sent.settled.extend(one.settled);
            sent.remaining.extend(one.remaining);
            sent.reason = sent.reason.or(one.reason);
            sent.of_former_distributions.extend(one.of_former_distributions);
        }
        sent
    }

    /// Offers one distribution's batches in order. A batch that fails holds up no other, and one that is replaced by
    /// everything settles those after it.
    async fn offer_to_one(&self, distribution: String, due: Vec<Owed>) -> Sent {
        let mut sent = Sent::default();
        let mut due = due.into_iter();
        while let Some(mut owed) = due.next() {
            match self.offer_until_accepted(&mut owed, due.as_mut_slice()).await {
                Ok(Settled { accepted, replaced }) => {
                    sent.accepted.extend(accepted);
                    sent.settled.push(owed);
                    if let Some(warning) = replaced {
                        sent.warnings.push(warning);
                        sent.settled.extend(due.by_ref());
                    }
                }
                Err(error) if self.is_of_site(&distribution) => {
                    sent.remaining.push(owed);
                    sent.reason = sent.reason.or(Some(error));
                }
                Err(error) => {
                    // The function may no longer be allowed to invalidate it. That must not stop every later run.
                    tracing::warn!(%distribution, "an invalidation stays owed to a distribution that DistributionIds no longer names: {error}");
                    sent.of_former_distributions.push(owed);
                }
            }
        }
        sent
    }

    fn is_of_site(&self, distribution: &str) -> bool {
        self.distributions.iter().any(|known| known.id == distribution)
    }

    /// Offers one batch until it is accepted or the deadline nears. Whatever replaces it covers the `others` too.
    async fn offer_until_accepted(&self, owed: &mut Owed, others: &mut [Owed]) -> Result<Settled, String> {
        self.mark_offered(owed).await?;
        let mut batch = owed.batch();
        let mut replaced = None;
        let mut pause = FIRST_PAUSE;
        loop {
            if self.relies_on_outdated_tags(&batch).await? {
                replaced = Some(why_replaced(&batch, "the distribution's configuration has changed since"));
                batch = self.replacement(&batch, others).await?;
            }
            self.wait_for_turn().await;
            match self.site.clients.cdn.offer(&batch).await.map_err(|error| error.to_string())? {
                Reply::Accepted(id) => return Ok(Settled { accepted: Some(accepted(&batch, Some(id))), replaced }),
                Reply::AcceptedBefore => return Ok(Settled { accepted: Some(accepted(&batch, None)), replaced }),
                Reply::NoSuchDistribution => return self.without_distribution(&batch.distribution),
                Reply::QuotaFull(reason) => self.wait_for_quota(&batch.distribution, &reason, &mut pause).await?,
                Reply::Refused(reason) => {
                    let everything = self.replacement(&batch, others).await?;
                    if everything.items == batch.items {
                        return Err(reason);
                    }
                    replaced = Some(why_replaced(&batch, &format!("CloudFront refuses it: {reason}")));
                    batch = everything;
                }
            }
        }
    }

    /// Returns the batch that evicts everything of the site in place of a batch and of `others`, which are offered with
    /// it.
    async fn replacement(&self, batch: &Batch, others: &mut [Owed]) -> Result<Batch, String> {
        for owed in others.iter_mut() {
            self.mark_offered(owed).await?;
        }
        let others = &*others;
        Ok(batch.of_everything(self.everything(batch, others), others.iter().map(|owed| owed.reference.as_str())))
    }

    /// Returns the items that evict everything of the site from the batch's distribution. Returns none if they are no
    /// single batch, or do not cover it and the `others`: an earlier release or another setting has recorded those.
    fn everything(&self, batch: &Batch, others: &[Owed]) -> Vec<String> {
        let config = &self.site.config;
        let is_its = |distribution: &&Distribution| distribution.id == batch.distribution;
        let known: Vec<Distribution> = self.distributions.iter().filter(is_its).cloned().collect();
        let stale = StaleKeys { unknown_under: Some(&config.live_prefix), ..StaleKeys::default() };
        let everything = invalidations(config, &known, &stale, None).into_iter().map(|(_, it)| it.first);
        let in_one_batch = |items: Items| match items.wildcards {
            1 => items.list,
            // The folder of a preview may take two, with and without query strings. `/*` would evict the live site.
            _ if config.is_preview() => vec![format!("{}*", common_prefix(&items.list))],
            _ => Vec::new(),
        };
        let everything: Vec<String> = everything.flat_map(in_one_batch).collect();
        let is_covered = |item: &String| is_tag(item) || everything.iter().any(|covering| matches(covering, item));
        let mut items = others.iter().flat_map(|owed| &owed.items).chain(&batch.items);
        if items.all(is_covered) { everything } else { Vec::new() }
    }

    /// Records that a batch is about to be offered: from now on it covers no later write.
    async fn mark_offered(&self, owed: &mut Owed) -> Result<(), String> {
        if !owed.offered {
            let reference = std::slice::from_ref(&owed.reference);
            let marked = self.site.clients.ledger.mark_offered(reference).await;
            marked.map_err(|error| error.to_string())?;
            owed.offered = true;
        }
        Ok(())
    }

    /// Whether the distribution has been reconfigured since the batch's tags were chosen.
    async fn relies_on_outdated_tags(&self, batch: &Batch) -> Result<bool, String> {
        let Some(version) = &batch.relies_on else {
            return Ok(false);
        };
        let now = self.site.clients.cdn.version(&batch.distribution).await;
        Ok(now.map_err(|error| error.to_string())?.as_ref() != Some(version))
    }

    fn without_distribution(&self, distribution: &str) -> Result<Settled, String> {
        if self.is_of_site(distribution) {
            return Err(format!("distribution {distribution} does not exist"));
        }
        tracing::warn!(%distribution, "an invalidation was owed to a distribution that is gone; deleting it from the ledger");
        Ok(Settled { accepted: None, replaced: None })
    }

    /// Waits until the next batch may be offered, or until the deadline nears.
    async fn wait_for_turn(&self) {
        let mut next = self.pace.lock().await;
        if let Some(at) = *next {
            tokio::time::sleep_until(at.min(Instant::now() + self.invocation.time_left())).await;
            *next = Some(next_turn());
        }
    }

    async fn wait_for_quota(&self, distribution: &str, reason: &str, pause: &mut Duration) -> Result<(), String> {
        if self.invocation.is_late() {
            return Err(format!("{distribution} has too many invalidations in progress: {reason}"));
        }
        // If another offer holds the lock, it is waiting for its turn already.
        if let Ok(mut next) = self.pace.try_lock() {
            next.get_or_insert_with(next_turn);
        }
        tracing::warn!(%distribution, "too many invalidations in progress; waiting before the next offer");
        // It ends before the deadline, so that there is time to release the lease.
        tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64()).min(self.invocation.time_left())).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// Returns when the next batch may be offered after one now.
fn next_turn() -> Instant {
    Instant::now() + PACE.mul_f64(1.0 + fastrand::f64() / 4.0)
}

/// Returns, and logs, why everything is invalidated instead of a batch's items.
fn why_replaced(batch: &Batch, reason: &str) -> String {
    let Batch { distribution, items, .. } = batch;
    let count = items.len();
    let warning = format!("everything of the site is invalidated on {distribution} instead of {count} items: {reason}");
    tracing::warn!(%distribution, ?items, "{warning}");
    warning
}

fn accepted(batch: &Batch, id: Option<String>) -> Invalidated {
    let (distribution, items) = (&batch.distribution, batch.items.len());
    tracing::info!(%distribution, items, "CloudFront accepted {items} items for {distribution}");
    Invalidated {
        distribution_id: distribution.clone(),
        id,
        items,
        caller_reference: batch.reference.clone(),
        wildcards: batch.items.iter().filter(|item| item.ends_with('*')).count(),
        completed: None,
    }
}

/// Returns the longest text that all items begin with.
fn common_prefix(items: &[String]) -> &str {
    let Some(first) = items.first() else { return "" };
    let is_shared = |end: &usize| items.iter().all(|item| item.starts_with(&first[..*end]));
    let ends = (0..=first.len()).rev().filter(|end| first.is_char_boundary(*end));
    &first[..ends.filter(is_shared).max().unwrap_or_default()]
}
