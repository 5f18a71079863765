//! The network between a worker and its origin: two network namespaces and a pair of virtual cards, 1 Gb/s each way.
//!
//! ```text
//! near (the bench's own namespace)                       far
//! lambent, skopeo, curl ── lambent-near ═ tbf ═ lambent-far ── delay proxies ── lo ── S3 server, registry, source
//! ```
//! The bench has left the host's namespace before (see `isolation`), so neither the host's routes nor its firewall are
//! touched, and both namespaces go with their processes. The rate is tbf's; this kernel has no netem, so the delay is
//! that of the proxies.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::helper::Helper;
use crate::process;

/// Addresses of a private network of two.
const NEAR: &str = "10.213.77.1";
pub(super) const FAR: &str = "10.213.77.2";
const PREFIX: &str = "/30";

/// Of the shape: 1 Gb/s. The bucket holds two of the largest packets that a card may hand over at once (64 KiB), the
/// queue 10 ms, which is more than TCP keeps in it.
const SHAPE: [&str; 6] = ["rate", "1gbit", "burst", "128kb", "latency", "10ms"];

/// Where a server and its delay proxy listen: the server on the far side's own loopback, the proxy on the link.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) server: u16,
    pub(super) proxy: u16,
}

/// The link, up for as long as its guard lives.
pub(super) struct Link {
    holder: Helper,
}

impl Link {
    /// Makes the far namespace, and connects both with shaped cards.
    pub(super) fn start() -> Result<Self> {
        // `cat` ends with its input; what it holds goes with it, and a card's peer goes with the card.
        let mut hold = Command::new("unshare");
        hold.args(["--net", "sh", "-c", "echo ready; exec cat"]);
        let link = Self {
            holder: Helper::start(&hold).context("making a network namespace")?,
        };
        link.connect().context("connecting two network namespaces")?;
        Ok(link)
    }

    /// A command that runs on the far side.
    pub(super) fn far(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace().display()))
            .arg(program);
        command
    }

    /// One of this program's own parts, to run on the far side.
    pub(super) fn far_part(&self, part: &str) -> Result<Command> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = self.far(&program.display().to_string());
        command.args(["bench", "start-part", part]);
        Ok(command)
    }

    /// The file that stands for the far namespace.
    pub(super) fn namespace(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    fn connect(&self) -> Result<()> {
        let holder = self.holder.id().to_string();
        near(&["link", "set", "lo", "up"])?;
        near(&[
            "link",
            "add",
            "lambent-near",
            "type",
            "veth",
            "peer",
            "name",
            "lambent-far",
            "netns",
            &holder,
        ])?;
        near(&["addr", "add", &format!("{NEAR}{PREFIX}"), "dev", "lambent-near"])?;
        near(&["link", "set", "lambent-near", "up"])?;
        for arguments in [
            &["link", "set", "lo", "up"][..],
            &["addr", "add", &format!("{FAR}{PREFIX}"), "dev", "lambent-far"],
            &["link", "set", "lambent-far", "up"],
        ] {
            process::run(self.far("ip").args(arguments))?;
        }
        let shape = |device| [&["qdisc", "add", "dev", device, "root", "tbf"][..], &SHAPE].concat();
        process::run(Command::new("tc").args(shape("lambent-near")))?;
        process::run(self.far("tc").args(shape("lambent-far")))?;
        Ok(())
    }
}

fn near(arguments: &[&str]) -> Result<()> {
    process::run(Command::new("ip").args(arguments)).map(|_| ())
}
