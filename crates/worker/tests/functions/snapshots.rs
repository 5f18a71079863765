//! Snapshots of real environments, by the CRIU that `cargo xtask setup` unpacked.

use crate::fixture::{
    Fixture, WAIT, invocation, lease, lease_with_extension, unique, wait_for, wait_until_nothing_is_left,
};
use crate::tools;
use api::{
    Body, ColdStart, ImageAddress, Initialization, InvokeError, Lease, Overlay, SNAPSHOT_DIRECTORY, SnapshotFailure,
    TakenSnapshot, Worker,
};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;
use worker::FunctionSettings;

/// The argument that makes the program a worker with snapshots to be killed.
pub(crate) const VICTIM: &str = "snapshot-victim";

/// Hooks of both kinds, beside a number that clones share.
const PYTHON: &str = r#"
import random, ssl
from snapshot_restore_py import register_before_snapshot, register_after_restore
number, hooks = random.random(), [ssl.RAND_bytes(8).hex()][1:]
register_before_snapshot(lambda: hooks.append("before"))
register_after_restore(lambda: hooks.append("after"))
def handler(event, context):
    print("a line of a clone")
    return {"number": number, "hooks": hooks, "event": event, "stream": context.log_stream_name,
        "random": [random.random(), ssl.RAND_bytes(8).hex()]}
"#;

const NODE: &str = r#"
import { randomInt } from "node:crypto";
const number = randomInt(1 << 30);
export const handler = async (event) => ({ number, event });
"#;

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

fn settings() -> FunctionSettings {
    FunctionSettings {
        criu: vec![cache().join("criu")],
        ..FunctionSettings::default()
    }
}

fn image(name: &str, digits: &str) -> ImageAddress {
    ImageAddress {
        name: name.to_owned(),
        account: "123456789012".parse().unwrap(),
        generation: 1,
        manifest: digits.repeat(32).parse().unwrap(),
    }
}

/// A version with SnapStart, whose runtime does this after its restore.
fn snap_start(revision: &str, restore: &str) -> Lease {
    let mut lease = lease(revision);
    lease.initialization = Initialization::SnapStart;
    lease
        .program
        .environment
        .push(("RESTORE".to_owned(), restore.to_owned()));
    lease
}

async fn take(fixture: &Fixture, lease: &Lease) -> Result<TakenSnapshot, SnapshotFailure> {
    let taken = fixture.functions.snapshot(Arc::new(lease.clone())).await;
    assert_eq!(fixture.functions.report().starting, 0, "its environment has ended");
    taken
}

/// Takes a snapshot, puts it where an image would have it, and gives the lease of its clones.
async fn with_snapshot(fixture: &Fixture, lease: &Lease) -> Lease {
    let taken = take(fixture, lease).await.unwrap();
    assert!(taken.memory_bytes > 0 && taken.init > Duration::ZERO && taken.checkpoint > Duration::ZERO);
    assert_eq!(taken.processor, sandbox::processor_class());
    let mode = fs::metadata(&taken.directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "ids without rights read it");
    let device = fixture.directory.path().join("device");
    fs::create_dir(&device).unwrap();
    fs::rename(&taken.directory, device.join(SNAPSHOT_DIRECTORY)).unwrap();
    Lease {
        revision: format!("{} restored", lease.revision),
        snapshot: Some(image("device", "dd")),
        ..lease.clone()
    }
}

/// The answer of a new environment, with what its start was made of.
async fn start(fixture: &Fixture, lease: &Lease, event: &Value) -> (Value, ColdStart) {
    let reply = fixture.invoke(lease, event).await.unwrap();
    let Body::Whole(body) = reply.body else {
        panic!("a stream");
    };
    let start = reply
        .ending
        .await
        .unwrap()
        .report
        .cold_start
        .expect("a new environment");
    (serde_json::from_slice(&body).unwrap(), start)
}

/// All but the wait for a turn, of which a busy machine makes a part.
fn parts(start: &ColdStart) -> Vec<&str> {
    let parts = start.parts.iter().map(|part| part.name.as_str());
    parts.filter(|name| *name != "wait").collect()
}

async fn restored(fixture: &Fixture, lease: &Lease, event: &Value) -> Value {
    let (answer, start) = start(fixture, lease, event).await;
    assert_eq!(start.fell_back, None);
    assert_eq!(parts(&start), ["mount", "sandbox", "restore", "hooks", "first_byte"]);
    println!("restored: {:?}", start.parts);
    answer
}

/// Two environments at the same time: the first event holds its own until the second is answered, too.
async fn two_clones(fixture: &Fixture, lease: &Lease, event: &Value) -> [Value; 2] {
    let (one, other) = (
        lease.clone(),
        Lease {
            // Another revision shares no environment.
            revision: format!("{} other", lease.revision),
            ..lease.clone()
        },
    );
    let (one, other) = tokio::join!(restored(fixture, &one, event), restored(fixture, &other, event));
    [one, other]
}

pub(crate) async fn clones_go_on_where_the_snapshot_was_taken() {
    let fixture = Fixture::new(settings()).await;
    let lease = with_snapshot(&fixture, &snap_start("one", "hooks")).await;
    let [one, other] = two_clones(&fixture, &lease, &json!({"a": 1})).await;
    assert_eq!(one["begin"], other["begin"], "made before the snapshot");
    assert_eq!((&one["event"], &one["count"]), (&json!({"a": 1}), &json!(1)));
    wait_for("both rest", || fixture.functions.report().idle == 2).await;
    let (again, _) = fixture.ask(&lease, &json!({})).await;
    assert_eq!(again["count"], 2, "an environment is used again");
    let (variables, _) = fixture.ask(&lease, &json!({"do": "environment"})).await;
    assert_eq!(variables["AWS_LAMBDA_INITIALIZATION_TYPE"], "snap-start");
    fixture.wait_for_line("hooks have run").await;
    fixture.wait_for_line("RESTORE_REPORT Restore Duration: ").await;
    let report = fixture.wait_for_line("REPORT RequestId").await;
    let named = report.contains("\tRestore Duration: ") && report.contains("\tBilled Restore Duration: ");
    assert!(named && !report.contains("Init Duration"), "{report}");
    fixture.end().await;
}

pub(crate) async fn a_runtime_without_hooks_is_written_in_its_first_poll() {
    let fixture = Fixture::new(settings()).await;
    let lease = with_snapshot(&fixture, &snap_start("one", "no hooks")).await;
    let [one, other] = two_clones(&fixture, &lease, &json!({})).await;
    assert_eq!(one["begin"], other["begin"]);
    // Frozen and thawed like any other.
    wait_for("both rest", || fixture.functions.report().idle == 2).await;
    let (again, is_error) = fixture.ask(&lease, &json!({})).await;
    assert!(!is_error && again["count"] == 2, "{again}");
    fixture.end().await;
}

/// With code at /var/task, and what it needs at another place.
fn client(fixture: &Fixture, (file, code): (&str, &str), (packages, target): (&Path, &str)) -> Lease {
    let task = fixture.directory.path().join("task");
    fs::create_dir(&task).unwrap();
    fs::write(task.join(file), code).unwrap();
    let mut lease = snap_start("client", "");
    lease.program.working_directory = "/var/task".to_owned();
    lease.overlays.push(Overlay {
        image: image("task", "ee"),
        source: String::new(),
        target: "/var/task".to_owned(),
    });
    lease.overlays.push(Overlay {
        image: image("host", "bb"),
        source: packages.to_str().unwrap().to_owned(),
        target: target.to_owned(),
    });
    lease
}

pub(crate) async fn awslambdaric_runs_its_hooks_in_each_clone() {
    let fixture = Fixture::new(settings()).await;
    let packages = cache().join("venv/lib/python3.11/site-packages");
    let mut lease = client(&fixture, ("app.py", PYTHON), (&packages, "/opt/python"));
    lease
        .program
        .environment
        .push(("PYTHONPATH".to_owned(), "/opt/python".to_owned()));
    let arguments = ["/usr/bin/python3", "-m", "awslambdaric", "app.handler"];
    lease.program.arguments = arguments.map(str::to_owned).to_vec();
    lease.program.runtime = Some("python3.11".to_owned());
    let clone = with_snapshot(&fixture, &lease).await;
    let [one, other] = two_clones(&fixture, &clone, &json!({"key": 1})).await;
    for index in 0..2 {
        assert_ne!(one["random"][index], other["random"][index], "seeded again");
    }
    for answer in [&one, &other] {
        assert_eq!(
            (&answer["hooks"], &answer["event"]["key"]),
            (&json!(["before", "after"]), &json!(1))
        );
        assert_eq!(
            answer["stream"],
            Value::Null,
            "clones have no stream of their own in memory"
        );
    }
    assert_eq!(one["number"], other["number"], "made before the snapshot");
    fixture.wait_for_line("a line of a clone").await;
    // Without a snapshot it is an ordinary start, with its hooks.
    let (answer, start) = start(&fixture, &lease, &json!({})).await;
    assert_eq!(answer["hooks"], json!(["before", "after"]));
    assert_ne!(answer["number"], one["number"]);
    assert!(parts(&start).contains(&"init") && start.fell_back.is_none());
    fixture.end().await;
}

pub(crate) async fn aws_lambda_ric_is_restored() {
    let fixture = Fixture::new(settings()).await;
    let node = tools::node("app.handler");
    let script = PathBuf::from(node.get_args().next().unwrap());
    let modules = script.ancestors().find(|path| path.ends_with("node_modules")).unwrap();
    let mut lease = client(&fixture, ("app.mjs", NODE), (modules, "/opt/node_modules"));
    let script = format!("/opt/node_modules/{}", script.strip_prefix(modules).unwrap().display());
    let arguments = ["/usr/bin/node", &script, "app.handler"];
    lease.program.arguments = arguments.map(str::to_owned).to_vec();
    let clone = with_snapshot(&fixture, &lease).await;
    let [one, other] = two_clones(&fixture, &clone, &json!({"key": 1})).await;
    assert_eq!((&one["number"], &one["event"]["key"]), (&other["number"], &json!(1)));
    fixture.end().await;
}

pub(crate) async fn a_rust_function_is_restored() {
    let fixture = Fixture::new(settings()).await;
    let program = PathBuf::from(tools::rust().get_program());
    fs::copy(program, fixture.directory.path().join("root/function")).unwrap();
    let mut lease = snap_start("rust", "");
    lease.program.arguments = vec!["/function".to_owned()];
    let clone = with_snapshot(&fixture, &lease).await;
    let [one, other] = two_clones(&fixture, &clone, &json!({"key": 1})).await;
    assert_eq!(one["echo"], json!({"key": 1}), "{one}");
    assert_eq!(other["echo"], one["echo"]);
    fixture.end().await;
}

/// An event is answered by an ordinary start with hooks, and the record says why.
async fn check_fall_back(fixture: &Fixture, lease: &Lease, expected: &str) {
    let (answer, start) = start(fixture, lease, &json!({})).await;
    assert_eq!(answer["count"], 1, "{answer}");
    let reason = start.fell_back.as_ref().expect("it fell back");
    assert!(reason.contains(expected), "{reason}");
    assert!(parts(&start).contains(&"init"));
    fixture.functions.retire(&lease.function.arn, &[]).await;
    wait_for("it ends", || fixture.functions.report().idle == 0).await;
}

pub(crate) async fn what_cannot_be_restored_initialises_and_says_why() {
    let fixture = Fixture::new(settings()).await;
    let lease = with_snapshot(&fixture, &snap_start("one", "hooks")).await;
    let directory = fixture.directory.path().join("device").join(SNAPSHOT_DIRECTORY);
    let mut files = fs::read_dir(&directory).unwrap().flatten().map(|file| file.path());
    let core = files.find(|path| path.to_string_lossy().contains("/core-")).unwrap();
    let bytes = fs::read(&core).unwrap();
    fs::write(&core, &bytes[..bytes.len() / 2]).unwrap();
    check_fall_back(&fixture, &lease, "cannot restore the snapshot").await;
    fs::write(&core, &bytes).unwrap();
    restored(&fixture, &lease, &json!({})).await;
    fixture.functions.retire(&lease.function.arn, &[]).await;
    wait_for("it ends", || fixture.functions.report().idle == 0).await;
    let record = directory.join("worker.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replace(&sandbox::processor_class(), "m68k")).unwrap();
    check_fall_back(&fixture, &lease, "another class of processors (m68k").await;
    fs::remove_file(&record).unwrap();
    check_fall_back(&fixture, &lease, "its record cannot be read").await;
    fs::remove_dir_all(&directory).unwrap();
    check_fall_back(&fixture, &lease, "has no directory snapshot").await;
    fixture.wait_for_line("Not restored: ").await;
    fixture.end().await;
}

pub(crate) async fn failed_hooks_are_lambdas() {
    for (restore, is_expected) in [
        (
            "fail",
            (|error| matches!(error, Some(InvokeError::RestoreFailed { reason, .. }) if reason.contains("as asked")))
                as fn(&Option<InvokeError>) -> bool,
        ),
        ("hang", |error| {
            matches!(error, Some(InvokeError::RestoreTimedOut { .. }))
        }),
    ] {
        let fixture = Fixture::new(settings()).await;
        let lease = with_snapshot(&fixture, &snap_start("one", restore)).await;
        let error = fixture.invoke(&lease, &json!({})).await.err();
        assert!(is_expected(&error), "{restore}: {error:?}");
        fixture.wait_for_line("RESTORE_REPORT").await;
        wait_for("it ends", || fixture.functions.report().starting == 0).await;
        fixture.end().await;
    }
    // One that exits without a word may be no fault of the function's: it is tried without the snapshot.
    let fixture = Fixture::new(settings()).await;
    let lease = with_snapshot(&fixture, &snap_start("one", "exit")).await;
    let (answer, is_error) = fixture.ask(&lease, &json!({})).await;
    assert!(is_error && answer["errorType"] == "Runtime.ExitError", "{answer}");
    fixture.wait_for_line("the restored process ended").await;
    fixture.end().await;
}

pub(crate) async fn failures_say_whose_they_are() {
    let fixture = Fixture::new(settings()).await;
    let mut broken = snap_start("broken", "hooks");
    broken.program.environment.push(("INIT".to_owned(), "error".to_owned()));
    let failure = take(&fixture, &broken).await.unwrap_err();
    let SnapshotFailure::Init { error_type, message } = failure else {
        panic!("{failure:?}");
    };
    assert_eq!((error_type.as_str(), message.as_str()), ("Function.Broken", "as asked"));
    let mut missing = snap_start("missing", "hooks");
    missing.program.arguments = vec!["/nothing".to_owned()];
    let failure = take(&fixture, &missing).await.unwrap_err();
    let is_named =
        matches!(&failure, SnapshotFailure::Init { error_type, .. } if error_type == "Runtime.InvalidEntrypoint");
    assert!(is_named, "{failure:?}");
    let mut extended = lease_with_extension("extended");
    extended.initialization = Initialization::SnapStart;
    let unsuitable = |failure: SnapshotFailure, expected: &str| {
        let is_so = matches!(&failure, SnapshotFailure::Unsuitable { reason } if reason.contains(expected));
        assert!(is_so, "{failure:?}");
    };
    unsuitable(take(&fixture, &extended).await.unwrap_err(), "extension listener");
    unsuitable(
        take(&fixture, &snap_start("child", "child")).await.unwrap_err(),
        "runs beside process",
    );
    fixture.end().await;
    let fixture = Fixture::new(FunctionSettings::default()).await;
    unsuitable(take(&fixture, &snap_start("one", "hooks")).await.unwrap_err(), "CRIU");
    fixture.end().await;
    let fixture = Fixture::new(FunctionSettings {
        environments_max: 0,
        ..settings()
    })
    .await;
    let failure = take(&fixture, &snap_start("one", "hooks")).await.unwrap_err();
    assert!(matches!(failure, SnapshotFailure::Worker { .. }), "{failure:?}");
    fixture.end().await;
}

pub(crate) async fn a_full_disk_is_named() {
    let fixture = Fixture::new(settings()).await;
    let directory = fixture.directory.path().join("snapshots");
    let run = |command: &mut Command| assert!(command.status().unwrap().success(), "{command:?}");
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "none"])
        .arg(&directory));
    let failure = take(&fixture, &snap_start("one", "hooks")).await.unwrap_err();
    let left = fs::read_dir(&directory).unwrap().count();
    run(Command::new("umount").arg(&directory));
    assert!(
        matches!(&failure, SnapshotFailure::Worker { reason } if reason.contains("make room")),
        "{failure:?}"
    );
    assert_eq!(left, 0);
    fixture.end().await;
}

pub(crate) async fn a_snapshot_that_nobody_waits_for_is_not_kept() {
    let fixture = Fixture::new(settings()).await;
    let mut slow = snap_start("one", "hooks");
    slow.program.environment.push(("INIT".to_owned(), "never".to_owned()));
    tokio::select! {
        _ = fixture.functions.snapshot(Arc::new(slow)) => panic!("too soon"),
        () = wait_for("it initialises", || fixture.functions.report().starting == 1) => {}
    }
    wait_for("it ends", || fixture.functions.report().starting == 0).await;
    fixture.end().await;
}

pub(crate) async fn a_worker_killed_while_it_takes_and_restores_leaves_nothing() {
    // How many lines it says before it is killed: it takes, and restores again and again.
    for lines in [1, 2, 4] {
        let (directory, cgroup) = (tempfile::tempdir().unwrap(), unique());
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args([VICTIM, directory.path().to_str().unwrap(), &cgroup])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(victim.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let said = said.filter(|line| line.starts_with("now")).take(lines).count();
        victim.kill().unwrap();
        victim.wait().unwrap();
        assert_eq!(said, lines);
        wait_until_nothing_is_left(&cgroup, directory.path()).await;
    }
}

/// A worker that says what it does now, until it is killed.
pub(crate) fn victim() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let directory = tempfile::Builder::new().tempdir_in(&arguments[2]).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let fixture = Fixture::in_directory(settings(), directory, arguments[3].clone()).await;
        println!("now it is taken");
        let mut lease = with_snapshot(&fixture, &snap_start("one", "hooks")).await;
        loop {
            println!("now it is restored");
            let event = invocation(&json!({}));
            let restored = fixture.functions.invoke(Arc::new(lease.clone()), event);
            tokio::time::timeout(WAIT, restored).await.unwrap().unwrap();
            lease.revision.push('+');
        }
    })
}
