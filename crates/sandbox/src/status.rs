//! How a process ended, and its eight bytes on the exit pipe.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | 0 exited, 1 killed by a signal; unsigned, little-endian |
//! | 4 | 4 | exit code, or number of the signal; unsigned, little-endian |
//!
//! The bytes never leave the machine or outlive the program, so they carry no version. Eight bytes are far below
//! `PIPE_BUF`, so that a write is whole, and an empty pipe takes it without waiting.

use std::io;
use std::os::fd::AsFd;

/// Bytes of an encoded [`ExitStatus`].
pub const EXIT_STATUS_BYTES: usize = 8;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// It returned this code.
    Exited(i32),
    /// This signal killed it.
    Killed(i32),
}

impl ExitStatus {
    pub(crate) fn encode(self) -> [u8; EXIT_STATUS_BYTES] {
        let (kind, value) = match self {
            Self::Exited(code) => (0u32, code),
            Self::Killed(signal) => (1, signal),
        };
        let mut bytes = [0; EXIT_STATUS_BYTES];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    /// From what one read of an exit descriptor gave. Nothing means that the whole sandbox was killed before it could
    /// report: the kernel ends all processes of a pid namespace with SIGKILL. `None` for bytes that are no status.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::Killed(libc::SIGKILL));
        }
        let bytes: [u8; EXIT_STATUS_BYTES] = bytes.try_into().ok()?;
        let [kind, value] =
            [[0, 1, 2, 3], [4, 5, 6, 7]].map(|at| u32::from_le_bytes(at.map(|index: usize| bytes[index])));
        let value = i32::try_from(value).ok()?;
        match kind {
            0 => Some(Self::Exited(value)),
            1 => Some(Self::Killed(value)),
            _ => None,
        }
    }

    /// Reads a status from an exit descriptor.
    ///
    /// # Errors
    /// `WouldBlock` while the process runs; `InvalidData` if the bytes are no status.
    pub fn read(exit: impl AsFd) -> io::Result<Self> {
        let mut bytes = [0; EXIT_STATUS_BYTES];
        let count = rustix::io::retry_on_intr(|| rustix::io::read(&exit, &mut bytes))?;
        Self::decode(&bytes[..count]).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "an exit pipe held bytes that are no exit status",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_survives_its_encoding() {
        for status in [ExitStatus::Exited(0), ExitStatus::Exited(255), ExitStatus::Killed(9)] {
            assert_eq!(ExitStatus::decode(&status.encode()), Some(status));
        }
    }

    #[test]
    fn no_bytes_mean_killed_and_wrong_bytes_mean_nothing() {
        assert_eq!(ExitStatus::decode(&[]), Some(ExitStatus::Killed(9)));
        for bytes in [
            &[0; 7][..],
            &[2, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 0, 0, 0, 0, 255],
            &[0; 9],
        ] {
            assert_eq!(ExitStatus::decode(bytes), None);
        }
    }
}
