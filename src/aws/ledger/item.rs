//! The table's items: their sort keys, and how values become items.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::deployment::DeploymentId;
use crate::error::Error;
use crate::preview::PreviewName;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The sort key of the site's head.
pub(super) const HEAD: &str = "head";

/// The prefix of the sort keys of deployment records. The id follows, so that records sort by upload time.
pub(super) const RECORDS: &str = "deployment#";

/// The prefix of the sort keys of runs. The number follows with leading zeros, so that runs sort by it.
pub(super) const RUNS: &str = "run#";

/// The prefix of the sort keys of owed batches. The caller reference follows, which begins with the deployment's id.
pub(super) const OWED: &str = "owed#";

/// The prefix of the sort keys of identities. The digest of the deployment's id follows.
pub(super) const IDENTITY: &str = "version#";

/// The prefix of the sort keys of uploads that gave up waiting. The deployment's id follows.
pub(super) const WAITING: &str = "waiting#";

/// The prefix of the sort keys of previews, in the part of the live site. The name follows.
pub(super) const PREVIEWS: &str = "preview#";

/// The prefix of the sort keys of requests for a removal. The request's id follows.
const REMOVALS: &str = "removal#";

/// The prefix of the sort keys of requests about a preview that have failed. The request's id and the archive's key follow.
const FAILURES: &str = "failed#";

/// Returns the sort key of a request that has failed.
pub(super) fn failures_name(request: &str) -> String {
    format!("{FAILURES}{request}")
}

/// Returns the sort key of a preview.
pub(super) fn preview_name(name: &PreviewName) -> String {
    format!("{PREVIEWS}{name}")
}

/// Returns the sort key of a request for a removal.
pub(super) fn removal_name(request: &str) -> String {
    format!("{REMOVALS}{request}")
}

/// Returns the sort key of an upload's identity.
pub(super) fn identity_name(id: &DeploymentId) -> String {
    format!("{IDENTITY}{}", id.digest())
}

/// Returns the sort key of an upload that gave up waiting.
pub(super) fn waiting_name(id: &DeploymentId) -> String {
    format!("{WAITING}{id}")
}

/// Returns the sort key of a deployment's record.
pub(super) fn record_name(id: &DeploymentId) -> String {
    format!("{RECORDS}{id}")
}

/// Returns the sort key of a run.
pub(super) fn run_name(number: u64) -> String {
    format!("{RUNS}{number:012}")
}

/// Returns the sort key of an owed batch.
pub(super) fn owed_name(reference: &str) -> String {
    format!("{OWED}{reference}")
}

/// Returns the primary key of a site's item.
pub(super) fn key(site: &str, name: &str) -> Item {
    HashMap::from([
        ("site".to_owned(), AttributeValue::S(site.to_owned())),
        ("item".to_owned(), AttributeValue::S(name.to_owned())),
    ])
}

/// Returns `value` as a site's item under the sort key `name`.
pub(super) fn to_item(site: &str, name: &str, value: &impl Serialize) -> Result<Item, Error> {
    let mut item: Item = serde_dynamo::to_item(value).map_err(|error| malformed(&error))?;
    item.extend(key(site, name));
    Ok(item)
}

pub(super) fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|error| malformed(&error))
}

pub(super) fn to_attribute(value: &impl Serialize) -> Result<AttributeValue, Error> {
    serde_dynamo::to_attribute_value(value).map_err(|error| malformed(&error))
}

pub(super) fn malformed(error: &dyn std::error::Error) -> Error {
    Error::Aws {
        what: "reading or writing a ledger item".to_owned(),
        reason: format!("{error}; was the item edited by hand, or written by a newer release?"),
        source: None,
    }
}
