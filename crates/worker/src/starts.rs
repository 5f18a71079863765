//! From what a start touched to what makes the next one faster.
//!
//! When a program is ready, its record is merged with the stored trace, and the start pack is built anew if the one
//! that is there has drifted from the trace. This is work of the background: whoever starts waits for none of it, and
//! a failure costs speed only.

use crate::error::StartError;
use api::ImageAddress;
use block::kernel::Device;
use bytes::Bytes;
use chunk::{
    BLOCK_BYTES, CHUNK_BYTES, ChunkEntry, Compression, DataKey, ManifestDraft, NONCE_BYTES, Run, Salt, SaltScope,
    SealedChunk, StartPack, StartPackDraft, StartPackNonces, Touch, Trace, seal_chunk,
};
use store::{ChunkWriter, RootState, Store, WriteMode};
use tokio::runtime::Handle;

/// What a pack is compressed with: it is written once, in the background, and fetched by every start.
const PACK_COMPRESSION: Compression = Compression::ZstdSmall;

/// A pack is built anew when more than one in this many bytes of the trace is missing in it, or more than this part
/// of it is no longer in the trace.
const DRIFT_PART: u64 = 20;

/// A start that is over.
pub(crate) struct FinishedStart<'a> {
    pub(crate) address: &'a ImageAddress,
    pub(crate) key: &'a DataKey,
    pub(crate) wrapped_key: &'a [u8],
    /// What it touched.
    pub(crate) touches: &'a [Touch],
    /// Reads the image.
    pub(crate) device: &'a dyn Device,
}

/// What was learnt from a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learnt {
    pub(crate) trace_bytes: u64,
    /// Bytes of the pack that was built, if one was.
    pub(crate) pack_bytes: Option<u64>,
}

/// Merges a start into the stored trace, and builds the start pack anew if it has drifted. Blocks.
pub(crate) fn learn(store: &Store, runtime: &Handle, start: &FinishedStart<'_>) -> Result<Learnt, StartError> {
    let (generation, manifest) = (start.address.generation, start.address.manifest);
    // Read afresh: other machines start the image too.
    let stored = runtime.block_on(store.get_trace(generation, manifest))?;
    let trace = match &stored {
        // One that does not open is of no use to anybody, and is replaced.
        Some(bytes) => Trace::open(bytes, start.key, manifest).unwrap_or_default(),
        None => Trace::default(),
    };
    let trace = trace.merged(start.touches);
    let sealed = trace.seal(start.key, nonce(), manifest);
    runtime.block_on(store.put_trace(generation, manifest, sealed.into()))?;
    let pack = runtime.block_on(store.get_start_pack(generation, manifest))?;
    let pack = pack.and_then(|bytes| StartPack::open(&bytes, start.key, manifest).ok());
    let mut learnt = Learnt {
        trace_bytes: trace.bytes(),
        pack_bytes: None,
    };
    if pack.is_none_or(|pack| has_drifted(&pack, &trace)) {
        learnt.pack_bytes = Some(build(store, runtime, start, &trace)?);
    }
    Ok(learnt)
}

fn has_drifted(pack: &StartPack, trace: &Trace) -> bool {
    let blocks = trace.runs.iter().flat_map(|traced| traced.run.numbers());
    let in_both = blocks.filter(|block| pack.has(*block)).count() as u64 * BLOCK_BYTES as u64;
    let missing = trace.bytes() - in_both;
    let stale = pack.bytes() - in_both;
    missing > trace.bytes() / DRIFT_PART || stale > pack.bytes() / DRIFT_PART
}

/// Writes the pack's chunks and then its index; gives the bytes of its runs.
fn build(store: &Store, runtime: &Handle, start: &FinishedStart<'_>, trace: &Trace) -> Result<u64, StartError> {
    let ImageAddress {
        account,
        generation,
        manifest,
        ..
    } = start.address;
    // The image may have moved since it was pushed: what is new about it belongs where it is now.
    let root = runtime.block_on(store.home(*generation, *manifest))?;
    let generation = root.generation;
    if root.state != RootState::Active {
        return Err(StartError::NotActive { generation });
    }
    // What a start touches is nobody else's business, so a pack is never shared between accounts.
    let salt = Salt::derive(&root.salt, &SaltScope::Account(account.clone()));
    let runs: Vec<Run> = trace.runs.iter().map(|traced| traced.run).collect();
    let writer = runtime.block_on(async { store.chunk_writer(generation, WriteMode::Store) });
    let chunks = pack_chunks(start.device, &runs, &salt, runtime, &writer);
    let written = runtime.block_on(writer.finish());
    let draft = StartPackDraft {
        chunks: ManifestDraft {
            chunks: chunks?,
            metadata_chunks: 0,
            generation,
        },
        runs,
    };
    written?;
    let nonces = StartPackNonces {
        keys: nonce(),
        runs: nonce(),
    };
    let index = draft.seal(start.key, start.wrapped_key, nonces, *manifest);
    runtime.block_on(store.put_start_pack(generation, *manifest, index.into()))?;
    Ok(trace.bytes())
}

type DraftChunks = Vec<(ChunkEntry, Option<chunk::ChunkKey>)>;

/// Reads the runs one after the other, and seals and stores each full chunk; the last one ends in zeros.
fn pack_chunks(
    device: &dyn Device,
    runs: &[Run],
    salt: &Salt,
    runtime: &Handle,
    writer: &ChunkWriter,
) -> Result<DraftChunks, StartError> {
    let mut chunks = Vec::new();
    let mut plaintext = Vec::with_capacity(CHUNK_BYTES);
    let mut seal = |mut plaintext: Vec<u8>| -> Result<(), StartError> {
        plaintext.resize(CHUNK_BYTES, 0);
        match seal_chunk(salt, plaintext, PACK_COMPRESSION) {
            SealedChunk::Zero => chunks.push((ChunkEntry::Zero, None)),
            SealedChunk::Data { entry, key, ciphertext } => {
                if let ChunkEntry::Data { id, .. } = entry {
                    runtime.block_on(writer.submit(id, ciphertext))?;
                }
                chunks.push((entry, Some(key)));
            }
        }
        Ok(())
    };
    for run in runs.iter().copied().flat_map(parts) {
        for piece in read_run(device, run)? {
            let mut piece = &piece[..];
            while !piece.is_empty() {
                let (now, later) = piece.split_at(piece.len().min(CHUNK_BYTES - plaintext.len()));
                plaintext.extend_from_slice(now);
                piece = later;
                if plaintext.len() == CHUNK_BYTES {
                    seal(std::mem::replace(&mut plaintext, Vec::with_capacity(CHUNK_BYTES)))?;
                }
            }
        }
    }
    if !plaintext.is_empty() {
        seal(plaintext)?;
    }
    Ok(chunks)
}

/// A run in parts of a chunk at most, so that a long one is never in memory whole.
fn parts(run: Run) -> impl Iterator<Item = Run> {
    let blocks_max = (CHUNK_BYTES / BLOCK_BYTES) as u16;
    (0..run.blocks).step_by(blocks_max.into()).map(move |start| Run {
        block: run.block + u32::from(start),
        blocks: (run.blocks - start).min(blocks_max),
    })
}

fn read_run(device: &dyn Device, run: Run) -> Result<Vec<Bytes>, StartError> {
    let mut pieces = Vec::new();
    let offset = u64::from(run.block) * BLOCK_BYTES as u64;
    device
        .read(offset, run.bytes() as usize, &mut pieces)
        .map_err(|_| StartError::Read)?;
    Ok(pieces)
}

fn nonce() -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    aws_lc_rs::rand::fill(&mut nonce).expect("the system's random generator works, or nothing is safe");
    nonce
}
