//! The ioctls of loop devices: the only unsafe code of this crate.
//!
//! `LOOP_CONFIGURE` takes 304 bytes, in the machine's byte order (`struct loop_config`, `include/uapi/linux/loop.h`):
//!
//! ```text
//! offset width what                          offset width what
//!      0     4 backing file's descriptor         52     8 encryption and key size, 0
//!      4     4 block size, bytes                 60     4 flags
//!      8    24 device, inode, rdevice, 0         64    64 name, for people, ends with NUL
//!     32     8 first byte of the file, 0        128    64 cipher's name, 0
//!     40     8 size limit, 0 is none            192    48 key and init, 0
//!     48     4 number, 0                        240    64 reserved, 0
//! ```
#![expect(
    unsafe_code,
    reason = "an ioctl's argument is known to the kernel and not to the compiler"
)]

use rustix::io;
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Setter, ioctl};
use std::ffi::c_void;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

const LOOP_CLR_FD: Opcode = 0x4C01;
const LOOP_CONFIGURE: Opcode = 0x4C0A;
const LOOP_CTL_GET_FREE: Opcode = 0x4C82;

const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

const CONFIG_BYTES: usize = 304;

/// Bytes of a name that people see in `losetup -l`, less its NUL.
const NAME_BYTES_MAX: usize = 63;

/// The number of a loop device that nobody used a moment ago; the kernel makes one when there is none.
pub(super) fn free_loop(control: impl AsFd) -> io::Result<u32> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number; `GetFree` passes none and reads the number.
    unsafe { ioctl(control, GetFree) }
}

/// Puts `device` over `backing`: read-only, with direct I/O, until its last descriptor and mount are gone.
pub(super) fn configure_loop(
    device: impl AsFd,
    backing: BorrowedFd<'_>,
    block_bytes: u32,
    name: &[u8],
) -> io::Result<()> {
    let argument = config(backing, block_bytes, name);
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, 304 bytes without a pointer in them, of any content and
    // alignment, and writes nothing; the argument has that length.
    unsafe { ioctl(device, Setter::<LOOP_CONFIGURE, [u8; CONFIG_BYTES]>::new(argument)) }
}

/// Takes `device` from its file; if it is in use, as soon as it is not.
pub(super) fn clear_loop(device: impl AsFd) -> io::Result<()> {
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { ioctl(device, NoArg::<LOOP_CLR_FD>::new()) }
}

fn config(backing: BorrowedFd<'_>, block_bytes: u32, name: &[u8]) -> [u8; CONFIG_BYTES] {
    let flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    let name = &name[..name.len().min(NAME_BYTES_MAX)];
    let mut config = [0; CONFIG_BYTES];
    config[0..4].copy_from_slice(&backing.as_raw_fd().to_ne_bytes());
    config[4..8].copy_from_slice(&block_bytes.to_ne_bytes());
    config[60..64].copy_from_slice(&flags.to_ne_bytes());
    config[64..64 + name.len()].copy_from_slice(name);
    config
}

/// `LOOP_CTL_GET_FREE`, whose result is what the call returns.
struct GetFree;

// SAFETY: no argument is passed, so nothing is read or written through the pointer; `IS_MUTATING` is the careful value.
unsafe impl Ioctl for GetFree {
    type Output = u32;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        LOOP_CTL_GET_FREE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::null_mut()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> io::Result<u32> {
        u32::try_from(output).map_err(|_| io::Errno::INVAL)
    }
}
