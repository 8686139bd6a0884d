//! Changes of owed batches outside a transaction.

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Ledger;
use super::item::owed_name;
use crate::aws::response::failed;
use crate::deployment::Owed;
use crate::error::Error;

/// How many batches are marked or deleted in parallel.
const WRITES_AT_ONCE: usize = 16;

impl Ledger {
    /// Marks batches before they are first offered to CloudFront.
    ///
    /// # Errors
    /// `Aws`; some of the batches may be marked then.
    pub async fn mark_offered(&self, references: &[String]) -> Result<(), Error> {
        stream::iter(references)
            .map(async |reference| self.mark_one_offered(reference).await)
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn mark_one_offered(&self, reference: &str) -> Result<(), Error> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(self.key(&owed_name(reference))))
            .update_expression("SET #offered = :offered")
            // A batch that is gone is settled; an update without this condition would create an item without items.
            .condition_expression("attribute_exists(#item)")
            .expression_attribute_names("#offered", "offered")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":offered", AttributeValue::Bool(true));
        match update.send().await {
            Err(error) if error.code() != Some("ConditionalCheckFailedException") => {
                Err(failed("marking an owed invalidation", error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes batches that are settled.
    pub(super) async fn settle(&self, batches: &[Owed]) -> Result<(), Error> {
        stream::iter(batches)
            .map(async |batch| self.settle_one(batch).await)
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn settle_one(&self, batch: &Owed) -> Result<(), Error> {
        let key = self.key(&owed_name(&batch.reference));
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(key));
        let deleted = delete.send().await.map(drop);
        deleted.map_err(|error| failed("deleting a settled invalidation", error))
    }
}
