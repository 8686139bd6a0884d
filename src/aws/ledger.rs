//! The ledger: one DynamoDB table that holds heads, deployment records and owed batches.
//!
//! Every change of a site's state goes through [`Ledger::commit`], one transaction that is conditional on
//! the head being the one that was read: whoever has lost the lease cannot write.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{AttributeValue, Delete, Get, Put, TransactGetItem, TransactWriteItem};
use chrono::{DateTime, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::response::failed;
use crate::config::Config;
use crate::deployment::{DeploymentId, Head, Record, Run, Status};
use crate::error::Error;
use crate::invalidation::Batch;

type Item = HashMap<String, AttributeValue>;

/// A transaction takes at most 100 items (DynamoDB, TransactWriteItems) and 4 MB; a batch is up to 256 KiB.
pub const BATCHES_PER_COMMIT: usize = 12;

/// How many owed batches are marked or settled at once.
const WRITES_AT_ONCE: usize = 16;

/// How often a transaction is tried again that collided with another one on the same items.
const COLLISIONS: u32 = 8;

/// One site's part of the table.
pub struct Ledger {
    client: aws_sdk_dynamodb::Client,
    table: String,
    site: String,
}

/// An invalidation that is recorded and not yet accepted by CloudFront.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Owed {
    pub reference: String,
    pub distribution: String,
    pub items: Vec<String>,
    /// To be offered after the deletes of its run.
    pub after_deletes: bool,
    /// The run whose writes it covers.
    pub deployment: DeploymentId,
    pub run: u64,
    /// Set before CloudFront is first asked: from then on it covers no write that is still to come.
    pub offered: bool,
    /// None in items of an earlier release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_at: Option<DateTime<Utc>>,
    /// The version of the distribution's configuration that the tags among the items rely on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relies_on: Option<String>,
}

impl Owed {
    pub fn new(batch: Batch, run: &Run, now: DateTime<Utc>) -> Self {
        Self {
            reference: batch.reference,
            distribution: batch.distribution,
            items: batch.items,
            after_deletes: batch.after_deletes,
            deployment: run.deployment.clone(),
            run: run.number,
            offered: false,
            recorded_at: Some(now),
            relies_on: batch.relies_on,
        }
    }

    pub fn batch(&self) -> Batch {
        Batch {
            reference: self.reference.clone(),
            distribution: self.distribution.clone(),
            items: self.items.clone(),
            after_deletes: self.after_deletes,
            relies_on: self.relies_on.clone(),
        }
    }
}

/// Whether a conditional write took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    Done,
    /// Someone else has changed the head since it was read.
    Lost,
}

impl Ledger {
    pub fn new(client: aws_sdk_dynamodb::Client, config: &Config) -> Self {
        Self { client, table: config.table_name.clone(), site: config.site.clone() }
    }

    /// Reads the site's head; one that does not exist yet is the default.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn head(&self) -> Result<Head, Error> {
        Ok(self.get("head").await?.unwrap_or_default())
    }

    /// Reads the head and a deployment's record as they are at one moment.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn read(&self, id: &DeploymentId) -> Result<(Head, Option<Record>), Error> {
        let gets = ["head", &record_name(id)].map(|name| {
            let get = Get::builder().table_name(&self.table);
            let get = get.set_key(Some(self.key(name))).build();
            get.map(|get| TransactGetItem::builder().get(get).build())
        });
        let gets: Result<Vec<_>, _> = gets.into_iter().collect();
        let gets = gets.map_err(|error| malformed(&error))?;
        let mut collisions = 0;
        let answer = loop {
            let request = self.client.transact_get_items();
            match request.set_transact_items(Some(gets.clone())).send().await {
                Ok(answer) => break answer,
                // Somebody is writing one of the two (DynamoDB, TransactGetItems, "Errors").
                Err(error) if is_cancelled(&error) && collisions < COLLISIONS => {
                    collisions += 1;
                    pause_after(collisions).await;
                }
                Err(error) => return Err(failed("reading the ledger", error)),
            }
        };
        // One answer for each item, in the order that they were asked for in.
        let mut items = answer.responses.unwrap_or_default().into_iter();
        let mut next = || items.next().and_then(|answer| answer.item);
        let (head, record) = (next(), next());
        let head = head.map(from_item).transpose()?.unwrap_or_default();
        Ok((head, record.map(from_item).transpose()?))
    }

    /// Reads a deployment's record.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn record(&self, id: &DeploymentId) -> Result<Option<Record>, Error> {
        self.get(&record_name(id)).await
    }

    /// Reads all batches that are owed, oldest deployment first.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn owed(&self) -> Result<Vec<Owed>, Error> {
        self.query("owed#", |_: &Owed| true, None).await
    }

    /// The newest deployment that was uploaded before `live` and has been live.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn previous(&self, live: &DeploymentId) -> Result<Option<Record>, Error> {
        let name = record_name(live);
        let is_before = |record: &Record| {
            // One that was run again since, and not to its end, has been live all the same.
            record.answer.is_some() && record.status != Status::Rejected && record_name(&record.deployment) < name
        };
        Ok(self.query("deployment#", is_before, Some(1)).await?.pop())
    }

    /// The deployment that this very request has claimed, if any.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn started_by(&self, request: &str) -> Result<Option<Record>, Error> {
        Ok(self.query("deployment#", |record: &Record| record.was_claimed_by(request), Some(1)).await?.pop())
    }

    /// Moves the site from `before` to `after`, with a record and up to [`BATCHES_PER_COMMIT`] new owed batches,
    /// all or nothing, and forgets the batches in `settled`, which CloudFront has accepted or which cover no write.
    /// Those of them for which the transaction has no room are forgotten before.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn commit(
        &self,
        before: &Head,
        after: &Head,
        record: Option<&Record>,
        owed: &[Owed],
        settled: &[Owed],
    ) -> Result<Commit, Error> {
        let room = BATCHES_PER_COMMIT.saturating_sub(owed.len());
        let (settled, surplus) = settled.split_at(room.min(settled.len()));
        self.settle(surplus).await?;
        let head_put = self.item("head", after)?;
        let condition = if before.version == 0 { "attribute_not_exists(#item)" } else { "#version = :version" };
        let mut put = Put::builder().table_name(&self.table).set_item(Some(head_put)).condition_expression(condition);
        if before.version == 0 {
            put = put.expression_attribute_names("#item", "item");
        } else {
            put = put
                .expression_attribute_names("#version", "version")
                .expression_attribute_values(":version", AttributeValue::N(before.version.to_string()));
        }
        let mut writes = vec![put];
        if let Some(record) = record {
            let record_item = self.item(&record_name(&record.deployment), record)?;
            writes.push(Put::builder().table_name(&self.table).set_item(Some(record_item)));
        }
        for batch in owed {
            writes.push(Put::builder().table_name(&self.table).set_item(Some(self.owed_item(batch)?)));
        }
        let puts = writes.into_iter().map(|put| Ok(TransactWriteItem::builder().put(put.build()?).build()));
        let deletes = settled.iter().map(|batch| {
            let delete = Delete::builder().table_name(&self.table);
            let delete = delete.set_key(Some(self.key(&owed_name(&batch.reference))));
            Ok(TransactWriteItem::builder().delete(delete.build()?).build())
        });
        let writes = puts
            .chain(deletes)
            .collect::<Result<Vec<_>, aws_sdk_dynamodb::error::BuildError>>()
            .map_err(|error| malformed(&error))?;
        let mut collisions = 0;
        loop {
            let request = self.client.transact_write_items().set_transact_items(Some(writes.clone()));
            let Err(error) = request.send().await else {
                return Ok(Commit::Done);
            };
            if !is_cancelled(&error) {
                return Err(failed("writing to the ledger", error));
            }
            // The answer to a first attempt may have been lost, so that the second met its own write.
            let now = self.head().await?;
            if now == *after {
                return Ok(Commit::Done);
            }
            if now.version != before.version {
                return Ok(Commit::Lost);
            }
            // The head is as it was: the transaction collided with another one in flight.
            collisions += 1;
            if collisions > COLLISIONS {
                return Err(failed("writing to the ledger", error));
            }
            pause_after(collisions).await;
        }
    }

    /// Writes the record of a deployment that does not touch the head, unless another run has changed it.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn note(&self, before: Option<&Record>, record: &Record) -> Result<Commit, Error> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.item(&record_name(&record.deployment), record)?));
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
            Ok(_) => Ok(Commit::Done),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                let now = self.record(&record.deployment).await?;
                Ok(if now.as_ref() == Some(record) { Commit::Done } else { Commit::Lost })
            }
            Err(error) => Err(failed("writing to the ledger", error)),
        }
    }

    /// Marks batches before they are first offered to CloudFront.
    ///
    /// # Errors
    /// `Aws`; some of them may be marked then.
    pub async fn mark_offered(&self, references: &[&str]) -> Result<(), Error> {
        stream::iter(references)
            .map(async |reference| {
                let update = self
                    .client
                    .update_item()
                    .table_name(&self.table)
                    .set_key(Some(self.key(&owed_name(reference))))
                    .update_expression("SET #offered = :offered")
                    // A batch that is gone is settled; it must not come back as a stump.
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
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }

    /// Forgets batches.
    async fn settle(&self, batches: &[Owed]) -> Result<(), Error> {
        stream::iter(batches)
            .map(async |batch| {
                let delete = self
                    .client
                    .delete_item()
                    .table_name(&self.table)
                    .set_key(Some(self.key(&owed_name(&batch.reference))));
                let deleted = delete.send().await.map(|_| ());
                deleted.map_err(|error| failed("settling an owed invalidation", error))
            })
            .buffer_unordered(WRITES_AT_ONCE)
            .try_collect()
            .await
    }

    async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let request =
            self.client.get_item().table_name(&self.table).set_key(Some(self.key(name))).consistent_read(true);
        let answer = request.send().await.map_err(|error| failed("reading the ledger", error))?;
        answer.item.map(from_item).transpose()
    }

    /// Reads the items whose name begins so, newest first when `most` is given.
    async fn query<T: DeserializeOwned>(
        &self,
        begins: &str,
        wanted: impl Fn(&T) -> bool,
        most: Option<usize>,
    ) -> Result<Vec<T>, Error> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("#site = :site AND begins_with(#item, :begins)")
            .expression_attribute_names("#site", "site")
            .expression_attribute_names("#item", "item")
            .expression_attribute_values(":site", AttributeValue::S(self.site.clone()))
            .expression_attribute_values(":begins", AttributeValue::S(begins.to_owned()))
            .scan_index_forward(most.is_none())
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| failed("reading the ledger", error))?;
            found.extend(Some(from_item(item)?).filter(&wanted));
            if most.is_some_and(|most| found.len() >= most) {
                break;
            }
        }
        Ok(found)
    }

    fn owed_item(&self, owed: &Owed) -> Result<Item, Error> {
        self.item(&owed_name(&owed.reference), owed)
    }

    fn item(&self, name: &str, value: &impl Serialize) -> Result<Item, Error> {
        let mut item: Item = serde_dynamo::to_item(value).map_err(|error| malformed(&error))?;
        item.extend(self.key(name));
        Ok(item)
    }

    fn key(&self, name: &str) -> Item {
        HashMap::from([
            ("site".to_owned(), AttributeValue::S(self.site.clone())),
            ("item".to_owned(), AttributeValue::S(name.to_owned())),
        ])
    }
}

/// Whether a transaction has had no effect: a condition does not hold, or it collided with another one.
fn is_cancelled(error: &impl ProvideErrorMetadata) -> bool {
    error.code() == Some("TransactionCanceledException")
}

async fn pause_after(collisions: u32) {
    let jitter = fastrand::u64(10..50);
    tokio::time::sleep(Duration::from_millis(jitter << collisions.min(5))).await;
}

fn record_name(id: &DeploymentId) -> String {
    format!("deployment#{id}")
}

fn owed_name(reference: &str) -> String {
    format!("owed#{reference}")
}

fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|error| malformed(&error))
}

fn to_attribute(value: &impl Serialize) -> Result<AttributeValue, Error> {
    serde_dynamo::to_attribute_value(value).map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::error::Error) -> Error {
    Error::Aws {
        what: "reading or writing a ledger item".to_owned(),
        reason: format!("{error}; was the item edited by hand, or written by a newer release?"),
        source: None,
    }
}
