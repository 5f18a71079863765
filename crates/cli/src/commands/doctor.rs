//! `lambent doctor`: what this machine has of what Lambent needs, and what to do about the rest.
//!
//! Nothing is changed: files are read, devices opened, programs asked for their versions.

use crate::arguments::GlobalArguments;
use crate::environment;
use crate::output;
use anyhow::Result;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, geteuid, getrlimit};
use sandbox::{Criu, processor_class};
use serde::Serialize;
use std::fs;
use std::process::{Command, ExitCode, Stdio};

/// Linux from which on a daemon's successor answers what its predecessor left open. Source: Linux 6.9, FUSE_NOTIFY_RESEND.
const KERNEL_MIN: (u32, u32) = (6, 9);
/// Each environment holds some ten descriptors, each mounted image five; a thousand environments are to fit.
const FILES_MIN: u64 = 16_384;
/// Of all processes of the machine: half of them are for environments, and each may have 1,024.
const PROCESSES_MIN: u64 = 16_384;
/// Of users and of processes, each sandbox has one.
const NAMESPACES_MIN: u64 = 1000;
/// Where Debian puts it is not in everybody's PATH.
const NFT: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// One thing that was looked at.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Check {
    name: &'static str,
    state: State,
    /// What is there.
    found: String,
    /// What to do; empty where all is well.
    advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Something works without it; the advice says what does not.
    Absent,
    /// Functions or images do not work without it.
    Missing,
}

/// Prints the checks; fails when something is missing that everything needs.
pub(crate) fn run(global: &GlobalArguments) -> Result<ExitCode> {
    let checks = [
        user(),
        kernel(&read("/proc/sys/kernel/osrelease")),
        control_groups(),
        namespaces(),
        device("fuse", "/dev/fuse", "load the kernel's module: modprobe fuse"),
        device(
            "loop devices",
            "/dev/loop-control",
            "load the kernel's module: modprobe loop",
        ),
        seccomp(&read("/proc/sys/kernel/seccomp/actions_avail")),
        open_files(getrlimit(Resource::Nofile).maximum),
        processes(&read("/proc/sys/kernel/pid_max")),
        nft(),
        criu(),
    ];
    let is_well = checks.iter().all(|check| check.state != State::Missing);
    if global.json {
        output::print_json(&checks)?;
    } else {
        print(&checks);
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(checks: &[Check]) {
    for check in checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Absent => "absent",
            State::Missing => "MISSING",
        };
        println!("{state:<8} {:<15} {}", check.name, check.found);
        if !check.advice.is_empty() {
            println!("{:<24} -> {}", "", check.advice);
        }
    }
}

fn ok(name: &'static str, found: impl Into<String>) -> Check {
    Check {
        name,
        state: State::Ok,
        found: found.into(),
        advice: String::new(),
    }
}

fn missing(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    Check {
        state: State::Missing,
        advice: advice.into(),
        ..ok(name, found)
    }
}

fn absent(name: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Check {
    Check {
        state: State::Absent,
        ..missing(name, found, advice)
    }
}

/// Empty where there is nothing to read.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn user() -> Check {
    if geteuid().is_root() {
        return ok("user", "root");
    }
    let advice = "mounts and sandboxes need root: run `lambent up` and `lambent image mount` with sudo";
    missing("user", "not root", advice)
}

fn kernel(release: &str) -> Check {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= KERNEL_MIN {
        return ok("kernel", release);
    }
    let (major, minor) = KERNEL_MIN;
    let advice = format!("reads do not survive a daemon's death before Linux {major}.{minor}: install a newer kernel");
    missing("kernel", release, advice)
}

fn control_groups() -> Check {
    match sandbox::control_groups() {
        Ok(found) => ok("control groups", found),
        Err(error) => missing(
            "control groups",
            error.to_string(),
            "boot with control groups (systemd does), and let this process's group have memory, cpu and pids",
        ),
    }
}

fn namespaces() -> Check {
    let kinds = ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"];
    let lacking: Vec<_> = kinds
        .into_iter()
        .filter(|kind| fs::metadata(format!("/proc/self/ns/{kind}")).is_err())
        .collect();
    if !lacking.is_empty() {
        let found = format!("the kernel lacks {}", lacking.join(", "));
        return missing("namespaces", found, "use a kernel that was built with all namespaces");
    }
    let limits = ["user", "pid"].map(|kind| (kind, number(&read(&format!("/proc/sys/user/max_{kind}_namespaces")))));
    match limits.into_iter().find(|(_, limit)| *limit < NAMESPACES_MIN) {
        None => ok("namespaces", kinds.join(", ")),
        Some((kind, limit)) => missing(
            "namespaces",
            format!("at most {limit} of kind {kind}"),
            format!("allow more: sysctl user.max_{kind}_namespaces=10000"),
        ),
    }
}

fn device(name: &'static str, path: &str, advice: &str) -> Check {
    match rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => ok(name, path),
        Err(error) => missing(name, format!("cannot open {path}: {error}"), advice),
    }
}

fn seccomp(actions: &str) -> Check {
    if ["errno", "allow"]
        .iter()
        .all(|action| actions.split(' ').any(|found| found == *action))
    {
        return ok("seccomp", "filters");
    }
    missing(
        "seccomp",
        "no filters",
        "use a kernel that was built with CONFIG_SECCOMP_FILTER",
    )
}

fn open_files(limit: Option<u64>) -> Check {
    match limit.filter(|limit| *limit < FILES_MIN) {
        None => ok(
            "open files",
            limit.map_or_else(|| "without limit".to_owned(), |limit| limit.to_string()),
        ),
        Some(limit) => absent(
            "open files",
            limit.to_string(),
            format!("enough for a few environments only: ulimit -Hn {FILES_MIN}, or LimitNOFILE= of the service"),
        ),
    }
}

fn processes(pid_max: &str) -> Check {
    if number(pid_max) >= PROCESSES_MIN {
        return ok("processes", pid_max);
    }
    let advice = "enough for a few environments only: sysctl kernel.pid_max=4194304";
    absent("processes", pid_max, advice)
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn nft() -> Check {
    let version = |program: &&str| {
        let output = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    match NFT.iter().find_map(version) {
        Some(version) => ok("nft", version),
        None => absent(
            "nft",
            "no such program",
            "functions reach the network (lambent up --network nat) with it only: apt-get install nftables",
        ),
    }
}

/// The first that can be used; of several that cannot, the reason of the first that is there.
fn criu() -> Check {
    let mut reasons = Vec::new();
    for place in environment::criu_places() {
        match Criu::open(&place) {
            Ok(criu) => {
                let found = format!("{} in {}, for {}", criu.version(), place.display(), processor_class());
                return ok("criu", found);
            }
            Err(error) if place.join("usr/sbin/criu").exists() => reasons.push(error.to_string()),
            Err(_) => {}
        }
    }
    let advice = "snapshots of processes need it, and nothing else: unpack Debian sid's package `criu` with its libraries \
        into /usr/lib/lambent/criu (in a checkout, `cargo xtask setup` does so for tests)";
    let found = reasons.into_iter().next();
    absent(
        "criu",
        found.unwrap_or_else(|| "none of 4.2 or newer".to_owned()),
        advice,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_number() {
        for (release, expected) in [
            ("6.9.0", State::Ok),
            ("6.18.44-fc-v669", State::Ok),
            ("7.0-rc1", State::Ok),
            ("6.1.0-39-amd64", State::Missing),
            ("5.15.167.4-microsoft-standard-WSL2", State::Missing),
            ("", State::Missing),
        ] {
            assert_eq!(kernel(release).state, expected, "{release}");
        }
    }

    #[test]
    fn what_is_not_well_comes_with_advice() {
        let all = [
            kernel("5.4"),
            device("fuse", "/dev/no such device", "make one"),
            seccomp("kill_process kill_thread trap"),
            open_files(Some(1024)),
            processes("4096"),
        ];
        for check in all {
            assert_ne!(check.state, State::Ok, "{check:?}");
            assert!(!check.advice.is_empty() && !check.found.is_empty(), "{check:?}");
        }
    }

    #[test]
    fn what_is_well_needs_no_advice() {
        let all = [
            open_files(None),
            open_files(Some(1 << 20)),
            processes("32768"),
            seccomp("kill_process errno trace log allow"),
        ];
        for check in all {
            assert_eq!((check.state, check.advice.as_str()), (State::Ok, ""), "{check:?}");
        }
    }
}
