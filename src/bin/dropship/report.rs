//! A report as text for people.

use std::fmt::Write;

use dropship::printable::printable;
use dropship::report::folders::PlannedFolder;
use dropship::report::sentence::words;
use dropship::report::{PlannedItems, Report};

use crate::print::{DIM, GOOD, bytes, count};

/// How many items of an invalidation are shown without `--verbose`.
const MAX_ITEMS: usize = 12;

/// The price of an item, in dollars: a path, a wildcard or a tag (CloudFront pricing, "Invalidation requests", 2026).
const DOLLARS_PER_ITEM: f64 = 0.005;

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

/// Returns the plan of a dry run as text: the objects that it would touch, by key and by folder, and the items that it
/// would invalidate.
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
    if !plan.folders.is_empty() {
        text.push_str("by folder\n");
    }
    for folder in &plan.folders {
        let name = if folder.folder.is_empty() { "./" } else { &*folder.folder };
        let _ = writeln!(text, "  {}  {}", printable(name), fates(folder));
    }
    for planned in &plan.items {
        text.push_str(&items(planned));
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "  warning: {}", printable(warning));
    }
    text
}

/// Returns the counts and sizes of a folder.
fn fates(folder: &PlannedFolder) -> String {
    let fates = [
        ("new", folder.new),
        ("changed", folder.changed),
        ("with new headers", folder.headers),
        ("deleted", folder.deleted),
    ];
    let touched = fates.into_iter().filter(|(_, objects)| objects.count > 0);
    let texts: Vec<String> =
        touched.map(|(fate, objects)| format!("{} {fate} ({})", objects.count, bytes(objects.bytes))).collect();
    texts.join(", ")
}

/// Returns the items of one distribution, with their price.
fn items(planned: &PlannedItems) -> String {
    let PlannedItems { distribution_id, count: items, evicted, .. } = planned;
    let price = *items as f64 * DOLLARS_PER_ITEM;
    let mut text = format!(
        "invalidates {} on {distribution_id}: ${price:.3}, or nothing within the account's 1,000 free ones a month\n",
        count(*items as u64, "item")
    );
    if *evicted > 0 {
        let _ = writeln!(text, "  they also evict {}", count(*evicted as u64, "unchanged object"));
    }
    for item in planned.items.iter().take(MAX_ITEMS) {
        let _ = writeln!(text, "    {}", printable(item));
    }
    if *items > MAX_ITEMS {
        let _ = writeln!(text, "    {DIM}and {} more{DIM:#}", items - MAX_ITEMS);
    }
    text
}
