//! Expressions in pieces.

use super::refusal::{Refusal, invalid};

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// An attribute's name, a keyword or a function.
    Word(String),
    /// `#name`, which stands for an attribute's name.
    Name(String),
    /// `:value`, which stands for a value.
    Value(String),
    Symbol(&'static str),
}

/// The symbols, each after those that it begins.
const SYMBOLS: [&str; 13] = ["<>", "<=", ">=", "<", ">", "=", "(", ")", ",", ".", "+", "-", "*"];

/// Splits an expression.
pub(super) fn tokens(expression: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = expression.trim_start();
    while !rest.is_empty() {
        let (token, length) =
            token(rest).ok_or_else(|| invalid(format!("Syntax error; token: \"{rest}\", near: \"{expression}\"")))?;
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// Returns the first token of a text, with its length.
fn token(text: &str) -> Option<(Token, usize)> {
    if let Some(symbol) = SYMBOLS.into_iter().find(|symbol| text.starts_with(symbol)) {
        return Some((Token::Symbol(symbol), symbol.len()));
    }
    let (begin, build): (usize, fn(String) -> Token) = match text.as_bytes()[0] {
        b'#' => (1, Token::Name),
        b':' => (1, Token::Value),
        byte if byte.is_ascii_alphabetic() => (0, Token::Word),
        _ => return None,
    };
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let end = text[begin..].find(|character| !is_part(character)).map_or(text.len(), |length| begin + length);
    (end > begin).then(|| (build(text[..end].to_owned()), end))
}
