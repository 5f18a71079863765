//! Layers as plain tar bytes with random access.

use super::digest::{Digest, Hasher};
use super::error::{LayerName, SourceError};
use super::job::Job;
use super::range::Range;
use super::{ImageSource, Limits};
use crate::early_seal::Taps;
use crate::read_at::FileRange;
use std::fs::File;
use std::io::{self, Read};
use std::ops;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// Bytes hashed at once: long enough that a read's cost vanishes, short enough for the second-level cache.
const VERIFY_BUFFER_BYTES: usize = 512 * 1024;

/// How layers are unpacked.
#[derive(Clone, Debug)]
pub struct UnpackOptions {
    /// Holds unlinked files, as long together as the compressed layers are unpacked.
    pub scratch_dir: PathBuf,
    /// Layers unpacked at once, at least one. Each has a second thread that hashes and writes, and takes less than
    /// 5 MiB of memory; with zstd also the window that the layer demands, at most 32 MiB.
    pub threads: usize,
    /// How long they may become.
    pub limits: Limits,
}

/// Counts for a progress bar; another thread may read them at any time. Layers that are read in place add no bytes.
#[derive(Debug, Default)]
pub struct Progress {
    /// Stored bytes read so far.
    pub stored_bytes: AtomicU64,
    /// Plain bytes written so far.
    pub plain_bytes: AtomicU64,
    /// Layers ready so far.
    pub layers: AtomicUsize,
}

/// A layer's plain tar bytes: `bytes` bytes of `file` from `start` on, which [`PlainLayer::range`] reads.
#[derive(Clone, Debug)]
pub struct PlainLayer {
    /// For messages.
    pub name: LayerName,
    /// The user's own file, or an unlinked one that several layers share.
    pub file: Arc<File>,
    /// Where the layer begins in it.
    pub start: u64,
    /// How long the layer is.
    pub bytes: u64,
    /// The digest of those bytes.
    pub diff_id: Digest,
    /// Stretches that were taken out on the way and are not in the file.
    absent: Arc<[ops::Range<u64>]>,
    /// What [`PlainLayer::verify`] still has to find; empty when everything was checked on the way.
    unchecked: Vec<Digest>,
}

impl PlainLayer {
    pub(super) fn checked(name: LayerName, diff_id: Digest, range: Range, absent: Vec<ops::Range<u64>>) -> Self {
        Self {
            name,
            file: range.file,
            start: range.start,
            bytes: range.bytes,
            diff_id,
            absent: absent.into(),
            unchecked: Vec::new(),
        }
    }

    /// A layer that is read where the user keeps it. Its stored bytes are its plain bytes, so the digest of the blob
    /// and the diff_id must both be theirs.
    pub(super) fn unchecked(name: LayerName, diff_id: Digest, (range, digest): (Range, Option<Digest>)) -> Self {
        let mut unchecked = vec![diff_id.clone()];
        unchecked.extend(digest.filter(|digest| *digest != diff_id));
        Self {
            unchecked,
            ..Self::checked(name, diff_id, range, Vec::new())
        }
    }

    /// The plain bytes, to be read.
    #[must_use]
    pub fn range(&self) -> FileRange {
        FileRange {
            file: Arc::clone(&self.file),
            start: self.start,
            bytes: self.bytes,
            absent: Arc::clone(&self.absent),
        }
    }

    /// Whether [`PlainLayer::verify`] has something to do.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.unchecked.is_empty()
    }

    /// Reads the bytes and checks their digest; returns at once where that was done while unpacking.
    ///
    /// Until this has returned nothing that was made from the bytes may become visible. A file that is changed while
    /// it is read twice is not noticed; that is the user's own doing.
    pub fn verify(&self) -> Result<(), SourceError> {
        if self.is_verified() {
            return Ok(());
        }
        let found = self.hash().map_err(|source| SourceError::Unpack {
            layer: self.name.clone(),
            source,
        })?;
        for (expected, found) in self.unchecked.iter().zip(found) {
            if *expected != found {
                return Err(SourceError::WrongDigest {
                    what: self.name.to_string(),
                    expected: expected.clone(),
                    found,
                });
            }
        }
        Ok(())
    }

    fn hash(&self) -> io::Result<Vec<Digest>> {
        let range = Range {
            file: Arc::clone(&self.file),
            start: self.start,
            bytes: self.bytes,
        };
        let mut reader = range.reader();
        let mut hashers: Vec<Hasher> = self
            .unchecked
            .iter()
            .map(|digest| Hasher::new(digest.algorithm()))
            .collect();
        let mut buffer = vec![0; VERIFY_BUFFER_BYTES];
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                return Ok(hashers.into_iter().map(Hasher::finish).collect());
            }
            hashers.iter_mut().for_each(|hasher| hasher.update(&buffer[..read]));
        }
    }
}

/// Gives every layer as plain bytes, in the order of the image.
///
/// An uncompressed local layer is not copied and not yet checked. All others are fetched and unpacked into scratch
/// files in parallel, the largest first, and their sizes, digests and diff_ids are checked on the way. The first
/// layer that fails ends the others; nothing of it stays behind.
pub fn plain_layers(
    image: &ImageSource,
    options: &UnpackOptions,
    progress: &Progress,
) -> Result<Vec<PlainLayer>, SourceError> {
    Job::new(image, options, progress).run()
}

/// The same, with the large files of what is unpacked taken out on the way: see `early_seal`.
pub(crate) fn plain_layers_tapped(
    image: &ImageSource,
    options: &UnpackOptions,
    progress: &Progress,
    taps: &Taps<'_>,
) -> Result<Vec<PlainLayer>, SourceError> {
    Job::new(image, options, progress).tapped(taps).run()
}
