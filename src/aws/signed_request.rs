//! Signed requests to S3, without the SDK's operations: for requests that a deployment makes by the thousand, and for
//! answers with thousands of lines.
//!
//! An operation of the SDK takes several times the CPU of its signature and its HTTP together
//! (`docs/performance.md`). Here the SDK's signer signs a request for the endpoint that the SDK resolves, with its
//! credentials, and the request goes out over the SDK's connections. Only a success counts, and for a
//! write a condition that does not hold. After anything else the caller uses the SDK's own operation, which repeats the
//! request, interprets the answer, and knows when to retry. The caller boxes that operation: it is a future of 6 KiB and
//! rarely needed.

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
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::sync::Mutex;

/// Encodes all of a key except unreserved characters and slashes (S3 API, "Signature Calculations", `UriEncode`).
const KEY_ENCODE_SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

const USER_AGENT: &str = concat!("dropship/", env!("CARGO_PKG_VERSION"));

/// Credentials that expire sooner than this are renewed.
const MIN_VALIDITY: Duration = Duration::from_secs(60);

/// Sends signed requests. Clones share the endpoints that they have resolved.
#[derive(Clone)]
pub struct SignedRequests {
    s3: aws_sdk_s3::Client,
    connector: SharedHttpConnector,
    credentials: Option<SharedCredentialsProvider>,
    endpoints_by_bucket: Arc<Mutex<HashMap<String, Arc<Endpoint>>>>,
}

/// Where a bucket is, and the credentials for it.
struct Endpoint {
    /// The address of the key "".
    address: String,
    region: String,
    identity: Identity,
    expires_at: Option<SystemTime>,
}

/// Names and values, the names in lower case.
pub(super) type HttpHeaders<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Returns the headers that have a value.
pub(super) fn with_values<'a, const N: usize>(headers: [(&'static str, Option<&'a str>); N]) -> HttpHeaders<'a> {
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
        Self { s3, connector, credentials, endpoints_by_bucket: Arc::default() }
    }

    /// Returns requests over other connections, to the same endpoints.
    pub fn over(&self, connector: SharedHttpConnector) -> Self {
        Self { connector, ..self.clone() }
    }

    /// Sends one request for a key, or with the key "" for the bucket. The query string is encoded, or empty.
    ///
    /// Returns any answer, or `None` if the request could not be sent.
    pub async fn send(
        &self,
        method: &'static str,
        (bucket, key, query): (&str, &str, &str),
        headers: HttpHeaders<'_>,
        body: impl Into<SdkBody>,
    ) -> Option<HttpResponse> {
        let endpoint = self.endpoint(bucket).await?;
        let request = endpoint.request(method, (key, query), headers, body)?;
        self.connector.call(request).await.ok()
    }

    /// Resolves all endpoints again, because the SDK's client has learned of another region.
    pub async fn forget_endpoints(&self) {
        self.endpoints_by_bucket.lock().await.clear();
    }

    async fn endpoint(&self, bucket: &str) -> Option<Arc<Endpoint>> {
        let mut endpoints = self.endpoints_by_bucket.lock().await;
        if let Some(endpoint) = endpoints.get(bucket).filter(|endpoint| endpoint.is_valid()) {
            return Some(endpoint.clone());
        }
        let endpoint = Arc::new(Box::pin(self.resolve(bucket)).await?);
        endpoints.insert(bucket.to_owned(), endpoint.clone());
        Some(endpoint)
    }

    /// Has the SDK presign an address, which is never requested, to learn its endpoint and region.
    async fn resolve(&self, bucket: &str) -> Option<Endpoint> {
        const KEY: &str = "key";
        let credentials = self.credentials.as_ref()?.provide_credentials().await.ok()?;
        let validity = PresigningConfig::expires_in(MIN_VALIDITY).ok()?;
        let request = self.s3.get_object().bucket(bucket).key(KEY);
        let request = request.presigned(validity).await.ok()?;
        let (address, query) = request.uri().split_once('?')?;
        Some(Endpoint {
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

impl Endpoint {
    fn is_valid(&self) -> bool {
        let soon = SystemTime::now() + MIN_VALIDITY;
        self.expires_at.is_none_or(|expires_at| expires_at > soon)
    }

    fn request(
        &self,
        method: &'static str,
        (key, query): (&str, &str),
        headers: HttpHeaders<'_>,
        body: impl Into<SdkBody>,
    ) -> Option<HttpRequest> {
        let key = utf8_percent_encode(key, KEY_ENCODE_SET);
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
        // The CRC-32 among the signed headers vouches for the body, so that it needs no SHA-256.
        let to_sign = SignableRequest::new(
            method,
            address.as_str(),
            headers.iter().map(|(name, value)| (&**name, &**value)),
            SignableBody::UnsignedPayload,
        );
        let (signature, _) = sign(to_sign.ok()?, &parameters).ok()?.into_parts();
        let mut request = HttpRequest::new(body.into());
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

/// Returns the region of a presigned address of S3, if the SDK signs it in the same way as [`Endpoint::request`].
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
    // The parts are key id, date, region, service and "aws4_request".
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
    fn other_signatures_are_left_to_the_sdk() {
        let other_algorithm =
            "X-Amz-Algorithm=AWS4-ECDSA-P256-SHA256&X-Amz-Credential=AKID%2F20261122%2Fs3%2Faws4_request";
        assert_eq!(signing_region(other_algorithm), None);
        let directory_bucket =
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20261122%2Feu-north-1%2Fs3express%2Faws4_request";
        assert_eq!(signing_region(directory_bucket), None);
    }
}
