//! Extended attributes: in the inode while they fit, the rest in one block that equal sets share.
//!
//! ```text
//! inode:  offset 160: u32 magic 0xEA020000, entries from 164, values from the inode's end downwards
//! block:  offset  0: u32 magic, u32 reference count, u32 blocks (1), u32 hash, 16 reserved; entries from 32
//! entry:  u8 name length, u8 namespace, u16 value offset, u32 0, u32 value length, u32 hash, name padded to 4
//! ```
//! Value offsets count from the first entry in an inode, from the block's start in a block. Entries end with a zero
//! word. Source: linux `fs/ext4/xattr.h`.

use super::{BLOCK_BYTES, Fields, INODE_BYTES};
use crate::xattr::Xattr;

const MAGIC: u32 = 0xEA02_0000;
/// Where the attributes start in an inode: behind 128 bytes and the 32 of the extra fields.
pub(super) const INODE_AREA_START: usize = 160;
const BLOCK_HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 16;
const END_BYTES: usize = 4;
/// How many inodes may share a block: EXT4_XATTR_REFCOUNT_MAX.
pub(super) const BLOCK_REFERENCES_MAX: u32 = 1024;

/// Which attributes stand in the inode; the others go to a block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fit<'a> {
    pub(super) in_inode: Vec<&'a Xattr>,
    pub(super) in_block: Vec<&'a Xattr>,
}

/// Places a set, which is in ext4's order; `None` when even a block is too small.
pub(crate) fn fit(xattrs: &[Xattr]) -> Option<Fit<'_>> {
    let mut inode_bytes = INODE_BYTES - INODE_AREA_START - 4 - END_BYTES;
    let mut block_bytes = BLOCK_BYTES - BLOCK_HEADER_BYTES - END_BYTES;
    let mut fit = Fit {
        in_inode: Vec::new(),
        in_block: Vec::new(),
    };
    for xattr in xattrs {
        let bytes = space(xattr);
        if bytes <= inode_bytes {
            inode_bytes -= bytes;
            fit.in_inode.push(xattr);
        } else {
            block_bytes = block_bytes.checked_sub(bytes)?;
            fit.in_block.push(xattr);
        }
    }
    Some(fit)
}

/// Fills an inode's area, from [`INODE_AREA_START`] to its end.
pub(super) fn write_in_inode(area: &mut [u8], xattrs: &[&Xattr]) {
    if !xattrs.is_empty() {
        Fields(area).u32(0, MAGIC);
        write_entries(&mut area[4..], 0, xattrs);
    }
}

/// A block to which `references` inodes point.
pub(super) fn block(xattrs: &[&Xattr], references: u32) -> [u8; BLOCK_BYTES] {
    let mut block = [0; BLOCK_BYTES];
    let mut fields = Fields(&mut block);
    fields.u32(0, MAGIC);
    fields.u32(4, references);
    fields.u32(8, 1);
    fields.u32(
        12,
        xattrs
            .iter()
            .fold(0_u32, |hash, xattr| hash.rotate_left(16) ^ entry_hash(xattr)),
    );
    write_entries(&mut block, BLOCK_HEADER_BYTES, xattrs);
    block
}

/// Writes entries from `start` and values from the end of `area`, whose start is what value offsets count from.
fn write_entries(area: &mut [u8], start: usize, xattrs: &[&Xattr]) {
    let mut entry = start;
    let mut values = area.len();
    for xattr in xattrs {
        values -= xattr.value.len().next_multiple_of(4);
        let mut fields = Fields(area);
        fields.u8(entry, xattr.name.len() as u8);
        fields.u8(entry + 1, xattr.index);
        fields.u16(entry + 2, if xattr.value.is_empty() { 0 } else { values as u16 });
        fields.u32(entry + 8, xattr.value.len() as u32);
        fields.u32(entry + 12, entry_hash(xattr));
        fields.bytes(entry + ENTRY_BYTES, &xattr.name);
        fields.bytes(values, &xattr.value);
        entry += (ENTRY_BYTES + xattr.name.len()).next_multiple_of(4);
    }
}

fn space(xattr: &Xattr) -> usize {
    (ENTRY_BYTES + xattr.name.len()).next_multiple_of(4) + xattr.value.len().next_multiple_of(4)
}

fn entry_hash(xattr: &Xattr) -> u32 {
    let name = xattr
        .name
        .iter()
        .fold(0_u32, |hash, byte| hash.rotate_left(5) ^ u32::from(*byte));
    xattr.value.chunks(4).fold(name, |hash, bytes| {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}
