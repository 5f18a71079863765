//! Debian's `docker-registry`, a real one, for as long as its guard lives.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

/// What the registry logs once it listens; the port follows.
const LISTENING: &str = "listening on 127.0.0.1:";

/// A registry on a free loopback port, over a folder. It dies with its guard, and with this task if that is killed.
pub(crate) struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
}

impl Registry {
    /// Starts it and waits until it listens.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        Self::start_through(folder, &[])
    }

    /// The same through a program that runs another, such as nsenter.
    pub(crate) fn start_through(folder: &Path, through: &[&str]) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: demo}}\n",
            folder.join("data").display()
        );
        fs::write(&config, text)?;
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(through)
            .args(["docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting docker-registry")?;
        let errors = child.stderr.take().context("its standard error is a pipe")?;
        let mut registry = Self {
            child,
            host: String::new(),
        };
        let mut lines = BufReader::new(errors).lines().map_while(Result::ok);
        let Some(line) = lines.find(|line| line.contains(LISTENING)) else {
            bail!("docker-registry ended before it listened");
        };
        let port = line.split(LISTENING).nth(1).unwrap_or_default();
        let port: String = port.chars().take_while(char::is_ascii_digit).collect();
        registry.host = format!("127.0.0.1:{port}");
        // Read on, or the registry would stop when the pipe is full.
        thread::spawn(move || lines.for_each(drop));
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Ended already, or ended now: either way nothing is left.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
