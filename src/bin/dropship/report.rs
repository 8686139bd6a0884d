//! A report as text for people.

use std::fmt::Write;

use dropship::printable::printable;
use dropship::report::Report;
use dropship::report::sentence::words;

use crate::print::{DIM, GOOD, bytes, count};

/// How many items of an invalidation are shown without `--verbose`.
const MAX_ITEMS: usize = 12;

/// Returns a report as lines of text.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let id = report.id.as_ref().map_or("", |id| id.as_str());
    let seconds = report.duration_ms as f64 / 1_000.0;
    let _ = writeln!(text, "{GOOD}{}{GOOD:#}  {id}  run {}  {seconds:.1} s", words(report.outcome), report.run);
    let _ = writeln!(text, "  {}", changes(report));
    let _ = writeln!(text, "  read {}, wrote {}", bytes(report.bytes_read), bytes(report.bytes_written));
    if report.drift > 0 {
        let _ = writeln!(text, "  {} changed by others", count(report.drift as u64, "object"));
    }
    let items: usize = report.invalidations.iter().map(|sent| sent.items).sum();
    if items > 0 {
        let batches = count(report.invalidations.len() as u64, "invalidation");
        let _ = writeln!(text, "  invalidated {} in {batches}", count(items as u64, "item"));
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "  warning: {}", printable(warning));
    }
    if let Some(url) = &report.url {
        let _ = writeln!(text, "  {}", printable(url));
    }
    text
}

/// Returns the counts of a report in one line.
pub fn changes(report: &Report) -> String {
    let Report { new, changed, headers, deleted, kept, retained, .. } = report;
    let mut parts = vec![format!("{new} new, {changed} changed")];
    if *headers > 0 {
        parts.push(format!("{headers} with new headers"));
    }
    parts.push(format!("{deleted} deleted, {kept} kept"));
    if *retained > 0 {
        parts.push(format!("{retained} retained"));
    }
    parts.join(", ")
}

/// Returns the plan of a dry run as text: the objects that it would touch, and the items that it would invalidate.
pub fn plan(report: &Report) -> String {
    let mut text = format!("{GOOD}planned{GOOD:#}  {}\n", changes(report));
    let Some(plan) = &report.plan else {
        return text;
    };
    for (mark, keys) in [("+", &plan.new), ("~", &plan.changed), ("h", &plan.headers), ("-", &plan.deleted)] {
        for key in keys.iter().take(MAX_ITEMS) {
            let _ = writeln!(text, "  {mark} {}", printable(key));
        }
        if keys.len() > MAX_ITEMS {
            let _ = writeln!(text, "  {mark} {DIM}and {} more{DIM:#}", keys.len() - MAX_ITEMS);
        }
    }
    for planned in &plan.items {
        let _ = writeln!(text, "  {} on {}", count(planned.items.len() as u64, "item"), planned.distribution_id);
        for item in planned.items.iter().take(MAX_ITEMS) {
            let _ = writeln!(text, "    {}", printable(item));
        }
        if planned.items.len() > MAX_ITEMS {
            let _ = writeln!(text, "    {DIM}and {} more{DIM:#}", planned.items.len() - MAX_ITEMS);
        }
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "  warning: {}", printable(warning));
    }
    text
}
