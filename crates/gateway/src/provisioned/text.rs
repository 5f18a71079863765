//! What `/metrics` shows of environments that are started ahead. Written from what the worker says at this moment, so
//! that a target which is gone leaves no line.

use api::ProvisionReport;
use std::fmt::Write;

/// A family of lines: its name, its kind, what it says, and its value for a revision.
type Family = (&'static str, &'static str, &'static str, fn(&ProvisionReport) -> f64);

/// CloudWatch's metrics of the same purpose are named after the dash.
const FAMILIES: &[Family] = &[
    (
        "lambent_provisioned_environments",
        "gauge",
        "Environments that have been started ahead and are up.",
        |report| f64::from(report.ready),
    ),
    (
        "lambent_provisioned_environments_requested",
        "gauge",
        "Environments that are to be started ahead.",
        |report| f64::from(report.wanted),
    ),
    (
        "lambent_provisioned_concurrency_utilization",
        "gauge",
        "Part of these that serves now, 0 to 1 - ProvisionedConcurrencyUtilization.",
        |report| f64::from(report.busy) / f64::from(report.ready.max(report.busy).max(1)),
    ),
    (
        "lambent_provisioned_concurrency_invocations_total",
        "counter",
        "Invocations that these served - ProvisionedConcurrencyInvocations.",
        |report| as_f64(report.invocations),
    ),
    (
        "lambent_provisioned_concurrency_spillover_invocations_total",
        "counter",
        "Invocations that others served meanwhile - ProvisionedConcurrencySpilloverInvocations.",
        |report| as_f64(report.spillovers),
    ),
];

/// In the words of Prometheus; nothing where nothing is to be started ahead.
pub(crate) fn metrics_text(reports: &[ProvisionReport]) -> String {
    let mut text = String::new();
    if reports.is_empty() {
        return text;
    }
    for (name, kind, help, value) in FAMILIES {
        // Writing to a string does not fail.
        let _ = write!(text, "\n# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for report in reports {
            let function = &report.function;
            let _ = writeln!(
                text,
                "{name}{{account=\"{}\",function=\"{}\",version=\"{}\"}} {}",
                function.account,
                function.name,
                function.version,
                value(report)
            );
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a number of invocations is far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
