//! What a cold start was made of: a clock for its parts, and what was read of its images.

use super::calendar::now_ms;
use super::devices::Device;
use api::{ColdStart, StartPart, TierBytes};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{JoinHandle, spawn_blocking};

/// How long the record of a start waits for the daemon's figures. Only the record waits, no caller.
const FIGURES_WAIT: Duration = Duration::from_secs(2);

/// Takes the time of a cold start's parts.
#[derive(Debug)]
pub(crate) struct StartClock {
    begin: Instant,
    record: ColdStart,
}

impl StartClock {
    /// Began when the event was asked for.
    pub(crate) fn new(begin: Instant) -> Self {
        let age = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut clock = Self {
            begin,
            record: ColdStart {
                begin_ms: now_ms().saturating_sub(age),
                ..ColdStart::default()
            },
        };
        // For its turn, where many started at once.
        if age > 0 {
            clock.part("wait", begin);
        }
        clock
    }

    /// A part that began at a time and is over.
    pub(crate) fn part(&mut self, name: &str, begin: Instant) {
        let since = begin.saturating_duration_since(self.begin);
        self.record.parts.push(StartPart::new(name, since, begin.elapsed()));
    }

    /// It has a snapshot, and initialises all the same.
    pub(crate) fn fell_back(&mut self, reason: String) {
        self.record.fell_back = Some(reason);
    }

    /// Runtime and extensions wait for their first event.
    pub(crate) fn initialized(&mut self) {
        self.record.total_us = u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX);
    }

    /// The record, with what was read.
    pub(crate) fn finish(self, tiers: Vec<TierBytes>) -> ColdStart {
        ColdStart { tiers, ..self.record }
    }
}

/// What a start reads of its images, each once.
#[derive(Debug, Default)]
pub(crate) struct StartReads {
    images: Vec<ImageReads>,
}

#[derive(Debug)]
struct ImageReads {
    device: Arc<Device>,
    /// What others had read before; nothing of an image that nobody had read from.
    before: Option<JoinHandle<Vec<TierBytes>>>,
}

impl StartReads {
    /// Adds an image. What others have read of it before is asked for beside the start, which does not wait for it.
    pub(crate) fn add(&mut self, device: &Arc<Device>, is_fresh: bool) {
        if self.images.iter().any(|image| Arc::ptr_eq(&image.device, device)) {
            return;
        }
        let asked = Arc::clone(device);
        let before = (!is_fresh).then(|| spawn_blocking(move || asked.read_bytes()));
        self.images.push(ImageReads {
            device: Arc::clone(device),
            before,
        });
    }

    /// Ends the record of what the start touches, and gives what was read until now, by tier; nothing when the daemon
    /// does not say it in time.
    pub(crate) async fn finish(self) -> Vec<TierBytes> {
        let mut sums = Vec::new();
        for ImageReads { device, before } in self.images {
            let after = spawn_blocking(move || {
                let after = device.read_bytes();
                device.ready();
                after
            });
            let reads = async { (after.await.unwrap_or_default(), settled(before).await) };
            if let Ok((after, before)) = tokio::time::timeout(FIGURES_WAIT, reads).await {
                add_difference(&mut sums, &after, &before);
            }
        }
        sums
    }
}

async fn settled(before: Option<JoinHandle<Vec<TierBytes>>>) -> Vec<TierBytes> {
    match before {
        Some(before) => before.await.unwrap_or_default(),
        None => Vec::new(),
    }
}

fn add_difference(sums: &mut Vec<TierBytes>, after: &[TierBytes], before: &[TierBytes]) {
    for read in after {
        let earlier = before.iter().find(|earlier| earlier.tier == read.tier);
        let chunks = read.chunks - earlier.map_or(0, |earlier| earlier.chunks.min(read.chunks));
        let bytes = read.bytes - earlier.map_or(0, |earlier| earlier.bytes.min(read.bytes));
        match sums.iter_mut().find(|sum| sum.tier == read.tier) {
            Some(sum) => (sum.chunks, sum.bytes) = (sum.chunks + chunks, sum.bytes + bytes),
            None => sums.push(TierBytes {
                tier: read.tier.clone(),
                chunks,
                bytes,
            }),
        }
    }
}

/// Our own line in a function's log: where a cold start's time went. Lambda has none; it has REPORT's form.
pub(crate) fn cold_start_line(request_id: &str, start: &ColdStart) -> String {
    let ms = |us: u64| Duration::from_micros(us).as_secs_f64() * 1000.0;
    let mut line = format!(
        "COLD_START RequestId: {request_id}\tTotal: {:.2} ms",
        ms(start.total_us)
    );
    for part in &start.parts {
        let written = write!(line, "\t{}: {:.2} ms", part.name, ms(part.took_us));
        written.expect("writing to a String cannot fail");
    }
    for tier in start.tiers.iter().filter(|tier| tier.chunks > 0) {
        let written = write!(line, "\t{}: {} chunks {} bytes", tier.tier, tier.chunks, tier.bytes);
        written.expect("writing to a String cannot fail");
    }
    if let Some(reason) = &start.fell_back {
        line.push_str("\tNot restored: ");
        line.push_str(reason);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{add_difference, cold_start_line};
    use api::{ColdStart, StartPart, TierBytes};
    use std::time::Duration;

    fn tier(tier: &str, chunks: u64, bytes: u64) -> TierBytes {
        TierBytes {
            tier: tier.to_owned(),
            chunks,
            bytes,
        }
    }

    #[test]
    fn only_what_the_start_read_counts() {
        let mut sums = Vec::new();
        add_difference(
            &mut sums,
            &[tier("disk", 5, 50), tier("origin", 3, 30)],
            &[tier("disk", 2, 20)],
        );
        add_difference(&mut sums, &[tier("disk", 1, 10)], &[]);
        assert_eq!(sums, [tier("disk", 4, 40), tier("origin", 3, 30)]);
    }

    #[test]
    fn the_line_has_all_parts() {
        let start = ColdStart {
            begin_ms: 0,
            parts: vec![StartPart::new("mount", Duration::ZERO, Duration::from_micros(1500))],
            total_us: 20_000,
            tiers: vec![tier("memory", 0, 0), tier("origin", 2, 99)],
            fell_back: None,
        };
        let line = cold_start_line("id", &start);
        assert_eq!(
            line,
            "COLD_START RequestId: id\tTotal: 20.00 ms\tmount: 1.50 ms\torigin: 2 chunks 99 bytes"
        );
    }
}
