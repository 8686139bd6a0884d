//! The envelopes in which an event arrives.

use serde_json::Value;

use super::bad_event::BadEvent;

/// An event by its outermost form, with the part that says what it asks for.
pub(super) enum Envelope<'a> {
    /// S3's notification.
    Records(&'a [Value]),
    /// The `detail` of an EventBridge event.
    EventBridge(&'a Value),
    /// The event inside a record that Lambda wrote after a failure.
    Failure(&'a Value),
    Rollback(&'a Value),
    Remove(&'a Value),
    Sweep,
    Test,
}

impl Envelope<'_> {
    /// Recognises an envelope by the one field that each kind must have.
    pub(super) fn of(payload: &Value) -> Result<Envelope<'_>, BadEvent> {
        if payload["Event"] == "s3:TestEvent" {
            return Ok(Envelope::Test);
        }
        let mut present = ["Records", "detail", "remove", "requestPayload", "rollback", "sweep"]
            .into_iter()
            .filter(|field| !payload[field].is_null());
        let first = present.next().ok_or(BadEvent::UnknownEnvelope)?;
        if let Some(second) = present.next() {
            return Err(BadEvent::SeveralEnvelopes { first, second });
        }
        let value = &payload[first];
        match first {
            "requestPayload" => Ok(Envelope::Failure(value)),
            "rollback" => Ok(Envelope::Rollback(value)),
            "remove" => Ok(Envelope::Remove(value)),
            "sweep" if *value == Value::Bool(true) => Ok(Envelope::Sweep),
            "sweep" => Err(BadEvent::Field { field: first.to_owned(), value: value.clone(), allowed: "true" }),
            // An event bus as failure destination wraps the record once more.
            "detail" => Ok(match &value["requestPayload"] {
                Value::Null => Envelope::EventBridge(value),
                request_payload => Envelope::Failure(request_payload),
            }),
            _ => match value.as_array() {
                Some(records) if !records.is_empty() => Ok(Envelope::Records(records)),
                _ => Err(BadEvent::Field {
                    field: first.to_owned(),
                    value: value.clone(),
                    allowed: "a list of at least one record",
                }),
            },
        }
    }
}
