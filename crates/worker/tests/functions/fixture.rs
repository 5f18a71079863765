//! A worker with the real sandbox, on a root that is made of directories and links, with the host's `/usr` laid over
//! it. The test's own program is spawner, runtime and extension, by its arguments.

use api::{
    Body, FunctionIdentity, ImageAddress, Initialization, Invocation, InvokeError, Lease, LogBatch, LogFormat, Logging,
    Network, Overlay, Program, Reply, ResponseMode, TierBytes, Worker,
};
use sandbox::SpawnerSettings;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use worker::{FunctionSettings, Functions, FunctionsParts, ImageMounts, MountError, MountedTree};

/// The argument that makes the program a spawner of sandboxes.
pub(crate) const SPAWNER: &str = "sandboxes";

/// The argument that makes it a runtime.
pub(crate) const RUNTIME: &str = "runtime";

/// For whatever is waited for; who reaches it has failed.
pub(crate) const WAIT: Duration = Duration::from_secs(30);

/// A worker and what it stands on.
pub(crate) struct Fixture {
    pub(crate) functions: Arc<Functions>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) cgroup: String,
    pub(crate) lines: Arc<Mutex<Vec<LogBatch>>>,
    mounts: Arc<Directories>,
}

/// Directories that stand for images.
#[derive(Debug)]
struct Directories {
    root: PathBuf,
    mounted: AtomicUsize,
}

impl ImageMounts for Directories {
    fn mount(&self, image: &ImageAddress, _: &Path) -> Result<MountedTree, MountError> {
        self.mounted.fetch_add(1, Ordering::Relaxed);
        let tree = match image.name.as_str() {
            "host" => PathBuf::from("/"),
            name => self.root.join(name),
        };
        Ok(MountedTree { tree, is_shared: false })
    }

    fn unmount(&self, _: &Path) -> Result<(), MountError> {
        self.mounted.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_bytes(&self, _: &Path) -> Result<Vec<TierBytes>, MountError> {
        Ok(vec![TierBytes {
            tier: "memory".to_owned(),
            chunks: 1,
            bytes: 2,
        }])
    }

    fn ready(&self, _: &Path) -> Result<(), MountError> {
        Ok(())
    }

    fn clear(&self, _: &Path) -> Result<(), MountError> {
        Ok(())
    }
}

impl Fixture {
    pub(crate) async fn new(settings: FunctionSettings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cgroup = unique();
        Self::in_directory(settings, directory, cgroup).await
    }

    pub(crate) async fn in_directory(settings: FunctionSettings, directory: tempfile::TempDir, cgroup: String) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "sandboxes are made by root: run this as root"
        );
        make_root(&directory.path().join("root"), false);
        make_root(&directory.path().join("extended"), true);
        let (logs, receiver) = mpsc::channel(1000);
        let lines = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(collect(receiver, Arc::clone(&lines)));
        let mounts = Arc::new(Directories {
            root: directory.path().to_owned(),
            mounted: AtomicUsize::new(0),
        });
        let parts = FunctionsParts {
            mounts: Arc::clone(&mounts) as _,
            mounts_directory: directory.path().join("mounts"),
            spawner: SpawnerSettings {
                program: std::env::current_exe().expect("a program knows its path"),
                arguments: vec![SPAWNER.to_owned()],
                cgroup: cgroup.clone(),
            },
            settings,
            logs,
        };
        Self {
            functions: Arc::new(Functions::start(parts).await.expect("the worker starts")),
            directory,
            cgroup,
            lines,
            mounts,
        }
    }

    pub(crate) async fn invoke(&self, lease: &Lease, event: &Value) -> Result<Reply, InvokeError> {
        self.functions.invoke(Arc::new(lease.clone()), invocation(event)).await
    }

    /// The answer's JSON, and whether it is an error.
    pub(crate) async fn ask(&self, lease: &Lease, event: &Value) -> (Value, bool) {
        let reply = self.invoke(lease, event).await.expect("an answer");
        let is_error = reply.error.is_some();
        let Body::Whole(bytes) = reply.body else {
            panic!("a stream");
        };
        (serde_json::from_slice(&bytes).expect("JSON"), is_error)
    }

    /// All log lines until now.
    pub(crate) fn log(&self) -> Vec<String> {
        let batches = self.lines.lock().expect("nobody panics with it");
        batches
            .iter()
            .flat_map(|batch| batch.events.iter().map(|event| event.message.clone()))
            .collect()
    }

    pub(crate) async fn wait_for_line(&self, what: &str) -> String {
        let found = || self.log().into_iter().find(|line| line.contains(what));
        wait_for(what, || found().is_some()).await;
        found().expect("it was there")
    }

    /// Ends the worker, and sees that nothing is left.
    pub(crate) async fn end(self) {
        self.functions.shutdown(Duration::from_secs(5)).await;
        assert_eq!(self.mounts.mounted.load(Ordering::Relaxed), 0, "images are mounted");
        let report = self.functions.report();
        assert_eq!((report.idle, report.busy, report.starting), (0, 0, 0));
        let mut snapshots = fs::read_dir(self.directory.path().join("snapshots")).expect("the worker made it");
        assert!(snapshots.next().is_none(), "a snapshot is left");
        let (cgroup, directory) = (self.cgroup.clone(), self.directory.path().to_owned());
        drop(self);
        wait_until_nothing_is_left(&cgroup, &directory).await;
    }
}

/// A bare root of links into `/usr`, with this program as `/handler`.
fn make_root(root: &Path, has_extension: bool) {
    for name in ["dev", "etc", "opt", "proc", "tmp", "usr", "var"] {
        fs::create_dir_all(root.join(name)).expect("a directory");
    }
    for name in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{name}"), root.join(name)).expect("a link");
    }
    let program = std::env::current_exe().expect("a program knows its path");
    fs::copy(&program, root.join("handler")).expect("a copy");
    if has_extension {
        fs::create_dir(root.join("opt/extensions")).expect("a directory");
        fs::copy(&program, root.join("opt/extensions/listener")).expect("a copy");
    }
}

pub(crate) fn lease(revision: &str) -> Lease {
    let account: chunk::Account = "123456789012".parse().expect("twelve digits");
    let image = |name: &str, digits: &str| ImageAddress {
        name: name.to_owned(),
        account: account.clone(),
        generation: 1,
        manifest: digits.repeat(32).parse().expect("64 digits"),
    };
    Lease {
        revision: revision.to_owned(),
        function: FunctionIdentity {
            account: account.clone(),
            region: "us-east-1".to_owned(),
            name: "tested".to_owned(),
            version: "$LATEST".to_owned(),
            arn: "arn:aws:lambda:us-east-1:123456789012:function:tested".to_owned(),
        },
        root: image("root", "aa"),
        file_systems: Vec::new(),
        overlays: vec![Overlay {
            image: image("host", "bb"),
            source: "usr".to_owned(),
            target: "/usr".to_owned(),
        }],
        program: Program {
            arguments: vec!["/handler".to_owned(), RUNTIME.to_owned()],
            working_directory: "/".to_owned(),
            user: String::new(),
            handler: "app.handler".to_owned(),
            environment: Vec::new(),
            runtime: None,
        },
        memory_mb: 1769,
        tmp_mb: 64,
        timeout: Duration::from_secs(20),
        invocations_max: 1,
        logging: Logging {
            group: "/aws/lambda/tested".to_owned(),
            format: LogFormat::Text,
            application_level: None,
            system_level: None,
        },
        network: Network::Off,
        initialization: Initialization::OnDemand,
        snapshot: None,
    }
}

/// As [`lease`], with an extension in the root.
pub(crate) fn lease_with_extension(revision: &str) -> Lease {
    let mut lease = lease(revision);
    lease.root.name = "extended".to_owned();
    lease.root.manifest = "cc".repeat(32).parse().expect("64 digits");
    lease
}

pub(crate) fn invocation(event: &Value) -> Invocation {
    Invocation {
        request_id: uuid::Uuid::new_v4().to_string(),
        arn: "arn:aws:lambda:us-east-1:123456789012:function:tested".to_owned(),
        payload: event.to_string().into(),
        client_context: None,
        trace_id: "Root=1-5759e988-bd862e3fe1be46a994272793".to_owned(),
        mode: ResponseMode::Buffered,
        tail: false,
    }
}

/// Looks again and again.
pub(crate) async fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// No control group of this name, and no process of a program in this directory.
pub(crate) async fn wait_until_nothing_is_left(cgroup: &str, directory: &Path) {
    wait_for("control groups are gone", || {
        !has_directory(Path::new("/sys/fs/cgroup"), cgroup)
    })
    .await;
    wait_for("processes are gone", || !has_process(directory)).await;
}

fn has_directory(parent: &Path, name: &str) -> bool {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .any(|entry| entry.file_name().to_string_lossy().contains(name) || has_directory(&entry.path(), name))
}

fn has_process(directory: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let programs = processes.filter_map(|process| fs::read_link(process.path().join("exe")).ok());
    let mut programs = programs.filter(|program| program.starts_with(directory));
    programs.next().is_some()
}

async fn collect(mut receiver: mpsc::Receiver<LogBatch>, lines: Arc<Mutex<Vec<LogBatch>>>) {
    while let Some(batch) = receiver.recv().await {
        lines.lock().expect("nobody panics with it").push(batch);
    }
}

pub(crate) fn unique() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!(
        "lambent-functions-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}
