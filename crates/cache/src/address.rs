//! Which chunk, from where, how soon.

use chunk::ChunkId;
use std::fmt;

/// What an origin needs to find a chunk, and what a cache needs to make room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkAddress {
    /// The root that the chunk's manifest names. The tiers of this crate leave it aside: equal ids are equal bytes.
    pub generation: u32,
    /// Name and hash of the stored bytes.
    pub id: ChunkId,
    /// Bytes to expect, as the manifest says; sizes the permit of a fetch.
    pub stored_bytes: u32,
}

/// Where a chunk's bytes came from, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// This process.
    Memory,
    /// This machine.
    Disk,
    /// The memcached servers that this machine's zone shares.
    Zone,
    /// Whatever lies behind [`Origin`](crate::Origin).
    Origin,
}

impl Tier {
    /// All tiers, nearest first.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Disk, Self::Zone, Self::Origin];

    /// The tier's place in [`Tier::ALL`], and in a report.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// `memory`, `disk`, `zone`, `origin`: as in logs and metrics.
impl fmt::Display for Tier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Zone => "zone",
            Self::Origin => "origin",
        })
    }
}

/// Who goes first when not all can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Urgency {
    /// A reader waits.
    Demand,
    /// A reader may come. Never served while a demand waits for the same resource.
    Prefetch,
}
