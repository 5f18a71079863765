//! Real servers on free loopback ports, ended when they go out of scope, also by a panic.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

/// Who may read from registries that ask.
pub(crate) const USER: &str = "me";
pub(crate) const PASSWORD: &str = "correct horse";

/// A child that is ended with its guard, and with it the thread that reads its output.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or ended now: either way nothing is left, and a panic here would hide the test's own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `command` and waits until a line of its standard error ends a port behind `marker`.
    fn start(command: &mut Command, marker: &str) -> Self {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot start {:?} ({error}): run `cargo xtask setup`",
                    command.get_program()
                )
            });
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut server = Self { child, port: 0 };
        let mut seen = String::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once(marker) {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                server.port = digits.parse().unwrap();
                // Read on, or the server would stop when the pipe is full.
                thread::spawn(move || lines.for_each(drop));
                return server;
            }
            seen += &line;
            seen.push('\n');
        }
        panic!("{:?} did not start:\n{seen}", command.get_program());
    }
}

/// Debian's docker-registry over a directory.
pub(crate) struct Registry {
    server: Server,
    pub(crate) storage: PathBuf,
    is_closed: bool,
}

pub(crate) enum Access {
    Open,
    Password,
    Token,
}

impl Registry {
    pub(crate) fn start(directory: &Path, access: &Access) -> (Self, Option<TokenServer>) {
        let storage = directory.join("registry");
        let (auth, token_server) = match access {
            Access::Open => (String::new(), None),
            Access::Password => (password_file(directory), None),
            Access::Token => {
                let server = TokenServer::start(directory);
                (server.registry_settings(directory), Some(server))
            }
        };
        let config = directory.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: test}}\n{auth}",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let server = Server::start(
            Command::new("docker-registry").arg("serve").arg(config),
            "listening on 127.0.0.1:",
        );
        let registry = Self {
            server,
            storage,
            is_closed: !matches!(access, Access::Open),
        };
        (registry, token_server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// Copies an image into the registry with skopeo.
    pub(crate) fn push(&self, from: &str, options: &[&str], name: &str) {
        let login = format!("{USER}:{PASSWORD}");
        let login: &[&str] = if self.is_closed { &["--dest-creds", &login] } else { &[] };
        let to = format!("docker://{}/{name}", self.host());
        skopeo(&[&["copy", "--dest-tls-verify=false"], login, options, &[from, &to]].concat());
    }

    /// The file in which the registry keeps a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        self.storage
            .join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

fn password_file(directory: &Path) -> String {
    let output = run(Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]));
    let path = directory.join("htpasswd");
    fs::write(&path, output).unwrap();
    format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display())
}

/// The token service of `token_server.py`.
pub(crate) struct TokenServer {
    server: Server,
}

impl TokenServer {
    fn start(directory: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sources/token_server.py");
        let server = Server::start(
            Command::new(venv().join("bin/python3"))
                .arg(script)
                .arg(directory.join("token.pem"))
                .args([USER, PASSWORD]),
            "listening on 127.0.0.1:",
        );
        Self { server }
    }

    fn registry_settings(&self, directory: &Path) -> String {
        format!(
            "auth: {{token: {{realm: 'http://127.0.0.1:{}/token', service: test, issuer: test, rootcertbundle: {}}}}}\n",
            self.server.port,
            directory.join("token.pem").display()
        )
    }
}

/// Where `cargo xtask setup` puts Python's packages.
fn venv() -> PathBuf {
    let from = |name: &str, below: &str| std::env::var_os(name).map(|path| PathBuf::from(path).join(below));
    let cache = from("LAMBENT_CACHE", "")
        .or_else(|| from("XDG_CACHE_HOME", "lambent"))
        .or_else(|| from("HOME", ".cache/lambent"));
    cache.expect("a home directory").join("venv")
}

pub(crate) fn skopeo(arguments: &[&str]) {
    run(Command::new("skopeo").arg("--insecure-policy").args(arguments));
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "cannot start {:?} ({error}): run `cargo xtask setup`",
            command.get_program()
        )
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}
