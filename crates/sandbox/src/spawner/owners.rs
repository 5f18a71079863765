//! Whose the files of a shared directory are.
//!
//! An image's owners are the ids 0..=65535 of the sandbox. A directory of the operator's has an owner on the host, which
//! is to be root inside: so its mount is mapped by a user namespace of its own, in which the owner's id and those that
//! follow it stand for the sandbox's ids from 0 on. What others own on the host belongs to nobody inside.
//!
//! A namespace has to have a process while it is made; this one does nothing, and ends when the mount has taken it.

use super::ranges::RANGE_IDS;
use crate::kernel::{self, Forked};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;

/// A user namespace in which a directory's owner and group are the first id of the sandbox's range.
pub(super) fn namespace(user: u32, group: u32, ids_from: u32) -> io::Result<OwnedFd> {
    let (mut wait, hold) = io::pipe()?;
    let Forked::Parent(holder) = kernel::clone_init(libc::CLONE_NEWUSER, None)? else {
        drop(hold);
        // Until the builder lets go of the other end, or dies.
        let _ = wait.read(&mut [0]);
        kernel::exit_now(0);
    };
    for (file, first) in [("uid_map", user), ("gid_map", group)] {
        fs::write(format!("/proc/{holder}/{file}"), map(first, ids_from))?;
    }
    Ok(File::open(format!("/proc/{holder}/ns/user"))?.into())
}

/// Ids end at 2^32 - 2.
fn map(first: u32, ids_from: u32) -> String {
    let count = RANGE_IDS.min(u32::MAX - first);
    format!("{first} {ids_from} {count}\n")
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn ranges_end_where_ids_end() {
        assert_eq!(map(0, 1_000_000), "0 1000000 65536\n");
        assert_eq!(map(12_345, 1_000_000), "12345 1000000 65536\n");
        assert_eq!(map(u32::MAX - 1, 1_000_000), "4294967294 1000000 1\n");
    }
}
