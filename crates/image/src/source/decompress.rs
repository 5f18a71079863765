//! gzip and zstd, recognised by their first bytes.
//!
//! The first bytes decide and not the media type, because the two disagree in the wild: containerd, too, looks at the
//! bytes whenever the type is compressed or is Docker's plain one. We look at them always; a plain tar that begins
//! like gzip or zstd would have to name its first file so, and where a blob's digest is its diff_id nobody looks
//! (see `unpack`).
//!
//! After the last gzip member zero bytes are skipped, as GNU gzip does for tapes; anything else there is an error,
//! and so is anything after the last zstd frame. Several members, and several frames, are read one after the other.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, Read};

/// Bytes that [`Compression::of`] wants to see.
pub(super) const MAGIC_BYTES: usize = 4;

/// Largest zstd window, as a power of two: 32 MiB, what the decoder may have to hold for one layer. `zstd -19` and
/// the Go library of buildkit, containerd and podman write 8 MiB at most; `--ultra` and `--long` write more.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub(super) fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, such as the one with which pzstd begins.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Reads the plain bytes of `compressed`, from its start to its end.
    pub(super) fn reader<'a>(self, compressed: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::None => Box::new(compressed),
            Self::Gzip => Box::new(GzipMembers::Between(compressed)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(compressed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        })
    }
}

enum GzipMembers<R> {
    /// Before a member, or after the last.
    Between(R),
    Inside(Box<GzDecoder<R>>),
    /// At the end, or after an error.
    Done,
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(self, Self::Done) {
                Self::Done => return Ok(0),
                Self::Between(mut compressed) => match compressed.fill_buf()?.first() {
                    None => return Ok(0),
                    Some(0x1f) => *self = Self::Inside(Box::new(GzDecoder::new(compressed))),
                    Some(_) => return skip_zeros(compressed).map(|()| 0),
                },
                Self::Inside(mut decoder) => match decoder.read(buffer)? {
                    0 if !buffer.is_empty() => *self = Self::Between(decoder.into_inner()),
                    read => {
                        *self = Self::Inside(decoder);
                        return Ok(read);
                    }
                },
            }
        }
    }
}

fn skip_zeros(mut compressed: impl BufRead) -> io::Result<()> {
    loop {
        let bytes = compressed.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            let message = "bytes after the last gzip member that are neither a member nor zeros";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let length = bytes.len();
        compressed.consume(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn plain(compressed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // A small buffer, so that members and frames end in the middle of one.
        let source = io::BufReader::with_capacity(7, compressed);
        Compression::of(compressed).reader(source)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn members_and_frames_follow_each_other() {
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 1, 2];
        let cases = [
            (b"plain".to_vec(), "plain"),
            (gzip(b"one"), "one"),
            ([gzip(b"one"), gzip(b""), gzip(b"two")].concat(), "onetwo"),
            ([gzip(b"one"), vec![0; 1000]].concat(), "one"),
            (zstd(b"one"), "one"),
            ([zstd(b"one"), zstd(b"two")].concat(), "onetwo"),
            ([skippable.to_vec(), zstd(b"one"), skippable.to_vec()].concat(), "one"),
        ];
        for (compressed, expected) in cases {
            assert_eq!(plain(&compressed).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn what_is_cut_changed_or_appended_is_an_error() {
        let text: Vec<u8> = (0..2000_u32).flat_map(u32::to_le_bytes).collect();
        for whole in [gzip(&text), zstd(&text)] {
            for length in 5..whole.len() {
                assert!(plain(&whole[..length]).is_err(), "cut at {length}");
            }
            assert!(plain(&[whole.clone(), b"garbage".to_vec()].concat()).is_err());
        }
        assert!(plain(&[gzip(b"one"), vec![0; 9], b"x".to_vec()].concat()).is_err());
        let mut changed = gzip(&text);
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        assert!(plain(&changed).is_err());
    }

    #[test]
    fn a_zstd_window_beyond_the_limit_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&[0; 300_000]).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&[1; 300_000]).unwrap();
        assert!(plain(&encoder.finish().unwrap()).is_err());
    }
}
