//! CloudWatch Logs, as far as reading the logs of functions needs it: JSON 1.1, `Logs_20140328`.
//!
//! `aws logs tail`, `get-log-events`, `filter-log-events` and the two `describe` commands work; so do making and
//! deleting groups and setting their retention. Writing events through this API does not: functions' environments do
//! that by another way.

mod events;
mod groups;
mod pattern;

use crate::Gateway;
use crate::json_error::JsonError;
use chunk::Account;
use control::{ControlError, LogGroup, LogGroupName};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Answers one call. `target` is the operation's name, with or without the service before it.
pub(crate) async fn logs(gateway: &Gateway, account: &Account, target: &str, body: &[u8]) -> Result<Value, JsonError> {
    let reader = Reader { gateway, account };
    match target.rsplit('.').next().unwrap_or_default() {
        "DescribeLogGroups" => reader.describe_log_groups(read(body)?).await,
        "DescribeLogStreams" => reader.describe_log_streams(read(body)?).await,
        "GetLogEvents" => reader.get_log_events(read(body)?).await,
        "FilterLogEvents" => reader.filter_log_events(read(body)?).await,
        "CreateLogGroup" => reader.create_log_group(read(body)?).await,
        "DeleteLogGroup" => reader.delete_log_group(read(body)?).await,
        "PutRetentionPolicy" => reader.put_retention_policy(read(body)?).await,
        "DeleteRetentionPolicy" => reader.delete_retention_policy(read(body)?).await,
        other => Err(refuse(
            "UnknownOperationException",
            format!(
                "Lambent does not implement {} of CloudWatch Logs: it takes DescribeLogGroups, DescribeLogStreams, \
                 GetLogEvents, FilterLogEvents, CreateLogGroup, DeleteLogGroup, PutRetentionPolicy and \
                 DeleteRetentionPolicy.",
                other.chars().take(80).collect::<String>().escape_debug()
            ),
        )),
    }
}

/// One authenticated call.
struct Reader<'a> {
    gateway: &'a Gateway,
    account: &'a Account,
}

impl Reader<'_> {
    fn group<'a>(&'a self, name: &'a str) -> LogGroupName<'a> {
        LogGroupName {
            account: self.account,
            name,
        }
    }

    /// The group, which is there.
    async fn existing_group(&self, name: &str) -> Result<LogGroup, JsonError> {
        let found = self.gateway.control.log_group(self.group(name)).await;
        found.map_err(of_record)
    }

    fn group_arn(&self, name: &str) -> String {
        format!("arn:aws:logs:{}:{}:log-group:{name}", self.gateway.region, self.account)
    }

    /// The group that a request names, by its name or by its ARN.
    fn group_name(&self, name: Option<String>, identifier: Option<String>) -> Result<String, JsonError> {
        let name = match (name, identifier) {
            (Some(_), Some(_)) => {
                return Err(invalid(
                    "Only one of LogGroupName and LogGroupIdentifier can be specified.",
                ));
            }
            (Some(name), None) => name,
            (None, Some(identifier)) => self.name_of_identifier(&identifier)?,
            (None, None) => return Err(invalid("Either LogGroupName or LogGroupIdentifier must be specified.")),
        };
        check_group_name(&name)?;
        Ok(name)
    }

    fn name_of_identifier(&self, identifier: &str) -> Result<String, JsonError> {
        if !identifier.starts_with("arn:") {
            return Ok(identifier.to_owned());
        }
        let prefix = self.group_arn("");
        let name = identifier.strip_prefix(&prefix).ok_or_else(|| {
            refuse(
                "ResourceNotFoundException",
                format!("{identifier} is not a log group of this account and region."),
            )
        })?;
        Ok(name.strip_suffix(":*").unwrap_or(name).to_owned())
    }
}

/// Reads a request; what is missing or of another type is named.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, JsonError> {
    // An empty body is what some clients send for an empty structure.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| refuse("SerializationException", error.to_string()))
}

fn check_group_name(name: &str) -> Result<(), JsonError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#".contains(&byte);
    if (1..=512).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).collect();
    Err(invalid(format!(
        "1 validation error detected: Value '{shown}' at 'logGroupName' failed to satisfy constraint: Member must \
         satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+"
    )))
}

/// Checks how many things a client asks for; `max` is also what it gets if it does not say.
fn limit(asked: Option<u32>, max: u32) -> Result<u32, JsonError> {
    match asked {
        None => Ok(max),
        Some(limit) if (1..=max).contains(&limit) => Ok(limit),
        Some(limit) => Err(invalid(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must be \
             between 1 and {max}"
        ))),
    }
}

fn invalid(message: impl Into<String>) -> JsonError {
    refuse("InvalidParameterException", message)
}

fn bad_token() -> JsonError {
    invalid("The specified nextToken is invalid.")
}

fn refuse(code: &str, message: impl Into<String>) -> JsonError {
    JsonError {
        code: code.to_owned(),
        message: message.into(),
        status: 400,
    }
}

/// From the record's errors to those of CloudWatch Logs.
fn of_record(error: ControlError) -> JsonError {
    match error {
        ControlError::NotFound { what } => refuse("ResourceNotFoundException", what),
        ControlError::Conflict { message } => refuse("ResourceAlreadyExistsException", message),
        ControlError::Invalid { message } | ControlError::PreconditionFailed { message } => invalid(message),
        ControlError::LimitExceeded { message } | ControlError::PolicyLengthExceeded { message } => {
            refuse("LimitExceededException", message)
        }
        other => {
            // What the caller cannot change: the log says it, the answer does not.
            tracing::error!(error = %other, "an operation of CloudWatch Logs failed");
            JsonError {
                code: "ServiceUnavailableException".to_owned(),
                message: "The record cannot be read now; the server's log says why. Please try again.".to_owned(),
                status: 500,
            }
        }
    }
}
