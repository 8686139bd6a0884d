//! The transaction that changes a site's state.

use aws_sdk_dynamodb::error::{BuildError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem};
use chrono::{DateTime, Utc};

use super::item::{HEAD, Item, identity_name, malformed, owed_name, record_name, run_name, to_attribute};
use super::{COLLISIONS, Committed, Ledger, is_cancelled, pause_after};
use crate::aws::response::failed;
use crate::cut;
use crate::deployment::{Head, Owed, Record, RunRecord};
use crate::error::Error;

/// How many owed batches one transaction writes or deletes: it takes at most 100 items (DynamoDB,
/// `TransactWriteItems`), and the head, the record with its identity, and the run are four of them. The item that lists
/// a preview is written only without batches.
const MAX_BATCHES: usize = 96;

/// How much room these batches may take: a transaction takes at most 4 MB. Head, record and run have up to 400 KB each.
const MAX_BATCH_BYTES: usize = 2_500_000;

/// One change of a site's state.
#[derive(Clone, Copy)]
pub struct Change<'c> {
    /// The head that the change was made from.
    pub from: &'c Head,
    pub to: &'c Head,
    /// The record to write, with its identity, if the change is a deployment's.
    pub record: Option<&'c Record>,
    /// The run to write, if it begins or ends with the change.
    pub run: Option<&'c RunRecord>,
    /// New owed batches, of which one transaction must [take](fitting) all.
    pub owed: &'c [Owed],
    /// Batches to delete: CloudFront has accepted them, or they cover no write.
    pub settled: &'c [Owed],
    /// The change of the item that lists the site, if it is a preview.
    pub preview: PreviewChange,
}

/// A change of the item that lists a preview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewChange {
    None,
    /// A run is started.
    Pushed(DateTime<Utc>),
    Removed,
}

impl<'c> Change<'c> {
    /// Returns a change of nothing but the head.
    pub fn of_head(from: &'c Head, to: &'c Head) -> Self {
        Self { from, to, record: None, run: None, owed: &[], settled: &[], preview: PreviewChange::None }
    }
}

/// Returns how many of the batches, from the first one on, fit into one transaction.
pub fn fitting<'o>(batches: impl IntoIterator<Item = &'o Owed>) -> usize {
    cut::fitting(batches.into_iter().take(MAX_BATCHES).map(Owed::size_bytes), MAX_BATCH_BYTES)
}

impl Ledger {
    /// Makes a change, all of it or nothing, on the condition that the head is still the one it was made from.
    ///
    /// Settled batches for which the transaction has no room are deleted before it. It always has room for a batch that
    /// the new ones replace.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn commit(&self, change: Change<'_>) -> Result<Committed, Error> {
        let room = fitting(change.owed.iter().chain(change.settled)).saturating_sub(change.owed.len());
        let (settled, surplus) = change.settled.split_at(room);
        self.settle(surplus).await?;
        let writes = self.writes(&Change { settled, ..change })?;
        self.transact(&writes, async || Ok(self.head().await? == *change.to)).await
    }

    /// Makes writes, all of them or none. `is_made` reads from the table whether they were made.
    pub(super) async fn transact(
        &self,
        writes: &[TransactWriteItem],
        is_made: impl AsyncFn() -> Result<bool, Error>,
    ) -> Result<Committed, Error> {
        let mut collisions = 0;
        loop {
            let request = self.client.transact_write_items().set_transact_items(Some(writes.to_vec()));
            let Err(error) = request.send().await else {
                return Ok(Committed::Yes);
            };
            // The answer may have been lost although the writes were made, or the SDK's second attempt met its own.
            let is_made = is_made().await;
            if matches!(is_made, Ok(true)) {
                return Ok(Committed::Yes);
            }
            if is_condition_false(&error) {
                return is_made.map(|_| Committed::No);
            }
            // Otherwise a cancelled transaction collided with another one in flight.
            collisions += 1;
            if !is_cancelled(&error) || collisions > COLLISIONS {
                return Err(failed("writing to the ledger", error));
            }
            pause_after(collisions).await;
        }
    }

    fn writes(&self, change: &Change<'_>) -> Result<Vec<TransactWriteItem>, Error> {
        let mut writes = vec![self.put_head(change.from, self.to_item(HEAD, change.to)?)];
        if let Some(record) = change.record {
            writes.push(self.put(self.to_item(&record_name(&record.deployment), record)?));
            // It lasts as long as the record.
            writes.push(self.put_identity(record)?);
        }
        if let Some(run) = change.run {
            writes.push(self.put(self.to_item(&run_name(run.number), run)?));
        }
        writes.extend(self.list_preview(change.preview)?);
        for batch in change.owed {
            writes.push(self.put(self.to_item(&owed_name(&batch.reference), batch)?));
        }
        for batch in change.settled {
            writes.push(self.delete(&owed_name(&batch.reference)));
        }
        writes.into_iter().collect::<Result<_, _>>().map_err(|error| malformed(&error))
    }

    fn put_head(&self, from: &Head, head: Item) -> Result<TransactWriteItem, BuildError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(head));
        let put = if from.version == 0 {
            put.condition_expression("attribute_not_exists(#item)").expression_attribute_names("#item", "item")
        } else {
            put.condition_expression("#version = :version")
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", AttributeValue::N(from.version.to_string()))
        };
        Ok(TransactWriteItem::builder().put(put.build()?).build())
    }

    /// Returns the write of a record's identity, on the condition that the upload has no other one.
    pub(super) fn put_identity(&self, record: &Record) -> Result<Result<TransactWriteItem, BuildError>, Error> {
        let identity = record.identity();
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(self.to_item(&identity_name(&identity.deployment), &identity)?))
            .condition_expression("attribute_not_exists(#item) OR #deployment = :deployment")
            .expression_attribute_names("#item", "item")
            .expression_attribute_names("#deployment", "deployment")
            .expression_attribute_values(":deployment", to_attribute(&identity.deployment)?)
            .build();
        Ok(put.map(|put| TransactWriteItem::builder().put(put).build()))
    }

    pub(super) fn put(&self, item: Item) -> Result<TransactWriteItem, BuildError> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn delete(&self, name: &str) -> Result<TransactWriteItem, BuildError> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(self.key(name))).build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

/// Whether a condition of a cancelled transaction does not hold.
fn is_condition_false(error: &SdkError<TransactWriteItemsError>) -> bool {
    match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some("ConditionalCheckFailed"))
        }
        _ => false,
    }
}
