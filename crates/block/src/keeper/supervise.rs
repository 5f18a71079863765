//! The keeper's side: one child after another, and the descriptors that outlive them.

use super::deaths::Deaths;
use super::message::{DESCRIPTORS_MAX, ExchangeError, Message, receive, send};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// When a keeper loses patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeeperSettings {
    /// Milliseconds from a child's start until it must have called [`super::Link::ready`]. Default: 10,000.
    pub ready_ms_max: u64,
    /// Children in a row that may die without having been ready; this many and the keeper gives up. Default: 5.
    pub unready_deaths_max: u32,
    /// Deaths of any sort within a minute; one more and the keeper gives up. Default: 30.
    pub deaths_per_minute_max: u32,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        KeeperSettings {
            ready_ms_max: 10_000,
            unready_deaths_max: 5,
            deaths_per_minute_max: 30,
        }
    }
}

/// A keeper that ended otherwise than by its child's success. All descriptors are closed; the caller cleans up.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The keeper could not begin to work.
    #[error("the keeper could not {tried}")]
    Call {
        /// What was tried.
        tried: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It lost patience.
    #[error("the keeper gave up")]
    GaveUp(#[from] GaveUp),
    /// The child died of a signal that the keeper had passed on to it.
    #[error("the child was ended by signal {signal}")]
    Ended {
        /// The signal's number.
        signal: i32,
    },
}

/// Why a keeper lost patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GaveUp {
    /// See [`KeeperSettings::unready_deaths_max`] and [`KeeperSettings::deaths_per_minute_max`].
    #[error("its children died too often")]
    Deaths,
    /// See [`KeeperSettings::ready_ms_max`].
    #[error("its child was not ready in time")]
    NotReady,
}

/// How often the keeper looks for a child that is half dead (see [`Life::is_half_dead`]), and for whether those have
/// died. A look costs microseconds; two of them bound the wait of readers in that rare case to a second.
const LOOK: Duration = Duration::from_millis(500);

/// The pause after a child that was never ready: its program may be in the middle of being replaced.
const UNREADY_PAUSE: Duration = Duration::from_millis(100);

/// The signals that are passed on.
const PASSED_ON: [Signal; 2] = [Signal::TERM, Signal::INT];

/// Starts `command`, holds what it stores, and starts it again when it dies, until it exits with 0.
///
/// The program is looked up anew each time, so replacing the file at its path and ending the child with any code but
/// 0 is an upgrade; name that path, since `/proc/self/exe` stays with the old file. Its standard input becomes the
/// link. SIGTERM and SIGINT go to the child. The call returns when the child exits with 0, or with an error when the
/// keeper gives up; by then every descriptor is closed here, and a child that still lives is killed.
pub fn run(command: &mut Command, settings: KeeperSettings) -> Result<(), KeeperError> {
    let mut keeper = Keeper {
        held: BTreeMap::new(),
        dying: Vec::new(),
        signals: catch_signals()?,
        settings,
    };
    let mut deaths = Deaths::default();
    loop {
        let was_ready = match Life::start(command, &keeper.held) {
            Ok(mut life) => match keeper.accompany(&mut life)? {
                End::Success => return Ok(()),
                End::Signal(signal) => return Err(KeeperError::Ended { signal }),
                End::Death => keeper.bury(life),
            },
            Err(error) => {
                tracing::error!(%error, "could not start the child");
                false
            }
        };
        if deaths.are_too_many(was_ready, Instant::now(), &settings) {
            return Err(GaveUp::Deaths.into());
        }
        if !was_ready {
            std::thread::sleep(UNREADY_PAUSE);
        }
    }
}

/// One socket per signal, readable once the signal has arrived.
fn catch_signals() -> Result<[UnixStream; PASSED_ON.len()], KeeperError> {
    let failed = |source| KeeperError::Call {
        tried: "watch for signals",
        source,
    };
    let catch = |signal: Signal| {
        let (here, there) = UnixStream::pair()?;
        here.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal.as_raw(), there)?;
        Ok(here)
    };
    let [term, int] = PASSED_ON.map(catch);
    Ok([term.map_err(failed)?, int.map_err(failed)?])
}

/// What outlives a child.
struct Keeper {
    held: BTreeMap<String, OwnedFd>,
    /// Children that were given up and cannot be waited for yet.
    dying: Vec<Child>,
    signals: [UnixStream; PASSED_ON.len()],
    settings: KeeperSettings,
}

/// One child.
struct Life {
    child: Child,
    pidfd: OwnedFd,
    socket: OwnedFd,
    began: Instant,
    stage: Stage,
    /// It was half dead at the last look.
    suspect: bool,
}

/// A child's way.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// It is being given what its predecessors stored: these names are left, the last first.
    TakingOver(Vec<String>),
    /// It has got everything.
    Starting,
    /// It serves.
    Ready,
}

/// How a child ended.
enum End {
    Success,
    Signal(i32),
    Death,
}

impl Keeper {
    /// Stays with a child until its end.
    fn accompany(&mut self, life: &mut Life) -> Result<End, KeeperError> {
        let mut passed_on = None;
        loop {
            let seen = life.wait(&self.signals, self.settings.ready_ms_max);
            let seen = seen.map_err(|errno| KeeperError::Call {
                tried: "wait for its child",
                source: errno.into(),
            })?;
            passed_on = self.pass_on_signals(life).or(passed_on);
            // Before its death is looked at: its last message may be that it was ready.
            if let Err(error) = life.exchange(&mut self.held) {
                tracing::error!(%error, "the child broke the protocol and is killed");
                life.kill();
            }
            self.dying.retain_mut(|child| !matches!(child.try_wait(), Ok(Some(_))));
            if let Some(status) = life.status(seen) {
                return Ok(end(status, passed_on));
            }
            if life.is_half_dead(seen) {
                tracing::warn!("the child is dead, but a thread of it waits for bytes that its successor will serve");
                return Ok(End::Death);
            }
            if life.is_late(self.settings.ready_ms_max) {
                life.kill();
                return Err(GaveUp::NotReady.into());
            }
        }
    }

    fn pass_on_signals(&mut self, life: &Life) -> Option<Signal> {
        let mut passed_on = None;
        for (mut socket, signal) in self.signals.iter().zip(PASSED_ON) {
            if matches!(socket.read(&mut [0; 64]), Ok(1..)) {
                if let Err(error) = pidfd_send_signal(&life.pidfd, signal) {
                    tracing::warn!(%error, ?signal, "could not pass a signal on to the child");
                }
                passed_on = Some(signal);
            }
        }
        passed_on
    }

    /// Notes a death. Returns whether the child had been ready.
    fn bury(&mut self, mut life: Life) -> bool {
        if !matches!(life.child.try_wait(), Ok(Some(_))) {
            self.dying.push(life.child);
        }
        life.stage == Stage::Ready
    }
}

/// What a wait has seen of the child.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Dead,
    Alive,
    /// Alive, as far as can be seen, and for [`LOOK`] nothing has happened.
    Quiet,
}

impl Life {
    fn start(command: &mut Command, held: &BTreeMap<String, OwnedFd>) -> io::Result<Life> {
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // Ours only: a flag of the open file, and a pair has two. A child that does not read must not stop the keeper.
        rustix::io::ioctl_fionbio(&socket, true)?;
        let child = command.stdin(Stdio::from(theirs)).spawn();
        // The command keeps its copy of the child's end; without this the end would stay open beyond the child.
        command.stdin(Stdio::null());
        let child = child?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        let stage = Stage::TakingOver(held.keys().rev().cloned().collect());
        Ok(Life {
            child,
            pidfd,
            socket,
            began: Instant::now(),
            stage,
            suspect: false,
        })
    }

    fn wait(&self, signals: &[UnixStream; PASSED_ON.len()], ready_ms_max: u64) -> Result<Seen, Errno> {
        let talk = match self.stage {
            Stage::TakingOver(_) => PollFlags::OUT,
            Stage::Starting | Stage::Ready => PollFlags::IN,
        };
        let mut waits = vec![PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(&self.socket, talk)];
        waits.extend(signals.iter().map(|signal| PollFd::new(signal, PollFlags::IN)));
        let left = match self.stage {
            Stage::Ready => LOOK,
            _ => Duration::from_millis(ready_ms_max)
                .saturating_sub(self.began.elapsed())
                .min(LOOK),
        };
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: left.subsec_nanos().into(),
        };
        let count = match poll(&mut waits, Some(&timeout)) {
            Err(Errno::INTR) => return Ok(Seen::Alive),
            other => other?,
        };
        let dead = waits[0].revents().contains(PollFlags::IN);
        let gone = waits[1].revents().contains(PollFlags::HUP);
        if gone && !dead {
            // It closed the link, or is dying: one of both is certain soon. Without this pause, poll would return at once.
            poll(&mut waits[..1], Some(&timeout))
                .or_else(|errno| if errno == Errno::INTR { Ok(0) } else { Err(errno) })?;
        }
        let dead = waits[0].revents().contains(PollFlags::IN);
        Ok(if dead {
            Seen::Dead
        } else if count == 0 || gone {
            Seen::Quiet
        } else {
            Seen::Alive
        })
    }

    /// Sends and receives what can be without waiting.
    fn exchange(&mut self, held: &mut BTreeMap<String, OwnedFd>) -> Result<(), ExchangeError> {
        while let Stage::TakingOver(names) = &mut self.stage {
            let message = names.last().map_or(Message::End, |name| Message::Held(name.clone()));
            let descriptor = names.last().and_then(|name| held.get(name)).map(AsFd::as_fd);
            match send(&self.socket, &message, descriptor) {
                Err(ExchangeError::Socket(Errno::AGAIN | Errno::PIPE | Errno::CONNRESET)) => return Ok(()),
                other => other?,
            }
            if names.pop().is_none() {
                self.stage = Stage::Starting;
            }
        }
        loop {
            match receive(&self.socket) {
                Ok(Some((message, descriptor))) => self.apply(message, descriptor, held)?,
                Ok(None) | Err(ExchangeError::Socket(Errno::AGAIN | Errno::CONNRESET)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn apply(
        &mut self,
        message: Message,
        descriptor: Option<OwnedFd>,
        held: &mut BTreeMap<String, OwnedFd>,
    ) -> Result<(), ExchangeError> {
        let answer = match (message, descriptor) {
            (Message::Store(name), _) if held.len() >= DESCRIPTORS_MAX && !held.contains_key(&name) => Message::Refused,
            (Message::Store(name), Some(descriptor)) => {
                held.insert(name, descriptor);
                Message::Done
            }
            (Message::Remove(name), _) => {
                held.remove(&name);
                Message::Done
            }
            (Message::Ready, _) => {
                self.stage = Stage::Ready;
                Message::Done
            }
            _ => return Err(super::MessageError::Malformed.into()),
        };
        match send(&self.socket, &answer, None) {
            // It died without waiting for the answer.
            Err(ExchangeError::Socket(Errno::PIPE | Errno::CONNRESET)) => Ok(()),
            other => other,
        }
    }

    /// How it exited, once it has.
    fn status(&mut self, seen: Seen) -> Option<ExitStatus> {
        if seen != Seen::Dead {
            return None;
        }
        self.child.try_wait().ok().flatten()
    }

    /// Whether its main thread is dead while another cannot die, at two looks in a row. Such a thread waits, inside
    /// the kernel, for a page of our own device, which only a successor can provide; the process's end is not
    /// reported before that.
    fn is_half_dead(&mut self, seen: Seen) -> bool {
        if seen != Seen::Quiet {
            return false;
        }
        let zombie = std::fs::read(format!("/proc/{}/stat", self.child.id())).is_ok_and(|line| is_zombie(&line));
        std::mem::replace(&mut self.suspect, zombie) && zombie
    }

    fn is_late(&self, ready_ms_max: u64) -> bool {
        self.stage != Stage::Ready && self.began.elapsed() >= Duration::from_millis(ready_ms_max)
    }

    fn kill(&mut self) {
        if let Err(error) = self.child.kill() {
            tracing::error!(%error, "could not kill the child");
        }
    }
}

/// `/proc/N/stat` (proc(5)): number, name in parentheses, which may hold anything, state.
fn is_zombie(stat: &[u8]) -> bool {
    let name_end = stat.iter().rposition(|&byte| byte == b')');
    name_end.is_some_and(|end| stat.get(end + 1..).is_some_and(|rest| rest.starts_with(b" Z")))
}

fn end(status: ExitStatus, passed_on: Option<Signal>) -> End {
    tracing::info!(%status, "the child ended");
    match status.signal() {
        None if status.success() => End::Success,
        Some(signal) if passed_on.is_some_and(|passed| passed.as_raw() == signal) => End::Signal(signal),
        _ => End::Death,
    }
}
