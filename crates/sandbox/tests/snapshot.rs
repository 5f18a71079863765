//! A process of one sandbox goes on in others. CRIU is the one that `cargo xtask setup` unpacked.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod fixture;
mod snapshots;

use fixture::{exit, groups_named, process, processes_with, shell, unique, until};
use sandbox::{Connection, ExitStatus, ProcessSpec, SandboxError};
use snapshots::{Snapshots, memory_bytes, with_limit};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Names the file in `/tmp` to a Rust program: the test itself, started inside.
const INSIDE: &str = "LAMBENT_TEST_INSIDE";

/// Asks like a runtime, and answers each word with what it knows: a count, a number from its memory, a file.
const PYTHON: &str = r#"
import os, socket
number = int.from_bytes(os.urandom(4), "big")
heap = bytearray(os.urandom(1 << 20) * 8)
open("/tmp/state", "w").write(str(number))
os.makedirs("/tmp/deep/er"); os.symlink("../state", "/tmp/deep/link")
unlinked = open("/tmp/unlinked", "w+"); unlinked.write("ghost"); unlinked.flush(); os.unlink("/tmp/unlinked")
link = socket.create_connection(("127.0.0.1", 9001)).makefile("rw")
count = 0
while True:
    link.write("next\n"); link.flush()
    word = link.readline()
    if not word: break
    count += 1
    print("printed", count, flush=True)
    status = {line.split(":")[0]: line.split(":")[1].strip() for line in open("/proc/self/status")}
    unlinked.seek(0)
    link.write(" ".join(map(str, [count, number, open("/tmp/deep/link").read(), unlinked.read(), os.getpid(), os.getppid(),
        os.getuid(), status["Seccomp"], status["Seccomp_filters"], status["NoNewPrivs"], status["CapEff"], status["CapBnd"],
        len(os.listdir("/proc/self/fd")), sum(heap) % 997])) + "\n")
"#;

const NODE: &str = r#"
const net = require("net"), fs = require("fs"), crypto = require("crypto");
const number = crypto.randomInt(1 << 30);
fs.writeFileSync("/tmp/state", String(number));
const link = net.connect(9001, "127.0.0.1");
let count = 0, timer = 0;
setInterval(() => timer++, 5);
link.on("data", () => {
  count++;
  console.log("printed", count);
  link.write([count, number, fs.readFileSync("/tmp/state"), process.pid, timer].join(" ") + "\nnext\n");
});
link.on("connect", () => link.write("next\n"));
"#;

/// The other side of the connection.
struct Link {
    stream: BufReader<TcpStream>,
}

impl Link {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream: BufReader::new(with_limit(stream)),
        }
    }

    fn accept(listener: &TcpListener) -> Self {
        let stream = until("a process inside connects", || listener.accept().ok());
        let mut link = Self::new(stream.0);
        assert_eq!(link.line(), "next");
        link
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What the process says to a word, when it waits for the next one again.
    fn ask(&mut self) -> Vec<String> {
        self.stream.get_mut().write_all(b"word\n").unwrap();
        let answer = self.line();
        assert_eq!(self.line(), "next");
        answer.split(' ').map(str::to_owned).collect()
    }
}

/// Starts a program, lets it answer once, and writes it while it waits for the next word.
fn take(snapshots: &Snapshots, program: &ProcessSpec, directory: &Path) -> (Connection, Vec<String>) {
    let begun = Instant::now();
    let mut sandbox = snapshots.fixture.spawner.create(&snapshots.spec()).unwrap();
    let listener = sandbox.take_listener().unwrap();
    let process = sandbox.spawn(program).unwrap();
    let mut link = Link::accept(&listener);
    let answer = link.ask();
    println!("cold start to first answer: {:?}", begun.elapsed());
    let connection = snapshots.write(&sandbox, &process, link.stream.get_ref(), directory);
    assert_eq!(exit(&process.exit), ExitStatus::Killed(9));
    (connection, answer)
}

/// Why a process cannot be written that says when it is ready.
fn refusal(snapshots: &Snapshots, script: &str) -> String {
    refusal_in(snapshots, script).0
}

/// And the directory that it was to be written to.
fn refusal_in(snapshots: &Snapshots, script: &str) -> (String, PathBuf) {
    let directory = snapshots.directory(&unique());
    let refused = refusal_to_write(snapshots, script, &directory);
    assert!(matches!(refused, SandboxError::Snapshot { .. }), "{refused:?}");
    (refused.to_string(), directory)
}

fn refusal_to_write(snapshots: &Snapshots, script: &str, directory: &Path) -> SandboxError {
    let sandbox = snapshots.fixture.spawner.create(&snapshots.spec()).unwrap();
    let process = sandbox.spawn(&shell(script)).unwrap();
    let mut output = fs::File::from(process.output.try_clone().unwrap());
    until("the script is ready", || {
        let mut byte = [0];
        output.read(&mut byte).ok().filter(|count| *count > 0)
    });
    let identity = sandbox.identity(&process).unwrap();
    let refused = sandbox.checkpoint(snapshots.tools(), &identity, directory);
    refused.unwrap_err()
}

/// One snapshot, three sandboxes: two at once, and one after them. `same` is how many of an answer's parts, after the
/// count, are to stay as they were.
fn check(program: &ProcessSpec, same: usize) {
    let snapshots = Snapshots::new();
    let directory = snapshots.directory("snapshot");
    let (connection, before) = take(&snapshots, program, &directory);
    assert_eq!(before[0], "1");
    std::thread::scope(|scope| {
        let one = || {
            let begun = Instant::now();
            let restored = snapshots.restore(&snapshots.spec(), &directory, &connection);
            let (sandbox, process) = (&restored.sandbox, &restored.process);
            let mut link = Link::new(restored.stream.try_clone().unwrap());
            for count in 2..5 {
                let answer = link.ask();
                if count == 2 {
                    println!("restore to first answer: {:?}", begun.elapsed());
                }
                assert_eq!(answer[0], count.to_string());
                assert_eq!(answer[1..=same], before[1..=same]);
            }
            let printed = until("it printed", || {
                let mut bytes = [0; 200];
                let count = rustix::io::read(&process.output, &mut bytes).ok()?;
                Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
            });
            assert!(printed.starts_with("printed 2\n"), "{printed}");
            assert!(sandbox.usage().memory_bytes > memory_bytes(&directory) / 2);
            sandbox.freeze().unwrap();
            sandbox.thaw().unwrap();
            assert_eq!(link.ask()[0], "5");
            sandbox.signal(process.id, 9).unwrap();
            assert_eq!(exit(&process.exit), ExitStatus::Killed(9));
        };
        let clones = [scope.spawn(one), scope.spawn(one)];
        for clone in clones {
            clone.join().unwrap();
        }
        one();
    });
}

#[test]
fn a_python_process_goes_on_with_its_rights_files_and_memory() {
    let mut program = process(&["python3", "-c", PYTHON]);
    program.user = "993:990".to_owned();
    // All but the count.
    check(&program, 13);
}

/// What makes snapshots worthwhile: a library that takes long to load. `cargo xtask setup` installs it.
const ONNXRUNTIME: &str = r#"
import numpy, onnxruntime, socket
model = numpy.arange(4_000_000, dtype=numpy.float32)
link = socket.create_connection(("127.0.0.1", 9001)).makefile("rw")
count = 0
link.write("next\n"); link.flush()
while link.readline():
    count += 1
    print("printed", count, flush=True)
    providers = ",".join(onnxruntime.get_available_providers())
    link.write(f"{count} {numpy.dot(model[:1000], model[:1000])} {providers}\nnext\n"); link.flush()
"#;

#[test]
fn a_python_process_with_onnxruntime_goes_on() {
    let mut program = process(&["python3", "-c", ONNXRUNTIME]);
    program
        .environment
        .push(("PYTHONPATH".to_owned(), "/opt/python".to_owned()));
    check(&program, 2);
}

#[test]
fn a_node_process_with_its_threads_goes_on() {
    // Not the timer, which goes on.
    check(&process(&["node", "-e", NODE]), 3);
}

#[test]
fn a_rust_process_goes_on() {
    let tests = std::env::current_exe().unwrap();
    let name = tests.file_name().unwrap().to_str().unwrap();
    let mut program = process(&[&format!("/opt/tests/{name}"), "--exact", "inside", "--nocapture"]);
    program.environment.push((INSIDE.to_owned(), "/tmp/state".to_owned()));
    check(&program, 2);
}

/// No test: the Rust program that runs inside.
#[test]
fn inside() {
    let Ok(path) = std::env::var(INSIDE) else {
        return;
    };
    let number = std::process::id().to_string() + &path;
    fs::write(&path, &number).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", 9001)).unwrap();
    let mut link = BufReader::new(stream);
    link.get_mut().write_all(b"next\n").unwrap();
    let mut line = String::new();
    let mut count = 0;
    while link.read_line(&mut line).unwrap_or(0) > 0 {
        count += 1;
        println!("printed {count}");
        let kept = fs::read_to_string(&path).unwrap();
        link.get_mut()
            .write_all(format!("{count} {number} {kept}\nnext\n").as_bytes())
            .unwrap();
        line.clear();
    }
}

#[test]
fn a_process_beside_the_tree_is_named() {
    let snapshots = Snapshots::new();
    let told = refusal(&snapshots, "(setsid sleep 1000 &) ; echo; exec sleep 1000");
    assert!(told.contains(") runs beside process"), "{told}");
}

#[test]
fn a_process_that_cannot_be_written_is_refused_with_criu_s_reason() {
    let snapshots = Snapshots::new();
    let script = "import ctypes, time; l = ctypes.CDLL(None); l.shmat.restype = ctypes.c_void_p; \
        l.shmat(l.shmget(12, 4096, 0o1600), 0, 0); print(flush=True); time.sleep(1000)";
    let told = refusal(&snapshots, &format!("exec python3 -c '{script}'"));
    assert!(told.contains("cannot write the snapshot of sandbox"), "{told}");
    assert!(told.contains("SysVIPC"), "{told}");
}

#[test]
fn a_file_of_holes_is_refused_before_it_is_written_out() {
    let snapshots = Snapshots::new();
    for (name, inside) in [("tmp", "/tmp"), ("shm", "/dev/shm")] {
        let script = format!("truncate -s 1T {inside}/holes; echo; exec sleep 1000");
        let (told, directory) = refusal_in(&snapshots, &script);
        assert!(
            told.contains(&format!("save the files of {inside}, of which")),
            "{told}"
        );
        assert!(told.contains("File too large"), "{told}");
        assert_eq!(fs::read_dir(directory.join(name)).unwrap().count(), 0);
    }
}

#[test]
fn a_file_that_would_be_lost_in_a_layer_is_refused_by_name() {
    let snapshots = Snapshots::new();
    let told = refusal(&snapshots, "mkdir /tmp/a; : > /tmp/a/.wh.b; echo; exec sleep 1000");
    assert!(told.contains(r#"begins with .wh., as ".wh.b""#), "{told}");
}

#[test]
fn a_disk_that_is_nearly_full_is_no_fault_of_the_process() {
    let snapshots = Snapshots::new();
    let directory = snapshots.directory("small");
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m,mode=755", "none"])
        .arg(&directory));
    let refused = refusal_to_write(&snapshots, "echo; exec sleep 1000", &directory);
    // Whoever wrote there may end only now.
    run(Command::new("umount").arg("--lazy").arg(&directory));
    let SandboxError::SnapshotInterrupted { source, .. } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{refused:?}");
}

#[test]
fn more_files_than_the_new_sandbox_has_room_for_are_not_brought_back() {
    let snapshots = Snapshots::new();
    let directory = snapshots.directory("snapshot");
    let (connection, _) = take(&snapshots, &process(&["python3", "-c", PYTHON]), &directory);
    let long = fs::File::create(directory.join("tmp/long")).unwrap();
    long.set_len(1 << 40).unwrap();
    let mut sandbox = snapshots.fixture.spawner.create(&snapshots.spec()).unwrap();
    let _listener = sandbox.take_listener().unwrap();
    let _stream = connection.rebuild(&sandbox.dialer().unwrap()).unwrap();
    let refused = sandbox.restore(snapshots.tools(), &directory).unwrap_err();
    let told = refused.to_string();
    assert!(told.contains("bring back the files of /tmp, of which"), "{told}");
}

#[test]
fn memory_that_many_processes_share_is_written_for_each_only_up_to_the_limit() {
    let snapshots = Snapshots::new();
    // 200 MiB in eight processes, in a sandbox of 512 MiB.
    let script =
        r#"exec perl -e '$x = "x" x (200 << 20); for (1..7) { fork or sleep 1000 } $| = 1; print "\n"; sleep 1000'"#;
    let (told, directory) = refusal_in(&snapshots, script);
    assert!(
        told.contains("bytes of memory when each is written for itself"),
        "{told}"
    );
    println!("{} bytes were written", memory_bytes(&directory));
}

#[test]
fn what_is_no_snapshot_is_refused_and_the_directory_named() {
    let snapshots = Snapshots::new();
    let directory = snapshots.directory("empty");
    let sandbox = snapshots.fixture.create();
    let tools = snapshots.tools();
    let refused = sandbox.restore(tools, &directory).unwrap_err();
    assert!(matches!(refused, SandboxError::SnapshotUnsuitable { .. }), "{refused}");
    assert!(refused.to_string().contains("empty"), "{refused}");
}

#[test]
fn a_snapshot_with_a_missing_file_is_refused_and_nothing_is_left() {
    let snapshots = Snapshots::new();
    let directory = snapshots.directory("snapshot");
    let mark = unique();
    let (_, _) = take(&snapshots, &process(&["python3", "-c", PYTHON, &mark]), &directory);
    let broken = fs::read_dir(&directory).unwrap().flatten();
    let core = broken
        .map(|file| file.path())
        .find(|path| path.to_string_lossy().contains("/core-"));
    fs::remove_file(core.unwrap()).unwrap();
    let sandbox = snapshots.fixture.spawner.create(&snapshots.spec()).unwrap();
    let name = sandbox.name().to_owned();
    let refused = sandbox.restore(snapshots.tools(), &directory);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("cannot restore the snapshot") && refused.contains("EOF"),
        "{refused}"
    );
    drop(sandbox);
    assert!(snapshots.groups_of(&name).is_empty());
    assert!(processes_with(&mark).is_empty());
}

#[test]
fn a_sandbox_killed_while_it_is_written_leaves_nothing() {
    let snapshots = Snapshots::new();
    let directory = snapshots.directory("snapshot");
    let mark = unique();
    let script = "my $x = 'x' x (200 << 20); $| = 1; print \"\\n\"; sleep 1000";
    let sandbox = snapshots.fixture.spawner.create(&snapshots.spec()).unwrap();
    let process = sandbox.spawn(&process(&["perl", "-e", script, &mark])).unwrap();
    let mut output = fs::File::from(process.output.try_clone().unwrap());
    until("the memory is filled", || output.read(&mut [0]).ok());
    let identity = sandbox.identity(&process).unwrap();
    let name = sandbox.name().to_owned();
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let tools = snapshots.tools();
            sandbox.checkpoint(tools, &identity, &directory)
        });
        until("CRIU writes memory", || {
            fs::read_dir(&directory).unwrap().next().map(|_| ())
        });
        let init = snapshots
            .groups_of(&name)
            .iter()
            .find_map(|group| fs::read_to_string(group.join("cgroup.procs")).ok())
            .and_then(|ids| ids.lines().next()?.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(init.unwrap(), rustix::process::Signal::KILL).unwrap();
        // It may have been written whole a moment before.
        if let Err(refused) = writing.join().unwrap() {
            println!("{refused}");
        }
    });
    drop(sandbox);
    assert!(snapshots.groups_of(&name).is_empty());
    until("no process is left", || processes_with(&mark).is_empty().then_some(()));
}

#[test]
fn twenty_are_restored_at_the_same_time() {
    let snapshots = Snapshots::new();
    let directory = snapshots.directory("snapshot");
    let (connection, before) = take(&snapshots, &process(&["python3", "-c", PYTHON]), &directory);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let one = || {
            let restored = snapshots.restore(&snapshots.spec(), &directory, &connection);
            let mut link = Link::new(restored.stream.try_clone().unwrap());
            let answer = link.ask();
            assert_eq!((answer[0].as_str(), &answer[1]), ("2", &before[1]));
            begun.elapsed()
        };
        let all: Vec<_> = (0..20).map(|_| scope.spawn(one)).collect();
        let slowest = all.into_iter().map(|one| one.join().unwrap()).max();
        println!("the slowest of twenty has answered after {:?}", slowest.unwrap());
    });
}

/// This test runs itself again as the caller that is killed.
#[test]
fn kill_9_of_the_caller_while_it_restores_leaves_nothing() {
    const ROLE: &str = "LAMBENT_TEST_CALLER";
    if let Ok(mark) = std::env::var(ROLE) {
        return restore_again_and_again(&mark);
    }
    for lines in [1, 2, 5] {
        let mark = unique();
        let mut caller = Command::new(std::env::current_exe().unwrap());
        caller
            .args([
                "--exact",
                "kill_9_of_the_caller_while_it_restores_leaves_nothing",
                "--nocapture",
            ])
            .env(ROLE, &mark);
        let mut caller = caller.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(caller.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut directories = said.filter_map(|line| line.split_once("restoring in ").map(|(_, rest)| rest.to_owned()));
        let directory = directories.nth(lines).expect("the caller restores");
        caller.kill().unwrap();
        caller.wait().unwrap();
        until("no process is left", || processes_with(&mark).is_empty().then_some(()));
        until("the control groups are gone", || {
            groups_named(&mark).is_empty().then_some(())
        });
        fs::remove_dir_all(directory).unwrap();
    }
}

fn restore_again_and_again(mark: &str) {
    let mut snapshots = Snapshots::new();
    snapshots.fixture.spawner = fixture::start(mark);
    let directory = snapshots.directory("snapshot");
    let (connection, _) = take(&snapshots, &process(&["python3", "-c", PYTHON, mark]), &directory);
    loop {
        println!("restoring in {}", snapshots.fixture.directory().display());
        drop(snapshots.restore(&snapshots.spec(), &directory, &connection));
    }
}
