//! The rules of the ledger: identities, items, and the decision table.
//!
//! Everything here is a value or a pure function. The clock is the caller's, so that tests reach every row of the
//! table. `aws/ledger.rs` stores the items; `deploy/claim.rs` acts on the decisions.

mod decision;
mod head;
mod id;
mod lease;
mod owed;
mod place;
mod record;
mod removal;
mod run_record;
mod source;
#[cfg(test)]
mod tests;
mod unfinished;
mod waiting;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

pub use self::decision::{Decision, Request, decide};
pub use self::head::{Head, Previous};
pub use self::id::DeploymentId;
pub use self::lease::Lease;
pub use self::owed::Owed;
pub use self::place::Place;
pub use self::record::{Claimant, Identity, Record, Status};
pub use self::removal::{Preview, Removal, RemovalDecision, RemovalRequest, decide_removal};
pub use self::run_record::{AskedBy, RunFailure, RunProgress, RunRecord, Step};
pub use self::source::{SOURCE_METADATA, Source};
pub use self::unfinished::UnfinishedRun;
pub use self::waiting::{Waiting, request_for_waiting};

/// How far an upload's time may be in the future: no clock of AWS is wrong by so much.
pub const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Names one run: one intended execution of a deployment.
///
/// A deployment's first run brings it live; each replay is another run. A retry goes on with the same run.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunId {
    pub deployment: DeploymentId,
    /// Assigned from the head's sequence when the run first claims the site.
    pub number: u64,
}
