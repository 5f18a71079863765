//! Nothing secret is ever printed: real commands with every log line there is, and every byte that they say searched.

use crate::judges::tool;
use crate::lambent::{Lambent, cache, files};
use crate::layout::{Layer, Layout};
use crate::servers::Moto;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use chunk::Manifest;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const STORE_SECRET: &str = "TheStoreSecretAccessKeyThatNobodyMaySee1";
const SESSION_TOKEN: &str = "TheSessionTokenThatNobodyMaySeeEither2==";
const FUNCTION_SECRET: &str = "the-password-in-a-functions-environment-3";
const IMAGE_SECRET: &str = "the-password-in-an-images-configuration-4";

/// What was said, by who said it, and what nobody may say.
#[derive(Default)]
struct Search {
    said: BTreeMap<String, Vec<u8>>,
    secrets: Vec<(String, Vec<u8>)>,
}

impl Search {
    /// Runs a command that must succeed, with all log lines; what it prints for its user is not searched.
    fn run(&mut self, lambent: &Lambent, arguments: &[&str]) -> String {
        let output = command(lambent, arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        self.said.insert(arguments.join(" "), output.stderr);
        String::from_utf8(output.stdout).unwrap()
    }

    fn secret(&mut self, name: &str, bytes: &[u8]) {
        self.secrets.push((name.to_owned(), bytes.to_vec()));
    }

    /// Logs of daemons and endpoints lie in files.
    fn logs_below(&mut self, directory: &Path) {
        for file in files(directory).into_iter().filter(|file| file.ends_with("log")) {
            self.said.insert(file.display().to_string(), fs::read(file).unwrap());
        }
    }

    fn assert_nothing_found(&self) {
        let traced = self.said.values().filter(|said| find(said, b"TRACE").is_some()).count();
        assert!(
            traced > 2,
            "only {traced} of {} logs have every line there is",
            self.said.len()
        );
        for (who, said) in &self.said {
            for (name, secret) in &self.secrets {
                for form in forms(secret) {
                    if let Some(place) = find(said, &form) {
                        panic!("{who} says {name}: {}", around(said, place));
                    }
                }
            }
            if let Some(place) = signature(said) {
                panic!("{who} says a signature: {}", around(said, place));
            }
        }
    }
}

/// A secret as it may be printed: itself, in hexadecimal, in base64, and as a list of numbers.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let hexadecimal: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = secret.iter().take(8).map(ToString::to_string).collect();
    let escaped = secret.escape_ascii().to_string();
    let texts = [
        hexadecimal.to_uppercase(),
        hexadecimal,
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        numbers.join(", "),
        escaped,
    ];
    let mut forms: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    forms.push(secret.to_vec());
    forms
}

fn find(said: &[u8], form: &[u8]) -> Option<usize> {
    let first = *form.first()?;
    let starts = said.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts
        .map(|(place, _)| place)
        .find(|place| said[*place..].starts_with(form))
}

/// A SigV4 signature: who has one within its minutes can send the request that it signs.
fn signature(said: &[u8]) -> Option<usize> {
    for label in [&b"Signature="[..], b"signature: \"", b"Signature: \""] {
        let mut from = 0;
        while let Some(place) = find(&said[from..], label) {
            let at = from + place + label.len();
            let digits = said[at..]
                .iter()
                .take(64)
                .filter(|byte| byte.is_ascii_hexdigit())
                .count();
            if digits == 64 {
                return Some(at);
            }
            from = at;
        }
    }
    None
}

fn around(said: &[u8], place: usize) -> String {
    let range = place.saturating_sub(300)..(place + 100).min(said.len());
    String::from_utf8_lossy(&said[range]).into_owned()
}

fn command(lambent: &Lambent, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambent"));
    command
        .env_clear()
        .env("HOME", lambent.path(""))
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .env("RUST_LOG", "trace")
        .envs(lambent.variables.iter().cloned())
        .args(arguments)
        .args(&lambent.options)
        .stdin(Stdio::null());
    command
}

fn layout(lambent: &Lambent) -> Layout {
    let script = format!("mkdir d; echo {IMAGE_SECRET} > d/password; tar -cf layer.tar d");
    Layout::write(&lambent.path("layout"), &[Layer::of(&script)])
}

fn wrapped_keys(store: &Path) -> Vec<Vec<u8>> {
    let manifests = files(&store.join("manifests")).into_iter();
    let wrapped = manifests.map(|file| {
        Manifest::decode(&fs::read(file).unwrap())
            .unwrap()
            .wrapped_key()
            .to_vec()
    });
    wrapped.collect()
}

fn mount_and_unmount(search: &mut Search, lambent: &Lambent) {
    let target = lambent.path("mnt");
    fs::create_dir_all(&target).unwrap();
    search.run(lambent, &["image", "mount", "app", target.to_str().unwrap()]);
    let read = fs::read_to_string(target.join("d/password"));
    search.run(lambent, &["image", "umount", "app"]);
    assert_eq!(read.unwrap().trim(), IMAGE_SECRET);
}

#[test]
fn commands_with_s3_and_kms_say_no_secret() {
    let moto = Moto::start();
    moto.create_bucket("images");
    let (url, key) = (moto.url(), moto.create_key());
    let mut search = Search::default();
    search.secret("the store's secret key", STORE_SECRET.as_bytes());
    search.secret("the session token", SESSION_TOKEN.as_bytes());
    search.secret("the image's content", IMAGE_SECRET.as_bytes());
    let s3 = format!("s3://images/prefix?endpoint={url}&region=us-east-1&allow_http=true");
    for store in ["local", "s3"] {
        let mut lambent = Lambent::new();
        let options = ["--kms-key", &key, "--kms-endpoint", &url, "--kms-region", "us-east-1"];
        lambent.options.extend(options.map(str::to_owned));
        if store == "s3" {
            lambent.options.extend(["--store".to_owned(), s3.clone()]);
        }
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", STORE_SECRET),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            lambent.variables.push((name.to_owned(), value.to_owned()));
        }
        fs::create_dir_all(lambent.path("data")).unwrap();
        fs::write(lambent.path("data/worker.toml"), "idle_seconds = 1\n").unwrap();
        search.run(
            &lambent,
            &["image", "push", &layout(&lambent).source(), "--name", "app"],
        );
        search.run(&lambent, &["image", "inspect", "app"]);
        mount_and_unmount(&mut search, &lambent);
        search.run(&lambent, &["account", "key", "rewrap"]);
        search.logs_below(&lambent.path("data"));
        for wrapped in wrapped_keys(&lambent.store()) {
            search.secret("a data key of KMS", &decrypt(&url, &wrapped));
        }
    }
    assert!(search.secrets.len() > 3, "no data key was found to look for");
    search.assert_nothing_found();
}

/// KMS's answer for a wrapped key, by boto3.
fn decrypt(url: &str, wrapped: &[u8]) -> Vec<u8> {
    let name_bytes = usize::from(u16::from_le_bytes([wrapped[2], wrapped[3]]));
    let script = "import base64, boto3, sys\n\
        kms = boto3.client('kms', 'us-east-1', endpoint_url=sys.argv[1], aws_access_key_id='x', aws_secret_access_key='x')\n\
        blob = base64.b64decode(sys.argv[2])\n\
        answer = kms.decrypt(CiphertextBlob=blob, EncryptionContext={'lambent:account': '000000000000'})\n\
        print(base64.b64encode(answer['Plaintext']).decode())";
    let python = cache().join("venv/bin/python3");
    let blob = STANDARD.encode(&wrapped[4 + name_bytes..]);
    let said = tool(Command::new(python).args(["-c", script, url, &blob]));
    STANDARD.decode(said.trim()).unwrap()
}

/// `lambent up` with its output in files; ended when it goes out of scope.
struct Up(Child);

impl Up {
    fn start(lambent: &Lambent) -> Self {
        let log = File::create(lambent.path("data/up.log")).unwrap();
        let mut child = command(lambent, &["up", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().and_then(Result::ok).unwrap_or_default();
        let up = Self(child);
        assert!(
            line.contains("http://127.0.0.1:"),
            "the endpoint does not start: {line}"
        );
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        up
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

#[test]
fn an_endpoint_and_its_functions_say_no_secret() {
    let lambent = Lambent::new();
    let mut search = Search::default();
    search.secret("the function's variable", FUNCTION_SECRET.as_bytes());
    search.secret("the image's content", IMAGE_SECRET.as_bytes());
    fs::create_dir_all(lambent.path("data")).unwrap();
    fs::write(lambent.path("data/worker.toml"), "idle_seconds = 1\n").unwrap();
    let up = Up::start(&lambent);
    let base = format!("oci:{}", cache().join("corpus/python-runtime").display());
    search.run(&lambent, &["runtime", "add", "python3.11", &base]);
    let project = lambent.path("keeper");
    fs::create_dir(&project).unwrap();
    let source = "import os\n\ndef handler(event, context):\n    return len(os.environ['PASSWORD'])\n";
    fs::write(project.join("app.py"), source).unwrap();
    let variable = format!("PASSWORD={FUNCTION_SECRET}");
    let project = project.display().to_string();
    search.run(
        &lambent,
        &["deploy", &project, "--runtime", "python3.11", "--env", &variable],
    );
    // The test's own command line is no log.
    search.said = search
        .said
        .into_iter()
        .map(|(who, said)| (who.replace(FUNCTION_SECRET, ""), said))
        .collect();
    let answer = search.run(&lambent, &["invoke", "keeper"]);
    assert_eq!(answer.trim(), FUNCTION_SECRET.len().to_string());
    search.run(
        &lambent,
        &["image", "push", &layout(&lambent).source(), "--name", "app"],
    );
    mount_and_unmount(&mut search, &lambent);
    let created = search.run(&lambent, &["keys", "create", "--json"]);
    let created: serde_json::Value = serde_json::from_str(&created).unwrap();
    search.secret(
        "a new access key",
        created["secret_access_key"].as_str().unwrap().as_bytes(),
    );
    search.run(&lambent, &["account", "key", "rotate"]);
    drop(up);

    let credentials = fs::read_to_string(lambent.path("data/aws/credentials")).unwrap();
    let (_, secret) = credentials.split_once("aws_secret_access_key = ").unwrap();
    search.secret("the first access key", secret.trim().as_bytes());
    let keyring = fs::read_to_string(lambent.path("data/keyring.json")).unwrap();
    let keyring: serde_json::Value = serde_json::from_str(&keyring).unwrap();
    for key in keyring["accounts"]["000000000000"]["keys"].as_array().unwrap() {
        search.secret("a key of the keyring", &STANDARD.decode(key.as_str().unwrap()).unwrap());
    }
    let provider = keys::KeyProvider::Local(keys::Keyring::open_or_create(lambent.path("data/keyring.json")).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let account = "000000000000".parse().unwrap();
    for wrapped in wrapped_keys(&lambent.store()) {
        let key = runtime.block_on(provider.unwrap(&account, &wrapped)).unwrap();
        search.secret("a data key", key.expose());
    }
    assert!(search.secrets.len() > 7, "{} secrets", search.secrets.len());
    let log = lambent.path("data/up.log");
    search.said.insert("up".to_owned(), fs::read(log).unwrap());
    search.logs_below(&lambent.path("data"));
    search.assert_nothing_found();
}
