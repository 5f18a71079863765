//! What a device has read, and from where.

use cache::Tier;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

/// Chunks and their stored bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkCount {
    /// How many.
    pub chunks: u64,
    /// Their bytes as stored.
    pub bytes: u64,
}

/// What became of chunks that were fetched ahead of demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefetchCounts {
    /// Chunks that were fetched ahead.
    pub chunks: u64,
    /// Of them, those that were there when a reader wanted them.
    pub used: u64,
    /// Those that a reader wanted before they were there.
    pub late: u64,
    /// Those that nobody has wanted.
    pub wasted: u64,
    /// The stored bytes of the wasted ones.
    pub wasted_bytes: u64,
}

impl AddAssign for PrefetchCounts {
    fn add_assign(&mut self, other: Self) {
        self.chunks += other.chunks;
        self.used += other.used;
        self.late += other.late;
        self.wasted += other.wasted;
        self.wasted_bytes += other.wasted_bytes;
    }
}

/// What a device has read since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceReport {
    /// Bytes of the device.
    pub device_bytes: u64,
    /// Reads that the kernel asked for.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Chunks that came from the worker's memory.
    pub memory: ChunkCount,
    /// Chunks that came from the worker's disk.
    pub disk: ChunkCount,
    /// From the zone's memcached servers.
    pub zone: ChunkCount,
    /// Chunks that came from the origin.
    pub origin: ChunkCount,
    /// Of all these, chunks of the start pack.
    pub packed: ChunkCount,
    /// What became of those that were fetched ahead.
    pub prefetch: PrefetchCounts,
    /// Reads that were answered with EIO.
    pub failed_reads: u64,
}

#[derive(Debug, Default)]
struct Counter {
    chunks: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn add(&self, bytes: u64) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> ChunkCount {
        ChunkCount {
            chunks: self.chunks.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// The counters behind a [`DeviceReport`]; relaxed, since each stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    failed_reads: AtomicU64,
    memory: Counter,
    disk: Counter,
    zone: Counter,
    origin: Counter,
    packed: Counter,
}

impl Statistics {
    pub(crate) fn read(&self, bytes: usize, succeeded: bool) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.failed_reads.fetch_add(u64::from(!succeeded), Ordering::Relaxed);
    }

    pub(crate) fn chunk(&self, tier: Tier, bytes: usize, is_packed: bool) {
        let counter = match tier {
            Tier::Memory => &self.memory,
            Tier::Disk => &self.disk,
            Tier::Zone => &self.zone,
            Tier::Origin => &self.origin,
        };
        counter.add(bytes as u64);
        if is_packed {
            self.packed.add(bytes as u64);
        }
    }

    pub(crate) fn report(&self, device_bytes: u64, prefetch: PrefetchCounts) -> DeviceReport {
        DeviceReport {
            device_bytes,
            reads: self.reads.load(Ordering::Relaxed),
            read_bytes: self.read_bytes.load(Ordering::Relaxed),
            memory: self.memory.get(),
            disk: self.disk.get(),
            zone: self.zone.get(),
            origin: self.origin.get(),
            packed: self.packed.get(),
            prefetch,
            failed_reads: self.failed_reads.load(Ordering::Relaxed),
        }
    }
}
