//! The stand-ins, tested with the real SDK clients. One binary, so that the SDK links once.

mod account;
mod cloudfront;
mod dynamodb;
mod edge;
mod faults;
mod fetches;
mod listings;
mod multipart;
mod objects;
mod odd_requests;
mod quotas;
mod virtual_time;
