//! The superblock: 1,024 bytes at byte 1,024.
//!
//! Field offsets are those of the kernel's `Documentation/filesystems/ext4/super.rst`; only fields that are not zero
//! are written. No time of day anywhere: mounting and checking times are 0.

use super::geometry::{GROUP_BLOCKS, Geometry};
use super::{FIRST_INODE, Fields, INODE_BYTES, directory};

pub(super) const SUPERBLOCK_OFFSET: usize = 1024;

/// One UUID for all images: equal trees must give equal bytes. In ASCII: "lambent image v1".
const UUID: &[u8; 16] = b"lambent image v1";

const COMPAT_EXTENDED_ATTRIBUTES: u32 = 0x8;
const COMPAT_DIRECTORY_INDEX: u32 = 0x20;
const COMPAT_SPARSE_SUPER2: u32 = 0x200;
const INCOMPAT_FILE_TYPE: u32 = 0x2;
const INCOMPAT_EXTENTS: u32 = 0x40;
const INCOMPAT_FLEX_GROUPS: u32 = 0x200;
const RO_COMPAT_LARGE_FILE: u32 = 0x2;
const RO_COMPAT_HUGE_FILE: u32 = 0x8;
const RO_COMPAT_DIRECTORY_LINKS: u32 = 0x20;
const RO_COMPAT_EXTRA_INODE_SIZE: u32 = 0x40;
const FLAG_UNSIGNED_HASH: u32 = 0x2;
/// Attributes and access control lists are on without a mount option.
const MOUNT_USER_XATTR_AND_ACL: u32 = 0x4 | 0x8;

/// What is free, over all groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    pub(super) blocks: u32,
    pub(super) inodes: u32,
}

pub(super) fn encode(geometry: &Geometry, free: Free) -> [u8; 1024] {
    let mut bytes = [0; 1024];
    let mut fields = Fields(&mut bytes);
    fields.u32(0, geometry.groups * geometry.inodes_per_group);
    fields.u32(4, geometry.blocks);
    fields.u32(12, free.blocks);
    fields.u32(16, free.inodes);
    // Block and cluster size as 1,024 << n.
    fields.u32(24, 2);
    fields.u32(28, 2);
    fields.u32(32, GROUP_BLOCKS);
    fields.u32(36, GROUP_BLOCKS);
    fields.u32(40, geometry.inodes_per_group);
    // Never check by count of mounts.
    fields.u16(54, u16::MAX);
    fields.u16(56, 0xEF53);
    // Cleanly unmounted; on errors, remount read-only.
    fields.u16(58, 1);
    fields.u16(60, 2);
    // Revision 1: inode size and features are given.
    fields.u32(76, 1);
    fields.u32(84, FIRST_INODE);
    fields.u16(88, INODE_BYTES as u16);
    fields.u32(
        92,
        COMPAT_EXTENDED_ATTRIBUTES | COMPAT_DIRECTORY_INDEX | COMPAT_SPARSE_SUPER2,
    );
    fields.u32(96, INCOMPAT_FILE_TYPE | INCOMPAT_EXTENTS | INCOMPAT_FLEX_GROUPS);
    let read_only = RO_COMPAT_LARGE_FILE | RO_COMPAT_HUGE_FILE | RO_COMPAT_DIRECTORY_LINKS | RO_COMPAT_EXTRA_INODE_SIZE;
    fields.u32(100, read_only);
    fields.bytes(104, UUID);
    fields.bytes(120, b"lambent");
    // The hash seed (236) stays zero, which makes ext4 use MD4's own start values.
    fields.u8(252, directory::HASH_VERSION);
    fields.u32(256, MOUNT_USER_XATTR_AND_ACL);
    fields.u16(348, 32);
    fields.u16(350, 32);
    fields.u32(352, FLAG_UNSIGNED_HASH);
    // All groups are one flexible group; 2^30 groups would be far more than 16 TiB.
    fields.u8(372, geometry.groups.next_power_of_two().trailing_zeros().max(1) as u8);
    bytes
}
