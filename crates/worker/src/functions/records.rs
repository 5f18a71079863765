//! The platform's own lines: START, END, REPORT and their kin, as text and as JSON.
//!
//! The JSON records are those of the Telemetry API (schema 2022-12-13 and later) and of the JSON log format; both show
//! the same object.

use super::variables::initialization_type;
use api::{Initialization, Report};
use serde_json::{Value, json};
use std::time::Duration;

/// What the platform says in the log and to telemetry subscribers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record<'a> {
    /// Initialisation begins.
    InitStart {
        initialization: Initialization,
        phase: InitPhase,
        /// The managed runtime's name.
        runtime: Option<&'a str>,
        function: (&'a str, &'a str),
    },
    /// The runtime has initialised, or failed to.
    InitRuntimeDone {
        initialization: Initialization,
        phase: InitPhase,
        outcome: &'a Outcome,
    },
    /// Initialisation is over.
    InitReport {
        initialization: Initialization,
        phase: InitPhase,
        outcome: &'a Outcome,
        duration: Duration,
    },
    /// An invocation begins.
    Start { request_id: &'a str, version: &'a str },
    /// The runtime is done with it.
    RuntimeDone {
        request_id: &'a str,
        outcome: &'a Outcome,
        duration: Duration,
        /// Of the answer; unknown for a stream.
        produced_bytes: Option<u64>,
    },
    /// It is over.
    Report {
        request_id: &'a str,
        outcome: &'a Outcome,
        report: &'a Report,
        /// Set for the invocation that a new environment was started for.
        init: Option<ComeUp>,
    },
    /// A restore from a snapshot begins.
    RestoreStart {
        /// The managed runtime's name.
        runtime: Option<&'a str>,
        function: (&'a str, &'a str),
    },
    /// The runtime has run its hooks, or failed to.
    RestoreRuntimeDone { outcome: &'a Outcome },
    /// The restore is over.
    RestoreReport { outcome: &'a Outcome, duration: Duration },
}

/// How a new environment came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ComeUp {
    /// It initialised, in so long.
    Initialized(Duration),
    /// It was restored from a snapshot: in all, and from the moment when its runtime could go on.
    Restored { duration: Duration, billed: Duration },
}

impl ComeUp {
    pub(crate) const fn duration(self) -> Duration {
        match self {
            Self::Initialized(duration) | Self::Restored { duration, .. } => duration,
        }
    }

    /// What of it is billed.
    pub(crate) const fn billed(self) -> Duration {
        match self {
            Self::Initialized(duration) => duration,
            Self::Restored { billed, .. } => billed,
        }
    }
}

/// Which time an environment initialises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitPhase {
    /// Under the limit of the init phase.
    Init,
    /// Once more, within the first invocation.
    Invoke,
}

/// How something went, in the platform's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Well; also when the function answered with an error of its own.
    Success,
    /// Its code failed, and said so.
    Error { error_type: String },
    /// Its process failed.
    Failure { error_type: String },
    /// It took too long.
    Timeout,
}

impl Outcome {
    const fn status(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error { .. } => "error",
            Self::Failure { .. } => "failure",
            Self::Timeout => "timeout",
        }
    }

    fn error_type(&self) -> Option<&str> {
        match self {
            Self::Error { error_type } | Self::Failure { error_type } => Some(error_type),
            Self::Success | Self::Timeout => None,
        }
    }
}

/// How important a platform record is, by Lambda's table of system log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SystemLevel {
    Debug,
    Info,
    Warn,
}

impl SystemLevel {
    /// From a function's settings; INFO where they say nothing.
    pub(crate) fn of_settings(level: Option<&str>) -> Self {
        match level {
            Some("DEBUG") => Self::Debug,
            Some("WARN") => Self::Warn,
            _ => Self::Info,
        }
    }
}

impl Record<'_> {
    /// `platform.` and its name.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::InitStart { .. } => "platform.initStart",
            Self::InitRuntimeDone { .. } => "platform.initRuntimeDone",
            Self::InitReport { .. } => "platform.initReport",
            Self::Start { .. } => "platform.start",
            Self::RuntimeDone { .. } => "platform.runtimeDone",
            Self::Report { .. } => "platform.report",
            Self::RestoreStart { .. } => "platform.restoreStart",
            Self::RestoreRuntimeDone { .. } => "platform.restoreRuntimeDone",
            Self::RestoreReport { .. } => "platform.restoreReport",
        }
    }

    /// Lambda's level for it.
    pub(crate) fn level(&self) -> SystemLevel {
        let of = |outcome: &Outcome, well| {
            if *outcome == Outcome::Success {
                well
            } else {
                SystemLevel::Warn
            }
        };
        match self {
            Self::InitStart { .. } | Self::Start { .. } | Self::RestoreStart { .. } => SystemLevel::Info,
            Self::InitRuntimeDone { outcome, .. }
            | Self::RuntimeDone { outcome, .. }
            | Self::RestoreRuntimeDone { outcome } => of(outcome, SystemLevel::Debug),
            Self::InitReport {
                outcome,
                initialization,
                ..
            } => match initialization {
                Initialization::OnDemand => of(outcome, SystemLevel::Debug),
                Initialization::Provisioned | Initialization::SnapStart => of(outcome, SystemLevel::Info),
            },
            Self::Report { outcome, .. } | Self::RestoreReport { outcome, .. } => of(outcome, SystemLevel::Info),
        }
    }

    /// Its line in a log of text format; most have none.
    pub(crate) fn text(&self) -> Option<String> {
        match self {
            Self::InitStart { runtime, .. } => runtime.map(|runtime| format!("INIT_START Runtime Version: {runtime}")),
            Self::RestoreStart { runtime, .. } => {
                runtime.map(|runtime| format!("RESTORE_START Runtime Version: {runtime}"))
            }
            Self::RestoreReport { outcome, duration } => Some(restore_report_line(outcome, *duration)),
            Self::InitRuntimeDone { .. } | Self::RuntimeDone { .. } | Self::RestoreRuntimeDone { .. } => None,
            Self::InitReport {
                phase,
                outcome,
                duration,
                ..
            } => (**outcome != Outcome::Success).then(|| init_report_line(*phase, outcome, *duration)),
            Self::Start { request_id, version } => Some(format!("START RequestId: {request_id} Version: {version}")),
            Self::Report {
                request_id,
                outcome,
                report,
                init,
            } => Some(report_line(request_id, outcome, report, *init)),
        }
    }

    /// Its object in the Telemetry API and in a log of JSON format.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::InitStart {
                initialization,
                phase,
                runtime,
                function: (name, version),
            } => {
                let mut record = json!({
                    "initializationType": initialization_type(*initialization),
                    "phase": phase.name(),
                    "functionName": name,
                    "functionVersion": version,
                });
                if let Some(runtime) = runtime {
                    record["runtimeVersion"] = json!(runtime);
                }
                record
            }
            Self::RestoreStart {
                runtime,
                function: (name, version),
            } => {
                let mut record = json!({"functionName": name, "functionVersion": version});
                if let Some(runtime) = runtime {
                    record["runtimeVersion"] = json!(runtime);
                }
                record
            }
            Self::RestoreRuntimeDone { outcome } => with_outcome(outcome, json!({})),
            Self::RestoreReport { outcome, duration } => {
                with_outcome(outcome, json!({"metrics": {"durationMs": milliseconds(*duration)}}))
            }
            Self::InitRuntimeDone {
                initialization,
                phase,
                outcome,
            } => with_outcome(outcome, init_fields(*initialization, *phase)),
            Self::InitReport {
                initialization,
                phase,
                outcome,
                duration,
            } => {
                let mut record = with_outcome(outcome, init_fields(*initialization, *phase));
                record["metrics"] = json!({"durationMs": milliseconds(*duration)});
                record
            }
            Self::Start { request_id, version } => json!({"requestId": request_id, "version": version}),
            Self::RuntimeDone {
                request_id,
                outcome,
                duration,
                produced_bytes,
            } => {
                let mut metrics = json!({"durationMs": milliseconds(*duration)});
                if let Some(bytes) = produced_bytes {
                    metrics["producedBytes"] = json!(bytes);
                }
                with_outcome(outcome, json!({"requestId": request_id, "metrics": metrics}))
            }
            Self::Report {
                request_id,
                outcome,
                report,
                init,
            } => with_outcome(
                outcome,
                json!({"requestId": request_id, "metrics": metrics(report, *init)}),
            ),
        }
    }
}

impl InitPhase {
    const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
        }
    }
}

/// Lambda's END line.
pub(crate) fn end_line(request_id: &str) -> String {
    format!("END RequestId: {request_id}")
}

fn init_report_line(phase: InitPhase, outcome: &Outcome, duration: Duration) -> String {
    let duration = milliseconds(duration);
    // Text logs know no failure: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
    let status = if *outcome == Outcome::Timeout {
        "timeout"
    } else {
        "error"
    };
    let mut line = format!(
        "INIT_REPORT Init Duration: {duration:.2} ms\tPhase: {}\tStatus: {status}",
        phase.name()
    );
    if let Some(error_type) = outcome.error_type() {
        line.push_str("\tError Type: ");
        line.push_str(error_type);
    }
    line
}

fn restore_report_line(outcome: &Outcome, duration: Duration) -> String {
    let mut line = format!("RESTORE_REPORT Restore Duration: {:.2} ms", milliseconds(duration));
    match outcome {
        Outcome::Success => {}
        Outcome::Timeout => line.push_str("\tStatus: timeout"),
        Outcome::Error { error_type } | Outcome::Failure { error_type } => {
            line.push_str("\tStatus: error\tError Type: ");
            line.push_str(error_type);
        }
    }
    line
}

fn report_line(request_id: &str, outcome: &Outcome, report: &Report, init: Option<ComeUp>) -> String {
    use std::fmt::Write;
    let mut line = format!(
        "REPORT RequestId: {request_id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB\tMax Memory Used: {} MB\t",
        milliseconds(report.duration),
        report.billed.as_millis(),
        report.memory_mb,
        report.memory_used_mb,
    );
    let written = match init {
        None => Ok(()),
        Some(ComeUp::Initialized(init)) => write!(line, "Init Duration: {:.2} ms\t", milliseconds(init)),
        Some(ComeUp::Restored { duration, billed }) => write!(
            line,
            "Restore Duration: {:.2} ms\tBilled Restore Duration: {} ms\t",
            milliseconds(duration),
            whole_milliseconds(billed)
        ),
    };
    let written = written.and_then(|()| match outcome {
        // The function's own errors are no affair of the platform's.
        Outcome::Success | Outcome::Error { .. } => Ok(()),
        Outcome::Failure { error_type } => write!(line, "Status: error\tError Type: {error_type}"),
        Outcome::Timeout => write!(line, "Status: timeout"),
    });
    written.expect("writing to a String cannot fail");
    line
}

fn metrics(report: &Report, init: Option<ComeUp>) -> Value {
    let mut metrics = json!({
        "durationMs": milliseconds(report.duration),
        "billedDurationMs": u64::try_from(report.billed.as_millis()).unwrap_or(u64::MAX),
        "memorySizeMB": report.memory_mb,
        "maxMemoryUsedMB": report.memory_used_mb,
    });
    match init {
        None => {}
        Some(ComeUp::Initialized(init)) => metrics["initDurationMs"] = json!(milliseconds(init)),
        Some(ComeUp::Restored { duration, billed }) => {
            metrics["restoreDurationMs"] = json!(milliseconds(duration));
            metrics["billedRestoreDurationMs"] = json!(whole_milliseconds(billed));
        }
    }
    metrics
}

fn init_fields(initialization: Initialization, phase: InitPhase) -> Value {
    json!({"initializationType": initialization_type(initialization), "phase": phase.name()})
}

fn with_outcome(outcome: &Outcome, mut record: Value) -> Value {
    record["status"] = json!(outcome.status());
    if let Some(error_type) = outcome.error_type() {
        record["errorType"] = json!(error_type);
    }
    record
}

/// As it is billed: every millisecond that has begun.
fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// With the three decimals that Lambda's records have.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{ComeUp, InitPhase, Outcome, Record, SystemLevel};
    use api::{Initialization, Report};
    use serde_json::json;
    use std::time::Duration;

    fn report() -> Report {
        Report {
            duration: Duration::from_micros(1234),
            billed: Duration::from_millis(102),
            memory_mb: 128,
            memory_used_mb: 30,
            cold_start: None,
        }
    }

    fn check(outcome: &Outcome, init: Option<ComeUp>, expected: &str) {
        let report = report();
        let record = Record::Report {
            request_id: "id",
            outcome,
            report: &report,
            init,
        };
        let text = record.text().unwrap();
        let start = "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 102 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\t";
        assert_eq!(text, format!("{start}{expected}"));
    }

    #[test]
    fn report_lines() {
        let failure = Outcome::Failure {
            error_type: "Runtime.ExitError".to_owned(),
        };
        let error = Outcome::Error {
            error_type: "ValueError".to_owned(),
        };
        check(&Outcome::Success, None, "");
        check(
            &Outcome::Success,
            Some(ComeUp::Initialized(Duration::from_millis(100))),
            "Init Duration: 100.00 ms\t",
        );
        check(
            &Outcome::Success,
            Some(ComeUp::Restored {
                duration: Duration::from_micros(84_120),
                billed: Duration::from_micros(15_001),
            }),
            "Restore Duration: 84.12 ms\tBilled Restore Duration: 16 ms\t",
        );
        check(&failure, None, "Status: error\tError Type: Runtime.ExitError");
        check(&Outcome::Timeout, None, "Status: timeout");
        check(&error, None, "");
    }

    #[test]
    fn report_records() {
        let report = report();
        let record = Record::Report {
            request_id: "id",
            outcome: &Outcome::Success,
            report: &report,
            init: Some(ComeUp::Initialized(Duration::from_millis(100))),
        };
        let expected = json!({
            "requestId": "id",
            "status": "success",
            "metrics": {"durationMs": 1.234, "billedDurationMs": 102, "memorySizeMB": 128, "maxMemoryUsedMB": 30, "initDurationMs": 100.0},
        });
        assert_eq!(record.json(), expected);
    }

    #[test]
    fn a_restore_has_lines_and_records() {
        let start = Record::RestoreStart {
            runtime: Some("python3.11"),
            function: ("name", "7"),
        };
        assert_eq!(start.text().unwrap(), "RESTORE_START Runtime Version: python3.11");
        let expected = json!({"functionName": "name", "functionVersion": "7", "runtimeVersion": "python3.11"});
        assert_eq!(start.json(), expected);
        let duration = Duration::from_micros(84_120);
        let report = |outcome| Record::RestoreReport { outcome, duration };
        let well = report(&Outcome::Success);
        assert_eq!(well.text().unwrap(), "RESTORE_REPORT Restore Duration: 84.12 ms");
        assert_eq!(
            well.json(),
            json!({"status": "success", "metrics": {"durationMs": 84.12}})
        );
        let slow = report(&Outcome::Timeout);
        assert_eq!(
            (slow.text().unwrap().as_str(), slow.level()),
            (
                "RESTORE_REPORT Restore Duration: 84.12 ms\tStatus: timeout",
                SystemLevel::Warn
            )
        );
    }

    #[test]
    fn only_a_failed_initialisation_has_a_line() {
        let record = |outcome| Record::InitReport {
            initialization: Initialization::OnDemand,
            phase: InitPhase::Init,
            outcome,
            duration: Duration::from_millis(10_008),
        };
        assert_eq!(record(&Outcome::Success).text(), None);
        assert_eq!(record(&Outcome::Success).level(), SystemLevel::Debug);
        assert_eq!(record(&Outcome::Timeout).level(), SystemLevel::Warn);
        assert_eq!(
            record(&Outcome::Timeout).text().unwrap(),
            "INIT_REPORT Init Duration: 10008.00 ms\tPhase: init\tStatus: timeout"
        );
        let failure = Outcome::Failure {
            error_type: "Runtime.ExitError".to_owned(),
        };
        assert_eq!(
            record(&failure).text().unwrap(),
            "INIT_REPORT Init Duration: 10008.00 ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError"
        );
    }
}
