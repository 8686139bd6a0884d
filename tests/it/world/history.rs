//! The history of a world, as far as the checks and the story need it.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::contents::Build;
use super::previews::Previews;
use crate::stage::STAGING;

/// Failures that mean what they say, however often an event is sent.
const REFUSALS: [&str; 4] = ["ArchiveRejected", "LargeDelete", "BadEvent", "ArchiveGone"];

/// The history so far.
#[derive(Default)]
pub struct History {
    pub uploads: Vec<Uploaded>,
    pub requests: Vec<Request>,
    /// Every change of the live deployment, the oldest first.
    pub takes: Vec<Take>,
    pub answers: Vec<Answer>,
    /// When a foreign hand last touched a key.
    pub foreign: Vec<(DateTime<Utc>, &'static str)>,
    /// When the ledger was restored.
    pub restored: Vec<DateTime<Utc>>,
    /// Violations that were seen on the way.
    pub wrong: Vec<String>,
    /// The events, in words.
    pub story: Vec<(DateTime<Utc>, String)>,
    pub deaths: u64,
    pub previews: Previews,
}

/// An archive in the staging bucket.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// That of its deed.
    pub number: u64,
    pub key: &'static str,
    pub at: DateTime<Utc>,
    pub is_multipart: bool,
    pub version: String,
    pub etag: String,
    pub size: usize,
    pub build: Build,
}

/// An event that was sent to the function.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: String,
    pub sent: Sent,
    /// Whether the event tells the time of its upload.
    pub is_timed: bool,
    /// When it was first invoked.
    pub invoked_at: Option<DateTime<Utc>>,
}

/// The sender of an event, and the reason.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// S3, for an upload.
    Delivery(u64),
    /// A person who means this upload.
    Word(u64),
    /// A person who means the deployment before.
    Previous,
    /// A person who sends a failed event again.
    Redrive(Box<Sent>),
    Sweep,
    /// S3, for an upload to a preview.
    Preview(&'static str),
}

/// A change of the live deployment.
#[derive(Clone, Debug)]
pub struct Take {
    pub at: DateTime<Utc>,
    /// The number of the upload.
    pub upload: u64,
    pub run: u64,
    /// The request that claimed the run. A deployment of an upload that had waited has one of its own, `…/waiting`.
    pub request: String,
    /// All requests that have claimed it, the latest last.
    pub claimants: Vec<String>,
    /// When the request's invocation began.
    pub began: DateTime<Utc>,
}

/// The result of an invocation.
#[derive(Clone, Debug)]
pub struct Answer {
    pub at: DateTime<Utc>,
    pub request: String,
    pub began: DateTime<Utc>,
    pub result: Result<Vec<Outcome>, (String, String)>,
}

/// A deployment of an answer.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether it is a preview's.
    pub of_preview: bool,
    pub id: Option<String>,
    pub run: u64,
    pub outcome: String,
}

impl Uploaded {
    /// Returns what ends the ids of its deployments, whichever time an event gives it.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for field in [STAGING, self.key, &self.version, ""] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hex::encode(&hash.finalize()[..6])
    }

    /// Whether it counts as newer than another upload, however their times are told: EventBridge knows only seconds.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.at.timestamp() > other.at.timestamp()
    }
}

impl History {
    pub fn upload(&self, number: u64) -> &Uploaded {
        self.uploads.iter().find(|upload| upload.number == number).expect("it was uploaded")
    }

    /// Returns the upload of a deployment's id.
    pub fn upload_of(&self, id: &str) -> Option<&Uploaded> {
        let digest = id.rsplit('-').next()?;
        self.uploads.iter().find(|upload| upload.digest() == digest)
    }

    /// Whether the function can know by now when an upload was made: a multipart archive's Last-Modified does not say.
    pub fn is_time_known(&self, upload: u64, by: DateTime<Utc>) -> bool {
        let tells = |request: &Request| request.is_timed && request.sent.upload() == Some(upload);
        let mut answered = self.answers.iter().filter(|answer| answer.at <= by && answer.result.is_ok());
        !self.upload(upload).is_multipart || answered.any(|answer| self.request(&answer.request).is_some_and(tells))
    }

    /// Whether the last answer to a request refuses it for what it says.
    pub fn is_refused(&self, request: &str) -> bool {
        let last = self.answers.iter().rev().find(|answer| answer.request == request);
        last.is_some_and(|answer| matches!(&answer.result, Err((kind, _)) if REFUSALS.contains(&kind.as_str())))
    }

    pub fn request(&self, id: &str) -> Option<&Request> {
        // A deployment on behalf of one that waited has a request of its own.
        let id = id.split('/').next()?;
        self.requests.iter().find(|request| request.id == id)
    }
}

impl Sent {
    /// Returns who sent the event first.
    pub fn root(&self) -> &Self {
        match self {
            Self::Redrive(sent) => sent.root(),
            sent => sent,
        }
    }

    /// Returns the upload that the event names.
    pub fn upload(&self) -> Option<u64> {
        match self {
            Self::Delivery(upload) | Self::Word(upload) => Some(*upload),
            Self::Redrive(sent) => sent.upload(),
            Self::Previous | Self::Sweep | Self::Preview(_) => None,
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivery(upload) => write!(f, "the notification of upload {upload}"),
            Self::Word(upload) => write!(f, "a person's word for upload {upload}"),
            Self::Previous => write!(f, "a person's rollback to the previous deployment"),
            Self::Redrive(sent) => write!(f, "{sent}, redriven,"),
            Self::Sweep => write!(f, "a sweep"),
            Self::Preview(name) => write!(f, "the notification of an upload to the preview {name}"),
        }
    }
}
