//! The stack's function: its settings, and events that a person sends it.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LastUpdateStatus, State};
use serde_json::Value;

use super::Operator;
use crate::aws::response::failed;
use crate::error::Error;

/// A function as its configuration describes it.
#[derive(Clone, Debug, Default)]
pub struct Function {
    pub name: String,
    pub arn: String,
    /// The template names the release that it belongs to here: `dropship 0.1.0`.
    pub description: String,
    pub role_arn: String,
    /// Why it cannot run, or why its last update has failed.
    pub trouble: Option<String>,
    pub variables: HashMap<String, String>,
    /// The ARN of the queue to which failed events go.
    pub dead_letter_queue: Option<String>,
}

impl Function {
    /// Reads a function's configuration; `None` if there is no such function.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn read(sdk: &SdkConfig, name: &str) -> Result<Option<Self>, Error> {
        let client = aws_sdk_lambda::Client::new(sdk);
        match client.get_function_configuration().function_name(name).send().await {
            Ok(answer) => Ok(Some(Self {
                name: name.to_owned(),
                trouble: trouble(&answer),
                arn: answer.function_arn.unwrap_or_default(),
                description: answer.description.unwrap_or_default(),
                role_arn: answer.role.unwrap_or_default(),
                variables: answer.environment.and_then(|it| it.variables).unwrap_or_default(),
                dead_letter_queue: answer.dead_letter_config.and_then(|it| it.target_arn),
            })),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(error) => Err(failed(format!("reading the function {name}"), error)),
        }
    }
}

/// Returns why a function cannot run, or why its last update has failed.
fn trouble(function: &GetFunctionConfigurationOutput) -> Option<String> {
    let reason = |reason: Option<&str>, state: &str| Some(reason.unwrap_or(state).to_owned());
    match (function.state(), function.last_update_status()) {
        (Some(State::Failed), _) => reason(function.state_reason(), "its state is Failed"),
        (_, Some(LastUpdateStatus::Failed)) => reason(function.last_update_status_reason(), "its last update failed"),
        _ => None,
    }
}

/// The answer to an event that was sent synchronously.
#[derive(Clone, Debug)]
pub enum Invoked {
    Answer(Value),
    /// The function has failed, with its error type and message.
    Failed {
        error_type: String,
        error_message: String,
    },
}

impl Operator {
    /// Sends an event to the function, and waits for its answer.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn invoke(&self, function: &str, event: &Value) -> Result<Invoked, Error> {
        let request = self.lambda.invoke().function_name(function).payload(Blob::new(event.to_string()));
        let answer = request.send().await.map_err(|error| failed(format!("invoking {function}"), error))?;
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        let payload: Value = serde_json::from_slice(&payload).unwrap_or_default();
        if answer.function_error.is_none() {
            return Ok(Invoked::Answer(payload));
        }
        let text = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        Ok(Invoked::Failed { error_type: text("errorType"), error_message: text("errorMessage") })
    }

    /// Sends an event to the function and does not wait for it; Lambda retries it as it retries S3's. Returns the
    /// request's id, which the ledger keeps with the run.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn send(&self, function: &str, event: &Value) -> Result<String, Error> {
        use aws_sdk_lambda::operation::RequestId;
        let request = self.lambda.invoke().function_name(function).invocation_type(InvocationType::Event);
        let answer = request.payload(Blob::new(event.to_string())).send().await;
        let answer = answer.map_err(|error| failed(format!("invoking {function}"), error))?;
        Ok(answer.request_id().unwrap_or_default().to_owned())
    }
}
