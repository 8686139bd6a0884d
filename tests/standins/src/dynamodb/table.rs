//! The items of one table, with queries and scans.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::condition::{Comparator, Condition, Operand};
use super::parser::{Parser, Placeholders};
use super::refusal::{Refusal, invalid};
use super::value::{Item, parts, size_bytes};

/// "A single Query operation will read up to the maximum number of items set (if using the `Limit` parameter) or a
/// maximum of 1 MB of data" (DynamoDB API, `Query`).
const PAGE_BYTES: usize = 1024 * 1024;

/// The fields of a query that this stand-in knows.
pub(super) const QUERY: &[&str] = &[
    "KeyConditionExpression",
    "ExpressionAttributeNames",
    "ExpressionAttributeValues",
    "ProjectionExpression",
    "ScanIndexForward",
    "ConsistentRead",
    "Limit",
    "ExclusiveStartKey",
];

/// The fields of a scan that this stand-in knows.
pub(super) const SCAN: &[&str] = &["ConsistentRead", "Limit", "ExclusiveStartKey"];

/// The values of `site` and `item`. DynamoDB orders sort keys by their bytes in UTF-8, as Rust orders strings.
pub(super) type Key = (String, String);

#[derive(Default)]
pub(super) struct Table {
    items: BTreeMap<Key, Item>,
}

impl Table {
    pub(super) fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    pub(super) fn put(&mut self, key: Key, item: Item) {
        self.items.insert(key, item);
    }

    /// Puts an item in place of another one, or removes that one.
    pub(super) fn replace(&mut self, key: Key, after: Option<Item>) {
        match after {
            Some(item) => self.put(key, item),
            None => drop(self.items.remove(&key)),
        }
    }

    /// Returns all items, sorted by their keys.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    pub(super) fn query(&self, request: &Value) -> Result<Value, Refusal> {
        let mut placeholders = Placeholders::of(request)?;
        let expression = request["KeyConditionExpression"].as_str().unwrap_or_default();
        let condition = Condition::parse_as("KeyConditionExpression", expression, &mut placeholders)?;
        let attributes = projection(request, &mut placeholders)?;
        placeholders.are_used()?;
        let (site, prefix) = site_and_prefix(condition)?;
        let first = (site, prefix);
        let found = self.items.range(first.clone()..);
        let found = found.take_while(|((site, item), _)| *site == first.0 && item.starts_with(&first.1));
        let mut page = if request["ScanIndexForward"].as_bool().unwrap_or(true) {
            page(found, request, |key, start| key > start)?
        } else {
            let found: Vec<_> = found.collect();
            page(found.into_iter().rev(), request, |key, start| key < start)?
        };
        // A page is as long as its whole items are.
        if let Some(attributes) = attributes {
            let items = page["Items"].as_array_mut().into_iter().flatten();
            items.filter_map(Value::as_object_mut).for_each(|item| item.retain(|name, _| attributes.contains(name)));
        }
        Ok(page)
    }

    pub(super) fn scan(&self, request: &Value) -> Result<Value, Refusal> {
        page(self.items.iter(), request, |key, start| key > start)
    }
}

/// Returns the answer with the next page of these items. `is_after` compares a key with the last one of the page before.
fn page<'i>(
    items: impl Iterator<Item = (&'i Key, &'i Item)>,
    request: &Value,
    is_after: fn(&Key, &Key) -> bool,
) -> Result<Value, Refusal> {
    let start = Some(&request["ExclusiveStartKey"]).filter(|start| !start.is_null()).map(key).transpose()?;
    let limit = request["Limit"].as_u64().map_or(usize::MAX, |limit| limit as usize);
    let mut page: Vec<&Item> = Vec::new();
    let (mut bytes, mut last) = (0, None);
    for (key, item) in items.filter(|(key, _)| start.as_ref().is_none_or(|start| is_after(key, start))) {
        bytes += size_bytes(item);
        // A full page names its last item, even if no other one comes.
        if page.len() == limit || (bytes > PAGE_BYTES && !page.is_empty()) {
            break;
        }
        page.push(item);
        last = Some(key);
    }
    let is_full = page.len() == limit || bytes > PAGE_BYTES;
    let mut answer = json!({"Items": page, "Count": page.len(), "ScannedCount": page.len()});
    if let Some((site, item)) = last.filter(|_| is_full) {
        answer["LastEvaluatedKey"] = json!({"site": {"S": site}, "item": {"S": item}});
    }
    Ok(answer)
}

/// Returns the attributes that a request projects; `None` for all.
fn projection(request: &Value, placeholders: &mut Placeholders<'_>) -> Result<Option<Vec<String>>, Refusal> {
    let Some(expression) = request["ProjectionExpression"].as_str() else {
        return Ok(None);
    };
    let mut parser = Parser::new("ProjectionExpression", expression, placeholders)?;
    let mut attributes = Vec::new();
    loop {
        match <[String; 1]>::try_from(parser.path()?) {
            Ok([attribute]) => attributes.push(attribute),
            Err(_) => return Err(parser.not_emulated("a path into an attribute")),
        }
        if !parser.take_symbol(",") {
            parser.end()?;
            return Ok(Some(attributes));
        }
    }
}

/// Takes the key condition apart: `site = :site`, or `site = :site AND begins_with(item, :prefix)`.
fn site_and_prefix(condition: Condition) -> Result<(String, String), Refusal> {
    let (site, item) = match condition {
        Condition::All(conditions) => {
            let [site, item] = <[Condition; 2]>::try_from(conditions).map_err(|_| not_supported())?;
            (site, Some(item))
        }
        condition => (condition, None),
    };
    let site = match site {
        Condition::Compare(Operand::Path(path), Comparator::Equal, Operand::Value(value)) if path == ["site"] => {
            text(&value)?
        }
        _ => return Err(not_supported()),
    };
    let prefix = match item {
        None => String::new(),
        Some(Condition::BeginsWith(Operand::Path(path), Operand::Value(value))) if path == ["item"] => text(&value)?,
        Some(_) => return Err(not_supported()),
    };
    Ok((site, prefix))
}

fn not_supported() -> Refusal {
    invalid("Query key condition not supported")
}

fn text(value: &Value) -> Result<String, Refusal> {
    match parts(value) {
        Some(("S", Value::String(text))) => Ok(text.clone()),
        _ => Err(invalid(
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        )),
    }
}

/// Returns the key that a request names.
pub(super) fn key(key: &Value) -> Result<Key, Refusal> {
    let mismatch = || invalid("The provided key element does not match the schema");
    key.as_object().filter(|attributes| attributes.len() == 2).and_then(key_of_item).ok_or_else(mismatch)
}

/// Returns the key of an item, which neither attribute may leave empty.
pub(super) fn key_of_item(item: &Item) -> Option<Key> {
    let text = |name| match parts(item.get(name)?) {
        Some(("S", Value::String(text))) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    Some((text("site")?, text("item")?))
}
