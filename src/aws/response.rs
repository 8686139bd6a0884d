//! Reads the parts of an answer that all clients need: errors, statuses and ETags.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::region::is_elsewhere;
use crate::error::Error;

/// How long a read of a body waits for the next bytes. The connector's own timeout covers an answer only up to the end
/// of its headers.
pub(super) const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Returns the error of an operation that failed. The SDK has already repeated what is worth repeating.
pub(super) fn failed<E>(what: impl Into<String>, error: SdkError<E>) -> Error
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let mut reason = match (error.code(), error.message(), status(&error)) {
        (Some(code), Some(message), _) => format!("{code}: {message}"),
        (Some(code), None, _) => code.to_owned(),
        // The answer to a HEAD has no body.
        (None, _, Some(status)) if status >= 300 => format!("the answer has status {status}"),
        _ => causes(&error),
    };
    if is_elsewhere(&error) {
        reason.push_str(" (the bucket is in another region than the function: install the stack in the bucket's)");
    }
    Error::Aws { what: what.into(), reason, source: Some(Box::new(error)) }
}

/// Returns an error's text with those of its causes in one line, each once.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = Vec::new();
    for error in chain {
        let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        // Many an error repeats the text of its cause.
        if !texts.iter().any(|earlier| earlier.contains(&text)) {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// Returns the HTTP status of the service's answer, if there was one.
pub(super) fn status<E>(error: &SdkError<E, aws_sdk_s3::config::http::HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Returns an ETag without the quotes that S3's answers put around it.
pub(super) fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}
