//! One command's seconds and largest memory, by GNU time.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;
use crate::terminal::rate;

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Wall clock.
    pub(super) seconds: f64,
    /// Largest resident memory of the command or of its largest child.
    pub(super) resident_kibibytes: u64,
}

/// What several runs took.
#[derive(Clone, Debug)]
pub(super) struct Runs(Vec<Run>);

impl Runs {
    /// Runs `once` `count` times.
    pub(super) fn of(count: usize, mut once: impl FnMut() -> Result<Run>) -> Result<Self> {
        (0..count.max(1)).map(|_| once()).collect::<Result<Vec<_>>>().map(Self)
    }

    /// The median of the seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.sorted()[self.0.len() / 2]
    }

    /// The largest memory of all runs.
    pub(super) fn resident_kibibytes(&self) -> u64 {
        self.0.iter().map(|run| run.resident_kibibytes).max().unwrap_or(0)
    }

    /// A line of a table: what, median, range, MiB of image in each second, memory.
    pub(super) fn row(&self, what: &str, image_bytes: u64) -> [String; 5] {
        let sorted = self.sorted();
        [
            what.to_owned(),
            format!("{:.2} s", self.seconds()),
            format!("{:.2}..{:.2}", sorted[0], sorted[sorted.len() - 1]),
            rate(image_bytes, self.seconds()),
            format!("{} MiB", self.resident_kibibytes() >> 10),
        ]
    }

    fn sorted(&self) -> Vec<f64> {
        let mut seconds: Vec<f64> = self.0.iter().map(|run| run.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    }
}

/// Heads the rows of [`Runs::row`].
pub(super) const HEADER: [&str; 5] = ["command", "median", "min..max", "of layers", "memory"];

/// Runs a command under GNU time; `work` holds its answer for a moment.
pub(super) fn run(work: &Path, command: &Command) -> Result<Run> {
    let answer = work.join("time");
    let mut timed = Command::new("/usr/bin/time");
    timed
        .args(["--format=%e %M", "--output"])
        .arg(&answer)
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    process::run(&mut timed)?;
    let text = fs::read_to_string(&answer).context("reading the answer of GNU time")?;
    let (seconds, kibibytes) = text
        .trim()
        .split_once(' ')
        .context("GNU time answers with two numbers")?;
    Ok(Run {
        seconds: seconds.parse()?,
        resident_kibibytes: kibibytes.parse()?,
    })
}

/// A pipe or a sequence of commands, as bash runs it.
pub(super) fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]);
    command
}
