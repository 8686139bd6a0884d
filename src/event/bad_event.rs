//! The reasons to refuse an event.

use chrono::{DateTime, Utc};
use serde_json::Value;
use thiserror::Error;

use crate::preview::{BadPreviewKey, PreviewName};

/// An event that the function refuses.
#[derive(Debug, Error)]
pub enum BadEvent {
    #[error(
        "the event has none of `Records`, `detail`, `remove`, `requestPayload`, `rollback` and `sweep`; send an S3 \
         notification, an EventBridge event, a failure record from Lambda, `{{\"rollback\":\"previous\"}}`, \
         `{{\"rollback\":\"<deployment id>\"}}`, `{{\"remove\":\"previews/<name>\"}}` or `{{\"sweep\":true}}`"
    )]
    UnknownEnvelope,
    #[error("the event has both `{first}` and `{second}`; send two events instead")]
    SeveralEnvelopes { first: &'static str, second: &'static str },
    #[error("`{field}` of the event is {value}; it must be {allowed}")]
    Field { field: String, value: Value, allowed: &'static str },
    #[error(
        "could not read `{field}` of the event ({source}); it needs at least a bucket's `name` and an object's `key`, \
         as S3 sends them"
    )]
    Object { field: String, source: serde_json::Error },
    #[error(
        "a rollback that failed is not repeated from the failure queue, because newer builds may have gone live since: \
         send it again without the failure record, or put \"options\":{{\"replay\":true}} beside \"requestPayload\""
    )]
    RollbackNotMeant,
    #[error(
        "the removal of a preview that failed is not repeated from the failure queue, because somebody may have pushed \
         to it since: send it again without the failure record, or put \"options\":{{\"replay\":true}} beside \
         \"requestPayload\""
    )]
    RemovalNotMeant,
    #[error(
        "the event of an upload that ends the preview `{name}` has no time, and only its time tells which pushes are \
         newer; send `{{\"remove\":\"previews/{name}\"}}` instead"
    )]
    RemovalWithoutTime { name: PreviewName },
    #[error(
        "this stack has no previews; set Previews=true (PREVIEWS), or send the event to the stack of the preview \
         `{name}`"
    )]
    NoPreviews { name: PreviewName },
    #[error(transparent)]
    PreviewKey(#[from] BadPreviewKey),
    #[error(
        "the upload of `{key}` is dated {uploaded_at}, but it is only {now}; a time in the future would shut out every \
         later upload, so correct `eventTime`, or leave it out"
    )]
    FutureUpload { key: String, uploaded_at: DateTime<Utc>, now: DateTime<Utc> },
    #[error(
        "the event of an upload has {size_bytes} bytes, and at most {max_bytes} are read; send only the fields that S3 \
         sends, which take about 1,000"
    )]
    TooLong { size_bytes: usize, max_bytes: usize },
    #[error("unknown option `{name}`; the options are `replay`, `dryRun` and `allowLargeDelete`")]
    UnknownOption { name: String },
    #[error("`{field}` of the event is `{sender}`, not S3; send only the S3 event that is inside it")]
    NotS3 { field: String, sender: String },
    #[error(
        "`{field}` of the event is `{name}`, which is not an upload; only `s3:ObjectCreated:*` (in EventBridge \
         `Object Created`) should start this function"
    )]
    NotAnUpload { field: String, name: String },
    #[error("`{field}` of the event is `{version}`; this release of dropship reads version 2")]
    UnknownVersion { field: String, version: String },
    #[error(
        "the key `{key}` does not decode to UTF-8; keys in `Records` are form-encoded, with `+` for a space and `%2B` \
         for a plus sign"
    )]
    KeyEncoding { key: String },
    #[error(
        "the archive `{key}` is in the bucket `{bucket}`, but this stack deploys from `{staging_bucket}` \
         (the output StagingBucketName, STAGING_BUCKET); upload it there, or send the event to the stack of that bucket"
    )]
    ForeignBucket { key: String, bucket: String, staging_bucket: String },
    #[error(
        "`{key}` is in `plans/`, which takes archives for dry runs alone; add \"options\":{{\"dryRun\":true}}, or upload \
         the archive to the folder for uploads"
    )]
    OnlyPlanned { key: String },
    #[error(
        "`{key}` is in `.dropship/`, which holds dropship's own objects; upload archives to another folder, and \
         restrict the notification to that one"
    )]
    OwnKey { key: String },
}
