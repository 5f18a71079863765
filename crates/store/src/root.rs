//! The generations of a store, and a root's life.
//!
//! ```text
//!          Retire            Expire            Delete             Emptied
//! Active ─────────> Retired ─────────> Expired ─────────> Deleting ─────────> Deleted
//!                      ^      Alarm       │
//!                      └──────────────────┘
//! ```
//! | state | written by pushes | read | left when |
//! |---|---|---|---|
//! | active | yes, the newest active root | yes | a newer root exists |
//! | retired | only by pushes that began before | yes | its live manifests have moved, its pushes are decided, its grace is over |
//! | expired | no | after all others, with an alarm | its grace is over without an alarm; an alarm takes it back to retired |
//! | deleting | no | no | none of its objects is left |
//! | deleted | no | no | never |
//!
//! A root's value is one line of JSON. Each change of state writes the next revision under a key of its own, if nobody
//! has (see `layout`): of two that change a root at once one wins and the other reads again. So the compare-and-swap
//! that a state machine needs is the put-if-absent that every backend has; a local directory has no other.
//!
//! Version 1 (`{"version":1,"generation":1,"state":"active","salt":"64 hex digits"}`) is read as a first revision that
//! has been there since 1970. Unknown fields and versions are refused: a reader that does not know what was added
//! cannot know what it means, and a build before version 2 so learns that it must not write here. The salt decides
//! which chunks are shared; it is no key, and opens nothing.

use serde::{Deserialize, Serialize};
use std::fmt;

const VERSION: u32 = 2;
const SALT_BYTES: usize = 32;

/// A generation of the store: what is written under one root is shared, moved and deleted together.
#[derive(Clone, PartialEq, Eq)]
pub struct Root {
    /// Counts from 1; manifests name it.
    pub generation: u32,
    /// Counts the root's changes from 1.
    pub revision: u32,
    /// Where in its life the root is.
    pub state: RootState,
    /// Since when, in milliseconds after 1970, by the clock of who changed it.
    pub since_ms: u64,
    /// How often something was read here after it had expired.
    pub alarms: u32,
    /// Drawn at random when the root was made; what chunks' salts are derived from.
    pub salt: [u8; SALT_BYTES],
}

impl fmt::Debug for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, state, .. } = self;
        write!(formatter, "Root({generation}, {state:?}, salt ..)")
    }
}

/// A root's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootState {
    /// New images are written here.
    Active,
    /// Read, no longer written by new pushes.
    Retired,
    /// Nothing should read here any more: a read raises an alarm.
    Expired,
    /// Nothing reads here; its objects are being deleted.
    Deleting,
    /// Its objects are gone.
    Deleted,
}

impl fmt::Display for RootState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Expired => "expired",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        })
    }
}

/// What may happen to a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootEvent {
    /// A newer root has become active.
    Retire,
    /// All that lives has moved on.
    Expire,
    /// Something was read here all the same.
    Alarm,
    /// The grace period is over, and nothing was read.
    Delete,
    /// The last object is gone.
    Emptied,
}

/// An event that cannot happen to a root in its state.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("root {generation} is {state}: {event:?} cannot happen to it")]
pub struct RootEventRefused {
    /// The root.
    pub generation: u32,
    /// Its state.
    pub state: RootState,
    /// The event.
    pub event: RootEvent,
}

impl Root {
    /// A new root, not yet stored.
    pub(crate) const fn new(generation: u32, now_ms: u64, salt: [u8; SALT_BYTES]) -> Self {
        Self {
            generation,
            revision: 1,
            state: RootState::Active,
            since_ms: now_ms,
            alarms: 0,
            salt,
        }
    }

    /// The root after an event: its next revision.
    pub fn apply(&self, event: RootEvent, now_ms: u64) -> Result<Self, RootEventRefused> {
        let state = match (self.state, event) {
            (RootState::Active, RootEvent::Retire) | (RootState::Expired, RootEvent::Alarm) => RootState::Retired,
            (RootState::Retired, RootEvent::Expire) => RootState::Expired,
            (RootState::Expired, RootEvent::Delete) => RootState::Deleting,
            (RootState::Deleting, RootEvent::Emptied) => RootState::Deleted,
            (state, event) => {
                return Err(RootEventRefused {
                    generation: self.generation,
                    state,
                    event,
                });
            }
        };
        Ok(Self {
            state,
            since_ms: now_ms,
            revision: self.revision + 1,
            alarms: self.alarms + u32::from(event == RootEvent::Alarm),
            ..self.clone()
        })
    }

    /// How long it has been in its state; nothing, when the clock has gone back.
    #[must_use]
    pub const fn age_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.since_ms)
    }
}

/// Roots exist, but none is active.
#[derive(Debug, thiserror::Error)]
#[error("{place} has {roots} roots and none of them is active: restore roots/ from a backup, or choose another store")]
pub struct NoActiveRoot {
    pub(crate) place: String,
    pub(crate) roots: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootFile {
    version: u32,
    generation: u32,
    revision: u32,
    state: RootState,
    since_ms: u64,
    alarms: u32,
    salt: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstRootFile {
    #[serde(rename = "version")]
    _version: u32,
    generation: u32,
    state: RootState,
    salt: String,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl Root {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let file = RootFile {
            version: VERSION,
            generation: self.generation,
            revision: self.revision,
            state: self.state,
            since_ms: self.since_ms,
            alarms: self.alarms,
            salt: hex::encode(self.salt),
        };
        serde_json::to_vec(&file).expect("numbers and strings are always JSON")
    }

    /// The root in `bytes`, or why there is none.
    pub(crate) fn decode(generation: u32, revision: u32, bytes: &[u8]) -> Result<Self, String> {
        let VersionOnly { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let file = match version {
            1 => serde_json::from_slice(bytes).map(|first: FirstRootFile| RootFile {
                version,
                generation: first.generation,
                revision: 1,
                state: first.state,
                since_ms: 0,
                alarms: 0,
                salt: first.salt,
            }),
            VERSION => serde_json::from_slice(bytes),
            _ => {
                return Err(format!(
                    "its version {version} is not known here (this build reads 1 and {VERSION}): update lambent"
                ));
            }
        };
        let file = file.map_err(|error| error.to_string())?;
        if file.generation != generation {
            return Err(format!("it says generation {}", file.generation));
        }
        if file.revision != revision {
            return Err(format!("it says revision {}", file.revision));
        }
        let mut salt = [0; SALT_BYTES];
        hex::decode_to_slice(&file.salt, &mut salt).map_err(|_| "its salt is not 64 hexadecimal digits".to_owned())?;
        Ok(Self {
            generation,
            revision,
            state: file.state,
            since_ms: file.since_ms,
            alarms: file.alarms,
            salt,
        })
    }
}

#[cfg(test)]
mod tests;
