//! Tables, JSON and numbers for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use std::time::Duration;

/// Bytes in binary units with one decimal, as `404.8 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// A share of a whole, as `2.5 %`; of nothing it is 0.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    let share = if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    };
    format!("{share:.1} %")
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// Two columns: what, and how much.
pub(crate) fn facts<const N: usize>(rows: [(&str, String); N]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    for (name, value) in rows {
        table.add_row([name, value.as_str()]);
    }
    table.trim_fmt()
}

/// A table with a header; all columns but the first are numbers.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    rows.for_each(|row| {
        table.add_row(row);
    });
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// An error with its causes, each only where it adds words that the message does not have yet.
pub(crate) fn error_chain(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |message, cause| {
            if message.contains(&cause) {
                message
            } else {
                format!("{message}: {cause}")
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_largest_fitting_unit() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (404 << 20, "404.0 MiB"),
            (5 << 40, "5.0 TiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn a_cause_is_not_said_twice() {
        let error = anyhow::anyhow!("disk full")
            .context("cannot write x: disk full")
            .context("push failed");
        assert_eq!(error_chain(&error), "push failed: cannot write x: disk full");
    }
}
