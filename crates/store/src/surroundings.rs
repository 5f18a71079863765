//! Time and chance, as a store needs them; a simulation brings its own.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;
type Random = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

/// A clock and a source of randomness.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// Milliseconds after 1970.
    pub(crate) clock: Clock,
    /// Milliseconds since some moment; whoever sets the clock does not move it.
    pub(crate) stopwatch: Clock,
    /// Fills a buffer.
    pub(crate) random: Random,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            clock: Arc::new(system_ms),
            stopwatch: Arc::new(elapsed_ms),
            random: Arc::new(|bytes| {
                aws_lc_rs::rand::fill(bytes).expect("the system's random generator works, or nothing is safe");
            }),
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Surroundings(..)")
    }
}

fn elapsed_ms() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn system_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
