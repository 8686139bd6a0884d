//! The records of runs.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;

use super::Ledger;
use super::item::{RUNS, run_name, to_attribute};
use crate::aws::response::failed;
use crate::deployment::{RunProgress, RunRecord, Status};
use crate::error::Error;

impl Ledger {
    /// Reads a run's record. Those that earlier releases started have none.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn run(&self, number: u64) -> Result<Option<RunRecord>, Error> {
        self.get(&run_name(number)).await
    }

    /// Reads the records of the last `limit` runs, the latest first.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn runs(&self, limit: usize) -> Result<Vec<RunRecord>, Error> {
        self.last(RUNS, limit).await
    }

    /// Notes how far a run has come, unless it has ended in the meantime.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn note_progress(&self, number: u64, progress: RunProgress) -> Result<(), Error> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.key(&run_name(number))))
            .update_expression("SET #progress = :progress")
            // An item that DynamoDB has removed must not come back with nothing but this.
            .condition_expression("#status = :unfinished AND attribute_not_exists(#ended_at)")
            .expression_attribute_names("#progress", "progress")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#ended_at", "ended_at")
            .expression_attribute_values(":progress", to_attribute(&progress)?)
            .expression_attribute_values(":unfinished", to_attribute(&Status::Unfinished)?);
        match update.send().await {
            Err(error) if error.code() != Some("ConditionalCheckFailedException") => {
                Err(failed("noting the progress of a run", error))
            }
            _ => Ok(()),
        }
    }
}
