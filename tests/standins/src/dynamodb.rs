//! DynamoDB's API: tables with the keys `site` and `item`, both strings.
//!
//! It does what the ledger and its tests ask for, and refuses everything else: operations, fields of a request, functions
//! of an expression. It forgets the token with which the SDK marks the attempts of one transaction, as DynamoDB does
//! after ten minutes: an attempt whose predecessor was carried out meets its writes.

mod condition;
mod parser;
mod refusal;
mod table;
mod tokens;
mod transaction;
mod update;
mod value;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use hyper::Response;
use hyper::http::request::Parts;
use s3s::Body;
use serde_json::{Value, json};

use crate::call::signing_region;
use crate::response::response;
use refusal::{Refusal, invalid, refusal};
use table::Table;
use transaction::Transaction;
use value::Item;
use write::{Kind, Write};

/// The tables of the account, by region and name.
#[derive(Default)]
pub(crate) struct DynamoDb {
    tables: Mutex<Tables>,
}

#[derive(Default)]
struct Tables {
    tables: BTreeMap<(String, String), Table>,
}

/// Checks that a request has no other fields than these.
fn has_only(request: &Value, known: &[&[&str]]) -> Result<(), Refusal> {
    let mut fields = request.as_object().into_iter().flat_map(|request| request.keys());
    match fields.find(|field| !known.iter().any(|known| known.contains(&field.as_str()))) {
        Some(field) => Err(invalid(format!("{field} is not emulated"))),
        None => Ok(()),
    }
}

impl DynamoDb {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn answer(&self, parts: &Parts, body: &[u8]) -> Response<Body> {
        let region = signing_region(parts).unwrap_or_default();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let operation = target.and_then(|target| target.strip_prefix("DynamoDB_20120810.")).unwrap_or_default();
        let answer = serde_json::from_slice(body)
            .map_err(|error| refusal("SerializationException", error.to_string()))
            .and_then(|request| self.lock().carry_out(&region, operation, &request));
        match answer {
            Ok(answer) => response(200, "application/x-amz-json-1.0", answer.to_string()),
            Err(refusal) => refusal.response(),
        }
    }

    pub(crate) fn create_table(&self, name: &str, region: &str) {
        self.lock().tables.insert((region.to_owned(), name.to_owned()), Table::default());
    }

    /// Returns all items of a table, sorted by their keys.
    pub(crate) fn items(&self, name: &str, region: &str) -> Vec<Value> {
        self.open(name, region, |table| table.items().cloned().map(Value::Object).collect())
    }

    /// Returns one item of a table.
    pub(crate) fn item(&self, table: &str, region: &str, site: &str, item: &str) -> Option<Value> {
        let key = (site.to_owned(), item.to_owned());
        self.open(table, region, |table| table.get(&key).cloned().map(Value::Object))
    }

    /// Replaces all items of a table.
    pub(crate) fn restore(&self, name: &str, region: &str, items: &[Value]) {
        self.open(name, region, |table| {
            *table = Table::default();
            for item in items {
                let item = item.as_object().expect("an item is a map").clone();
                let key = table::key_of_item(&item).expect("an item of a table has the table's keys");
                table.put(key, item);
            }
        });
    }

    /// Runs `with` on a table that a test relies on.
    ///
    /// # Panics
    /// If there is no such table.
    fn open<T>(&self, name: &str, region: &str, with: impl FnOnce(&mut Table) -> T) -> T {
        let mut tables = self.lock();
        let table = tables.tables.get_mut(&(region.to_owned(), name.to_owned()));
        with(table.expect("the table exists"))
    }
}

impl Tables {
    fn carry_out(&mut self, region: &str, operation: &str, request: &Value) -> Result<Value, Refusal> {
        match operation {
            "GetItem" => self.get_item(region, request),
            "PutItem" => self.write(region, Kind::Put, request),
            "UpdateItem" => self.write(region, Kind::Update, request),
            "DeleteItem" => self.write(region, Kind::Delete, request),
            "Query" => {
                has_only(request, &[&["TableName"], table::QUERY])?;
                self.table(region, request)?.query(request)
            }
            "Scan" => {
                has_only(request, &[&["TableName"], table::SCAN])?;
                self.table(region, request)?.scan(request)
            }
            "TransactGetItems" => self.transact_get_items(region, request),
            "TransactWriteItems" => self.transact_write_items(region, request),
            _ => Err(refusal("UnknownOperationException", format!("{operation} is not emulated"))),
        }
    }

    /// Returns the table that a request, or an action of a transaction, names.
    fn table(&mut self, region: &str, request: &Value) -> Result<&mut Table, Refusal> {
        let name = request["TableName"].as_str().unwrap_or_default();
        let table = self.tables.get_mut(&(region.to_owned(), name.to_owned()));
        table.ok_or_else(|| refusal("ResourceNotFoundException", "Requested resource not found"))
    }

    fn get_item(&mut self, region: &str, request: &Value) -> Result<Value, Refusal> {
        has_only(request, &[&["TableName", "Key", "ConsistentRead"]])?;
        let key = table::key(&request["Key"])?;
        Ok(found(self.table(region, request)?.get(&key)))
    }

    fn write(&mut self, region: &str, kind: Kind, request: &Value) -> Result<Value, Refusal> {
        let write = Write::parse(kind, request)?;
        let table = self.table(region, request)?;
        let after = write.after(table.get(write.key()))?;
        table.replace(write.into_key(), after);
        Ok(json!({}))
    }

    fn transact_get_items(&mut self, region: &str, request: &Value) -> Result<Value, Refusal> {
        has_only(request, &[&["TransactItems"]])?;
        let mut responses = Vec::new();
        for action in transaction::actions(request)? {
            has_only(action, &[&["Get"]])?;
            has_only(&action["Get"], &[&["TableName", "Key"]])?;
            let key = table::key(&action["Get"]["Key"])?;
            responses.push(found(self.table(region, &action["Get"])?.get(&key)));
        }
        Ok(json!({"Responses": responses}))
    }

    fn transact_write_items(&mut self, region: &str, request: &Value) -> Result<Value, Refusal> {
        has_only(request, &[&["TransactItems", "ClientRequestToken"]])?;
        let mut transaction = Transaction::default();
        for action in transaction::actions(request)? {
            let (kind, fields) = transaction::action(action)?;
            let write = Write::parse(kind, fields)?;
            transaction.add(self.table(region, fields)?, fields["TableName"].clone(), write)?;
        }
        for (table, key, after) in transaction.into_changes()? {
            self.table(region, &json!({"TableName": table}))?.replace(key, after);
        }
        Ok(json!({}))
    }
}

/// Returns the answer to the reading of one item.
fn found(item: Option<&Item>) -> Value {
    item.map_or_else(|| json!({}), |item| json!({"Item": item}))
}
