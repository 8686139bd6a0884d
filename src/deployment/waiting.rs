//! An upload that gave up waiting for the site.

use serde::{Deserialize, Serialize};

use super::Record;

/// An upload that gave up waiting while another deployment held the site. Whoever is done with the site next deploys
/// it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The record that the upload would have, had it claimed the site.
    pub record: Record,
    /// The option of its event.
    pub allow_large_delete: bool,
    /// When DynamoDB may remove the item, in epoch seconds.
    pub expires_at: i64,
}
