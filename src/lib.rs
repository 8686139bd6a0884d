//! Deploys a static site from a zip on S3 to a live bucket behind CloudFront.
//!
//! [`handler`] reads an [`event`] and deploys the uploads that it names. [`deploy::deploy`] is the course of one
//! upload, top to bottom:
//!
//! 1. It reads the index of the [`archive`], and claims the site in the ledger by the rules of [`deployment`].
//! 2. It compares archive and live bucket. The [`plan`] is made from the [`listing`] and the [`manifest`], with the
//!    [`headers`] that each object gets.
//! 3. It records the [`invalidation`]s that it will owe, moves the bytes ([`transfer`]), sends the invalidations, and
//!    deletes.
//! 4. It answers with a [`report`], which is also the log line that CloudWatch extracts [`metrics`] from.
//!
//! Only [`aws`] names types of the AWS SDK. Apart from `handler`, `deploy`, `transfer` and `aws`, all modules are pure.

#![warn(unreachable_pub)]

pub mod archive;
pub mod aws;
pub mod cache_tag;
pub mod config;
pub mod cut;
pub mod deploy;
pub mod deployment;
pub mod error;
pub mod etag;
pub mod event;
pub mod handler;
pub mod headers;
pub mod invalidation;
pub mod key;
pub mod listing;
pub mod log;
pub mod manifest;
pub mod metrics;
pub mod packed_map;
pub mod patterns;
pub mod plan;
pub mod preview;
pub mod printable;
pub mod report;
pub mod transfer;
