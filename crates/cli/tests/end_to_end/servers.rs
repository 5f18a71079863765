//! Real servers on free loopback ports, ended when they go out of scope, also by a panic.

use crate::judges::tool;
use crate::lambent::cache;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

pub(crate) const USER: &str = "me";
pub(crate) const PASSWORD: &str = "correct-horse";

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
    /// Starts `command` and waits until a line of its standard error has a port behind `marker`.
    fn start(command: &mut Command, marker: &str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let program = command.get_program();
        let child = child.unwrap_or_else(|error| panic!("cannot start {program:?} ({error}): run `cargo xtask setup`"));
        let mut server = Self { child, port: 0 };
        let mut lines = BufReader::new(server.child.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let line = lines.find(|line| line.contains(marker)).expect("the server listens");
        let (_, port) = line.split_once(marker).unwrap();
        server.port = port
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap();
        // Read on, or the server would stop when the pipe is full.
        thread::spawn(move || lines.for_each(drop));
        server
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Debian's docker-registry, which wants a password.
pub(crate) struct Registry(Server);

impl Registry {
    pub(crate) fn with_password(directory: &Path) -> Self {
        let passwords = directory.join("htpasswd");
        fs::write(
            &passwords,
            tool(Command::new("htpasswd").args(["-Bbn", USER, PASSWORD])),
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
        Self(Server::start(
            Command::new("docker-registry").arg("serve").arg(config),
            "listening on 127.0.0.1:",
        ))
    }

    pub(crate) fn host(&self) -> String {
        self.0.host()
    }

    /// Copies an image into it with skopeo.
    pub(crate) fn fill(&self, from: &str, to: &str) {
        let credentials = format!("{USER}:{PASSWORD}");
        let to = format!("docker://{}/{to}", self.host());
        tool(Command::new("skopeo").args([
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            "--dest-creds",
            &credentials,
            from,
            &to,
        ]));
    }
}

/// Writes docker's `config.json` with a login; gives its directory.
pub(crate) fn docker_login(directory: &Path, host: &str, user: &str, password: &str) -> String {
    fs::create_dir_all(directory).unwrap();
    // Plain base64 of ASCII by coreutils: a crate for one line would be one more.
    let auth = tool(Command::new("bash").args(["-c", &format!("printf '%s' '{user}:{password}' | base64 -w0")]));
    fs::write(
        directory.join("config.json"),
        serde_json::json!({"auths": {host: {"auth": auth}}}).to_string(),
    )
    .unwrap();
    directory.display().to_string()
}

/// moto: AWS's S3 and KMS as a local server.
pub(crate) struct Moto(Server);

impl Moto {
    pub(crate) fn start() -> Self {
        let program = cache().join("venv/bin/moto_server");
        // Port 0: the server says which one it got.
        Self(Server::start(
            Command::new(program).args(["-H", "127.0.0.1", "-p", "0"]),
            "http://127.0.0.1:",
        ))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.host())
    }

    pub(crate) fn create_bucket(&self, name: &str) {
        self.ask(&format!(
            "PUT /{name} HTTP/1.0\r\nHost: s3.amazonaws.com\r\nContent-Length: 0\r\n\r\n"
        ));
    }

    /// A new KMS key's id. By boto3, since moto knows the service by a signature.
    pub(crate) fn create_key(&self) -> String {
        let script = "import boto3, sys\n\
            kms = boto3.client('kms', 'us-east-1', endpoint_url=sys.argv[1], aws_access_key_id='x', aws_secret_access_key='x')\n\
            print(kms.create_key()['KeyMetadata']['KeyId'])";
        let python = cache().join("venv/bin/python3");
        tool(Command::new(python).args(["-c", script, &self.url()]))
            .trim()
            .to_owned()
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.0.host()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.lines().next().unwrap().contains(" 200"), "{answer}");
        answer
    }
}
