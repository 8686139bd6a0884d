//! Update expressions.

use serde_json::Value;

use super::parser::{Parser, Path, Placeholders, value_at};
use super::refusal::{Refusal, invalid};
use super::value::{Item, sum};

/// The changes that an update makes.
#[derive(Debug, Default)]
pub(super) struct Update {
    set: Vec<(Path, Term)>,
    remove: Vec<Path>,
}

/// The right side of an assignment.
#[derive(Debug)]
enum Term {
    Path(Path),
    Value(Value),
    IfNotExists(Path, Box<Term>),
    Sum { left: Box<Term>, right: Box<Term>, subtracts: bool },
}

impl Update {
    pub(super) fn parse(expression: &str, placeholders: &mut Placeholders) -> Result<Self, Refusal> {
        let mut parser = Parser::new("UpdateExpression", expression, placeholders)?;
        let mut update = Self::default();
        while !parser.is_at_end() {
            if update.set.is_empty() && parser.take_word("SET") {
                update.set = list(&mut parser, assignment)?;
            } else if update.remove.is_empty() && parser.take_word("REMOVE") {
                update.remove = list(&mut parser, Parser::path)?;
            } else if parser.take_word("ADD") || parser.take_word("DELETE") {
                return Err(parser.not_emulated("a section other than SET and REMOVE"));
            } else {
                return Err(parser.syntax());
            }
        }
        update.has_no_overlaps()?;
        Ok(update)
    }

    /// Checks that no path is changed twice, or within another one.
    fn has_no_overlaps(&self) -> Result<(), Refusal> {
        let paths: Vec<&Path> = self.paths().collect();
        for (index, path) in paths.iter().enumerate() {
            if paths[..index].iter().any(|other| path.starts_with(other) || other.starts_with(path)) {
                return Err(invalid("Invalid UpdateExpression: Two document paths overlap with each other"));
            }
        }
        Ok(())
    }

    /// Returns every path that the update changes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.set.iter().map(|(path, _)| path).chain(&self.remove)
    }

    /// Changes an item. All values are those from before the update.
    pub(super) fn apply(&self, before: &Item) -> Result<Item, Refusal> {
        let mut item = before.clone();
        for (path, term) in &self.set {
            let value = term.of(before)?;
            let (name, parent) = parent(&mut item, path)?;
            parent.insert(name.clone(), value);
        }
        for path in &self.remove {
            let (name, parent) = parent(&mut item, path)?;
            parent.remove(name);
        }
        Ok(item)
    }
}

impl Term {
    fn of(&self, item: &Item) -> Result<Value, Refusal> {
        let missing = "The provided expression refers to an attribute that does not exist in the item";
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Path(path) => value_at(item, path).cloned().ok_or_else(|| invalid(missing)),
            Self::IfNotExists(path, otherwise) => match value_at(item, path) {
                Some(value) => Ok(value.clone()),
                None => otherwise.of(item),
            },
            Self::Sum { left, right, subtracts } => sum(&left.of(item)?, &right.of(item)?, *subtracts),
        }
    }
}

/// Returns the last name of a path, and the map that has it or will have it.
fn parent<'i, 'p>(item: &'i mut Item, path: &'p [String]) -> Result<(&'p String, &'i mut Item), Refusal> {
    let invalid_path = || invalid("The document path provided in the update expression is invalid for update");
    let (name, maps) = path.split_last().ok_or_else(invalid_path)?;
    let mut parent = item;
    for map in maps {
        let map = parent.get_mut(map).and_then(|value| value.get_mut("M")?.as_object_mut());
        parent = map.ok_or_else(invalid_path)?;
    }
    Ok((name, parent))
}

/// Parses what commas separate.
fn list<'p, 'r, T>(
    parser: &mut Parser<'p, 'r>,
    part: fn(&mut Parser<'p, 'r>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let mut parts = vec![part(parser)?];
    while parser.take_symbol(",") {
        parts.push(part(parser)?);
    }
    Ok(parts)
}

fn assignment(parser: &mut Parser) -> Result<(Path, Term), Refusal> {
    let path = parser.path()?;
    parser.expect("=")?;
    let left = term(parser)?;
    let subtracts = parser.take_symbol("-");
    if !subtracts && !parser.take_symbol("+") {
        return Ok((path, left));
    }
    let right = term(parser)?;
    Ok((path, Term::Sum { left: Box::new(left), right: Box::new(right), subtracts }))
}

fn term(parser: &mut Parser) -> Result<Term, Refusal> {
    match parser.take_function().as_deref() {
        Some("if_not_exists") => {
            let path = parser.path()?;
            parser.expect(",")?;
            let otherwise = term(parser)?;
            parser.expect(")")?;
            Ok(Term::IfNotExists(path, Box::new(otherwise)))
        }
        Some(function) => Err(parser.not_emulated(&format!("the function {function}"))),
        None => match parser.value()? {
            Some(value) => Ok(Term::Value(value)),
            None => Ok(Term::Path(parser.path()?)),
        },
    }
}
