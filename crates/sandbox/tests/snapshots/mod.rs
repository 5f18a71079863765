//! A fixture with CRIU, and where it keeps snapshots.
#![expect(dead_code, reason = "each test file uses a part of it")]

use crate::fixture::{Fixture, groups_named};
use sandbox::{Connection, Criu, Process, Sandbox, SandboxSpec, Spawner};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For an answer of a restored process; a test that reaches it has failed.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

pub(crate) struct Snapshots {
    pub(crate) fixture: Fixture,
    pub(crate) criu: Criu,
}

/// What a snapshot has become. The listener is kept open: the process may connect again.
pub(crate) struct Restored {
    pub(crate) sandbox: Sandbox,
    pub(crate) process: Process,
    pub(crate) stream: TcpStream,
    pub(crate) listener: TcpListener,
}

impl Snapshots {
    pub(crate) fn new() -> Self {
        Self {
            fixture: Fixture::new(),
            criu: Criu::open(&cache().join("criu")).expect("cargo xtask setup installs CRIU"),
        }
    }

    /// The control groups of a sandbox of ours: other tests have sandboxes of the same name.
    pub(crate) fn groups_of(&self, sandbox: &str) -> Vec<PathBuf> {
        let groups = groups_named(&format!("sandbox-{sandbox}")).into_iter();
        groups
            .filter(|path| path.to_string_lossy().contains(&self.fixture.cgroup))
            .collect()
    }

    pub(crate) fn tools(&self) -> (&Spawner, &Criu) {
        (&self.fixture.spawner, &self.criu)
    }

    /// In one that only root can enter.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        let directory = self.fixture.directory().join(name);
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
        directory
    }

    /// With this test's directory at `/opt/tests`, and the Python packages of `cargo xtask setup` at `/opt/python`.
    pub(crate) fn spec(&self) -> SandboxSpec {
        let tests = std::env::current_exe().unwrap();
        let packages = cache().join("venv/lib/python3.11/site-packages");
        let mut spec = self.fixture.spec();
        for (directory, target) in [
            (tests.parent().unwrap(), "/opt/tests"),
            (packages.as_path(), "/opt/python"),
        ] {
            spec.overlays.push((directory.to_owned(), target.to_owned()));
        }
        spec.memory_bytes = 512 << 20;
        spec.cpu_millis = 2000;
        spec
    }

    /// Writes a process that waits for us on a connection.
    pub(crate) fn write(
        &self,
        sandbox: &Sandbox,
        process: &Process,
        stream: &TcpStream,
        directory: &Path,
    ) -> Connection {
        let connection = Connection::note(stream).unwrap();
        let identity = sandbox.identity(process).unwrap();
        let begun = Instant::now();
        sandbox.checkpoint(self.tools(), &identity, directory).unwrap();
        println!(
            "written in {:?}: {} bytes of memory",
            begun.elapsed(),
            memory_bytes(directory)
        );
        connection
    }

    pub(crate) fn restore(&self, spec: &SandboxSpec, directory: &Path, connection: &Connection) -> Restored {
        let begun = Instant::now();
        let mut sandbox = self.fixture.spawner.create(spec).unwrap();
        let listener = sandbox.take_listener().unwrap();
        let stream = with_limit(connection.rebuild(&sandbox.dialer().unwrap()).unwrap());
        let process = sandbox.restore(self.tools(), directory).unwrap();
        println!("sandbox made and process restored in {:?}", begun.elapsed());
        Restored {
            sandbox,
            process,
            stream,
            listener,
        }
    }
}

/// A stream that a test can wait for, though not for ever.
pub(crate) fn with_limit(stream: TcpStream) -> TcpStream {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(ANSWER_WAIT)).unwrap();
    stream
}

pub(crate) fn memory_bytes(directory: &Path) -> u64 {
    let files = fs::read_dir(directory).unwrap().flatten();
    let pages = files.filter(|file| file.file_name().to_string_lossy().starts_with("pages-"));
    pages.map(|file| file.metadata().unwrap().len()).sum()
}

/// As xtask's: what `cargo xtask setup` installs lies there.
fn cache() -> PathBuf {
    let folder = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let cache = folder("LAMBENT_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("lambent")))
        .or_else(|| folder("HOME").map(|path| path.join(".cache/lambent")));
    cache.unwrap()
}
