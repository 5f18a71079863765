//! What subscribers of the Telemetry API are told.

use super::calendar::now_ms;
use super::output::Writer;
use super::records::Record;
use crate::runtime_api::{RuntimeApi, TelemetryEvent, TelemetryRecord};
use api::LogFormat;
use serde_json::Value;

/// A record of the platform.
pub(crate) fn platform(api: &RuntimeApi, record: &Record<'_>) {
    if api.wants_telemetry() {
        publish(
            api,
            TelemetryRecord::Platform {
                name: record.kind(),
                record: record.json(),
            },
        );
    }
}

/// A line of the function or of an extension.
pub(crate) fn line(api: &RuntimeApi, format: LogFormat, writer: Writer, line: &str) {
    if api.wants_telemetry() {
        let record = match writer {
            Writer::Function => TelemetryRecord::Function(function_record(format, line)),
            Writer::Extension => TelemetryRecord::Extension(line.into()),
        };
        publish(api, record);
    }
}

/// As in Lambda's schema: an object where the log's format is JSON and the line is one, the line itself otherwise.
fn function_record(format: LogFormat, line: &str) -> Value {
    let object = || serde_json::from_str(line).ok().filter(Value::is_object);
    let record = if format == LogFormat::Json { object() } else { None };
    record.unwrap_or_else(|| line.into())
}

fn publish(api: &RuntimeApi, record: TelemetryRecord) {
    api.telemetry(TelemetryEvent {
        time_ms: now_ms(),
        record,
    });
}
