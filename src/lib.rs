//! Deploys a static site from a zip on S3 to a live bucket behind CloudFront.
//!
//! [`deploy::deploy`] is the whole path, top to bottom. It reads the [`archive`]'s index, claims the site in
//! the ledger (the rules are in [`deployment`]), compares archive and bucket ([`plan`], with the help of the
//! [`manifest`]), records the [`invalidation`]s that it will owe, writes, invalidates, deletes, and answers
//! with a [`report`]. These modules are pure. [`transfer`] moves the bytes, and all traffic with AWS is in [`aws`].
//!
//! [`handler`] stands in front of it: it reads the [`event`] and deploys what the event names. What it logs is
//! also what CloudWatch makes [`metrics`] of.

pub mod archive;
pub mod aws;
pub mod cache_tag;
pub mod config;
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
pub mod manifest;
pub mod metrics;
pub mod packed_map;
pub mod plan;
pub mod report;
pub mod transfer;
