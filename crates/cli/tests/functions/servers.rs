//! Real servers beside the endpoint, on free loopback ports; ended when they go out of scope, also by a panic.

use crate::endpoint::cache;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const USER: &str = "me";
pub(crate) const PASSWORD: &str = "correct-horse";

/// Makes a user who may do all with buckets but those named `secret…`, and prints its key. These are the only requests
/// that moto takes without a signature.
const MAKE_USER: &str = "import boto3, json, sys
iam = boto3.client('iam', 'us-east-1', endpoint_url=sys.argv[1], aws_access_key_id='x', aws_secret_access_key='x')
iam.create_user(UserName='lambent')
rules = [{'Effect': 'Allow', 'Action': 's3:*', 'Resource': '*'},
         {'Effect': 'Deny', 'Action': 's3:GetObject', 'Resource': 'arn:aws:s3:::secret*'}]
document = json.dumps({'Version': '2012-10-17', 'Statement': rules})
iam.put_user_policy(UserName='lambent', PolicyName='s3', PolicyDocument=document)
key = iam.create_access_key(UserName='lambent')['AccessKey']
print(key['AccessKeyId'], key['SecretAccessKey'])";

/// How many requests [`MAKE_USER`] sends.
const MAKE_USER_REQUESTS: &str = "3";

struct Server {
    child: Child,
    port: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, or ended now: either way nothing is left, and a panic here would hide the test's own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `command` and waits until a line of its standard error has a port behind `marker`.
    fn start(command: &mut Command, marker: &str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let program = command.get_program();
        let mut child = child.unwrap_or_else(|error| panic!("{program:?} ({error}): run `cargo xtask setup`"));
        let errors = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self {
            child,
            port: String::new(),
        };
        let mut lines = errors.lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains(marker)).expect("the server listens");
        let (_, port) = line.split_once(marker).unwrap();
        server.port = port.chars().take_while(char::is_ascii_digit).collect();
        // Read on, or the server would stop when the pipe is full.
        thread::spawn(move || lines.for_each(drop));
        server
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// moto's S3, which checks signatures and policies.
pub(crate) struct ObjectStore {
    server: Server,
    pub(crate) key: String,
    pub(crate) secret: String,
}

impl ObjectStore {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(cache().join("venv/bin/moto_server"));
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", MAKE_USER_REQUESTS);
        let server = Server::start(&mut command, "http://127.0.0.1:");
        let mut python = Command::new(cache().join("venv/bin/python"));
        let url = format!("http://{}", server.host());
        let said = said(python.args(["-c", MAKE_USER, &url]));
        let (key, secret) = said.trim().split_once(' ').unwrap();
        Self {
            server,
            key: key.to_owned(),
            secret: secret.to_owned(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.host())
    }
}

/// moto's SQS and SNS, which take any credentials.
pub(crate) struct MessageServer(Server);

impl MessageServer {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(cache().join("venv/bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", "0"]);
        Self(Server::start(&mut command, "http://127.0.0.1:"))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.host())
    }
}

/// A memcached, and the file that names it; the file and the server are gone with this.
pub(crate) struct Memcached {
    child: Child,
    directory: TempDir,
}

impl Memcached {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = directory.path().join("ports");
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "memcached", "--listen=127.0.0.1", "--user=root"])
            .args(["--udp-port=0", "--threads=1", "--memory-limit=64", "--port=-1"])
            .env("MEMCACHED_PORT_FILENAME", &ports)
            .stderr(Stdio::null());
        let child = command.spawn().expect("memcached is installed by `cargo xtask setup`");
        let server = Self { child, directory };
        let begin = Instant::now();
        let port = loop {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let port = text.lines().find_map(|line| line.strip_prefix("TCP INET: "));
            if let Some(port) = port.and_then(|port| port.parse::<u16>().ok())
                && TcpStream::connect(("127.0.0.1", port)).is_ok()
            {
                break port;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "memcached does not listen: {text}"
            );
            thread::sleep(Duration::from_millis(2));
        };
        fs::write(
            server.fleet(),
            format!("nodes = [\"127.0.0.1:{port}\"]\nanswer_ms = 20000\n"),
        )
        .unwrap();
        server
    }

    /// The file that names it.
    pub(crate) fn fleet(&self) -> PathBuf {
        self.directory.path().join("fleet.toml")
    }

    /// Its address.
    pub(crate) fn address(&self) -> String {
        let text = fs::read_to_string(self.fleet()).unwrap();
        text.split('"').nth(1).unwrap().to_owned()
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Debian's docker-registry, which wants a password.
pub(crate) struct Registry(Server);

impl Registry {
    pub(crate) fn with_password(directory: &Path) -> Self {
        let passwords = directory.join("htpasswd");
        fs::write(
            &passwords,
            said(Command::new("htpasswd").args(["-Bbn", USER, PASSWORD])),
        )
        .unwrap();
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0', secret: test}}\nauth: {{htpasswd: {{realm: test, path: {}}}}}\n",
            directory.join("registry").display(),
            passwords.display()
        );
        let config = directory.join("registry.yml");
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        Self(Server::start(
            command.arg("serve").arg(config),
            "listening on 127.0.0.1:",
        ))
    }

    pub(crate) fn host(&self) -> String {
        self.0.host()
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
