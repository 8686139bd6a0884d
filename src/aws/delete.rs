//! Conditional deletes from the live bucket.

use std::fmt;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::bucket::Bucket;
use super::response::{failed, status};
use super::signed_request::with_values;
use crate::cut;
use crate::error::Error;
use crate::etag::Etag;
use crate::key::is_blank;

/// `DeleteObjects` takes at most 1,000 keys (S3 API).
pub const DELETES_PER_CALL: usize = 1_000;

/// How many objects are deleted by a request of their own at the same time.
const ALONE_AT_ONCE: usize = 16;

/// An object that was not deleted.
#[derive(Clone, Debug)]
pub struct NotDeleted {
    pub key: String,
    pub code: String,
    pub message: String,
}

impl fmt::Display for NotDeleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, code, message } = self;
        write!(f, "{key} ({code}: {message})")
    }
}

impl NotDeleted {
    /// Whether someone else has written the object since it was listed.
    pub fn is_conflict(&self) -> bool {
        matches!(self.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
    }
}

impl Bucket {
    /// Deletes up to 1,000 objects, each only if it still has the given ETag. Returns the objects that remain.
    ///
    /// # Errors
    /// `Aws` when the call for many objects failed as a whole.
    pub async fn delete(&self, keys: &[(&str, Option<&Etag>)]) -> Result<Vec<NotDeleted>, Error> {
        let (together, alone): (Vec<_>, Vec<_>) = keys.iter().partition(|(key, _)| xml_carries(key));
        let alone = stream::iter(alone)
            .map(|(key, etag)| self.delete_alone(key, etag))
            .buffer_unordered(ALONE_AT_ONCE)
            .filter_map(async |refused| refused)
            .collect::<Vec<_>>();
        let (together, alone) = tokio::join!(self.delete_together(&together), alone);
        let mut remaining = together?;
        remaining.extend(alone);
        Ok(remaining)
    }

    async fn delete_together(&self, keys: &[(&str, Option<&Etag>)]) -> Result<Vec<NotDeleted>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let objects = keys.iter().filter_map(|(key, etag)| {
            // Building fails only without a key.
            ObjectIdentifier::builder().key(*key).set_e_tag(etag.map(|etag| format!("\"{etag}\""))).build().ok()
        });
        let delete = Delete::builder().set_objects(Some(objects.collect())).quiet(true).build();
        let what = || {
            let keys: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
            format!("deleting {}", cut::sentence(&keys))
        };
        let delete = delete.map_err(|error| Error::Aws { what: what(), reason: error.to_string(), source: None })?;
        let request = self.s3.delete_objects().bucket(&self.name).delete(delete);
        let request = request.set_expected_bucket_owner(self.account_id.clone());
        let answer = self.in_its_region(async || request.clone().send().await).await;
        let errors = answer.map_err(|error| failed(what(), error))?.errors.unwrap_or_default();
        let remaining = errors.into_iter().map(|error| NotDeleted {
            key: error.key.unwrap_or_default(),
            code: error.code.unwrap_or_default(),
            message: error.message.unwrap_or_default(),
        });
        // An object that is gone already needs no delete.
        let remaining: Vec<NotDeleted> = remaining.filter(|error| error.code != "NoSuchKey").collect();
        match remaining.iter().find(|refused| keys.iter().all(|(key, _)| *key != refused.key)) {
            // Otherwise the key that it is about would count as deleted.
            Some(unknown) => Err(Error::Aws { what: what(), reason: unknown.to_string(), source: None }),
            None => Ok(remaining),
        }
    }

    /// Deletes one object by a request of its own, whose path carries any key. Returns why it remains, if it does.
    async fn delete_alone(&self, key: &str, etag: Option<&Etag>) -> Option<NotDeleted> {
        if is_blank(key) {
            return self.delete_blank(key, etag).await;
        }
        let request = self.s3.delete_object().bucket(&self.name).key(key);
        let request = request
            .set_if_match(etag.map(|etag| format!("\"{etag}\"")))
            .set_expected_bucket_owner(self.account_id.clone());
        match self.in_its_region(async || request.clone().send().await).await {
            Ok(_) => None,
            Err(error) if error.code() == Some("NoSuchKey") => None,
            Err(error) => Some(NotDeleted { key: key.to_owned(), code: code(&error), message: message(error) }),
        }
    }

    /// Deletes an object with a [blank](is_blank) key. Returns why it remains, if it does.
    async fn delete_blank(&self, key: &str, etag: Option<&Etag>) -> Option<NotDeleted> {
        let etag = etag.map(|etag| format!("\"{etag}\""));
        let headers =
            with_values([("if-match", etag.as_deref()), ("x-amz-expected-bucket-owner", self.account_id.as_deref())]);
        let answer = self.signed.send("DELETE", (&self.name, key, ""), headers, Bytes::new()).await;
        let code = match answer.map(|answer| answer.status().as_u16()) {
            Some(200 | 204 | 404) => return None,
            Some(412) => "PreconditionFailed".to_owned(),
            Some(status) => status.to_string(),
            None => "no answer".to_owned(),
        };
        Some(NotDeleted { key: key.to_owned(), code, message: "the key is white space alone".to_owned() })
    }
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> String {
    let code = error.code().map(str::to_owned);
    code.or_else(|| status(error).map(|status| status.to_string())).unwrap_or_else(|| "no answer".to_owned())
}

fn message<E>(error: SdkError<E>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match error.message() {
        Some(message) => message.to_owned(),
        None => super::response::causes(&error),
    }
}

/// Whether a key can stand in the XML of a `DeleteObjects` request and of its answer.
///
/// XML 1.0 has no way to write most control characters, nor U+FFFE and U+FFFF (section 2.2, "Characters"), and S3
/// refuses the whole request because of one of them. Line breaks can be written, but a parser may change them (section
/// 2.11), so that the answer would name another key.
fn xml_carries(key: &str) -> bool {
    // A parser may drop text that is white space alone.
    !is_blank(key) && !key.contains(|char: char| char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}'))
}
