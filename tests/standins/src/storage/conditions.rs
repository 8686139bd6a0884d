//! The conditions of a write.

use crate::storage::Object;

/// The conditions that the current object must meet for a write to take effect.
///
/// The values are ETags as the client sent them, or `*`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
}

/// Why a conditional write had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// `If-Match` for an object that does not exist.
    Missing,
    PreconditionFailed,
}

impl Conditions {
    pub(super) fn check(&self, current: Option<&Object>) -> Result<(), Unmet> {
        if let Some(wanted) = &self.if_match {
            let current = current.ok_or(Unmet::Missing)?;
            if !etag_matches(wanted, &current.etag) {
                return Err(Unmet::PreconditionFailed);
            }
        }
        match (&self.if_none_match, current) {
            (Some(unwanted), Some(current)) if etag_matches(unwanted, &current.etag) => Err(Unmet::PreconditionFailed),
            _ => Ok(()),
        }
    }
}

/// Compares an ETag with a condition, which may lack the quotes or be `*`.
pub(crate) fn etag_matches(wanted: &str, etag: &str) -> bool {
    wanted == "*" || wanted.trim_matches('"') == etag.trim_matches('"')
}
