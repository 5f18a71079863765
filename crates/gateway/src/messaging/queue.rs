//! Messages to and from SQS.

use super::{Messaging, SendError};
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageAttributeValue, MessageSystemAttributeName, QueueAttributeName,
};

/// How AWS's SDKs pass a trace and its lineage on; SQS keeps it as the message's `AWSTraceHeader`.
pub(super) const TRACE_HEADER: &str = "x-amzn-trace-id";
/// Messages that SQS deletes at once.
const DELETE_MESSAGES_MAX: usize = 10;

pub(crate) use aws_sdk_sqs::types::Message;

/// `arn:PARTITION:sqs:REGION:ACCOUNT:NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueArn {
    /// All of it.
    pub(crate) arn: String,
    /// Where the queue is.
    pub(crate) region: String,
    /// Whose it is.
    pub(crate) account: String,
    /// Its name.
    pub(crate) name: String,
}

impl QueueArn {
    /// None if the text names no queue.
    pub(crate) fn parse(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", _, "sqs", region, account, name] = parts[..] else {
            return None;
        };
        let complete = !region.is_empty() && !account.is_empty() && !name.is_empty();
        complete.then(|| Self {
            arn: arn.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Whether it keeps the order of its groups.
    pub(crate) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }
}

/// One look into a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receive {
    /// Most messages, 1 to 10.
    pub(crate) messages_max: i32,
    /// How long SQS waits for the first one, seconds, 0 to 20.
    pub(crate) wait_s: i32,
}

impl Messaging {
    /// Puts a message into a queue. Attributes are name, type and value.
    pub(crate) async fn send(
        &self,
        queue: &QueueArn,
        body: &str,
        attributes: &[(&str, &str, String)],
        trace_id: &str,
    ) -> Result<(), SendError> {
        let action = || format!("send to {}", queue.arn);
        let url = self.queue_url(queue).await?;
        let client = self.queue_client(&queue.region);
        let mut send = client.send_message().queue_url(url).message_body(body);
        for (name, kind, value) in attributes {
            let value = MessageAttributeValue::builder().data_type(*kind).string_value(value);
            let value = value
                .build()
                .map_err(|error| SendError::new(action(), error.to_string()))?;
            send = send.message_attributes(*name, value);
        }
        let trace_id = trace_id.to_owned();
        let sent = send.customize().mutate_request(move |request| {
            // A trace that no header can hold is left out.
            let _ = request.headers_mut().try_insert(TRACE_HEADER, trace_id.clone());
        });
        let sent = sent.send().await;
        sent.map(drop)
            .map_err(|error| self.failed(queue, SendError::of_service(action(), &error)))
    }

    /// Takes messages out of sight for the queue's visibility timeout.
    pub(crate) async fn receive(&self, queue: &QueueArn, how: Receive) -> Result<Vec<Message>, SendError> {
        let url = self.queue_url(queue).await?;
        let received = self
            .queue_client(&queue.region)
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(how.messages_max)
            .wait_time_seconds(how.wait_s)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .send()
            .await;
        let received = received.map_err(|error| {
            let action = format!("receive from {}", queue.arn);
            self.failed(queue, SendError::of_service(action, &error))
        })?;
        Ok(received.messages.unwrap_or_default())
    }

    /// Removes messages by their receipt handles. That some are gone already is no error.
    pub(crate) async fn delete(&self, queue: &QueueArn, receipts: &[String]) -> Result<(), SendError> {
        let action = || format!("delete from {}", queue.arn);
        let url = self.queue_url(queue).await?;
        let client = self.queue_client(&queue.region);
        // What cannot be deleted runs again; the others need not.
        let mut first_error = Ok(());
        for receipts in receipts.chunks(DELETE_MESSAGES_MAX) {
            let mut delete = client.delete_message_batch().queue_url(&url);
            for (number, receipt) in receipts.iter().enumerate() {
                let entry = DeleteMessageBatchRequestEntry::builder()
                    .id(number.to_string())
                    .receipt_handle(receipt)
                    .build();
                delete = delete.entries(entry.map_err(|error| SendError::new(action(), error.to_string()))?);
            }
            let deleted = match delete.send().await {
                Err(error) => Err(self.failed(queue, SendError::of_service(action(), &error))),
                Ok(deleted) => deleted.failed.first().map_or(Ok(()), |failed| {
                    let reason = format!("{} of them: {}", deleted.failed.len(), failed.code);
                    Err(SendError::new(action(), reason))
                }),
            };
            first_error = first_error.and(deleted);
        }
        first_error
    }

    /// How long a received message is out of sight, seconds. Fails where the queue does not exist.
    pub(crate) async fn visibility_s(&self, queue: &QueueArn) -> Result<u64, SendError> {
        let url = self.queue_url(queue).await?;
        let asked = self
            .queue_client(&queue.region)
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(QueueAttributeName::VisibilityTimeout)
            .send()
            .await;
        let asked = asked.map_err(|error| {
            let action = format!("read the attributes of {}", queue.arn);
            self.failed(queue, SendError::of_service(action, &error))
        })?;
        let attributes = asked.attributes.unwrap_or_default();
        let seconds = attributes.get(&QueueAttributeName::VisibilityTimeout);
        Ok(seconds.and_then(|text| text.parse().ok()).unwrap_or(VISIBILITY_S))
    }

    async fn queue_url(&self, queue: &QueueArn) -> Result<String, SendError> {
        if let Some(url) = self.known_queue_url(&queue.arn) {
            return Ok(url);
        }
        let asked = self
            .queue_client(&queue.region)
            .get_queue_url()
            .queue_name(&queue.name)
            .queue_owner_aws_account_id(&queue.account)
            .send()
            .await;
        let action = || format!("find {}", queue.arn);
        let asked = asked.map_err(|error| SendError::of_service(action(), &error))?;
        let url = asked
            .queue_url
            .ok_or_else(|| SendError::new(action(), "the answer has no URL"))?;
        self.learn_queue_url(&queue.arn, &url);
        Ok(url)
    }

    /// A queue that is gone may come again under another URL.
    fn failed(&self, queue: &QueueArn, error: SendError) -> SendError {
        if error.is_queue_missing() {
            self.forget_queue_url(&queue.arn);
        }
        error
    }
}

/// What SQS gives a queue that says nothing.
const VISIBILITY_S: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_told_by_their_arns() {
        let queue = QueueArn::parse("arn:aws:sqs:eu-west-1:123456789012:jobs.fifo").unwrap();
        assert_eq!(
            (queue.region.as_str(), queue.name.as_str(), queue.is_fifo()),
            ("eu-west-1", "jobs.fifo", true)
        );
        for other in [
            "arn:aws:sns:eu-west-1:123456789012:t",
            "arn:aws:sqs::123456789012:q",
            "arn:aws:sqs:r:a:q:x",
            "",
        ] {
            assert_eq!(QueueArn::parse(other), None, "{other}");
        }
    }
}
