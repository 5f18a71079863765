//! `lambent store`.

use crate::age::Age;
use clap::{Args, Subcommand, ValueEnum};
use std::num::NonZeroU32;
use store::ServerId;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Free the space of what no image needs any more
    #[command(
        after_help = "Examples:\n  lambent store gc --dry-run\n  lambent store gc --rate 500\n  lambent store gc --retire-after 0 --expire-after 1h --delete-after 1h\n\nSafe at any time, beside pushes, mounts and functions, and after it was killed. What is dead goes in steps: the root that\nholds it retires, what lives is copied on, the root expires, and is deleted. Each call does the steps that are due."
    )]
    Gc(GcArguments),
    /// List the store's roots
    #[command(after_help = "Example:\n  lambent store roots --json")]
    Roots,
    /// Show what is shared, what is dead, what one bad chunk could break, and which tier gave what on this machine
    #[command(after_help = "Example:\n  lambent store stats --json")]
    Stats,
    /// List the servers that share the store, with what their functions hold in it
    #[command(after_help = "Example:\n  lambent store servers")]
    Servers,
    /// Take away what a server holds that is gone for good, so that what it alone needed is collected
    #[command(
        after_help = "Example:\n  lambent store forget 0123456789abcdef\n\n`lambent store servers` shows the ids, and when each server was there last. One that still runs holds again within an hour\nwhat its functions need."
    )]
    Forget {
        /// The server's id
        #[arg(value_name = "SERVER")]
        server: ServerId,
    },
    /// Show or set whom the account's chunks are shared with, on every machine
    #[command(
        after_help = "Example:\n  lambent store scope account\n\n`account` keeps others from finding out, by what is stored already, what the account holds; it costs a copy of what\nothers have, too. It is for what is pushed from now on."
    )]
    Scope {
        /// All accounts of the store, or this one alone
        #[arg(value_enum, value_name = "SCOPE")]
        scope: Option<ScopeArgument>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Chunks to copy, or objects to delete, in a second [default: as fast as it goes]
    #[arg(long, value_name = "N")]
    pub(crate) rate: Option<NonZeroU32>,
    /// Age at which an active root with something dead in it retires
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub(crate) retire_after: Age,
    /// How long a root stays retired: pushes that began in it have as long to end
    #[arg(long, value_name = "AGE", default_value = "1d")]
    pub(crate) expire_after: Age,
    /// How long a root stays expired: any read of it in this time stops its deletion
    #[arg(long, value_name = "AGE", default_value = "2d")]
    pub(crate) delete_after: Age,
    /// Age at which an active root retires even if nothing in it is dead, to have a new salt [default: never]
    #[arg(long, value_name = "AGE")]
    pub(crate) salt_life: Option<Age>,
    /// Images that share a chunk before later ones store it under one of eight other salts; 0 is never
    #[arg(long, value_name = "N", default_value = "1000")]
    pub(crate) popular_above: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ScopeArgument {
    /// All accounts
    Shared,
    /// This account alone
    Account,
}
