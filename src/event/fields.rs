//! The fields of an event, read with errors that name them.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::bad_event::BadEvent;

/// The fields of one object in an event.
pub(super) struct Fields<'a> {
    object: &'a Value,
    /// Where the object is in the event, ending in `.`; empty for the event itself.
    path: String,
}

impl<'a> Fields<'a> {
    pub(super) fn of_event(event: &'a Value) -> Self {
        Self { object: event, path: String::new() }
    }

    pub(super) fn of_record(index: usize, record: &'a Value) -> Self {
        Self { object: record, path: format!("Records[{index}].") }
    }

    /// Returns a field's path in the event, for errors.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// Reads an optional text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, BadEvent> {
        match &self.object[name] {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            value => Err(BadEvent::Field { field: self.path(name), value: value.clone(), allowed: "a text" }),
        }
    }

    /// Reads an optional time.
    pub(super) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, BadEvent> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match DateTime::parse_from_rfc3339(&text) {
            Ok(time) => Ok(Some(time.to_utc())),
            Err(_) => Err(BadEvent::Field {
                field: self.path(name),
                value: text.into(),
                allowed: "a time such as 2026-11-22T10:15:00.000Z",
            }),
        }
    }

    /// Refuses a text that is missing or empty.
    pub(super) fn required(&self, name: &str, text: Option<String>) -> Result<String, BadEvent> {
        match text {
            Some(text) if !text.is_empty() => Ok(text),
            missing => Err(BadEvent::Field {
                field: self.path(name),
                value: missing.into(),
                allowed: "a text that is not empty",
            }),
        }
    }
}

/// Returns the version id, unless it is empty or `null`.
///
/// S3 gives the version `null` to objects written while versioning is off or suspended. The next such write
/// replaces that version, so it does not identify the bytes; the ETag does.
pub(super) fn version_id(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text != "null")
}

/// Returns the ETag without quotes.
pub(super) fn etag(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim_matches('"').to_owned()).filter(|text| !text.is_empty())
}
