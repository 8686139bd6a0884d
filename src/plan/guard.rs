//! The guard against a plan that takes most of the site away.

use super::known::Known;
use super::rules::Rules;
use super::verdict::Verdict;

/// This many objects may leave any site, because small sites may change completely.
const REMOVALS_ALWAYS_ALLOWED: usize = 100;

/// The plan would remove more of the site than the guard allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{removed} of {objects} objects would be taken off the site")]
pub struct LargeDelete {
    /// How many objects leave the site, whether they are deleted now or retained first.
    pub removed: usize,
    pub objects: usize,
}

/// The number of the site's objects, and how many of them leave it. Objects that an earlier deployment has removed, and
/// only retains, no longer count.
#[derive(Default)]
pub(super) struct Guard {
    objects: usize,
    removed: usize,
}

impl Guard {
    pub(super) fn count(&mut self, known: &Known<'_, '_>, verdict: &Verdict<'_>) {
        if known.object.is_some() && !known.was_removed() {
            self.objects += 1;
            self.removed += usize::from(matches!(verdict, Verdict::Deleted(_) | Verdict::Retained(_)));
        }
    }

    /// Refuses a plan that removes too much.
    pub(super) fn check(&self, rules: &Rules) -> Result<(), LargeDelete> {
        let &Self { objects, removed } = self;
        let is_large =
            removed > REMOVALS_ALWAYS_ALLOWED && removed * 100 > objects * usize::from(rules.max_delete_percent);
        if is_large && !rules.allow_large_delete {
            return Err(LargeDelete { removed, objects });
        }
        Ok(())
    }
}
