//! What a batch came to.

use super::Facts;
use serde_json::{Value, json};

/// Counted over all records of the output, also those of earlier runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) records: u64,
    pub(crate) errors: u64,
    /// Records that earlier runs had finished.
    pub(crate) earlier: u64,
    /// Calls beyond the first of each record, in this run.
    pub(crate) retries: u64,
    /// Of this run.
    pub(crate) seconds: f64,
    pub(crate) billed_ms: u64,
    /// Memory times billed time: what Lambda's price is for.
    pub(crate) gb_seconds: f64,
}

impl Summary {
    pub(crate) fn count(&mut self, facts: Facts) {
        self.records += 1;
        self.errors += u64::from(facts.is_error);
        self.billed_ms += facts.billed_ms;
        self.gb_seconds += facts.memory_mb as f64 / 1024.0 * facts.billed_ms as f64 / 1000.0;
    }

    /// For people.
    pub(crate) fn rows(&self) -> [(&'static str, String); 7] {
        [
            ("records", self.records.to_string()),
            ("errors", self.errors.to_string()),
            ("done by earlier runs", self.earlier.to_string()),
            ("calls repeated", self.retries.to_string()),
            ("time", format!("{:.1} s", self.seconds)),
            ("billed", format!("{} ms", self.billed_ms)),
            ("memory x time", format!("{:.3} GB-s", self.gb_seconds)),
        ]
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "records": self.records,
            "errors": self.errors,
            "records_earlier": self.earlier,
            "retries": self.retries,
            "seconds": self.seconds,
            "billed_ms": self.billed_ms,
            "gb_seconds": self.gb_seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_memory_times_billed_time() {
        let mut summary = Summary::default();
        for (memory_mb, billed_ms, is_error) in [(1024, 1000, false), (512, 500, true), (0, 0, true)] {
            summary.count(Facts {
                is_error,
                billed_ms,
                memory_mb,
                tries: 1,
            });
        }
        assert_eq!((summary.records, summary.errors, summary.billed_ms), (3, 2, 1500));
        assert!((summary.gb_seconds - 1.25).abs() < 1e-9);
    }
}
