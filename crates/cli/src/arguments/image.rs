//! `lambent image`, and the daemon that serves what is mounted.

use super::ScopeArgument;
use crate::size::Size;
use clap::{Args, Subcommand, ValueEnum};
use image::source::platform::Platform;
use image::source::spec::SourceSpec;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Flatten an image into one ext4 file system and store the chunks that the store does not have
    #[command(
        after_help = "Examples:\n  lambent image push oci:build/image:latest --name scorer\n  lambent image push python:3.12-slim\n  lambent image push docker-archive:model.tar --dry-run"
    )]
    Push(Box<PushArguments>),
    /// List images
    #[command(after_help = "Example:\n  lambent image ls --json")]
    Ls,
    /// Show layers, configuration, sizes, and the share of bytes that only this image has
    #[command(after_help = "Example:\n  lambent image inspect scorer")]
    Inspect(NameArgument),
    /// Read every chunk from the store and check it
    #[command(after_help = "Example:\n  lambent image verify scorer")]
    Verify(NameArgument),
    /// Write the ext4 image to a file
    #[command(after_help = "Example:\n  lambent image export scorer scorer.ext4 && e2fsck -fn scorer.ext4")]
    Export(ExportArguments),
    /// Show what two images share
    #[command(after_help = "Example:\n  lambent image compare scorer:1 scorer:2")]
    Compare(CompareArguments),
    /// Mount an image read-only; what is read is fetched when it is first read
    #[command(
        after_help = "Example:\n  mkdir /mnt/scorer && lambent image mount scorer /mnt/scorer\n\nNeeds root. The image is attached once, however often it is mounted. Options of the daemon are in DIR/worker.toml."
    )]
    Mount(MountArguments),
    /// Unmount a directory, or all mounts of an image
    #[command(after_help = "Example:\n  lambent image umount /mnt/scorer")]
    Umount(MountedArgument),
    /// List mounts
    #[command(after_help = "Example:\n  lambent image mounts --json")]
    Mounts,
    /// Say that the program is ready: what its start touched leads later starts
    #[command(
        after_help = "Example:\n  lambent image ready /mnt/scorer\n\nWithout it, a start's record ends after two minutes, or when the image is unmounted."
    )]
    Ready(MountedArgument),
    /// Show what a mounted image has read, and from where
    #[command(after_help = "Example:\n  lambent image stats /mnt/scorer --json")]
    Stats(MountedArgument),
    /// Show what starts of an image touch: chunks, files, bytes by directory
    #[command(after_help = "Example:\n  lambent image trace scorer")]
    Trace(NameArgument),
    /// Remove an image; its chunks stay until garbage collection
    #[command(after_help = "Example:\n  lambent image rm scorer:1")]
    Rm(NameArgument),
}

#[derive(Debug, Args)]
pub(crate) struct PushArguments {
    /// oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REPO:TAG], or a registry reference
    pub(crate) source: SourceSpec,
    /// Name in the store [default: from SOURCE]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Platform to choose from an index, as linux/arm64/v8 [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// How data chunks are compressed before they are sealed
    #[arg(long, value_enum, default_value_t = CompressionArgument::Lz4)]
    pub(crate) compression: CompressionArgument,
    /// Who shares chunks with this image: all accounts of the store, or this one alone
    #[arg(long, value_enum, default_value_t = ScopeArgument::Shared)]
    pub(crate) salt_scope: ScopeArgument,
    /// Threads that read and seal [default: as many as the machine has]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Largest sum of unpacked bytes, as 10GiB
    #[arg(long, value_name = "SIZE", default_value = "10GiB")]
    pub(crate) unpacked_max: Size,
    /// Largest number of entries in all layers; memory grows by about 200 bytes with each
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    pub(crate) entries_max: u64,
    /// Registry (HOST[:PORT]) to speak to without TLS; loopback ones always are
    #[arg(long, value_name = "HOST")]
    pub(crate) plain_http: Vec<String>,
    /// Do everything but store: show what would be new
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgument {
    /// The image's name, as `lambent image ls` shows it
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct DaemonArguments {
    /// Serve, as the child of a keeper, whose line is standard input
    #[arg(long)]
    pub(crate) child: bool,
    /// Mount and unmount for a child, whose line is standard input
    #[arg(long, conflicts_with = "child")]
    pub(crate) mounter: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MountArguments {
    /// The image's name, as `lambent image ls` shows it
    pub(crate) name: String,
    /// Directory to mount on
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct MountedArgument {
    /// The image's name, or a directory that it is mounted on
    #[arg(value_name = "NAME|DIR")]
    pub(crate) mounted: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// The image's name, as `lambent image ls` shows it
    pub(crate) name: String,
    /// File to write; it appears when it is complete
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// One image
    pub(crate) first: String,
    /// Another image
    pub(crate) second: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompressionArgument {
    /// Plain bytes
    None,
    /// Fast to open
    Lz4,
    /// Smaller
    Zstd,
}
