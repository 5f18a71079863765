//! The part of the FUSE protocol that a read-only file system of one directory needs, as bytes.
//!
//! The kernel and this code run on one machine, so the protocol has the machine's byte order; only little-endian
//! machines are supported. Source: `include/uapi/linux/fuse.h` of Linux 6.18 (protocol 7.45; we speak 7.41).
//!
//! ```text
//! every request           every reply              LOOKUP    name, then NUL
//! offset width what       offset width what        OPEN      0 4 flags
//!      0     4 length          0     4 length      READ      0 8 handle   8 8 offset   16 4 bytes   20 20 unused
//!      4     4 opcode          4     4 -errno      RELEASE   0 8 handle   8 16 unused
//!      8     8 unique          8     8 unique      READDIR   as READ
//!     16     8 node           16       body        INIT      0 4 major    4 4 minor    8 4 max_readahead
//!     24     4 uid                                          12 4 flags   16 4 flags2  20 44 unused (absent before 7.36)
//!     28     4 gid
//!     32     4 pid
//!     36     4 unused
//!     40       body
//! ```
//! The top bit of `unique` marks a request that the kernel sends again (`FUSE_UNIQUE_RESEND`); a reply echoes `unique`
//! as it came. A length is checked before a field is read, so no request, however malformed, does more than fail.

/// Bytes before the body of a request.
const REQUEST_HEADER_BYTES: usize = 40;

/// Bytes before the body of a reply.
pub(super) const REPLY_HEADER_BYTES: usize = 16;

/// Bytes that a worker offers for one request: the kernel's `FUSE_MIN_READ_BUFFER`, and enough for a write of
/// [`WRITE_BYTES_MAX`], the most that the kernel will send us.
pub(super) const REQUEST_BYTES_MAX: usize = 8192;

/// The smallest value that the kernel takes. Nobody may write; a small value keeps the workers' buffers small.
const WRITE_BYTES_MAX: u32 = 4096;

/// Pages in one request: 1 MiB, the kernel's own bound (`fs.fuse.max_pages_limit`), measured best in `data-path.md`.
const REQUEST_PAGES_MAX: u16 = 256;

/// Requests in flight that nobody waits for in person: all that a loop device sends. 512: four loop devices at their
/// queue's depth of 128; beyond it requests queue in the kernel.
const BACKGROUND_MAX: u16 = 512;

/// Requests in flight from which the kernel holds back its read-ahead: three quarters, as the kernel's own default has it.
const CONGESTION_THRESHOLD: u16 = BACKGROUND_MAX / 4 * 3;

/// Read-ahead on the FUSE file itself, which only tests read without a loop device.
const READ_AHEAD_BYTES_MAX: u32 = 1024 * 1024;

const PROTOCOL_MAJOR: u32 = 7;
const PROTOCOL_MINOR: u32 = 41;

/// 7.28, Linux 4.20: the first that knows `FUSE_MAX_PAGES`.
pub(super) const PROTOCOL_MINOR_MIN: u32 = 28;

// Bits of INIT's `flags`, and of `flags2` shifted by 32.
const ASYNC_READ: u64 = 1 << 0;
const ASYNC_DIO: u64 = 1 << 15;
const PARALLEL_DIROPS: u64 = 1 << 18;
const MAX_PAGES: u64 = 1 << 22;
const INIT_EXT: u64 = 1 << 30;
const HAS_RESEND: u64 = 1 << 39;
const FLAGS_WANTED: u64 = ASYNC_READ | ASYNC_DIO | PARALLEL_DIROPS | MAX_PAGES | INIT_EXT | HAS_RESEND;

/// `FUSE_NOTIFY_RESEND`, in the place of a reply's error.
const NOTIFY_RESEND: i32 = 7;

/// `FOPEN_DIRECT_IO`: nothing is cached between the file and its reader. The page cache that matters is that of the
/// ext4 above the loop device; a second one below it would hold every page twice.
const OPEN_DIRECT_IO: u32 = 1 << 0;

/// Seconds for which the kernel may keep names and attributes: a year. They never change.
const VALID_SECONDS: u64 = 365 * 24 * 60 * 60;

/// The node id of the file system's directory, by the protocol.
pub(super) const ROOT_NODE: u64 = 1;

/// One request from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The request's number, which its reply repeats bit by bit.
    pub unique: u64,
    /// What it is about: 1 is the directory, a device's number plus one its file.
    pub node: u64,
    /// What it asks.
    pub operation: Operation<'a>,
}

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// The session's first request.
    Init {
        /// Protocol version.
        major: u32,
        /// Protocol version.
        minor: u32,
        /// The kernel's read-ahead.
        read_ahead_bytes: u32,
        /// What the kernel can do, `flags2` in the upper half.
        flags: u64,
    },
    /// A name in the directory.
    Lookup {
        /// The name, without its NUL.
        name: &'a [u8],
    },
    /// The kernel forgets nodes. It has no reply.
    Forget,
    /// A node's attributes.
    GetAttributes,
    /// Opens a file.
    Open {
        /// As of open(2).
        flags: u32,
    },
    /// Bytes of a file.
    Read {
        /// The first byte.
        offset: u64,
        /// How many.
        bytes: u32,
    },
    /// The last descriptor of an open file is closed.
    Release,
    /// Totals of the file system.
    StatFileSystem,
    /// Opens the directory.
    OpenDirectory,
    /// Entries of the directory.
    ReadDirectory {
        /// The entry after which to go on.
        offset: u64,
        /// The most bytes that the reply's body may have.
        bytes: u32,
    },
    /// Closes the directory.
    ReleaseDirectory,
    /// May this user do that?
    Access,
    /// A wish to give up another request. It has no reply.
    Interrupt,
    /// The session's last request.
    Destroy,
    /// Something that would change the file system.
    Change,
    /// Anything else, by its opcode.
    Other(u32),
}

/// A request that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Too short to have a header, so it cannot even be answered.
    #[error("a request of {bytes} bytes is shorter than a request's header")]
    Header {
        /// Its length.
        bytes: usize,
    },
    /// The length in the header is not the length that was read.
    #[error("a request of {bytes} bytes says that it has {said}")]
    Length {
        /// What was read.
        bytes: usize,
        /// What it says.
        said: u32,
    },
    /// The body lacks something.
    #[error("the body of request {unique:#x}, opcode {opcode}, is cut short or malformed")]
    Body {
        /// The request's number, so that it can be refused.
        unique: u64,
        /// What it asks.
        opcode: u32,
    },
}

/// Reads one request as it came from `/dev/fuse`.
pub fn parse_request(bytes: &[u8]) -> Result<Request<'_>, ParseError> {
    let header = Fields(
        bytes
            .get(..REQUEST_HEADER_BYTES)
            .ok_or(ParseError::Header { bytes: bytes.len() })?,
    );
    let body = Fields(&bytes[REQUEST_HEADER_BYTES..]);
    let short = ParseError::Header { bytes: bytes.len() };
    let said = header.u32(0).ok_or(short)?;
    if u64::from(said) != bytes.len() as u64 {
        return Err(ParseError::Length {
            bytes: bytes.len(),
            said,
        });
    }
    let opcode = header.u32(4).ok_or(short)?;
    let unique = header.u64(8).ok_or(short)?;
    let node = header.u64(16).ok_or(short)?;
    let operation = parse_operation(opcode, &body).ok_or(ParseError::Body { unique, opcode })?;
    Ok(Request {
        unique,
        node,
        operation,
    })
}

fn parse_operation<'a>(opcode: u32, body: &Fields<'a>) -> Option<Operation<'a>> {
    Some(match opcode {
        1 => Operation::Lookup { name: body.name()? },
        2 | 42 => Operation::Forget,
        3 => Operation::GetAttributes,
        // SETATTR, SYMLINK .. LINK, WRITE, SETXATTR, REMOVEXATTR, CREATE, FALLOCATE, RENAME2, COPY_FILE_RANGE, TMPFILE
        4 | 6..=13 | 16 | 21 | 24 | 35 | 43 | 45 | 47 | 51 => Operation::Change,
        14 => Operation::Open { flags: body.u32(0)? },
        15 => Operation::Read {
            offset: body.u64(8)?,
            bytes: body.u32(16)?,
        },
        17 => Operation::StatFileSystem,
        18 => Operation::Release,
        26 => parse_init(body)?,
        27 => Operation::OpenDirectory,
        28 => Operation::ReadDirectory {
            offset: body.u64(8)?,
            bytes: body.u32(16)?,
        },
        29 => Operation::ReleaseDirectory,
        34 => Operation::Access,
        36 => Operation::Interrupt,
        38 => Operation::Destroy,
        other => Operation::Other(other),
    })
}

fn parse_init<'a>(body: &Fields<'_>) -> Option<Operation<'a>> {
    let flags = u64::from(body.u32(12)?);
    let extended = if flags & INIT_EXT == 0 { 0 } else { body.u32(16)? };
    Some(Operation::Init {
        major: body.u32(0)?,
        minor: body.u32(4)?,
        read_ahead_bytes: body.u32(8)?,
        flags: flags | u64::from(extended) << 32,
    })
}

/// Little-endian fields at fixed offsets of a slice; `None` beyond its end.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn u32(&self, offset: usize) -> Option<u32> {
        self.0.get(offset..)?.first_chunk().copied().map(u32::from_le_bytes)
    }

    fn u64(&self, offset: usize) -> Option<u64> {
        self.0.get(offset..)?.first_chunk().copied().map(u64::from_le_bytes)
    }

    /// The whole body as a name that ends at its first NUL.
    fn name(&self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        Some(&self.0[..end])
    }
}

/// A reply's header. `errno` is 0 or positive.
pub(super) fn reply_header(unique: u64, errno: i32, body_bytes: usize) -> [u8; REPLY_HEADER_BYTES] {
    let bytes = u32::try_from(REPLY_HEADER_BYTES + body_bytes).expect("a body has at most 1 MiB");
    header(bytes, -errno, unique)
}

/// The message that asks the kernel to send again what was read and not answered.
pub(super) fn resend_notice() -> [u8; REPLY_HEADER_BYTES] {
    header(REPLY_HEADER_BYTES as u32, NOTIFY_RESEND, 0)
}

fn header(bytes: u32, code: i32, unique: u64) -> [u8; REPLY_HEADER_BYTES] {
    let mut header = [0; REPLY_HEADER_BYTES];
    header[0..4].copy_from_slice(&bytes.to_le_bytes());
    header[4..8].copy_from_slice(&code.to_le_bytes());
    header[8..16].copy_from_slice(&unique.to_le_bytes());
    header
}

/// The body of INIT's reply, 64 bytes:
///
/// ```text
///  0 4 major   4 4 minor   8 4 max_readahead   12 4 flags   16 2 max_background   18 2 congestion_threshold
/// 20 4 max_write   24 4 time_gran, ns   28 2 max_pages   30 2 unused   32 4 flags2   36 28 unused
/// ```
pub(super) fn put_init(body: &mut Vec<u8>, read_ahead_bytes: u32, kernel_flags: u64) {
    let flags = kernel_flags & FLAGS_WANTED;
    put_u32(body, PROTOCOL_MAJOR);
    put_u32(body, PROTOCOL_MINOR);
    put_u32(body, read_ahead_bytes.min(READ_AHEAD_BYTES_MAX));
    put_u32(body, flags as u32);
    body.extend(BACKGROUND_MAX.to_le_bytes());
    body.extend(CONGESTION_THRESHOLD.to_le_bytes());
    put_u32(body, WRITE_BYTES_MAX);
    put_u32(body, 1);
    body.extend(REQUEST_PAGES_MAX.to_le_bytes());
    body.extend([0; 2]);
    put_u32(body, (flags >> 32) as u32);
    body.extend([0; 28]);
}

/// What a node is.
#[derive(Clone, Copy)]
pub(super) enum Node {
    /// The one directory.
    Root,
    /// A device's file.
    File {
        /// Its node id.
        node: u64,
        /// Its size.
        bytes: u64,
    },
}

impl Node {
    fn id(self) -> u64 {
        match self {
            Node::Root => ROOT_NODE,
            Node::File { node, .. } => node,
        }
    }
}

/// The body of LOOKUP's reply: `0 8 node   8 8 generation   16 8 name valid, s   24 8 attributes valid, s   32 8 ns of
/// both   40 88 attributes`.
pub(super) fn put_entry(body: &mut Vec<u8>, node: Node) {
    put_u64(body, node.id());
    put_u64(body, 0);
    put_u64(body, VALID_SECONDS);
    put_u64(body, VALID_SECONDS);
    put_u64(body, 0);
    put_attributes(body, node);
}

/// The body of GETATTR's reply: `0 8 valid, s   8 4 ns   12 4 unused   16 88 attributes`.
pub(super) fn put_attributes_reply(body: &mut Vec<u8>, node: Node) {
    put_u64(body, VALID_SECONDS);
    put_u64(body, 0);
    put_attributes(body, node);
}

/// Attributes, 88 bytes:
///
/// ```text
///  0 8 inode   8 8 bytes   16 8 blocks of 512   24 24 times, s   48 12 times, ns   60 4 mode   64 4 links
/// 68 4 uid    72 4 gid    76 4 device   80 4 block size   84 4 flags
/// ```
fn put_attributes(body: &mut Vec<u8>, node: Node) {
    let (bytes, mode, links) = match node {
        Node::Root => (0, 0o040_700, 2),
        Node::File { bytes, .. } => (bytes, 0o100_400, 1),
    };
    put_u64(body, node.id());
    put_u64(body, bytes);
    put_u64(body, bytes.div_ceil(512));
    body.extend([0; 24 + 12]);
    put_u32(body, mode);
    put_u32(body, links);
    body.extend([0; 12]);
    put_u32(body, 4096);
    put_u32(body, 0);
}

/// The body of OPEN's and OPENDIR's reply: `0 8 handle   8 4 flags   12 4 unused`.
pub(super) fn put_open(body: &mut Vec<u8>, handle: u64) {
    put_u64(body, handle);
    put_u32(body, OPEN_DIRECT_IO);
    put_u32(body, 0);
}

/// The body of STATFS's reply, 80 bytes: `0 40 blocks and files, total and free   40 4 block size   44 4 name length
/// 48 4 fragment size   52 28 unused`.
pub(super) fn put_stat_file_system(body: &mut Vec<u8>, files: u64) {
    body.extend([0; 24]);
    put_u64(body, files);
    put_u64(body, 0);
    put_u32(body, 4096);
    put_u32(body, 255);
    put_u32(body, 4096);
    body.extend([0; 28]);
}

/// Appends a directory entry, unless the body would then have more than `bytes_max`: `0 8 inode   8 8 offset of the
/// next   16 4 name length   20 4 type, 8 is a regular file   24 name, padded with zeros to a multiple of 8`.
pub(super) fn put_directory_entry(body: &mut Vec<u8>, node: u64, next: u64, name: &str, bytes_max: usize) -> bool {
    let entry_bytes = (24 + name.len()).next_multiple_of(8);
    if body.len() + entry_bytes > bytes_max {
        return false;
    }
    let end = body.len() + entry_bytes;
    put_u64(body, node);
    put_u64(body, next);
    put_u32(body, name.len() as u32);
    put_u32(body, 8);
    body.extend(name.as_bytes());
    body.resize(end, 0);
    true
}

fn put_u32(body: &mut Vec<u8>, value: u32) {
    body.extend(value.to_le_bytes());
}

fn put_u64(body: &mut Vec<u8>, value: u64) {
    body.extend(value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_u32(&mut bytes, (REQUEST_HEADER_BYTES + body.len()) as u32);
        put_u32(&mut bytes, opcode);
        put_u64(&mut bytes, 1 << 63 | 42);
        put_u64(&mut bytes, 7);
        bytes.extend([0; 16]);
        bytes.extend(body);
        bytes
    }

    #[track_caller]
    fn check(opcode: u32, body: &[u8], expected: Option<Operation<'_>>) {
        let bytes = request(opcode, body);
        let expected = expected
            .map(|operation| Request {
                unique: 1 << 63 | 42,
                node: 7,
                operation,
            })
            .ok_or(ParseError::Body {
                unique: 1 << 63 | 42,
                opcode,
            });
        assert_eq!(parse_request(&bytes), expected);
    }

    #[test]
    fn operations_are_read_and_short_bodies_refused() {
        let mut read = [0; 40];
        read[8..16].copy_from_slice(&(1u64 << 40).to_le_bytes());
        read[16..20].copy_from_slice(&4096u32.to_le_bytes());
        check(
            15,
            &read,
            Some(Operation::Read {
                offset: 1 << 40,
                bytes: 4096,
            }),
        );
        check(
            15,
            &read[..20],
            Some(Operation::Read {
                offset: 1 << 40,
                bytes: 4096,
            }),
        );
        check(15, &read[..19], None);
        check(1, b"12\0", Some(Operation::Lookup { name: b"12" }));
        check(1, b"12", None);
        check(14, &[2, 0, 0], None);
        check(16, &[], Some(Operation::Change));
        check(99, &[], Some(Operation::Other(99)));
    }

    #[test]
    fn flags_of_init_have_two_halves() {
        let mut init = [0; 64];
        init[0] = 7;
        init[4] = 45;
        init[12..16].copy_from_slice(&(INIT_EXT as u32).to_le_bytes());
        init[16] = 0x80;
        let flags = INIT_EXT | HAS_RESEND;
        check(
            26,
            &init,
            Some(Operation::Init {
                major: 7,
                minor: 45,
                read_ahead_bytes: 0,
                flags,
            }),
        );
        check(26, &init[..16], None);
    }

    #[test]
    fn headers_that_lie_are_refused() {
        assert_eq!(parse_request(&[0; 39]), Err(ParseError::Header { bytes: 39 }));
        let mut bytes = request(3, &[]);
        bytes.push(0);
        assert_eq!(parse_request(&bytes), Err(ParseError::Length { bytes: 41, said: 40 }));
    }

    #[test]
    fn replies_have_the_lengths_that_the_kernel_expects() {
        let length = |put: &dyn Fn(&mut Vec<u8>)| {
            let mut body = Vec::new();
            put(&mut body);
            body.len()
        };
        assert_eq!(length(&|body| put_init(body, 0, u64::MAX)), 64);
        assert_eq!(length(&|body| put_entry(body, Node::Root)), 128);
        assert_eq!(length(&|body| put_attributes_reply(body, Node::Root)), 104);
        assert_eq!(length(&|body| put_open(body, 1)), 16);
        assert_eq!(length(&|body| put_stat_file_system(body, 1)), 80);
        assert_eq!(length(&|body| assert!(put_directory_entry(body, 2, 1, "1", 32))), 32);
        assert_eq!(length(&|body| assert!(!put_directory_entry(body, 2, 1, "1", 31))), 0);
    }
}
