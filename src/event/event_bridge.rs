//! S3's `Object Created` event from EventBridge.

use serde::Deserialize;
use serde_json::Value;

use super::bad_event::BadEvent;
use super::fields::{Fields, etag, version_id};
use super::upload::Upload;

/// The `detail` of the event (S3 User Guide, "EventBridge event message structure").
#[derive(Deserialize)]
struct Detail {
    bucket: DetailBucket,
    object: DetailObject,
}

#[derive(Deserialize)]
struct DetailBucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct DetailObject {
    key: String,
    etag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// Reads the event.
///
/// Its key is not decoded: the S3 User Guide mentions encoding only for notifications. If that is wrong, the harm is
/// small. A key that stays encoded names no archive, and the error says so; a key decoded needlessly could name
/// another archive (`a+b.zip` becomes `a b.zip`).
pub(super) fn upload(payload: &Value, detail: &Value) -> Result<Upload, BadEvent> {
    let fields = Fields::of_event(payload);
    if let Some(sender) = fields.text("source")?.filter(|text| text != "aws.s3") {
        return Err(BadEvent::NotS3 { field: fields.path("source"), sender });
    }
    if let Some(name) = fields.text("detail-type")?.filter(|text| text != "Object Created") {
        return Err(BadEvent::NotAnUpload { field: fields.path("detail-type"), name });
    }
    let uploaded_at = fields.time("time")?;
    let Detail { bucket, object } =
        Detail::deserialize(detail).map_err(|source| BadEvent::Object { field: fields.path("detail"), source })?;
    let mut event = payload.clone();
    if let Some(event) = event.as_object_mut() {
        event.remove("options");
    }
    Ok(Upload {
        bucket: fields.required("detail.bucket.name", Some(bucket.name))?,
        key: fields.required("detail.object.key", Some(object.key))?,
        version_id: version_id(object.version_id),
        etag: etag(object.etag),
        sequencer: object.sequencer.filter(|text| !text.is_empty()),
        uploaded_at,
        event,
    })
}
