//! Which server needs which device, so that servers that share a store and an account cannot take one from each other.
//!
//! A device is found by its name, which says what it was made from: a second server that is given the same package
//! uses what the first one made. When the first one has no use for it any more, its record must stay, or at least all
//! that the device is made of. So each server says for itself what it needs, under its own id:
//!
//! ```text
//! a server that needs a device                  a server that needs it no more
//! 1  read the record: it names MANIFEST         a  delete what it holds under the name
//! 2  write held/SERVER/ACCOUNT/NAME/MANIFEST    b  does another server hold something under the name?
//! 3  read the record again: still MANIFEST?     c  no: delete the record
//!    no: as if it had not been found
//! 4  use it
//! a collector lists all records, and then all that is held: both live
//! ```
//! **Invariant:** what a server uses after step 3 is in every list of what lives that was begun since, until that server
//! releases it. Why: at step 3 the record was there and what is held as well. A collector that did not find the record
//! looked for it after it had gone, which is after step 3, and lists what is held after that. So it does not matter that c
//! may come at any time after b, by a server that had slept: it takes a name away, which the next who needs it makes anew.
//!
//! Only its own server deletes what it holds, and no clock decides: a server that was switched off for a month finds its
//! functions. What one leaves that never comes back is for an operator to forget ([`Store::forget_server`]); `seen` tells
//! when each was there last.

use crate::{Store, StoreError, layout};
use bytes::Bytes;
use chunk::{Account, ChunkId};
use futures::TryStreamExt;
use object_store::path::Path;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

/// Keys under `held` say all that there is to say.
const EMPTY: Bytes = Bytes::new();

/// Bytes of a server's id. Eight: a handful of servers that draw them at random never draw the same.
const SERVER_ID_BYTES: usize = 8;

const NAME_HASH_BYTES: usize = 8;

/// A server among those that share a store; 16 hexadecimal digits. Two servers with the same id would release for each
/// other, so a directory of data must not be copied for a second server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId([u8; SERVER_ID_BYTES]);

/// Text that is not a server's id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a server's id: expected 16 hexadecimal digits, as `lambent store servers` shows them")]
pub struct ServerIdError {
    text: String,
}

/// What stands for a device's name in a key: 64 bits of its hash, 16 hexadecimal digits. Were two names of an account to
/// have the same, their devices would be kept until neither is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeldName([u8; NAME_HASH_BYTES]);

/// A device that a server needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    /// Who needs it.
    pub server: ServerId,
    /// Whose it is.
    pub account: Account,
    /// The name by which it was found.
    pub name: HeldName,
    /// The root in which it was born.
    pub generation: u32,
    /// Its manifest.
    pub manifest: ChunkId,
}

/// What a server keeps in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUse {
    /// The server.
    pub server: ServerId,
    /// Devices that it holds.
    pub devices: u64,
    /// When it was there last, by the store's clock; `None` if it never said so.
    pub seen: Option<SystemTime>,
}

/// What went with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Devices that it held.
    pub devices: u64,
    /// Records that no other server needed, and that were removed.
    pub records: u64,
}

impl fmt::Display for ServerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

impl FromStr for ServerId {
    type Err = ServerIdError;

    fn from_str(text: &str) -> Result<Self, ServerIdError> {
        let bytes = from_hex(text).ok_or_else(|| ServerIdError { text: text.to_owned() })?;
        Ok(Self(bytes))
    }
}

impl HeldName {
    /// What stands for a name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash = ChunkId::of(name.as_bytes());
        let (front, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        Self(*front)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        from_hex(text).map(Self)
    }
}

impl fmt::Display for HeldName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// Of lower-case digits alone, so that no key has a second spelling.
fn from_hex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    (hex::encode(bytes) == text).then_some(bytes)
}

impl Store {
    /// An id for a server that has none yet.
    #[must_use]
    pub fn draw_server_id(&self) -> ServerId {
        let mut bytes = [0; SERVER_ID_BYTES];
        self.fill_random(&mut bytes);
        ServerId(bytes)
    }

    /// Says that a server needs a device. It counts once the record has been read again and still names the device.
    pub async fn hold(&self, held: &Held) -> Result<(), StoreError> {
        self.write(&layout::held(held), EMPTY).await
    }

    /// Says that a server needs nothing of this name any more; gives whether no other server does, so that the record
    /// may go.
    pub async fn release(&self, server: ServerId, account: &Account, name: &str) -> Result<bool, StoreError> {
        let under = |server| layout::held_under(server, account, HeldName::of(name));
        for object in self.list(&under(server)).await? {
            self.delete(&object.location).await?;
        }
        for other in self.holders().await?.into_iter().filter(|other| *other != server) {
            if !self.list(&under(other)).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes back a single [`Store::hold`] of what nothing needs.
    pub async fn let_go(&self, held: &Held) -> Result<(), StoreError> {
        self.delete(&layout::held(held)).await
    }

    /// All that servers need. To be asked after the records, see above.
    pub async fn list_held(&self) -> Result<Vec<Held>, StoreError> {
        let objects = self.list(&layout::all_held()).await?;
        let held = |key: &Path| match layout::held_object(key)? {
            layout::HeldObject::Device(held) => Some(held),
            layout::HeldObject::Seen(_) => None,
        };
        Ok(objects.iter().filter_map(|object| held(&object.location)).collect())
    }

    /// Notes that a server is there. For people alone: nothing is decided by it.
    pub async fn note_server(&self, server: ServerId) -> Result<(), StoreError> {
        self.write(&layout::server_seen(server), EMPTY).await
    }

    /// The servers that ever held something, or were seen.
    pub async fn servers(&self) -> Result<Vec<ServerUse>, StoreError> {
        let mut servers = BTreeMap::new();
        let server_use = |server| ServerUse {
            server,
            devices: 0,
            seen: None,
        };
        for object in self.list(&layout::all_held()).await? {
            match layout::held_object(&object.location) {
                Some(layout::HeldObject::Device(held)) => {
                    servers
                        .entry(held.server)
                        .or_insert_with(|| server_use(held.server))
                        .devices += 1;
                }
                Some(layout::HeldObject::Seen(server)) => {
                    let seen = Some(object.last_modified.into());
                    servers.entry(server).or_insert_with(|| server_use(server)).seen = seen;
                }
                None => {}
            }
        }
        Ok(servers.into_values().collect())
    }

    /// Takes away all that a server holds, which must be gone for good, and the records that no other server needs. One
    /// that lives after all holds again, at its next pass, what its own record of functions names.
    pub async fn forget_server(&self, server: ServerId) -> Result<Forgotten, StoreError> {
        let objects = self.list(&layout::held_by(server)).await?;
        let device = |key: &Path| match layout::held_object(key)? {
            layout::HeldObject::Device(held) => Some(held),
            layout::HeldObject::Seen(_) => None,
        };
        let left: Vec<Held> = objects.iter().filter_map(|object| device(&object.location)).collect();
        futures::stream::iter(objects.iter().map(Ok))
            .try_for_each_concurrent(self.settings().in_flight_requests, |object| {
                self.delete(&object.location)
            })
            .await?;
        let named = |held: &Held| (held.account.clone(), held.name);
        let kept: HashSet<_> = self.list_held().await?.iter().map(named).collect();
        let gone: HashSet<_> = left.iter().map(named).filter(|name| !kept.contains(name)).collect();
        let accounts: BTreeSet<&Account> = gone.iter().map(|(account, _)| account).collect();
        let mut records = 0;
        for account in accounts {
            for entry in self.list_records(account).await? {
                if gone.contains(&(account.clone(), HeldName::of(&entry.name))) {
                    self.delete(&layout::record(account, &entry.name)?).await?;
                    records += 1;
                }
            }
        }
        let devices = left.len() as u64;
        Ok(Forgotten { devices, records })
    }

    async fn holders(&self) -> Result<Vec<ServerId>, StoreError> {
        let folder = layout::all_held();
        let list = || self.objects().list_with_delimiter(Some(&folder));
        let listed = self.retry().run(list).await;
        let listed = listed.map_err(|source| self.failed("list", &folder, source))?;
        let server = |folder: &Path| folder.filename()?.parse().ok();
        Ok(listed.common_prefixes.iter().filter_map(server).collect())
    }
}
