//! What starts touch: which blocks of a device, in which order, and when.
//!
//! A trace is stored beside its manifest, sealed under the manifest's data key: what a program reads at its start says
//! much about it. All numbers are little-endian.
//!
//! ```text
//! offset  width  what
//!      0      8  magic "lambentt"
//!      8      2  version, 1
//!     10      …  envelope (see [`Envelope`]) over the fields below; associated data: the 10 bytes before it, and the
//!                32 bytes of the manifest's id, so that no trace opens as another image's
//! ```
//! Inside the envelope:
//!
//! ```text
//! offset  width  what
//!      0      4  starts that have been merged, ever
//!      4     11  for each run: 4 bytes first block, 2 bytes blocks, 1 byte starts that touched it, 4 bytes ms
//! ```
//! Runs are in order of first use. The byte of starts has one bit for each of the last eight, the latest lowest; a
//! run that none of the eight touched is no longer there.

use crate::{ChunkId, DataKey, Envelope, EnvelopeError, NONCE_BYTES};
use std::collections::HashMap;

/// Bytes of a block: the kernel's page, and so the least that a start can touch.
pub const BLOCK_BYTES: usize = 4096;

/// Runs of a trace: 4 GiB in single blocks. A start that touches more is cut off there.
pub const TRACE_RUNS_MAX: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"lambentt";
const VERSION: u16 = 1;
const PREFIX_BYTES: usize = 10;
const RUN_BYTES: usize = 11;

/// Neighbouring blocks that were touched together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first block's number in the device.
    pub block: u32,
    /// How many, at least 1.
    pub blocks: u16,
}

/// A run that a start touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// What was touched.
    pub run: Run,
    /// When, in milliseconds after the start began.
    pub at_ms: u32,
}

/// A run of a merged trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedRun {
    /// What was touched.
    pub run: Run,
    /// When, in the latest start that touched it.
    pub at_ms: u32,
    /// Which of the last eight starts touched it: a bit for each, the latest lowest. Never 0.
    pub starts: u8,
}

/// What the last starts touched, in order of first use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Starts that have been merged, ever.
    pub starts: u32,
    /// In order of first use; no block is in two of them.
    pub runs: Vec<TracedRun>,
}

/// Why bytes are not the trace of a manifest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// Does not begin like a trace.
    #[error("not a trace: it does not begin with `lambentt`")]
    NotATrace,
    /// Written by a newer Lambent.
    #[error("trace version {found} is not known here (this build reads version {VERSION}): update lambent")]
    UnknownVersion {
        /// The version that was found.
        found: u16,
    },
    /// A field has a value that no writer gives it.
    #[error("trace is corrupt: {field} has the impossible value {value}")]
    BadField {
        /// Which field of the layout.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
    /// The envelope does not open.
    #[error("trace: {0}")]
    Sealed(#[from] EnvelopeError),
}

impl Trace {
    /// Seals the trace of the manifest with this id; `nonce` must be fresh.
    #[must_use]
    pub fn seal(&self, data_key: &DataKey, nonce: [u8; NONCE_BYTES], manifest: ChunkId) -> Vec<u8> {
        let mut fields = Vec::with_capacity(4 + self.runs.len() * RUN_BYTES);
        fields.extend_from_slice(&self.starts.to_le_bytes());
        for traced in &self.runs {
            fields.extend_from_slice(&traced.run.block.to_le_bytes());
            fields.extend_from_slice(&traced.run.blocks.to_le_bytes());
            fields.push(traced.starts);
            fields.extend_from_slice(&traced.at_ms.to_le_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let envelope = Envelope::seal(data_key, nonce, &associated(&bytes, manifest), &fields);
        bytes.extend_from_slice(&envelope);
        bytes
    }

    /// Opens what [`Trace::seal`] made for the same manifest.
    pub fn open(bytes: &[u8], data_key: &DataKey, manifest: ChunkId) -> Result<Self, TraceError> {
        if !bytes.starts_with(MAGIC) || bytes.len() < PREFIX_BYTES {
            return Err(TraceError::NotATrace);
        }
        let (prefix, envelope) = bytes.split_at(PREFIX_BYTES);
        let version = u16::from_le_bytes([prefix[8], prefix[9]]);
        if version != VERSION {
            return Err(TraceError::UnknownVersion { found: version });
        }
        let fields = Envelope::open(data_key, &associated(prefix, manifest), envelope)?;
        Self::decode(&fields)
    }

    /// Reads the fields inside the envelope. They were authenticated; a writer's mistake is refused all the same.
    pub fn decode(fields: &[u8]) -> Result<Self, TraceError> {
        let bad = |field, value: usize| TraceError::BadField {
            field,
            value: value as u64,
        };
        let (starts, runs) = fields.split_first_chunk::<4>().ok_or(bad("length", fields.len()))?;
        if !runs.len().is_multiple_of(RUN_BYTES) || runs.len() / RUN_BYTES > TRACE_RUNS_MAX {
            return Err(bad("length", fields.len()));
        }
        let runs = runs.chunks_exact(RUN_BYTES).map(|bytes| {
            let traced = TracedRun {
                run: Run {
                    block: u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
                    blocks: u16::from_le_bytes([bytes[4], bytes[5]]),
                },
                starts: bytes[6],
                at_ms: u32::from_le_bytes([bytes[7], bytes[8], bytes[9], bytes[10]]),
            };
            match traced {
                TracedRun { starts: 0, .. } => Err(bad("starts of a run", 0)),
                TracedRun { run, .. } if !run.is_possible() => Err(bad("blocks of a run", run.blocks.into())),
                _ => Ok(traced),
            }
        });
        Ok(Self {
            starts: u32::from_le_bytes(*starts),
            runs: runs.collect::<Result<_, _>>()?,
        })
    }

    /// The trace after one more start, which touched these runs in this order.
    ///
    /// Blocks that the start touched take its order and times; those that it did not keep theirs, and fall out when
    /// none of the last eight starts touched them.
    #[must_use]
    pub fn merged(&self, start: &[Touch]) -> Self {
        let mut blocks: Vec<TracedBlock> = Vec::new();
        let mut places = HashMap::new();
        for (block, at_ms) in start
            .iter()
            .flat_map(|touch| touch.run.numbers().map(|block| (block, touch.at_ms)))
        {
            places.entry(block).or_insert_with(|| {
                blocks.push(TracedBlock {
                    block,
                    at_ms,
                    starts: 1,
                });
                blocks.len() - 1
            });
        }
        for traced in &self.runs {
            for block in traced.run.numbers() {
                let starts = traced.starts << 1;
                match places.get(&block) {
                    Some(place) => blocks[*place].starts |= starts,
                    None if starts != 0 => blocks.push(TracedBlock {
                        block,
                        at_ms: traced.at_ms,
                        starts,
                    }),
                    None => {}
                }
            }
        }
        // Stable: what has one time keeps its order, the new start's before what only older ones touched.
        blocks.sort_by_key(|block| block.at_ms);
        Self {
            starts: self.starts.saturating_add(1),
            runs: runs_of(&blocks),
        }
    }

    /// Bytes of all runs.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|traced| traced.run.bytes()).sum()
    }
}

impl Run {
    /// Bytes of the run.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.blocks as u64 * BLOCK_BYTES as u64
    }

    /// The numbers of its blocks.
    pub fn numbers(self) -> impl Iterator<Item = u32> {
        self.block..self.block + u32::from(self.blocks)
    }

    /// Has blocks, and none beyond the last number.
    pub(crate) fn is_possible(self) -> bool {
        self.blocks > 0 && self.block.checked_add(self.blocks.into()).is_some()
    }
}

#[derive(Clone, Copy)]
struct TracedBlock {
    block: u32,
    at_ms: u32,
    starts: u8,
}

/// Joins neighbours that the same starts touched; the first one's time stands for all.
fn runs_of(blocks: &[TracedBlock]) -> Vec<TracedRun> {
    let mut runs: Vec<TracedRun> = Vec::new();
    for next in blocks {
        let full = runs.len() == TRACE_RUNS_MAX;
        match runs.last_mut() {
            Some(last)
                if last.run.block + u32::from(last.run.blocks) == next.block
                    && last.starts == next.starts
                    && last.run.blocks < u16::MAX =>
            {
                last.run.blocks += 1;
            }
            _ if full => break,
            _ => runs.push(TracedRun {
                run: Run {
                    block: next.block,
                    blocks: 1,
                },
                at_ms: next.at_ms,
                starts: next.starts,
            }),
        }
    }
    runs
}

fn associated(prefix: &[u8], manifest: ChunkId) -> Vec<u8> {
    [prefix, manifest.as_bytes()].concat()
}

#[cfg(test)]
mod tests;
