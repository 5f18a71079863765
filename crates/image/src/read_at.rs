//! Bytes that can be read at any offset: a layer in a file, or in memory for tests and fuzzing.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Random access to a fixed number of bytes.
pub trait ReadAt {
    /// How many bytes there are.
    fn bytes(&self) -> u64;

    /// Fills `buffer` from `offset`; `UnexpectedEof` when it would reach past the end.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// How many bytes can be read from `offset` on, before the end or before bytes that are absent.
    fn readable_bytes(&self, offset: u64) -> u64 {
        self.bytes().saturating_sub(offset)
    }
}

/// A part of a file, which may lack some of its bytes.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The file, open for reading.
    pub file: Arc<File>,
    /// Where the part starts, in bytes.
    pub start: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// Stretches of the part that the file does not hold, in order: reading them fails.
    pub absent: Arc<[Range<u64>]>,
}

impl FileRange {
    /// A part of which every byte is there.
    #[must_use]
    pub fn whole(file: Arc<File>, start: u64, bytes: u64) -> Self {
        let absent = Arc::default();
        Self {
            file,
            start,
            bytes,
            absent,
        }
    }

    /// Where bytes are absent, at `offset` or next behind it.
    fn next_absent(&self, offset: u64) -> Option<&Range<u64>> {
        self.absent
            .get(self.absent.partition_point(|absent| absent.end <= offset))
    }
}

impl ReadAt for FileRange {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(buffer.len(), offset, self.bytes)?;
        if self.readable_bytes(offset) < buffer.len() as u64 {
            let message = format!("bytes from {offset} on were not kept");
            return Err(io::Error::other(message));
        }
        self.file.read_exact_at(buffer, self.start + offset)
    }

    fn readable_bytes(&self, offset: u64) -> u64 {
        let end = self.next_absent(offset).map_or(self.bytes, |absent| absent.start);
        end.saturating_sub(offset)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn bytes(&self) -> u64 {
        (**self).bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn readable_bytes(&self, offset: u64) -> u64 {
        (**self).readable_bytes(offset)
    }
}

impl ReadAt for [u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        check_range(buffer.len(), offset, self.bytes())?;
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(&self[start..start + buffer.len()]);
        Ok(())
    }
}

/// Refuses what would reach past the end.
fn check_range(wanted: usize, offset: u64, bytes: u64) -> io::Result<()> {
    match offset.checked_add(wanted as u64) {
        Some(end) if end <= bytes => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn absent_bytes_are_refused_and_all_others_are_read() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"..0123456789").unwrap();
        let range = FileRange {
            absent: [2..4, 7..10].into(),
            ..FileRange::whole(Arc::new(file), 2, 10)
        };
        let read = |offset, bytes| {
            let mut buffer = vec![0; bytes];
            range.read_exact_at(&mut buffer, offset).ok().map(|()| buffer)
        };
        assert_eq!(read(0, 2), Some(b"01".to_vec()));
        assert_eq!(read(4, 3), Some(b"456".to_vec()));
        for (offset, bytes) in [(0, 3), (1, 2), (2, 1), (3, 1), (3, 2), (4, 4), (6, 2), (9, 1), (10, 1)] {
            assert_eq!(read(offset, bytes), None, "{bytes} at {offset}");
        }
        let readable: Vec<u64> = (0..12).map(|offset| range.readable_bytes(offset)).collect();
        assert_eq!(readable, [2, 1, 0, 0, 3, 2, 1, 0, 0, 0, 0, 0]);
    }
}
