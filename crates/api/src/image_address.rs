//! Which stored image.

use crate::as_text;
use chunk::{Account, ChunkId};
use serde::{Deserialize, Serialize};

/// Names a stored image's device.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageAddress {
    /// The image's name, for people.
    pub name: String,
    /// Whose key opens it.
    #[serde(with = "as_text")]
    pub account: Account,
    /// The root that holds manifest and chunks.
    pub generation: u32,
    /// The manifest.
    #[serde(with = "as_text")]
    pub manifest: ChunkId,
}
