//! The head: the ledger's one item per site, and how each event of a run changes it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::unfinished::{self, UnfinishedRun};
use super::{DeploymentId, Lease, MAX_CLOCK_SKEW, Place, Removal, Request, RunId};

/// The ledger's one item per site, with its lease and its live run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Head {
    /// Counts the writes of this item. Every write is conditional on the version that it was made from; 0 means that
    /// the item does not exist yet.
    pub version: u64,
    /// The last run number that was assigned.
    pub sequence: u64,
    /// The newest upload of those whose runs have finished or were overtaken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The runs that have claimed the site and were neither finished nor overtaken nor refused, by their numbers. Their
    /// invocations may be dead.
    #[serde(default, deserialize_with = "unfinished::read", skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<UnfinishedRun>,
    /// Whether a run was refused after its first write, and none has finished since: the site is between two builds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_torn: bool,
    /// The last removal, if the site is a preview.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removal>,
    /// When DynamoDB may remove the item, in epoch seconds, once the preview is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// The fingerprint of the distributions as they were configured when the last run began to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distributions: Option<String>,
    /// The run that finished last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<RunId>,
    /// The key of the current manifest in the staging bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Keys of the manifest, in order, at which to split a listing of the live bucket. Empty for a small site.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub list_at: Vec<String>,
    /// Keys of outdated manifests that are still in the staging bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outdated: Vec<String>,
}

/// The deployment that a person means by "previous".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Previous {
    /// The one that this deployment, which is live, has replaced.
    ReplacedBy(DeploymentId),
    /// The one that is live: a later run has begun to write, and has not finished.
    Live(DeploymentId),
    /// Nothing has been live.
    Nothing,
}

impl Head {
    /// The head after `request` has taken the lease for run `number`.
    #[must_use]
    pub fn claimed(&self, request: &Request, number: u64, deadline: DateTime<Utc>) -> Self {
        let deployment = request.place.deployment.clone();
        Self {
            sequence: self.sequence.max(number),
            lease: Some(Lease::new(request.id, Some(deployment), deadline)),
            unfinished: unfinished::with(&self.unfinished, UnfinishedRun::new(request.place.clone(), number)),
            removed: self.removed.clone().map(|removal| {
                let overruled_at = if request.replay { Some(request.now) } else { removal.overruled_at };
                Removal { overruled_at, ..removal }
            }),
            expires_at: None,
            ..self.next_version()
        }
    }

    /// Returns the newest upload: of those that have finished or were overtaken, and those with an unfinished run.
    ///
    /// One in the future is ignored. A release that did not refuse such uploads has recorded it, and it would shut out
    /// every other upload.
    pub fn newest(&self, now: DateTime<Utc>) -> Option<&Place> {
        let runs = self.unfinished.iter().map(|run| &run.upload);
        newest_of(self.newest.iter().chain(runs), now)
    }

    /// Returns the newest upload of those that have finished or were overtaken. One in the future is ignored.
    pub(super) fn newest_that_ended(&self, now: DateTime<Utc>) -> Option<&Place> {
        newest_of(self.newest.iter(), now)
    }

    /// The head that knows that `upload`, whose deployment is over, is the newest.
    #[must_use]
    pub fn knowing_newest(&self, upload: &Place) -> Self {
        Self { newest: Some(upload.clone()), ..self.next_version() }
    }

    /// Whether a removal has begun that has not finished. One that waits for a run has the number of an earlier one.
    fn is_half_removed(&self) -> bool {
        let live = self.live.as_ref().map_or(0, |live| live.number);
        self.removed.as_ref().is_some_and(|removal| removal.is_unfinished && removal.number > live)
    }

    /// Returns when the removal was asked for that has not finished.
    pub fn unfinished_removal(&self) -> Option<DateTime<Utc>> {
        self.removed.as_ref().filter(|removal| removal.is_unfinished).map(|removal| removal.asked_at)
    }

    /// Whether a run has not finished, so that the manifest may lack what it wrote.
    pub fn has_unfinished(&self) -> bool {
        self.is_torn || self.is_half_removed() || !self.unfinished.is_empty()
    }

    /// Whether an upload is from before the removal of the preview.
    pub fn is_before_removal(&self, upload: &Place) -> bool {
        self.removed.as_ref().is_some_and(|removal| upload.is_before(removal.asked_at))
    }

    /// Whether a removal came after this run.
    pub(super) fn has_removed(&self, number: u64) -> bool {
        self.removed.as_ref().is_some_and(|removal| removal.number > number)
    }

    /// The head after a removal of the preview has taken the lease. It ends all runs that have not finished.
    #[must_use]
    pub fn removing(&self, removal: Removal, request: &str, deadline: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            newest: self.newest(now).cloned(),
            sequence: self.sequence.max(removal.number),
            lease: Some(Lease::new(request, None, deadline)),
            // What such a run may have written is the removal's to invalidate.
            is_torn: self.is_between_builds(),
            unfinished: Vec::new(),
            removed: Some(removal),
            ..self.next_version()
        }
    }

    /// The head that knows of a removal which waits for the run of a newer push.
    #[must_use]
    pub fn postponing_removal(&self, asked_at: DateTime<Utc>) -> Self {
        let number = self.removed.as_ref().map_or(0, |removal| removal.number);
        Self { removed: Some(Removal::unfinished(asked_at, number)), ..self.next_version() }
    }

    /// The head once nothing of the preview is left in the live bucket, and CloudFront has evicted it. Its holder then
    /// deletes the manifests in `outdated`, and the ledger's items.
    #[must_use]
    pub fn emptied(&self) -> Self {
        let outdated = self.outdated.iter().chain(&self.manifest).cloned().collect();
        Self {
            live: None,
            manifest: None,
            list_at: Vec::new(),
            distributions: None,
            is_torn: false,
            outdated,
            ..self.next_version()
        }
    }

    /// The tombstone of a preview of which nothing else is left.
    #[must_use]
    pub fn buried(&self, expires_at: i64) -> Self {
        Self { removed: self.removed_for_good(), expires_at: Some(expires_at), ..self.released() }
    }

    /// Whether `upload` is older only than uploads with unfinished runs, which may still be refused.
    pub fn may_still_take(&self, upload: &Place, now: DateTime<Utc>) -> bool {
        let finished = Self { unfinished: Vec::new(), ..self.clone() };
        let is_older_in = |head: &Self| head.newest(now).is_some_and(|newest| upload.is_older_than(newest));
        is_older_in(self) && !is_older_in(&finished) && !self.is_before_removal(upload)
    }

    /// Whether the live deployment is another one than the newest that has finished: a person has gone back to it.
    pub fn is_back_at_older(&self) -> bool {
        let live = self.live.as_ref().zip(self.newest.as_ref());
        live.is_some_and(|(live, newest)| live.deployment != newest.deployment)
    }

    /// Whether a run has not finished, and no other one has begun since.
    pub fn is_last_and_unfinished(&self, number: u64) -> bool {
        self.sequence == number && self.live.as_ref().is_none_or(|live| live.number < number)
    }

    /// Whether a run with a higher number than the live one is unfinished.
    pub fn has_later_unfinished(&self) -> bool {
        self.unfinished.iter().any(|run| self.live.as_ref().is_none_or(|live| run.number > live.number))
    }

    /// Whether a run has begun to write that has not finished, so that the site may be between two builds.
    pub fn is_between_builds(&self) -> bool {
        self.is_torn || self.is_half_removed() || self.unfinished.iter().any(|run| run.has_begun)
    }

    /// Returns the unfinished run with this number.
    pub fn unfinished_run(&self, number: u64) -> Option<&UnfinishedRun> {
        self.unfinished.iter().find(|run| run.number == number)
    }

    /// Returns what "previous" means.
    pub fn previous(&self) -> Previous {
        let Some(live) = &self.live else {
            return Previous::Nothing;
        };
        let has_begun = self.unfinished.iter().any(|run| run.number > live.number && run.has_begun);
        if has_begun || self.is_torn || self.is_half_removed() {
            Previous::Live(live.deployment.clone())
        } else {
            Previous::ReplacedBy(live.deployment.clone())
        }
    }

    /// The head after `request`, which deploys nothing, has taken the lease for a sweep.
    #[must_use]
    pub fn swept_by(&self, request: &str, deadline: DateTime<Utc>) -> Self {
        Self { lease: Some(Lease::new(request, None, deadline)), ..self.next_version() }
    }

    /// The lease, if another living request holds it.
    pub fn held_by_another(&self, request: &str, now: DateTime<Utc>) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.excludes(request, now))
    }

    /// The same head, as its holder writes it once more.
    #[must_use]
    pub fn next_version(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }

    /// The head before the first write of its holder's `run` that could make something stale.
    #[must_use]
    pub fn begun(&self, run: &RunId) -> Self {
        let mut head = self.next_version();
        for unfinished in head.unfinished.iter_mut().filter(|unfinished| unfinished.number == run.number) {
            unfinished.has_begun = true;
        }
        head
    }

    /// The head after its holder, who then deletes the outdated manifests, has released the lease.
    #[must_use]
    pub fn released(&self) -> Self {
        Self { lease: None, outdated: Vec::new(), ..self.next_version() }
    }

    /// The head after its holder's `run` has given up, maybe with changed objects; the run stays unfinished.
    #[must_use]
    pub fn given_up(&self, run: &RunId, has_begun: bool) -> Self {
        let mut head = self.released();
        for unfinished in head.unfinished.iter_mut().filter(|unfinished| unfinished.number == run.number) {
            unfinished.has_begun = has_begun;
        }
        head
    }

    /// The head after its holder's `run` was refused, maybe with changed objects.
    #[must_use]
    pub fn refused(&self, run: &RunId, has_begun: bool) -> Self {
        let mut head = self.released();
        head.unfinished.retain(|unfinished| unfinished.number != run.number);
        head.is_torn |= has_begun;
        head
    }

    /// The head after its holder's `run` has finished, which overtakes every unfinished run with a lower number.
    #[must_use]
    pub fn finished(&self, run: &RunId, now: DateTime<Utc>) -> Self {
        let mut head = self.released();
        let later = head.unfinished.iter().position(|other| other.number > run.number);
        let later = head.unfinished.split_off(later.unwrap_or(head.unfinished.len()));
        head.newest = head.newest(now).cloned();
        // A push wins over a removal that has not finished.
        let removed = head.removed_for_good();
        Self { live: Some(run.clone()), unfinished: later, is_torn: false, removed, ..head }
    }

    /// Returns the last removal, as finished.
    fn removed_for_good(&self) -> Option<Removal> {
        self.removed.clone().map(|removal| Removal { is_unfinished: false, ..removal })
    }
}

fn newest_of<'p>(places: impl Iterator<Item = &'p Place>, now: DateTime<Utc>) -> Option<&'p Place> {
    let known = places.filter(|place| place.uploaded_at <= now + MAX_CLOCK_SKEW);
    known.reduce(|newest, place| {
        let has_no_order = !place.is_older_than(newest) && !newest.is_older_than(place);
        // Of two without an order, the one with the full time keeps out what is older than it.
        let is_older = if has_no_order { place.uploaded_at < newest.uploaded_at } else { place.is_older_than(newest) };
        if is_older { newest } else { place }
    })
}
