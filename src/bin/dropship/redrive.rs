//! `redrive`: the events whose last attempt has failed.

use std::fmt::Write;

use chrono::DateTime;
use dropship::aws::operator::FailedEvent;
use dropship::event::Event;
use dropship::printable::printable;
use serde_json::{Value, json};

use crate::arguments::Redrive;
use crate::failure::Failure;
use crate::print::{DIM, Printer};
use crate::stack::Stack;

pub async fn redrive(printer: &Printer, stack: &Stack, given: Redrive) -> Result<u8, Failure> {
    let queue = stack.function.dead_letter_queue.as_deref();
    let queue =
        queue.ok_or_else(|| Failure::Usage(format!("the function {} has no queue of failed events", stack.name)))?;
    let mut events = stack.operator.failed_events(queue).await?;
    events.sort_by_key(|event| event.sent_at);
    let chosen = given.send.iter().chain(&given.delete);
    if let Some(number) = chosen.copied().find(|number| !(1..=events.len()).contains(number)) {
        for event in &events {
            put_back(stack, queue, event).await;
        }
        return Err(Failure::Usage(format!("there is no event {number}; there are {}", events.len())));
    }
    let mut text = String::new();
    if events.is_empty() {
        text.push_str("no event has failed\n");
    }
    let mut values = Vec::new();
    for (number, event) in (1..).zip(&events) {
        let done = if given.send.contains(&number) {
            send(stack, queue, event).await?
        } else if given.delete.contains(&number) {
            stack.operator.delete_failed_event(queue, event).await?;
            Done::Deleted
        } else {
            Done::Nothing
        };
        if matches!(done, Done::Nothing | Done::NotSent) {
            put_back(stack, queue, event).await;
        }
        let done = done.text(event);
        let what = describe(stack, event);
        let reason = event.error_message.as_deref().unwrap_or("no reason is known");
        let at = event.sent_at.and_then(DateTime::from_timestamp_millis);
        let at = at.map(|at| at.format("%Y-%m-%d %H:%M UTC").to_string()).unwrap_or_default();
        let _ = writeln!(text, "{number}  {at}  {}\n   {DIM}{}{DIM:#}", printable(&what), printable(reason));
        if !done.is_empty() {
            let _ = writeln!(text, "   {}", printable(&done));
        }
        values.push(json!({"number": number, "event": event.body, "what": what, "reason": reason, "done": done}));
    }
    printer.result(&values, &text);
    Ok(0)
}

/// The fate of an event.
enum Done {
    Nothing,
    Sent,
    /// Only a person may say it again.
    NotSent,
    Deleted,
}

impl Done {
    fn text(&self, event: &FailedEvent) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Sent => "sent again".to_owned(),
            Self::NotSent => {
                format!("a person has asked for this; if it is still meant, send it by hand: {}", event.body)
            }
            Self::Deleted => "deleted".to_owned(),
        }
    }
}

/// Sends an event again and deletes it from the queue. A person's word is printed instead: only a person may give it.
async fn send(stack: &Stack, queue: &str, event: &FailedEvent) -> Result<Done, Failure> {
    let value: Value = serde_json::from_str(&event.body).unwrap_or_default();
    if is_a_persons(stack, &value) {
        return Ok(Done::NotSent);
    }
    stack.operator.send(&stack.function.name, &value).await?;
    stack.operator.delete_failed_event(queue, event).await?;
    Ok(Done::Sent)
}

/// Lets the next command find an event. If that fails, the queue shows it again after two minutes.
async fn put_back(stack: &Stack, queue: &str, event: &FailedEvent) {
    let _ = stack.operator.put_back_failed_event(queue, event).await;
}

fn is_a_persons(stack: &Stack, event: &Value) -> bool {
    match Event::parse(event, &stack.config.staging_bucket) {
        Ok(Event::Rollback { .. } | Event::Remove { .. }) => true,
        Ok(Event::Uploads { options, .. }) => options.replay,
        _ => false,
    }
}

fn describe(stack: &Stack, event: &FailedEvent) -> String {
    let value: Value = serde_json::from_str(&event.body).unwrap_or_default();
    match Event::parse(&value, &stack.config.staging_bucket) {
        Ok(Event::Uploads { uploads, .. }) => {
            uploads.into_iter().map(|upload| upload.key).collect::<Vec<_>>().join(", ")
        }
        Ok(Event::Rollback { .. }) => "a rollback".to_owned(),
        Ok(Event::Remove { preview, .. }) => format!("the removal of the preview {preview}"),
        Ok(Event::Sweep { .. }) => "a sweep".to_owned(),
        Ok(Event::Test) => "a test event".to_owned(),
        Err(_) => "an event that cannot be read".to_owned(),
    }
}
