//! The write of one item, alone or as an action of a transaction.

use serde_json::Value;

use super::condition::Condition;
use super::has_only;
use super::parser::Placeholders;
use super::refusal::{Refusal, invalid};
use super::table::{Key, key, key_of_item};
use super::update::Update;
use super::value::{Item, check, size_bytes};

/// "The maximum item size in DynamoDB is 400 KB, which includes both attribute name binary
/// length (UTF-8 length) and attribute value lengths" (DynamoDB Developer Guide, Quotas).
const MAX_ITEM_BYTES: usize = 400 * 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Put,
    Update,
    Delete,
    /// Only in a transaction.
    ConditionCheck,
}

/// The fields that every write may have.
const FIELDS: &[&str] = &["TableName", "ConditionExpression", "ExpressionAttributeNames", "ExpressionAttributeValues"];

pub(super) struct Write {
    key: Key,
    condition: Option<Condition>,
    change: Change,
}

enum Change {
    Put(Item),
    Update(Option<Update>),
    Delete,
    None,
}

impl Write {
    pub(super) fn parse(kind: Kind, request: &Value) -> Result<Self, Refusal> {
        let mut placeholders = Placeholders::of(request)?;
        let condition = request["ConditionExpression"].as_str();
        let condition = condition.map(|text| Condition::parse(text, &mut placeholders)).transpose()?;
        let (key, change) = match kind {
            Kind::Put => {
                has_only(request, &[FIELDS, &["Item"]])?;
                let item = request["Item"].as_object().cloned().unwrap_or_default();
                check(&item)?;
                let missing = "One or more parameter values were invalid: Missing or empty key in the item";
                (key_of_item(&item).ok_or_else(|| invalid(missing))?, Change::Put(item))
            }
            Kind::Update => {
                has_only(request, &[FIELDS, &["Key", "UpdateExpression"]])?;
                let update = request["UpdateExpression"].as_str();
                let update = update.map(|text| Update::parse(text, &mut placeholders)).transpose()?;
                update.as_ref().map_or(Ok(()), changes_no_key)?;
                (key(&request["Key"])?, Change::Update(update))
            }
            Kind::Delete => {
                has_only(request, &[FIELDS, &["Key"]])?;
                (key(&request["Key"])?, Change::Delete)
            }
            Kind::ConditionCheck => {
                has_only(request, &[FIELDS, &["Key"]])?;
                (key(&request["Key"])?, Change::None)
            }
        };
        placeholders.are_used()?;
        Ok(Self { key, condition, change })
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn into_key(self) -> Key {
        self.key
    }

    /// Returns what the item becomes, if the condition holds for it.
    pub(super) fn after(&self, before: Option<&Item>) -> Result<Option<Item>, Refusal> {
        let nothing = Item::new();
        if let Some(condition) = &self.condition
            && !condition.holds(before.unwrap_or(&nothing))?
        {
            return Err(Refusal::condition_is_false());
        }
        let after = match &self.change {
            Change::Put(item) => Some(item.clone()),
            Change::Update(update) => {
                let before = before.cloned().unwrap_or_else(|| self.new_item());
                Some(update.as_ref().map_or_else(|| Ok(before.clone()), |update| update.apply(&before))?)
            }
            Change::Delete => None,
            Change::None => before.cloned(),
        };
        if after.as_ref().is_some_and(|item| size_bytes(item) > MAX_ITEM_BYTES) {
            return Err(invalid("Item size has exceeded the maximum allowed size"));
        }
        Ok(after)
    }

    /// Returns the item that an update creates, before its changes.
    fn new_item(&self) -> Item {
        let (site, item) = &self.key;
        [("site", site), ("item", item)]
            .map(|(name, text)| (name.to_owned(), serde_json::json!({"S": text})))
            .into_iter()
            .collect()
    }
}

fn changes_no_key(update: &Update) -> Result<(), Refusal> {
    match update.paths().map(|path| path[0].as_str()).find(|name| ["site", "item"].contains(name)) {
        Some(name) => Err(invalid(format!(
            "One or more parameter values were invalid: Cannot update attribute {name}. This attribute is part of the key"
        ))),
        None => Ok(()),
    }
}
