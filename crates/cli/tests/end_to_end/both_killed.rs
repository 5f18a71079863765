//! The daemon and its keeper killed together: nobody waits for ever, and whoever comes next cleans up within seconds.

use crate::lambent::Lambent;
use crate::mounts::{Worker, checksums, eventually, kill, sizable};
use block::kernel::{Device, DeviceNumber, DeviceTable, ReadFailed, Session, Start, abort_connection, connection_at};
use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest that any command may take here. What is promised is seconds; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

const ROLE: &str = "LAMBENT_TEST_CAUGHT_IN";

/// Runs a command that must end.
#[track_caller]
fn within(what: &str, command: &mut Command) -> Output {
    ends(
        what,
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
    )
}

#[track_caller]
fn ends(what: &str, mut child: Child) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("{what} did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn mounts_of(lambent: &Lambent) -> (serde_json::Value, String) {
    let output = within("`image mounts`", &mut lambent.command(&["mounts", "--json"]));
    assert!(output.status.success(), "{}", said(&output));
    (serde_json::from_slice(&output.stdout).unwrap(), said(&output))
}

/// Kills all processes of the worker, the keeper first, and sees them go.
fn kill_all(worker: &Worker) {
    let mut processes = worker.processes();
    assert!(processes.len() >= 2, "{processes:?}");
    processes.sort_by_key(|(_, is_child)| *is_child);
    processes.iter().for_each(|(id, _)| kill(*id));
    let is_there = |id: u32| Path::new(&format!("/proc/{id}/task")).exists() && !is_zombie(id);
    eventually("the end of what was killed", || {
        !processes.iter().any(|(id, _)| is_there(*id))
    });
}

/// Dead with all its threads, and not waited for by its parent.
fn is_zombie(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count);
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')) && threads <= 1
}

#[test]
fn cold_reads_fail_and_nothing_is_left() {
    let worker = Worker::new("cache_memory = \"4MiB\"\nopened = \"2MiB\"");
    sizable(&worker, "app");
    for round in 0..3 {
        // A cache that has nothing: reads are on their way to the origin when the killing begins.
        let _ = fs::remove_dir_all(worker.lambent.path("data/worker/cache"));
        let target = worker.mount("app", "mnt");
        let read_before = worker.stats("app")["reads"].as_u64().unwrap();
        let readers: Vec<Child> = (0..4).map(|_| read_all(&target)).collect();
        eventually("reads", || {
            worker.stats("app")["reads"].as_u64().unwrap() > read_before + 4
        });
        if round == 1 {
            // The last to leave unmounts: the readers, once they have failed.
            let lazily = Command::new("umount").arg("--lazy").arg(&target).status();
            assert!(lazily.unwrap().success());
        }
        kill_all(&worker);
        for reader in readers {
            let output = ends("a reader", reader);
            // Some may have been quick.
            assert!(
                output.status.success() || said(&output).contains("rror"),
                "{}",
                said(&output)
            );
        }
        let (mounts, said_of_mounts) = mounts_of(&worker.lambent);
        assert_eq!(mounts, serde_json::json!([]));
        assert!(said_of_mounts.contains("cleaned up what they left"), "{said_of_mounts}");
        eventually("the end of the loop devices", || worker.loops().is_empty());
        assert_eq!(worker.mounts(), 0);
        assert!(!worker.lambent.path("data/worker/socket").exists());
    }
    // The same directory serves again.
    let target = worker.mount("app", "mnt");
    assert_eq!(fs::read(target.join("d/small/9")).unwrap().len(), 20_002);
    worker.umount(&target);
}

fn read_all(target: &Path) -> Child {
    checksums(target)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn what_they_left_is_unmounted_by_asking_for_it() {
    let worker = Worker::new("");
    sizable(&worker, "app");
    let target = worker.mount("app", "mnt");
    kill_all(&worker);
    let mut umount = worker.lambent.command(&["umount", target.to_str().unwrap()]);
    let output = within("`image umount`", &mut umount);
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("the daemon and its keeper were dead"),
        "{}",
        said(&output)
    );
    eventually("the end of the loop devices", || worker.loops().is_empty());
    assert_eq!(worker.mounts(), 0);
    let message = worker.lambent.fails(&["umount", target.to_str().unwrap()]);
    assert!(message.contains("nothing is mounted"), "{message}");
}

/// The daemon keeps its own calls out of its own mounts. Should one be caught all the same, it holds the lock, the
/// socket and the session, all of which a client and the next daemon need.
#[test]
fn a_dead_daemon_that_is_caught_in_the_kernel_is_freed_by_a_client_and_by_the_next_daemon() {
    let worker = Worker::new("");
    sizable(&worker, "app");
    let caught = Caught::new(&worker);
    let (mounts, said) = mounts_of(&worker.lambent);
    assert_eq!(mounts, serde_json::json!([]));
    assert!(said.contains("cleaned up what they left"), "{said}");
    caught.assert_gone();
    assert_eq!(worker.mounts(), 0);

    let caught = Caught::new(&worker);
    let target = worker.lambent.path("mnt");
    fs::create_dir_all(&target).unwrap();
    let mut mount = worker.lambent.command(&["mount", "app", target.to_str().unwrap()]);
    let output = within("`image mount`", &mut mount);
    assert!(output.status.success(), "{}", self::said(&output));
    caught.assert_gone();
    assert_eq!(fs::read(target.join("d/small/9")).unwrap().len(), 20_002);
    worker.umount(&target);
}

/// A process that holds what a daemon holds, killed while a thread of it reads a file of its own session.
struct Caught {
    child: Child,
    devices: PathBuf,
}

impl Caught {
    fn new(worker: &Worker) -> Self {
        let directory = worker.lambent.path("data/worker");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "both_killed::process_role",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROLE, &directory)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let reading = lines.any(|line| line.unwrap() == "reading");
        assert!(reading, "the role did not read");
        kill(child.id());
        let caught = Self {
            child,
            devices: directory.join("devices"),
        };
        let stat = format!("/proc/{}/stat", caught.child.id());
        eventually("the death of its first thread", || {
            let line = fs::read_to_string(&stat).unwrap();
            line.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
        });
        assert!(!is_zombie(caught.child.id()), "it should be caught");
        caught
    }

    fn assert_gone(mut self) {
        eventually("its end", || self.child.try_wait().unwrap().is_some());
    }
}

impl Drop for Caught {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none()
            && let Ok(Some(connection)) = connection_at(&self.devices)
        {
            let _ = abort_connection(connection);
        }
        let _ = self.child.wait();
    }
}

/// The entry of the process that is to be caught. As a test, where nobody asks for it, it does nothing.
#[test]
fn process_role() {
    let Some(directory) = std::env::var_os(ROLE).map(PathBuf::from) else {
        return;
    };
    let devices = directory.join("devices");
    fs::create_dir_all(&devices).unwrap();
    let lock = File::options()
        .create(true)
        .append(true)
        .open(directory.join("lock"))
        .unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let _listener = UnixListener::bind(directory.join("socket")).unwrap();
    let table = DeviceTable::new();
    table.insert(DeviceNumber(1), Arc::new(Silent));
    let session = Session::mount(&devices).unwrap();
    let _session = Session::serve(session, table, 2, Start::Fresh).unwrap();
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    let process = format!("{{\"id\": {}, \"started\": {started}}}", std::process::id());
    let connection = connection_at(&devices).unwrap().unwrap().0;
    let record = format!("{{\"daemon\": {process}, \"keeper\": {process}, \"connection\": {connection}}}");
    fs::write(directory.join("processes"), record).unwrap();
    let _ = File::open(devices.join("1")).unwrap().read(&mut [0; 4096]);
}

/// A device that says when it is read and never answers.
struct Silent;

impl Device for Silent {
    fn bytes(&self) -> u64 {
        1 << 20
    }

    fn read(&self, _: u64, _: usize, _: &mut Vec<Bytes>) -> Result<(), ReadFailed> {
        eprintln!("reading");
        loop {
            std::thread::park();
        }
    }
}
