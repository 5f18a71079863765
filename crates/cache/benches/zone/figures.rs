//! Times as a line of a table.

use std::time::Duration;

pub(crate) struct Figures {
    pub(crate) times: Vec<Duration>,
    pub(crate) took: Duration,
    pub(crate) origin_reads: usize,
}

pub(crate) fn header() -> String {
    "| way | readers | p50 µs | p99 µs | p99.9 µs | longest µs | chunks/s | from the origin |\n|---|---:|---:|---:|---:|---:|---:|---:|"
        .to_owned()
}

impl Figures {
    pub(crate) fn row(mut self, name: &str, readers: usize) -> String {
        self.times.sort();
        let at =
            |per_mille: usize| self.times[(self.times.len() * per_mille / 1000).min(self.times.len() - 1)].as_micros();
        format!(
            "| {name} | {readers} | {} | {} | {} | {} | {:.0} | {} |",
            at(500),
            at(990),
            at(999),
            at(1000),
            self.times.len() as f64 / self.took.as_secs_f64(),
            self.origin_reads
        )
    }
}
