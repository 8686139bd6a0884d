//! An upload that gave up waiting for the site.

use serde::{Deserialize, Serialize};

use super::{Place, Record};

/// The end of the id of a request that deploys uploads that had waited.
const FOR_WAITING: &str = "/waiting";

/// Returns the id under which an invocation deploys uploads that wait for the site, after its own request.
pub fn request_for_waiting(request_id: &str) -> String {
    format!("{request_id}{FOR_WAITING}")
}

/// Whether Lambda repeats a request whose deployment fails. It repeats an invocation only for the upload of its event, and
/// not for those that had waited.
pub(super) fn is_repeated(request_id: &str) -> bool {
    !request_id.ends_with(FOR_WAITING)
}

/// An upload that gave up waiting while another deployment held the site, or that is older than one whose run may still
/// be refused. The next deployment or sweep deploys it when it is done.
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
