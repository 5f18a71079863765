//! Which reads will be followed by their neighbours.
//!
//! A large file lies in neighbouring chunks, so whoever reads model weights asks for chunk after chunk. A few streams
//! are followed; one that goes on doubles what is fetched ahead of it, as TCP's slow start does. A stream goes on when
//! the next chunk is asked for after most of the last one was: a program that starts jumps about in its large
//! libraries, and touches neighbouring chunks without wanting what lies between. A read that continues no stream
//! begins one, and fetches nothing ahead: prefetch on random misses drove their 99th percentile to 25 ms when it was
//! measured (data-path.md).

use chunk::CHUNK_BYTES;
use std::ops::Range;

/// Streams that are followed at once. More readers than this share them, and lose their prefetch, not their data.
const STREAMS_MAX: usize = 16;

/// Chunks that are fetched ahead of a long stream: 16 MiB, what 1 Gb/s brings in 130 ms.
const AHEAD_CHUNKS_MAX: u32 = 32;

/// Bytes of a chunk that a stream must have asked for when it goes on: half, since reads of two chunks may overtake
/// each other.
const READ_BYTES_MIN: usize = CHUNK_BYTES / 2;

/// The streams of one device.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// The one that went on last comes last.
    streams: Vec<Stream>,
}

#[derive(Debug)]
struct Stream {
    /// The chunk that was asked for last.
    at: u32,
    /// Bytes of it that were asked for.
    bytes: usize,
    /// Chunks to have ahead of it.
    ahead: u32,
    /// The first chunk that was not asked for ahead.
    fetched: u32,
}

impl Streams {
    /// Notes that bytes of a chunk are wanted; gives the chunks to fetch ahead, an empty range most of the time.
    pub(crate) fn wanted(&mut self, number: u32, bytes: usize) -> Range<u32> {
        // Several reads of one chunk, and reads that overtake each other a little, belong to one stream.
        let near = |stream: &Stream| stream.at.saturating_sub(1)..=stream.at.saturating_add(2);
        let Some(place) = self.streams.iter().position(|stream| near(stream).contains(&number)) else {
            if self.streams.len() == STREAMS_MAX {
                self.streams.remove(0);
            }
            self.streams.push(Stream {
                at: number,
                bytes,
                ahead: 0,
                fetched: number.saturating_add(1),
            });
            return 0..0;
        };
        let mut stream = self.streams.remove(place);
        let range = stream.wanted(number, bytes);
        self.streams.push(stream);
        range
    }
}

impl Stream {
    fn wanted(&mut self, number: u32, bytes: usize) -> Range<u32> {
        if number <= self.at {
            self.bytes += bytes;
            return 0..0;
        }
        let goes_on = self.bytes >= READ_BYTES_MIN;
        (self.at, self.bytes) = (number, bytes);
        if !goes_on {
            self.ahead = 0;
            return 0..0;
        }
        self.ahead = (self.ahead * 2).clamp(2, AHEAD_CHUNKS_MAX);
        let start = self.fetched.max(number.saturating_add(1));
        let end = number.saturating_add(1).saturating_add(self.ahead);
        self.fetched = self.fetched.max(end);
        start..end.max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for a chunk in four parts, as the kernel's read-ahead does.
    fn read(streams: &mut Streams, number: u32) -> Vec<u32> {
        let parts = (0..4).map(|_| streams.wanted(number, CHUNK_BYTES / 4));
        parts.flatten().collect()
    }

    #[test]
    fn a_stream_fetches_twice_as_far_each_time_and_no_chunk_twice() {
        let mut streams = Streams::default();
        let ahead: Vec<Vec<u32>> = (10..80).map(|number| read(&mut streams, number)).collect();
        let lengths: Vec<usize> = ahead.iter().take(6).map(Vec::len).collect();
        assert_eq!(lengths, [0, 2, 3, 5, 9, 17]);
        let all: Vec<u32> = ahead.into_iter().flatten().collect();
        assert_eq!(all, (12..79 + 1 + AHEAD_CHUNKS_MAX).collect::<Vec<_>>());
    }

    #[test]
    fn random_reads_and_glances_at_neighbours_fetch_nothing_ahead() {
        let mut streams = Streams::default();
        let random = (0..1000_u32).map(|number| number.wrapping_mul(2_654_435_761) % 100_000);
        let ahead: Vec<u32> = random.flat_map(|number| streams.wanted(number, 4096)).collect();
        assert_eq!(ahead, Vec::<u32>::new());
        let ahead: Vec<u32> = (0..1000).flat_map(|number| streams.wanted(number, 65_536)).collect();
        assert_eq!(ahead, Vec::<u32>::new());
    }

    #[test]
    fn streams_beside_each_other_are_told_apart() {
        let mut streams = Streams::default();
        let mut ahead = 0;
        for step in 0..100 {
            for reader in 0..8 {
                ahead += read(&mut streams, reader * 10_000 + step).len();
            }
        }
        assert_eq!(ahead, 8 * (98 + AHEAD_CHUNKS_MAX as usize));
    }

    #[test]
    fn the_last_numbers_do_not_overflow() {
        let mut streams = Streams::default();
        for number in [u32::MAX - 1, u32::MAX] {
            read(&mut streams, number);
        }
    }
}
