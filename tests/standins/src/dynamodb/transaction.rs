//! Transactions: all of their writes, or none.

use serde_json::Value;

use super::refusal::{Refusal, invalid};
use super::table::{Key, Table};
use super::value::{Item, size_bytes};
use super::write::{Kind, Write};

/// A transaction "groups up to 100 action requests", and "the aggregate size of the items in the transaction cannot
/// exceed 4 MB" (DynamoDB API, `TransactWriteItems`).
const MAX_ACTIONS: usize = 100;
const MAX_TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// One change of a transaction: the table's name, the item's key, and what the item becomes.
type Change = (Value, Key, Option<Item>);

/// The changes that a transaction makes, as long as all of its conditions hold.
#[derive(Default)]
pub(super) struct Transaction {
    changes: Vec<Change>,
    bytes: usize,
    /// For each action, whether its condition does not hold.
    unmet: Vec<bool>,
}

impl Transaction {
    /// Adds a write, which is judged by the table as it was before the transaction.
    pub(super) fn add(&mut self, table: &Table, name: Value, write: Write) -> Result<(), Refusal> {
        if self.changes.iter().any(|(other, key, _)| (other, key) == (&name, write.key())) {
            return Err(invalid("Transaction request cannot include multiple operations on one item"));
        }
        let after = match write.after(table.get(write.key())) {
            Err(refusal) if refusal.is_condition_false() => {
                self.unmet.push(true);
                None
            }
            after => {
                self.unmet.push(false);
                after?
            }
        };
        self.bytes += after.as_ref().map_or(0, size_bytes);
        self.changes.push((name, write.into_key(), after));
        Ok(())
    }

    /// Returns the changes, unless they are too large or a condition does not hold.
    pub(super) fn into_changes(self) -> Result<Vec<Change>, Refusal> {
        if self.bytes > MAX_TRANSACTION_BYTES {
            return Err(invalid("Transaction request size is over the limit"));
        }
        if self.unmet.contains(&true) {
            return Err(Refusal::cancelled(self.unmet));
        }
        Ok(self.changes)
    }
}

/// Returns the actions of a transaction.
pub(super) fn actions(request: &Value) -> Result<&[Value], Refusal> {
    let actions = request["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
    match actions.len() {
        0 => Err(invalid("Member must have length greater than or equal to 1")),
        1..=MAX_ACTIONS => Ok(actions),
        _ => Err(invalid("Member must have length less than or equal to 100")),
    }
}

/// Returns the kind of a writing action, and what it says.
pub(super) fn action(action: &Value) -> Result<(Kind, &Value), Refusal> {
    let mut fields = action.as_object().into_iter().flatten();
    let one = "TransactItems can only contain one of Check, Put, Update or Delete";
    match (fields.next(), fields.next()) {
        (Some((kind, fields)), None) => {
            let kind = match kind.as_str() {
                "Put" => Kind::Put,
                "Update" => Kind::Update,
                "Delete" => Kind::Delete,
                "ConditionCheck" => Kind::ConditionCheck,
                _ => return Err(invalid(one)),
            };
            Ok((kind, fields))
        }
        _ => Err(invalid(one)),
    }
}
