//! What every backend keeps, and what happens when calls fail or writers die.

mod backends;
mod collecting;
mod conformance;
mod failing;
mod faults;
mod killed;
mod moto;
mod s3_server;
mod simulation;
mod unreachable;

use chunk::ChunkId;

/// A sealed chunk as far as this crate can tell: bytes under their hash. Different for each `seed`.
fn sealed(seed: u64, bytes: usize) -> (ChunkId, Vec<u8>) {
    let stored: Vec<u8> = seed.to_le_bytes().into_iter().cycle().take(bytes).collect();
    (ChunkId::of(&stored), stored)
}
