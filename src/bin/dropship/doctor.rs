//! `doctor`: looks for faults of a stack that no deployment shows.
//!
//! Each check reads settings, and a pure function beside it judges them.

mod bucket_policy;
mod distribution;
mod finding;
mod function;
mod ledger;
mod operations;
mod rights;
mod uploads;

use dropship::error::Error;
use serde_json::json;

use crate::failure::Failure;
use crate::print::{GOOD, Printer, count};
use crate::stack::Stack;

use finding::{Finding, Severity};

pub async fn doctor(printer: &Printer, stack: &Stack) -> Result<u8, Failure> {
    let (uploads, distributions, ledger, operations, rights) = tokio::join!(
        uploads::check(stack),
        distribution::check(stack),
        ledger::check(stack),
        operations::check(stack),
        rights::check(stack),
    );
    let mut findings = function::judge(&stack.function, env!("CARGO_PKG_VERSION"));
    findings.extend([uploads, distributions, ledger, operations, rights].into_iter().flatten());
    findings.sort_by_key(|finding| finding.severity);

    let count_of = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (problems, unchecked) = (count_of(Severity::Problem), count_of(Severity::Unchecked));
    let mut text: String = findings.iter().map(Finding::text).collect();
    text.push_str(&match (findings.len(), problems + unchecked) {
        (0, _) => format!("{GOOD}{} is in order{GOOD:#}\n", stack.name),
        (_, 0) => format!("{GOOD}{} works{GOOD:#}; the advice is yours to take\n", stack.name),
        _ => format!("{}, {} unchecked\n", count(problems, "problem"), unchecked),
    });
    printer.result(&json!({"stack": stack.name, "findings": findings}), &text);
    Ok(u8::from(problems + unchecked > 0))
}

/// Returns a check's findings, or the finding that it could not be made.
fn findings(subject: &str, checked: Result<Vec<Finding>, Error>) -> Vec<Finding> {
    checked.unwrap_or_else(|error| vec![Finding::unchecked(subject, &error)])
}

/// Returns the settings of a stack for tests, with more variables.
#[cfg(test)]
fn config_with(more: &[(&str, &str)]) -> dropship::config::Config {
    let usual = [("STAGING_BUCKET", "staging"), ("LIVE_BUCKET", "live"), ("TABLE_NAME", "ledger")];
    let get = |name: &str| {
        let (_, value) = usual.iter().chain(more).find(|(variable, _)| *variable == name)?;
        Some((*value).to_owned())
    };
    dropship::config::Config::from_variables(get).unwrap()
}
