//! Chunks of large files, sealed while their layers are still being unpacked.
//!
//! ```text
//! unpack ─ hash plain bytes ─ LayerTap ──(a large file's bytes, chunk by chunk)──> bounded queue ─ seal, submit × threads
//!                                │                                                                        │
//!                                └─ all other bytes ──> scratch file               EarlyChunks: where the bytes lay ─> entry
//! ```
//! A file of [`LARGE_BYTES_MIN`] or more starts on a chunk boundary and has its chunks to itself (see `placement`), so
//! their plaintext is known from the file alone, long before the layers are merged. The tap cuts such files out of the
//! plain stream; the sealing stage later asks for each chunk of the device by the place in the layers where its bytes
//! lie, and seals only what is not there. Unpacking one large layer keeps one core busy; this is work for the others.
//!
//! - A chunk is found by layer, offset and length, and only where nothing but that stretch lies in it
//!   (`Device::source_of`). So a wrong guess of the tap can cost work, and cannot put a byte where it does not belong.
//! - What is cut out is not written to the scratch file: three quarters of the tensorflow image, for which the kernel
//!   needed more time than sealing them takes. The layer notes where it has no bytes (`FileRange::absent`), and refuses
//!   to read there: were a tap ever wrong, the push would fail and not be wrong.
//! - What a later layer hides has been sealed and stored for nothing. Such a chunk is in no manifest, counts as stored
//!   by this push, and goes with its root as any chunk of an aborted push does.
//! - Which chunks are sealed early depends on the layers alone: a full queue makes unpacking wait, it drops nothing.
//!   So any number of threads stores the same.
//! - Chunks are stored before the layer's digest has proved right, as in the later stage: without a manifest they are
//!   invisible. When anything fails, in any thread, all of them end: a tap finds the stop flag set, and sealers empty
//!   the queue so that no tap waits for ever.
//!
//! Memory: [`QUEUE_CHUNKS`] chunks, one for each sealer and one for each layer that is being unpacked.

use crate::device::ChunkSource;
use crate::layer::{Follower, Stretch};
use crate::placement::LARGE_BYTES_MIN;
use crate::push::PushError;
use crate::sealer::{ChunkSealer, DraftChunk};
use crate::source::ImageSource;
use crate::source::error::SourceError;
use crate::source::plain::{PlainLayer, Progress, UnpackOptions, plain_layers_tapped};
use crate::tree::LayerNumber;
use chunk::CHUNK_BYTES;
use std::collections::HashMap;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use store::StoreError;

/// Chunks that wait for a sealer. They even out the sizes of files; more would only take memory.
const QUEUE_CHUNKS: usize = 8;

/// What has been sealed, by where its bytes lay.
pub(crate) type EarlyChunks = HashMap<ChunkSource, DraftChunk>;

/// One chunk on its way to a sealer.
struct Piece {
    source: ChunkSource,
    plaintext: Vec<u8>,
}

/// Unpacks all layers, and seals what can be sealed on `options.threads` threads beside that.
pub(crate) fn unpack_and_seal(
    image: &ImageSource,
    options: &UnpackOptions,
    progress: &Progress,
    sealer: &ChunkSealer<'_>,
) -> Result<(Vec<PlainLayer>, EarlyChunks), PushError> {
    let stop = AtomicBool::new(false);
    let (pieces, queue) = sync_channel(QUEUE_CHUNKS);
    let queue = Arc::new(Mutex::new(queue));
    let (layers, sealed) = thread::scope(|scope| {
        // The sealers alone own the queue: should all of them panic, no tap waits for room in it.
        let sealers: Vec<_> = (0..options.threads)
            .map(|_| (Arc::clone(&queue), &stop))
            .map(|(queue, stop)| scope.spawn(move || seal_queued(&queue, sealer, stop)))
            .collect();
        drop(queue);
        let taps = Taps { pieces, stop: &stop };
        let layers = plain_layers_tapped(image, options, progress, &taps);
        if layers.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        // Ends the queue, and so the sealers.
        drop(taps);
        let sealed = sealers
            .into_iter()
            .map(|sealer| sealer.join().unwrap_or_else(|panic| resume_unwind(panic)));
        (layers, sealed.collect::<Result<Vec<_>, StoreError>>())
    });
    match (layers, sealed) {
        // The layers were given up because a sealer failed.
        (Err(SourceError::GivenUp { .. }), Err(error)) => Err(error.into()),
        (layers, sealed) => Ok((layers?, sealed?.into_iter().flatten().collect())),
    }
}

/// Seals until the queue ends. After a failure, its own or another's, it only empties the queue.
fn seal_queued(
    queue: &Mutex<Receiver<Piece>>,
    sealer: &ChunkSealer<'_>,
    stop: &AtomicBool,
) -> Result<Vec<(ChunkSource, DraftChunk)>, StoreError> {
    let mut sealed = Vec::new();
    let mut failure = None;
    while let Some(Piece { source, plaintext }) = next(queue) {
        if stop.load(Ordering::Relaxed) {
            continue;
        }
        match sealer.seal(plaintext, sealer.compression) {
            Ok(chunk) => sealed.push((source, chunk)),
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                failure = Some(error);
            }
        }
    }
    failure.map_or(Ok(sealed), Err)
}

fn next(queue: &Mutex<Receiver<Piece>>) -> Option<Piece> {
    // Whoever panicked did not do so while it held the lock.
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Gives each layer its tap.
pub(crate) struct Taps<'a> {
    pieces: SyncSender<Piece>,
    stop: &'a AtomicBool,
}

impl Taps<'_> {
    /// Whether unpacking should end because sealing failed.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn tap(&self, layer: LayerNumber) -> LayerTap {
        LayerTap {
            pieces: self.pieces.clone(),
            layer,
            follower: Follower::new(LARGE_BYTES_MIN),
            offset: 0,
            plaintext: Vec::new(),
            absent: Vec::new(),
        }
    }
}

/// Cuts the large files out of one layer's plain stream.
pub(crate) struct LayerTap {
    pieces: SyncSender<Piece>,
    layer: LayerNumber,
    follower: Follower,
    /// Bytes of the layer that have been taken.
    offset: u64,
    /// The last of them, where they are the beginning of a chunk that is not yet full.
    plaintext: Vec<u8>,
    absent: Vec<Range<u64>>,
}

impl LayerTap {
    /// Takes the layer's next bytes; `keep` gets those that are not cut out, with their offset in the layer.
    pub(crate) fn take<E>(&mut self, mut plain: &[u8], keep: impl Fn(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
        while !plain.is_empty() {
            let bytes = match self.follower.follow(plain) {
                Stretch::Other { bytes } => {
                    keep(self.offset, &plain[..bytes])?;
                    self.offset += bytes as u64;
                    bytes
                }
                Stretch::Large { bytes, ends } => {
                    self.cut_out(&plain[..bytes], ends);
                    bytes
                }
            };
            plain = &plain[bytes..];
        }
        Ok(())
    }

    /// The stretches of the layer that were not kept, in order.
    pub(crate) fn into_absent(self) -> Vec<Range<u64>> {
        self.absent
    }

    fn cut_out(&mut self, mut content: &[u8], ends: bool) {
        let end = self.offset + content.len() as u64;
        match self.absent.last_mut() {
            Some(last) if last.end == self.offset => last.end = end,
            _ => self.absent.push(self.offset..end),
        }
        while !content.is_empty() {
            let room = CHUNK_BYTES - self.plaintext.len();
            let (now, later) = content.split_at(room.min(content.len()));
            // The vector becomes the ciphertext, so each chunk needs one of its own; it never grows.
            self.plaintext.reserve_exact(room);
            self.plaintext.extend_from_slice(now);
            self.offset += now.len() as u64;
            if self.plaintext.len() == CHUNK_BYTES || (ends && later.is_empty()) {
                self.submit();
            }
            content = later;
        }
    }

    /// Hands the chunk to the sealers; waits while they have enough.
    fn submit(&mut self) {
        let mut plaintext = std::mem::take(&mut self.plaintext);
        let bytes = plaintext.len() as u64;
        plaintext.resize(CHUNK_BYTES, 0);
        let source = ChunkSource {
            layer: self.layer,
            offset: self.offset - bytes,
            bytes,
        };
        // Refused only when every sealer has panicked, and then that panic is what comes of the push.
        let _ = self.pieces.send(Piece { source, plaintext });
    }
}

#[cfg(test)]
mod tests;
