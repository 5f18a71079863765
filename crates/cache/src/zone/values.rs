//! Small values under names, on the servers of a fleet: each whole, on one of them.
//!
//! They are answers that can be computed again, so a copy is enough: a node that is down costs its share of them until it
//! is back. What comes back is whatever the node says; whoever stores a value has sealed it, and rejects what does not
//! open.

use super::connection::Answer;
use super::node::Node;
use super::protocol::Key;
use super::watch::WatchedFleet;
use crate::report::NodeReport;
use bytes::Bytes;
use chunk::{CHUNK_BYTES, ChunkId, ID_BYTES};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The longest value: as a whole chunk. memcached's own limit is 1 MiB, unless its `-I` says otherwise.
pub const VALUE_BYTES_MAX: usize = CHUNK_BYTES;

/// The longest life of a value, seconds: 30 days. memcached takes a larger number for a date.
const LIFE_MAX_S: u32 = 30 * 24 * 3600;

/// Names a value: 32 bytes that are as good as random, since they decide which node has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueName(ChunkId);

impl ValueName {
    /// A name.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(ChunkId::from_bytes(bytes))
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for ValueName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Values on the servers that a fleet's file names.
#[derive(Debug)]
pub struct ValueTier {
    fleet: WatchedFleet,
}

impl ValueTier {
    /// Reads the fleet's file, of the same form as a worker's `zone_cache`, and starts tasks on the current runtime.
    /// Without servers, or with a file that cannot be used, nothing is found; the log says so, and the file is read again
    /// every second.
    #[must_use]
    pub fn open(fleet: &Path) -> Self {
        Self {
            fleet: WatchedFleet::open(fleet),
        }
    }

    /// What its node has under a name. Takes `answer_ms` of the file at most, and nothing while the node is left alone.
    pub async fn get(&self, name: ValueName) -> Option<Bytes> {
        let node = self.node(name)?;
        match timeout(node.access().answer_max, node.look(name)?).await {
            Ok(Ok(Answer::Value(value))) => Some(value),
            Ok(Ok(Answer::Refused | Answer::Done | Answer::Fragment(_))) => {
                node.reject(Key::Value(name));
                None
            }
            // It has none, has failed, or is late.
            _ => None,
        }
    }

    /// Gives a value to its node, to be kept for a while; nobody waits for it. Longer ones than [`VALUE_BYTES_MAX`] are not
    /// kept.
    pub fn put(&self, name: ValueName, value: Bytes, life: Duration) {
        let life_s = u32::try_from(life.as_secs()).unwrap_or(u32::MAX).clamp(1, LIFE_MAX_S);
        if value.len() <= VALUE_BYTES_MAX
            && let Some(node) = self.node(name)
        {
            node.keep(name, value, life_s);
        }
    }

    /// Says that what came under a name is not what was put there: it is deleted, and its node left alone for a while.
    pub fn reject(&self, name: ValueName) {
        if let Some(node) = self.node(name) {
            node.reject(Key::Value(name));
        }
    }

    /// The servers, and what came of asking them.
    #[must_use]
    pub fn report(&self) -> Vec<NodeReport> {
        self.fleet.now().nodes.iter().map(|node| node.report()).collect()
    }

    fn node(&self, name: ValueName) -> Option<Arc<Node>> {
        let fleet = self.fleet.now();
        let node = fleet.ring.nodes(&name.0).next()?;
        Some(Arc::clone(&fleet.nodes[node]))
    }
}
