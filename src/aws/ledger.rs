//! The ledger: one DynamoDB table that holds heads, deployment records and owed batches.
//!
//! Every change of the head, and every new batch, goes through [`Ledger::commit`]: one transaction, conditional on the
//! head being the one that was read. An invocation that has lost the lease can therefore neither change the head nor
//! record a batch.

mod commit;
mod item;
mod owed;
mod previews;
mod runs;

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Get, Put, TransactGetItem, TransactWriteItem};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::commit::{Change, PreviewChange, fitting};

use self::item::{
    HEAD, Item, OWED, RECORDS, WAITING, from_item, identity_name, malformed, record_name, to_attribute, waiting_name,
};
use self::previews::Listed;
use super::response::failed;
use crate::config::Config;
use crate::deployment::{DeploymentId, Head, Identity, Owed, Record, Waiting};
use crate::error::Error;

/// How often a transaction that collides with another one is repeated.
const COLLISIONS: u32 = 8;

/// One site's part of the table.
#[derive(Clone)]
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
    site: String,
    /// Where the site is listed, if it is a preview.
    listed: Option<Listed>,
}

/// The ledger's items of one upload, with the head.
#[derive(Debug, Default)]
pub struct Known {
    /// The default stands for a head that does not exist yet.
    pub head: Head,
    pub record: Option<Record>,
    /// The identity under which the upload was first recorded, maybe from an event with another time.
    pub identity: Option<Identity>,
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
        Self { client, table: config.table_name.clone(), site: config.site.clone(), listed: Listed::of(config) }
    }

    /// Returns another site's part of the table.
    pub fn of_site(&self, config: &Config) -> Self {
        Self { site: config.site.clone(), listed: Listed::of(config), ..self.clone() }
    }

    /// Reads the site's head. The default stands for one that does not exist yet.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn head(&self) -> Result<Head, Error> {
        Ok(self.get(HEAD).await?.unwrap_or_default())
    }

    /// Reads the ledger's items of an upload, as of one moment.
    ///
    /// Read one after the other, the head could be newer than the record, and a commit could go through that follows
    /// from an outdated record.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn read(&self, id: &DeploymentId) -> Result<Known, Error> {
        let names = [HEAD, &record_name(id), &identity_name(id)];
        let gets = names.into_iter().map(|name| self.transact_get(name)).collect::<Result<Vec<_>, _>>()?;
        let mut collisions = 0;
        let answer = loop {
            let request = self.client.transact_get_items();
            match request.set_transact_items(Some(gets.clone())).send().await {
                Ok(answer) => break answer,
                // Another transaction is writing one of them (DynamoDB, TransactGetItems, "Errors").
                Err(error) if is_cancelled(&error) && collisions < COLLISIONS => {
                    collisions += 1;
                    pause_after(collisions).await;
                }
                Err(error) => return Err(failed("reading the ledger", error)),
            }
        };
        // DynamoDB answers in the order of the request.
        let mut items = answer.responses.unwrap_or_default().into_iter().map(|answer| answer.item);
        let mut next = || items.next().flatten();
        Ok(Known {
            head: next().map(from_item).transpose()?.unwrap_or_default(),
            record: next().map(from_item).transpose()?,
            identity: next().map(from_item).transpose()?,
        })
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
        self.all(OWED, true).await
    }

    /// Reads the records of the last `limit` uploads, the newest first.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn records(&self, limit: usize) -> Result<Vec<Record>, Error> {
        self.last(RECORDS, limit).await
    }

    /// Reads the newest deployment that was uploaded before another one and has been live.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn live_before(&self, id: &DeploymentId) -> Result<Option<Record>, Error> {
        self.newest_record(|record| record.has_been_live() && record.deployment < *id).await
    }

    /// Reads the deployment that this very request has claimed, if any.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn started_by(&self, request: &str) -> Result<Option<Record>, Error> {
        self.newest_record(|record| record.run_claimed_by(request).is_some()).await
    }

    /// Writes a record without the head, unless another run has changed that record, or the upload is known under
    /// another id. The record comes with its identity.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn write_record(&self, before: Option<&Record>, record: &Record) -> Result<Committed, Error> {
        let put = Put::builder()
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
        let put = put.build().map_err(|error| malformed(&error))?;
        let identity = self.put_identity(record)?.map_err(|error| malformed(&error))?;
        let writes = vec![TransactWriteItem::builder().put(put).build(), identity];
        self.transact(&writes, async || Ok(self.record(&record.deployment).await?.as_ref() == Some(record))).await
    }

    /// Notes that an upload has given up waiting for the site.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn write_waiting(&self, waiting: &Waiting) -> Result<(), Error> {
        self.write(self.to_item(&waiting_name(&waiting.record.deployment), waiting)?).await
    }

    /// Writes an item, whatever is there.
    async fn write(&self, item: Item) -> Result<(), Error> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(|error| failed("writing to the ledger", error))
    }

    /// Reads the uploads that gave up waiting for the site, the newest first.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn waiting(&self) -> Result<Vec<Waiting>, Error> {
        self.all(WAITING, false).await
    }

    /// Deletes the note of an upload that waits no more.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn delete_waiting(&self, id: &DeploymentId) -> Result<(), Error> {
        let delete = self.client.delete_item().table_name(&self.table).set_key(Some(self.key(&waiting_name(id))));
        delete.send().await.map(drop).map_err(|error| failed("writing to the ledger", error))
    }

    async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let request =
            self.client.get_item().table_name(&self.table).set_key(Some(self.key(name))).consistent_read(true);
        let answer = request.send().await.map_err(|error| failed("reading the ledger", error))?;
        answer.item.map(from_item).transpose()
    }

    /// Reads the items whose sort keys begin with `prefix`, ascending, or descending unless `is_forward`.
    async fn all<T: DeserializeOwned>(&self, prefix: &str, is_forward: bool) -> Result<Vec<T>, Error> {
        let mut items = self.query(prefix, is_forward).into_paginator().items().send();
        let mut all = Vec::new();
        while let Some(item) = items.next().await {
            all.push(from_item(item.map_err(|error| failed("reading the ledger", error))?)?);
        }
        Ok(all)
    }

    /// Reads the last `limit` items whose sort keys begin with `prefix`, the last first.
    async fn last<T: DeserializeOwned>(&self, prefix: &str, limit: usize) -> Result<Vec<T>, Error> {
        let mut items = self.query(prefix, false).into_paginator().items().send();
        let mut last = Vec::new();
        while last.len() < limit
            && let Some(item) = items.next().await
        {
            last.push(from_item(item.map_err(|error| failed("reading the ledger", error))?)?);
        }
        Ok(last)
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
