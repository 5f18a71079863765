//! A tar header's 512 bytes.
//!
//! The `tar` crate gives the field layout; the numbers are read here, because blank fields (old writers leave what a
//! directory does not need blank) and negative base-256 times are valid input.

use super::{DeviceNumber, LayerFault};

/// Size of a header and of the unit to which content is padded.
pub(super) const BLOCK_BYTES: usize = 512;

/// What an entry's type flag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeFlag {
    Regular,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
    GnuSparse,
    GnuLongName,
    GnuLongLink,
    PaxLocal,
    PaxGlobal,
    Other(u8),
}

impl TypeFlag {
    const fn of(byte: u8) -> Self {
        match byte {
            // 7 is a "contiguous" file, which POSIX treats as regular.
            b'0' | 0 | b'7' => Self::Regular,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            b'S' => Self::GnuSparse,
            b'L' => Self::GnuLongName,
            b'K' => Self::GnuLongLink,
            b'x' | b'X' => Self::PaxLocal,
            b'g' => Self::PaxGlobal,
            other => Self::Other(other),
        }
    }

    /// Whether this header describes the entry after it.
    pub(super) const fn is_extension(self) -> bool {
        matches!(
            self,
            Self::GnuLongName | Self::GnuLongLink | Self::PaxLocal | Self::PaxGlobal
        )
    }
}

/// One header whose checksum is right.
pub(super) struct Header(tar::Header);

impl Header {
    pub(super) fn decode(block: [u8; BLOCK_BYTES]) -> Result<Self, LayerFault> {
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        let stored = number("checksum", &header.as_old().cksum)?;
        let fields = block[..148].iter().chain(&[b' '; 8]).chain(&block[156..]);
        // Some old writers summed signed bytes; GNU tar and libarchive accept both sums, and so do we.
        let (unsigned, signed) = fields.fold((0, 0), |(unsigned, signed), byte| {
            (unsigned + i64::from(*byte), signed + i64::from(*byte as i8))
        });
        if stored == unsigned || stored == signed {
            Ok(Self(header))
        } else {
            Err(LayerFault::BadChecksum)
        }
    }

    pub(super) fn type_flag(&self) -> TypeFlag {
        TypeFlag::of(self.raw_type_flag())
    }

    pub(super) fn raw_type_flag(&self) -> u8 {
        self.0.as_old().linkflag[0]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        self.0.path_bytes().into_owned()
    }

    pub(super) fn link_name(&self) -> Vec<u8> {
        self.0
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default()
    }

    pub(super) fn size(&self) -> Result<u64, LayerFault> {
        unsigned("size", &self.0.as_old().size)
    }

    /// Permissions with set-user-id, set-group-id and sticky bits.
    pub(super) fn mode(&self) -> Result<u16, LayerFault> {
        Ok((number("mode", &self.0.as_old().mode)? & 0o7777) as u16)
    }

    pub(super) fn uid(&self) -> Result<u32, LayerFault> {
        unsigned("uid", &self.0.as_old().uid)
    }

    pub(super) fn gid(&self) -> Result<u32, LayerFault> {
        unsigned("gid", &self.0.as_old().gid)
    }

    pub(super) fn modified_seconds(&self) -> Result<i64, LayerFault> {
        number("mtime", &self.0.as_old().mtime)
    }

    pub(super) fn device(&self) -> Result<DeviceNumber, LayerFault> {
        match self.0.as_ustar() {
            Some(fields) => Ok(DeviceNumber {
                major: unsigned("devmajor", &fields.dev_major)?,
                minor: unsigned("devminor", &fields.dev_minor)?,
            }),
            None => match self.0.as_gnu() {
                Some(fields) => Ok(DeviceNumber {
                    major: unsigned("devmajor", &fields.dev_major)?,
                    minor: unsigned("devminor", &fields.dev_minor)?,
                }),
                None => Ok(DeviceNumber { major: 0, minor: 0 }),
            },
        }
    }

    /// The fields of an old GNU sparse header.
    pub(super) fn gnu(&self) -> Option<&tar::GnuHeader> {
        self.0.as_gnu()
    }
}

/// An unsigned field that fits `T`.
pub(super) fn unsigned<T: TryFrom<i64>>(field: &'static str, bytes: &[u8]) -> Result<T, LayerFault> {
    T::try_from(number(field, bytes)?).map_err(|_| bad_number(field, bytes))
}

/// A field in octal, or in base 256 when the first bit is set; blank is 0.
fn number(field: &'static str, bytes: &[u8]) -> Result<i64, LayerFault> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => base_256(bytes).ok_or_else(|| bad_number(field, bytes)),
        _ => octal(bytes).ok_or_else(|| bad_number(field, bytes)),
    }
}

fn octal(bytes: &[u8]) -> Option<i64> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let digits = bytes[..end].trim_ascii();
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Two's complement, big-endian; the topmost bit only marks the form, the one below it is the sign.
fn base_256(bytes: &[u8]) -> Option<i64> {
    let first = bytes[0] & 0x7f;
    let start = if first & 0x40 != 0 {
        i64::from(first) - 0x80
    } else {
        i64::from(first)
    };
    bytes[1..].iter().try_fold(start, |value, byte| {
        value.checked_mul(256)?.checked_add(i64::from(*byte))
    })
}

fn bad_number(field: &'static str, bytes: &[u8]) -> LayerFault {
    LayerFault::BadNumber {
        field,
        value: String::from_utf8_lossy(bytes).into_owned(),
    }
}
