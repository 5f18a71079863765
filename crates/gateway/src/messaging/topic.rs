//! Messages to SNS.

use super::queue::TRACE_HEADER;
use super::{Messaging, SendError};
use aws_sdk_sns::types::MessageAttributeValue;

impl Messaging {
    /// Publishes a message on a topic. Attributes are name, type and value.
    pub(crate) async fn publish(
        &self,
        arn: &str,
        body: &str,
        attributes: &[(&str, &str, String)],
        trace_id: &str,
    ) -> Result<(), SendError> {
        let action = || format!("publish on {arn}");
        let region = arn.split(':').nth(3).unwrap_or_default();
        let mut publish = self.topic_client(region).publish().topic_arn(arn).message(body);
        for (name, kind, value) in attributes {
            let value = MessageAttributeValue::builder().data_type(*kind).string_value(value);
            let value = value
                .build()
                .map_err(|error| SendError::new(action(), error.to_string()))?;
            publish = publish.message_attributes(*name, value);
        }
        let trace_id = trace_id.to_owned();
        let sent = publish.customize().mutate_request(move |request| {
            // A trace that no header can hold is left out.
            let _ = request.headers_mut().try_insert(TRACE_HEADER, trace_id.clone());
        });
        let sent = sent.send().await;
        sent.map(drop).map_err(|error| SendError::of_service(action(), &error))
    }
}
