//! Wrapping keys rotated, revoked and lost, under images that are stored and mounted.

use crate::lambent::{Lambent, failure, files};
use crate::layout::{Layer, Layout};
use crate::mounts::{Worker, drop_page_cache, eventually, sizable};
use crate::servers::Moto;
use crate::stores::with_credentials;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Keys are asked for again each second, so that no test waits for a minute.
const SHORT_LIFE: &str = "key_life_seconds = 1\ncache_disk = \"0\"\n";

fn account_key(lambent: &Lambent, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lambent"));
    command
        .env_clear()
        .env("HOME", lambent.path(""))
        .envs(lambent.variables.iter().cloned())
        .args(["account", "key"])
        .args(arguments)
        .args(&lambent.options)
        .stdin(Stdio::null());
    command
}

pub(crate) fn key_json(lambent: &Lambent, arguments: &[&str]) -> Value {
    let output = account_key(lambent, &[arguments, &["--json"]].concat())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn push_small(lambent: &Lambent, name: &str) {
    let script = format!("mkdir d; echo {name} > d/name; tar --sort=name --mtime=@0 -cf layer.tar d");
    let layout = Layout::write(&lambent.path(&format!("layout-{name}")), &[Layer::of(&script)]);
    lambent.push(&layout.source(), name);
}

fn is_wrapped_key(file: &Path) -> bool {
    file.parent().is_some_and(|folder| folder.ends_with("store/keys"))
}

fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |file: PathBuf| {
        let bytes = fs::read(&file).unwrap();
        (file, bytes)
    };
    files(directory).into_iter().map(read).collect()
}

/// What a read of a file says; the page cache is emptied first.
fn read_again(file: &Path) -> Result<Vec<u8>, Option<i32>> {
    drop_page_cache();
    fs::read(file).map_err(|error| error.raw_os_error())
}

fn key_is_refused(worker: &Worker, name: &str) -> bool {
    worker.stats(name)["key"]["refused"] == true
}

#[test]
fn a_rotation_touches_nothing_but_wrapped_keys_and_can_be_interrupted() {
    let worker = Worker::new("");
    let lambent = &worker.lambent;
    for name in ["one", "two", "three"] {
        push_small(lambent, name);
    }
    // One of them has a trace and a start pack.
    let target = worker.mount("one", "mnt");
    fs::read(target.join("d/name")).unwrap();
    lambent.ok(&["ready", "one"]);
    eventually("the start pack", || {
        files(&lambent.store()).iter().any(|file| file.ends_with("pack"))
    });
    worker.umount(&target);
    eventually("the end of the daemon", || worker.processes().is_empty());

    let before = contents(&lambent.store());
    let rotated = key_json(lambent, &["rotate"]);
    assert_eq!(
        (&rotated["rewrapped"], &rotated["unchanged"]),
        (&3.into(), &0.into()),
        "{rotated}"
    );
    let after = contents(&lambent.store());
    assert!(before.iter().all(|(file, bytes)| after.get(file) == Some(bytes)));
    let new: Vec<&PathBuf> = after.keys().filter(|file| !before.contains_key(*file)).collect();
    assert!(new.len() == 3 && new.iter().all(|file| is_wrapped_key(file)), "{new:?}");
    // Nothing is left to do, until one is missing, as after an interruption.
    assert_eq!(key_json(lambent, &["rewrap"])["unchanged"], 3);
    fs::remove_file(new[0]).unwrap();
    let shown = key_json(lambent, &["show"]);
    assert_eq!(shown["wraps"].as_array().unwrap().len(), 2, "{shown}");
    assert_eq!(key_json(lambent, &["prune"])["removed"], serde_json::json!([]));
    let resumed = key_json(lambent, &["rewrap"]);
    assert_eq!((&resumed["rewrapped"], &resumed["unchanged"]), (&1.into(), &2.into()));
    // The old key goes, and everything opens without it, the start pack too.
    assert_eq!(key_json(lambent, &["prune"])["removed"].as_array().unwrap().len(), 1);
    for name in ["one", "two", "three"] {
        lambent.assert_whole(name);
        lambent.ok(&["inspect", name]);
    }
    lambent.ok(&["trace", "one"]);
    let target = worker.mount("one", "mnt");
    assert_eq!(fs::read_to_string(target.join("d/name")).unwrap(), "one\n");
    assert!(worker.stats("one")["start_pack"]["chunks"].as_u64().unwrap() > 0);
}

#[test]
fn a_killed_rotation_goes_on() {
    let lambent = Lambent::new();
    for number in 0..8 {
        push_small(&lambent, &format!("image{number}"));
    }
    for _ in 0..4 {
        let mut child = account_key(&lambent, &["rotate", "--json"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // At whatever moment it is.
        eventually("an image wrapped anew", || {
            child.try_wait().unwrap().is_some() || files(&lambent.store()).iter().any(|file| is_wrapped_key(file))
        });
        let _ = child.kill();
        child.wait().unwrap();
        for number in 0..8 {
            lambent.assert_whole(&format!("image{number}"));
        }
    }
    let done = key_json(&lambent, &["rewrap"]);
    assert_eq!(done["failures"], 0, "{done}");
    key_json(&lambent, &["prune"]);
    assert_eq!(
        key_json(&lambent, &["show"])["keyring_keys"].as_array().unwrap().len(),
        1
    );
    for number in 0..8 {
        lambent.assert_whole(&format!("image{number}"));
    }
}

#[test]
fn a_mounted_image_outlives_the_key_that_it_was_mounted_with() {
    let worker = Worker::new(SHORT_LIFE);
    sizable(&worker, "app");
    let target = worker.mount("app", "mnt");
    key_json(&worker.lambent, &["rotate"]);
    key_json(&worker.lambent, &["prune"]);
    // Asked for with the old key, found with the new one.
    eventually("two lives of the key", || {
        let key = &worker.stats("app")["key"];
        assert_eq!((&key["refused"], &key["unanswered"]), (&false.into(), &0.into()));
        worker.log().matches("its key was found wrapped anew").count() == 1
    });
    assert_eq!(read_again(&target.join("d/small/9")).unwrap().len(), 20_002);
}

#[test]
fn a_revoked_key_closes_what_is_mounted() {
    let worker = Worker::new(SHORT_LIFE);
    let lambent = &worker.lambent;
    sizable(&worker, "app");
    let target = worker.mount("app", "mnt");
    let file = target.join("d/small/9");
    assert_eq!(read_again(&file).unwrap().len(), 20_002);
    let large = target.join("d/large");
    assert_eq!(key_json(lambent, &["revoke"])["revoked"], true);
    let message = lambent.fails(&["inspect", "app"]);
    assert!(
        message.contains("is revoked") && message.contains("000000000000"),
        "{message}"
    );
    eventually("the end of the key", || key_is_refused(&worker, "app"));
    assert_eq!(read_again(&large).unwrap_err(), Some(5));
    let log = worker.log();
    let closed = log.lines().find(|line| line.contains("closed, and its keys are wiped"));
    assert!(
        closed.is_some_and(|line| line.contains("image=\"app\"") && line.contains("is revoked")),
        "{log}"
    );
    let failed = log.lines().find(|line| line.contains("read failed"));
    assert!(
        failed.is_some_and(|line| line.contains("image=app") && line.contains("refused")),
        "{log}"
    );
    assert!(worker.stats("app")["failed_reads"].as_u64().unwrap() > 0);
    let second = lambent.path("second");
    fs::create_dir(&second).unwrap();
    let message = lambent.fails(&["mount", "app", second.to_str().unwrap()]);
    assert!(message.contains("was refused while image app was mounted"), "{message}");
    // A successor finds no key to go on with.
    worker.kill_child();
    eventually("a successor", || {
        worker.log().matches("read failed").count() > 0 && key_is_refused(&worker, "app")
    });
    assert_eq!(read_again(&large).unwrap_err(), Some(5));

    assert_eq!(key_json(lambent, &["restore"])["revoked"], false);
    worker.umount(&target);
    let target = worker.mount("app", "third");
    assert_eq!(read_again(&target.join("d/small/9")).unwrap().len(), 20_002);
}

fn with_kms(worker: &mut Worker, moto: &Moto, key: &str) {
    let url = moto.url();
    let options = ["--kms-key", key, "--kms-endpoint", &url, "--kms-region", "us-east-1"];
    worker.lambent.options.extend(options.map(str::to_owned));
    with_credentials(&mut worker.lambent);
}

/// moto decrypts with disabled keys, too; a key that is gone it refuses as KMS does.
#[test]
fn a_key_that_kms_lost_closes_what_is_mounted() {
    let moto = Moto::start();
    let mut worker = Worker::new(SHORT_LIFE);
    with_kms(&mut worker, &moto, &moto.create_key());
    sizable(&worker, "app");
    let target = worker.mount("app", "mnt");
    assert_eq!(read_again(&target.join("d/small/9")).unwrap().len(), 20_002);
    let mut stream = TcpStream::connect(moto.url().trim_start_matches("http://")).unwrap();
    let reset = "POST /moto-api/reset HTTP/1.0\r\nHost: moto\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(reset.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(" 200"), "{answer}");
    eventually("the end of the key", || key_is_refused(&worker, "app"));
    assert_eq!(read_again(&target.join("d/large")).unwrap_err(), Some(5));
}

#[test]
fn a_kms_that_is_away_is_waited_for_within_the_grace() {
    let moto = Moto::start();
    let mut worker = Worker::new(&format!("{SHORT_LIFE}key_grace_seconds = 20\n"));
    with_kms(&mut worker, &moto, &moto.create_key());
    sizable(&worker, "app");
    let target = worker.mount("app", "mnt");
    drop(moto);
    eventually("an unanswered question", || {
        worker.stats("app")["key"]["unanswered"].as_u64().unwrap() > 0
    });
    assert_eq!(read_again(&target.join("d/small/9")).unwrap().len(), 20_002);
    assert!(
        worker.log().contains("a key could not be asked for again"),
        "{}",
        worker.log()
    );
    eventually("the end of the grace", || key_is_refused(&worker, "app"));
    assert_eq!(read_again(&target.join("d/large")).unwrap_err(), Some(5));
    assert!(worker.log().contains("gave no answer for 20 s"), "{}", worker.log());
}

#[test]
fn another_key_of_kms_takes_over() {
    let moto = Moto::start();
    let [old, new] = [moto.create_key(), moto.create_key()];
    let mut worker = Worker::new("");
    with_kms(&mut worker, &moto, &old);
    push_small(&worker.lambent, "one");
    let place = worker.lambent.options.iter().position(|word| *word == old).unwrap();
    worker.lambent.options[place].clone_from(&new);
    let message = worker.lambent.fails(&["inspect", "one"]);
    assert!(message.contains(&old) || message.contains("access denied"), "{message}");
    let output = account_key(&worker.lambent, &["rewrap", "--json"]).output().unwrap();
    let rewrapped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &rewrapped["failures"]), (Some(1), &1.into()));
    let done = key_json(&worker.lambent, &["rewrap", "--kms-previous-key", &old]);
    assert_eq!(
        (&done["rewrapped"], &done["failures"]),
        (&1.into(), &0.into()),
        "{done}"
    );
    worker.lambent.assert_whole("one");
    let refused = failure(&account_key(&worker.lambent, &["revoke"]).output().unwrap());
    assert!(refused.contains("disable the key"), "{refused}");
}

#[test]
fn vault_settings_that_cannot_work_are_said() {
    let mut lambent = Lambent::new();
    let token = lambent.path("token");
    let options = [
        "--vault-key",
        "lambent",
        "--vault-address",
        "http://10.0.0.1:8200",
        "--vault-token-file",
    ];
    lambent.options.extend(options.map(str::to_owned));
    lambent.options.push(token.display().to_string());
    let message = lambent.fails(&["ls"]);
    assert!(message.contains("without TLS"), "{message}");
    lambent.options[5] = "https://127.0.0.1:1".to_owned();
    let message = failure(&account_key(&lambent, &["rotate"]).output().unwrap());
    assert!(message.contains("cannot read the token in"), "{message}");
}
