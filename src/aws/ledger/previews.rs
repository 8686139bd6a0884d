//! The previews of a site: where they are listed, and how all items of one are deleted.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::Ledger;
use super::commit::PreviewChange;
use super::item::{self, IDENTITY, Item, PREVIEWS, RECORDS, RUNS, WAITING, failures_name, preview_name, removal_name};
use crate::aws::response::failed;
use crate::config::Config;
use crate::deployment::{DeploymentId, Preview, Removal, RemovalRequest};
use crate::error::Error;
use crate::preview::PreviewName;

/// How many items are deleted in parallel.
const DELETES_AT_ONCE: usize = 16;

/// How long the ledger remembers a request: longer than Lambda retries it.
const REQUEST_DAYS: i64 = 1;

/// The item of a request about a preview that has failed.
#[derive(Serialize, Deserialize)]
struct Failures {
    attempts: u32,
    /// When DynamoDB may remove the item, in epoch seconds.
    expires_at: i64,
}

/// Where a preview is listed: in the live site's part of the table.
#[derive(Clone)]
pub(super) struct Listed {
    site: String,
    name: PreviewName,
}

impl Listed {
    pub(super) fn of(config: &Config) -> Option<Self> {
        let name = config.preview.clone()?;
        Some(Self { site: config.live_site().to_owned(), name })
    }

    fn key(&self) -> Item {
        item::key(&self.site, &preview_name(&self.name))
    }

    fn item(&self, pushed_at: DateTime<Utc>) -> Result<Item, Error> {
        let preview = Preview { name: self.name.clone(), pushed_at };
        item::to_item(&self.site, &preview_name(&self.name), &preview)
    }
}

/// Returns when DynamoDB may remove the item of a request.
fn request_expires_at(now: DateTime<Utc>) -> i64 {
    (now + TimeDelta::days(REQUEST_DAYS)).timestamp()
}

impl Ledger {
    /// Reads the previews of the site, by name.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn previews(&self) -> Result<Vec<Preview>, Error> {
        self.all(PREVIEWS, true).await
    }

    /// Whether the ledger still lists the site, which is a preview, in this way.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn is_listed_as(&self, preview: &Preview) -> Result<bool, Error> {
        let Some(listed) = &self.listed else { return Ok(false) };
        let request = self.client.get_item().table_name(&self.table).set_key(Some(listed.key())).consistent_read(true);
        let answer = request.send().await.map_err(|error| failed("reading the ledger", error))?;
        let known = answer.item.map(item::from_item::<Preview>).transpose()?;
        Ok(known.as_ref() == Some(preview))
    }

    /// Returns the write that changes the preview's item, if there is one to change.
    pub(super) fn list_preview(
        &self,
        change: PreviewChange,
    ) -> Result<Option<Result<TransactWriteItem, BuildError>>, Error> {
        let Some(listed) = &self.listed else { return Ok(None) };
        Ok(match change {
            PreviewChange::None => None,
            PreviewChange::Pushed(pushed_at) => Some(self.put(listed.item(pushed_at)?)),
            PreviewChange::Removed => {
                let delete = Delete::builder().table_name(&self.table).set_key(Some(listed.key())).build();
                Some(delete.map(|delete| TransactWriteItem::builder().delete(delete).build()))
            }
        })
    }

    /// Returns when a request has first asked for the removal of the preview, which its first attempt notes.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn removal_asked_at(&self, request: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, Error> {
        let name = removal_name(request);
        let asked = RemovalRequest { asked_at: now, expires_at: request_expires_at(now) };
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.to_item(&name, &asked)?))
            .condition_expression("attribute_not_exists(#item)")
            .expression_attribute_names("#item", "item");
        match put.send().await {
            Ok(_) => Ok(asked.asked_at),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => {
                let known: Option<RemovalRequest> = self.get(&name).await?;
                Ok(known.map_or(asked.asked_at, |known| known.asked_at))
            }
            Err(error) => Err(failed("writing to the ledger", error)),
        }
    }

    /// Lists the preview, so that the next sweep looks after it.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn list(&self, pushed_at: DateTime<Utc>) -> Result<(), Error> {
        let Some(listed) = &self.listed else { return Ok(()) };
        self.write(listed.item(pushed_at)?).await
    }

    /// Notes that an attempt at a request has failed, and returns how many have. Lambda makes one after the other.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn count_failure(&self, request: &str, now: DateTime<Utc>) -> Result<u32, Error> {
        let name = failures_name(request);
        let before: Option<Failures> = self.get(&name).await?;
        let attempts = before.map_or(0, |failures| failures.attempts) + 1;
        self.write(self.to_item(&name, &Failures { attempts, expires_at: request_expires_at(now) })?).await?;
        Ok(attempts)
    }

    /// Deletes the items of all uploads and runs from before a removal. Those of later uploads stay.
    ///
    /// # Errors
    /// `Aws`; some of them may be deleted then.
    pub async fn delete_all_before(&self, removal: &Removal) -> Result<(), Error> {
        let is_before = |id: &DeploymentId| {
            // An id tells the second.
            id.uploaded_at().is_none_or(|at| at.timestamp() < removal.asked_at.timestamp())
        };
        let mut dead = BTreeSet::new();
        let mut names = Vec::new();
        for (name, item) in self.names(RECORDS).await? {
            let id = DeploymentId::named(&name[RECORDS.len()..]);
            let has_run = number(&item, "run").is_some_and(|run| (1..removal.number).contains(&run));
            if has_run || is_before(&id) {
                names.push(name);
                dead.insert(id);
            }
        }
        for (name, item) in self.names(IDENTITY).await? {
            let id: Option<DeploymentId> =
                item.get("deployment").and_then(|id| id.as_s().ok()).map(|id| DeploymentId::named(id));
            names.extend(id.is_none_or(|id| dead.contains(&id) || is_before(&id)).then_some(name));
        }
        for (name, _) in self.names(WAITING).await? {
            let id = DeploymentId::named(&name[WAITING.len()..]);
            names.extend((dead.contains(&id) || is_before(&id)).then_some(name));
        }
        for (name, item) in self.names(RUNS).await? {
            names.extend(number(&item, "number").is_none_or(|number| number < removal.number).then_some(name));
        }
        stream::iter(&names)
            .map(async |name| {
                let delete = self.client.delete_item().table_name(&self.table).set_key(Some(self.key(name)));
                delete.send().await.map(drop).map_err(|error| failed("deleting an item of a preview", error))
            })
            .buffer_unordered(DELETES_AT_ONCE)
            .try_collect()
            .await
    }

    /// Returns the sort keys that begin with `prefix`, each with the few attributes that say what the item is about.
    async fn names(&self, prefix: &str) -> Result<Vec<(String, Item)>, Error> {
        let names = ["item", "run", "number", "deployment"].map(|name| (format!("#{name}"), name.to_owned()));
        let query = self.query(prefix, true).projection_expression("#item, #run, #number, #deployment");
        let query = names.into_iter().fold(query, |query, (sign, name)| query.expression_attribute_names(sign, name));
        let mut items = query.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(item) = items.next().await {
            let item: HashMap<String, AttributeValue> = item.map_err(|error| failed("reading the ledger", error))?;
            if let Some(name) = item.get("item").and_then(|name| name.as_s().ok()).cloned() {
                found.push((name, item));
            }
        }
        Ok(found)
    }
}

fn number(item: &Item, attribute: &str) -> Option<u64> {
    item.get(attribute)?.as_n().ok()?.parse().ok()
}
