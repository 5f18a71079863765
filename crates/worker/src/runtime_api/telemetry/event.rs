//! One event, and how it is written.

use bytes::Bytes;
use serde_json::{Map, Value};

/// An event for those who subscribed to its kind.
#[derive(Clone, Debug)]
pub(crate) struct TelemetryEvent {
    /// When it happened, milliseconds since 1970.
    pub(crate) time_ms: u64,
    /// What it says.
    pub(crate) record: TelemetryRecord,
}

/// What an event says.
#[derive(Clone, Debug)]
pub(crate) enum TelemetryRecord {
    /// The platform's own.
    Platform {
        /// `platform.start`, `platform.report` and so on.
        name: &'static str,
        /// As Lambda's schema has it.
        record: Value,
    },
    /// A line of the function: a string, or an object where the log's format is JSON.
    Function(Value),
    /// A line of an extension: a string.
    Extension(Value),
}

/// What extensions subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Category {
    Platform,
    Function,
    Extension,
}

impl Category {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "platform" => Some(Self::Platform),
            "function" => Some(Self::Function),
            "extension" => Some(Self::Extension),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Function => "function",
            Self::Extension => "extension",
        }
    }
}

impl TelemetryEvent {
    pub(super) fn category(&self) -> Category {
        match self.record {
            TelemetryRecord::Platform { .. } => Category::Platform,
            TelemetryRecord::Function(_) => Category::Function,
            TelemetryRecord::Extension(_) => Category::Extension,
        }
    }

    /// `{"time", "type", "record"}`.
    pub(super) fn render(self) -> Bytes {
        let (kind, record) = match self.record {
            TelemetryRecord::Platform { name, record } => (name, record),
            TelemetryRecord::Function(record) => ("function", record),
            TelemetryRecord::Extension(record) => ("extension", record),
        };
        let mut event = Map::new();
        event.insert("time".to_owned(), Value::String(iso_time(self.time_ms)));
        event.insert("type".to_owned(), Value::from(kind));
        event.insert("record".to_owned(), record);
        Bytes::from(Value::Object(event).to_string())
    }
}

/// `2022-10-12T00:03:50.000Z`.
fn iso_time(time_ms: u64) -> String {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let (year, month, day) = date(time_ms / DAY_MS);
    let rest = time_ms % DAY_MS;
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        rest % 1000
    )
}

/// Year, month and day of a day since 1970: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`, for days that are not negative.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_written_as_lambda_writes_them() {
        for (time_ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_665_533_030_005, "2022-10-12T00:03:50.005Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso_time(time_ms), expected);
        }
    }

    #[test]
    fn an_event_has_time_type_and_record() {
        let event = TelemetryEvent {
            time_ms: 0,
            record: TelemetryRecord::Function(json!("a \"line\"")),
        };
        let value: Value = serde_json::from_slice(&event.render()).unwrap();
        assert_eq!(
            value,
            json!({"time": "1970-01-01T00:00:00.000Z", "type": "function", "record": "a \"line\""})
        );
    }
}
