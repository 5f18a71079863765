//! The small pieces that starts need, packed in order of first use.
//!
//! A start touches a little of many chunks. A start pack is one more device: the touched runs of an image's device,
//! one after the other, cut into chunks and sealed like any other, so that store, caches and checks know nothing new.
//! This page is its index, stored beside the image's manifest. All numbers are little-endian.
//!
//! ```text
//! offset  width  what
//!      0      8  magic "lambentp"
//!      8      2  version, 1
//!     10      2  reserved, 0
//!     12      4  M, bytes of the manifest
//!     16      M  manifest of the packed device (see [`Manifest`]), under the image's data key
//!   16+M      …  envelope (see [`Envelope`]): for each run 4 bytes first block, 2 bytes blocks; associated data:
//!                everything before it, and the 32 bytes of the image's manifest id
//! ```
//! The manifest's chunk list is readable without a key, like every other, for whoever moves or collects chunks.

use crate::trace::{BLOCK_BYTES, Run, TRACE_RUNS_MAX};
use crate::{
    CHUNK_BYTES, ChunkId, DataKey, Envelope, EnvelopeError, Manifest, ManifestDraft, ManifestError, NONCE_BYTES,
    UnlockedManifest,
};

const MAGIC: &[u8; 8] = b"lambentp";
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 16;
const RUN_BYTES: usize = 6;

/// Where the pieces of a packed device come from, and its chunks.
#[derive(Debug)]
pub struct StartPack {
    runs: Vec<PackedRun>,
    manifest: UnlockedManifest,
    generation: u32,
}

/// What a writer hands in.
#[derive(Debug)]
pub struct StartPackDraft {
    /// Runs of the image's device in order of first use; no block is in two of them.
    pub runs: Vec<Run>,
    /// The chunks of the packed device: the runs one after the other, zeros up to the last chunk's end.
    pub chunks: ManifestDraft,
}

/// The two nonces that sealing an index takes.
#[derive(Clone, Copy, Debug)]
pub struct StartPackNonces {
    /// For the manifest's key table.
    pub keys: [u8; NONCE_BYTES],
    /// For the list of runs.
    pub runs: [u8; NONCE_BYTES],
}

#[derive(Clone, Copy, Debug)]
struct PackedRun {
    run: Run,
    /// The first block's number in the packed device.
    packed_block: u32,
}

/// Why bytes are not the start pack of a manifest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartPackError {
    /// Does not begin like a start pack.
    #[error("not a start pack: it does not begin with `lambentp`")]
    NotAStartPack,
    /// Written by a newer Lambent.
    #[error("start pack version {found} is not known here (this build reads version {VERSION}): update lambent")]
    UnknownVersion {
        /// The version that was found.
        found: u16,
    },
    /// A field has a value that no writer gives it.
    #[error("start pack is corrupt: {field} has the impossible value {value}")]
    BadField {
        /// Which field of the layout.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
    /// The packed device's manifest is damaged.
    #[error("start pack: {0}")]
    Manifest(#[from] ManifestError),
    /// The envelope does not open.
    #[error("start pack: {0}")]
    Sealed(#[from] EnvelopeError),
}

impl StartPackDraft {
    /// Seals the index of the pack that belongs to the manifest with this id; `wrapped_key` is as in that manifest.
    #[must_use]
    pub fn seal(&self, data_key: &DataKey, wrapped_key: &[u8], nonces: StartPackNonces, image: ChunkId) -> Vec<u8> {
        let manifest = Manifest::seal(&self.chunks, data_key, wrapped_key, nonces.keys);
        let manifest_bytes = u32::try_from(manifest.len()).expect("a pack's manifest is shorter than its image's");
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&manifest_bytes.to_le_bytes());
        bytes.extend_from_slice(&manifest);
        let mut runs = Vec::with_capacity(self.runs.len() * RUN_BYTES);
        for run in &self.runs {
            runs.extend_from_slice(&run.block.to_le_bytes());
            runs.extend_from_slice(&run.blocks.to_le_bytes());
        }
        let envelope = Envelope::seal(data_key, nonces.runs, &associated(&bytes, image), &runs);
        bytes.extend_from_slice(&envelope);
        bytes
    }
}

impl StartPack {
    /// Opens the index that [`StartPackDraft::seal`] made for the same manifest.
    pub fn open(bytes: &[u8], data_key: &DataKey, image: ChunkId) -> Result<Self, StartPackError> {
        let manifest_bytes = manifest_length(bytes)?;
        let (front, envelope) = bytes.split_at(HEADER_BYTES + manifest_bytes);
        let manifest = Manifest::decode(&front[HEADER_BYTES..])?;
        let generation = manifest.generation();
        let runs = Envelope::open(data_key, &associated(front, image), envelope)?;
        let runs = decode_runs(&runs, manifest.entries().len())?;
        let manifest = manifest.unlock(data_key)?;
        Ok(Self {
            runs,
            manifest,
            generation,
        })
    }

    /// The packed device's chunks as a manifest, its keys locked: for whoever copies a pack with what it needs. The
    /// rest of the index is not looked at.
    pub fn packed_device(bytes: &[u8]) -> Result<Manifest, StartPackError> {
        let manifest_bytes = manifest_length(bytes)?;
        Ok(Manifest::decode(&bytes[HEADER_BYTES..HEADER_BYTES + manifest_bytes])?)
    }

    /// The packed device's chunks, in order of first use.
    #[must_use]
    pub const fn manifest(&self) -> &UnlockedManifest {
        &self.manifest
    }

    /// The generation of the root that holds the chunks.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Bytes of all runs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|packed| packed.run.bytes()).sum()
    }

    /// Whether the pack has this block of the image's device.
    #[must_use]
    pub fn has(&self, block: u32) -> bool {
        self.find(block).is_some()
    }

    /// Where in the packed device the bytes `offset..offset + bytes` of the image's device lie, as (offset, bytes)
    /// in order; `None` unless the pack has all of them.
    #[must_use]
    pub fn locate(&self, offset: u64, bytes: usize) -> Option<Vec<(u64, usize)>> {
        let mut pieces = Vec::new();
        let (mut at, end) = (offset, offset + bytes as u64);
        while at < end {
            let packed = self.find(u32::try_from(at / BLOCK_BYTES as u64).ok()?)?;
            let run_start = u64::from(packed.run.block) * BLOCK_BYTES as u64;
            let piece_end = end.min(run_start + packed.run.bytes());
            let packed_start = u64::from(packed.packed_block) * BLOCK_BYTES as u64 + (at - run_start);
            pieces.push((packed_start, (piece_end - at) as usize));
            at = piece_end;
        }
        Some(pieces)
    }

    fn find(&self, block: u32) -> Option<&PackedRun> {
        let after = self.runs.partition_point(|packed| packed.run.block <= block);
        let packed = &self.runs[after.checked_sub(1)?];
        (block - packed.run.block < packed.run.blocks.into()).then_some(packed)
    }
}

/// The manifest's bytes, once header and length of the whole allow it.
fn manifest_length(bytes: &[u8]) -> Result<usize, StartPackError> {
    if !bytes.starts_with(MAGIC) {
        return Err(StartPackError::NotAStartPack);
    }
    let bad = |field, value: u64| StartPackError::BadField { field, value };
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(bad("length", bytes.len() as u64))?;
    let version = u16::from_le_bytes([header[8], header[9]]);
    let reserved = u16::from_le_bytes([header[10], header[11]]);
    let manifest = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    match manifest as usize {
        _ if version != VERSION => Err(StartPackError::UnknownVersion { found: version }),
        _ if reserved != 0 => Err(bad("reserved bytes", reserved.into())),
        length if length > bytes.len() - HEADER_BYTES => Err(bad("manifest's length", manifest.into())),
        length => Ok(length),
    }
}

/// In order of blocks, each with its place in the packed device.
fn decode_runs(bytes: &[u8], chunks: usize) -> Result<Vec<PackedRun>, StartPackError> {
    let bad = |field, value: u64| StartPackError::BadField { field, value };
    if !bytes.len().is_multiple_of(RUN_BYTES) || bytes.len() / RUN_BYTES > TRACE_RUNS_MAX {
        return Err(bad("length of the runs", bytes.len() as u64));
    }
    let packed_blocks_max = (chunks * CHUNK_BYTES / BLOCK_BYTES) as u64;
    let mut packed_block = 0_u64;
    let mut runs = Vec::with_capacity(bytes.len() / RUN_BYTES);
    for bytes in bytes.chunks_exact(RUN_BYTES) {
        let run = Run {
            block: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            blocks: u16::from_le_bytes([bytes[4], bytes[5]]),
        };
        let first = packed_block;
        packed_block += u64::from(run.blocks);
        if !run.is_possible() || packed_block > packed_blocks_max {
            return Err(bad("blocks of a run", run.blocks.into()));
        }
        runs.push(PackedRun {
            run,
            packed_block: u32::try_from(first).map_err(|_| bad("packed blocks", first))?,
        });
    }
    runs.sort_by_key(|packed| packed.run.block);
    let overlap = runs
        .windows(2)
        .find(|pair| pair[0].run.block + u32::from(pair[0].run.blocks) > pair[1].run.block);
    match overlap {
        Some(pair) => Err(bad("block that is there twice", pair[1].run.block.into())),
        None => Ok(runs),
    }
}

fn associated(front: &[u8], image: ChunkId) -> Vec<u8> {
    [front, image.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
