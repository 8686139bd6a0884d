//! When each request of a deployment began and was answered, counted from the start of the function's process.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use standins::Call;

/// The first requests of a deployment, by the numbers of their calls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Requests(BTreeMap<usize, Request>);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Request {
    operation: String,
    key: Option<String>,
    began_at: SystemTime,
    answered_at: Option<SystemTime>,
}

impl Requests {
    /// The most that are noted.
    const MAX: usize = 100;

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes a call. The stand-ins report each call twice: when it begins, and when it is answered.
    pub fn note(&mut self, call: &Call) {
        if call.status.is_some() {
            if let Some(request) = self.0.get_mut(&call.sequence) {
                request.answered_at = Some(SystemTime::now());
            }
        } else if self.0.len() < Self::MAX {
            let (operation, key) = (call.operation.clone(), call.key.clone());
            self.0.insert(call.sequence, Request { operation, key, began_at: SystemTime::now(), answered_at: None });
        }
    }
}

/// An invocation with its requests.
#[derive(Clone, Debug)]
pub struct Timeline {
    pub started_at: SystemTime,
    pub event_at: SystemTime,
    pub answered_at: SystemTime,
    pub requests: Requests,
}

impl fmt::Display for Timeline {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |at: SystemTime| at.duration_since(self.started_at).unwrap_or_default().as_secs_f64() * 1e3;
        writeln!(out, "    0.0 ms: the process starts")?;
        writeln!(out, "  {:5.1} ms: it has asked for an event, and gets one", ms(self.event_at))?;
        for Request { operation, key, began_at, answered_at } in self.requests.0.values() {
            let until = answered_at.map_or(f64::NAN, ms);
            writeln!(out, "  {:5.1} to {until:5.1} ms: {operation} {}", ms(*began_at), key.as_deref().unwrap_or(""))?;
        }
        write!(out, "  {:5.1} ms: it answers", ms(self.answered_at))
    }
}
