//! One binary for all integration tests, so that the SDK links once.

mod archive;
mod clients;
mod crash;
mod deletes;
mod deployments;
mod edge;
mod events;
mod faults;
mod headers;
mod interleaving;
mod ministack;
mod packers;
mod policy;
mod quine;
mod runtime;
mod runtime_api;
mod settled;
mod stage;
mod strangers;
mod support;
mod support_test;
mod sweep;
mod tags;
mod template;
mod zipped;
