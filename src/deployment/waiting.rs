//! An upload that gave up waiting for the site.

use serde::{Deserialize, Serialize};

use super::{Place, Record};

/// An upload that gave up waiting while another deployment held the site, or that is older than one whose run may still
/// be refused. Whoever is done with the site next deploys it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// The record that the upload would have, had it claimed the site.
    pub record: Record,
    pub place: Place,
    /// The option of its event.
    pub allow_large_delete: bool,
    /// When DynamoDB may remove the item, in epoch seconds.
    pub expires_at: i64,
}
