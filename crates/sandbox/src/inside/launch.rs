//! From a fork of init to the program that was asked for.

use super::{rights, user};
use crate::kernel::{self, Blocked};
use crate::spec::ProcessSpec;
use crate::wire::{Failure, LaunchFailure, Step};
use rustix::fs::{Mode, OFlags, fchown};
use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Where a program is looked up if its environment has no `PATH`. Source: Docker's default for images without one.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes the program; returns only if that fails. Capabilities are gone, no-new-privileges and the system call filter
/// are inherited from init.
pub(super) fn launch(process: &ProcessSpec, output: &OwnedFd, files_max: u64) -> LaunchFailure {
    match prepare(process, output, files_max) {
        Err(failure) => failure,
        Ok(()) => LaunchFailure::Program {
            errno: execute(process),
        },
    }
}

fn prepare(process: &ProcessSpec, output: &OwnedFd, files_max: u64) -> Result<(), LaunchFailure> {
    rustix::process::setsid().step(|| "make a session".to_owned())?;
    kernel::reset_signals();
    kernel::block_signals(Blocked::None).step(|| "unblock signals".to_owned())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    limit(Resource::Nofile, files_max)?;
    limit(Resource::Core, 0)?;
    let identity = user::find(&process.user).map_err(|error| LaunchFailure::User {
        problem: error.to_string(),
    })?;
    streams(output, &identity)?;
    become_user(&identity)?;
    rights::keep_nothing()?;
    rustix::process::chdir(process.working_directory.as_str()).map_err(|error| LaunchFailure::Directory {
        errno: error.raw_os_error(),
    })
}

fn limit(resource: Resource, most: u64) -> Result<(), Failure> {
    let both = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, both).step(|| format!("limit {resource:?} to {most}"))
}

/// Nothing to read, and one pipe for all that is written. The pipe belongs to the user, so that a program may open
/// `/dev/stdout` again.
fn streams(output: &OwnedFd, identity: &user::Identity) -> Result<(), Failure> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .step(|| "open /dev/null".to_owned())?;
    let give = || {
        fchown(
            output,
            Some(Uid::from_raw(identity.user)),
            Some(Gid::from_raw(identity.group)),
        )?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(output)
    };
    give().step(|| "connect its output".to_owned())
}

fn become_user(identity: &user::Identity) -> Result<(), Failure> {
    let groups: Vec<_> = identity.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
    let change = || {
        set_thread_groups(&groups)?;
        set_thread_res_gid(group, group, group)?;
        set_thread_res_uid(user, user, user)
    };
    change().step(|| format!("become user {}", identity.user))
}

/// The error number of the most telling attempt.
fn execute(process: &ProcessSpec) -> i32 {
    let text = |text: &String| CString::new(text.as_str()).ok();
    let arguments: Option<Vec<_>> = process.arguments.iter().map(text).collect();
    let variables = process
        .environment
        .iter()
        .map(|(name, value)| CString::new(format!("{name}={value}")).ok());
    let (Some(arguments), Some(environment)) = (arguments, variables.collect::<Option<Vec<_>>>()) else {
        return libc::EINVAL;
    };
    let path = process
        .environment
        .iter()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_str());
    let mut refused = libc::ENOENT;
    for candidate in candidates(&process.arguments[0], path.unwrap_or(PATH_DEFAULT)) {
        let Ok(candidate) = CString::new(candidate) else {
            return libc::EINVAL;
        };
        match kernel::execute(&candidate, &arguments, &environment).raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            // As a shell does: a later directory may have one that is allowed.
            Some(libc::EACCES) => refused = libc::EACCES,
            other => return other.unwrap_or(libc::EIO),
        }
    }
    refused
}

/// An empty part of `PATH` is the working directory, as in every shell.
fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let join = |directory: &str| {
        if directory.is_empty() {
            program.to_owned()
        } else {
            format!("{directory}/{program}")
        }
    };
    path.split(':').map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_looked_up() {
        assert_eq!(candidates("./a", "/bin:/sbin"), ["./a"]);
        assert_eq!(candidates("a", "/bin::/sbin"), ["/bin/a", "a", "/sbin/a"]);
    }
}
