//! The FUSE session: mounting, the handshake, and the workers that answer.
//!
//! A worker reads a request, asks the device, and writes the answer's pieces as they are, without copying them
//! together. The descriptor does not block: an idle worker waits in an epoll of its own for a request or for the
//! order to stop, so that a session can stop without unmounting. `EPOLLEXCLUSIVE` makes one request wake one worker
//! (a plain poll wakes all of them). A busy worker reads again before it waits, so under load there are two system
//! calls a request.

use super::answer::{Answer, Buffers, answer};
use super::device::{DeviceNumber, DeviceTable};
use super::error::{KernelError, MountBusy, ProtocolUnknown, call_failed};
use super::mounts::{MountEntry, mounts};
use super::wire::{self, Operation, PROTOCOL_MINOR_MIN, REQUEST_BYTES_MAX, parse_request};
use bytes::Bytes;
use rustix::event::epoll;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CString;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Workers of a session: the reads that can be on their way at once. 32: measured in `data-path.md`; a read that
/// misses waits for the network, so workers cost memory (a stack, 8 KiB of buffer) and hardly any time.
pub const WORKERS_DEFAULT: usize = 32;

/// The most slices that one writev takes (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// The first field of our mounts' lines in `/proc/self/mountinfo`, by which left-over ones are recognised.
const MOUNT_SOURCE: &str = "lambent-block";

/// The FUSE device.
const FUSE_DEVICE: &str = "/dev/fuse";

/// Tries to unmount a session, and the pause between two. A loop device closes its file a moment after the last ext4
/// unmount returns, when that was done by a dying mount namespace; 2 s in all is far beyond that moment.
const UNMOUNT_TRIES: u32 = 200;
const UNMOUNT_PAUSE: Duration = Duration::from_millis(10);

/// Whether a session has a past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nobody has served this descriptor.
    Fresh,
    /// Another process has, and may have left requests unanswered. The table holds that process's devices already.
    Resumed,
}

/// A served FUSE session. Dropping it stops it.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    released: Mutex<Option<Receiver<DeviceNumber>>>,
}

/// What the workers share.
#[derive(Debug)]
struct Shared {
    descriptor: OwnedFd,
    table: DeviceTable,
    stopping: AtomicBool,
    /// Readable from the order to stop on, so that it wakes every worker.
    stop_event: OwnedFd,
}

impl Session {
    /// Mounts a new session at `directory`, which exists and is empty, and shakes hands with the kernel.
    ///
    /// The descriptor is the session: it ends when the last copy is closed. Only root can enter the directory.
    pub fn mount(directory: &Path) -> Result<OwnedFd, KernelError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fuse = Path::new(FUSE_DEVICE);
        let descriptor = rustix::fs::open(fuse, flags, Mode::empty()).map_err(call_failed("open", fuse))?;
        let options = format!("fd={},rootmode=40700,user_id=0,group_id=0", descriptor.as_raw_fd());
        let options = CString::new(options).expect("numbers have no NUL");
        let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        rustix::mount::mount(MOUNT_SOURCE, directory, "fuse", flags, options.as_c_str())
            .map_err(call_failed("mount a FUSE session at", directory))?;
        shake_hands(&descriptor).inspect_err(|_| {
            // The session is useless; the error that says why matters more than one from here.
            let _ = rustix::mount::unmount(directory, UnmountFlags::DETACH);
        })?;
        Ok(descriptor)
    }

    /// Serves `table` with this many workers until [`Session::stop`], or until the session is unmounted or aborted.
    pub fn serve(
        descriptor: OwnedFd,
        table: DeviceTable,
        workers: usize,
        start: Start,
    ) -> Result<Session, KernelError> {
        if start == Start::Resumed {
            ask_to_resend(&descriptor);
        }
        let fuse = Path::new(FUSE_DEVICE);
        rustix::io::ioctl_fionbio(&descriptor, true).map_err(call_failed("stop waiting in reads of", fuse))?;
        let stop_event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(call_failed("make an event for", fuse))?;
        let shared = Arc::new(Shared {
            descriptor,
            table,
            stopping: AtomicBool::new(false),
            stop_event,
        });
        let (sender, receiver) = channel();
        let mut session = Session {
            shared,
            workers: Vec::with_capacity(workers),
            released: Mutex::new(Some(receiver)),
        };
        for index in 0..workers {
            // An early return drops the session, which stops the workers that exist.
            session.workers.push(start_worker(index, &session.shared, &sender)?);
        }
        Ok(session)
    }

    /// Where the number of a device arrives each time that an open file of it was released; whether it has others,
    /// [`super::loops_over`] tells. The other end closes when the session has ended. The first call gets it.
    ///
    /// The channel has no bound of its own: a message needs an open file before it, and each costs the kernel more
    /// than it costs us.
    pub fn released(&self) -> Option<Receiver<DeviceNumber>> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Stops reading requests, waits for those that were read to be answered, and lets go of the descriptor. What
    /// arrives from now on waits for a successor that has a copy of it.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        if let Err(source) = rustix::io::write(&self.shared.stop_event, &1u64.to_ne_bytes()) {
            tracing::error!(%source, "could not wake the workers of a session");
        }
        for worker in self.workers.drain(..) {
            if worker.join().is_err() {
                tracing::error!("a worker of a session panicked");
            }
        }
    }
}

/// The sessions mounted at `directory`, the first one first.
pub(super) fn sessions_at(directory: &Path) -> Result<Vec<MountEntry>, KernelError> {
    let ours = |mount: &MountEntry| {
        mount.target == directory && mount.kind == "fuse" && mount.source == Path::new(MOUNT_SOURCE)
    };
    Ok(mounts()?.into_iter().filter(ours).collect())
}

/// Unmounts a session. Waits up to 2 s for a loop device that is about to let go of its file.
pub fn unmount_session(directory: &Path) -> Result<(), KernelError> {
    for _ in 0..UNMOUNT_TRIES {
        match rustix::mount::unmount(directory, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) => std::thread::sleep(UNMOUNT_PAUSE),
            other => return other.map_err(call_failed("unmount the FUSE session at", directory)),
        }
    }
    Err(MountBusy {
        target: directory.to_owned(),
    }
    .into())
}

/// Answers INIT, the first request of a session.
fn shake_hands(descriptor: &OwnedFd) -> Result<(), KernelError> {
    let fuse = Path::new(FUSE_DEVICE);
    let mut buffer = vec![0; REQUEST_BYTES_MAX];
    poll(&mut [PollFd::new(descriptor, PollFlags::IN)], None).map_err(call_failed("wait for", fuse))?;
    let bytes = rustix::io::read(descriptor, &mut buffer).map_err(call_failed("read", fuse))?;
    let unknown = |what: String| ProtocolUnknown {
        what,
        minor_min: PROTOCOL_MINOR_MIN,
    };
    let request = parse_request(&buffer[..bytes]).map_err(|error| unknown(error.to_string()))?;
    let Operation::Init {
        major: 7,
        minor: PROTOCOL_MINOR_MIN..,
        read_ahead_bytes,
        flags,
    } = request.operation
    else {
        return Err(unknown(format!("{:?}", request.operation)).into());
    };
    let mut body = Vec::new();
    wire::put_init(&mut body, read_ahead_bytes, flags);
    let header = wire::reply_header(request.unique, 0, body.len());
    rustix::io::writev(descriptor, &[IoSlice::new(&header), IoSlice::new(&body)])
        .map_err(call_failed("answer INIT on", fuse))?;
    Ok(())
}

/// Asks the kernel for the requests that a predecessor read and did not answer. A kernel before 6.9 refuses: then
/// those readers wait for ever, all others are served, so the session goes on.
fn ask_to_resend(descriptor: &OwnedFd) {
    if let Err(source) = rustix::io::write(descriptor, &wire::resend_notice()) {
        tracing::warn!(%source, "the kernel refused to send unanswered requests again; it takes Linux 6.9 or newer");
    }
}

fn start_worker(
    index: usize,
    shared: &Arc<Shared>,
    released: &Sender<DeviceNumber>,
) -> Result<JoinHandle<()>, KernelError> {
    let fuse = Path::new(FUSE_DEVICE);
    let worker = Worker {
        wakes: wakes(shared).map_err(call_failed("watch", fuse))?,
        shared: shared.clone(),
        released: released.clone(),
        buffers: Buffers::default(),
    };
    std::thread::Builder::new()
        .name(format!("block-fuse-{index}"))
        .spawn(move || worker.run())
        .map_err(call_failed("start a worker for", fuse))
}

/// An epoll that wakes its one worker for a request or for the order to stop.
fn wakes(shared: &Shared) -> rustix::io::Result<OwnedFd> {
    let wakes = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let unused = epoll::EventData::new_u64(0);
    epoll::add(
        &wakes,
        &shared.descriptor,
        unused,
        epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE,
    )?;
    epoll::add(&wakes, &shared.stop_event, unused, epoll::EventFlags::IN)?;
    Ok(wakes)
}

struct Worker {
    shared: Arc<Shared>,
    wakes: OwnedFd,
    released: Sender<DeviceNumber>,
    buffers: Buffers,
}

impl Worker {
    fn run(mut self) {
        let mut request = vec![0; REQUEST_BYTES_MAX];
        while !self.shared.stopping.load(Ordering::Acquire) {
            match rustix::io::read(&self.shared.descriptor, &mut request) {
                Ok(bytes) => self.serve(&request[..bytes]),
                Err(Errno::AGAIN) => self.wait(),
                // NOENT: the request was given up while we read it. IO: it was larger than our buffer, which only a
                // change could be, and the kernel has refused it.
                Err(Errno::INTR | Errno::NOENT | Errno::IO) => {}
                Err(Errno::NODEV | Errno::CONNABORTED) => return,
                Err(source) => {
                    tracing::error!(%source, "a session's descriptor cannot be read; its worker ends");
                    return;
                }
            }
        }
    }

    fn wait(&self) {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; 2];
        match epoll::wait(&self.wakes, &mut events[..], None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(source) => unreachable!("an epoll that we own can be waited for: {source}"),
        }
    }

    fn serve(&mut self, bytes: &[u8]) {
        self.buffers.body.clear();
        self.buffers.pieces.clear();
        match parse_request(bytes) {
            Ok(request) => {
                let answer = answer(&request, &self.shared.table, &mut self.buffers);
                self.reply(request.unique, &answer);
            }
            Err(error) => {
                tracing::error!(%error, "the kernel sent a request that cannot be read");
                if let wire::ParseError::Body { unique, .. } = error {
                    self.reply(unique, &Answer::Error(Errno::INVAL));
                }
            }
        }
        // Chunks must not stay in memory because a worker is idle.
        self.buffers.pieces.clear();
    }

    fn reply(&mut self, unique: u64, answer: &Answer) {
        match *answer {
            Answer::Silence => {}
            Answer::Error(errno) => self.send(&[&wire::reply_header(unique, errno.raw_os_error(), 0)]),
            Answer::Body => {
                self.send(&[
                    &wire::reply_header(unique, 0, self.buffers.body.len()),
                    &self.buffers.body,
                ]);
            }
            Answer::Pieces(bytes) => self.send_pieces(&wire::reply_header(unique, 0, bytes)),
            Answer::Released(number) => {
                self.send(&[&wire::reply_header(unique, 0, 0)]);
                // Nobody may want to know; that is the owner's choice.
                let _ = self.released.send(number);
            }
        }
    }

    fn send_pieces(&mut self, header: &[u8]) {
        if self.buffers.pieces.len() >= SLICES_MAX {
            let joined = Bytes::from(self.buffers.pieces.concat());
            self.buffers.pieces = vec![joined];
        }
        let mut slices = Vec::with_capacity(1 + self.buffers.pieces.len());
        slices.push(header);
        slices.extend(self.buffers.pieces.iter().map(|piece| piece.as_ref()));
        self.send(&slices);
    }

    fn send(&self, parts: &[&[u8]]) {
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        match rustix::io::writev(self.shared.descriptor.as_fd(), &slices) {
            // NOENT: nobody waits any longer. NODEV, CONNABORTED: the session has ended; the next read says so.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV | Errno::CONNABORTED) => {}
            Err(source) => tracing::error!(%source, "the kernel refused an answer"),
        }
    }
}
