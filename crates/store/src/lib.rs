//! Sealed chunks, manifests and image records at rest in an object store.
//!
//! One crate speaks to object storage, a local directory or S3, and one crate deletes: this one. Everything that it
//! writes is complete or absent, whenever its writer is killed; what it writes twice is stored once. It retries what
//! a bad moment broke, within a budget, and reports the rest in one message that says what was tried, on what, where.
//!
//! It never opens what it stores: no key passes through here, and records are opaque bytes. It reads no environment
//! variable and no flag: the caller hands in [`StoreLocation`], [`Settings`] and [`AwsOptions`].
//!
//! Read first: `layout` (the page of every stored key), [`Store`], [`ChunkWriter`]; of garbage collection, `root` (a
//! root's life), `pushes` (the invariant), `holds` (several servers), `collect`.

mod backend;
mod chunk_writer;
mod collect;
mod error;
mod fault;
mod holds;
mod layout;
mod location;
mod policy;
mod popular;
mod pushes;
mod put;
mod record_name;
mod retry;
mod root;
mod roots;
mod settings;
mod store;
mod surroundings;
mod user_object;
mod wrapped_keys;

pub use backend::{AwsOptions, OpenError};
pub use chunk_writer::{ChunkWriter, Progress, WriteMode, WriterStopped, Written};
pub use collect::{GcProgress, GcReport, GcSettings, LiveManifest, Popular, RootUse, Survey};
pub use error::{ErrorKind, ObjectCorrupt, ObjectMissing, ObjectTooLarge, StoreError};
pub use fault::{CallFailed, Fault};
pub use holds::{Forgotten, Held, HeldName, ServerId, ServerIdError, ServerUse};
pub use location::{LocationError, S3Location, StoreLocation};
pub use policy::{AccountPolicy, PolicyScope};
pub use popular::PopularChunks;
pub use pushes::{Push, PushRevoked};
pub use put::Put;
pub use record_name::{RECORD_NAME_BYTES_MAX, RecordNameError};
pub use root::{NoActiveRoot, Root, RootEvent, RootEventRefused, RootState};
pub use settings::{Settings, SettingsError};
pub use store::{RecordEntry, Store};
pub use user_object::{UserObject, UserObjectError, UserObjectReader, UserObjectWriter};

#[cfg(test)]
mod tests;
