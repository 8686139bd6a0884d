//! Refusals of a request, in DynamoDB's words.

use hyper::Response;
use s3s::Body;
use serde_json::{Value, json};

use crate::response::response;

#[derive(Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Of a cancelled transaction: for each of its actions, whether the condition did not hold.
    pub(super) unmet: Vec<bool>,
}

/// Refuses a request that is wrong, or that asks for more than this stand-in can do.
pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    refusal("ValidationException", message)
}

pub(super) fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into(), unmet: Vec::new() }
}

impl Refusal {
    pub(super) fn condition_is_false() -> Self {
        refusal("ConditionalCheckFailedException", "The conditional request failed")
    }

    pub(super) fn is_condition_false(&self) -> bool {
        self.code == "ConditionalCheckFailedException"
    }

    /// Cancels a transaction because of the conditions that do not hold.
    pub(super) fn cancelled(unmet: Vec<bool>) -> Self {
        let codes: Vec<&str> = unmet.iter().map(|unmet| code_of_reason(*unmet)).collect();
        let message = format!(
            "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
            codes.join(", ")
        );
        Self { unmet, ..refusal("TransactionCanceledException", message) }
    }

    pub(super) fn response(self) -> Response<Body> {
        let code = format!("com.amazonaws.dynamodb.v20120810#{}", self.code);
        let mut body = json!({"__type": code});
        if self.unmet.is_empty() {
            body["message"] = self.message.into();
        } else {
            // This error's member is written with a capital letter.
            body["Message"] = self.message.into();
            body["CancellationReasons"] = self.unmet.into_iter().map(reason).collect();
        }
        response(400, "application/x-amz-json-1.0", body.to_string())
    }
}

fn code_of_reason(is_unmet: bool) -> &'static str {
    if is_unmet { "ConditionalCheckFailed" } else { "None" }
}

fn reason(is_unmet: bool) -> Value {
    let mut reason = json!({"Code": code_of_reason(is_unmet)});
    if is_unmet {
        reason["Message"] = "The conditional request failed".into();
    }
    reason
}
