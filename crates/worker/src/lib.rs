//! A machine's agent: the daemon that serves image devices, and the way to speak to it.
//!
//! One daemon for each data directory. It attaches a device the first time an image is mounted, shares it among all
//! mounts of the image, records what the start touches, and builds from that the trace and the start pack for later
//! starts. It is started when somebody mounts and ends when nothing is mounted.
//!
//! It holds nothing durable: what it knows of a device is kept by its keeper (see `block::keeper`) while it lives, so
//! that a successor goes on where a killed daemon stopped, and is worthless after that. Its truth about mounts is the
//! kernel's.
//!
//! What functions run in is a part of its own, `functions`, which asks the daemon for its images as any client does.
//!
//! Read first: `protocol`, [`Daemon`], `images`; then [`Functions`].

mod client;
mod daemon;
mod error;
mod found;
mod functions;
mod handover;
mod images;
mod left_over;
mod protocol;
mod report;
mod runtime_api;
mod settings;
mod starts;

pub use client::{Client, ClientError};
pub use daemon::{Daemon, DaemonParts, Ending, devices_directory};
pub use error::WorkerError;
pub use found::{FindImage, FoundImage};
pub use functions::{
    Connect, DaemonMounts, FileSystem, FunctionSettings, Functions, FunctionsError, FunctionsParts, ImageMounts,
    MountError, MountedTree,
};
pub use left_over::clean_after_dead;
pub use protocol::{MountRequest, Mounted, MountedImage, Selector};
pub use report::{
    CacheStats, CacheTierStats, ImageStats, KeyStats, MountLine, PrefetchStats, TierStats, ZoneNodeStats,
};
pub use settings::{KeyLife, Settings, SettingsError};
