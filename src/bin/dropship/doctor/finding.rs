//! The doctor's findings.

use dropship::error::Error;
use dropship::printable::printable;
use serde::Serialize;

use crate::print::{BAD, BOLD, DIM};

/// A fault, or a piece of advice, with its fix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// The part of the stack, such as `distribution E1EXAMPLE`.
    pub subject: String,
    pub problem: String,
    pub fix: String,
}

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Something does not work, or will not.
    Problem,
    /// A check could not be made.
    Unchecked,
    /// It works, and could be better or cheaper.
    Advice,
}

impl Finding {
    pub fn problem(subject: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Problem, subject: subject.into(), problem: problem.into(), fix: fix.into() }
    }

    pub fn advice(subject: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Advice, ..Self::problem(subject, problem, fix) }
    }

    pub fn unchecked(subject: impl Into<String>, error: &Error) -> Self {
        let fix = "give yourself the right that the error names, or try again";
        Self { severity: Severity::Unchecked, ..Self::problem(subject, error.message(), fix) }
    }

    /// Returns the finding as lines of text.
    pub fn text(&self) -> String {
        let Self { severity, subject, problem, fix } = self;
        let (style, severity) = match severity {
            Severity::Problem => (BAD, "problem"),
            Severity::Unchecked => (BOLD, "unchecked"),
            Severity::Advice => (DIM, "advice"),
        };
        let (problem, fix) = (printable(problem), printable(fix));
        format!("{style}{severity}{style:#}  {}: {problem}\n    fix: {fix}\n", printable(subject))
    }
}
