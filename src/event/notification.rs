//! The records of S3's own notification.

use aws_lambda_events::event::s3::S3Entity;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bad_event::BadEvent;
use super::fields::{Fields, etag, version_id};
use super::upload::Upload;
use crate::key;

/// Reads one record. It needs `s3` with the names of bucket and object; the rest is optional.
pub(super) fn upload(index: usize, record: &Value) -> Result<Upload, BadEvent> {
    let fields = Fields::of_record(index, record);
    // SNS capitalises the field.
    for name in ["eventSource", "EventSource"] {
        if let Some(sender) = record[name].as_str().filter(|text| !text.ends_with(":s3")) {
            return Err(BadEvent::NotS3 { field: fields.path(name), sender: sender.to_owned() });
        }
    }
    // S3 raises the minor version when it adds fields, and the major version for breaking changes
    // ("Event message structure").
    if let Some(version) = fields.text("eventVersion")?
        && version.split('.').next() != Some("2")
    {
        return Err(BadEvent::UnknownVersion { field: fields.path("eventVersion"), version });
    }
    // S3's own events lack the `s3:`; some other services that speak its protocol send it.
    if let Some(name) = fields.text("eventName")?
        && !name.trim_start_matches("s3:").starts_with("ObjectCreated:")
    {
        return Err(BadEvent::NotAnUpload { field: fields.path("eventName"), name });
    }
    let entity =
        S3Entity::deserialize(&record["s3"]).map_err(|source| BadEvent::Object { field: fields.path("s3"), source })?;
    let encoded_key = fields.required("s3.object.key", entity.object.key)?;
    let Some(key) = key::form_decode(&encoded_key) else {
        return Err(BadEvent::KeyEncoding { key: encoded_key });
    };
    Ok(Upload {
        bucket: fields.required("s3.bucket.name", entity.bucket.name)?,
        key,
        version_id: version_id(entity.object.version_id),
        etag: etag(entity.object.e_tag),
        sequencer: entity.object.sequencer.filter(|text| !text.is_empty()),
        uploaded_at: fields.time("eventTime")?,
        event: json!({ "Records": [record] }),
    })
}
