//! How long do creating, starting, freezing, thawing and killing a sandbox take, and what of that is the kernel's part?
//!
//! `cargo bench -p sandbox --bench life` as root prints p50 and p99 in microseconds: of sandboxes made one after the
//! other, of twenty made at once (until the last one is there), and, as a baseline that makes most of the namespaces
//! and no mounts, of `unshare -fpmnuiU --map-root-user true`. The root is a tree of directories below the folder that
//! TMPDIR names, with the host's `/usr` laid over it. Sandboxes with a way out load rules into nftables and may turn
//! forwarding on for as long as the bench runs: `unshare --net cargo bench -p sandbox --bench life` keeps that away from
//! the machine.

use sandbox::{ExitStatus, ProcessSpec, Sandbox, SandboxNetwork, SandboxSpec, Spawner, SpawnerSettings};
use std::error::Error;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

const RUNS: usize = 300;
const AT_ONCE: usize = 20;
const ROUNDS: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    make_root(directory.path())?;
    let spawner = Spawner::start(&SpawnerSettings {
        program: env!("CARGO_BIN_EXE_sandbox-spawner").into(),
        arguments: Vec::new(),
        cgroup: format!("lambent-bench-{}", std::process::id()),
    })?;
    println!("{} threads, {}, {RUNS} runs", available_parallelism()?, cpu_model());
    one_by_one(&spawner, directory.path())?;
    outbound(&spawner, directory.path())?;
    at_once(&spawner, directory.path())?;
    baseline()
}

fn make_root(root: &Path) -> std::io::Result<()> {
    for name in ["dev", "proc", "tmp", "usr"] {
        fs::create_dir(root.join(name))?;
    }
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    Ok(())
}

fn spec(root: &Path, number: usize) -> SandboxSpec {
    SandboxSpec {
        name: number.to_string(),
        root: root.to_owned(),
        overlays: vec![("/usr".into(), "/usr".to_owned())],
        shared: Vec::new(),
        hostname: "bench".to_owned(),
        tmp_bytes: 512 << 20,
        memory_bytes: 128 << 20,
        cpu_millis: 1000,
        processes_max: 1024,
        files_max: 1024,
        network: SandboxNetwork::Off,
    }
}

/// The first one loads the rules, and is not counted.
fn outbound(spawner: &Spawner, root: &Path) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for number in 0..=RUNS {
        let mut spec = spec(root, number);
        spec.network = SandboxNetwork::Outbound;
        let mut sandbox = None;
        times.push(timed(|| sandbox = Some(spawner.create(&spec))));
        sandbox.ok_or("nothing was made")??.kill();
    }
    println!("the first with a way out, which loads the rules: {:?}", times.remove(0));
    print("create with a way out", times);
    Ok(())
}

fn one_by_one(spawner: &Spawner, root: &Path) -> Result<(), Box<dyn Error>> {
    let names = ["create", "spawn /usr/bin/true", "freeze", "thaw", "kill"];
    let mut times = names.map(|_| Vec::new());
    for number in 0..RUNS {
        let mut sandbox = None;
        times[0].push(timed(|| sandbox = Some(spawner.create(&spec(root, number)))));
        let sandbox = sandbox.ok_or("nothing was made")??;
        let mut process = None;
        times[1].push(timed(|| process = Some(sandbox.spawn(&program()))));
        let process = process.ok_or("nothing was started")??;
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(&process.exit, rustix::event::PollFlags::IN)],
            None,
        )?;
        assert_eq!(ExitStatus::read(&process.exit)?, ExitStatus::Exited(0));
        times[2].push(timed(|| sandbox.freeze().expect("it can be frozen")));
        times[3].push(timed(|| sandbox.thaw().expect("it can be thawed")));
        times[4].push(timed(|| sandbox.kill()));
    }
    for (name, times) in names.into_iter().zip(times) {
        print(name, times);
    }
    Ok(())
}

fn program() -> ProcessSpec {
    ProcessSpec {
        arguments: vec!["/usr/bin/true".to_owned()],
        environment: Vec::new(),
        working_directory: "/".to_owned(),
        user: String::new(),
    }
}

fn at_once(spawner: &Spawner, root: &Path) -> Result<(), Box<dyn Error>> {
    let (mut create, mut kill) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut made = Vec::new();
        create.push(timed(|| {
            made = together((0..AT_ONCE).collect(), |number| spawner.create(&spec(root, number)));
        }));
        let made: Vec<Sandbox> = made.into_iter().collect::<Result<_, _>>()?;
        kill.push(timed(|| {
            together(made, Sandbox::kill);
        }));
    }
    print(&format!("create {AT_ONCE} at once"), create);
    print(&format!("kill {AT_ONCE} at once"), kill);
    Ok(())
}

fn together<T: Send, U: Send>(of: Vec<T>, act: impl Fn(T) -> U + Sync) -> Vec<U> {
    let act = &act;
    std::thread::scope(|scope| {
        let threads: Vec<_> = of.into_iter().map(|one| scope.spawn(move || act(one))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    })
}

fn baseline() -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begin = Instant::now();
        let status = Command::new("unshare")
            .args(["-fpmnuiU", "--map-root-user", "true"])
            .status()?;
        assert!(status.success());
        times.push(begin.elapsed());
    }
    print("baseline: unshare ... true", times);
    Ok(())
}

fn timed(act: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    act();
    begin.elapsed()
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_micros();
    println!("{name:28} p50 {:>7} µs, p99 {:>7} µs", at(50), at(99));
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("processor unknown".to_owned(), |(_, name)| name.to_owned())
}
