//! The reasons to refuse an event.

use serde_json::Value;
use thiserror::Error;

/// An event that the function refuses.
#[derive(Debug, Error)]
pub enum BadEvent {
    #[error(
        "the event has none of `Records`, `detail`, `requestPayload`, `rollback` and `sweep`; send an \
         S3 notification, an EventBridge event, a failure record of Lambda, \
         `{{\"rollback\":\"previous\"}}`, `{{\"rollback\":\"<deployment id>\"}}` or `{{\"sweep\":true}}`"
    )]
    UnknownEnvelope,
    #[error("the event has both `{first}` and `{second}`; send two events instead")]
    SeveralEnvelopes { first: &'static str, second: &'static str },
    #[error("`{field}` of the event is {value}; it has to be {allowed}")]
    Field { field: String, value: Value, allowed: &'static str },
    #[error(
        "`{field}` of the event cannot be read ({source}); it needs at least a bucket's `name` \
         and an object's `key`, in the form that S3 gives them"
    )]
    Object { field: String, source: serde_json::Error },
    #[error("there is no option `{name}`; the options are `replay`, `dryRun`, `allowLargeDelete`")]
    UnknownOption { name: String },
    #[error("`{field}` of the event is `{sender}`, not S3; send the S3 event inside it by itself")]
    NotS3 { field: String, sender: String },
    #[error(
        "`{field}` of the event is `{name}`, which is no upload; let only `s3:ObjectCreated:*` \
         (in EventBridge `Object Created`) start this function"
    )]
    NotAnUpload { field: String, name: String },
    #[error("`{field}` of the event is `{version}`; this release of dropship reads version 2")]
    UnknownVersion { field: String, version: String },
    #[error(
        "the key `{key}` is not UTF-8 once decoded; in `Records` a key is form-encoded, with \
         `+` for a space and `%2B` for a plus sign"
    )]
    KeyEncoding { key: String },
    #[error(
        "the archive `{key}` is in the bucket `{bucket}`, but this stack deploys from \
         `{staging_bucket}` (STAGING_BUCKET); upload it there, or send the event to its own stack"
    )]
    ForeignBucket { key: String, bucket: String, staging_bucket: String },
    #[error(
        "`{key}` is in the folder that dropship keeps for itself; upload archives outside \
         `.dropship/`, and let the notification leave that folder out"
    )]
    OwnKey { key: String },
}
