//! `previews`: the previews of the stack, and the name of the one that a command means.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use dropship::deployment::{Preview, Record, Source};
use dropship::preview::{self, PreviewName};
use dropship::printable::printable;
use dropship::report::Report;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::history::short;
use crate::print::{BOLD, DIM, Printer};
use crate::source;
use crate::stack::Stack;

/// Returns the preview that a command means: the one that is given, or that of the branch.
pub fn named(given: &str) -> Result<PreviewName, Failure> {
    if !given.is_empty() {
        let wrong = || Failure::Usage(format!("`{given}` is no name of a preview: {}", preview::RULE));
        return PreviewName::parse(given).ok_or_else(wrong);
    }
    let branch = source::find(None).branch;
    PreviewName::of_branch(&branch).ok_or_else(|| {
        Failure::Usage(format!(
            "the branch `{branch}` makes no name of a preview: say --preview NAME; {}",
            preview::RULE
        ))
    })
}

/// Lists the previews.
pub async fn previews(printer: &Printer, stack: &Stack) -> Result<u8, Failure> {
    let days = stack.config.previews.as_ref().map(|previews| previews.days);
    let days = days.ok_or_else(|| Failure::Usage(format!("the stack {} has no previews", stack.name)))?;
    let mut text = String::new();
    let mut values = Vec::new();
    let now = Utc::now();
    for preview in stack.ledger.previews().await? {
        let live = live(stack, &preview).await?;
        let source = live.as_ref().and_then(|record| record.source.clone()).unwrap_or_default();
        let url = live.as_ref().and_then(url);
        let name = &preview.name;
        let _ = writeln!(text, "{BOLD}{name}{BOLD:#}  {}", described(&preview, live.is_some(), &source, now));
        if let Some(url) = &url {
            let _ = writeln!(text, "  {}", printable(url));
        }
        let _ = writeln!(text, "  {DIM}ends on {}{DIM:#}", preview.ends_at(days).format("%Y-%m-%d"));
        values.push(json!({
            "name": name,
            "pushedAt": preview.pushed_at,
            "endsAt": preview.ends_at(days),
            "live": live.as_ref().map(|record| record.deployment.clone()),
            "source": source,
            "url": url,
        }));
    }
    if text.is_empty() {
        text.push_str("there are no previews; `dropship push DIR --preview` makes one\n");
    }
    printer.result(&values, &text);
    Ok(0)
}

/// Returns the record of what a preview shows; `None` if nothing is live yet.
pub async fn live(stack: &Stack, preview: &Preview) -> Result<Option<Record>, Failure> {
    let ledger = stack.ledger.of_site(&stack.config_of_preview(&preview.name)?);
    match ledger.head().await?.live {
        Some(live) => Ok(ledger.record(&live.deployment).await?),
        None => Ok(None),
    }
}

fn url(record: &Record) -> Option<String> {
    let answer: Value = serde_json::from_str(record.answer.as_deref()?).ok()?;
    serde_json::from_value::<Report>(answer).ok()?.url
}

fn described(preview: &Preview, is_live: bool, source: &Source, now: DateTime<Utc>) -> String {
    let state = if is_live { "" } else { "nothing is live yet, " };
    let commit = short(&source.commit, &source.message);
    let commit = if commit.is_empty() { String::new() } else { format!(", {commit}") };
    printable(&format!("{state}pushed {} ago{commit}", age(now - preview.pushed_at))).into_owned()
}

/// Returns a time in its largest unit.
fn age(time: TimeDelta) -> String {
    let (count, unit) = match time {
        time if time.num_days() > 0 => (time.num_days(), "day"),
        time if time.num_hours() > 0 => (time.num_hours(), "hour"),
        time => (time.num_minutes().max(0), "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let told = [30, 90, 3_600, 86_399, 86_400 * 3].map(|seconds| age(TimeDelta::seconds(seconds)));
        assert_eq!(told, ["0 minutes", "1 minute", "1 hour", "23 hours", "3 days"]);
    }

    #[test]
    fn a_name_that_is_no_label_is_refused_with_the_rule() {
        let failure = named("PR_7").unwrap_err();
        assert_eq!(failure.code(), 2);
        assert!(failure.to_string().contains("a name is a DNS label"), "{failure}");
    }
}
