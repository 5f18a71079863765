//! A running `lambent up`, as demo and benches use it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long it may take to begin: it is ready in a fraction of a second on an idle machine.
const START_MAX: Duration = Duration::from_secs(30);

/// How long it may take to end: its own drain is 25 s.
const END_MAX: Duration = Duration::from_secs(40);

/// An endpoint; killed when it is dropped without an end.
pub(crate) struct Endpoint {
    child: Child,
    /// `HOST:PORT`.
    pub(crate) host: String,
    /// How long it took until clients could know of it.
    pub(crate) started: Duration,
    config: PathBuf,
    credentials: PathBuf,
    ended: bool,
}

impl Endpoint {
    /// Runs the command, which serves `data`, and waits until it has said where.
    pub(crate) fn start(command: &mut Command, data: &Path) -> Result<Self> {
        let start = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting lambent up")?;
        let mut endpoint = Self {
            child,
            host: String::new(),
            started: Duration::ZERO,
            config: data.join("aws/config"),
            credentials: data.join("aws/credentials"),
            ended: false,
        };
        while !endpoint.credentials.exists() {
            if endpoint.child.try_wait()?.is_some() || start.elapsed() > START_MAX {
                bail!("lambent up does not serve");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        endpoint.started = start.elapsed();
        let url = value(&endpoint.config, "endpoint_url")?;
        endpoint.host = url.trim_start_matches("http://").to_owned();
        Ok(endpoint)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `KEY:SECRET`, as registry clients take them.
    pub(crate) fn credentials(&self) -> String {
        let value = |key| value(&self.credentials, key).unwrap_or_default();
        format!("{}:{}", value("aws_access_key_id"), value("aws_secret_access_key"))
    }

    /// Lets a client of AWS's find this endpoint.
    pub(crate) fn with_client_files<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AWS_CONFIG_FILE", &self.config)
            .env("AWS_SHARED_CREDENTIALS_FILE", &self.credentials)
            .env("AWS_PROFILE", "lambent")
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self) -> Result<()> {
        Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        let deadline = Instant::now() + END_MAX;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("lambent up did not end within {} s", END_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.ended = true;
        Ok(())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if !self.ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn value(path: &Path, key: &str) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let found = pairs
        .map(|(name, value)| (name.trim(), value.trim()))
        .find(|(name, _)| *name == key);
    Ok(found
        .with_context(|| format!("{} has no {key}", path.display()))?
        .1
        .to_owned())
}
