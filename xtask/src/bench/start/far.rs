//! What runs on the far side of the link: a server and the delay proxy before it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::delay_proxy::{self, Passed};
use super::helper::Helper;
use super::link::{FAR, Link, Ports};
use super::{link_check, origin};

/// Parts of this program that the bench starts as processes of their own.
#[derive(clap::Subcommand)]
pub(crate) enum Part {
    /// The S3 server
    S3(origin::Options),
    /// The TCP proxy that delays
    Delay(delay_proxy::Options),
    /// The server that the link is checked with
    Source(link_check::Options),
}

impl Part {
    /// Runs it until its input ends.
    pub(in crate::bench) fn run(&self) -> Result<()> {
        match self {
            Self::S3(options) => origin::run(options),
            Self::Delay(options) => delay_proxy::run(options),
            Self::Source(options) => link_check::run(options),
        }
    }
}

/// How far the far side is.
#[derive(Clone)]
pub(super) struct Delay {
    pub(super) one_way: Duration,
    /// Where a proxy writes who asked for what.
    pub(super) log: Option<PathBuf>,
}

/// A delay proxy on the far side, with its server if that is a part of this program.
pub(super) struct FarProxy {
    /// Where the near side reaches it.
    pub(super) address: String,
    helper: Helper,
    _server: Option<Helper>,
}

impl FarProxy {
    /// Starts a part of this program on the far side's loopback, and a proxy before it.
    pub(super) fn with_server(link: &Link, part: &str, ports: Ports, delay: &Delay, more: &[&str]) -> Result<Self> {
        let address = format!("127.0.0.1:{}", ports.server);
        let mut server = link.far_part(part)?;
        let server = Helper::start(server.args(["--listen", &address]).args(more))?;
        let mut proxy = Self::start(link, ports.proxy, &address, delay)?;
        proxy._server = Some(server);
        Ok(proxy)
    }

    /// Starts a proxy before a server that is there already.
    pub(super) fn start(link: &Link, port: u16, to: &str, delay: &Delay) -> Result<Self> {
        let address = format!("{FAR}:{port}");
        let mut proxy = link.far_part("delay")?;
        proxy
            .args(["--listen", &address, "--to", to])
            .arg(format!("--delay-us={}", delay.one_way.as_micros()));
        if let Some(log) = &delay.log {
            proxy.arg("--log").arg(log);
        }
        Ok(Self {
            address,
            helper: Helper::start(&proxy)?,
            _server: None,
        })
    }

    /// What has passed since it was last asked.
    pub(super) fn take_passed(&mut self) -> Result<Passed> {
        let answer = self.helper.ask("passed")?;
        serde_json::from_str(&answer).context("reading a delay proxy's answer")
    }
}
