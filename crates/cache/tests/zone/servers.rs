//! memcached processes, and the file that names them.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Three seconds: thousands of times what an answer takes, and a node that sends none is still found out.
const ANSWER_MS: u64 = 3000;

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server of its own, gone with this.
#[derive(Debug)]
pub(crate) struct Memcached {
    child: Child,
    port: u16,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    directory: TempDir,
}

impl Memcached {
    /// Starts a server with further arguments on a port that it chooses.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &Path)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, path)| ((*name).to_owned(), (*path).to_owned()))
            .collect();
        let child = spawn(None, directory.path(), (&arguments, &environment));
        let mut server = Self {
            child,
            port: 0,
            arguments,
            environment,
            directory,
        };
        server.port = server.wait();
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it, as a machine that goes down does: its memory is lost.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Kills it and starts it again, empty, where it was.
    pub(crate) fn restart(&mut self) {
        self.kill();
        std::fs::remove_file(self.ports()).unwrap();
        self.child = spawn(
            Some(self.port),
            self.directory.path(),
            (&self.arguments, &self.environment),
        );
        assert_eq!(self.wait(), self.port);
    }

    fn ports(&self) -> PathBuf {
        self.directory.path().join("ports")
    }

    /// Returns the port when the server listens.
    fn wait(&mut self) -> u16 {
        let begin = Instant::now();
        loop {
            let ports = std::fs::read_to_string(self.ports()).unwrap_or_default();
            let port = ports.lines().find_map(|line| line.strip_prefix("TCP INET: "));
            if let Some(port) = port.and_then(|port| port.parse().ok())
                && TcpStream::connect(("127.0.0.1", port)).is_ok()
            {
                return port;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "memcached ended: {ended:?}");
            assert!(begin.elapsed() < PATIENCE, "memcached does not listen: {ports}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// It dies with this thread, also when the test is killed.
fn spawn(port: Option<u16>, directory: &Path, more: (&[String], &[(String, PathBuf)])) -> Child {
    let port = port.map_or_else(|| "-1".to_owned(), |port| port.to_string());
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "memcached", "--listen=127.0.0.1", "--user=root"])
        .args(["--udp-port=0", "--threads=1", "--memory-limit=64", "--port", &port])
        .args(more.0)
        .envs(more.1.iter().cloned())
        .env("MEMCACHED_PORT_FILENAME", directory.join("ports"))
        .stderr(Stdio::null());
    command.spawn().expect("memcached is installed by `cargo xtask setup`")
}

impl Drop for Memcached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A fleet's file in a directory of its own.
#[derive(Debug)]
pub(crate) struct FleetFile {
    directory: TempDir,
    /// What stands below the list of nodes.
    access: String,
}

impl FleetFile {
    pub(crate) fn new(nodes: impl IntoIterator<Item = String>) -> Self {
        Self::with_access(nodes, |_| String::new())
    }

    /// `access` writes the files that it names into the directory that it is given.
    pub(crate) fn with_access(nodes: impl IntoIterator<Item = String>, access: impl FnOnce(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let access = access(directory.path());
        let file = Self { directory, access };
        file.name(nodes);
        file
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("zone.toml")
    }

    /// Names other nodes. Their answers have so long that none is late on a busy machine, where it is sent at all.
    pub(crate) fn name(&self, nodes: impl IntoIterator<Item = String>) {
        self.name_for(nodes, ANSWER_MS);
    }

    /// Names other nodes, whose answers have so many milliseconds.
    pub(crate) fn name_for(&self, nodes: impl IntoIterator<Item = String>, answer_ms: u64) {
        let nodes: Vec<_> = nodes.into_iter().collect();
        self.write(&format!("nodes = {nodes:?}\nanswer_ms = {answer_ms}\n{}", self.access));
    }

    /// Whole or not at all, as an operator's tool does.
    pub(crate) fn write(&self, text: &str) {
        let new = self.directory.path().join("zone.toml.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }
}
