//! `rollback`: brings an earlier deployment live again.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use dropship::deployment::{DeploymentId, Previous, Record};
use serde_json::json;

use crate::arguments::Rollback;
use crate::failure::Failure;
use crate::follow::{self, Asked, Ended, Followed};
use crate::history;
use crate::plan::rehearse;
use crate::print::Printer;
use crate::push::show_end;
use crate::report;
use crate::stack::Stack;

pub async fn rollback(printer: &Printer, stack: &Stack, given: Rollback) -> Result<u8, Failure> {
    let head = stack.ledger.head().await?;
    let record = match given.to.as_str() {
        "previous" => previous(stack, &head.previous()).await?,
        id => stack.ledger.record(&DeploymentId::named(id)).await?,
    };
    let record = record.ok_or_else(|| {
        Failure::Usage(match given.to.as_str() {
            "previous" => "nothing was live before; `dropship history` lists what can be brought back".to_owned(),
            id => format!("there is no such deployment ({id}); `dropship history` lists them"),
        })
    })?;
    let id = &record.deployment;
    printer.tell(&format!("{} brings back {id}{}", stack.config.site, history::from(&record)));
    if head.live.as_ref().is_some_and(|live| live.deployment == *id) && head.unfinished.is_empty() {
        printer.tell("it is live already; a rollback repairs what others have changed");
    }
    let mut options = json!({"allowLargeDelete": given.allow_large_delete, "dryRun": true});
    let target = stack.config.rollback_target(id.as_str());
    let planned = rehearse(stack, &json!({"rollback": target, "options": options})).await?;
    printer.tell(report::plan(&planned).trim_end());
    if !given.yes && !confirmed()? {
        printer.result(&json!({"outcome": "declined", "id": id}), "nothing was changed\n");
        return Ok(1);
    }
    let started = Instant::now();
    options["dryRun"] = json!(false);
    stack.operator.send(&stack.function.name, &json!({"rollback": target, "options": options})).await?;
    let asked = Asked::Rollback { last_run: record.run };
    let followed = Followed { upload: id.clone(), asked, started, timeout: given.wait.timeout, printer };
    let ended = tokio::select! {
        ended = followed.to_its_end(stack) => ended?,
        _ = tokio::signal::ctrl_c() => Ended::StillRunning(Some(id.clone())),
    };
    show_end(printer, stack, &ended);
    Ok(follow::code(&ended))
}

/// Returns the record of the deployment that "previous" means. The function decides it once more, by the ledger of that moment.
async fn previous(stack: &Stack, previous: &Previous) -> Result<Option<Record>, Failure> {
    let replaced = match previous {
        Previous::Nothing => None,
        Previous::Live(live) => Some(live.clone()),
        Previous::ReplacedBy(live) => match stack.ledger.record(live).await? {
            Some(Record { replaced: Some(replaced), .. }) => Some(replaced),
            _ => return Ok(stack.ledger.live_before(live).await?),
        },
    };
    match replaced {
        Some(id) => Ok(stack.ledger.record(&id).await?),
        None => Ok(None),
    }
}

/// Asks on a terminal.
///
/// # Errors
/// `Usage` elsewhere, where there is no answer.
fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("nothing was changed; say --yes to roll back without a question".to_owned()));
    }
    eprint!("Roll back? [y/N] ");
    std::io::stderr().flush().map_err(Failure::local)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Failure::local)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
