//! The Cache-Control values of a stack.

use super::variables::Variables;

/// The Cache-Control values of a stack, which a `_headers` file overrides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CacheControl {
    pub pages: String,
    pub assets: String,
}

/// Reads both values.
///
/// By default the edge keeps an object until it is invalidated, for at most a day, and browsers revalidate. Without a
/// distribution nothing is ever invalidated, so shared caches must not keep anything.
pub(super) fn read(variables: &mut Variables<impl Fn(&str) -> Option<String>>, has_distribution: bool) -> CacheControl {
    let default = if has_distribution {
        "public, max-age=0, s-maxage=86400, must-revalidate"
    } else {
        "public, max-age=0, must-revalidate"
    };
    let [pages, assets] = ["CACHE_CONTROL_PAGES", "CACHE_CONTROL_ASSETS"]
        .map(|variable| variables.read(variable, ALLOWED, directives).unwrap_or_else(|| default.to_owned()));
    CacheControl { pages, assets }
}

const ALLOWED: &str = "a list of Cache-Control directives separated by commas (`public, max-age=300`)";

/// Checks the syntax of RFC 9111, section 5.2: directives, each with or without a value.
///
/// Browsers ignore a directive that they cannot read, so a mistake such as `max-age: 300` would go unnoticed.
fn directives(value: &str) -> Option<String> {
    let is_valid = value.split(',').all(|directive| {
        let directive = directive.trim();
        let (name, argument) = directive.split_once('=').unwrap_or((directive, "0"));
        is_token(name) && is_token(argument.trim_matches('"'))
    });
    is_valid.then(|| value.to_owned())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
