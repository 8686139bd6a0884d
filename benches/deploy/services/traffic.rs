//! The calls of one deployment, counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use standins::Call;

use super::account::{KEY, LIVE};
use crate::timeline::Requests;

/// The calls of one deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// The number of calls of each operation.
    pub calls: BTreeMap<String, u64>,
    /// Bytes read of the archive.
    pub bytes_read: u64,
    /// Bytes written to the live bucket.
    pub bytes_written: u64,
    /// The most writes that were in progress at any time.
    pub writes_at_once: u64,
    /// TLS connections whose handshake was a full one.
    pub full_handshakes: u64,
    /// TLS connections that resumed the session of an earlier one.
    pub resumed_handshakes: u64,
    /// The time of all pages of listings.
    pub listing: Window,
    /// When the first calls took place.
    #[serde(default, skip_serializing_if = "Requests::is_empty")]
    pub requests: Requests,
    #[serde(skip)]
    writes_in_progress: u64,
}

/// The time from the first of some calls to the last answer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    pub length: Duration,
    #[serde(skip)]
    since: Option<Instant>,
}

impl Window {
    fn extend(&mut self) {
        self.length = self.since.get_or_insert_with(Instant::now).elapsed();
    }
}

impl Traffic {
    /// Counts a call. The stand-ins report each call twice: when it begins, and when it is answered.
    pub(super) fn add(&mut self, call: &Call) {
        self.requests.note(call);
        let is_live = call.bucket.as_deref() == Some(LIVE);
        if call.operation == "ListObjectsV2" {
            self.listing.extend();
        }
        let is_write = Self::is_write(&call.operation);
        if call.status.is_none() {
            self.writes_in_progress += u64::from(is_write);
            self.writes_at_once = self.writes_at_once.max(self.writes_in_progress);
            return;
        }
        // A write that began before the last upload was not counted when it began.
        self.writes_in_progress = self.writes_in_progress.saturating_sub(u64::from(is_write));
        let is_archive = call.key.as_deref() == Some(KEY);
        match call.operation.as_str() {
            "GetObject" if is_archive => self.bytes_read += call.bytes_out,
            "PutObject" | "UploadPart" if is_live => self.bytes_written += call.bytes_in,
            _ => {}
        }
        *self.calls.entry(call.operation.clone()).or_default() += 1;
    }

    /// Whether an operation writes to a bucket.
    pub fn is_write(operation: &str) -> bool {
        matches!(operation, "PutObject" | "CopyObject" | "UploadPart" | "UploadPartCopy")
    }
}
