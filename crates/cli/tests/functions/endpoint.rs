//! One `lambent up` with a data directory of its own.

use crate::networks::Networks;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long an endpoint may take to end after SIGTERM before the test ends it. Its own drain is 25 s.
const END_TIMEOUT: Duration = Duration::from_secs(40);

/// A running endpoint; ended, and looked after for what it leaves, when it goes out of scope.
pub(crate) struct Endpoint {
    work: TempDir,
    within: Within,
    child: Child,
}

/// Network namespaces, by name: the one that it runs in, with a way out for its functions, and the world outside.
type Within = Option<(String, String)>;

impl Endpoint {
    /// Starts one on a free port and waits until it serves.
    pub(crate) fn start() -> Self {
        Self::start_at(None)
    }

    /// Starts one whose functions reach the network, in namespaces of its own.
    pub(crate) fn start_within(networks: &Networks) -> Self {
        Self::start_at(Some((networks.host.clone(), networks.world.clone())))
    }

    /// Starts one with more arguments or variables.
    pub(crate) fn start_with(change: impl FnOnce(&mut Command)) -> Self {
        Self::start_changed(None, change)
    }

    fn start_at(within: Within) -> Self {
        Self::start_changed(within, |_| {})
    }

    fn start_changed(within: Within, change: impl FnOnce(&mut Command)) -> Self {
        let work = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut command = up(&work.path().join("data"), &within);
        change(&mut command);
        let child = spawn(&mut command);
        Self { work, within, child }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.work.path().join("data")
    }

    /// A path beside the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// How many processes of its functions run: tests give those a variable that names their endpoint.
    pub(crate) fn sandboxes(&self) -> usize {
        let owner = format!("OWNER={}", self.data().display());
        let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            fs::read_to_string(entry.path().join("environ")).is_ok_and(|variables| variables.contains(&owner))
        });
        processes.count()
    }

    /// Whether a function's log has a line, at the latest after a while: lines are written in batches.
    pub(crate) fn logged(&self, function: &str, line: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if self.lambent(&["logs", function]).contains(line) {
                return true;
            }
        }
        false
    }

    /// Kills it as a crash would, and starts it again on the same data.
    pub(crate) fn crash_and_start(&mut self) {
        self.crash_and_start_with(|_| {});
    }

    /// The same with more arguments or variables.
    pub(crate) fn crash_and_start_with(&mut self, change: impl FnOnce(&mut Command)) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut command = up(&self.data(), &self.within);
        change(&mut command);
        self.child = spawn(&mut command);
    }

    /// A command of `lambent` on the same data.
    pub(crate) fn lambent(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lambent"));
        let output = command
            .args(arguments)
            .arg("--data")
            .arg(self.data())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs one file of boto3 tests, all of which must pass.
    pub(crate) fn boto3(&self, module: &str) {
        self.boto3_with(module, &[]);
    }

    /// The same with more variables.
    pub(crate) fn boto3_with(&self, module: &str, variables: &[(&str, &str)]) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions/boto3");
        let python = cache().join("venv/bin/python");
        assert!(
            python.exists(),
            "{} is missing: run `cargo xtask setup`",
            python.display()
        );
        let output = command(&python, &self.within)
            .args(["-B", "-m", "unittest", "--verbose", module])
            .current_dir(folder)
            .env_clear()
            .env("HOME", self.work.path())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("AWS_CONFIG_FILE", self.data().join("aws/config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", self.data().join("aws/credentials"))
            .env("AWS_PROFILE", "lambent")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("LAMBENT", env!("CARGO_BIN_EXE_lambent"))
            .env("LAMBENT_DATA", self.data())
            .env("LAMBENT_PID", self.child.id().to_string())
            .env("LAMBENT_CORPUS", cache().join("corpus"))
            .env("BOOTSTRAP", bootstrap())
            .envs(variables.iter().copied())
            .env("WORLD", self.within.as_ref().map_or("", |(_, world)| world))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{module}:\n{said}");
        assert!(!said.contains("skipped="), "{module} skipped tests:\n{said}");
        assert!(!said.contains("Ran 0 tests"), "{module} has no tests:\n{said}");
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        // Ended already is ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let deadline = Instant::now() + END_TIMEOUT;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                if !std::thread::panicking() {
                    panic!("the endpoint did not end within {END_TIMEOUT:?} of SIGTERM");
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.end();
        // The daemon of mounts ends by itself when nothing is mounted; a test that failed may have left a mount.
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let data = self.data().display().to_string();
        let left: Vec<&str> = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|target| target.starts_with(&format!("{data}/functions")))
            .collect();
        for target in &left {
            let _ = Command::new("umount").args(["--lazy", target]).status();
        }
        if !std::thread::panicking() {
            assert_eq!(left, [""; 0], "mounts were left behind");
        }
    }
}

/// A program, in the endpoint's namespace if it has one.
fn command(program: &Path, within: &Within) -> Command {
    let Some((host, _)) = within else {
        return Command::new(program);
    };
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{host}")).arg(program);
    command
}

fn up(data: &Path, within: &Within) -> Command {
    let network = if within.is_some() { "nat" } else { "off" };
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_lambent")), within);
    command
        .args(["up", "--listen", "127.0.0.1:0", "--network", network, "--data"])
        .arg(data)
        .env("RUST_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

fn spawn(command: &mut Command) -> Child {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().and_then(Result::ok).unwrap_or_default();
    assert!(
        line.contains("http://127.0.0.1:"),
        "the endpoint does not start: {line}"
    );
    // Read on, or it would stop when the pipe is full.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    child
}

/// The handler that does as its event says, compiled once for all tests.
fn bootstrap() -> &'static Path {
    static BOOTSTRAP: OnceLock<PathBuf> = OnceLock::new();
    BOOTSTRAP.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bootstrap-{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/functions/handler.rs");
        let output = Command::new("rustc")
            .args([
                "--edition=2024",
                "-O",
                "-Ctarget-feature=+crt-static",
                "-Cstrip=symbols",
                "-o",
            ])
            .args([&program, &source])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    })
}

/// The project's cache folder, as xtask finds it.
pub(crate) fn cache() -> PathBuf {
    let from = |name: &str, below: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some(Path::new(&value).join(below))
    };
    let cache = from("LAMBENT_CACHE", "")
        .or_else(|| from("XDG_CACHE_HOME", "lambent"))
        .or_else(|| from("HOME", ".cache/lambent"));
    cache.expect("LAMBENT_CACHE, XDG_CACHE_HOME or HOME is set")
}
