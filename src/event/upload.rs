//! An upload, and the order of several.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::bad_event::BadEvent;
use super::options::Options;
use crate::archive::{is_named_zip, other_by_name};
use crate::key;

/// The longest event of one upload. The ledger keeps it beside the answer, in an item of at most 400 KB.
const MAX_EVENT_BYTES: usize = 100_000;

/// An archive version in the staging bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload {
    pub bucket: String,
    /// The decoded key.
    pub key: String,
    /// `None` if the bucket is not versioned.
    pub version_id: Option<String>,
    /// The ETag without its quotes.
    pub etag: Option<String>,
    /// Hexadecimal; orders the uploads of one key.
    pub sequencer: Option<String>,
    /// `None` in an event written by hand; the archive's `Last-Modified` replaces it.
    pub uploaded_at: Option<DateTime<Utc>>,
    /// An event for this upload alone, as it came but without options.
    pub event: Value,
}

impl Upload {
    fn check(&self, staging_bucket: &str, options: Options) -> Result<(), BadEvent> {
        let size_bytes = self.event.to_string().len();
        if size_bytes > MAX_EVENT_BYTES {
            return Err(BadEvent::TooLong { size_bytes, max_bytes: MAX_EVENT_BYTES });
        }
        if self.bucket != staging_bucket {
            return Err(BadEvent::ForeignBucket {
                key: self.key.clone(),
                bucket: self.bucket.clone(),
                staging_bucket: staging_bucket.to_owned(),
            });
        }
        if self.key.starts_with(key::OWN_FOLDER) {
            return Err(BadEvent::OwnKey { key: self.key.clone() });
        }
        if self.key.starts_with(key::PLANS_FOLDER) && !options.dry_run {
            return Err(BadEvent::OnlyPlanned { key: self.key.clone() });
        }
        Ok(())
    }

    /// Whether the name is that of an archive. Others are uploaded beside archives: checksums, and the console's markers
    /// of folders.
    pub fn is_named_as_archive(&self) -> bool {
        is_named_zip(&self.key) || other_by_name(&self.key).is_some()
    }

    /// Returns the sort key of the upload order.
    ///
    /// An upload without a time was written by hand and is meant now, so it comes last. Sequencers are comparable
    /// within one key only. S3 pads the shorter of two with zeros on the right and then compares them as text
    /// ("Event message structure"); comparing them as text without padding has the same result.
    fn order(&self) -> impl Ord + use<> {
        let sequencer = self.sequencer.as_deref().unwrap_or_default();
        (self.uploaded_at.is_none(), self.uploaded_at, self.key.clone(), sequencer.to_ascii_uppercase())
    }

    /// Returns what two records of one upload have in common: key and version, or without a version all that there
    /// is.
    fn identity(&self) -> impl Ord + use<> {
        let without_version = match self.version_id {
            Some(_) => None,
            None => Some((self.etag.clone(), self.sequencer.clone(), self.uploaded_at)),
        };
        (self.key.clone(), self.version_id.clone(), without_version)
    }
}

/// Sorts uploads, keeps each of them once, and refuses those outside the staging bucket.
pub(super) fn in_upload_order(
    mut uploads: Vec<Upload>,
    staging_bucket: &str,
    options: Options,
) -> Result<Vec<Upload>, BadEvent> {
    for upload in &uploads {
        upload.check(staging_bucket, options)?;
    }
    uploads.sort_by_cached_key(Upload::order);
    let mut seen = BTreeSet::new();
    uploads.retain(|upload| seen.insert(upload.identity()));
    Ok(uploads)
}
