//! moto, AWS's interfaces as a local server from PyPI.

use std::env;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Python needs some 2 s on a quiet machine; tests share theirs.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Between finding a free port and moto's taking it somebody else may.
const STARTS_MAX: usize = 5;

/// A running server; killed when dropped, also by a panic.
pub(super) struct Moto {
    child: Child,
    address: SocketAddr,
}

impl Moto {
    pub(super) fn start() -> Self {
        let program = program();
        assert!(
            program.exists(),
            "{} is missing: run `cargo xtask setup`",
            program.display()
        );
        (0..STARTS_MAX)
            .find_map(|_| Self::try_start(&program))
            .expect("moto_server starts on one of the free ports")
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `None` when the server ends before it listens.
    fn try_start(program: &PathBuf) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { child, address };
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(
                Instant::now() < deadline,
                "moto_server does not listen after {START_TIMEOUT:?}"
            );
            std::thread::sleep(POLL_INTERVAL);
        }
        Some(server)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Where `cargo xtask setup` puts it.
fn program() -> PathBuf {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("LAMBENT_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("lambent")))
        .or_else(|| folder("HOME").map(|path| path.join(".cache/lambent")))
        .expect("LAMBENT_CACHE, XDG_CACHE_HOME or HOME is set");
    cache.join("venv/bin/moto_server")
}
