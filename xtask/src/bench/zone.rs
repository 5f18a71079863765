//! What does a chunk from the zone cost, and what does a server that dies or dawdles change?

use std::process::Command;

use anyhow::Result;

use super::{machine, write_results};
use crate::lambent::workspace;
use crate::process;

/// How much is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Few reads, to see that it works; nothing is written
    #[arg(long)]
    quick: bool,
}

/// Runs `crates/cache/benches/zone`, which measures, and writes what it prints.
pub(super) fn run(options: &Options) -> Result<()> {
    process::require(&["memcached", "setpriv"])?;
    let mut bench = Command::new(env!("CARGO"));
    bench
        .args(["bench", "--quiet", "--package", "cache", "--bench", "zone"])
        .current_dir(workspace());
    if options.quick {
        bench.args(["--", "--quick"]);
    }
    let tables = process::run(&mut bench)?;
    println!("{tables}");
    if options.quick {
        return Ok(());
    }
    let text = format!(
        "# Zone cache: `cargo xtask bench zone`\n\n\
         512 KiB chunks, sealed; a read ends when the chunk is rebuilt, checked and opened. Six memcached servers of one \
         thread each on loopback (*plain*: one), readers in one process, all on the same processors; the origin answers \
         after 20 ms. *uncoded* is consistent hashing without coding, each chunk whole on one of six. What is measured, \
         and how: `crates/cache/benches/zone/main.rs`.\n\n{tables}\nMachine:\n\n{}",
        machine::describe()?
    );
    write_results("zone.md", &text)
}
