//! From create to gone: processes, freezing, and that nothing is left.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod fixture;

use fixture::{
    Fixture, error, finish, groups_named, process, processes_with, run, settings, sh, shell, start, unique, until,
};
use sandbox::{ExitStatus, Sandbox, SandboxError, Spawner};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A process inside that can be found from outside by a text, and the sandbox's namespace of networks.
fn marked(sandbox: &Sandbox, mark: &str) -> sandbox::Process {
    let process = sandbox
        .spawn(&process(&["perl", "-e", "$| = 1; sleep 1 while 1", mark]))
        .unwrap();
    until("the marked process is seen", || {
        (!processes_with(mark).is_empty()).then_some(())
    });
    process
}

fn network_namespaces() -> BTreeSet<String> {
    let links = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok());
    links.map(|link| link.display().to_string()).collect()
}

fn gone(mark: &str) {
    until("no process is left", || processes_with(mark).is_empty().then_some(()));
}

#[test]
fn a_process_runs_writes_and_ends() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let (output, status) = run(&sandbox, &shell("echo out; echo err >&2; exit 3"));
    assert_eq!((output.as_str(), status), ("out\nerr\n", ExitStatus::Exited(3)));
    let (_, status) = run(&sandbox, &shell("kill -TERM $$"));
    assert_eq!(status, ExitStatus::Killed(15));
    // A program may open its output again, as any user, and has nothing to read.
    let mut second = shell("echo again > /dev/stdout; echo error > /dev/stderr; cat");
    second.user = "1000:1000".to_owned();
    assert_eq!(
        run(&sandbox, &second),
        ("again\nerror\n".to_owned(), ExitStatus::Exited(0))
    );
}

#[test]
fn processes_of_one_sandbox_see_each_other() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let first = marked(&sandbox, &unique());
    let second = sandbox.spawn(&shell("sleep 1000")).unwrap();
    assert_eq!(
        sh(&sandbox, &format!("test -d /proc/{} && echo seen", second.id)),
        "seen"
    );
    sandbox.signal(first.id, 9).unwrap();
    assert_eq!(fixture::exit(&first.exit), ExitStatus::Killed(9));
    let missing = sandbox.signal(first.id, 9).unwrap_err();
    assert!(matches!(missing, SandboxError::NoSuchProcess { .. }), "{missing}");
    let init = sandbox.signal(1, 9).unwrap_err();
    assert!(matches!(init, SandboxError::NoSuchProcess { .. }), "{init}");
    let nonsense = sandbox.signal(second.id, 4711).unwrap_err();
    assert!(matches!(nonsense, SandboxError::Setup { .. }), "{nonsense}");
    sandbox.signal(second.id, 15).unwrap();
    assert_eq!(finish(second).1, ExitStatus::Killed(15));
}

#[test]
fn orphans_are_reaped() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    sh(&sandbox, "for i in 1 2 3 4 5; do (sleep 0.01 &) ; done");
    // Only init, the shell, and the pipeline's own processes are left.
    until("the orphans are gone", || {
        (sh(&sandbox, "grep -l sleep /proc/[0-9]*/comm 2>/dev/null; true").is_empty()).then_some(())
    });
    assert_eq!(
        sh(&sandbox, "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null; true"),
        ""
    );
}

#[test]
fn a_frozen_sandbox_stands_still_and_goes_on() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let counting = sandbox.spawn(&shell("while :; do echo; done >> /tmp/count")).unwrap();
    let path = format!("/proc/{}/root/tmp/count", host_id(&fixture, &sandbox));
    let count = || fs::metadata(&path).map_or(0, |file| file.len());
    let grows = |from: u64| until("the counter counts", || (count() > from).then(count));
    grows(0);
    for _ in 0..3 {
        sandbox.freeze().unwrap();
        let frozen_at = count();
        // Long enough for thousands of turns; nothing can be polled for here.
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(count(), frozen_at);
        let refused = error(sandbox.spawn(&shell("true")));
        assert!(matches!(refused, SandboxError::Frozen { .. }), "{refused}");
        sandbox.thaw().unwrap();
        grows(frozen_at);
    }
    sandbox.signal(counting.id, 9).unwrap();
    assert_eq!(fixture::exit(&counting.exit), ExitStatus::Killed(9));
}

/// Init's id on the host.
fn host_id(fixture: &Fixture, sandbox: &Sandbox) -> u32 {
    let group = groups_named(&format!("sandbox-{}", sandbox.name()));
    let group = group
        .iter()
        .find(|path| path.to_string_lossy().contains(&fixture.cgroup))
        .unwrap();
    fs::read_to_string(group.join("cgroup.procs"))
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn kill_leaves_nothing() {
    let fixture = Fixture::new();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    for freeze in [false, true] {
        let networks = network_namespaces();
        let sandbox = fixture.create();
        let group = format!("sandbox-{}", sandbox.name());
        let mark = unique();
        let process = marked(&sandbox, &mark);
        let inside: Vec<_> = network_namespaces().difference(&networks).cloned().collect();
        assert!(!inside.is_empty());
        assert!(!groups_named(&group).is_empty());
        if freeze {
            sandbox.freeze().unwrap();
        }
        sandbox.kill();
        // At once, without waiting.
        assert_eq!(processes_with(&mark), [0; 0]);
        let ours = |path: &std::path::PathBuf| path.to_string_lossy().contains(&fixture.cgroup);
        assert!(!groups_named(&group).iter().any(ours));
        assert_eq!(ExitStatus::read(&process.exit).unwrap(), ExitStatus::Killed(9));
    }
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let new: Vec<_> = after.lines().filter(|line| !mounts.contains(line)).collect();
    assert!(
        !new.iter()
            .any(|line| line.contains(&fixture.directory().display().to_string())),
        "{new:?}"
    );
}

#[test]
fn a_sandbox_that_cannot_be_made_leaves_nothing_and_names_the_step() {
    let fixture = Fixture::new();
    let mut spec = fixture.spec();
    spec.root = fixture.directory().join("not-there");
    let error = fixture.spawner.create(&spec).unwrap_err();
    assert!(
        matches!(&error, SandboxError::Setup { step, .. } if step.contains("not-there")),
        "{error:?}"
    );
    spec.root = "/proc".into();
    let error = fixture.spawner.create(&spec).unwrap_err();
    assert!(
        matches!(&error, SandboxError::Setup { step, .. } if step.contains("idmapped")),
        "{error:?}"
    );
    let name = format!("sandbox-{}", spec.name);
    assert!(
        !groups_named(&name)
            .iter()
            .any(|path| path.to_string_lossy().contains(&fixture.cgroup))
    );
    // The name is free again.
    spec.root = fixture.root.clone();
    let first = fixture.spawner.create(&spec).unwrap();
    let taken = fixture.spawner.create(&spec).unwrap_err();
    assert!(matches!(taken, SandboxError::Cgroup { .. }), "{taken}");
    // And the first one is not hurt by the second.
    assert_eq!(sh(&first, "echo alive"), "alive");
}

#[test]
fn twenty_are_made_at_the_same_time() {
    let fixture = Fixture::new();
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(|| fixture.create())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let namespaces: BTreeSet<_> = made
        .iter()
        .map(|sandbox| sh(sandbox, "readlink /proc/self/ns/net"))
        .collect();
    assert_eq!(namespaces.len(), 20);
}

#[test]
fn the_end_of_the_spawner_value_ends_its_sandboxes() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let mark = unique();
    let process = marked(&sandbox, &mark);
    let cgroup = fixture.cgroup.clone();
    drop(fixture);
    gone(&mark);
    assert_eq!(fixture::exit(&process.exit), ExitStatus::Killed(9));
    assert_eq!(groups_named(&cgroup), [""; 0].map(std::path::PathBuf::from));
    let dead = error(sandbox.spawn(&shell("true")));
    assert!(matches!(dead, SandboxError::Dead { .. }), "{dead}");
}

#[test]
fn kill_9_of_the_spawner_leaves_no_process() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let frozen = fixture.create();
    let marks = [unique(), unique()];
    let _processes = [marked(&sandbox, &marks[0]), marked(&frozen, &marks[1])];
    frozen.freeze().unwrap();
    let spawner = spawner_of(std::process::id(), &fixture.cgroup);
    let spawner = rustix::process::Pid::from_raw(spawner).unwrap();
    rustix::process::kill_process(spawner, rustix::process::Signal::KILL).unwrap();
    gone(&marks[0]);
    // Version 1 lets a frozen process die only when it is thawed; the caller still lives and does it.
    drop(frozen);
    gone(&marks[1]);
    let dead = fixture.spawner.create(&fixture.spec()).unwrap_err();
    assert!(
        matches!(dead, SandboxError::SpawnerGone { .. } | SandboxError::Dead { .. }),
        "{dead}"
    );
    drop(sandbox);
    // The parent group is left for a successor of the same name, who clears it.
    let successor = start(&fixture.cgroup);
    drop(successor);
    assert!(groups_named(&fixture.cgroup).is_empty());
}

/// The spawner process of this group among a process's children: the parent of an init in the group.
fn spawner_of(parent: u32, cgroup: &str) -> i32 {
    let groups = groups_named(cgroup);
    let sandboxes = groups.iter().flat_map(|group| fs::read_dir(group).unwrap().flatten());
    let inits = sandboxes.filter_map(|entry| fs::read_to_string(entry.path().join("cgroup.procs")).ok());
    let stat = |id: &str| fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The fourth field, counted from the name's closing parenthesis.
    let parent_of = |id: &str| {
        stat(id)
            .rsplit_once(") ")
            .unwrap()
            .1
            .split(' ')
            .nth(1)
            .unwrap()
            .to_owned()
    };
    let init = inits
        .filter_map(|text| text.lines().next().map(str::to_owned))
        .next()
        .unwrap();
    let spawner = parent_of(&init);
    assert_eq!(parent_of(&spawner), parent.to_string());
    spawner.parse().unwrap()
}

/// Set for a process that is to be a caller that is killed: the name of its groups.
const ROLE: &str = "LAMBENT_TEST_CALLER";

/// This test runs itself again as the caller that is killed.
#[test]
fn kill_9_of_the_caller_leaves_nothing() {
    if let Ok(mark) = std::env::var(ROLE) {
        return be_killed(&mark);
    }
    let mark = unique();
    let (mut caller, directory) = caller(&mark);
    caller.kill().unwrap();
    caller.wait().unwrap();
    gone(&mark);
    until("the control groups are gone", || {
        groups_named(&mark).is_empty().then_some(())
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&directory));
    fs::remove_dir_all(directory).unwrap();
}

/// Another process with a spawner and two sandboxes, and the directory that it leaves when it is killed.
fn caller(mark: &str) -> (std::process::Child, String) {
    let mut caller = Command::new(std::env::current_exe().unwrap());
    caller
        .args(["--exact", "kill_9_of_the_caller_leaves_nothing", "--nocapture"])
        .env(ROLE, mark);
    let mut caller = caller.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(caller.stdout.take().unwrap()).lines();
    let ready = lines
        .map_while(Result::ok)
        .find_map(|line| line.split_once("ready ").map(|(_, rest)| rest.to_owned()));
    (caller, ready.expect("the caller made its sandboxes"))
}

#[test]
fn a_successor_waits_for_the_end_of_its_predecessor() {
    let fixture = Fixture::new();
    let mark = unique();
    let (mut caller, directory) = caller(&mark);
    let predecessor = rustix::process::Pid::from_raw(spawner_of(caller.id(), &mark)).unwrap();
    let signal = |signal| rustix::process::kill_process(predecessor, signal).unwrap();
    // It will hear of its caller's death late.
    signal(rustix::process::Signal::STOP);
    caller.kill().unwrap();
    caller.wait().unwrap();
    let name = mark.clone();
    let successor = std::thread::spawn(move || start(&name));
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        assert!(!successor.is_finished(), "the predecessor could take its groups away");
    }
    signal(rustix::process::Signal::CONT);
    let successor = successor.join().unwrap();
    let mut spec = fixture.spec();
    spec.name = "after".to_owned();
    let made = successor.create(&spec).unwrap();
    assert_eq!(sh(&made, "echo alive"), "alive");
    fs::remove_dir_all(directory).unwrap();
}

/// One sandbox that runs, one that is frozen.
fn be_killed(mark: &str) {
    let fixture = Fixture::new();
    let spawner = start(mark);
    let made = [fixture.spec(), fixture.spec()].map(|spec| spawner.create(&spec).unwrap());
    let _processes = made.each_ref().map(|sandbox| marked(sandbox, mark));
    made[1].freeze().unwrap();
    println!("ready {}", fixture.directory().display());
    until("we are killed", || None::<()>);
}

#[test]
fn a_successor_clears_what_was_left_under_its_name() {
    let fixture = Fixture::new();
    let sandbox = fixture.create();
    let mark = unique();
    let _process = marked(&sandbox, &mark);
    sandbox.freeze().unwrap();
    let predecessor = spawner_of(std::process::id(), &fixture.cgroup);
    let predecessor = rustix::process::Pid::from_raw(predecessor).unwrap();
    rustix::process::kill_process(predecessor, rustix::process::Signal::KILL).unwrap();
    let successor = start(&fixture.cgroup);
    assert_eq!(processes_with(&mark), [0; 0]);
    let made = successor.create(&fixture.spec()).unwrap();
    assert_eq!(sh(&made, "echo alive"), "alive");
}

#[test]
fn a_spawner_that_cannot_start_is_an_error() {
    let mut settings = settings(&unique());
    settings.program = "/not/there".into();
    let error = Spawner::start(&settings).unwrap_err();
    assert!(matches!(error, SandboxError::SpawnerStart { .. }), "{error}");
    settings.program = "/bin/true".into();
    let error = Spawner::start(&settings).unwrap_err();
    assert!(matches!(error, SandboxError::SpawnerStart { .. }), "{error}");
    assert!(groups_named(&settings.cgroup).is_empty());
    settings.cgroup = "../escape".to_owned();
    let error = Spawner::start(&settings).unwrap_err();
    assert!(matches!(error, SandboxError::InvalidSpec { .. }), "{error}");
}
