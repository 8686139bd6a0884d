//! `remove`: takes a preview away.
//!
//! It uploads an empty file, which asks the function for the removal. That takes no other right than a push, so that a
//! pull request's role can end what it has begun, and the upload's time tells which pushes are newer.

use std::time::{Duration, Instant};

use chrono::Utc;
use dropship::deployment::Head;
use dropship::preview::removal_key;
use serde_json::json;

use crate::arguments::Remove;
use crate::failure::Failure;
use crate::print::{GOOD, Printer};
use crate::stack::Stack;

/// How often the ledger is read.
const INTERVAL: Duration = Duration::from_millis(500);

pub async fn remove(printer: &Printer, stack: &Stack, given: Remove) -> Result<u8, Failure> {
    let started = Instant::now();
    let name = &given.name;
    let ledger = stack.ledger.of_site(&stack.config_of_preview(name)?);
    let before = ledger.head().await?;
    let asked_at = Utc::now();
    let key = removal_key(&stack.config.upload_prefix, name);
    stack.operator.upload_empty(&stack.config.staging_bucket, &key).await?;
    if given.no_wait {
        printer.result(&json!({"outcome": "asked", "preview": name}), "the function removes it now\n");
        return Ok(0);
    }
    let newest = |head: &Head| head.newest(Utc::now()).cloned();
    loop {
        let head = ledger.head().await?;
        // A preview that is gone, or that has never been, gets a new tombstone too: the event of a push may be late.
        if head.expires_at.is_some() && head.version != before.version {
            let gone = format!("{GOOD}removed{GOOD:#}  the preview {name} is gone\n");
            printer.result(&json!({"outcome": "removed", "preview": name}), &gone);
            return Ok(0);
        }
        // A push from before the removal may begin only now.
        if newest(&head).is_some_and(|newest| newest.uploaded_at >= asked_at) && newest(&head) != newest(&before) {
            let text = format!("superseded: somebody has pushed to {name} since\n");
            printer.result(&json!({"outcome": "superseded", "preview": name}), &text);
            return Ok(4);
        }
        if started.elapsed() >= given.wait.timeout {
            let text =
                "not gone yet: the removal goes on without this command, and the function's log has its errors\n";
            printer.result(&json!({"outcome": "inProgress", "preview": name}), text);
            return Ok(3);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
