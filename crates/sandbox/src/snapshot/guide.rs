//! One short-lived process for each run of CRIU: enters the sandbox, starts CRIU there, and tells how it went.

use super::files::Uncopied;
use super::watch::Watch;
use super::{CRIU_ID, criu, files};
use crate::inside::become_root_inside;
use crate::kernel::{self, Blocked, Forked};
use crate::socket;
use crate::spawner::allow_files;
use crate::wire::{CriuAct, CriuRequest, Failure, FromGuide, Step};
use rustix::fs::{AtFlags, Dir, MemfdFlags, Mode, OFlags, SeekFrom, memfd_create, openat, seek, statat};
use rustix::io::FdFlags;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, set_parent_process_death_signal, waitpid,
};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// All but that of users.
const NAMESPACES: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::PROCESS_ID)
    .union(ThreadNameSpaceType::NETWORK)
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(ThreadNameSpaceType::CONTROL_GROUP);
/// Options of both acts. No file of the image is read as a configuration or a plug-in; the environment's groups are its
/// own affair; a file that is deleted and open may have 64 MiB. Files are compared by size: they are those of the same
/// device.
const OPTIONS: [&str; 10] = [
    "--no-default-config",
    "-v1",
    "--unprivileged",
    "--manage-cgroups=ignore",
    "--tcp-established",
    "--file-locks",
    "--ghost-limit=67108864",
    "--file-validation=filesize",
    "--skip-in-flight",
    "--images-dir",
];
/// Bytes of CRIU's complaints that are read.
const LOG_BYTES_MAX: u64 = 64 << 10;
/// Between two looks at how much CRIU has written: some hundred MB on a fast disk.
const IMAGES_TICK: Duration = Duration::from_millis(100);
/// Characters of a reason.
const REASON_MAX: usize = 400;
/// Complaints of every run, in CRIU's words, that stop nothing here: it may not raise its own limit of open files; and
/// our filter of system calls, which it may not switch off, allows what a restored process needs to begin.
const HARMLESS: [&str; 4] = [
    "RLIMIT_NOFILE for self",
    "suspending seccomp failed",
    "failed to suspend seccomp",
    "stats-",
];

/// What the request brought along.
struct Handed {
    init: OwnedFd,
    tree: OwnedFd,
    scratch: OwnedFd,
    images: OwnedFd,
    /// Of a restore: the pipe that becomes the process's output, the version 2 group, the `tasks` files of version 1.
    rest: Vec<OwnedFd>,
}

/// Does it, answers, and ends.
pub(crate) fn run(spawner: Pid, request: &CriuRequest, control: &OwnedFd, descriptors: Vec<OwnedFd>) -> ! {
    let orphan =
        set_parent_process_death_signal(Some(Signal::KILL)).is_err() || rustix::process::getppid() != Some(spawner);
    if !orphan {
        let answer = Handed::new(descriptors).and_then(|handed| act(request, handed, control));
        // A caller that is gone does not want to know.
        let _ = socket::send(control, &answer.unwrap_or_else(FromGuide::Failed), &[]);
    }
    kernel::exit_now(0)
}

impl Handed {
    fn new(descriptors: Vec<OwnedFd>) -> Result<Self, Failure> {
        let mut rest = descriptors.into_iter();
        let (Some(init), Some(tree), Some(scratch), Some(images)) =
            (rest.next(), rest.next(), rest.next(), rest.next())
        else {
            return Err(Failure {
                step: "get CRIU's descriptors".to_owned(),
                errno: libc::EPROTO,
            });
        };
        Ok(Self {
            init,
            tree,
            scratch,
            images,
            rest: rest.collect(),
        })
    }
}

fn act(request: &CriuRequest, mut handed: Handed, control: &OwnedFd) -> Result<FromGuide, Failure> {
    let watch = Watch::new(control, &handed.init);
    rustix::process::umask(Mode::from_raw_mode(0o022));
    allow_files(request.files_max)?;
    let next_id = rustix::fs::open(
        "/proc/sys/kernel/ns_last_pid",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .step(|| "open ns_last_pid".to_owned())?;
    let output = match request.act {
        CriuAct::Dump { .. } => None,
        CriuAct::Restore { .. } => Some(join(request, &mut handed.rest)?),
    };
    move_into_thread_name_spaces(handed.init.as_fd(), NAMESPACES).step(|| "enter the sandbox".to_owned())?;
    match request.act {
        CriuAct::Dump { process } => {
            if let Some(stranger) = stranger(process).step(|| "list the processes inside".to_owned())? {
                return Ok(FromGuide::Refused { reason: stranger });
            }
        }
        CriuAct::Restore { .. } => {
            if let Err(uncopied) = files::bring(&handed.images, request.ids_from, &watch) {
                return told(uncopied);
            }
        }
    }
    let outcome = start(request, &handed, output.as_ref(), &next_id, &watch)?;
    if matches!((&outcome, request.act), (FromGuide::Done, CriuAct::Dump { .. }))
        && let Err(uncopied) = files::take(&handed.images, request.ids_from, &watch)
    {
        return told(uncopied);
    }
    Ok(outcome)
}

fn told(uncopied: Uncopied) -> Result<FromGuide, Failure> {
    match uncopied {
        Uncopied::Refused(reason) => Ok(FromGuide::Refused { reason }),
        Uncopied::Failed(failure) => Err(failure),
    }
}

/// Enters the sandbox's groups, so that what is restored is counted there; gives the output pipe.
fn join(request: &CriuRequest, rest: &mut Vec<OwnedFd>) -> Result<OwnedFd, Failure> {
    let missing = || Failure {
        step: "get the output of the restored process".to_owned(),
        errno: libc::EPROTO,
    };
    let mut rest = rest.drain(..);
    let output = rest.next().ok_or_else(missing)?;
    if request.unified {
        let unified = rest.next().ok_or_else(missing)?;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&unified, "cgroup.procs", flags, Mode::empty())
            .and_then(|file| rustix::io::write(&file, b"0"))
            .step(|| "join the version 2 group".to_owned())?;
    }
    for tasks in rest {
        rustix::io::write(&tasks, b"0").step(|| "join the control groups".to_owned())?;
    }
    Ok(output)
}

/// A living process inside that is neither init nor the root of the snapshot nor below it: it would be lost. The `/proc`
/// that this process sees is the sandbox's.
fn stranger(root: u32) -> io::Result<Option<String>> {
    let stat = |id: u32| {
        fs::read_to_string(format!("/proc/{id}/stat"))
            .ok()
            .and_then(|text| parse_stat(&text))
    };
    let is_below = |mut id: u32| {
        while id > 1 && id != root {
            id = stat(id).map_or(0, |stat| stat.parent);
        }
        // A process that ended meanwhile has parent 0.
        id == root || id == 0
    };
    for entry in fs::read_dir("/proc")? {
        let id = entry?.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(id) = id.filter(|id| *id > 1) else {
            continue;
        };
        if let Some(stat) = stat(id)
            && !stat.is_dead
            && !is_below(id)
        {
            return Ok(Some(format!("process {id} ({}) runs beside process {root}", stat.name)));
        }
    }
    Ok(None)
}

struct Stat {
    name: String,
    is_dead: bool,
    parent: u32,
}

/// `id (name) state parent …`; the name may hold anything.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(") ")?;
    let mut fields = tail.split(' ');
    Some(Stat {
        name: head.split_once('(')?.1.to_owned(),
        is_dead: matches!(fields.next()?, "Z" | "X"),
        parent: fields.next()?.parse().ok()?,
    })
}

fn start(
    request: &CriuRequest,
    handed: &Handed,
    output: Option<&OwnedFd>,
    next_id: &OwnedFd,
    watch: &Watch<'_>,
) -> Result<FromGuide, Failure> {
    let log = memfd_create("criu", MemfdFlags::CLOEXEC).step(|| "make a file for CRIU's words".to_owned())?;
    // Children are not reaped by the kernel any more.
    let _signals = kernel::child_signals().step(|| "watch CRIU".to_owned())?;
    let child = match kernel::fork_with_id(CRIU_ID).step(|| "fork into the sandbox".to_owned())? {
        Forked::Parent(child) => child,
        Forked::Child => {
            let failure = become_criu(request, handed, output, next_id, &log);
            let _ = rustix::io::write(
                &log,
                format!("Error: cannot {}: error {}", failure.step, failure.errno).as_bytes(),
            );
            kernel::exit_now(127)
        }
    };
    if let Some(reason) = await_end(request, &handed.images, child, watch)? {
        return Ok(FromGuide::Refused { reason });
    }
    let ended = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    let ended = ended.step(|| "wait for CRIU".to_owned())?;
    if ended.and_then(|(_, status)| status.exit_status()) == Some(0) {
        return Ok(FromGuide::Done);
    }
    let words = read_log(log).step(|| "read CRIU's words".to_owned())?;
    Ok(FromGuide::Refused { reason: reason(&words) })
}

/// Waits for CRIU; ends it when nobody waits any more, or for the reason that it gives.
fn await_end(request: &CriuRequest, images: &OwnedFd, criu: Pid, watch: &Watch<'_>) -> Result<Option<String>, Failure> {
    let pidfd = pidfd_open(criu, PidfdFlags::empty()).step(|| "open a pidfd of CRIU".to_owned())?;
    let wait = || -> io::Result<Option<String>> {
        loop {
            let ended = watch.wait(&pidfd, IMAGES_TICK)?;
            if matches!(request.act, CriuAct::Dump { .. }) {
                // Also of one that was faster than this looks.
                if bytes_in(images)? > request.images_max {
                    let allowed = request.images_max;
                    return Ok(Some(format!(
                        "its processes have more than {allowed} bytes of memory when each is written for itself"
                    )));
                }
                files::require_spare(images)?;
            }
            if ended {
                return Ok(None);
            }
        }
    };
    let waited = wait();
    if !matches!(waited, Ok(None)) {
        // That one which ended meanwhile is not there is no harm.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
    waited.step(|| "wait for CRIU".to_owned())
}

/// Of the files in a directory.
fn bytes_in(directory: &OwnedFd) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in Dir::read_from(directory)? {
        match statat(directory, entry?.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(status) => bytes = bytes.saturating_add(status.st_size.cast_unsigned()),
            // CRIU removes what it needs no more.
            Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Returns only if that fails.
fn become_criu(
    request: &CriuRequest,
    handed: &Handed,
    output: Option<&OwnedFd>,
    next_id: &OwnedFd,
    log: &OwnedFd,
) -> Failure {
    match prepare(request, handed, output, next_id, log) {
        Err(failure) => failure,
        Ok((arguments, environment)) => Failure {
            step: "execute CRIU".to_owned(),
            errno: kernel::execute(&arguments[0], &arguments, &environment)
                .raw_os_error()
                .unwrap_or(libc::EIO),
        },
    }
}

type Texts = Vec<CString>;

fn prepare(
    request: &CriuRequest,
    handed: &Handed,
    output: Option<&OwnedFd>,
    next_id: &OwnedFd,
    log: &OwnedFd,
) -> Result<(Texts, Texts), Failure> {
    // CRIU's helpers come after CRIU.
    rustix::io::write(next_id, CRIU_ID.to_string().as_bytes()).step(|| "set the next id".to_owned())?;
    if let CriuAct::Restore { .. } = request.act {
        move_into_thread_name_spaces(handed.init.as_fd(), ThreadNameSpaceType::USER)
            .step(|| "enter the namespace of users".to_owned())?;
        become_root_inside()?;
    }
    // Changing ids has cleared it.
    set_parent_process_death_signal(Some(Signal::KILL)).step(|| "tie CRIU to its guide".to_owned())?;
    kernel::reset_signals();
    kernel::block_signals(Blocked::None).step(|| "unblock signals".to_owned())?;
    let streams = || {
        rustix::stdio::dup2_stdout(log)?;
        rustix::stdio::dup2_stderr(log)?;
        for kept in [Some(&handed.tree), Some(&handed.scratch), Some(&handed.images), output]
            .into_iter()
            .flatten()
        {
            rustix::io::fcntl_setfd(kept, FdFlags::empty())?;
        }
        rustix::io::Result::Ok(())
    };
    streams().step(|| "connect CRIU".to_owned())?;
    let arguments = arguments(request, handed, output);
    let text = |text: String| CString::new(text).expect("numbers and constants hold no zero byte");
    let environment = criu::environment(&handed.scratch).into_iter().map(text).collect();
    Ok((arguments.into_iter().map(text).collect(), environment))
}

fn arguments(request: &CriuRequest, handed: &Handed, output: Option<&OwnedFd>) -> Vec<String> {
    let at = |descriptor: &OwnedFd| format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let mut arguments = criu::arguments(&handed.tree, &handed.scratch);
    arguments.push(
        match request.act {
            CriuAct::Dump { .. } => "dump",
            CriuAct::Restore { .. } => "restore",
        }
        .to_owned(),
    );
    arguments.extend(OPTIONS.map(str::to_owned));
    arguments.push(at(&handed.images));
    // Plug-ins are looked for where there are none.
    arguments.extend(["--lib".to_owned(), at(&handed.scratch)]);
    match request.act {
        CriuAct::Dump { process } => {
            arguments.extend(["--network-lock", "skip", "--tree"].map(str::to_owned));
            arguments.push(process.to_string());
        }
        CriuAct::Restore { output: pipe } => {
            arguments.push("--restore-detached".to_owned());
            if let Some(output) = output {
                let inherited = format!("fd[{}]:pipe:[{pipe}]", output.as_raw_fd());
                arguments.extend(["--inherit-fd".to_owned(), inherited]);
            }
        }
    }
    arguments
}

fn read_log(log: OwnedFd) -> io::Result<String> {
    seek(&log, SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    File::from(log).take(LOG_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What CRIU named as errors, first things first; its words come from what it looks at, so they are cut and cleaned.
pub(super) fn reason(log: &str) -> String {
    let errors = log.lines().filter(|line| line.contains("Error"));
    let mut told: Vec<_> = errors
        .filter(|line| !HARMLESS.iter().any(|harmless| line.contains(harmless)))
        .map(|line| line.split_once("): ").map_or(line, |(_, text)| text).trim())
        .collect();
    if told.is_empty() {
        told = log.lines().rev().take(1).collect();
    }
    let text = told.join("; ");
    let text = text
        .chars()
        .filter(|character| !character.is_control())
        .take(REASON_MAX);
    let text: String = text.collect();
    if text.is_empty() {
        return "it ended without a word".to_owned();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_the_first_error_that_counts() {
        let log = "(00.001415) Error (criu/util.c:1534): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted\n\
            (00.058859)      7: Error (criu/pipes.c:220): Unable to reopen the pipe /proc/self/fd/1: Permission denied\n\
            (00.059003) Error (criu/cr-restore.c:2331): Restoring FAILED.\n";
        let expected = "Unable to reopen the pipe /proc/self/fd/1: Permission denied; Restoring FAILED.";
        assert_eq!(reason(log), expected);
        assert_eq!(reason("nothing\x1b[0m"), "nothing[0m");
        assert_eq!(reason(""), "it ended without a word");
        assert_eq!(reason(&"Error x".repeat(1000)).chars().count(), REASON_MAX);
    }

    #[test]
    fn a_name_with_brackets_does_not_hide_the_parent() {
        let stat = parse_stat("42 (a) S 1) Z 7 42 42 0").unwrap();
        assert_eq!((stat.name.as_str(), stat.is_dead, stat.parent), ("a) S 1", true, 7));
        assert!(parse_stat("42").is_none());
    }
}
