//! Lines.

use super::groups::with_token;
use super::pattern::Pattern;
use super::{Reader, bad_token, invalid, limit, of_record};
use crate::json_error::JsonError;
use control::{LogLine, LogPosition, LogRead};
use serde::Deserialize;
use serde_json::{Value, json};

/// Lines of one answer. CloudWatch Logs' limit and default.
const EVENTS_MAX: u32 = 10_000;
/// Bytes of the lines of one answer: 1 MB, CloudWatch Logs' limit.
const EVENTS_BYTES_MAX: usize = 1_000_000;
/// Streams that FilterLogEvents takes by name. The model's limit.
const STREAMS_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GetLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: String,
    start_time: Option<u64>,
    end_time: Option<u64>,
    next_token: Option<String>,
    limit: Option<u32>,
    #[serde(default)]
    start_from_head: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FilterLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<u64>,
    end_time: Option<u64>,
    #[serde(default)]
    filter_pattern: String,
    next_token: Option<String>,
    limit: Option<u32>,
}

/// A reader's place in a stream: GetLogEvents goes on from it in one of two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StreamToken {
    Forward(LogPosition),
    Backward(LogPosition),
}

impl Reader<'_> {
    pub(super) async fn get_log_events(&self, input: GetLogEvents) -> Result<Value, JsonError> {
        let name = self.group_name(input.log_group_name, input.log_group_identifier)?;
        let token = input.next_token.as_deref().map(StreamToken::parse).transpose()?;
        let streams = [input.log_stream_name];
        let read = LogRead {
            streams: Some(&streams),
            from_ms: input.start_time.unwrap_or(0),
            until_ms: input.end_time.unwrap_or(u64::MAX),
            after: token.and_then(StreamToken::after),
            before: token.and_then(StreamToken::before),
            from_end: !input.start_from_head,
            lines_max: limit(input.limit, EVENTS_MAX)? as usize,
            bytes_max: EVENTS_BYTES_MAX,
            ..LogRead::default()
        };
        let group = self.existing_group(&name).await?;
        let scan = self
            .gateway
            .control
            .read_logs(&group, &read, &|_| true)
            .await
            .map_err(of_record)?;
        let event = |line: &LogLine| json!({"timestamp": line.position.timestamp_ms, "message": line.message, "ingestionTime": line.ingested_ms});
        let events: Vec<Value> = scan.lines.iter().map(event).collect();
        let (backward, forward) = tokens_around(&scan.lines, token);
        Ok(json!({
            "events": events,
            "nextForwardToken": StreamToken::Forward(forward).text(),
            "nextBackwardToken": StreamToken::Backward(backward).text(),
        }))
    }

    pub(super) async fn filter_log_events(&self, input: FilterLogEvents) -> Result<Value, JsonError> {
        let name = self.group_name(input.log_group_name, input.log_group_identifier)?;
        let streams = input.log_stream_names.as_deref();
        if streams.is_some_and(|streams| streams.is_empty() || streams.len() > STREAMS_MAX) {
            return Err(invalid(format!("logStreamNames must have 1 to {STREAMS_MAX} members.")));
        }
        if streams.is_some() && input.log_stream_name_prefix.is_some() {
            return Err(invalid(
                "logStreamNames and logStreamNamePrefix cannot be specified in the same request.",
            ));
        }
        let pattern = Pattern::parse(&input.filter_pattern).map_err(|error| invalid(error.to_string()))?;
        let read = LogRead {
            streams,
            stream_prefix: input.log_stream_name_prefix.as_deref().unwrap_or_default(),
            from_ms: input.start_time.unwrap_or(0),
            // Unlike GetLogEvents, which stops before its end, this takes the end's own millisecond too.
            until_ms: input.end_time.map_or(u64::MAX, |end| end.saturating_add(1)),
            after: input.next_token.as_deref().map(position_of).transpose()?,
            lines_max: limit(input.limit, EVENTS_MAX)? as usize,
            bytes_max: EVENTS_BYTES_MAX,
            ..LogRead::default()
        };
        let group = self.existing_group(&name).await?;
        let wanted = |message: &str| pattern.matches(message);
        let scan = self
            .gateway
            .control
            .read_logs(&group, &read, &wanted)
            .await
            .map_err(of_record)?;
        let event = |line: &LogLine| {
            json!({
                "logStreamName": line.stream,
                "timestamp": line.position.timestamp_ms,
                "message": line.message,
                "ingestionTime": line.ingested_ms,
                "eventId": text_of(line.position),
            })
        };
        let events: Vec<Value> = scan.lines.iter().map(event).collect();
        // The list of searched streams has been empty since CloudWatch Logs gave it up in 2019.
        Ok(with_token(
            json!({"events": events, "searchedLogStreams": []}),
            scan.more.map(text_of),
        ))
    }
}

impl StreamToken {
    fn parse(text: &str) -> Result<Self, JsonError> {
        let place = |rest: &str| position_of(rest.strip_suffix("/s").ok_or_else(bad_token)?);
        match (text.strip_prefix("f/"), text.strip_prefix("b/")) {
            (Some(rest), _) => Ok(Self::Forward(place(rest)?)),
            (_, Some(rest)) => Ok(Self::Backward(place(rest)?)),
            _ => Err(bad_token()),
        }
    }

    /// `f/` or `b/`, 56 digits, `/s`: as long as those of CloudWatch Logs.
    fn text(self) -> String {
        match self {
            Self::Forward(place) => format!("f/{}/s", text_of(place)),
            Self::Backward(place) => format!("b/{}/s", text_of(place)),
        }
    }

    fn after(self) -> Option<LogPosition> {
        if let Self::Forward(place) = self {
            Some(place)
        } else {
            None
        }
    }

    fn before(self) -> Option<LogPosition> {
        if let Self::Backward(place) = self {
            Some(place)
        } else {
            None
        }
    }

    fn place(self) -> LogPosition {
        match self {
            Self::Forward(place) | Self::Backward(place) => place,
        }
    }
}

/// Places before the first and after the last line of an answer. One without lines stays where its reader was: at the
/// end of a stream the same token comes back, by which clients know the end.
fn tokens_around(lines: &[LogLine], token: Option<StreamToken>) -> (LogPosition, LogPosition) {
    let stay = token.map(StreamToken::place).unwrap_or_default();
    let first = lines.first().map_or(stay, |line| line.position);
    let last = lines.last().map_or(stay, |line| line.position);
    (first, last)
}

/// 56 digits: 20 of the time, 36 of the number.
fn text_of(position: LogPosition) -> String {
    format!("{:020}{:036}", position.timestamp_ms, position.sequence)
}

fn position_of(text: &str) -> Result<LogPosition, JsonError> {
    let (time, sequence) = text
        .split_at_checked(20)
        .filter(|(_, rest)| rest.len() == 36)
        .ok_or_else(bad_token)?;
    let number = |digits: &str| {
        let valid = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| valid).ok_or_else(bad_token)
    };
    Ok(LogPosition {
        timestamp_ms: number(time)?,
        sequence: number(sequence)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written() {
        let place = LogPosition {
            timestamp_ms: 1_795_000_000_123,
            sequence: 42,
        };
        for token in [StreamToken::Forward(place), StreamToken::Backward(place)] {
            assert_eq!(token.text().len(), 60);
            assert_eq!(StreamToken::parse(&token.text()).unwrap(), token);
        }
        assert_eq!(position_of(&text_of(place)).unwrap(), place);
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let long = "9".repeat(56);
        for text in [
            "",
            "f/",
            "f//s",
            "x/1/s",
            "f/12/s",
            &format!("f/{long}/s"),
            &format!("f/{}é/s", "0".repeat(54)),
        ] {
            assert_eq!(
                StreamToken::parse(text).unwrap_err().code,
                "InvalidParameterException",
                "{text}"
            );
        }
        assert!(position_of(&format!("+{}", "0".repeat(55))).is_err());
    }

    #[test]
    fn an_empty_answer_stays_where_it_was() {
        let place = LogPosition {
            timestamp_ms: 7,
            sequence: 9,
        };
        assert_eq!(tokens_around(&[], Some(StreamToken::Forward(place))), (place, place));
        assert_eq!(
            tokens_around(&[], None),
            (LogPosition::default(), LogPosition::default())
        );
    }
}
