//! Where large files lie in a layer that streams by.
//!
//! [`super::LayerReader`] needs a layer that can be read at any offset, so it comes after unpacking. A [`Follower`] sees
//! each byte once, in whatever pieces they come, keeps only the header that is being collected, and says which bytes
//! are the content of large dense files. It reads headers by the same code as the reader and walks by the same rules.
//!
//! It only has to be right where it says "large": what it does not understand, or what is rare (old GNU sparse files,
//! whose maps continue in the content), ends the following, and the rest of the layer is "other". That a large file's
//! bytes are the reader's file, and nothing that the reader takes for a header, is tested against the reader, and
//! whoever drops bytes on the follower's word must refuse to read them later.

use super::header::{BLOCK_BYTES, Header, TypeFlag};
use super::pax::{PaxRecords, PaxSparse};
use super::{EXTENSION_BYTES_MAX, LayerFault};

/// Watches one layer from its first byte.
pub(crate) struct Follower {
    large_bytes_min: u64,
    state: State,
    global: PaxRecords,
    /// Of the entry whose header comes next.
    local: PaxRecords,
}

/// A prefix of the bytes that were shown, all of one sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stretch {
    /// Headers, padding, files that are not large or not dense.
    Other {
        /// How many bytes.
        bytes: usize,
    },
    /// Content of one large file, following on what was shown before.
    Large {
        /// How many bytes.
        bytes: usize,
        /// Whether the file's last byte is among them.
        ends: bool,
    },
}

enum State {
    /// The next header's bytes so far.
    Header(Vec<u8>),
    /// An extended header's bytes so far, without padding, and how many there will be.
    Extension {
        flag: TypeFlag,
        body: Vec<u8>,
        bytes: usize,
    },
    /// Bytes before the next header.
    Skip(u64),
    /// Bytes of a large file still to come, and of the padding behind them.
    Large { left: u64, padding: u64 },
    /// The archive has ended, or what comes is not understood.
    Ended,
}

impl Follower {
    /// Files of this many bytes or more are large.
    pub(crate) fn new(large_bytes_min: u64) -> Self {
        Self {
            large_bytes_min,
            state: State::Header(Vec::new()),
            global: PaxRecords::default(),
            local: PaxRecords::default(),
        }
    }

    /// Takes the longest prefix of `plain` that is of one sort; the caller goes on behind it. `plain` is not empty.
    pub(crate) fn follow(&mut self, plain: &[u8]) -> Stretch {
        if let State::Large { left, padding } = self.state {
            let bytes = at_most(left, plain.len());
            let left = left - bytes as u64;
            self.state = match left {
                0 => skip(padding),
                _ => State::Large { left, padding },
            };
            return Stretch::Large { bytes, ends: left == 0 };
        }
        let mut bytes = 0;
        while bytes < plain.len() && !matches!(self.state, State::Large { .. }) {
            bytes += self.step(&plain[bytes..]);
        }
        Stretch::Other { bytes }
    }

    /// Takes bytes up to the next change of state, at least one.
    fn step(&mut self, plain: &[u8]) -> usize {
        let (state, taken) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Header(mut block) => {
                let taken = collect(&mut block, BLOCK_BYTES, plain);
                match <[u8; BLOCK_BYTES]>::try_from(block) {
                    // A header that cannot be read is the reader's to report.
                    Ok(block) => (self.after_header(block).unwrap_or(State::Ended), taken),
                    Err(block) => (State::Header(block), taken),
                }
            }
            State::Extension { flag, mut body, bytes } => {
                let taken = collect(&mut body, bytes, plain);
                match body.len() < bytes {
                    true => (State::Extension { flag, body, bytes }, taken),
                    false => (self.after_extension(flag, &body).unwrap_or(State::Ended), taken),
                }
            }
            State::Skip(left) => {
                let taken = at_most(left, plain.len());
                (skip(left - taken as u64), taken)
            }
            state @ (State::Large { .. } | State::Ended) => (state, plain.len()),
        };
        self.state = state;
        taken
    }

    fn after_header(&mut self, block: [u8; BLOCK_BYTES]) -> Result<State, LayerFault> {
        if block == [0; BLOCK_BYTES] {
            return Ok(State::Ended);
        }
        let header = Header::decode(block)?;
        let flag = header.type_flag();
        match flag {
            TypeFlag::PaxLocal | TypeFlag::PaxGlobal => self.extension(flag, header.size()?),
            TypeFlag::GnuLongName | TypeFlag::GnuLongLink => Ok(skip_padded(header.size()?)),
            _ => {
                let pax = self.global.overlaid_by(std::mem::take(&mut self.local));
                self.entry(&header, &pax)
            }
        }
    }

    fn extension(&mut self, flag: TypeFlag, bytes: u64) -> Result<State, LayerFault> {
        match bytes {
            // No byte will come that could end this state.
            0 => Ok(State::Header(Vec::new())),
            // The reader refuses it.
            _ if bytes > EXTENSION_BYTES_MAX => Ok(State::Ended),
            _ => Ok(State::Extension {
                flag,
                body: Vec::new(),
                bytes: bytes as usize,
            }),
        }
    }

    fn after_extension(&mut self, flag: TypeFlag, body: &[u8]) -> Result<State, LayerFault> {
        let records = PaxRecords::decode(body)?;
        match flag {
            TypeFlag::PaxGlobal => self.global.merge(records),
            _ => self.local.merge(records),
        }
        let bytes = body.len() as u64;
        Ok(skip(bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes))
    }

    /// What follows an entry's header. As in the reader, links and devices have no content whatever their size says.
    fn entry(&self, header: &Header, pax: &PaxRecords) -> Result<State, LayerFault> {
        let size = || pax.size.map_or_else(|| header.size(), Ok);
        Ok(match header.type_flag() {
            TypeFlag::GnuSparse => State::Ended,
            TypeFlag::HardLink | TypeFlag::Symlink | TypeFlag::CharDevice | TypeFlag::BlockDevice | TypeFlag::Fifo => {
                State::Header(Vec::new())
            }
            TypeFlag::Regular if pax.sparse == PaxSparse::default() => match size()? {
                bytes if bytes >= self.large_bytes_min.max(1) => large(bytes),
                bytes => skip_padded(bytes),
            },
            _ => skip_padded(size()?),
        })
    }
}

fn large(bytes: u64) -> State {
    match bytes.checked_next_multiple_of(BLOCK_BYTES as u64) {
        Some(padded) => State::Large {
            left: bytes,
            padding: padded - bytes,
        },
        None => State::Ended,
    }
}

fn skip_padded(bytes: u64) -> State {
    bytes
        .checked_next_multiple_of(BLOCK_BYTES as u64)
        .map_or(State::Ended, skip)
}

fn skip(bytes: u64) -> State {
    match bytes {
        0 => State::Header(Vec::new()),
        _ => State::Skip(bytes),
    }
}

/// Moves bytes to `target` until it has `wanted`; gives how many were moved.
fn collect(target: &mut Vec<u8>, wanted: usize, plain: &[u8]) -> usize {
    let bytes = plain.len().min(wanted - target.len());
    target.extend_from_slice(&plain[..bytes]);
    bytes
}

fn at_most(wanted: u64, bytes: usize) -> usize {
    usize::try_from(wanted).unwrap_or(usize::MAX).min(bytes)
}
