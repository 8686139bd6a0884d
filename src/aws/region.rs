//! Finds the live bucket if it is in another region than the function.
//!
//! S3 refuses a request that is sent to another region than the bucket's (S3 API, "Request routing"). Only then is the
//! region asked for, so a bucket in the function's region costs no request.

use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, Region};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};

use super::bucket::Bucket;
use super::response::status;

/// The region to send a client's requests to instead of the function's, once it is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct BucketRegion {
    region: Arc<RwLock<Option<Region>>>,
}

impl BucketRegion {
    fn set(&self, region: Region) {
        *self.region.write().unwrap_or_else(PoisonError::into_inner) = Some(region);
    }
}

impl Intercept for BucketRegion {
    fn name(&self) -> &'static str {
        "BucketRegion"
    }

    /// Comes before the SDK derives the endpoint and the signature's region from the configuration.
    fn read_before_execution(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(region) = self.region.read().unwrap_or_else(PoisonError::into_inner).clone() {
            config.interceptor_state().store_put(region);
        }
        Ok(())
    }
}

impl Bucket {
    /// Sends a request, and once more if S3 says that the bucket is in another region.
    ///
    /// Only requests that may be a function's first to the bucket need this.
    pub(super) async fn in_its_region<T, E: ProvideErrorMetadata>(
        &self,
        send: impl AsyncFn() -> Result<T, SdkError<E>>,
    ) -> Result<T, SdkError<E>> {
        match send().await {
            Err(error) if is_elsewhere(&error) && Box::pin(self.find_region()).await => send().await,
            result => result,
        }
    }

    /// Asks S3 for the bucket's region. Returns whether it says.
    ///
    /// "Calls to the `HeadBucket` operation always return the bucket's location through an HTTP response header,
    /// whether access to the bucket is authorized or not" (S3 API, `GetBucketLocation`).
    async fn find_region(&self) -> bool {
        let request = self.s3.head_bucket().bucket(&self.name);
        let region = match request.set_expected_bucket_owner(self.account_id.clone()).send().await {
            Ok(answer) => answer.bucket_region,
            Err(error) => error
                .raw_response()
                .and_then(|response| response.headers().get("x-amz-bucket-region"))
                .map(str::to_owned),
        };
        let Some(region) = region else {
            return false;
        };
        tracing::info!(%region, "the live bucket is in another region than the function");
        self.region.set(Region::new(region));
        self.signed.forget_endpoints().await;
        true
    }
}

/// Whether S3 refuses a request because the bucket is in another region.
pub(super) fn is_elsewhere<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let code = error.code();
    // The answer to a HEAD has no code. From us-east-1 S3 calls the signature malformed, and regions launched after
    // March 20, 2019 get an illegal location constraint instead of a redirect.
    matches!(status(error), Some(301 | 307))
        || matches!(code, Some("AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_s3::config::{BehaviorVersion, Credentials};
    use aws_sdk_s3::presigning::PresigningConfig;

    use super::*;

    #[tokio::test]
    async fn requests_go_to_the_region_that_was_found_and_are_signed_for_it() {
        let region = BucketRegion::default();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "test"))
            .interceptor(region.clone());
        let s3 = aws_sdk_s3::Client::from_conf(config.build());
        for (found, host) in [(None, "live.s3.us-east-1."), (Some("eu-west-1"), "live.s3.eu-west-1.")] {
            if let Some(found) = found {
                region.set(Region::from_static(found));
            }
            let validity = PresigningConfig::expires_in(Duration::from_secs(60)).unwrap();
            let request = s3.get_object().bucket("live").key("a").presigned(validity).await.unwrap();
            let address = request.uri();
            assert!(address.starts_with(&format!("https://{host}amazonaws.com/a?")), "{address}");
            let scope = format!("%2F{}%2Fs3%2Faws4_request", found.unwrap_or("us-east-1"));
            assert!(address.contains(&scope), "{address}");
        }
    }
}
