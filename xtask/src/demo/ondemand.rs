//! The image mounted and run before it is there: what is fetched, what the second start gains, what a kill costs.
//!
//! The registry and the store lie on this machine, so the ways differ by what they do and not by a network; the bench
//! `start` puts a shaped link between.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::stage::Stage;
use crate::corpus::chroot::isolated;
use crate::process;
use crate::registry::Registry;
use crate::terminal::{bar, bytes, columns, table};

const IMAGE: &str = "sklearn:latest";

/// Runs the application of the tree at `$1`, which is read-only but for what is mounted on it here.
const RUN: &str = r#"
set -e
mount -t tmpfs tmpfs "$1/tmp"; mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"
chroot "$1" env -i PATH=/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 sh -c 'cd /app && python3 app.py'
"#;

/// Reads every file below `$1`.
const CHECKSUM: &str = r#"cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"#;

/// How long the daemon may take to learn from a start and to end.
const DAEMON_END_MAX: Duration = Duration::from_secs(60);

/// How long a killed daemon's successor may take to be there, on a machine that is busy with other things.
const SUCCESSOR_START_MAX: Duration = Duration::from_secs(10);

/// One way to get from a stored image to a program that says it is ready.
struct Way {
    name: &'static str,
    seconds: f64,
    fetched_bytes: u64,
}

/// Shows it all, and the table of the ways.
pub(super) fn show(stage: &Stage, registry: &Registry) -> Result<()> {
    let image_bytes = stage.ask(&["image", "inspect", IMAGE])?["image_bytes"]
        .as_u64()
        .unwrap_or(0);
    let ways = [
        pulled(stage, registry)?,
        started(stage, "mounted, first start")?,
        started(stage, "mounted, led by the start pack")?,
    ];
    stage.say("What starts of this image touch.");
    stage.lambent(&["image", "trace", IMAGE])?;
    killed(stage)?;
    print(&ways, image_bytes);
    Ok(())
}

/// What people do without: pull all of it, unpack all of it, run.
fn pulled(stage: &Stage, registry: &Registry) -> Result<Way> {
    stage.say("The usual way first: pull the whole image, unpack the whole image, run it.");
    drop_page_cache()?;
    let start = Instant::now();
    let from = format!("docker://{}/demo:latest", registry.host);
    let skopeo = [
        "skopeo",
        "--insecure-policy",
        "copy",
        "--quiet",
        "--src-tls-verify=false",
    ];
    stage.command(&[&skopeo[..], &[&from, "oci:pulled:latest"]].concat())?;
    stage.command(&["umoci", "unpack", "--image", "pulled:latest", "bundle"])?;
    run_application(&stage.path("bundle/rootfs"))?;
    let seconds = start.elapsed().as_secs_f64();
    let fetched_bytes = folder_bytes(&stage.path("pulled/blobs/sha256"))?;
    println!("    ready after {seconds:.2} s");
    fs::remove_dir_all(stage.path("bundle"))?;
    Ok(Way {
        name: "pulled and unpacked",
        seconds,
        fetched_bytes,
    })
}

/// Mounts with nothing cached on this machine, runs, and lets the daemon learn from it.
fn started(stage: &Stage, name: &'static str) -> Result<Way> {
    stage.say(&format!("The image {name}: nothing of it is cached here."));
    let directory = stage.path("on-demand");
    fs::create_dir_all(&directory)?;
    let _unmounted = Unmounted(&directory);
    drop_page_cache()?;
    let start = Instant::now();
    stage.lambent(&["image", "mount", IMAGE, "on-demand"])?;
    run_application(&directory)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("    ready after {seconds:.2} s");
    stage.lambent(&["image", "stats", "on-demand"])?;
    let stats = stage.ask(&["image", "stats", IMAGE])?;
    stage.lambent(&["image", "ready", "on-demand"])?;
    stage.lambent(&["image", "umount", "on-demand"])?;
    forget(stage)?;
    Ok(Way {
        name,
        seconds,
        fetched_bytes: stats["fetched_bytes"].as_u64().context("stats say what was fetched")?,
    })
}

/// Kills the daemon while every file is read, and compares with what no daemon had to do with.
fn killed(stage: &Stage) -> Result<()> {
    stage.say("The daemon killed with -9, three times, while every file of the mounted image is read.");
    let directory = stage.path("on-demand");
    let _unmounted = Unmounted(&directory);
    stage.lambent(&["image", "mount", IMAGE, "on-demand"])?;
    let mut reading = isolated(&[]);
    reading.args(["bash", "-c", CHECKSUM, "bash"]).arg(&directory);
    let reading = reading.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
    for _ in 0..3 {
        let id = daemon(stage)?;
        println!("  $ kill -9 {id}");
        process::run(Command::new("kill").args(["-9", &id]))?;
        wait_for_successor(stage, &id)?;
    }
    let output = reading.wait_with_output()?;
    let mut expected = isolated(&[]);
    let script = format!("mount -t ext4 -o ro,noload,loop \"$2\" \"$1\" && {CHECKSUM}");
    expected
        .args(["bash", "-c", &script, "bash"])
        .arg(stage.path("mnt"))
        .arg(stage.path("sklearn.ext4"));
    let expected = process::run(&mut expected)?;
    let found = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || found != expected {
        bail!("the checksums differ: {found} and {expected}");
    }
    println!("    checksum of all files: {}", found.trim_end());
    println!("    the same as of the exported file: no read failed, no byte was wrong.");
    stage.lambent(&["image", "umount", "on-demand"])?;
    Ok(())
}

fn print(ways: &[Way], image_bytes: u64) {
    let rows = ways.iter().map(|way| {
        [
            way.name.to_owned(),
            format!("{:.2} s", way.seconds),
            format!("{:.1} x", ways[0].seconds / way.seconds),
            bytes(way.fetched_bytes),
            format!("{:.1} %", 100.0 * way.fetched_bytes as f64 / image_bytes.max(1) as f64),
        ]
    });
    println!("\n▌ From a stored image to a program that says `ready` (registry and store on this machine)\n");
    let rows: Vec<[String; 5]> = rows.collect();
    print!("{}", table(["way", "until ready", "", "fetched", "of image"], &rows));
    let width = columns().saturating_sub(40).max(10);
    let slowest = ways.iter().map(|way| (way.seconds * 1000.0) as u64).max().unwrap_or(1);
    println!();
    for way in ways {
        let time = (way.seconds * 1000.0) as u64;
        println!("  {:<32}{}", way.name, bar(time, slowest, width));
    }
}

fn run_application(root: &Path) -> Result<()> {
    println!(
        "  $ chroot {} sh -c 'cd /app && python3 app.py'",
        root.file_name().unwrap_or_default().display()
    );
    let mut isolated = isolated(&["--net", "--ipc"]);
    isolated.args(["bash", "-c", RUN, "bash"]).arg(root);
    let output = process::run(&mut isolated)?;
    output
        .lines()
        .for_each(|line| println!("    the application says: {line}"));
    if !output.contains("ready") {
        bail!("the application did not say `ready`");
    }
    Ok(())
}

/// Unmounts a directory, also when the demo fails between; where nothing is mounted it does nothing.
struct Unmounted<'a>(&'a Path);

impl Drop for Unmounted<'_> {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        // The daemon ends by itself once nothing is mounted.
        let _ = umount.arg("--lazy").arg(self.0).stderr(Stdio::null()).status();
    }
}

/// Waits until the daemon has learnt and ended, and removes what it cached: another machine would have nothing either.
fn forget(stage: &Stage) -> Result<()> {
    let deadline = Instant::now() + DAEMON_END_MAX;
    while daemon(stage).is_ok() {
        if Instant::now() > deadline {
            bail!("the daemon did not end within {DAEMON_END_MAX:?} of the last unmount");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    fs::remove_dir_all(stage.path("lambent/worker")).context("removing what the daemon cached")
}

/// Waits until another process than the killed one serves: the next to kill.
fn wait_for_successor(stage: &Stage, killed: &str) -> Result<()> {
    let deadline = Instant::now() + SUCCESSOR_START_MAX;
    while !daemon(stage).is_ok_and(|now| now != killed) {
        if Instant::now() > deadline {
            bail!("the keeper did not start a successor of the killed daemon within {SUCCESSOR_START_MAX:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The process of the daemon of the demo's data folder.
fn daemon(stage: &Stage) -> Result<String> {
    let data = stage.shown_data();
    for entry in fs::read_dir("/proc")?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let is_daemon = arguments.get(1) == Some(&&b"daemon"[..]) && arguments.contains(&&b"--child"[..]);
        if is_daemon && arguments.contains(&data.as_bytes()) {
            return Ok(entry.file_name().to_string_lossy().into_owned());
        }
    }
    bail!("no daemon runs")
}

fn drop_page_cache() -> Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "3").context("dropping the page cache")
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
}

/// The daemon's settings for the demo: it need not wait for the next mount.
pub(super) fn settings(stage: &Stage) -> Result<()> {
    fs::create_dir_all(stage.path("lambent"))?;
    Ok(fs::write(stage.path("lambent/worker.toml"), "idle_seconds = 1\n")?)
}
