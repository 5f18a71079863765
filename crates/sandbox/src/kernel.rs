//! The calls that have no safe wrapper elsewhere. All unsafe code of this crate is here.
#![expect(
    unsafe_code,
    reason = "fork, clone3, execve and six calls that neither std nor rustix wraps"
)]

use rustix::process::Pid;
use std::ffi::{CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Source: `struct clone_args` in include/uapi/linux/sched.h, its third size (`CLONE_ARGS_SIZE_VER2`, Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Source: `struct mount_attr` in include/uapi/linux/mount.h.
#[repr(C)]
pub(crate) struct MountAttributes {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) user_namespace: u64,
}

/// Bit 33, which `libc` still gives a type that is too small. Source: include/uapi/linux/sched.h.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which of the two a fork returned in.
pub(crate) enum Forked {
    Parent(Pid),
    Child,
}

/// A plain fork. Only for processes with a single thread, which the spawner, builder and init are: the child may then
/// do everything that its parent may.
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: this program has one thread (see above), so no lock is held by a thread that the child lacks.
    forked(i64::from(unsafe { libc::fork() }))
}

/// A fork whose child has this id in the namespace of processes that children of this process go to.
pub(crate) fn fork_with_id(id: i32) -> io::Result<Forked> {
    let arguments = CloneArguments {
        exit_signal: libc::SIGCHLD as u64,
        set_tid: std::ptr::from_ref(&id).addr() as u64,
        set_tid_size: 1,
        ..CloneArguments::default()
    };
    // SAFETY: as in `clone_init`; the id that the structure points to lives until the call is over.
    forked(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) })
}

/// A fork into new namespaces (and a version 2 control group), as a child of this process's parent.
pub(crate) fn clone_init(namespaces: c_int, group: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let flag = |flag: c_int| u64::from(flag as u32);
    let arguments = CloneArguments {
        flags: flag(namespaces) | flag(libc::CLONE_PARENT) | group.map_or(0, |_| CLONE_INTO_CGROUP),
        cgroup: group.map_or(0, |group| group.as_raw_fd() as u64),
        ..CloneArguments::default()
    };
    // SAFETY: without CLONE_VM, CLONE_SETTLS and a stack of its own this is a fork; as in `fork`, there is one thread.
    // The kernel reads the structure during the call, and its size is passed.
    forked(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) })
}

fn forked(answer: c_long) -> io::Result<Forked> {
    match answer {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        id => Ok(Forked::Parent(
            Pid::from_raw(id as i32).expect("the kernel gives a positive id"),
        )),
    }
}

/// Becomes another program; returns only the error.
pub(crate) fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: all three are null-terminated, of strings that live until the call is over.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once: no destructor and no exit handler of the forked program runs.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: it touches no memory and does not return.
    unsafe { libc::_exit(code) }
}

/// Changes a mount. `Errno` EINVAL means, among others, that its file system cannot map owners.
pub(crate) fn set_mount_attributes(mount: impl AsFd, attributes: &MountAttributes) -> io::Result<()> {
    let mount = mount.as_fd().as_raw_fd();
    // SAFETY: the path is an empty null-terminated string, and the size is that of the structure.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount,
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(attributes),
            size_of::<MountAttributes>(),
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Which signals wait instead of arriving.
#[derive(Clone, Copy)]
pub(crate) enum Blocked {
    All,
    None,
}

pub(crate) fn block_signals(blocked: Blocked) -> io::Result<()> {
    let set = match blocked {
        Blocked::All => signal_set(true),
        Blocked::None => signal_set(false),
    };
    // SAFETY: the set is initialised, and the old set is not asked for.
    let answer = unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn signal_set(full: bool) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: both calls initialise the whole set and cannot fail for a valid pointer.
    unsafe {
        if full {
            libc::sigfillset(set.as_mut_ptr());
        } else {
            libc::sigemptyset(set.as_mut_ptr());
        }
        set.assume_init()
    }
}

/// Every signal has its default effect again; ignored ones (SIGPIPE, by Rust) would be inherited by a program. Not
/// through the C library, which keeps two signals to itself and so would pass on that they are ignored.
pub(crate) fn reset_signals() {
    // Handler, flags, restorer and a mask of 64 bits: all zero is the default action, on every architecture.
    let default = [0u64; 4];
    let nothing = std::ptr::null_mut::<u64>();
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the kernel reads the four words; the default action runs no code of ours. SIGKILL and SIGSTOP are
        // refused, which is harmless: they have it already.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                nothing,
                size_of::<u64>(),
            )
        };
    }
}

/// Children that end are reaped by the kernel, and nobody asks for their status.
pub(crate) fn ignore_children() {
    // SAFETY: ignoring runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// A descriptor that is readable when a child has ended; non-blocking. SIGCHLD has to be blocked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the call only clears the default disposition that `ignore_children` may have replaced.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let mut set = signal_set(false);
    // SAFETY: the set is initialised and the number valid.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGCHLD) };
    // SAFETY: -1 asks for a new descriptor; the set is initialised.
    let descriptor = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave it to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Brings up `lo` of this process's network namespace.
pub(crate) fn raise_loopback(socket: impl AsFd) -> io::Result<()> {
    // SAFETY: all zero bytes are a valid request of plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads a request of this type for SIOCSIFFLAGS.
    let answer = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, (&raw const request).cast::<c_void>()) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends any signal to a child of this process, by the number as the caller gave it.
pub(crate) fn signal_child(process: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: it touches no memory of ours.
    let answer = unsafe { libc::kill(process.as_raw_nonzero().get(), signal) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Every descriptor from 3 on closes when a program is executed, also those that our caller leaked to us.
pub(crate) fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: it closes nothing now; it only sets the flag of open descriptors.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Empties the bounding set: no program that is executed from here on can gain a capability.
pub(crate) fn drop_bounding_set() -> io::Result<()> {
    // The kernel refuses the first number that it does not know; its newest capability is 40 today.
    for capability in 0..64 {
        // SAFETY: it touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(libc::EINVAL) {
                Ok(())
            } else {
                Err(error)
            };
        }
    }
    Ok(())
}

/// A new cgroup namespace, whose root are the groups that this process is in now.
pub(crate) fn enter_cgroup_namespace() -> io::Result<()> {
    // SAFETY: unlike other flags, this one shares or unshares no memory and no descriptors.
    let answer = unsafe { libc::unshare(libc::CLONE_NEWCGROUP) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads an option of a TCP socket, of as many bytes as `value` has.
pub(crate) fn tcp_option(socket: impl AsFd, option: c_int, value: &mut [u8]) -> io::Result<()> {
    let mut length = value.len() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `length` bytes, and so many are there.
    let answer = unsafe {
        libc::getsockopt(
            socket,
            libc::IPPROTO_TCP,
            option,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match answer {
        0 if length as usize == value.len() => Ok(()),
        0 => Err(io::ErrorKind::InvalidData.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets an option of a TCP socket.
pub(crate) fn set_tcp_option(socket: impl AsFd, option: c_int, value: &[u8]) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel reads `length` bytes, and so many are there.
    let answer = unsafe { libc::setsockopt(socket, libc::IPPROTO_TCP, option, value.as_ptr().cast(), length) };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
