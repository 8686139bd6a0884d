//! Attribute values, as DynamoDB's JSON writes them: `{"S": "text"}`.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::refusal::{Refusal, invalid};

/// The attributes of an item.
pub(super) type Item = Map<String, Value>;

/// Returns the type and the content of a value.
pub(super) fn parts(value: &Value) -> Option<(&str, &Value)> {
    let fields = value.as_object()?;
    let (kind, content) = fields.iter().next().filter(|_| fields.len() == 1)?;
    Some((kind, content))
}

/// Checks that a request's attributes have types and contents that belong together.
pub(super) fn check(attributes: &Item) -> Result<(), Refusal> {
    attributes.values().try_for_each(check_value)
}

fn check_value(value: &Value) -> Result<(), Refusal> {
    let wrong = || invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes");
    match parts(value).ok_or_else(wrong)? {
        ("S" | "B", Value::String(_)) | ("BOOL", Value::Bool(_)) | ("NULL", Value::Bool(true)) => Ok(()),
        ("N", Value::String(digits)) if digits.parse::<f64>().is_ok_and(f64::is_finite) => Ok(()),
        ("N", _) => Err(invalid("The parameter cannot be converted to a numeric value")),
        ("M", Value::Object(attributes)) => check(attributes),
        ("L", Value::Array(values)) => values.iter().try_for_each(check_value),
        ("SS" | "NS" | "BS", _) => Err(invalid("sets are not emulated")),
        _ => Err(wrong()),
    }
}

/// Whether two values have the same type and content. Numbers may be written in different ways.
pub(super) fn are_equal(left: &Value, right: &Value) -> Result<bool, Refusal> {
    match (parts(left), parts(right)) {
        (Some(("N", left)), Some(("N", right))) => Ok(number(left)? == number(right)?),
        _ => Ok(left == right),
    }
}

/// Compares two values. Values of different types, or of a type without an order, are neither less nor greater.
pub(super) fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, Refusal> {
    match (parts(left), parts(right)) {
        (Some(("N", left)), Some(("N", right))) => Ok(Some(number(left)?.cmp(&number(right)?))),
        (Some(("S", Value::String(left))), Some(("S", Value::String(right)))) => Ok(Some(left.cmp(right))),
        (Some(("B", _)), Some(("B", _))) => Err(invalid("the order of binary values is not emulated")),
        _ => Ok(None),
    }
}

/// Adds two numbers, or subtracts the second one.
pub(super) fn sum(left: &Value, right: &Value, subtracts: bool) -> Result<Value, Refusal> {
    let (Some(("N", left)), Some(("N", right))) = (parts(left), parts(right)) else {
        return Err(invalid("An operand in the update expression has an incorrect data type"));
    };
    let (left, right) = (number(left)?, number(right)?);
    let sum = if subtracts { left.checked_sub(right) } else { left.checked_add(right) };
    let overflow =
        || invalid("Number overflow. Attempting to store a number with magnitude larger than supported range");
    Ok(json!({"N": sum.ok_or_else(overflow)?.to_string()}))
}

fn number(digits: &Value) -> Result<i128, Refusal> {
    let number = digits.as_str().and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| invalid("calculations and comparisons are emulated for whole numbers alone"))
}

/// Returns the size of an item: "both attribute name binary length (UTF-8 length) and attribute value lengths" (DynamoDB
/// Developer Guide, Quotas).
pub(super) fn size_bytes(attributes: &Item) -> usize {
    attributes.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    match parts(value) {
        Some(("M", Value::Object(attributes))) => 3 + size_bytes(attributes),
        Some(("L", Value::Array(values))) => 3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>(),
        Some(("B", Value::String(base64))) => base64.len() / 4 * 3,
        Some((_, Value::String(text))) => text.len(),
        _ => 1,
    }
}
