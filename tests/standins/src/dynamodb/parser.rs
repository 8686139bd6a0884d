//! The reading of an expression: paths, values, and the placeholders that stand for them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::refusal::{Refusal, invalid};
use super::tokens::{Token, tokens};
use super::value::{Item, check};

/// The names and values that the expressions of one request refer to.
pub(super) struct Placeholders<'r> {
    names: Option<&'r Map<String, Value>>,
    values: Option<&'r Item>,
    used: BTreeSet<String>,
}

impl<'r> Placeholders<'r> {
    /// Takes the placeholders of a request, or of one action of a transaction.
    pub(super) fn of(request: &'r Value) -> Result<Self, Refusal> {
        let values = request["ExpressionAttributeValues"].as_object();
        values.map_or(Ok(()), check)?;
        Ok(Self { names: request["ExpressionAttributeNames"].as_object(), values, used: BTreeSet::new() })
    }

    /// Checks, after all expressions are parsed, that they have used every placeholder.
    pub(super) fn are_used(&self) -> Result<(), Refusal> {
        for (field, defined) in [("ExpressionAttributeNames", self.names), ("ExpressionAttributeValues", self.values)] {
            if let Some(unused) = defined.into_iter().flat_map(Map::keys).find(|name| !self.used.contains(*name)) {
                return Err(invalid(format!("Value provided in {field} unused in expressions: keys: {{{unused}}}")));
            }
        }
        Ok(())
    }
}

/// The place of an attribute in an item: its name, after the names of the maps around it.
pub(super) type Path = Vec<String>;

/// The expression that is read.
pub(super) struct Parser<'p, 'r> {
    /// What DynamoDB calls the expression in its errors.
    kind: &'static str,
    tokens: std::vec::IntoIter<Token>,
    placeholders: &'p mut Placeholders<'r>,
}

impl<'p, 'r> Parser<'p, 'r> {
    pub(super) fn new(
        kind: &'static str,
        expression: &str,
        placeholders: &'p mut Placeholders<'r>,
    ) -> Result<Self, Refusal> {
        if expression.trim().is_empty() {
            return Err(invalid(format!("Invalid {kind}: The expression can not be empty;")));
        }
        Ok(Self { kind, tokens: tokens(expression)?.into_iter(), placeholders })
    }

    /// Takes the next token if it is this symbol.
    pub(super) fn take_symbol(&mut self, symbol: &str) -> bool {
        self.take_if(|token| matches!(token, Token::Symbol(next) if *next == symbol))
    }

    /// Takes the next token if it is this word, in upper or lower case.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        self.take_if(|token| matches!(token, Token::Word(next) if next.eq_ignore_ascii_case(word)))
    }

    /// Takes the name and the opening parenthesis of a function, whose name is case-sensitive.
    pub(super) fn take_function(&mut self) -> Option<String> {
        match self.tokens.as_slice() {
            [Token::Word(name), Token::Symbol("("), ..] => {
                let name = name.clone();
                self.tokens.nth(1);
                Some(name)
            }
            _ => None,
        }
    }

    fn take_if(&mut self, is_wanted: impl Fn(&Token) -> bool) -> bool {
        let is_next = self.tokens.as_slice().first().is_some_and(is_wanted);
        if is_next {
            self.tokens.next();
        }
        is_next
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Result<(), Refusal> {
        if self.take_symbol(symbol) { Ok(()) } else { Err(self.syntax()) }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.tokens.as_slice().is_empty()
    }

    /// Checks that the expression ends here.
    pub(super) fn end(&self) -> Result<(), Refusal> {
        if self.is_at_end() { Ok(()) } else { Err(self.syntax()) }
    }

    /// Returns the error of an expression that cannot go on with its next token.
    pub(super) fn syntax(&self) -> Refusal {
        let next = match self.tokens.as_slice().first() {
            None => "<EOF>",
            Some(Token::Word(text) | Token::Name(text) | Token::Value(text)) => text,
            Some(Token::Symbol(symbol)) => symbol,
        };
        invalid(format!("Invalid {}: Syntax error; token: \"{next}\"", self.kind))
    }

    /// Returns the error of something that DynamoDB can do and this stand-in cannot.
    pub(super) fn not_emulated(&self, what: &str) -> Refusal {
        invalid(format!("Invalid {}: {what} is not emulated", self.kind))
    }

    /// Takes a path.
    pub(super) fn path(&mut self) -> Result<Path, Refusal> {
        let mut path = vec![self.name()?];
        while self.take_symbol(".") {
            path.push(self.name()?);
        }
        Ok(path)
    }

    fn name(&mut self) -> Result<String, Refusal> {
        match self.tokens.as_slice().first() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.tokens.next();
                Ok(word)
            }
            Some(Token::Name(placeholder)) => {
                let name = self.placeholders.names.and_then(|names| names.get(placeholder)?.as_str());
                let name = name.map(str::to_owned).ok_or_else(|| {
                    invalid(format!(
                        "Invalid {}: An expression attribute name used in the document path is not defined; attribute name: {placeholder}",
                        self.kind
                    ))
                })?;
                self.placeholders.used.insert(placeholder.clone());
                self.tokens.next();
                Ok(name)
            }
            _ => Err(self.syntax()),
        }
    }

    /// Takes a value's placeholder, if one comes next, and returns the value.
    pub(super) fn value(&mut self) -> Result<Option<Value>, Refusal> {
        let Some(Token::Value(placeholder)) = self.tokens.as_slice().first() else {
            return Ok(None);
        };
        let value = self.placeholders.values.and_then(|values| values.get(placeholder)).cloned();
        let value = value.ok_or_else(|| {
            invalid(format!(
                "Invalid {}: An expression attribute value used in expression is not defined; attribute value: {placeholder}",
                self.kind
            ))
        })?;
        self.placeholders.used.insert(placeholder.clone());
        self.tokens.next();
        Ok(Some(value))
    }
}

/// Returns the value at a path.
pub(super) fn value_at<'i>(item: &'i Item, path: &[String]) -> Option<&'i Value> {
    let (name, rest) = path.split_first()?;
    let value = item.get(name)?;
    if rest.is_empty() { Some(value) } else { value_at(value["M"].as_object()?, rest) }
}
