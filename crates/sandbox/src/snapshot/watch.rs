//! A guide goes on only as long as somebody waits for it, its sandbox lives, and the time lasts.
//!
//! The guide is outside of the sandbox's pid namespace, and no child of its caller: the end of neither ends it by itself.

use super::CRIU_WAIT;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

pub(super) struct Watch<'a> {
    /// Becomes readable when the caller has closed its end: it never says anything.
    caller: BorrowedFd<'a>,
    /// A pidfd.
    init: BorrowedFd<'a>,
    /// As the caller's own, which hangs up then.
    deadline: Instant,
}

impl<'a> Watch<'a> {
    pub(super) fn new(caller: &'a impl AsFd, init: &'a impl AsFd) -> Self {
        Self {
            caller: caller.as_fd(),
            init: init.as_fd(),
            deadline: Instant::now() + CRIU_WAIT,
        }
    }

    /// Fails as soon as nobody wants the rest: `ECANCELED`, and `ETIMEDOUT` when the time is over.
    pub(super) fn check(&self) -> io::Result<()> {
        let mut watched = [
            PollFd::from_borrowed_fd(self.caller, PollFlags::IN),
            PollFd::from_borrowed_fd(self.init, PollFlags::IN),
        ];
        wait_for(&mut watched, Duration::ZERO)?;
        self.verdict(&watched)
    }

    /// Waits until a process has ended, for `tick` at most; whether it has. Fails as [`Self::check`].
    pub(super) fn wait(&self, pidfd: &impl AsFd, tick: Duration) -> io::Result<bool> {
        let mut watched = [
            PollFd::new(pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(self.caller, PollFlags::IN),
            PollFd::from_borrowed_fd(self.init, PollFlags::IN),
        ];
        wait_for(&mut watched, tick)?;
        let [ended, rest @ ..] = watched;
        if !ended.revents().is_empty() {
            return Ok(true);
        }
        self.verdict(&rest).map(|()| false)
    }

    fn verdict(&self, watched: &[PollFd<'_>]) -> io::Result<()> {
        if watched.iter().any(|one| !one.revents().is_empty()) {
            return Err(Errno::CANCELED.into());
        }
        if Instant::now() > self.deadline {
            return Err(Errno::TIMEDOUT.into());
        }
        Ok(())
    }
}

fn wait_for(watched: &mut [PollFd<'_>], wait: Duration) -> io::Result<()> {
    let wait = Timespec::try_from(wait).expect("a wait is far below 292 billion years");
    match poll(watched, Some(&wait)) {
        // After a signal nothing is said of any: the next call asks again.
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn it_fails_when_the_caller_hangs_up_and_when_the_time_is_over() {
        let (near, far) = socket::pair().unwrap();
        let living = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let mut watch = Watch::new(&far, &living);
        watch.check().unwrap();
        assert!(!watch.wait(&living, Duration::ZERO).unwrap());
        watch.deadline = Instant::now();
        let over = || watch.check().err().and_then(|error| error.raw_os_error());
        assert_eq!(over(), Some(libc::ETIMEDOUT));
        drop(near);
        assert_eq!(over(), Some(libc::ECANCELED));
    }
}
