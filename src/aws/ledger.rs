//! The ledger: one DynamoDB table that holds heads, deployment records and owed batches.
//!
//! Every change of the head, and every new batch, goes through [`Ledger::commit`]: one transaction, conditional on the
//! head being the one that was read. An invocation that has lost the lease can therefore neither change the head nor
//! record a batch.

mod commit;
mod item;
mod owed;

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Get, TransactGetItem};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::commit::{BATCHES_PER_COMMIT, Change};

use self::item::{HEAD, Item, OWED, RECORDS, from_item, malformed, record_name, to_attribute};
use super::response::failed;
use crate::config::Config;
use crate::deployment::{DeploymentId, Head, Owed, Record, Status};
use crate::error::Error;

/// How often a transaction that collides with another one is repeated.
const COLLISIONS: u32 = 8;

/// One site's part of the table.
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
    site: String,
}

/// Whether a conditional write took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Committed {
    Yes,
    /// Another invocation has changed the item since it was read.
    No,
}

impl Ledger {
    pub fn new(client: aws_sdk_dynamodb::Client, config: &Config) -> Self {
        Self { client, table: config.table_name.clone(), site: config.site.clone() }
    }

    /// Reads the site's head. The default stands for one that does not exist yet.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn head(&self) -> Result<Head, Error> {
        Ok(self.get(HEAD).await?.unwrap_or_default())
    }

    /// Reads the head and a deployment's record as of one moment.
    ///
    /// Read one after the other, the head could be newer than the record, and a commit could go through that follows
    /// from an outdated record.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn read(&self, id: &DeploymentId) -> Result<(Head, Option<Record>), Error> {
        let gets = [self.transact_get(HEAD)?, self.transact_get(&record_name(id))?];
        let mut collisions = 0;
        let answer = loop {
            let request = self.client.transact_get_items();
            match request.set_transact_items(Some(gets.to_vec())).send().await {
                Ok(answer) => break answer,
                // Another transaction is writing one of the two (DynamoDB, TransactGetItems, "Errors").
                Err(error) if is_cancelled(&error) && collisions < COLLISIONS => {
                    collisions += 1;
                    pause_after(collisions).await;
                }
                Err(error) => return Err(failed("reading the ledger", error)),
            }
        };
        // DynamoDB answers in the order of the request.
        let mut items = answer.responses.unwrap_or_default().into_iter().map(|answer| answer.item);
        let head = items.next().flatten().map(from_item).transpose()?.unwrap_or_default();
        let record = items.next().flatten().map(from_item).transpose()?;
        Ok((head, record))
    }

    /// Reads a deployment's record.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn record(&self, id: &DeploymentId) -> Result<Option<Record>, Error> {
        self.get(&record_name(id)).await
    }

    /// Reads all owed batches, those of the oldest deployment first.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn owed(&self) -> Result<Vec<Owed>, Error> {
        let mut items = self.query(OWED, true).into_paginator().items().send();
        let mut owed = Vec::new();
        while let Some(item) = items.next().await {
            owed.push(from_item(item.map_err(|error| failed("reading the ledger", error))?)?);
        }
        Ok(owed)
    }

    /// Reads the newest deployment that was uploaded before `live` and has been live.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn previous(&self, live: &DeploymentId) -> Result<Option<Record>, Error> {
        let name = record_name(live);
        self.newest_record(|record| {
            // A replay may have failed since; the answer shows that the deployment has been live.
            record.answer.is_some() && record.status != Status::Rejected && record_name(&record.deployment) < name
        })
        .await
    }

    /// Reads the deployment that this very request has claimed, if any.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn started_by(&self, request: &str) -> Result<Option<Record>, Error> {
        self.newest_record(|record| record.was_claimed_by(request)).await
    }

    /// Writes a record without the head, unless another run has changed that record.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn write_record(&self, before: Option<&Record>, record: &Record) -> Result<Committed, Error> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.to_item(&record_name(&record.deployment), record)?));
        let put = match before {
            None => put.condition_expression("attribute_not_exists(#item)").expression_attribute_names("#item", "item"),
            Some(before) => put
                .condition_expression("#run = :run AND #status = :status")
                .expression_attribute_names("#run", "run")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":run", AttributeValue::N(before.run.to_string()))
                .expression_attribute_values(":status", to_attribute(&before.status)?),
        };
        match put.send().await {
            Ok(_) => Ok(Committed::Yes),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                let now = self.record(&record.deployment).await?;
                Ok(if now.as_ref() == Some(record) { Committed::Yes } else { Committed::No })
            }
            Err(error) => Err(failed("writing to the ledger", error)),
        }
    }

    async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let request =
            self.client.get_item().table_name(&self.table).set_key(Some(self.key(name))).consistent_read(true);
        let answer = request.send().await.map_err(|error| failed("reading the ledger", error))?;
        answer.item.map(from_item).transpose()
    }

    /// Reads the newest upload's record of those that `is_wanted` accepts.
    async fn newest_record(&self, is_wanted: impl Fn(&Record) -> bool) -> Result<Option<Record>, Error> {
        let mut items = self.query(RECORDS, false).into_paginator().items().send();
        while let Some(item) = items.next().await {
            let record = from_item(item.map_err(|error| failed("reading the ledger", error))?)?;
            if is_wanted(&record) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Returns the query of the site's items whose sort keys begin with `prefix`, ascending, or descending unless `is_forward`.
    fn query(&self, prefix: &str, is_forward: bool) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#site = :site AND begins_with(#item, :prefix)")
            .expression_attribute_names("#site", "site")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":site", AttributeValue::S(self.site.clone()))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            .scan_index_forward(is_forward)
            .consistent_read(true)
    }

    fn transact_get(&self, name: &str) -> Result<TransactGetItem, Error> {
        let get = Get::builder().table_name(&self.table).set_key(Some(self.key(name))).build();
        Ok(TransactGetItem::builder().get(get.map_err(|error| malformed(&error))?).build())
    }

    fn to_item(&self, name: &str, value: &impl Serialize) -> Result<Item, Error> {
        item::to_item(&self.site, name, value)
    }

    fn key(&self, name: &str) -> Item {
        item::key(&self.site, name)
    }
}

/// Whether DynamoDB cancelled a transaction: a condition does not hold, or it collided with another one.
fn is_cancelled(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("TransactionCanceledException")
}

async fn pause_after(collisions: u32) {
    let jitter = fastrand::u64(10..50);
    tokio::time::sleep(Duration::from_millis(jitter << collisions.min(5))).await;
}
