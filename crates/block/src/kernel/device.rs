//! What is served: devices by their numbers.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// A read-only device whose bytes somebody serves.
pub trait Device: Send + Sync + 'static {
    /// The device's size. It never changes. A loop device shows whole sectors of 512 bytes only, so a size that is not
    /// a multiple loses its tail there.
    fn bytes(&self) -> u64;

    /// Appends pieces that together are exactly `bytes` long from `offset`, both inside the device. Blocks as long as
    /// needed. Called from many threads at once, with at most 1 MiB a call.
    fn read(&self, offset: u64, bytes: usize, pieces: &mut Vec<Bytes>) -> Result<(), ReadFailed>;
}

/// The device has no bytes to give and has logged the reason; the reader gets EIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the device could not be read")]
pub struct ReadFailed;

/// A device's number, from 1, never used again within a session: the kernel may remember a number's size for as long
/// as the session lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber(pub u64);

impl std::fmt::Display for DeviceNumber {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The devices that a session serves, shared by its workers and its owner. A clone is the same table.
#[derive(Clone, Default)]
pub struct DeviceTable {
    /// A lock on the path of a read, but only of one that missed the page cache: tens of nanoseconds of some hundred
    /// microseconds. Nobody blocks while holding it.
    devices: Arc<RwLock<BTreeMap<DeviceNumber, Arc<dyn Device>>>>,
}

impl DeviceTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `device` under `number`.
    ///
    /// # Panics
    /// When the number is 0, or in use: both are faults of the caller.
    pub fn insert(&self, number: DeviceNumber, device: Arc<dyn Device>) {
        assert_ne!(number.0, 0, "device numbers start at 1");
        let before = self
            .devices
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(number, device);
        assert!(before.is_none(), "device number {number} was used twice");
    }

    /// Stops serving `number`. Whoever still reads it gets EIO.
    pub fn remove(&self, number: DeviceNumber) -> Option<Arc<dyn Device>> {
        self.devices
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number)
    }

    /// The device of this number.
    pub fn get(&self, number: DeviceNumber) -> Option<Arc<dyn Device>> {
        self.devices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&number)
            .cloned()
    }

    /// All numbers, ascending.
    pub fn numbers(&self) -> Vec<DeviceNumber> {
        self.devices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .copied()
            .collect()
    }
}

impl std::fmt::Debug for DeviceTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("DeviceTable").field(&self.numbers()).finish()
    }
}
