//! Memory for values, used again once nobody has the value any more.
//!
//! A fragment lives for as long as it takes to rebuild its chunk, and then 128 KiB are given back to the allocator, to be
//! asked for again a moment later: of the system, which hands them out page by page and zeroed, since allocators keep
//! nothing of that size. So the last few values are remembered here; one that only we still know of is a buffer again.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Values that are remembered. A connection's outstanding answers mostly number as many as there are readers, and
/// eight of a quarter of a chunk are 1 MiB for each of a fleet's nodes.
const REMEMBERED_MAX: usize = 8;

/// Shorter ones are not worth it: an allocator has them at hand.
const BYTES_MIN: usize = 16 * 1024;

/// The values that were given out last, oldest first.
#[derive(Debug, Default)]
pub(super) struct SpareBuffers {
    given: VecDeque<Bytes>,
}

impl SpareBuffers {
    /// An empty buffer with room for so many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> BytesMut {
        let spare = self.given.iter().position(Bytes::is_unique);
        let buffer = spare.and_then(|place| self.given.remove(place)?.try_into_mut().ok());
        match buffer {
            Some(mut buffer) => {
                buffer.clear();
                buffer.reserve(bytes);
                buffer
            }
            None => BytesMut::with_capacity(bytes),
        }
    }

    /// The value that was read into a buffer.
    pub(super) fn give(&mut self, value: BytesMut) -> Bytes {
        let value = value.freeze();
        if value.len() >= BYTES_MIN {
            if self.given.len() == REMEMBERED_MAX {
                self.given.pop_front();
            }
            self.given.push_back(value.clone());
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(spare: &mut SpareBuffers, byte: u8, bytes: usize) -> Bytes {
        let mut buffer = spare.take(bytes);
        assert!(buffer.is_empty() && buffer.capacity() >= bytes);
        buffer.resize(bytes, byte);
        spare.give(buffer)
    }

    #[test]
    fn memory_comes_back_when_its_value_is_gone_and_not_before() {
        let mut spare = SpareBuffers::default();
        let first = value(&mut spare, 1, 131_128);
        let slice = first.slice(56..);
        let place = first.as_ptr();
        drop(first);
        let second = value(&mut spare, 2, 131_128);
        assert!(slice.iter().all(|byte| *byte == 1), "a slice of it is in use");
        assert_ne!(second.as_ptr(), place);
        drop(slice);
        let third = value(&mut spare, 3, 100_000);
        assert_eq!(third.as_ptr(), place);
        assert!(second.iter().all(|byte| *byte == 2));
        drop((second, third));
        assert!(
            value(&mut spare, 4, 524_344).iter().all(|byte| *byte == 4),
            "a longer one"
        );
    }

    #[test]
    fn no_more_is_remembered_than_the_limit() {
        let mut spare = SpareBuffers::default();
        let kept: Vec<Bytes> = (0..40).map(|byte| value(&mut spare, byte, BYTES_MIN)).collect();
        assert_eq!(spare.given.len(), REMEMBERED_MAX);
        let is_whole = |(byte, value): (usize, &Bytes)| value.iter().all(|found| usize::from(*found) == byte);
        assert!(kept.iter().enumerate().all(is_whole));
        drop(value(&mut spare, 0, 5));
        assert_eq!(spare.given.len(), REMEMBERED_MAX, "short ones are not");
    }
}
