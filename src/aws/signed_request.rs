//! Requests of S3 that a deployment makes by the thousand, or that answer by the thousand, without the machinery
//! that the SDK puts around each.
//!
//! An operation of the SDK takes several times the CPU of its signature and its HTTP together
//! (`docs/performance.md`). Here a request is signed by the SDK's signer, for the endpoint that the SDK resolves,
//! with its credentials, and sent over its connections. Only a success counts. Whatever else comes back is left to
//! the SDK's own operation, which asks anew and knows what an answer means and when it is worth another attempt.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_s3::config::http::{HttpRequest, HttpResponse};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::SdkBody;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::sync::Mutex;

/// What stays as it is in a key's path (S3 API, "Signature Calculations", `UriEncode`).
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

const USER_AGENT: &str = concat!("dropship/", env!("CARGO_PKG_VERSION"));

/// Credentials that end so soon are asked for anew.
const LEAST_TIME_LEFT: Duration = Duration::from_secs(60);

/// The way around the SDK's operations. Clones share what they have learnt.
#[derive(Clone)]
pub struct SignedRequests {
    s3: aws_sdk_s3::Client,
    connector: SharedHttpConnector,
    credentials: Option<SharedCredentialsProvider>,
    /// By bucket.
    targets: Arc<Mutex<HashMap<String, Arc<Target>>>>,
}

/// Where a bucket is, and as whom it is spoken to.
struct Target {
    /// The address of the key "".
    address: String,
    region: String,
    identity: Identity,
    expires_at: Option<SystemTime>,
}

/// Names and values, the names in lower case.
pub type HttpHeaders<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Those headers that have a value.
pub fn with_values<'a, const N: usize>(headers: [(&'static str, Option<&'a str>); N]) -> HttpHeaders<'a> {
    let headers = headers.into_iter();
    let headers = headers.filter_map(|(name, value)| Some((name.into(), value?.into())));
    headers.collect()
}

impl SignedRequests {
    pub fn new(
        s3: aws_sdk_s3::Client,
        connector: SharedHttpConnector,
        credentials: Option<SharedCredentialsProvider>,
    ) -> Self {
        Self { s3, connector, credentials, targets: Arc::default() }
    }

    /// Sends one request about a key, or with the key "" about the bucket, with an encoded query string or an
    /// empty one; gives whatever is answered, and nothing when it could not be sent.
    pub async fn send(
        &self,
        method: &'static str,
        (bucket, key, query): (&str, &str, &str),
        headers: HttpHeaders<'_>,
        body: Bytes,
    ) -> Option<HttpResponse> {
        let target = self.target(bucket).await?;
        let request = target.request(method, (key, query), headers, body)?;
        self.connector.call(request).await.ok()
    }

    async fn target(&self, bucket: &str) -> Option<Arc<Target>> {
        let mut targets = self.targets.lock().await;
        let is_good = |target: &&Arc<Target>| {
            let soon = SystemTime::now() + LEAST_TIME_LEFT;
            target.expires_at.is_none_or(|expires_at| expires_at > soon)
        };
        if let Some(target) = targets.get(bucket).filter(is_good) {
            return Some(target.clone());
        }
        let target = Arc::new(self.resolve(bucket).await?);
        targets.insert(bucket.to_owned(), target.clone());
        Some(target)
    }

    /// Lets the SDK sign an address, which nobody is asked for, to see where and how it would send.
    async fn resolve(&self, bucket: &str) -> Option<Target> {
        const KEY: &str = "key";
        let credentials = self.credentials.as_ref()?.provide_credentials().await.ok()?;
        let validity = PresigningConfig::expires_in(LEAST_TIME_LEFT).ok()?;
        let request = self.s3.get_object().bucket(bucket).key(KEY);
        let request = request.presigned(validity).await.ok()?;
        let (address, query) = request.uri().split_once('?')?;
        Some(Target {
            address: address.strip_suffix(KEY)?.to_owned(),
            region: signing_region(query)?,
            expires_at: credentials.expiry(),
            identity: credentials.into(),
        })
    }
}

impl fmt::Debug for SignedRequests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SignedRequests")
    }
}

impl Target {
    fn request(
        &self,
        method: &'static str,
        (key, query): (&str, &str),
        headers: HttpHeaders<'_>,
        body: Bytes,
    ) -> Option<HttpRequest> {
        let key = utf8_percent_encode(key, KEY);
        let address = format!("{}{key}{query}", self.address);
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let parameters = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .ok()?
            .into();
        // A body goes out with its CRC-32 among the signed headers: no SHA-256 of it is needed besides.
        let to_sign = SignableRequest::new(
            method,
            address.as_str(),
            headers.iter().map(|(name, value)| (&**name, &**value)),
            SignableBody::UnsignedPayload,
        );
        let (signature, _) = sign(to_sign.ok()?, &parameters).ok()?.into_parts();
        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method(method).ok()?;
        request.set_uri(address).ok()?;
        let into = request.headers_mut();
        into.try_insert("user-agent", USER_AGENT).ok()?;
        for (name, value) in headers {
            into.try_insert(name.into_owned(), value.into_owned()).ok()?;
        }
        for header in signature.into_parts().0 {
            into.try_insert(header.name(), header.value().to_owned()).ok()?;
        }
        Some(request)
    }
}

/// The region in a signed address of S3, where that was signed as [`Target::request`] does it.
fn signing_region(query: &str) -> Option<String> {
    let value = |wanted: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == wanted);
        let (_, value) = values.next()?;
        percent_decode_str(value).decode_utf8().ok()
    };
    if value("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return None;
    }
    // Key id, date, region, service, "aws4_request".
    let credential = value("X-Amz-Credential")?;
    let mut scope = credential.rsplit('/').skip(1);
    let (service, region) = (scope.next()?, scope.next()?);
    (service == "s3").then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_the_one_that_the_sdk_signs_for() {
        let query = "x-id=GetObject&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261122%2Feu-north-1%2Fs3%2Faws4_request&X-Amz-Date=20261122T101500Z";
        assert_eq!(signing_region(query).as_deref(), Some("eu-north-1"));
    }

    #[test]
    fn what_is_signed_in_another_way_is_left_to_the_sdk() {
        let other_algorithm =
            "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKID%2F20261122%2Fs3%2Faws4_request";
        assert_eq!(signing_region(other_algorithm), None);
        let directory_bucket =
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261122%2Feu-north-1%2Fs3express%2Faws4_request";
        assert_eq!(signing_region(directory_bucket), None);
    }
}
