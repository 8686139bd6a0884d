//! The queue of failed events.

use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName};

use super::Operator;
use crate::aws::response::failed;
use crate::error::Error;

/// The most messages that one request receives (SQS API, `ReceiveMessage`).
const MAX_RECEIVED: i32 = 10;

/// How long a received message is hidden from others, in seconds: longer than a command is at work on the queue.
const HIDDEN_SECONDS: i32 = 120;

/// An event whose last attempt has failed.
#[derive(Clone, Debug)]
pub struct FailedEvent {
    /// SQS's handle for deleting it. It is valid until the event is received again.
    pub receipt: String,
    /// The event as it came.
    pub body: String,
    /// The error's message, as Lambda tells it (Lambda developer guide, "Using dead-letter queues").
    pub error_message: Option<String>,
    /// When it came to the queue, in milliseconds since 1970.
    pub sent_at: Option<i64>,
}

impl Operator {
    /// Receives what is in the queue. Each event is hidden from others for two minutes, or until it is put back.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn failed_events(&self, queue_arn: &str) -> Result<Vec<FailedEvent>, Error> {
        let url = self.queue_url(queue_arn).await?;
        let mut events = Vec::new();
        loop {
            let request = self.sqs.receive_message().queue_url(&url).max_number_of_messages(MAX_RECEIVED);
            let request = request.visibility_timeout(HIDDEN_SECONDS).wait_time_seconds(1);
            let request = request.message_attribute_names("All");
            let answer = request.message_system_attribute_names(MessageSystemAttributeName::SentTimestamp).send().await;
            let messages = answer.map_err(|error| failed("reading the queue of failed events", error))?.messages;
            let messages = messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok(events);
            }
            events.extend(messages.into_iter().map(|message| {
                let attributes = message.message_attributes.unwrap_or_default();
                let error = attributes.get("ErrorMessage").and_then(MessageAttributeValue::string_value);
                let system = message.attributes.unwrap_or_default();
                let sent_at = system.get(&MessageSystemAttributeName::SentTimestamp).and_then(|at| at.parse().ok());
                FailedEvent {
                    receipt: message.receipt_handle.unwrap_or_default(),
                    body: message.body.unwrap_or_default(),
                    error_message: error.map(str::to_owned),
                    sent_at,
                }
            }));
        }
    }

    /// Returns how many events are in the queue, with those that someone has just received.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn failed_event_count(&self, queue_arn: &str) -> Result<u64, Error> {
        use QueueAttributeName::{ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible};
        let names = [ApproximateNumberOfMessages, ApproximateNumberOfMessagesNotVisible];
        let url = self.queue_url(queue_arn).await?;
        let request = self.sqs.get_queue_attributes().queue_url(url).set_attribute_names(Some(names.to_vec()));
        let answer = request.send().await.map_err(|error| failed("counting the failed events", error))?;
        let attributes = answer.attributes.unwrap_or_default();
        let counts = names.iter().filter_map(|name| attributes.get(name)?.parse::<u64>().ok());
        Ok(counts.sum())
    }

    /// Deletes an event from the queue.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn delete_failed_event(&self, queue_arn: &str, event: &FailedEvent) -> Result<(), Error> {
        let url = self.queue_url(queue_arn).await?;
        let request = self.sqs.delete_message().queue_url(url).receipt_handle(&event.receipt);
        let deleted = request.send().await.map(drop);
        deleted.map_err(|error| failed("deleting from the queue of failed events", error))
    }

    /// Puts an event back, so that the next command finds it.
    ///
    /// # Errors
    /// `Aws`.
    pub async fn put_back_failed_event(&self, queue_arn: &str, event: &FailedEvent) -> Result<(), Error> {
        let url = self.queue_url(queue_arn).await?;
        let request = self.sqs.change_message_visibility().queue_url(url).receipt_handle(&event.receipt);
        let shown = request.visibility_timeout(0).send().await.map(drop);
        shown.map_err(|error| failed("putting an event back into the queue of failed events", error))
    }

    async fn queue_url(&self, queue_arn: &str) -> Result<String, Error> {
        let name = queue_arn.rsplit(':').next().unwrap_or_default();
        let answer = self.sqs.get_queue_url().queue_name(name).send().await;
        let answer = answer.map_err(|error| failed(format!("finding the queue {name}"), error))?;
        Ok(answer.queue_url.unwrap_or_default())
    }
}
