//! Bytes on their way: bounded, in order, each with the time at which it arrives.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A queue between one reader and one writer.
pub(super) struct Queue {
    bytes_max: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// No bytes stand for the end.
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// Nobody writes any more.
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits for room; false when nobody will take the bytes.
    pub(super) fn push(&self, due: Instant, bytes: &[u8]) -> bool {
        let mut state = self.lock();
        while state.bytes > self.bytes_max && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.pieces.push_back((due, bytes.to_vec()));
        state.bytes += bytes.len();
        self.changed.notify_all();
        !state.closed
    }

    /// Nothing comes after what is there.
    pub(super) fn end(&self, due: Instant) {
        self.lock().pieces.push_back((due, Vec::new()));
        self.changed.notify_all();
    }

    /// Waits for bytes; nothing after the end.
    pub(super) fn pop(&self) -> Option<(Instant, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            if let Some((due, bytes)) = state.pieces.pop_front() {
                state.bytes -= bytes.len();
                self.changed.notify_all();
                if bytes.is_empty() {
                    drop(state);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    return None;
                }
                return Some((due, bytes));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The writer has ended.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// A thread that died in here has changed nothing halfway.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
