//! The events that start the function, each read as a request to deploy, roll back or sweep.
//!
//! An event is S3's own notification, the same from EventBridge, a few lines written by hand, the record that
//! Lambda writes when an event has failed, S3's test event, a rollback, or a sweep. An upload that lacks details is
//! completed later from the archive itself. An event about anything other than an upload is refused.

mod bad_event;
mod envelope;
mod event_bridge;
mod fields;
mod notification;
mod options;
mod upload;

use serde_json::{Map, Value};

use envelope::Envelope;

use crate::preview::PreviewName;

pub use bad_event::BadEvent;
pub use options::Options;
pub use upload::Upload;

/// An event, as the work that it asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// Bring archives live, in the order in which they were uploaded. Never empty.
    Uploads { uploads: Vec<Upload>, options: Options },
    /// Bring an earlier deployment of the live site or of a preview live again.
    Rollback { of: Option<PreviewName>, to: Rollback, options: Options },
    /// Take a preview away.
    Remove { preview: PreviewName, options: Options },
    /// Delete retained objects whose days are over, and send the invalidations that are owed.
    Sweep { options: Options },
    /// S3 tested a notification; there is nothing to do.
    Test,
}

/// The target of a rollback.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rollback {
    /// The deployment that the live one has replaced, or the live one itself while a later run is stuck half-way. A
    /// second such rollback goes back one more.
    Previous,
    /// The deployment with this id.
    To(String),
}

impl Event {
    /// Returns the options of the event.
    pub fn options(&self) -> Options {
        match self {
            Self::Test => Options::default(),
            Self::Uploads { options, .. }
            | Self::Rollback { options, .. }
            | Self::Remove { options, .. }
            | Self::Sweep { options } => *options,
        }
    }

    /// Returns whether the event may change a site.
    pub fn may_change_site(&self) -> bool {
        *self != Self::Test && !self.options().dry_run
    }

    /// Reads an event.
    ///
    /// Unknown fields are ignored, because S3 adds some with every version. Unknown options are refused, because
    /// the sender meant something by them. The options of a failure record override those of the event inside it.
    ///
    /// An event inside a failure record was meant when it was first sent, and is no replay now: a queue that is redriven
    /// must not bring old builds back. To replay it on purpose, the sender puts the option beside `requestPayload`.
    ///
    /// # Errors
    /// The event is not about archives in the staging bucket, or cannot be read.
    pub fn parse(payload: &Value, staging_bucket: &str) -> Result<Event, BadEvent> {
        let mut payload = payload;
        let mut options = Map::new();
        let mut is_redriven = false;
        loop {
            options::add(&mut options, &payload["options"])?;
            let uploads = match Envelope::of(payload)? {
                // A failed event may itself be a failure record that was sent again.
                Envelope::Failure(request_payload) => {
                    is_redriven = true;
                    options.entry("replay").or_insert(Value::Bool(false));
                    payload = request_payload;
                    continue;
                }
                Envelope::Test => return Ok(Event::Test),
                Envelope::Rollback(_) if is_redriven && options.get("replay") != Some(&Value::Bool(true)) => {
                    return Err(BadEvent::RollbackNotMeant);
                }
                Envelope::Rollback(to) => {
                    let (of, to) = Rollback::parse(to)?;
                    return Ok(Event::Rollback { of, to, options: Options::from_map(&options)? });
                }
                // A person may have pushed to the preview since.
                Envelope::Remove(_) if is_redriven && options.get("replay") != Some(&Value::Bool(true)) => {
                    return Err(BadEvent::RemovalNotMeant);
                }
                Envelope::Remove(preview) => {
                    let name = preview.as_str().and_then(|path| PreviewName::in_folder(path.trim()));
                    let preview = name.ok_or_else(|| BadEvent::Field {
                        field: "remove".to_owned(),
                        value: preview.clone(),
                        allowed: "\"previews/<name>\", in which the name is a DNS label (lower-case letters, digits \
                                  and hyphens)",
                    })?;
                    return Ok(Event::Remove { preview, options: Options::from_map(&options)? });
                }
                Envelope::Sweep => return Ok(Event::Sweep { options: Options::from_map(&options)? }),
                Envelope::Records(records) => records
                    .iter()
                    .enumerate()
                    .map(|(index, record)| notification::upload(index, record))
                    .collect::<Result<_, _>>()?,
                Envelope::EventBridge(detail) => vec![event_bridge::upload(payload, detail)?],
            };
            let options = Options::from_map(&options)?;
            let uploads = upload::in_upload_order(uploads, staging_bucket, options)?;
            return Ok(Event::Uploads { uploads, options });
        }
    }
}

impl Rollback {
    /// Reads the target of a rollback. `previews/<name>/` before it names the preview that it is about.
    fn parse(to: &Value) -> Result<(Option<PreviewName>, Rollback), BadEvent> {
        let bad = || BadEvent::Field {
            field: "rollback".to_owned(),
            value: to.clone(),
            allowed: "\"previous\" or a deployment's id; for a preview, \"previews/<name>/previous\" or \
                      \"previews/<name>/<deployment id>\"",
        };
        let text = to.as_str().map(str::trim).ok_or_else(bad)?;
        let (of, target) = match text.rsplit_once('/') {
            None => (None, text),
            Some((preview, target)) => (Some(PreviewName::in_folder(preview).ok_or_else(bad)?), target),
        };
        match target {
            "" => Err(bad()),
            "previous" => Ok((of, Rollback::Previous)),
            id => Ok((of, Rollback::To(id.to_owned()))),
        }
    }
}

#[cfg(test)]
mod tests;
