//! The environment's variables, read one by one while their errors are collected.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::error::ConfigError;
use crate::patterns::Patterns;

/// The environment, and the errors found in it so far.
pub(super) struct Variables<Get> {
    get: Get,
    pub(super) errors: Vec<ConfigError>,
}

impl<Get: Fn(&str) -> Option<String>> Variables<Get> {
    pub(super) fn new(get: Get) -> Self {
        Self { get, errors: Vec::new() }
    }

    /// Returns a variable's value without surrounding white space; `None` if that leaves nothing.
    pub(super) fn text(&self, variable: &str) -> Option<String> {
        let value = (self.get)(variable)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// Reads a variable. An invalid one is added to the errors and counts as unset.
    pub(super) fn read<T>(
        &mut self,
        variable: &'static str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.text(variable)?;
        let parsed = parse(&value);
        if parsed.is_none() {
            self.errors.push(ConfigError::Invalid { variable, value, allowed: allowed.to_owned() });
        }
        parsed
    }

    /// Reads a variable that has no default. Returns an empty text along with an error, so no caller sees it.
    pub(super) fn required(
        &mut self,
        variable: &'static str,
        allowed: &'static str,
        parse: impl Fn(&str) -> Option<String>,
    ) -> String {
        if self.text(variable).is_none() {
            self.errors.push(ConfigError::Missing { variable, allowed });
        }
        self.read(variable, allowed, parse).unwrap_or_default()
    }

    pub(super) fn number<T>(&mut self, variable: &'static str, range: RangeInclusive<T>, default: T) -> T
    where
        T: Copy + FromStr + PartialOrd + fmt::Display,
    {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(variable, &allowed, |value| value.parse().ok().filter(|number| range.contains(number)))
            .unwrap_or(default)
    }

    /// Reads patterns in the syntax of `.gitignore`, which follow those that are `built_in`.
    pub(super) fn patterns(&mut self, variable: &'static str, built_in: &str) -> Patterns {
        let given = self.text(variable).unwrap_or_default();
        Patterns::parse(&format!("{built_in}{given}")).unwrap_or_else(|bad| {
            self.errors.push(ConfigError::Pattern { variable, bad });
            Patterns::default()
        })
    }

    pub(super) fn flag(&mut self, variable: &'static str) -> bool {
        self.read(variable, "`true` or `false`", |value| value.to_ascii_lowercase().parse().ok()).unwrap_or(false)
    }
}
