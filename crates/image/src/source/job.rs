//! All layers of an image, unpacked by a few workers.
//!
//! The largest layers go first, so that no long one begins when the others are done. Each worker appends its layers to
//! one unlinked scratch file of its own: an image of 500 layers needs a file descriptor for each worker and not for
//! each layer. The first failure stops the others at their next buffer.

use super::ImageSource;
use super::error::SourceError;
use super::plain::{PlainLayer, Progress, UnpackOptions};
use super::unpack::Unpacking;
use crate::early_seal::Taps;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// One call of `plain_layers`, shared by its workers.
pub(super) struct Job<'a> {
    image: &'a ImageSource,
    pub(super) options: &'a UnpackOptions,
    pub(super) progress: &'a Progress,
    /// Who takes large files out of the layers, if anybody does.
    pub(super) taps: Option<&'a Taps<'a>>,
    /// Plain bytes that the image may still have.
    left: AtomicU64,
    /// Indexes of layers, the largest last.
    queue: Mutex<Vec<usize>>,
    /// Set when a layer failed: the others need not go on.
    stop: AtomicBool,
}

impl<'a> Job<'a> {
    pub(super) fn new(image: &'a ImageSource, options: &'a UnpackOptions, progress: &'a Progress) -> Self {
        let mut queue: Vec<usize> = (0..image.layers.len()).collect();
        queue.sort_by_key(|index| (image.layers[*index].bytes, std::cmp::Reverse(*index)));
        Self {
            image,
            options,
            progress,
            taps: None,
            left: AtomicU64::new(options.limits.unpacked_bytes_max),
            queue: Mutex::new(queue),
            stop: AtomicBool::new(false),
        }
    }

    /// The same, with large files taken out on the way.
    pub(super) fn tapped(self, taps: &'a Taps<'a>) -> Self {
        let taps = Some(taps);
        Self { taps, ..self }
    }

    pub(super) fn run(&self) -> Result<Vec<PlainLayer>, SourceError> {
        let workers = self.options.threads.clamp(1, self.image.layers.len().max(1));
        let mut done: Vec<(usize, Result<PlainLayer, SourceError>)> = thread::scope(|scope| {
            let handles: Vec<_> = (0..workers).map(|_| scope.spawn(|| self.work())).collect();
            let finished = handles
                .into_iter()
                .map(|handle| handle.join().unwrap_or_else(|panic| resume_unwind(panic)));
            finished.flatten().collect()
        });
        // The layer that failed, and not one that was given up for it.
        done.sort_by_key(|(index, result)| (matches!(result, Err(SourceError::GivenUp { .. })), *index));
        done.into_iter().map(|(_, result)| result).collect()
    }

    fn work(&self) -> Vec<(usize, Result<PlainLayer, SourceError>)> {
        let mut scratch = None;
        let mut done = Vec::new();
        while let Some(index) = self.next() {
            let layer = Unpacking {
                job: self,
                layer: &self.image.layers[index],
            };
            let result = layer.run(&mut scratch);
            if result.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            } else {
                self.progress.layers.fetch_add(1, Ordering::Relaxed);
            }
            done.push((index, result));
        }
        done
    }

    fn next(&self) -> Option<usize> {
        if self.is_stopped() {
            return None;
        }
        // A worker that panicked left the queue as it was before its pop or after it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.taps.is_some_and(Taps::is_stopped)
    }

    /// Takes plain bytes from what the whole image may have; false when it may not have them.
    pub(super) fn spend(&self, bytes: u64) -> bool {
        let taken = |left: u64| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
            .is_ok()
    }
}
