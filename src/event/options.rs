//! The options of an event.

use serde_json::{Map, Value};

use super::bad_event::BadEvent;

/// The options that any event may carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// Deploy even if a newer upload has been deployed since.
    pub replay: bool,
    /// Plan and report, but change nothing.
    pub dry_run: bool,
    /// Allow a deployment that would take the site away.
    pub allow_large_delete: bool,
}

impl Options {
    /// Whether a person has sent the event: S3 sets no options.
    pub fn are_a_persons(self) -> bool {
        self != Self::default()
    }

    pub(super) fn from_map(given: &Map<String, Value>) -> Result<Options, BadEvent> {
        let mut options = Options::default();
        for (name, value) in given {
            let option = match name.as_str() {
                "replay" => &mut options.replay,
                "dryRun" => &mut options.dry_run,
                "allowLargeDelete" => &mut options.allow_large_delete,
                _ => return Err(BadEvent::UnknownOption { name: name.clone() }),
            };
            *option = value.as_bool().ok_or_else(|| BadEvent::Field {
                field: format!("options.{name}"),
                value: value.clone(),
                allowed: "true or false",
            })?;
        }
        Ok(options)
    }
}

/// Adds the options of an inner envelope, which do not override those already there.
pub(super) fn add(options: &mut Map<String, Value>, given: &Value) -> Result<(), BadEvent> {
    match given {
        Value::Null => Ok(()),
        Value::Object(given) => {
            for (name, value) in given {
                options.entry(name).or_insert_with(|| value.clone());
            }
            Ok(())
        }
        _ => Err(BadEvent::Field {
            field: "options".to_owned(),
            value: given.clone(),
            allowed: "an object such as {\"replay\":true}",
        }),
    }
}
