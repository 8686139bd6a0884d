//! Lambda's API of one function that runs in this process, S3's events for it, and the queue of its failed events.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use hyper::Response;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use s3s::Body;
use serde_json::{Value, json};

use crate::lambda::InvocationError;
use crate::response::{error, response};
use crate::storage::Object;
use crate::{Call, REGION, Service};

/// Lambda tries an asynchronous event three times in all.
const ATTEMPTS: usize = 3;

/// What the function does with an event. The first argument is the request's id, which retries keep.
pub type Handler = Arc<dyn Fn(String, Value) -> Answer + Send + Sync>;

/// The function's answer.
pub type Answer = Pin<Box<dyn Future<Output = Result<Value, InvocationError>> + Send>>;

/// The account's functions. Retries follow each other without a pause.
#[derive(Default)]
pub(crate) struct Functions {
    by_name: Mutex<HashMap<String, Arc<Deployed>>>,
    requests: AtomicUsize,
}

/// A function, its settings and its queue.
struct Deployed {
    name: String,
    variables: Vec<(String, String)>,
    /// The bucket and the folder whose uploads start it.
    uploads: (String, String),
    handler: Handler,
    description: Mutex<String>,
    failed: Mutex<Vec<Message>>,
}

/// An event whose last attempt has failed.
#[derive(Clone)]
struct Message {
    receipt: String,
    body: String,
    error_message: String,
    sent_at: i64,
    is_hidden: bool,
}

impl Functions {
    pub(crate) fn create(&self, name: &str, variables: Vec<(String, String)>, uploads: (&str, &str), handler: Handler) {
        let deployed = Deployed {
            name: name.to_owned(),
            variables,
            uploads: (uploads.0.to_owned(), uploads.1.to_owned()),
            handler,
            description: Mutex::default(),
            failed: Mutex::default(),
        };
        self.lock().insert(name.to_owned(), Arc::new(deployed));
    }

    pub(crate) fn describe(&self, name: &str, description: &str) {
        if let Some(function) = self.lock().get(name) {
            let mut described = function.description.lock().unwrap_or_else(PoisonError::into_inner);
            description.clone_into(&mut described);
        }
    }

    /// Answers a call of Lambda's API.
    pub(crate) async fn answer(&self, parts: &Parts, body: &Bytes) -> Response<Body> {
        let segments: Vec<&str> = parts.uri.path().split('/').skip(3).collect();
        let name = segments.first().copied().unwrap_or_default();
        let Some(function) = self.lock().get(name).cloned() else {
            return error(Service::Lambda, 404, "ResourceNotFoundException", &format!("Function not found: {name}"));
        };
        if segments.get(1) == Some(&"configuration") {
            return response(200, "application/json", function.configuration().to_string());
        }
        let request_id = format!("request-{}", self.requests.fetch_add(1, Ordering::Relaxed) + 1);
        let event = serde_json::from_slice(body).unwrap_or_default();
        let is_asynchronous = parts.headers.get("x-amz-invocation-type").is_some_and(|kind| kind == "Event");
        let mut answer = if is_asynchronous {
            tokio::spawn(function.try_until_it_succeeds(request_id.clone(), event));
            response(202, "application/json", "")
        } else {
            match (function.handler)(request_id.clone(), event).await {
                Ok(value) => response(200, "application/json", value.to_string()),
                Err(InvocationError { error_type, error_message }) => {
                    let body = json!({"errorType": error_type, "errorMessage": error_message});
                    let mut answer = response(200, "application/json", body.to_string());
                    answer.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
                    answer
                }
            }
        };
        let request_id = HeaderValue::from_str(&request_id).expect("it has letters and digits");
        answer.headers_mut().insert("x-amzn-requestid", request_id);
        answer
    }

    /// Sends the event of an upload to the function that waits for it.
    pub(crate) fn notify(&self, bucket: &str, key: &str, object: &Object) {
        let functions = self.lock();
        let matches = |function: &&Arc<Deployed>| function.uploads.0 == bucket && key.starts_with(&function.uploads.1);
        if let Some(function) = functions.values().find(matches) {
            let request_id = format!("event-{}", self.requests.fetch_add(1, Ordering::Relaxed) + 1);
            tokio::spawn(function.clone().try_until_it_succeeds(request_id, upload_event(bucket, key, object)));
        }
    }

    /// Answers a call of the queue's API (SQS API, JSON protocol). The queue has the name of its function.
    pub(crate) fn answer_queue(&self, parts: &Parts, body: &Bytes) -> Response<Body> {
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = match request["QueueUrl"].as_str() {
            Some(url) => url.rsplit('/').next().unwrap_or_default().to_owned(),
            None => request["QueueName"].as_str().unwrap_or_default().to_owned(),
        };
        let Some(function) = self.lock().get(&name).cloned() else {
            let code = "com.amazonaws.sqs#QueueDoesNotExist";
            return error(Service::Sqs, 400, code, "The specified queue does not exist.");
        };
        let answer = match target.rsplit('.').next().unwrap_or_default() {
            "GetQueueUrl" => json!({"QueueUrl": format!("http://sqs.invalid/000000000000/{name}")}),
            "ReceiveMessage" => {
                let messages: Vec<Value> = function.receive().iter().map(Message::received).collect();
                json!({"Messages": messages})
            }
            "GetQueueAttributes" => {
                let (hidden, visible): (Vec<bool>, Vec<bool>) =
                    function.queue().iter().map(|message| message.is_hidden).partition(|is_hidden| *is_hidden);
                json!({"Attributes": {
                    "ApproximateNumberOfMessages": visible.len().to_string(),
                    "ApproximateNumberOfMessagesNotVisible": hidden.len().to_string(),
                }})
            }
            "ChangeMessageVisibility" if request["VisibilityTimeout"] == 0 => {
                let receipt = request["ReceiptHandle"].as_str().unwrap_or_default();
                function.queue().iter_mut().filter(|it| it.receipt == receipt).for_each(|it| it.is_hidden = false);
                json!({})
            }
            "DeleteMessage" => {
                let receipt = request["ReceiptHandle"].as_str().unwrap_or_default();
                function.queue().retain(|message| message.receipt != receipt);
                json!({})
            }
            other => return error(Service::Sqs, 400, "InvalidAction", &format!("{other} is not emulated")),
        };
        response(200, "application/x-amz-json-1.0", answer.to_string())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Deployed>>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deployed {
    fn configuration(&self) -> Value {
        let variables: HashMap<&String, &String> = self.variables.iter().map(|(name, value)| (name, value)).collect();
        json!({
            "FunctionName": self.name,
            "FunctionArn": arn(&self.name),
            "Role": format!("arn:aws:iam::000000000000:role/{}", self.name),
            "Description": *self.description.lock().unwrap_or_else(PoisonError::into_inner),
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "Environment": {"Variables": variables},
            "DeadLetterConfig": {"TargetArn": format!("arn:aws:sqs:us-east-1:000000000000:{}", self.name)},
        })
    }

    async fn try_until_it_succeeds(self: Arc<Self>, request_id: String, event: Value) {
        let mut error_message = String::new();
        for _ in 0..ATTEMPTS {
            match (self.handler)(request_id.clone(), event.clone()).await {
                Ok(_) => return,
                Err(failure) => error_message = failure.error_message,
            }
        }
        let body = event.to_string();
        let sent_at = Utc::now().timestamp_millis();
        self.queue().push(Message { receipt: request_id, body, error_message, sent_at, is_hidden: false });
    }

    /// Returns up to ten messages that are not hidden, and hides them.
    fn receive(&self) -> Vec<Message> {
        let mut queue = self.queue();
        let visible = queue.iter_mut().filter(|message| !message.is_hidden).take(10);
        visible
            .map(|message| {
                message.is_hidden = true;
                message.clone()
            })
            .collect()
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Message>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Message {
    fn received(&self) -> Value {
        json!({
            "MessageId": self.receipt,
            "ReceiptHandle": self.receipt,
            "Body": self.body,
            "Attributes": {"SentTimestamp": self.sent_at.to_string()},
            "MessageAttributes": {"ErrorMessage": {"DataType": "String", "StringValue": self.error_message}},
        })
    }
}

/// Returns the ARN of a function.
pub(crate) fn arn(name: &str) -> String {
    format!("arn:aws:lambda:{REGION}:000000000000:function:{name}")
}

/// Whether a call has put an object in place.
pub(crate) fn is_upload(call: &Call) -> bool {
    matches!(call.operation.as_str(), "PutObject" | "CompleteMultipartUpload" | "CopyObject")
}

/// Returns the event that S3 sends now for an upload (S3 user guide, "Event message structure").
pub fn upload_event(bucket: &str, key: &str, object: &Object) -> Value {
    json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": bucket, "arn": format!("arn:aws:s3:::{bucket}")},
            "object": {
                "key": form_encoded(key),
                "size": object.body.len(),
                "eTag": object.etag.trim_matches('"'),
                "versionId": object.version_id,
            },
        },
    }]})
}

/// Encodes a key like a form, which is how S3 writes it in its events.
fn form_encoded(key: &str) -> String {
    let encoded = key.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'/' => char::from(byte).to_string(),
        b' ' => "+".to_owned(),
        other => format!("%{other:02X}"),
    });
    encoded.collect()
}
