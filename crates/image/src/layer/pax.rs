//! PAX extended headers: `length key=value\n`, where the length counts the whole record and the value is any bytes.

use super::LayerFault;
use crate::tree::Timestamp;

/// The records that matter here, of one header or of several laid over each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link_path: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) modified: Option<Timestamp>,
    /// `SCHILY.xattr.*` and `SCHILY.acl.*` with their whole keys.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

/// `GNU.sparse.*`, formats 0.0, 0.1 and 1.0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    pub(super) major: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_bytes: Option<u64>,
    /// Offsets and lengths in turn, of 0.0 (one record each) or 0.1 (one list).
    pub(super) numbers: Vec<u64>,
}

impl PaxRecords {
    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, LayerFault> {
        let mut records = Self::default();
        let total = bytes.len();
        // Some writers pad the header's body with zeros; a record never begins with one.
        while !bytes.is_empty() && bytes[0] != 0 {
            let (key, value, rest) = cut(bytes).ok_or(LayerFault::BadPaxRecord {
                offset: total - bytes.len(),
            })?;
            records.set(key, value)?;
            bytes = rest;
        }
        Ok(records)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), LayerFault> {
        let is_xattr = key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"SCHILY.acl.");
        match key {
            _ if is_xattr => self.xattrs.push((key.to_vec(), value.to_vec())),
            // POSIX: an empty value takes the record back, and the header's own field counts.
            _ if value.is_empty() => {}
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link_path = Some(value.to_vec()),
            b"size" => self.size = Some(decimal("size", value)?),
            b"uid" => self.uid = Some(decimal("uid", value)?),
            b"gid" => self.gid = Some(decimal("gid", value)?),
            b"mtime" => self.modified = Some(Timestamp::parse(value).ok_or_else(|| bad_number("mtime", value))?),
            b"GNU.sparse.major" => self.sparse.major = Some(decimal("GNU.sparse.major", value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                self.sparse.real_bytes = Some(decimal("GNU.sparse.size", value)?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.numbers.push(decimal("GNU.sparse.offset", value)?);
            }
            b"GNU.sparse.map" => {
                let numbers = value
                    .split(|byte| *byte == b',')
                    .map(|number| decimal("GNU.sparse.map", number));
                self.sparse.numbers = numbers.collect::<Result<_, _>>()?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes over what `later` says.
    pub(super) fn merge(&mut self, later: Self) {
        let earlier = std::mem::take(self);
        *self = earlier.overlaid_by(later);
    }

    /// These records, and those of `nearer` where it has any.
    pub(super) fn overlaid_by(&self, nearer: Self) -> Self {
        Self {
            path: nearer.path.or_else(|| self.path.clone()),
            link_path: nearer.link_path.or_else(|| self.link_path.clone()),
            size: nearer.size.or(self.size),
            uid: nearer.uid.or(self.uid),
            gid: nearer.gid.or(self.gid),
            modified: nearer.modified.or(self.modified),
            xattrs: if nearer.xattrs.is_empty() {
                self.xattrs.clone()
            } else {
                nearer.xattrs
            },
            sparse: if nearer.sparse == PaxSparse::default() {
                self.sparse.clone()
            } else {
                nearer.sparse
            },
        }
    }
}

/// The first record's key and value, and what follows it.
fn cut(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &bytes[length..]))
}

pub(super) fn decimal<T: std::str::FromStr>(field: &'static str, value: &[u8]) -> Result<T, LayerFault> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| bad_number(field, value))
}

fn bad_number(field: &'static str, value: &[u8]) -> LayerFault {
    LayerFault::BadNumber {
        field,
        value: String::from_utf8_lossy(value).into_owned(),
    }
}
