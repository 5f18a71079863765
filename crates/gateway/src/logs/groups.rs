//! Groups and streams.

use super::{Reader, bad_token, check_group_name, invalid, limit, of_record, refuse};
use crate::json_error::JsonError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::{LogGroup, LogStream, StreamList};
use serde::Deserialize;
use serde_json::{Value, json};

/// Groups or streams of one answer: CloudWatch Logs' limit and default.
const ITEMS_MAX: u32 = 50;
/// Numbers of days that PutRetentionPolicy takes. Source: its API reference.
const RETENTION_DAYS: &[u64] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    log_group_identifiers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeLogStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    #[serde(default)]
    descending: bool,
    next_token: Option<String>,
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GroupInput {
    log_group_name: String,
    retention_in_days: Option<u64>,
}

impl Reader<'_> {
    pub(super) async fn describe_log_groups(&self, input: DescribeLogGroups) -> Result<Value, JsonError> {
        if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
            return Err(invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
        let wanted = self.wanted_groups(&input)?;
        let limit = limit(input.limit, ITEMS_MAX)? as usize;
        let prefix = input.log_group_name_prefix.unwrap_or_default();
        let mut after = input
            .next_token
            .as_deref()
            .map(name_of_token)
            .transpose()?
            .unwrap_or_default();
        let mut groups: Vec<LogGroup> = Vec::new();
        // One more than a page tells whether another follows.
        while groups.len() <= limit {
            let found = self
                .gateway
                .control
                .log_groups(self.account, &prefix, &after, ITEMS_MAX + 1)
                .await;
            let found = found.map_err(of_record)?;
            let Some(last) = found.last() else { break };
            after.clone_from(&last.name);
            groups.extend(found.into_iter().filter(|group| wanted(&group.name)));
        }
        let more = groups.len() > limit;
        groups.truncate(limit);
        let next = groups
            .last()
            .filter(|_| more)
            .map(|last| URL_SAFE_NO_PAD.encode(&last.name));
        let items: Vec<Value> = groups.iter().map(|group| self.group_answer(group)).collect();
        Ok(with_token(json!({"logGroups": items}), next))
    }

    pub(super) async fn describe_log_streams(&self, input: DescribeLogStreams) -> Result<Value, JsonError> {
        let name = self.group_name(input.log_group_name, input.log_group_identifier)?;
        let by_time = match input.order_by.as_deref() {
            None | Some("LogStreamName") => false,
            Some("LastEventTime") if input.log_stream_name_prefix.is_some() => {
                return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
            }
            Some("LastEventTime") => true,
            Some(other) => {
                return Err(invalid(format!(
                    "1 validation error detected: Value '{}' at 'orderBy' failed to satisfy constraint: Member must \
                     satisfy enum value set: [LogStreamName, LastEventTime]",
                    other.chars().take(80).collect::<String>()
                )));
            }
        };
        let limit = limit(input.limit, ITEMS_MAX)?;
        let after = input.next_token.as_deref().map(stream_of_token).transpose()?;
        let group = self.existing_group(&name).await?;
        let list = StreamList {
            prefix: input.log_stream_name_prefix.as_deref().unwrap_or_default(),
            by_time,
            descending: input.descending,
            limit: limit + 1,
            after: after.as_ref().map(|(time, name)| (*time, name.as_str())),
        };
        let mut streams = self
            .gateway
            .control
            .log_streams(&group, &list)
            .await
            .map_err(of_record)?;
        let more = streams.len() > limit as usize;
        streams.truncate(limit as usize);
        let next = streams.last().filter(|_| more).map(token_of_stream);
        let items: Vec<Value> = streams.iter().map(|stream| self.stream_answer(&name, stream)).collect();
        Ok(with_token(json!({"logStreams": items}), next))
    }

    pub(super) async fn create_log_group(&self, input: GroupInput) -> Result<Value, JsonError> {
        check_group_name(&input.log_group_name)?;
        self.gateway
            .control
            .create_log_group(self.group(&input.log_group_name))
            .await
            .map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn delete_log_group(&self, input: GroupInput) -> Result<Value, JsonError> {
        self.gateway
            .control
            .delete_log_group(self.group(&input.log_group_name))
            .await
            .map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn put_retention_policy(&self, input: GroupInput) -> Result<Value, JsonError> {
        let days = input.retention_in_days.filter(|days| RETENTION_DAYS.contains(days));
        let days = days.ok_or_else(|| invalid(format!("retentionInDays must be one of {RETENTION_DAYS:?}.")))?;
        let group = self.group(&input.log_group_name);
        self.gateway
            .control
            .set_log_retention(group, Some(days))
            .await
            .map_err(of_record)?;
        Ok(json!({}))
    }

    pub(super) async fn delete_retention_policy(&self, input: GroupInput) -> Result<Value, JsonError> {
        let group = self.group(&input.log_group_name);
        self.gateway
            .control
            .set_log_retention(group, None)
            .await
            .map_err(of_record)?;
        Ok(json!({}))
    }

    /// Which groups are asked for, beside those with a prefix.
    fn wanted_groups(&self, input: &DescribeLogGroups) -> Result<impl Fn(&str) -> bool + use<>, JsonError> {
        let names = input
            .log_group_identifiers
            .iter()
            .map(|identifier| self.name_of_identifier(identifier));
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        let pattern = input.log_group_name_pattern.clone().unwrap_or_default();
        Ok(
            move |name: &str| {
                name.contains(&pattern) && (names.is_empty() || names.iter().any(|wanted| wanted == name))
            },
        )
    }

    fn group_answer(&self, group: &LogGroup) -> Value {
        let arn = self.group_arn(&group.name);
        let mut answer = json!({
            "logGroupName": group.name,
            "creationTime": group.created_ms,
            "metricFilterCount": 0,
            "arn": format!("{arn}:*"),
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "storedBytes": group.stored_bytes,
        });
        if let Some(days) = group.retention_days {
            answer["retentionInDays"] = days.into();
        }
        answer
    }

    fn stream_answer(&self, group: &str, stream: &LogStream) -> Value {
        let mut answer = json!({
            "logStreamName": stream.name,
            "creationTime": stream.created_ms,
            "arn": format!("{}:log-stream:{}", self.group_arn(group), stream.name),
            // CloudWatch Logs has answered 0 for streams since 2019.
            "storedBytes": 0,
        });
        let times = [
            ("firstEventTimestamp", stream.first_ms),
            ("lastEventTimestamp", stream.last_ms),
            ("lastIngestionTime", stream.ingested_ms),
        ];
        for (member, time) in times {
            if let Some(time) = time {
                answer[member] = time.into();
            }
        }
        answer
    }
}

/// An answer that names the next page, if there is one.
pub(super) fn with_token(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["nextToken"] = next.into();
    }
    answer
}

fn name_of_token(token: &str) -> Result<String, JsonError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad_token())?;
    String::from_utf8(bytes).map_err(|_| bad_token())
}

fn token_of_stream(stream: &LogStream) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", stream.last_ms.unwrap_or(0), stream.name))
}

fn stream_of_token(token: &str) -> Result<(u64, String), JsonError> {
    let text = name_of_token(token)?;
    let (time, name) = text.split_once(':').ok_or_else(bad_token)?;
    let time = time
        .parse()
        .map_err(|_| refuse("InvalidParameterException", "The specified nextToken is invalid."))?;
    Ok((time, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_streams_goes_on_where_it_ended() {
        let name = "2026/11/22/[$LATEST]0123456789abcdef0123456789abcdef";
        for last_ms in [None, Some(1_795_000_000_000)] {
            let stream = LogStream {
                name: name.to_owned(),
                created_ms: 1,
                first_ms: None,
                last_ms,
                ingested_ms: None,
            };
            let expected = (last_ms.unwrap_or(0), name.to_owned());
            assert_eq!(stream_of_token(&token_of_stream(&stream)).unwrap(), expected);
        }
        for token in ["", "!", "bm90aGluZw", "YTpi"] {
            assert_eq!(
                stream_of_token(token).unwrap_err().code,
                "InvalidParameterException",
                "{token}"
            );
        }
    }
}
