//! Which system calls the processes of a sandbox may make.
//!
//! Two filters, of which the stricter answer counts, and of two refusals that of the second. The first allows a list
//! and answers ENOSYS to all else, also to calls that are newer than the list: a C library then falls back to an older
//! call, as it must for `clone3`, whose flags no filter can see. The second answers EPERM where a program should hear
//! that it may not, and not that the kernel is old.

mod allowed;
mod ranges;

use crate::wire::{Failure, Step};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::collections::BTreeMap;

/// Namespaces are how one gains capabilities over much kernel code; nothing inside needs more of them.
const NAMESPACE_FLAGS: [libc::c_int; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    // CLONE_NEWTIME, which libc does not name.
    0x80,
];
/// Local, IPv4, IPv6, and netlink, by which C libraries list addresses. All the others are rarely used kernel code, and
/// vsock would reach the host that a virtual machine runs on.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
/// Linux, its 32-bit address layout, and the question for the current one. Source: Docker's default profile.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Both filters, compiled once for all sandboxes.
pub(crate) struct Filters {
    allowing: BpfProgram,
    refusing: BpfProgram,
}

impl Filters {
    pub(crate) fn build() -> Self {
        let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32));
        Self {
            allowing: compile(allowing(), SeccompAction::Errno(libc::ENOSYS as u32), allow.clone()),
            refusing: compile(refusing(), allow, refuse),
        }
    }

    /// Binds this thread and all its children, for good. Needs no-new-privileges.
    pub(crate) fn install(&self) -> Result<(), Failure> {
        for filter in [&self.allowing, &self.refusing] {
            apply_filter(filter)
                .map_err(std::io::Error::other)
                .step(|| "install the system call filter".to_owned())?;
        }
        Ok(())
    }
}

fn compile(rules: Rules, otherwise: SeccompAction, matching: SeccompAction) -> BpfProgram {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("Lambent is built for x86_64 and aarch64");
    let answer = matching.clone().into();
    let (plain, judged): (Rules, Rules) = rules.into_iter().partition(|(_, conditions)| conditions.is_empty());
    let plain: Vec<i64> = plain.into_keys().collect();
    let filter = SeccompFilter::new(judged, otherwise, matching, architecture)
        .and_then(BpfProgram::try_from)
        .expect("both tables are constant, and a test compiles them");
    ranges::answer_first(&plain, answer, filter)
}

fn allowing() -> Rules {
    let plain = allowed::EVERYWHERE
        .iter()
        .chain(allowed::HERE)
        .map(|call| (*call, Vec::new()));
    let mut rules: Rules = plain.collect();
    let all_namespaces = NAMESPACE_FLAGS.iter().fold(0, |all, flag| all | *flag) as u32;
    rules.insert(
        libc::SYS_clone,
        vec![rule(&[(0, SeccompCmpOp::MaskedEq(u64::from(all_namespaces)), 0)])],
    );
    let families = FAMILIES
        .iter()
        .map(|family| rule(&[(0, SeccompCmpOp::Eq, *family as u64)]));
    rules.insert(libc::SYS_socket, families.collect());
    let personalities = PERSONALITIES.iter().map(|value| rule(&[(0, SeccompCmpOp::Eq, *value)]));
    rules.insert(libc::SYS_personality, personalities.collect());
    rules
}

fn refusing() -> Rules {
    let mut rules: Rules = allowed::REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let asks_for = |flag: &libc::c_int| rule(&[(0, SeccompCmpOp::MaskedEq(*flag as u64), *flag as u64)]);
    rules.insert(libc::SYS_clone, NAMESPACE_FLAGS.iter().map(asks_for).collect());
    rules.insert(
        libc::SYS_socket,
        vec![rule(&FAMILIES.map(|family| (0, SeccompCmpOp::Ne, family as u64)))],
    );
    rules.insert(
        libc::SYS_personality,
        vec![rule(&PERSONALITIES.map(|value| (0, SeccompCmpOp::Ne, value)))],
    );
    rules
}

/// All conditions on arguments hold: index, comparison, value. The kernel takes 32 bits of each of these arguments.
fn rule(conditions: &[(u8, SeccompCmpOp, u64)]) -> SeccompRule {
    let conditions = conditions.iter().map(|(argument, operator, value)| {
        SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, operator.clone(), *value)
            .expect("a call has six arguments, and the highest index here is 0")
    });
    SeccompRule::new(conditions.collect()).expect("every rule here has a condition")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_compile_and_no_call_is_in_both_lists() {
        Filters::build();
        let allowed = allowing();
        for call in allowed::REFUSED {
            assert!(!allowed.contains_key(call), "call {call} is allowed and refused");
        }
    }
}
