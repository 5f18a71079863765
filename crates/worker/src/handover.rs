//! What a daemon leaves with its keeper for its successor.
//!
//! One descriptor for each thing: `fuse` is the session, `lock` the directory's lock, `socket` the listening socket,
//! and `device.N` a piece of anonymous memory that holds all that serving device N takes, so that a successor asks
//! neither a store nor a key service. The key is in it, and therefore it is memory and never a file.
//!
//! ```text
//! offset  width  what
//!      0      4  H, bytes of the header, little-endian
//!      4      H  header: JSON, see [`Header`]
//!    4+H     32  data key
//!      …      …  manifest, then trace, then start pack, as stored, each as long as the header says
//! ```
//! Writer and reader may be different builds; the header's version tells.

use api::ImageAddress;
use chunk::{DataKey, KEY_BYTES};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use zeroize::Zeroizing;

pub(crate) const FUSE: &str = "fuse";
pub(crate) const LOCK: &str = "lock";
pub(crate) const SOCKET: &str = "socket";

const VERSION: u32 = 1;

/// Far more than any manifest with its trace and pack.
const BYTES_MAX: u64 = 256 * 1024 * 1024;

/// All that serving a device takes.
#[derive(Clone, Debug)]
pub(crate) struct DeviceState {
    pub(crate) number: u64,
    pub(crate) address: ImageAddress,
    pub(crate) key: DataKey,
    /// As stored.
    pub(crate) manifest: Vec<u8>,
    /// As stored; empty when there is none.
    pub(crate) trace: Vec<u8>,
    /// As stored; empty when there is none.
    pub(crate) pack: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    number: u64,
    address: ImageAddress,
    manifest_bytes: u64,
    trace_bytes: u64,
    pack_bytes: u64,
}

/// The name under which a device's state is kept.
pub(crate) fn device_name(number: u64) -> String {
    format!("device.{number}")
}

impl DeviceState {
    /// A descriptor of memory that holds the state.
    pub(crate) fn keep(&self) -> io::Result<OwnedFd> {
        let header = serde_json::to_vec(&Header {
            version: VERSION,
            number: self.number,
            address: self.address.clone(),
            manifest_bytes: self.manifest.len() as u64,
            trace_bytes: self.trace.len() as u64,
            pack_bytes: self.pack.len() as u64,
        })?;
        let mut memory = File::from(memfd_create("lambent-device", MemfdFlags::CLOEXEC)?);
        memory.write_all(&(header.len() as u32).to_le_bytes())?;
        let parts: [&[u8]; 5] = [&header, self.key.expose(), &self.manifest, &self.trace, &self.pack];
        parts.iter().try_for_each(|part| memory.write_all(part))?;
        Ok(memory.into())
    }

    /// What [`DeviceState::keep`] wrote.
    pub(crate) fn restore(descriptor: OwnedFd) -> io::Result<Self> {
        let mut memory = File::from(descriptor);
        let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message.to_owned());
        if memory.metadata()?.len() > BYTES_MAX {
            return Err(invalid("a kept device's state is too large"));
        }
        memory.seek(SeekFrom::Start(0))?;
        let mut bytes = Zeroizing::new(Vec::new());
        memory.read_to_end(&mut bytes)?;
        let cut = || invalid("a kept device's state is cut short");
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let (header, rest) = rest
            .split_at_checked(u32::from_le_bytes(*length) as usize)
            .ok_or_else(cut)?;
        let header: Header = serde_json::from_slice(header)?;
        if header.version != VERSION {
            return Err(invalid("a kept device's state is of another version"));
        }
        let (key, rest) = rest.split_first_chunk::<KEY_BYTES>().ok_or_else(cut)?;
        let (manifest, rest) = rest.split_at_checked(header.manifest_bytes as usize).ok_or_else(cut)?;
        let (trace, pack) = rest.split_at_checked(header.trace_bytes as usize).ok_or_else(cut)?;
        if pack.len() as u64 != header.pack_bytes {
            return Err(cut());
        }
        Ok(Self {
            number: header.number,
            address: header.address,
            key: DataKey::from_bytes(*key),
            manifest: manifest.to_vec(),
            trace: trace.to_vec(),
            pack: pack.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chunk::ChunkId;

    fn state() -> DeviceState {
        DeviceState {
            number: 7,
            address: ImageAddress {
                name: "scorer:1".to_owned(),
                account: "123456789012".parse().unwrap(),
                generation: 3,
                manifest: ChunkId::of(b"m"),
            },
            key: DataKey::from_bytes([9; 32]),
            manifest: b"manifest".to_vec(),
            trace: Vec::new(),
            pack: b"pack".to_vec(),
        }
    }

    #[test]
    fn a_successor_finds_what_was_kept() {
        let found = DeviceState::restore(state().keep().unwrap()).unwrap();
        assert_eq!(format!("{found:?}"), format!("{:?}", state()));
        assert_eq!(found.key, state().key);
    }

    #[test]
    fn a_state_that_is_cut_short_is_refused() {
        let kept = File::from(state().keep().unwrap());
        for bytes in (0..kept.metadata().unwrap().len()).rev() {
            kept.set_len(bytes).unwrap();
            let copy = kept.try_clone().unwrap();
            assert!(DeviceState::restore(copy.into()).is_err(), "{bytes} bytes");
        }
    }
}
