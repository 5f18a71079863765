//! What init may still do, and its children not at all.

use crate::kernel;
use crate::wire::{Failure, Step};
use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

/// To start a process as its user, to give that user its output pipe, and to signal it. All of them hold over ids of
/// this sandbox only.
const KEPT: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::KILL);

/// Until now init has the host's root as its user, which is nobody here. All capabilities stay.
pub(crate) fn become_root_inside() -> Result<(), Failure> {
    let change = || {
        set_thread_groups(&[])?;
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
    };
    change().step(|| "become root inside".to_owned())
}

/// Gives up for good what building needed. The bounding set and no-new-privileges pass on to all children.
pub(super) fn keep_the_few() -> Result<(), Failure> {
    kernel::drop_bounding_set().step(|| "empty the bounding set".to_owned())?;
    clear_ambient_capability_set().step(|| "clear ambient capabilities".to_owned())?;
    set_no_new_privs(true).step(|| "forbid new privileges".to_owned())?;
    set(KEPT)
}

/// No capability at all.
pub(super) fn keep_nothing() -> Result<(), Failure> {
    set(CapabilitySet::empty())
}

fn set(kept: CapabilitySet) -> Result<(), Failure> {
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).step(|| "drop capabilities".to_owned())
}
