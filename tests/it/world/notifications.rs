//! S3's notifications: late, doubled, out of order, from S3 itself or by way of EventBridge.

use std::rc::Rc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use standins::Headers;

use super::World;
use super::history::{Sent, Uploaded};
use super::plan::{Deed, Notification, Upload};
use crate::stage::STAGING;

/// CI uploads an archive, and S3 notifies the function.
pub async fn upload(world: &Rc<World>, deed: &Deed, upload: &Upload) {
    let now = world.now();
    let headers = Headers::of_type("application/zip");
    let archive = upload.build.archive();
    let object = world.cloud.put_object(STAGING, upload.key, archive, headers);
    let initiated = now - TimeDelta::seconds(upload.initiated_before as i64);
    if upload.initiated_before > 0 {
        // A multipart upload's Last-Modified is its initiation.
        world.cloud.set_modified(STAGING, upload.key, initiated.into());
    }
    let uploaded = Uploaded {
        number: deed.number,
        key: upload.key,
        at: now,
        is_multipart: upload.initiated_before > 0,
        version: object.version_id.clone().unwrap_or_default(),
        etag: object.etag.trim_matches('"').to_owned(),
        size: object.body.len(),
        build: upload.build.clone(),
    };
    world.history().uploads.push(uploaded.clone());
    let event = |is_from_event_bridge| {
        if is_from_event_bridge { uploaded.notice().event_bridge_event() } else { uploaded.event() }
    };
    notify(world, deed.number, &upload.notifications, event, &Sent::Delivery(deed.number));
}

/// Sends the notifications of an upload, each when it is due.
pub fn notify(
    world: &Rc<World>,
    number: u64,
    notifications: &[Notification],
    event: impl Fn(bool) -> Value,
    sent: &Sent,
) {
    for (nth, notification) in notifications.iter().enumerate() {
        let (event, sent) = (event(notification.is_from_event_bridge), sent.clone());
        let delay = Duration::from_millis(notification.delay);
        world.deeds.set(world.deeds.get() + 1);
        let world = world.clone();
        world.clone().spawn(async move {
            world.clock.turn_in(delay, number).await;
            world.send(format!("{number}-notice-{nth}"), event, sent);
            world.done();
        });
    }
}

/// The facts about an upload that S3's notifications carry.
pub struct Notice<'a> {
    pub at: DateTime<Utc>,
    pub key: &'a str,
    pub size: usize,
    pub etag: &'a str,
    pub version: &'a str,
}

impl Notice<'_> {
    /// The notification that S3 sends.
    pub fn event(&self) -> Value {
        json!({"Records": [{
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": self.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": STAGING}, "object": {
                "key": self.key,
                "size": self.size,
                "eTag": self.etag,
                "versionId": self.version,
                "sequencer": self.sequencer(),
            }},
        }]})
    }

    /// The same by way of EventBridge, whose times are whole seconds.
    pub fn event_bridge_event(&self) -> Value {
        json!({
            "version": "0",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "time": self.at.to_rfc3339_opts(SecondsFormat::Secs, true),
            "detail": {"bucket": {"name": STAGING}, "object": {
                "key": self.key,
                "size": self.size,
                "etag": self.etag,
                "version-id": self.version,
                "sequencer": self.sequencer(),
            }},
        })
    }

    /// Orders the uploads of one key.
    fn sequencer(&self) -> String {
        format!("{:016X}", self.at.timestamp_millis())
    }
}

impl Uploaded {
    fn notice(&self) -> Notice<'_> {
        Notice { at: self.at, key: self.key, size: self.size, etag: &self.etag, version: &self.version }
    }

    /// The notification that S3 sends.
    pub fn event(&self) -> Value {
        self.notice().event()
    }

    /// An event as a person writes it, for exactly this version.
    pub fn bare_event(&self) -> Value {
        let object = json!({"key": self.key, "versionId": self.version});
        json!({"Records": [{"s3": {"bucket": {"name": STAGING}, "object": object}}]})
    }
}
