//! Bytes to sealed chunks and a manifest, and back.
//!
//! A device (an image's file system, later a snapshot's memory) is cut into chunks of [`CHUNK_BYTES`]. Each chunk is
//! sealed under a key that is derived from its own bytes and a salt, so equal bytes under equal salt are stored once
//! however many accounts hold them. The manifest lists the chunks in order; its key table is sealed under a data key
//! that only the account can open.
//!
//! This crate never does I/O, never waits, never reads a clock and never draws a random number: nonces and keys come
//! from the caller. The whole format therefore fits in a fuzzer.
//!
//! Read first: [`seal_chunk`], [`Opener`], [`Manifest`].

mod account;
mod envelope;
mod id;
mod manifest;
mod open;
mod salt;
mod seal;
mod secret;
mod start_pack;
mod trace;

pub use account::{Account, AccountParseError};
pub use envelope::{Envelope, EnvelopeError, NONCE_BYTES};
pub use id::{ChunkId, ID_BYTES, IdParseError};
pub use manifest::{
    ChunkEntry, MANIFEST_BYTES_PER_CHUNK_MAX, Manifest, ManifestDraft, ManifestError, UnlockedManifest,
};
pub use open::{CheckedChunk, OpenError, Opener};
pub use salt::{Salt, SaltScope};
pub use seal::{Compression, Encoding, SealedChunk, reseal_chunk, seal_chunk};
pub use secret::{ChunkKey, DataKey, KEY_BYTES};
pub use start_pack::{StartPack, StartPackDraft, StartPackError, StartPackNonces};
pub use trace::{BLOCK_BYTES, Run, TRACE_RUNS_MAX, Touch, Trace, TraceError, TracedRun};

/// Plaintext bytes in a chunk. 512 KiB: a file is read without many neighbours, and a 10 GiB image still has only
/// 20,480 manifest entries. Source: Brooker et al., USENIX ATC 2023; our own figures: docs/decisions/0003.
pub const CHUNK_BYTES: usize = 512 * 1024;
