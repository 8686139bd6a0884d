//! In-memory stand-ins for the AWS services that dropship uses.
//!
//! A [`Cloud`] is an account with S3, CloudFront and DynamoDB behind one HTTP endpoint on the loopback interface. The
//! real SDK clients talk to it. Tests arrange it directly (buckets, foreign writers, faults, a gate), and read back
//! what the clients did: the objects, the calls in order, the accepted invalidations, and what an emulated edge cache
//! answers to a viewer. A [`Function`] runs a Lambda function's executable against a minimal Runtime API.
//!
//! # Map
//!
//! - `cloud`: the account, and everything that a test does to it
//! - `server`: the way of a call from the socket through gate, faults and authorizer to its service
//! - `s3` and `bucket`, `cloudfront` and `edge`, `dynamodb`, `lambda`: the services
//! - `calls`: what the clients asked for
//! - `faults`, `latency`, `gate`: what goes wrong, how long answers take, and in which order calls take effect
//! - [`quine`]: an archive that contains itself

mod bucket;
mod calls;
mod cloud;
mod cloudfront;
mod dynamodb;
mod edge;
mod faults;
mod gate;
mod lambda;
mod latency;
pub mod quine;
mod s3;
mod server;

pub use bucket::{Buckets, Checksum, Etags, Headers, Object, Part, Upload, Version, Versioning};
pub use calls::{Call, Observer, Service};
pub use cloud::{Authorizer, Cloud};
pub use cloudfront::{CustomError, Distribution, Domain, Invalidation, Origin, ReferenceConflict};
pub use edge::{Edge, EdgeAnswer};
pub use faults::{Does, Fault};
pub use gate::{Gate, Waiting};
pub use lambda::{Function, InvocationError};

/// The region of everything.
pub const REGION: &str = "us-east-1";

/// The secret of every access key id. The access key id names the client.
pub const SECRET: &str = "secret";

/// The client of [`Cloud::sdk_config`] and [`Cloud::environment`].
pub const CLIENT: &str = "client";
