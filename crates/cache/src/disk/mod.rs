//! The middle tier: sealed chunks on this machine's disk, kept over restarts.
//!
//! Two files in a directory of the cache's own. `chunks` is one plain file of slots of 512 KiB, a chunk in each, of
//! which only what the chunk needs is written: the file is sparse. `index` says which chunk a slot holds (its bytes are
//! laid out in `index`, the module). Which slot makes room is for `slots` to say, in memory.
//!
//! **Nothing is fsynced.** A record names a hash, and bytes with another hash are never handed out: whatever a crash
//! tears, reorders or forgets is at worst a chunk that must be fetched again. What `fsync` would buy is a warmer start
//! after a power cut, for a journal commit with each chunk. After `kill -9` nothing is lost that was written, since the
//! kernel has it; and a slot's record is erased before its bytes are overwritten, so that no restart meets a wrong
//! record in the ordinary course of things, and a corrupt copy is worth an alarm.
//!
//! **Reads and writes pass the page cache by** (O_DIRECT) where the file system lets them. The plaintext of what is
//! read goes to the page cache of the mounted device above; sealed bytes there would be a second copy that nobody reads
//! again, since this crate has its own memory tier.
//!
//! **Blocking calls run on tokio's blocking threads**, at most [`READS_MAX`] reads and one write at once. Threads of
//! our own would be as many and idle; the bound is a permit, so a burst waits here and not in tokio's queue, where it
//! would hold up others.
//!
//! A tier that breaks is left out, never an error: one that cannot be opened from the start, one that cannot be
//! written for writes.

mod index;
mod slot_file;
mod slots;
mod tier;
mod writer;

pub use index::{IndexError, SlotRecord, decode_index};
pub(crate) use tier::DiskTier;

/// Reads under way at once. Not tuned: twice the 16 with which `benches/tiers.rs` compares the tier with its disk, so
/// that 8 demands find a place at once beside the three quarters that prefetches may take. 16 MiB of memory.
pub(crate) const READS_MAX: usize = 32;
