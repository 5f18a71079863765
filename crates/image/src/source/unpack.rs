//! One layer, made plain by two threads.
//!
//! ```text
//! read ── hash stored bytes ── decompress ──(full buffers)──> hash plain bytes ─┬─ write behind the worker's last layer
//!                                         <─(empty buffers)──                   └─ tap (module `early_seal`): large files
//! ```
//! Decompression is the slow part, so it shares a thread only with what feeds it, and everything that touches plain
//! bytes is on a second one. The buffers between them are a fixed set that goes round: memory does not grow with the
//! layer.
//!
//! What decides that a layer is compressed is in this order: where its digest is its diff_id the stored bytes are the
//! plain bytes by definition; else its first bytes say (see `decompress`). The media type only has to be a known one.
//!
//! When a stream does not decode, the rest is read all the same: the size and digest of the stored bytes tell whether
//! the copy is damaged (the usual case) or was wrong when it was made.

use super::decompress::{Compression, MAGIC_BYTES};
use super::digest::{Digest, Hasher};
use super::error::{LayerName, SourceError};
use super::job::Job;
use super::plain::PlainLayer;
use super::range::Range;
use super::registry::RegistryError;
use super::registry::blob::registry_error;
use super::stored::{HashedReader, drain, read_full};
use super::{Layer, LayerData, scratch};
use crate::early_seal::LayerTap;
use crate::tree::LayerNumber;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Plain bytes handed from thread to thread at once. Hashing them takes 300 µs (1.7 GB/s here), beside which waking the
/// other thread is little; the whole set of buffers is no longer than a shared cache.
const BUFFER_BYTES: usize = 512 * 1024;

/// Buffers that go round. One is filled, one is hashed and written, the others even out a slow write.
const BUFFERS: usize = 4;

/// Stored bytes read and hashed at once.
const STORED_BUFFER_BYTES: usize = 256 * 1024;

/// Where a worker puts its layers.
pub(super) struct Scratch {
    file: Arc<File>,
    end: u64,
}

/// Plain bytes on their way from thread to thread.
struct Buffer {
    memory: Box<[u8]>,
    bytes: usize,
}

/// One layer on its way.
pub(super) struct Unpacking<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) layer: &'a Layer,
}

/// What became of the plain bytes.
#[derive(Debug)]
struct Written {
    digest: Digest,
    bytes: u64,
    /// Stretches that the tap took out.
    absent: Vec<ops::Range<u64>>,
}

/// Why plain bytes stopped coming.
enum Fault {
    /// The stored bytes cannot be read, or do not decode.
    Read(io::Error),
    /// Over the limit.
    TooLong,
    /// The thread that writes has failed; its own error says why.
    WriterGone,
    /// Another layer has failed.
    GivenUp,
}

impl Unpacking<'_> {
    /// Makes the layer plain, in `scratch` where it has to move.
    pub(super) fn run(&self, scratch: &mut Option<Scratch>) -> Result<PlainLayer, SourceError> {
        let stored: Box<dyn Read + Send> = match &self.layer.data {
            LayerData::Local(range) if self.is_plain(range)? => return self.in_place(range),
            LayerData::Local(range) => Box::new(range.reader()),
            LayerData::Remote(registry) => Box::new(registry.blob(self.stored_digest(), self.layer.bytes)),
        };
        let scratch = match scratch {
            Some(scratch) => scratch,
            None => scratch.insert(Scratch {
                file: Arc::new(scratch::create(&self.job.options.scratch_dir)?),
                end: 0,
            }),
        };
        let written = self.unpack(stored, scratch)?;
        let range = Range {
            file: Arc::clone(&scratch.file),
            start: scratch.end,
            bytes: written.bytes,
        };
        scratch.end += written.bytes;
        let diff_id = self.layer.diff_id.clone();
        Ok(PlainLayer::checked(self.name(), diff_id, range, written.absent))
    }

    fn name(&self) -> LayerName {
        self.layer.name.clone()
    }

    /// What the stored bytes are named by; the diff_id where an archive names them by nothing.
    fn stored_digest(&self) -> &Digest {
        self.layer.digest.as_ref().unwrap_or(&self.layer.diff_id)
    }

    fn is_plain(&self, range: &Range) -> Result<bool, SourceError> {
        if self.layer.digest.as_ref() == Some(&self.layer.diff_id) {
            return Ok(true);
        }
        let mut first = [0; MAGIC_BYTES];
        let wanted = MAGIC_BYTES.min(usize::try_from(range.bytes).unwrap_or(MAGIC_BYTES));
        range
            .file
            .read_exact_at(&mut first[..wanted], range.start)
            .map_err(|source| self.undecodable(source))?;
        Ok(Compression::of(&first[..wanted]) == Compression::None)
    }

    fn in_place(&self, range: &Range) -> Result<PlainLayer, SourceError> {
        if !self.job.spend(range.bytes) {
            return Err(self.too_long());
        }
        let stored = (range.clone(), self.layer.digest.clone());
        Ok(PlainLayer::unchecked(self.name(), self.layer.diff_id.clone(), stored))
    }

    /// Unpacks into the scratch file behind what is there, and checks everything.
    fn unpack(&self, stored: Box<dyn Read + Send>, scratch: &Scratch) -> Result<Written, SourceError> {
        let algorithm = self.stored_digest().algorithm();
        let hashed = HashedReader::new(stored, algorithm, &self.job.progress.stored_bytes);
        let mut stored = BufReader::with_capacity(STORED_BUFFER_BYTES, hashed);
        let (full, full_receiver) = sync_channel(BUFFERS);
        let (empty_sender, empty) = channel();
        for _ in 0..BUFFERS {
            // Cannot fail while the receiver lives, and a buffer too few would only be slower.
            let _ = empty_sender.send(vec![0; BUFFER_BYTES].into_boxed_slice());
        }
        let (produced, written) = thread::scope(|scope| {
            // Both ends of the writer move into it: when it fails, neither channel keeps the other thread waiting.
            let writer = scope.spawn(move || self.write(full_receiver, &empty_sender, scratch));
            let produced = self.produce(&mut stored, &full, &empty);
            drop(full);
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (produced, written)
        });
        let written = written?;
        match produced {
            Ok(()) => self.check_stored(stored, None)?,
            Err(Fault::Read(error)) => self.check_stored(stored, Some(error))?,
            Err(Fault::TooLong) => return Err(self.too_long()),
            Err(Fault::GivenUp | Fault::WriterGone) => return Err(SourceError::GivenUp { layer: self.name() }),
        }
        if written.digest != self.layer.diff_id {
            return Err(SourceError::WrongDigest {
                what: format!("{}, unpacked,", self.layer.name),
                expected: self.layer.diff_id.clone(),
                found: written.digest,
            });
        }
        Ok(written)
    }

    /// Fills buffers with plain bytes, to the end of the layer.
    fn produce(
        &self,
        stored: &mut impl BufRead,
        full: &SyncSender<Buffer>,
        empty: &Receiver<Box<[u8]>>,
    ) -> Result<(), Fault> {
        let is_plain = self.layer.digest.as_ref() == Some(&self.layer.diff_id);
        let compression = match stored.fill_buf().map_err(Fault::Read)? {
            _ if is_plain => Compression::None,
            first => Compression::of(first),
        };
        let mut plain = compression.reader(stored).map_err(Fault::Read)?;
        loop {
            if self.job.is_stopped() {
                return Err(Fault::GivenUp);
            }
            let mut memory = empty.recv().map_err(|_| Fault::WriterGone)?;
            let bytes = read_full(&mut plain, &mut memory).map_err(Fault::Read)?;
            if bytes == 0 {
                return Ok(());
            }
            if !self.job.spend(bytes as u64) {
                return Err(Fault::TooLong);
            }
            full.send(Buffer { memory, bytes }).map_err(|_| Fault::WriterGone)?;
        }
    }

    /// Hashes and writes what the other thread unpacks; large files go to the tap instead, where there is one.
    fn write(
        &self,
        full: Receiver<Buffer>,
        empty: &Sender<Box<[u8]>>,
        scratch: &Scratch,
    ) -> Result<Written, SourceError> {
        let mut hasher = Hasher::new(self.layer.diff_id.algorithm());
        let mut tap = self.job.taps.map(|taps| taps.tap(self.number()));
        let mut bytes = 0;
        let keep = |offset, plain: &[u8]| {
            let written = scratch.file.write_all_at(plain, scratch.end + offset);
            written.map_err(|source| SourceError::Scratch {
                directory: self.job.options.scratch_dir.clone(),
                source,
            })
        };
        for buffer in full {
            let plain = &buffer.memory[..buffer.bytes];
            hasher.update(plain);
            match &mut tap {
                Some(tap) => tap.take(plain, keep)?,
                None => keep(bytes, plain)?,
            }
            bytes += plain.len() as u64;
            self.job
                .progress
                .plain_bytes
                .fetch_add(plain.len() as u64, Ordering::Relaxed);
            // Refused only when the other thread has ended, and then no buffer is wanted.
            let _ = empty.send(buffer.memory);
        }
        Ok(Written {
            digest: hasher.finish(),
            bytes,
            absent: tap.map(LayerTap::into_absent).unwrap_or_default(),
        })
    }

    fn number(&self) -> LayerNumber {
        LayerNumber(u16::try_from(self.layer.name.index).expect("sources refuse more than 1,000 layers"))
    }

    /// Reads what the decoder left and checks size and digest of the stored bytes; `error` is what the decoder said,
    /// which counts only where the stored bytes are the right ones.
    fn check_stored(
        &self,
        mut stored: BufReader<HashedReader<'_>>,
        error: Option<io::Error>,
    ) -> Result<(), SourceError> {
        let error = match error.map(registry_error) {
            Some(Ok(registry)) => return Err(self.unfetched(registry)),
            Some(Err(error)) => Some(error),
            None => None,
        };
        if let Err(error) = drain(&mut stored) {
            return Err(match registry_error(error) {
                Ok(registry) => self.unfetched(registry),
                Err(error) => self.undecodable(error),
            });
        }
        let (digest, bytes) = stored.into_inner().finish();
        if bytes != self.layer.bytes {
            return Err(SourceError::WrongSize {
                what: self.layer.name.to_string(),
                expected: self.layer.bytes,
                found: bytes,
            });
        }
        match &self.layer.digest {
            Some(expected) if *expected != digest => Err(SourceError::WrongDigest {
                what: self.layer.name.to_string(),
                expected: expected.clone(),
                found: digest,
            }),
            _ => error.map_or(Ok(()), |error| Err(self.undecodable(error))),
        }
    }

    fn too_long(&self) -> SourceError {
        SourceError::UnpackedTooLong {
            layer: self.name(),
            max: self.job.options.limits.unpacked_bytes_max,
        }
    }

    fn unfetched(&self, source: RegistryError) -> SourceError {
        SourceError::Fetch {
            layer: self.name(),
            source: Box::new(source),
        }
    }

    fn undecodable(&self, source: io::Error) -> SourceError {
        SourceError::Unpack {
            layer: self.name(),
            source,
        }
    }
}

#[cfg(test)]
mod tests;
