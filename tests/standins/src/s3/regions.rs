//! The regions of buckets, and the answers to requests that were sent to another one.
//!
//! All regions share one endpoint. A request counts as sent to the region that it is signed for.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use hyper::Method;
use hyper::Response;
use hyper::http::request::Parts;
use s3s::Body;

use crate::call::signing_region;
use crate::response::error;
use crate::{Call, REGION, Service};

/// How S3 refuses a request that was sent to another region than the bucket's.
///
/// `HeadBucket` always tells the region in the header `x-amz-bucket-region` (S3 API, `GetBucketLocation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirected {
    /// 301 `PermanentRedirect`, also with the header.
    Redirect,
    /// 400 `AuthorizationHeaderMalformed`, from us-east-1 (aws/aws-sdk-java-v2#4425).
    Malformed,
    /// 400 `IllegalLocationConstraintException`, for regions launched after March 20, 2019 (S3 API, "Request routing";
    /// boto/boto3#2728).
    Illegal,
    /// The same, and `HeadBucket` does not tell the region. AWS promises that it does.
    Untold,
}

impl Misdirected {
    fn status(self) -> u16 {
        match self {
            Self::Redirect => 301,
            _ => 400,
        }
    }

    fn tells_region(self, operation: &str) -> bool {
        match self {
            Self::Redirect => true,
            Self::Malformed | Self::Illegal => operation == "HeadBucket",
            Self::Untold => false,
        }
    }

    fn error(self, sent_to: &str, home: &str) -> (&'static str, String) {
        match self {
            Self::Redirect => (
                "PermanentRedirect",
                "The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.".to_owned(),
            ),
            Self::Malformed => (
                "AuthorizationHeaderMalformed",
                format!("The authorization header is malformed; the region '{sent_to}' is wrong; expecting '{home}'"),
            ),
            Self::Illegal | Self::Untold => (
                "IllegalLocationConstraintException",
                format!("The {home} location constraint is incompatible for the region specific endpoint this request was sent to."),
            ),
        }
    }
}

/// The buckets that are not in [`REGION`].
#[derive(Default)]
pub(crate) struct Regions {
    by_bucket: Mutex<HashMap<String, (String, Misdirected)>>,
}

impl Regions {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (String, Misdirected)>> {
        self.by_bucket.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn set(&self, bucket: &str, region: &str, misdirected: Misdirected) {
        self.lock().insert(bucket.to_owned(), (region.to_owned(), misdirected));
    }

    /// Returns the answer to a call that was sent to another region than the bucket's.
    pub(crate) fn refusal(&self, call: &Call, parts: &Parts) -> Option<Response<Body>> {
        let (home, misdirected) = self.lock().get(call.bucket.as_deref()?)?.clone();
        let sent_to = signing_region(parts).unwrap_or_else(|| REGION.to_owned());
        if sent_to == home {
            return None;
        }
        let (code, message) = misdirected.error(&sent_to, &home);
        let mut answer = error(Service::S3, misdirected.status(), code, &message);
        if parts.method == Method::HEAD {
            *answer.body_mut() = Body::empty();
        }
        if misdirected.tells_region(&call.operation) {
            let home = home.parse().expect("a region's name is a header value");
            answer.headers_mut().insert("x-amz-bucket-region", home);
        }
        Some(answer)
    }
}
