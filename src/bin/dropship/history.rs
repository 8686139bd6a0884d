//! `status`, `history` and `show`: what the ledger knows.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use comfy_table::{ContentArrangement, Table, presets};
use dropship::deployment::{AskedBy, DeploymentId, Head, Record, RunRecord, Source, Status};
use dropship::printable::printable;
use dropship::report::Report;
use dropship::report::sentence::words;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::print::{BAD, BOLD, DIM, GOOD, Printer};
use crate::report;
use crate::stack::Stack;

/// The narrowest terminal on which the history is a table.
const MIN_TABLE_COLUMNS: u16 = 120;

/// How much of a commit and its message a row of the history shows.
const MAX_COMMIT_CHARS: usize = 80;

pub async fn status(printer: &Printer, stack: &Stack) -> Result<u8, Failure> {
    let (head, owed, waiting) = tokio::try_join!(stack.ledger.head(), stack.ledger.owed(), stack.ledger.waiting())?;
    let live = match &head.live {
        Some(live) => stack.ledger.record(&live.deployment).await?,
        None => None,
    };
    let mut text = String::new();
    match (&head.live, &live) {
        (Some(live), Some(record)) => {
            let _ = writeln!(text, "{GOOD}live{GOOD:#}     {}{}", live.deployment, from(record));
        }
        (Some(live), None) => {
            let _ = writeln!(text, "{GOOD}live{GOOD:#}     {}", live.deployment);
        }
        (None, _) => text.push_str("live     nothing has been deployed yet\n"),
    }
    if head.is_torn {
        let _ = writeln!(
            text,
            "{BAD}torn{BAD:#}     the site is between two builds; `dropship rollback` brings the last one back"
        );
    }
    let now = Utc::now();
    for unfinished in &head.unfinished {
        let run = stack.ledger.run(unfinished.number).await?;
        let is_held = head
            .lease
            .as_ref()
            .is_some_and(|lease| lease.deployment.as_ref() == Some(&unfinished.upload.deployment) && lease.until > now);
        let state = match (is_held, run.and_then(|run| run.failure)) {
            (true, _) => "at work".to_owned(),
            (false, Some(failure)) => format!("its last attempt failed: {}", failure.error_message),
            (false, None) => "its attempt died".to_owned(),
        };
        let _ = writeln!(
            text,
            "{BOLD}run {}{BOLD:#}    {}  {}",
            unfinished.number,
            unfinished.upload.deployment,
            printable(&state)
        );
    }
    for waiting in &waiting {
        let _ = writeln!(text, "waits    {}{}", waiting.record.deployment, from(&waiting.record));
    }
    if !owed.is_empty() {
        let oldest = owed.iter().filter_map(|owed| owed.recorded_at).min();
        let since = oldest.map(|at| format!(", the oldest since {}", time(at))).unwrap_or_default();
        let _ =
            writeln!(text, "{BAD}owed{BAD:#}     {} invalidations that CloudFront has not accepted{since}", owed.len());
    }
    let value = json!({
        "site": stack.config.site,
        "live": head.live.as_ref().map(|live| live.deployment.clone()),
        "source": live.and_then(|record| record.source),
        "unfinished": head.unfinished.iter().map(|run| json!({"run": run.number, "id": run.upload.deployment})).collect::<Vec<_>>(),
        "waiting": waiting.iter().map(|waiting| waiting.record.deployment.clone()).collect::<Vec<_>>(),
        "owed": owed.len(),
        "torn": head.is_torn,
    });
    printer.result(&value, &text);
    Ok(0)
}

pub async fn history(printer: &Printer, stack: &Stack, number: usize) -> Result<u8, Failure> {
    let ledger = &stack.ledger;
    let (head, runs, records, waiting) =
        tokio::try_join!(ledger.head(), ledger.runs(number), ledger.records(number), ledger.waiting())?;
    let mut rows = Vec::new();
    for run in &runs {
        let source = ledger.record(&run.deployment).await?.and_then(|record| record.source);
        rows.push(Row::of_run(&head, run, source.unwrap_or_default()));
    }
    // Uploads that were refused or superseded before a run, and those that an earlier release deployed.
    let has_run = |record: &Record| runs.iter().any(|run| run.deployment == record.deployment);
    let are_all_runs = runs.len() < number;
    let without = records.iter().filter(|record| record.run == 0 || are_all_runs && !has_run(record));
    rows.extend(without.map(|record| Row::of_record(&head, record)));
    rows.extend(waiting.iter().map(|waiting| Row::of_waiting(&head, &waiting.record)));
    rows.sort_by_key(|row| std::cmp::Reverse(row.at));
    rows.truncate(number);

    let values: Vec<&Value> = rows.iter().map(|row| &row.value).collect();
    let text = if rows.is_empty() {
        "nothing has been deployed yet\n".to_owned()
    } else {
        format!("{}{DIM}* is live{DIM:#}\n", listed(&rows))
    };
    printer.result(&values, &text);
    Ok(0)
}

/// Returns the rows as a table, or below each other where a terminal is too narrow for one.
fn listed(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if table.width().is_some_and(|columns| columns < MIN_TABLE_COLUMNS) {
        return rows.iter().map(Row::lines).collect();
    }
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["run", "when", "outcome", "by", "deployment", "commit", "changes", "took"]);
    table.add_rows(rows.iter().map(Row::cells));
    format!("{table}\n")
}

/// One line of the history.
struct Row {
    /// 0 if there was no run.
    run: u64,
    is_live: bool,
    at: DateTime<Utc>,
    outcome: String,
    by: &'static str,
    deployment: DeploymentId,
    source: Source,
    changes: String,
    took: String,
    value: Value,
}

impl Row {
    fn of_run(head: &Head, run: &RunRecord, source: Source) -> Self {
        let report = answer(run);
        let is_live = head.live.as_ref().is_some_and(|live| live.number == run.number);
        let mut value = serde_json::to_value(run).unwrap_or_default();
        value["answer"] = json!(report);
        value["source"] = json!(source);
        value["isLive"] = json!(is_live);
        Self {
            run: run.number,
            is_live,
            at: run.started_at,
            outcome: outcome(head, run),
            by: asked_by(run.asked_by),
            deployment: run.deployment.clone(),
            source,
            changes: report.as_ref().map(report::changes).unwrap_or_default(),
            took: took(run),
            value,
        }
    }

    fn of_record(head: &Head, record: &Record) -> Self {
        let is_live = head.live.as_ref().is_some_and(|live| live.deployment == record.deployment);
        let outcome = match record.status {
            Status::Rejected => "refused",
            Status::Superseded => "superseded",
            Status::Finished => "finished",
            Status::Unfinished => "running",
        };
        Self {
            run: record.run,
            is_live,
            at: record.uploaded_at,
            outcome: outcome.to_owned(),
            by: asked_by(AskedBy::Upload),
            deployment: record.deployment.clone(),
            source: record.source.clone().unwrap_or_default(),
            changes: String::new(),
            took: String::new(),
            value: json!({
                "number": record.run,
                "deployment": record.deployment,
                "status": record.status,
                "started_at": record.uploaded_at,
                "failure": record.rejection,
                "source": record.source,
                "isLive": is_live,
            }),
        }
    }

    /// Returns the row of an upload that waits for the site.
    fn of_waiting(head: &Head, record: &Record) -> Self {
        let mut row = Self::of_record(head, record);
        "waits".clone_into(&mut row.outcome);
        row.value["status"] = json!("waits");
        row
    }

    /// Returns the row as lines that fit into 40 columns, apart from the message of the commit.
    fn lines(&self) -> String {
        let [run, when, outcome, by, deployment, commit, changes, took] = self.cells();
        let lines = [format!("{run:<4}{outcome}, by {by}"), when, deployment, commit, changes, took];
        let lines: Vec<String> = lines.into_iter().filter(|line| !line.is_empty()).collect();
        format!("{}\n", lines.join("\n    "))
    }

    fn cells(&self) -> [String; 8] {
        let number = if self.run == 0 { String::new() } else { self.run.to_string() };
        [
            format!("{}{number}", if self.is_live { "*" } else { "" }),
            time(self.at),
            self.outcome.clone(),
            self.by.to_owned(),
            self.deployment.to_string(),
            printable(&shortened(&commit(&self.source))).into_owned(),
            self.changes.clone(),
            self.took.clone(),
        ]
    }
}

pub async fn show(printer: &Printer, stack: &Stack, id: Option<&str>, verbose: bool) -> Result<u8, Failure> {
    let head = stack.ledger.head().await?;
    let id = match id {
        Some(id) => DeploymentId::named(id),
        None => {
            let live = head.live.clone().ok_or_else(|| Failure::Usage("nothing has been deployed yet".to_owned()))?;
            live.deployment
        }
    };
    let Some(record) = stack.ledger.record(&id).await? else {
        return Err(Failure::Usage(format!("there is no deployment {id}; `dropship history` lists them")));
    };
    let mut text = format!("{BOLD}{id}{BOLD:#}{}\n", from(&record));
    let _ = writeln!(text, "  uploaded {}", time(record.uploaded_at));
    if let Some(version) = &record.version_id {
        let _ = writeln!(text, "  version {version}");
    }
    if let Some(rejection) = &record.rejection {
        let _ = writeln!(text, "  {BAD}refused{BAD:#}: {}", printable(rejection));
    }
    let mut runs = Vec::new();
    for run in stack.ledger.runs(usize::MAX).await?.into_iter().filter(|run| run.deployment == id) {
        let _ = writeln!(
            text,
            "\nrun {}, {} by {}: {}",
            run.number,
            time(run.started_at),
            asked_by(run.asked_by),
            outcome(&head, &run)
        );
        if let Some(failure) = &run.failure {
            let _ = writeln!(text, "  {}: {}", failure.error_type, printable(&failure.error_message));
        }
        if let Some(report) = answer(&run) {
            text.push_str(&report::text(&report));
            for sent in report.invalidations.iter().filter(|_| verbose) {
                let invalidation = sent.id.as_deref().unwrap_or("accepted before");
                let _ = writeln!(
                    text,
                    "    {} on {}: {} items, {} wildcards",
                    invalidation, sent.distribution_id, sent.items, sent.wildcards
                );
            }
        }
        runs.push(run);
    }
    if verbose {
        let _ = writeln!(text, "\nevent that brings it live again:\n  {}", printable(&record.event));
    }
    printer.result(&json!({"deployment": record, "runs": runs}), &text);
    Ok(0)
}

/// Returns where a deployment comes from, as the end of a line.
pub fn from(record: &Record) -> String {
    let Some(source) = &record.source else {
        return String::new();
    };
    let known = [short(&source.commit, ""), source.branch.clone(), source.author.clone(), source.message.clone()];
    let promoted = (!source.preview.is_empty()).then(|| format!("promoted from the preview {}", source.preview));
    let known: Vec<String> = known.into_iter().chain(promoted).filter(|text| !text.is_empty()).collect();
    format!("  {DIM}{}{DIM:#}", printable(&known.join(", ")))
}

/// Returns the commit of a row, and the preview that its build was promoted from.
fn commit(source: &Source) -> String {
    let commit = short(&source.commit, &source.message);
    match source.preview.as_str() {
        "" => commit,
        preview => format!("[{preview}] {commit}").trim_end().to_owned(),
    }
}

pub fn short(commit: &str, message: &str) -> String {
    let is_hash = commit.len() >= 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let commit = if is_hash { &commit[..7] } else { commit };
    [commit, message].join(" ").trim().to_owned()
}

/// Returns the beginning of a text that would make the table too wide. JSON has all of it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_COMMIT_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn took(run: &RunRecord) -> String {
    let took = run.ended_at.map(|ended_at| (ended_at - run.started_at).num_milliseconds());
    took.map(|ms| format!("{:.1} s", ms as f64 / 1_000.0)).unwrap_or_default()
}

fn answer(run: &RunRecord) -> Option<Report> {
    serde_json::from_str(run.answer.as_deref()?).ok()
}

fn asked_by(asked_by: AskedBy) -> &'static str {
    match asked_by {
        AskedBy::Upload => "upload",
        AskedBy::Person => "a person",
        AskedBy::Waiting => "upload that waited",
    }
}

fn outcome(head: &Head, run: &RunRecord) -> String {
    let is_overtaken = head.live.as_ref().is_some_and(|live| live.number > run.number);
    let failure = run.failure.as_ref().map(|failure| failure.error_type.as_str());
    match run.status {
        Status::Finished => {
            answer(run).map_or("finished", |report| words(report.outcome).trim_end_matches(" to")).to_owned()
        }
        Status::Rejected => format!("refused: {}", failure.unwrap_or("ArchiveRejected")),
        Status::Superseded => "superseded".to_owned(),
        Status::Unfinished if is_overtaken => "overtaken".to_owned(),
        Status::Unfinished => match (run.ended_at, failure) {
            (Some(_), Some(failure)) => format!("failed: {failure}"),
            _ => "running".to_owned(),
        },
    }
}
