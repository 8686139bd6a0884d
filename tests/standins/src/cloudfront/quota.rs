//! The quotas of invalidations, each as AWS's pages have named it at some time.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// "3,000 files per distribution" in progress at one time (`InvalidationLimits`).
const MAX_PATHS_IN_PROGRESS: usize = 3000;

/// "15 invalidation requests that include the * wildcard" in progress (`InvalidationLimits`).
const MAX_WILDCARDS_IN_PROGRESS: usize = 15;

/// "150 paths or tags per second", as repositories quote the quotas page of 2026.
const MAX_PATHS_A_SECOND: usize = 150;

/// "1 wildcard invalidation per second", from the same page.
const MAX_WILDCARDS_A_SECOND: usize = 1;

/// The quota that applies. Beyond it, CloudFront answers `TooManyInvalidationsInProgress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quota {
    /// 3,000 paths and 15 wildcards of a distribution in progress.
    #[default]
    InProgress,
    /// 150 paths and one wildcard a second in the account.
    PathsPerSecond,
    /// 150 paths and one request with wildcards a second in the account.
    RequestsPerSecond,
}

/// The account's invalidations of the last second.
#[derive(Default)]
pub(super) struct Recent {
    pub(super) quota: Quota,
    accepted: VecDeque<Accepted>,
}

struct Accepted {
    at: DateTime<Utc>,
    paths: usize,
    wildcards: usize,
}

impl Recent {
    /// Whether the quota leaves room for these items, which are then counted. `fit_in_progress` tells about those in
    /// progress.
    pub(super) fn has_room(
        &mut self,
        items: &[String],
        now: DateTime<Utc>,
        fit_in_progress: impl FnOnce() -> bool,
    ) -> bool {
        if self.quota == Quota::InProgress {
            return fit_in_progress();
        }
        while self.accepted.front().is_some_and(|accepted| now - accepted.at >= TimeDelta::seconds(1)) {
            self.accepted.pop_front();
        }
        let wildcards = items.iter().filter(|item| item.ends_with('*')).count();
        let one = Accepted {
            at: now,
            paths: items.len() - wildcards,
            wildcards: if self.quota == Quota::RequestsPerSecond { wildcards.min(1) } else { wildcards },
        };
        let paths: usize = self.accepted.iter().map(|accepted| accepted.paths).sum();
        let wildcards: usize = self.accepted.iter().map(|accepted| accepted.wildcards).sum();
        let has_room = paths + one.paths <= MAX_PATHS_A_SECOND && wildcards + one.wildcards <= MAX_WILDCARDS_A_SECOND;
        if has_room {
            self.accepted.push_back(one);
        }
        has_room
    }
}

/// Whether items may be in progress together with what another client has in progress.
pub(super) fn fit_in_progress<'i>(
    items: impl Iterator<Item = &'i String>,
    foreign_paths: usize,
    foreign_wildcards: usize,
) -> bool {
    let (wildcards, paths): (Vec<_>, Vec<_>) = items.partition(|item| item.ends_with('*'));
    paths.len() + foreign_paths <= MAX_PATHS_IN_PROGRESS
        && wildcards.len() + foreign_wildcards <= MAX_WILDCARDS_IN_PROGRESS
}
