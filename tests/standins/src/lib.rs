//! In-memory stand-ins for the AWS services that dropship uses.
//!
//! A [`Cloud`] is an account with S3, CloudFront, DynamoDB and the services of an operator's tools behind one HTTP endpoint on
//! the loopback interface. The real SDK clients talk to it. A test arranges it (buckets, writes of other programs, faults, a gate) and then reads
//! what the clients did: the objects, the calls in order, the accepted invalidations, and the answers of an emulated
//! edge cache. A [`Function`] runs the executable of a Lambda function against a minimal Runtime API.
//!
//! | module | contents |
//! |---|---|
//! | `cloud` | the account, with everything that a test can do to it |
//! | `server`, `dispatch`, `response` | connections; the way of a call through gate, faults and service; its answer |
//! | `call`, `call_log` | a client's request, and all of them in order |
//! | `clock`, `network` | a virtual clock; a network without sockets, on which calls take virtual time |
//! | `faults`, `gate`, `latency` | which calls fail, in which order calls take effect, how long answers take |
//! | `storage` | buckets and objects |
//! | `s3` | S3's API over the storage |
//! | `cloudfront`, `edge` | distributions and invalidations; the cache that viewers see |
//! | `dynamodb` | tables |
//! | `lambda` | a function's process and its Runtime API |
//! | `function` | Lambda's own API of a function in this process, S3's events for it, the queue of those that failed |
//! | `cloudwatch`, `iam` | alarms; the simulation of a role's rights |
//! | `pattern`, `cbor`, `xml` | patterns with `*` for keys and paths; values in CBOR; text in XML |
//! | [`quine`] | an archive that contains itself |
//!
//! It depends on no type of dropship.

#![warn(unreachable_pub)]

mod call;
mod call_log;
mod cbor;
mod clock;
mod cloud;
mod cloudfront;
mod cloudwatch;
mod dispatch;
mod dynamodb;
mod edge;
mod faults;
mod function;
mod gate;
mod iam;
mod lambda;
mod latency;
mod network;
mod pattern;
pub mod quine;
mod response;
mod s3;
mod server;
mod storage;
mod xml;

pub use call::{Call, Service};
pub use call_log::Observer;
pub use clock::VirtualClock;
pub use cloud::{Authorizer, Cloud};
pub use cloudfront::{
    CustomError, Distribution, Domain, IndexFunction, Invalidation, Origin, QueryStrings, Quota, ReferenceConflict,
};
pub use cloudwatch::Alarm;
pub use edge::{Begun, Edge, EdgeAnswer, EdgeFunctions, Fetch, Spelling, Spread};
pub use faults::{Does, Fault};
pub use function::{Answer, Handler, upload_event};
pub use gate::{Gate, Waiting};
pub use lambda::{Function, InvocationError};
pub use network::{Latencies, Latency};
pub use s3::Misdirected;
pub use storage::{
    BucketSettings, Checksum, Etags, Expiry, Headers, MultipartUpload, Object, UploadedPart, Version, Versioning,
};

/// The region of all services.
pub const REGION: &str = "us-east-1";

/// The secret of every access key id. The access key id is the name of the client.
pub const SECRET: &str = "secret";

/// The client of [`Cloud::sdk_config`] and [`Cloud::environment`].
pub const CLIENT: &str = "client";
