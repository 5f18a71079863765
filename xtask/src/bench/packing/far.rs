//! An S3 server behind a delay, and a client of it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};

use crate::bench::start::{BUCKET, CREDENTIALS, Helper, Passed};

/// Server, proxy and client. All end with it.
pub(super) struct Far {
    pub(super) s3: AmazonS3,
    proxy: Helper,
    _server: Helper,
}

impl Far {
    pub(super) fn start(folder: &Path, one_way: Duration) -> Result<Self> {
        let (server, proxy) = (free_address()?, free_address()?);
        let mut command = part("s3")?;
        command.arg("--folder").arg(folder).args(["--listen", &server]);
        let server_helper = Helper::start(&command)?;
        let mut command = part("delay")?;
        command
            .args(["--listen", &proxy, "--to", &server])
            .arg(format!("--delay-us={}", one_way.as_micros()));
        let proxy_helper = Helper::start(&command)?;
        let [(_, key), (_, secret)] = CREDENTIALS;
        let s3 = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_region("us-east-1")
            .with_endpoint(format!("http://{proxy}"))
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .with_allow_http(true)
            // Not every server has the bulk one; the store deletes one by one, too.
            .with_config(AmazonS3ConfigKey::DisableBulkDelete, "true")
            .build()?;
        Ok(Self {
            s3,
            proxy: proxy_helper,
            _server: server_helper,
        })
    }

    /// What has crossed the proxy since it was last asked.
    pub(super) fn take_passed(&mut self) -> Result<Passed> {
        let answer = self.proxy.ask("passed")?;
        serde_json::from_str(&answer).context("reading the delay proxy's answer")
    }
}

fn part(name: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["bench", "start-part", name]);
    Ok(command)
}

/// A port that was free a moment ago; a helper that does not get it says so.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(listener.local_addr()?.to_string())
}
