//! The sending of what is owed, to every distribution, until it is accepted or the deadline nears.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Invocation, Site};
use crate::aws::cdn::Reply;
use crate::aws::ledger::Owed;
use crate::invalidation::Distribution;
use crate::report::Invalidated;

/// The longest pause between two offers of a batch while CloudFront's quota is full.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// The means to send.
pub struct Sender<'a> {
    pub site: &'a Site,
    pub invocation: &'a Invocation<'a>,
    /// The site's distributions, as they are configured now.
    pub distributions: &'a [Distribution],
}

/// What has come of it.
#[derive(Default)]
pub struct Sending {
    pub sent: Vec<Invalidated>,
    /// What is owed no more; the ledger is still to forget it. Until it does, it is offered again, under the
    /// reference by which CloudFront knows it.
    pub settled: Vec<Owed>,
    /// What is still owed to distributions of the site.
    pub remaining: Vec<Owed>,
    /// Why something is.
    pub reason: Option<String>,
    /// What is still owed to distributions that are not configured any more.
    pub elsewhere: Vec<Owed>,
}

impl Sender<'_> {
    /// Sends batches, the distributions side by side, so that one that fails does not keep the others waiting.
    pub async fn send(&self, due: Vec<Owed>) -> Sending {
        let mut by_distribution = BTreeMap::<String, Vec<Owed>>::new();
        for owed in due {
            by_distribution.entry(owed.distribution.clone()).or_default().push(owed);
        }
        let results = join_all(by_distribution.into_values().map(|due| self.send_to_one(due))).await;
        let mut sending = Sending::default();
        for one in results {
            sending.sent.extend(one.sent);
            sending.settled.extend(one.settled);
            sending.remaining.extend(one.remaining);
            sending.reason = sending.reason.or(one.reason);
            sending.elsewhere.extend(one.elsewhere);
        }
        sending
    }

    /// Whether the distribution is one of the site's.
    fn is_in_front(&self, distribution: &str) -> bool {
        self.distributions.iter().any(|known| known.id == distribution)
    }

    /// Sends one distribution's batches in order, up to the first that is not accepted.
    async fn send_to_one(&self, due: Vec<Owed>) -> Sending {
        let mut sending = Sending::default();
        let mut due = due.into_iter();
        while let Some(mut owed) = due.next() {
            let error = match self.offer(&mut owed).await {
                Ok(invalidated) => {
                    sending.sent.extend(invalidated);
                    sending.settled.push(owed);
                    continue;
                }
                Err(error) => error,
            };
            let distribution = owed.distribution.clone();
            let remaining = std::iter::once(owed).chain(due).collect();
            if self.is_in_front(&distribution) {
                sending.remaining = remaining;
                sending.reason = Some(error);
            } else {
                // The function may no longer have the right to tell it; that must not stop every run to come.
                tracing::warn!(%distribution, "an invalidation stays owed to a distribution that is not configured any more: {error}");
                sending.elsewhere = remaining;
            }
            break;
        }
        sending
    }

    /// Offers one batch until it is accepted or the deadline nears; nothing comes of one that was owed to a
    /// distribution that is gone.
    async fn offer(&self, owed: &mut Owed) -> Result<Option<Invalidated>, String> {
        let clients = &self.site.clients;
        if !owed.offered {
            let marked = clients.ledger.mark_offered(&[&owed.reference]).await;
            marked.map_err(|error| error.to_string())?;
            owed.offered = true;
        }
        let mut pause = Duration::from_millis(500);
        let mut batch = owed.batch();
        let id = loop {
            if let Some(version) = &batch.relies_on {
                let now = clients.cdn.version(&batch.distribution).await;
                if now.map_err(|error| error.to_string())?.as_ref() != Some(version) {
                    tracing::warn!(distribution = %owed.distribution, "the distribution was configured anew since cache tags were to be invalidated; everything is evicted instead");
                    batch = batch.without_tags();
                }
            }
            match clients.cdn.send(&batch).await.map_err(|error| error.to_string())? {
                Reply::Accepted(id) => break Some(id),
                Reply::AcceptedBefore => break None,
                Reply::NoSuchDistribution if !self.is_in_front(&owed.distribution) => {
                    tracing::warn!(distribution = %owed.distribution, "an invalidation was owed to a distribution that is gone");
                    return Ok(None);
                }
                Reply::NoSuchDistribution => {
                    return Err(format!("distribution {} does not exist", owed.distribution));
                }
                Reply::QuotaFull(reason) if self.invocation.is_late() => {
                    return Err(format!("{} has too many invalidations in progress: {reason}", owed.distribution));
                }
                Reply::QuotaFull(_) => {
                    tracing::warn!(distribution = %owed.distribution, "too many invalidations in progress; waiting");
                    tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        let items = &batch.items;
        let wildcards = items.iter().filter(|item| item.ends_with('*')).count();
        tracing::info!(distribution = %batch.distribution, items = items.len(), "invalidated");
        Ok(Some(Invalidated {
            distribution_id: batch.distribution.clone(),
            id,
            items: items.len(),
            caller_reference: batch.reference,
            wildcards,
            completed: None,
        }))
    }
}
