//! Images mounted by the daemon: that they are right, shared, learnt from, and survive what kills or corrupts.

use crate::judges::{Mounted, shell, tool};
use crate::lambent::{Lambent, corpus, files};
use crate::layout::{Layer, Layout};
use crate::servers::Moto;
use crate::stores::with_credentials;
use crate::tree_facts;
use block::kernel::{abort_connection, connection_at};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long something that the daemon does in the background may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory whose daemon ends soon after its last mount, and whose mounts end with the test.
pub(crate) struct Worker {
    pub(crate) lambent: Lambent,
}

impl Worker {
    pub(crate) fn new(settings: &str) -> Self {
        let lambent = Lambent::new();
        fs::create_dir_all(lambent.path("data")).unwrap();
        fs::write(
            lambent.path("data/worker.toml"),
            format!("idle_seconds = 1\n{settings}"),
        )
        .unwrap();
        Self { lambent }
    }

    /// Another machine: the same store and keyring, nothing cached.
    fn elsewhere(&self, settings: &str) -> Self {
        let mut other = Self::new(settings);
        fs::copy(
            self.lambent.path("data/keyring.json"),
            other.lambent.path("data/keyring.json"),
        )
        .unwrap();
        let store = self.lambent.store().display().to_string();
        other.lambent.options.extend(["--store".to_owned(), store]);
        other
    }

    pub(crate) fn mount(&self, name: &str, directory: &str) -> PathBuf {
        let target = self.lambent.path(directory);
        fs::create_dir_all(&target).unwrap();
        self.lambent.ok(&["mount", name, target.to_str().unwrap()]);
        target
    }

    pub(crate) fn umount(&self, target: &Path) {
        self.lambent.ok(&["umount", target.to_str().unwrap()]);
    }

    pub(crate) fn stats(&self, name: &str) -> serde_json::Value {
        self.lambent.json(&["stats", name])
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.lambent.path("data/worker/log")).unwrap_or_default()
    }

    /// The daemon's processes: the keeper, its child with `--child`, and the child's mounter.
    pub(crate) fn processes(&self) -> Vec<(u32, bool)> {
        let data = self.lambent.path("data").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let ours = arguments.get(1) == Some(&&b"daemon"[..]) && arguments.contains(&data.as_bytes());
            ours.then(|| (id, arguments.contains(&&b"--child"[..])))
        });
        processes.collect()
    }

    pub(crate) fn kill_child(&self) {
        let (id, _) = *self.processes().iter().find(|(_, is_child)| *is_child).unwrap();
        kill(id);
    }

    pub(crate) fn loops(&self) -> Vec<PathBuf> {
        let devices = self.lambent.path("data/worker/devices");
        let loops = fs::read_dir("/sys/block").unwrap().flatten().filter(|entry| {
            let backing = fs::read_to_string(entry.path().join("loop/backing_file"));
            backing.is_ok_and(|file| Path::new(file.trim_end()).parent() == Some(&devices))
        });
        loops.map(|entry| entry.path()).collect()
    }

    pub(crate) fn mounts(&self) -> usize {
        let work = self.lambent.path("").display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        mounts
            .lines()
            .filter(|line| line.contains(work.trim_end_matches('/')))
            .count()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let mut processes = self.processes();
        // The keeper first, or it would start another child.
        processes.sort_by_key(|(_, is_child)| *is_child);
        processes.iter().for_each(|(id, _)| kill(*id));
        // Nobody serves: whoever waits gets an error, and no process stays caught in the kernel.
        if let Ok(Some(connection)) = connection_at(&self.lambent.path("data/worker/devices")) {
            let _ = abort_connection(connection);
        }
        let work = self.lambent.path("").display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let targets = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for target in targets.filter(|target| target.starts_with(work.trim_end_matches('/'))) {
            let _ = Command::new("umount")
                .args(["--lazy", target])
                .stderr(Stdio::null())
                .status();
        }
    }
}

pub(crate) fn kill(id: u32) {
    let _ = Command::new("kill")
        .args(["-9", &id.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Waits for something that happens in the background. Looking again is all that can be done: no message tells.
pub(crate) fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        std::thread::yield_now();
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// 60 MiB that compress to half, in one large file and 600 small ones.
pub(crate) fn sizable(worker: &Worker, name: &str) {
    let script = "mkdir -p d/small; head -c 48M /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null > d/large; \
                  for n in $(seq 600); do head -c 20000 /dev/zero | tr '\\0' \"$((n % 10))\" > d/small/$n; echo $n >> d/small/$n; done; \
                  tar --sort=name --mtime=@0 -cf layer.tar d";
    let layout = Layout::write(&worker.lambent.path("layout"), &[Layer::of(script)]);
    worker.lambent.push(&layout.source(), name);
}

pub(crate) fn drop_page_cache() {
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
}

pub(crate) fn checksums(directory: &Path) -> Command {
    let mut command = Command::new("bash");
    let script = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum";
    command.args(["-euo", "pipefail", "-c", script]).current_dir(directory);
    command
}

#[test]
fn a_mounted_image_is_the_exported_one_and_leaves_nothing_behind() {
    let worker = Worker::new("");
    worker.lambent.push(&corpus("base"), "base");
    let target = worker.mount("base", "mnt");
    let exported = Mounted::image(&worker.lambent.export("base"));
    tree_facts::assert_equal(&target, exported.path());
    let stats = worker.stats("base");
    assert_eq!(stats["failed_reads"], 0);
    assert!(stats["origin"]["chunks"].as_u64().unwrap() > 0, "{stats}");
    let refused = File::create(target.join("new")).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    worker.umount(&target);
    eventually("the end of the daemon", || worker.processes().is_empty());
    assert_eq!((worker.mounts(), worker.loops().len()), (0, 0));
    assert!(!worker.lambent.path("data/worker/socket").exists());
    assert_eq!(worker.lambent.json(&["mounts"]), serde_json::json!([]));
}

#[test]
fn mounts_of_one_image_share_one_device() {
    let worker = Worker::new("");
    worker.lambent.push(&corpus("base"), "base");
    let targets: Vec<PathBuf> = (0..50)
        .map(|number| worker.mount("base", &format!("mnt{number}")))
        .collect();
    assert_eq!(worker.loops().len(), 1);
    assert_eq!(worker.lambent.json(&["mounts"]).as_array().unwrap().len(), 50);
    // Whoever unmounts, and how: the device goes with the last mount, and not before.
    for target in &targets[1..] {
        tool(Command::new("umount").arg(target));
    }
    assert!(targets[0].join("usr/bin").is_dir());
    let refused = worker.lambent.fails(&["umount", targets[1].to_str().unwrap()]);
    assert!(refused.contains("nothing is mounted on"), "{refused}");
    worker.lambent.ok(&["umount", "base"]);
    eventually("the end of the loop device", || worker.loops().is_empty());
}

/// The daemon may not have heard of the release yet, nor have seen the end of the loop device that it knows.
#[test]
fn an_image_is_mounted_right_after_it_was_unmounted() {
    let worker = Worker::new("");
    worker.lambent.push(&corpus("base"), "base");
    for round in 0..20 {
        let target = worker.mount("base", "mnt");
        assert!(target.join("usr/bin").is_dir());
        // By the daemon, and by whomever.
        if round % 2 == 0 {
            worker.umount(&target);
        } else {
            tool(Command::new("umount").arg(&target));
        }
    }
    let target = worker.mount("base", "mnt");
    assert_eq!(worker.lambent.json(&["mounts"]).as_array().unwrap().len(), 1);
    eventually("the end of all loop devices but one", || worker.loops().len() == 1);
    worker.umount(&target);
    eventually("the end of the daemon", || worker.processes().is_empty());
    assert_eq!((worker.mounts(), worker.loops().len()), (0, 0));
}

#[test]
fn twelve_images_have_twelve_devices() {
    let worker = Worker::new("");
    for number in 0..12 {
        let script = format!("echo {number} > number; tar -cf layer.tar number");
        let directory = worker.lambent.path(&format!("layout{number}"));
        let layout = Layout::write(&directory, &[Layer::of(&script)]);
        worker.lambent.push(&layout.source(), &format!("image{number}"));
    }
    for number in 0..12 {
        let target = worker.mount(&format!("image{number}"), &format!("mnt{number}"));
        assert_eq!(
            fs::read_to_string(target.join("number")).unwrap(),
            format!("{number}\n")
        );
    }
    assert_eq!(worker.loops().len(), 12);
}

#[test]
fn a_start_is_recorded_and_leads_the_next_one() {
    let worker = Worker::new("");
    sizable(&worker, "app");
    let start = |worker: &Worker| {
        let target = worker.mount("app", "mnt");
        // A start that grazes many chunks: a small file here and there, and two pages of the large one.
        for number in (1..600).step_by(60) {
            fs::read(target.join(format!("d/small/{number}"))).unwrap();
        }
        let large = File::open(target.join("d/large")).unwrap();
        for megabyte in [3_u64, 40] {
            large.read_exact_at(&mut [0; 4096], megabyte << 20).unwrap();
        }
        target
    };
    start(&worker);
    let first = worker.stats("app");
    assert_eq!(first["recording"], true);
    let metadata = worker.lambent.json(&["inspect", "app"])["metadata_chunks"]
        .as_u64()
        .unwrap();
    let ahead = |stats: &serde_json::Value| stats["prefetch"]["chunks"].as_u64().unwrap();
    assert!(ahead(&first) > metadata, "nothing around what it touched: {first}");
    worker.lambent.ok(&["ready", "app"]);
    assert_eq!(worker.stats("app")["recording"], false);
    let starts = worker.lambent.store().join("starts");
    eventually("a start pack", || {
        files(&starts).iter().any(|file| file.ends_with("pack"))
    });

    let traced = worker.lambent.json(&["trace", "app"]);
    assert_eq!(traced["starts"], 1);
    let touched: Vec<&str> = traced["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    for path in ["/d/small/1", "/d/small/541", "/d/large"] {
        assert!(touched.contains(&path), "{path} is not in {touched:?}");
    }
    assert!(!touched.contains(&"/d/small/2"), "{touched:?}");
    let picture = worker.lambent.ok(&["trace", "app"]);
    assert!(picture.contains("/d/small") && picture.contains('█'), "{picture}");

    drop_page_cache();
    let other = worker.elsewhere("");
    start(&other);
    let led = other.stats("app");
    assert!(led["start_pack"]["chunks"].as_u64().unwrap() > 0, "{led}");
    // Metadata that was asked for with the manifest is counted, too.
    let near = |stats: &serde_json::Value| stats["origin"]["chunks"].as_u64().unwrap();
    eventually("the metadata", || near(&other.stats("app")) > metadata);
    let fetched = |stats: &serde_json::Value| stats["fetched_bytes"].as_u64().unwrap();
    assert!(fetched(&led) * 2 < fetched(&first), "{led} after {first}");
    // Without pack and trace it is the first start again.
    drop_page_cache();
    let alone = worker.elsewhere("start_pack = false\ntrace_prefetch = false");
    start(&alone);
    assert_eq!(alone.stats("app")["start_pack"]["chunks"], 0);
    let traced_only = worker.elsewhere("start_pack = false");
    drop_page_cache();
    start(&traced_only);
    let stats = traced_only.stats("app");
    let prefetch = &stats["prefetch"];
    assert!(
        prefetch["used"].as_u64().unwrap() + prefetch["late"].as_u64().unwrap() > 0,
        "{stats}"
    );
}

#[test]
fn a_daemon_that_is_killed_again_and_again_fails_no_read() {
    let worker = Worker::new("cache_memory = \"4MiB\"\nopened = \"2MiB\"");
    worker.lambent.push(&corpus("base"), "base");
    let target = worker.mount("base", "mnt");
    let exported = Mounted::image(&worker.lambent.export("base"));
    let expected = tool(&mut checksums(exported.path()));
    for _ in 0..3 {
        drop_page_cache();
        let reading = checksums(&target).stdout(Stdio::piped()).spawn().unwrap();
        let before = worker.processes();
        worker.kill_child();
        eventually("a successor", || {
            let now = worker.processes();
            now.iter().any(|process| process.1 && !before.contains(process))
        });
        let output = reading.wait_with_output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap() == expected, "wrong checksums");
    }
    // The successor knows its mounts, and lets go of them.
    assert_eq!(worker.lambent.json(&["mounts"]).as_array().unwrap().len(), 1);
    worker.umount(&target);
    eventually("the end of the daemon", || worker.processes().is_empty());
    assert_eq!((worker.mounts(), worker.loops().len()), (0, 0));
}

#[test]
fn a_daemon_without_keeper_fails_reads_and_is_cleaned_up_by_the_next() {
    let worker = Worker::new("");
    sizable(&worker, "app");
    let target = worker.mount("app", "mnt");
    let mut processes = worker.processes();
    processes.sort_by_key(|(_, is_child)| *is_child);
    processes.iter().for_each(|(id, _)| kill(*id));
    eventually("their end", || worker.processes().is_empty());
    drop_page_cache();
    let failed = fs::read(target.join("d/large")).unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(5), "EIO and not {failed}");
    let again = worker.mount("app", "again");
    assert_eq!(fs::read(again.join("d/small/7")).unwrap().len(), 20_002);
    assert!(
        worker.log().contains("cleaned up what a dead daemon left"),
        "{}",
        worker.log()
    );
    assert_eq!(worker.loops().len(), 1);
}

#[test]
fn a_chunk_that_is_corrupt_on_disk_is_fetched_again() {
    let worker = Worker::new("");
    sizable(&worker, "app");
    let target = worker.mount("app", "mnt");
    let expected = tool(&mut checksums(&target));
    worker.umount(&target);
    eventually("the end of the daemon", || worker.processes().is_empty());
    // Every slot of the disk cache gets a wrong byte.
    let cache = worker.lambent.path("data/worker/cache");
    let slots = files(&cache)
        .into_iter()
        .max_by_key(|file| fs::metadata(file).unwrap().len())
        .unwrap();
    let file = File::options().read(true).write(true).open(&slots).unwrap();
    let slot_bytes = 512 * 1024;
    for slot in 0..file.metadata().unwrap().len().div_ceil(slot_bytes) {
        let mut byte = [0];
        if file.read_at(&mut byte, slot * slot_bytes + 100).unwrap() == 1 {
            file.write_at(&[byte[0] ^ 1], slot * slot_bytes + 100).unwrap();
        }
    }
    drop_page_cache();
    let target = worker.mount("app", "mnt");
    assert!(tool(&mut checksums(&target)) == expected, "wrong checksums");
    let stats = worker.stats("app");
    assert!(stats["origin"]["chunks"].as_u64().unwrap() > 50, "{stats}");
    assert_eq!(stats["failed_reads"], 0);
}

#[test]
fn a_chunk_that_is_corrupt_at_its_origin_is_an_error_with_a_name() {
    let worker = Worker::new("cache_disk = \"0\"");
    sizable(&worker, "app");
    for chunk in files(&worker.lambent.store().join("chunks")) {
        // Data chunks only: without metadata there is no mount.
        if fs::metadata(&chunk).unwrap().len() > 400_000 {
            let file = File::options().write(true).open(&chunk).unwrap();
            file.write_at(b"garbage", 1000).unwrap();
        }
    }
    let target = worker.mount("app", "mnt");
    let failed = fs::read(target.join("d/large")).unwrap_err();
    assert_eq!(failed.raw_os_error(), Some(5), "EIO and not {failed}");
    assert_eq!(
        fs::read(target.join("d/small/9")).unwrap().len(),
        20_002,
        "the rest is whole"
    );
    let log = worker.log();
    let line = log
        .lines()
        .find(|line| line.contains("read failed"))
        .unwrap_or_else(|| panic!("nothing in {log}"));
    assert!(
        line.contains("image=app") && line.contains("origin") && line.contains("chunk"),
        "{line}"
    );
    assert!(worker.stats("app")["failed_reads"].as_u64().unwrap() > 0);
}

#[test]
fn an_image_in_s3_under_a_key_of_kms_is_mounted_and_led() {
    let moto = Moto::start();
    moto.create_bucket("images");
    let mut worker = Worker::new("");
    let (url, key) = (moto.url(), moto.create_key());
    let store = format!("s3://images/some/prefix?endpoint={url}&region=us-east-1&allow_http=true");
    let options = [
        "--store",
        &store,
        "--kms-key",
        &key,
        "--kms-endpoint",
        &url,
        "--kms-region",
        "us-east-1",
    ];
    worker.lambent.options.extend(options.map(str::to_owned));
    with_credentials(&mut worker.lambent);
    sizable(&worker, "app");
    for start in ["first", "second"] {
        let target = worker.mount("app", "mnt");
        assert_eq!(fs::read(target.join("d/small/7")).unwrap().len(), 20_002);
        let stats = worker.stats("app");
        assert_eq!(
            stats["start_pack"]["chunks"].as_u64().unwrap() > 0,
            start == "second",
            "{start}: {stats}"
        );
        worker.lambent.ok(&["ready", "app"]);
        worker.umount(&target);
        eventually("the end of the daemon", || worker.processes().is_empty());
        drop_page_cache();
    }
}

#[test]
fn what_cannot_be_mounted_is_said() {
    let worker = Worker::new("");
    worker.lambent.push(&corpus("base"), "base");
    let fails = |arguments: &[&str]| worker.lambent.fails(arguments);
    let there = worker.lambent.path("there");
    fs::create_dir(&there).unwrap();
    let there = there.to_str().unwrap();
    let file = worker.lambent.path("file");
    fs::write(&file, "").unwrap();
    for (arguments, expected) in [
        (&["mount", "nobody", there][..], "image `nobody` does not exist"),
        (&["mount", "base", "/no/such/directory"], "create it first"),
        (&["mount", "base", file.to_str().unwrap()], "not a directory"),
        (&["umount", "base"], "nothing is mounted"),
        (&["stats", there], "nothing is mounted"),
        (&["ready", "base"], "nothing is mounted"),
        (&["trace", "base"], "no start of base was recorded"),
    ] {
        let message = fails(arguments);
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
    eventually("the end of the daemon", || worker.processes().is_empty());
    fs::write(worker.lambent.path("data/worker.toml"), "idle_secconds = 1").unwrap();
    let message = fails(&["mount", "base", there]);
    assert!(
        message.contains("worker.toml") && message.contains("idle_secconds"),
        "{message}"
    );
    eventually("the end of the daemon", || worker.processes().is_empty());
}

#[test]
fn a_lost_manifest_or_a_wrong_store_is_refused_by_name() {
    let worker = Worker::new("");
    worker.lambent.push(&corpus("base"), "base");
    let target = worker.mount("base", "mnt");
    let mut lambent = Lambent::new();
    lambent.options = worker.lambent.options.clone();
    let store = worker.lambent.path("other-store");
    shell(worker.lambent.path("").as_path(), "cp -r data/store other-store");
    lambent
        .options
        .extend(["--store".to_owned(), store.display().to_string()]);
    let message = lambent.fails(&["mount", "base", target.to_str().unwrap()]);
    assert!(
        message.contains("serves the store") && message.contains("other-store"),
        "{message}"
    );
    worker.umount(&target);
    eventually("the end of the daemon", || worker.processes().is_empty());
    fs::remove_dir_all(worker.lambent.store().join("manifests")).unwrap();
    let message = worker.lambent.fails(&["mount", "base", target.to_str().unwrap()]);
    assert!(
        message.contains("manifest") && message.contains("does not exist"),
        "{message}"
    );
}

#[test]
fn clients_beyond_the_limit_wait_for_a_place() {
    let worker = Worker::new("");
    worker.lambent.push(&corpus("base"), "base");
    let target = worker.mount("base", "mnt");
    let socket = worker.lambent.path("data/worker/socket");
    // 64 are served at once. These say nothing and keep their places.
    let idle: Vec<UnixStream> = (0..80).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let mut late = worker.lambent.command(&["mounts"]);
    let late = late.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(idle);
    let output = late.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains(target.to_str().unwrap()));
}
