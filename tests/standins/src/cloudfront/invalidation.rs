//! Accepted invalidations, and the rules for their items.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// "The maximum length of a path is 4,000 characters" (Invalidation).
const MAX_PATH_CHARS: usize = 4000;

/// An accepted invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidation {
    pub id: String,
    pub caller_reference: String,
    /// The items as the client sent them, in its order.
    pub items: Vec<String>,
    /// The sequence number of the call that created it.
    pub accepted_at_sequence: usize,
    pub in_progress: bool,
    /// None if a test completes it, or if it was complete from the beginning.
    pub(super) completes_at: Option<DateTime<Utc>>,
    pub created: DateTime<Utc>,
}

/// How CloudFront answers a caller reference that was used before.
///
/// The documentation and field reports disagree (aws/aws-cdk#3878).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReferenceConflict {
    /// The same paths get the earlier invalidation, others `InvalidationBatchAlreadyExists`.
    #[default]
    Documented,
    /// The same paths get the earlier invalidation, others `InvalidArgument`.
    InvalidArgument,
    /// All paths get `InvalidArgument`.
    AlwaysInvalidArgument,
}

impl Invalidation {
    pub(super) fn new(
        id: String,
        caller_reference: String,
        items: Vec<String>,
        accepted_at_sequence: usize,
        created: DateTime<Utc>,
    ) -> Self {
        Self { id, caller_reference, items, accepted_at_sequence, in_progress: false, completes_at: None, created }
    }

    /// The invalidation in progress for this long.
    pub(super) fn completing_in(self, time: TimeDelta) -> Self {
        let completes_at = (time > TimeDelta::zero()).then(|| self.created + time);
        Self { in_progress: completes_at.is_some(), completes_at, ..self }
    }

    pub(super) fn status(&self) -> &'static str {
        if self.in_progress { "InProgress" } else { "Completed" }
    }

    pub(super) fn create_time(&self) -> String {
        self.created.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

/// Returns whether CloudFront accepts an item: a path, or a `#tag`.
pub(super) fn is_valid(item: &str) -> bool {
    if let Some(tag) = item.strip_prefix('#') {
        // ASCII 33 to 126 without a comma, at most 256 (invalidation-specifying-tags).
        return (1..=256).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    }
    item.starts_with('/')
        && item.chars().count() <= MAX_PATH_CHARS
        && item.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'~')
        && !item[..item.len() - 1].contains('*')
}
