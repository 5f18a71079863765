//! A chunk by its id, from the nearest place: this process's memory, this machine's disk, the zone's memcached
//! servers, or the origin.
//!
//! ```text
//! get ──> memory ──miss──> flight ──> disk ──miss──> zone ──miss──> permit ──> origin
//!           ^              one per id   |              |                          |
//!           └───────────── checked ─────┴──────────────┴──────────────────────────┴──> disk, zone: later
//! ```
//! Every copy is hashed each time it is handed out, from whatever tier: a bad one is dropped, counted and reported,
//! and the next tier is asked. So this crate may lose everything at any moment, and its disk may hold anything at all,
//! and the worst that comes of it is a fetch.
//!
//! Beside the tiers, [`ValueTier`] keeps small values that their owner has sealed on the same kind of servers.
//!
//! It never holds a key, never sees plaintext, never decides what to prefetch, and is no one's only copy.
//!
//! Read first: [`Cache`], [`Origin`], [`Settings`].

mod address;
mod cache;
mod counters;
mod disk;
mod error;
mod fetch;
mod flight;
mod hedge;
mod memory;
mod origin;
mod permits;
mod report;
mod settings;
mod zone;

pub use address::{ChunkAddress, Tier, Urgency};
pub use cache::Cache;
pub use disk::{IndexError, SlotRecord, decode_index};
pub use error::{ChunkCorrupt, ChunkMissing, FetchError, OriginFailed, OriginSilent};
pub use origin::{Origin, OriginError};
pub use report::{DiskReport, HeldReport, LatencyReport, NodeReport, OriginReport, Report, TierReport, ZoneReport};
pub use settings::{DiskSettings, Settings, SettingsError};
pub use store::ErrorKind;
pub use zone::{Cut, Fragment, FragmentError, VALUE_BYTES_MAX, ValueName, ValueTier, cut_chunk, join_fragments};
