//! The generations of a store.
//!
//! A root's value is one line of JSON, `{"version":1,"generation":1,"state":"active","salt":"64 hex digits"}`. Unknown
//! fields and versions are refused: a reader that does not know what was added cannot know what it means. The salt
//! decides which chunks are shared; it is no key, and opens nothing.

use serde::{Deserialize, Serialize};
use std::fmt;

const VERSION: u32 = 1;
const SALT_BYTES: usize = 32;

/// A generation of the store: what is written under one root is shared, moved and deleted together.
#[derive(Clone, PartialEq, Eq)]
pub struct Root {
    /// Counts from 1; manifests name it.
    pub generation: u32,
    /// Where in its life the root is.
    pub state: RootState,
    /// Drawn at random when the root was made; what chunks' salts are derived from.
    pub salt: [u8; SALT_BYTES],
}

impl fmt::Debug for Root {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Root({}, {:?}, salt ..)", self.generation, self.state)
    }
}

/// A root's life, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootState {
    /// New images are written here.
    Active,
    /// Read, no longer written.
    Retired,
    /// Nothing should read here any more: a read raises an alarm.
    Expired,
    /// Its objects are gone.
    Deleted,
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
            state: self.state,
            salt: hex::encode(self.salt),
        };
        serde_json::to_vec(&file).expect("numbers and strings are always JSON")
    }

    /// The root in `bytes`, or why there is none.
    pub(crate) fn decode(generation: u32, bytes: &[u8]) -> Result<Self, String> {
        let VersionOnly { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!(
                "its version {version} is not known here (this build reads {VERSION}): update lambent"
            ));
        }
        let file: RootFile = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if file.generation != generation {
            return Err(format!("it says generation {}", file.generation));
        }
        let mut salt = [0; SALT_BYTES];
        hex::decode_to_slice(&file.salt, &mut salt).map_err(|_| "its salt is not 64 hexadecimal digits".to_owned())?;
        Ok(Self {
            generation,
            state: file.state,
            salt,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_come_back_as_they_were_written() {
        let root = Root {
            generation: 7,
            state: RootState::Retired,
            salt: [0xab; SALT_BYTES],
        };
        let bytes = root.encode();
        let expected = format!(
            r#"{{"version":1,"generation":7,"state":"retired","salt":"{}"}}"#,
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        assert_eq!(Root::decode(7, &bytes), Ok(root.clone()));
        assert_eq!(format!("{root:?}"), "Root(7, Retired, salt ..)");
    }

    #[test]
    fn other_roots_are_refused_by_name() {
        let good = format!(
            r#"{{"version":1,"generation":1,"state":"active","salt":"{}"}}"#,
            "ab".repeat(32)
        );
        let cases = [
            (good.replace(":1,\"gen", ":2,\"gen"), "its version 2 is not known here"),
            (good.replace("\"state\"", "\"new\":0,\"state\""), "unknown field `new`"),
            (good.replace("active", "asleep"), "unknown variant `asleep`"),
            (good.replace("n\":1", "n\":2"), "its version 2"),
            (good.replace("generation\":1", "generation\":2"), "it says generation 2"),
            (good.replace("abab", "xxxx"), "not 64 hexadecimal digits"),
            (String::new(), "EOF"),
        ];
        for (text, expected) in cases {
            let reason = Root::decode(1, text.as_bytes()).unwrap_err();
            assert!(reason.contains(expected), "{text}: {reason}");
        }
    }
}
