//! What a cold start is made of.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One cold start, explained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColdStart {
    /// When it began, milliseconds since 1970.
    pub begin_ms: u64,
    /// Its parts in the order in which they ended; they may overlap.
    pub parts: Vec<StartPart>,
    /// From the request to the runtime's first `next`.
    pub total_us: u64,
    /// What was read of its devices until then, by tier.
    pub tiers: Vec<TierBytes>,
    /// Why it initialised although its lease has a snapshot. A start that was a restore has a part `restore` instead.
    #[serde(default)]
    pub fell_back: Option<String>,
}

/// One part of a cold start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPart {
    /// `lease`, `mount`, `sandbox`, `runtime`, `init`, `first_byte`; `restore` and `hooks` of one from a snapshot.
    pub name: String,
    /// Since the cold start began.
    pub begin_us: u64,
    /// How long it took.
    pub took_us: u64,
}

impl StartPart {
    /// A part by its times.
    #[must_use]
    pub fn new(name: &str, begin: Duration, took: Duration) -> Self {
        Self {
            name: name.to_owned(),
            begin_us: u64::try_from(begin.as_micros()).unwrap_or(u64::MAX),
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// What came from one tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierBytes {
    /// `memory`, `disk` or `origin`.
    pub tier: String,
    /// Chunks that it answered.
    pub chunks: u64,
    /// Their stored bytes.
    pub bytes: u64,
}
