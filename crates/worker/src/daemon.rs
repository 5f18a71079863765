//! The process that serves devices, and how it begins, goes on and ends.
//!
//! ```text
//! keeper ── spawns ──> daemon:  nothing kept ─> lock, clean what a dead one left, mount the session, listen
//!    │                   │      kept         ─> restore devices, resume the session, listen on the same socket
//!    └─ holds what is    │      ready ─> serve clients and the kernel ─> nothing mounted for a while ─> end
//!       kept             └─ spawns ──> mounter: mounts and unmounts, so that the daemon never waits for itself
//! ```
//! Threads wait, one for each source of events, and the main loop alone decides. When the daemon is killed its keeper
//! spawns it again; when it ends by itself with nothing mounted, the keeper ends too.

use crate::error::WorkerError;
use crate::found::FindImage;
use crate::handover::{DeviceState, FUSE, LOCK, SOCKET};
use crate::images::{Images, ImagesParts, StartOver, renew_keys};
use crate::left_over::{forget_processes, lock_after_dead, record_processes};
use crate::protocol::{Answer, PROTOCOL_VERSION, Question, Request, SOCKET_NAME, receive, send};
use crate::settings::Settings;
use crate::starts::{FinishedStart, learn};
use block::keeper::Link;
use block::kernel::{CleanReport, DeviceNumber, DeviceTable, Session, Start, clean_left_over, unmount_session};
use block::mounter::Mounter;
use block::{OpenedChunks, SharedParts};
use cache::Cache;
use chunk::Manifest;
use keys::KeyProvider;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use store::Store;
use tokio::runtime::Handle;

/// Clients that are served at once; further ones wait to be accepted.
const CLIENTS_MAX: usize = 64;

/// Starts that wait to be learnt from.
const STARTS_MAX: usize = 64;

/// Events between the threads that wait and the loop that decides.
const EVENTS_MAX: usize = 256;

/// How often the loop looks for records that have lasted too long, and for idleness.
const TICK: Duration = Duration::from_secs(1);

/// What the daemon is made of.
#[derive(Debug)]
pub struct DaemonParts {
    /// Where images are stored.
    pub store: Store,
    /// The store's place as text: clients that mean another one are refused.
    pub store_name: String,
    /// Reads the record of a name.
    pub find: FindImage,
    /// Who unwraps data keys.
    pub keys: KeyProvider,
    /// Who mounts and unmounts: another process.
    pub mounter: Mounter,
    /// Where fetches do their waiting.
    pub runtime: Handle,
}

/// A worker's daemon.
#[derive(Debug)]
pub struct Daemon;

/// How a daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing is mounted any more; all is cleaned up.
    Idle,
    /// Somebody asked it to stop while images are mounted: a successor must take over.
    Handover,
}

enum Event {
    Client(UnixStream),
    ClientLeft,
    Released(DeviceNumber),
    StartLearnt,
    KeeperGone,
    Terminate,
}

/// What a daemon begins with, newly made or left by a predecessor.
struct Beginning {
    fuse: OwnedFd,
    listener: UnixListener,
    /// Held, and left to the successor, as long as anybody serves the directory.
    lock: OwnedFd,
    devices: Vec<DeviceState>,
    start: Start,
}

impl Daemon {
    /// Serves until nothing is mounted for a while, or until it is told to stop; `link` leads to the keeper, `kept` is
    /// what a predecessor left. `ready` is called once clients can connect.
    pub fn run(
        parts: DaemonParts,
        settings: Settings,
        (link, kept): (Link, Vec<(String, OwnedFd)>),
        ready: impl FnOnce(),
    ) -> Result<Ending, WorkerError> {
        settings.check()?;
        let directory = settings.directory.clone();
        let devices_directory = devices_directory(&directory);
        let idle_max = settings.idle;
        let readers = settings.readers;
        let runtime = parts.runtime.clone();
        let beginning = if kept.is_empty() {
            begin(&directory, &devices_directory)?
        } else {
            take_over(kept, &directory)?
        };
        let (events, inbox) = sync_channel(EVENTS_MAX);
        let keeper = Arc::new(link);
        keep(&keeper, &beginning, &directory)?;
        if let Err(error) = record_processes(&directory, keeper.keeper_id()) {
            tracing::warn!("what this daemon and its keeper would leave cannot be found by others: {error}");
        }
        // Its process begins while connections are made.
        if let Err(error) = parts.mounter.start() {
            tracing::warn!("{error}");
        }
        let table = DeviceTable::default();
        let guard = runtime.enter();
        let cache = Cache::open(settings.cache.clone(), Arc::new(parts.store.clone()))?;
        let shared = SharedParts {
            cache: cache.clone(),
            opened: Arc::new(OpenedChunks::new(settings.opened_bytes)),
            runtime: parts.runtime.clone(),
        };
        drop(guard);
        let (starts, starts_inbox) = sync_channel(STARTS_MAX);
        let (enter, places) = sync_channel(CLIENTS_MAX);
        let images = Arc::new(Images::new(ImagesParts {
            store: parts.store,
            keys: parts.keys,
            find: parts.find,
            shared,
            table: table.clone(),
            mounter: Arc::new(parts.mounter),
            keeper: Arc::clone(&keeper),
            starts,
            settings,
            devices: devices_directory.clone(),
        }));
        // Whoever had the daemon started is about to mount, and reads the image's record meanwhile.
        images.open_connections();
        renew_keys(&images).map_err(|source| file_error("start a thread for the keys of", &directory, source))?;
        for state in beginning.devices {
            let name = state.address.name.clone();
            if let Err(error) = images.restore(state) {
                tracing::error!(image = name, "cannot go on serving a device: {error}");
            }
        }
        let session = Session::serve(beginning.fuse, table, readers, beginning.start)?;
        images.reconcile();
        let pending = Arc::new(());
        spawn_waiters(
            &events,
            &images,
            &session,
            &beginning.listener,
            (starts_inbox, enter),
            &pending,
            &parts.runtime,
        )?;
        let mut main = MainLoop {
            images: Arc::clone(&images),
            store_name: parts.store_name,
            directory: directory.clone(),
            events,
            places,
            clients: 0,
            pending,
            idle_since: Instant::now(),
            idle_max,
        };
        if let Err(error) = keeper.ready() {
            tracing::warn!("the keeper cannot be told that all is well: {error}");
        }
        watch_keeper(Arc::clone(&keeper), &main.events)?;
        ready();
        let ending = main.run(&inbox);
        session.stop();
        if ending == Ending::Idle {
            // The socket first: who connects now finds nobody, and tries to start a daemon until the lock is free.
            let _ = std::fs::remove_file(directory.join(SOCKET_NAME));
            forget_processes(&directory);
            unmount_session(&devices_directory)?;
            // What is still on its way to the cache's disk makes the next start faster; nothing waits for it here.
            runtime.block_on(cache.close());
            forget(&keeper);
        }
        drop(beginning.lock);
        Ok(ending)
    }
}

/// The loop that decides.
struct MainLoop {
    images: Arc<Images>,
    store_name: String,
    directory: PathBuf,
    events: SyncSender<Event>,
    /// Holds a place for each client; who accepts the next one puts another into it, and waits when it is full.
    places: Receiver<()>,
    clients: usize,
    /// Cloned into each start that is being learnt from.
    pending: Arc<()>,
    idle_since: Instant,
    idle_max: Duration,
}

impl MainLoop {
    fn run(&mut self, inbox: &Receiver<Event>) -> Ending {
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(Event::Terminate | Event::KeeperGone) if self.images.is_empty() => return Ending::Idle,
                Ok(Event::Terminate) => return Ending::Handover,
                Ok(event) => self.apply(event),
                Err(RecvTimeoutError::Timeout) => self.images.end_old_starts(),
                Err(RecvTimeoutError::Disconnected) => return Ending::Handover,
            }
            if self.is_busy() {
                self.idle_since = Instant::now();
            } else if self.idle_since.elapsed() >= self.idle_max {
                return Ending::Idle;
            }
        }
    }

    fn is_busy(&self) -> bool {
        // Two holders are this loop and the thread that learns.
        self.clients > 0 || Arc::strong_count(&self.pending) > 2 || !self.images.is_empty()
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Client(stream) => self.serve(stream),
            Event::ClientLeft => {
                self.clients -= 1;
                let _ = self.places.try_recv();
            }
            Event::Released(number) => self.images.released(number),
            Event::StartLearnt => {}
            Event::KeeperGone => {
                tracing::error!("the keeper is gone: if this daemon dies too, reads of what is mounted will fail");
            }
            Event::Terminate => {}
        }
    }

    fn serve(&mut self, stream: UnixStream) {
        let client = ClientThread {
            images: Arc::clone(&self.images),
            store_name: self.store_name.clone(),
            directory: self.directory.clone(),
        };
        let events = self.events.clone();
        let spawned = std::thread::Builder::new().name("client".to_owned()).spawn(move || {
            if let Err(error) = client.run(&stream) {
                tracing::info!("a client left in the middle of a question: {error}");
            }
            let _ = events.send(Event::ClientLeft);
        });
        match spawned {
            Ok(_) => self.clients += 1,
            Err(error) => {
                let _ = self.places.try_recv();
                tracing::warn!("no thread for a client: {error}");
            }
        }
    }
}

struct ClientThread {
    images: Arc<Images>,
    store_name: String,
    directory: PathBuf,
}

impl ClientThread {
    fn run(&self, stream: &UnixStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(question) = receive::<Question>(&mut reader)? {
            let answer = self.answer(question).unwrap_or_else(|error| Answer::Failed {
                message: error.to_string(),
            });
            send(stream, &answer)?;
        }
        Ok(())
    }

    fn answer(&self, question: Question) -> Result<Answer, WorkerError> {
        if question.protocol != PROTOCOL_VERSION {
            return Err(WorkerError::OtherProtocol {
                speaks: PROTOCOL_VERSION,
                asked: question.protocol,
            });
        }
        if question.store != self.store_name {
            return Err(WorkerError::OtherStore {
                directory: self.directory.clone(),
                serves: self.store_name.clone(),
                asked: question.store,
            });
        }
        Ok(match question.request {
            Request::Mount(request) => Answer::Mounted(self.images.mount(&request)?),
            Request::Unmount(selector) => Answer::Unmounted(self.images.unmount(&selector)?),
            Request::Mounts => Answer::Mounts(self.images.mounts()?),
            Request::Stats(selector) => Answer::Stats(Box::new(self.images.stats(&selector)?)),
            Request::Cache => Answer::Cache(Box::new(self.images.cache_stats())),
            Request::Ready(selector) => Answer::Ready {
                touched_bytes: self.images.ready(&selector)?,
            },
        })
    }
}

/// Where the private mount with the devices' files is.
#[must_use]
pub fn devices_directory(directory: &Path) -> PathBuf {
    directory.join("devices")
}

/// Nobody served the directory before, or whoever did is gone.
fn begin(directory: &Path, devices_directory: &Path) -> Result<Beginning, WorkerError> {
    create_private(directory)?;
    let lock = lock_after_dead(directory)?;
    // Before the directory is made or found: a dead session's cannot be looked at.
    let cleaned = clean_left_over(devices_directory)?;
    if cleaned != CleanReport::default() {
        tracing::warn!(?cleaned, "cleaned up what a dead daemon left");
    }
    create_private(devices_directory)?;
    let path = directory.join(SOCKET_NAME);
    let failed = |source| file_error("listen on", &path, source);
    let _ = std::fs::remove_file(&path);
    let listener = bind(directory).map_err(failed)?;
    Ok(Beginning {
        fuse: Session::mount(devices_directory)?,
        listener,
        lock,
        devices: Vec::new(),
        start: Start::Fresh,
    })
}

fn take_over(kept: Vec<(String, OwnedFd)>, directory: &Path) -> Result<Beginning, WorkerError> {
    let (mut fuse, mut lock, mut socket, mut devices) = (None, None, None, Vec::new());
    for (name, descriptor) in kept {
        match name.as_str() {
            FUSE => fuse = Some(descriptor),
            LOCK => lock = Some(descriptor),
            SOCKET => socket = Some(descriptor),
            _ => match DeviceState::restore(descriptor) {
                Ok(state) => devices.push(state),
                Err(error) => tracing::error!(name, "cannot go on serving a device: {error}"),
            },
        }
    }
    let missing = || {
        let source = io::Error::new(
            io::ErrorKind::NotFound,
            "the keeper does not have all that a daemon needs",
        );
        file_error("take over", directory, source)
    };
    Ok(Beginning {
        fuse: fuse.ok_or_else(missing)?,
        listener: socket.ok_or_else(missing)?.into(),
        lock: lock.ok_or_else(missing)?,
        devices,
        start: Start::Resumed,
    })
}

fn keep(link: &Link, beginning: &Beginning, directory: &Path) -> Result<(), WorkerError> {
    if beginning.start == Start::Fresh {
        let things = [
            (FUSE, beginning.fuse.as_fd()),
            (LOCK, beginning.lock.as_fd()),
            (SOCKET, beginning.listener.as_fd()),
        ];
        for (name, descriptor) in things {
            let stored = link.store(name, descriptor);
            stored.map_err(|error| file_error("keep the session of", directory, io::Error::other(error)))?;
        }
    }
    Ok(())
}

/// Leaves nothing to a successor. A keeper on a busy machine may take a child that ends slowly for one that hangs, and
/// start another: with the session, the lock and the socket that one would end what a daemon begun since then serves.
fn forget(link: &Link) {
    for name in [FUSE, SOCKET, LOCK] {
        if let Err(error) = link.remove(name) {
            tracing::warn!(name, "the keeper does not forget what has ended: {error}");
        }
    }
}

/// One thread for each source of events. They end with the process: none holds anything that must be put back.
fn spawn_waiters(
    events: &SyncSender<Event>,
    images: &Arc<Images>,
    session: &Session,
    listener: &UnixListener,
    (starts, enter): (Receiver<StartOver>, SyncSender<()>),
    pending: &Arc<()>,
    runtime: &Handle,
) -> Result<(), WorkerError> {
    let thread = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
        spawned.map_err(|source| file_error("start a thread for", Path::new(name), source))
    };
    let released = session.released().expect("the session is new");
    let sender = events.clone();
    thread(
        "released",
        Box::new(move || {
            while let Ok(number) = released.recv() {
                let _ = sender.send(Event::Released(number));
            }
        }),
    )?;
    let sender = events.clone();
    let path = Path::new(SOCKET_NAME);
    let listener = listener
        .try_clone()
        .map_err(|source| file_error("listen on", path, source))?;
    thread(
        "accept",
        Box::new(move || {
            for stream in listener.incoming().flatten() {
                // The next one waits in the kernel until this one has a place.
                let _ = enter.send(());
                let _ = sender.send(Event::Client(stream));
            }
        }),
    )?;
    let (sender, images, runtime_of_starts) = (events.clone(), Arc::clone(images), runtime.clone());
    let pending = Arc::clone(pending);
    thread(
        "starts",
        Box::new(move || {
            while let Ok(over) = starts.recv() {
                let _busy = Arc::clone(&pending);
                learn_from(&images, &runtime_of_starts, &over);
                let _ = sender.send(Event::StartLearnt);
            }
        }),
    )?;
    let sender = events.clone();
    runtime.spawn(async move {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            while terminate.recv().await.is_some() {
                let _ = sender.try_send(Event::Terminate);
            }
        }
    });
    Ok(())
}

fn watch_keeper(keeper: Arc<Link>, events: &SyncSender<Event>) -> Result<(), WorkerError> {
    let events = events.clone();
    let watch = move || {
        if keeper.keeper_gone().is_ok() {
            let _ = events.send(Event::KeeperGone);
        }
    };
    let spawned = std::thread::Builder::new().name("keeper".to_owned()).spawn(watch);
    spawned
        .map(drop)
        .map_err(|source| file_error("start a thread for", Path::new("keeper"), source))
}

fn learn_from(images: &Images, runtime: &Handle, over: &StartOver) {
    let address = &over.state.address;
    let outcome = images.background_device(&over.state).map_err(|error| error.to_string());
    let outcome = outcome.and_then(|device| {
        let manifest = Manifest::decode(&over.state.manifest).map_err(|error| error.to_string())?;
        let start = FinishedStart {
            address,
            key: &over.state.key,
            wrapped_key: manifest.wrapped_key(),
            touches: &over.touches,
            device: device.as_ref(),
        };
        learn(images.store(), runtime, &start).map_err(|error| error.to_string())
    });
    match outcome {
        Ok(learnt) => tracing::info!(image = %address.name, ?learnt, "learnt from a start"),
        Err(error) => tracing::warn!(image = %address.name, "nothing learnt from a start: {error}"),
    }
}

fn create_private(directory: &Path) -> Result<(), WorkerError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    created.map_err(|source| file_error("create the directory", directory, source))
}

pub(crate) fn lock_directory(directory: &Path) -> Result<OwnedFd, WorkerError> {
    let path = directory.join("lock");
    let failed = |source: io::Error| file_error("lock", &path, source);
    let options = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = OwnedFd::from(options.map_err(failed)?);
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(WorkerError::Busy {
            directory: directory.to_owned(),
        }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Binds through the directory's descriptor: the path of a socket may have 107 bytes, that of a data directory more.
fn bind(directory: &Path) -> io::Result<UnixListener> {
    let (short, _held) = socket_path(directory)?;
    UnixListener::bind(short)
}

/// A short path of the directory's socket, good while the descriptor lives.
pub(crate) fn socket_path(directory: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    use std::os::fd::AsRawFd;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let held = openat(rustix::fs::CWD, directory, flags, Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET_NAME}", held.as_raw_fd());
    Ok((path.into(), held))
}

pub(crate) fn file_error(action: &'static str, path: &Path, source: io::Error) -> WorkerError {
    WorkerError::File {
        action,
        path: path.to_owned(),
        source,
    }
}
