//! Condition expressions.

use std::cmp::Ordering;

use serde_json::Value;

use super::parser::{Parser, Path, Placeholders, value_at};
use super::refusal::{Refusal, invalid};
use super::value::{Item, are_equal, order, parts};

/// A condition on an item.
#[derive(Debug, PartialEq)]
pub(super) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    Exists(Path),
    BeginsWith(Operand, Operand),
    Compare(Operand, Comparator, Operand),
}

#[derive(Debug, PartialEq)]
pub(super) enum Operand {
    Path(Path),
    Value(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Comparator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const COMPARATORS: [(&str, Comparator); 6] = [
    ("=", Comparator::Equal),
    ("<>", Comparator::Unequal),
    ("<=", Comparator::LessOrEqual),
    ("<", Comparator::Less),
    (">=", Comparator::GreaterOrEqual),
    (">", Comparator::Greater),
];

impl Condition {
    /// Parses the condition of a write.
    pub(super) fn parse(expression: &str, placeholders: &mut Placeholders) -> Result<Self, Refusal> {
        Self::parse_as("ConditionExpression", expression, placeholders)
    }

    /// Parses an expression that DynamoDB calls `kind` in its errors.
    pub(super) fn parse_as(
        kind: &'static str,
        expression: &str,
        placeholders: &mut Placeholders,
    ) -> Result<Self, Refusal> {
        let mut parser = Parser::new(kind, expression, placeholders)?;
        let condition = any(&mut parser)?;
        parser.end()?;
        Ok(condition)
    }

    /// Whether the condition holds for an item, which has no attributes if it does not exist.
    pub(super) fn holds(&self, item: &Item) -> Result<bool, Refusal> {
        match self {
            Self::Any(conditions) => {
                for condition in conditions {
                    if condition.holds(item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::All(conditions) => {
                for condition in conditions {
                    if !condition.holds(item)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Not(condition) => Ok(!condition.holds(item)?),
            Self::Exists(path) => Ok(value_at(item, path).is_some()),
            Self::BeginsWith(text, prefix) => match (text.of(item), prefix.of(item)) {
                (Some(text), Some(prefix)) => begins_with(text, prefix),
                _ => Ok(false),
            },
            // An attribute that does not exist is only unequal.
            Self::Compare(left, comparator, right) => match (left.of(item), right.of(item)) {
                (Some(left), Some(right)) => comparator.holds(left, right),
                _ => Ok(*comparator == Comparator::Unequal),
            },
        }
    }
}

impl Operand {
    fn of<'v>(&'v self, item: &'v Item) -> Option<&'v Value> {
        match self {
            Self::Path(path) => value_at(item, path),
            Self::Value(value) => Some(value),
        }
    }
}

impl Comparator {
    fn holds(self, left: &Value, right: &Value) -> Result<bool, Refusal> {
        let order = || order(left, right);
        Ok(match self {
            Self::Equal => are_equal(left, right)?,
            Self::Unequal => !are_equal(left, right)?,
            Self::Less => order()? == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order()?, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order()? == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order()?, Some(Ordering::Greater | Ordering::Equal)),
        })
    }
}

fn begins_with(text: &Value, prefix: &Value) -> Result<bool, Refusal> {
    match (parts(text), parts(prefix)) {
        (Some(("S", Value::String(text))), Some(("S", Value::String(prefix)))) => Ok(text.starts_with(prefix.as_str())),
        (_, Some(("S", _))) => Ok(false),
        _ => Err(invalid("begins_with is emulated for strings alone")),
    }
}

fn any(parser: &mut Parser) -> Result<Condition, Refusal> {
    list(parser, "OR", all, Condition::Any)
}

fn all(parser: &mut Parser) -> Result<Condition, Refusal> {
    list(parser, "AND", not, Condition::All)
}

/// Parses conditions with a word between them.
fn list(
    parser: &mut Parser,
    word: &str,
    part: fn(&mut Parser) -> Result<Condition, Refusal>,
    build: fn(Vec<Condition>) -> Condition,
) -> Result<Condition, Refusal> {
    let first = part(parser)?;
    let mut conditions = vec![first];
    while parser.take_word(word) {
        conditions.push(part(parser)?);
    }
    Ok(if conditions.len() == 1 { conditions.remove(0) } else { build(conditions) })
}

fn not(parser: &mut Parser) -> Result<Condition, Refusal> {
    if parser.take_word("NOT") {
        return Ok(Condition::Not(Box::new(not(parser)?)));
    }
    if parser.take_symbol("(") {
        let condition = any(parser)?;
        parser.expect(")")?;
        return Ok(condition);
    }
    if let Some(function) = parser.take_function() {
        return call(parser, &function);
    }
    let left = operand(parser)?;
    for word in ["BETWEEN", "IN"] {
        if parser.take_word(word) {
            return Err(parser.not_emulated(word));
        }
    }
    let comparator = COMPARATORS.into_iter().find(|(symbol, _)| parser.take_symbol(symbol));
    let (_, comparator) = comparator.ok_or_else(|| parser.syntax())?;
    Ok(Condition::Compare(left, comparator, operand(parser)?))
}

/// Parses the arguments of a function.
fn call(parser: &mut Parser, function: &str) -> Result<Condition, Refusal> {
    let condition = match function {
        "attribute_exists" => Condition::Exists(parser.path()?),
        "attribute_not_exists" => Condition::Not(Box::new(Condition::Exists(parser.path()?))),
        "begins_with" => {
            let text = operand(parser)?;
            parser.expect(",")?;
            Condition::BeginsWith(text, operand(parser)?)
        }
        _ => return Err(parser.not_emulated(&format!("the function {function}"))),
    };
    parser.expect(")")?;
    Ok(condition)
}

fn operand(parser: &mut Parser) -> Result<Operand, Refusal> {
    if let Some(function) = parser.take_function() {
        return Err(parser.not_emulated(&format!("the function {function}")));
    }
    match parser.value()? {
        Some(value) => Ok(Operand::Value(value)),
        None => Ok(Operand::Path(parser.path()?)),
    }
}
