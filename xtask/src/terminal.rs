//! Numbers, tables and bars for people.

use std::process::{Command, Stdio};

/// Columns when the terminal does not say.
const COLUMNS_DEFAULT: usize = 80;
/// Wider bars are no easier to read.
const COLUMNS_MAX: usize = 120;

/// Binary units with one decimal, as `404.8 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// MiB in each second; nothing for what took no time.
pub(crate) fn rate(bytes: u64, seconds: f64) -> String {
    if seconds <= 0.0 {
        return String::new();
    }
    format!("{:.0} MiB/s", bytes as f64 / f64::from(1 << 20) / seconds)
}

/// Columns of the terminal.
pub(crate) fn columns() -> usize {
    let size = Command::new("stty").arg("size").stdin(Stdio::inherit()).output();
    let text = size.map(|output| output.stdout).unwrap_or_default();
    let columns = String::from_utf8_lossy(&text)
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    columns
        .filter(|columns| *columns > 0)
        .unwrap_or(COLUMNS_DEFAULT)
        .min(COLUMNS_MAX)
}

/// A bar of `part` in `whole`, in eighths of a column; at least a sliver for what is not 0.
pub(crate) fn bar(part: u64, whole: u64, columns: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part as f64 / whole.max(1) as f64 * (columns * 8) as f64).round() as usize;
    let eighths = if part > 0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// Aligned columns: the first to the left, all others to the right.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule: [String; N] = widths.map(|width| "─".repeat(width));
    let mut text = line(header) + &line(std::array::from_fn(|column| rule[column].as_str()));
    for row in rows {
        text += &line(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

/// The same table in Markdown.
pub(crate) fn markdown<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = format!("| {} |\n|---|{}\n", header.join(" | "), "---:|".repeat(N - 1));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_eighths_and_never_hide_a_byte() {
        for (part, whole, expected) in [(0, 8, ""), (8, 8, "██"), (3, 16, "▍"), (1, 1 << 40, "▏"), (0, 0, "")] {
            assert_eq!(bar(part, whole, 2), expected, "{part} of {whole}");
        }
    }

    #[test]
    fn bytes_are_shown_in_the_largest_fitting_unit() {
        for (number, text) in [(1023, "1023 B"), (1024, "1.0 KiB"), (404 << 20, "404.0 MiB")] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn columns_of_a_table_line_up() {
        let rows = [["a".to_owned(), "10".to_owned()], ["long".to_owned(), "1".to_owned()]];
        assert_eq!(
            table(["x", "n"], &rows),
            "  x      n\n  ────  ──\n  a     10\n  long   1\n"
        );
    }
}
