//! The machine that a figure belongs to.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Processor, cores, memory, kernel and date, as a Markdown list.
pub(super) fn describe() -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = value(&cpu, "model name").unwrap_or("unknown");
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kibibytes = value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let gibibytes = kibibytes.unwrap_or(0.0) / f64::from(1 << 20);
    let kernel = process::run(Command::new("uname").args(["-sr"]))?;
    let date = process::run(Command::new("date").args(["--utc", "+%Y-%m-%d"]))?;
    let (kernel, date) = (kernel.trim(), date.trim());
    Ok(format!(
        "- processor: {model}, {cores} cores\n- memory: {gibibytes:.0} GiB\n- kernel: {kernel}\n- date: {date}\n"
    ))
}

/// The value of the first line `name : value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find_map(|(key, value)| (key.trim() == name).then(|| value.trim()))
}
