//! Extended attributes, in the form in which ext4 stores them.
//!
//! ext4 splits a name into a number for its namespace and the rest, and keeps POSIX access control lists in a form of
//! its own, shorter than the one that user space and PAX archives carry:
//!
//! ```text
//! user space: u32 version 2, then (u16 tag, u16 permissions, u32 id) for each entry
//! ext4:       u32 version 1, then (u16 tag, u16 permissions) and, only for named users and groups, u32 id
//! ```
//! Sources: linux `fs/ext4/xattr.h`, `fs/ext4/acl.h`, `include/uapi/linux/posix_acl_xattr.h`.

use crate::layer::LayerFault;

const INDEX_USER: u8 = 1;
const INDEX_ACL_ACCESS: u8 = 2;
const INDEX_ACL_DEFAULT: u8 = 3;
const INDEX_TRUSTED: u8 = 4;
const INDEX_SECURITY: u8 = 6;

/// ext4 counts a name's bytes, without its namespace, in one byte.
const NAME_BYTES_MAX: usize = 255;

const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;
const ACL_XATTR_VERSION: u32 = 2;
const ACL_EXT4_VERSION: u32 = 1;

/// One extended attribute as ext4 names and stores it; ordered as ext4 orders them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xattr {
    /// The namespace's number.
    pub index: u8,
    /// Length of the name, because ext4 orders by it before the name.
    name_bytes: usize,
    /// The name without its namespace.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// The attributes of an entry, and the names of those that no Linux file system can hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Xattrs {
    /// In ext4's order, each name once.
    pub stored: Vec<Xattr>,
    /// Names outside Linux's namespaces, such as macOS's `com.apple.*`, and those that are empty, too long or hold a NUL.
    pub ignored: Vec<Vec<u8>>,
}

/// Converts the `SCHILY.xattr.*` and `SCHILY.acl.*` records of a PAX header.
pub fn from_pax(records: &[(Vec<u8>, Vec<u8>)]) -> Result<Xattrs, LayerFault> {
    let mut xattrs = Xattrs::default();
    for (key, value) in records {
        match convert(key, value)? {
            Some(xattr) => xattrs.stored.push(xattr),
            None => xattrs.ignored.push(key.clone()),
        }
    }
    // A stable sort keeps the records' order among equal names, so that the last of them can win.
    xattrs.stored.sort_by(|left, right| left.key().cmp(&right.key()));
    xattrs.stored.reverse();
    xattrs.stored.dedup_by(|later, earlier| later.key() == earlier.key());
    xattrs.stored.reverse();
    Ok(xattrs)
}

impl Xattr {
    /// An attribute of the namespace with this number.
    #[must_use]
    pub fn new(index: u8, name: &[u8], value: Vec<u8>) -> Self {
        Self {
            index,
            name_bytes: name.len(),
            name: name.to_vec(),
            value,
        }
    }

    fn key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name_bytes, &self.name)
    }
}

fn convert(key: &[u8], value: &[u8]) -> Result<Option<Xattr>, LayerFault> {
    let acl = |index, value| Ok(Some(Xattr::new(index, b"", value)));
    match key {
        b"SCHILY.acl.access" => return acl(INDEX_ACL_ACCESS, acl_from_text("SCHILY.acl.access", value)?),
        b"SCHILY.acl.default" => return acl(INDEX_ACL_DEFAULT, acl_from_text("SCHILY.acl.default", value)?),
        b"SCHILY.xattr.system.posix_acl_access" => return acl(INDEX_ACL_ACCESS, acl_from_xattr(value)?),
        b"SCHILY.xattr.system.posix_acl_default" => return acl(INDEX_ACL_DEFAULT, acl_from_xattr(value)?),
        _ => {}
    }
    let namespaces = [
        (b"SCHILY.xattr.user.".as_slice(), INDEX_USER),
        (b"SCHILY.xattr.trusted.", INDEX_TRUSTED),
        (b"SCHILY.xattr.security.", INDEX_SECURITY),
    ];
    let named = namespaces
        .iter()
        .find_map(|(prefix, index)| Some((*index, key.strip_prefix(*prefix)?)));
    let possible = |name: &[u8]| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(&0);
    Ok(named
        .filter(|(_, name)| possible(name))
        .map(|(index, name)| Xattr::new(index, name, value.to_vec())))
}

/// One line of an access control list.
struct AclEntry {
    tag: u16,
    permissions: u16,
    id: u32,
}

fn acl_from_xattr(value: &[u8]) -> Result<Vec<u8>, LayerFault> {
    let bad = || LayerFault::BadAcl {
        record: "system.posix_acl",
        entry: format!("{} bytes", value.len()),
    };
    let (version, entries) = value.split_first_chunk::<4>().ok_or_else(bad)?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != ACL_XATTR_VERSION || !rest.is_empty() {
        return Err(bad());
    }
    Ok(acl_to_ext4(entries.iter().map(|bytes| AclEntry {
        tag: u16::from_le_bytes([bytes[0], bytes[1]]),
        permissions: u16::from_le_bytes([bytes[2], bytes[3]]),
        id: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
    })))
}

/// The text form, as `getfacl` prints it, on one line with commas or on several.
fn acl_from_text(record: &'static str, text: &[u8]) -> Result<Vec<u8>, LayerFault> {
    let lines = text.split(|byte| matches!(byte, b',' | b'\n')).map(<[u8]>::trim_ascii);
    let mut entries = lines.filter(|line| !line.is_empty() && line[0] != b'#').map(|line| {
        let line = String::from_utf8_lossy(line).into_owned();
        acl_entry(&line).ok_or(LayerFault::BadAcl { record, entry: line })
    });
    let mut entries = entries.by_ref().collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(|entry| (entry.tag, entry.id));
    Ok(acl_to_ext4(entries.into_iter()))
}

/// `kind:name:permissions[:id]`; a name must be a number, or the number must follow, as star writes it.
fn acl_entry(line: &str) -> Option<AclEntry> {
    let fields: Vec<&str> = line.split(':').collect();
    let (kind, name, permissions) = (*fields.first()?, *fields.get(1)?, *fields.get(2)?);
    let tag = match (kind, name.is_empty()) {
        ("user" | "u", true) => 0x01,
        ("user" | "u", false) => ACL_USER,
        ("group" | "g", true) => 0x04,
        ("group" | "g", false) => ACL_GROUP,
        ("mask" | "m", true) => 0x10,
        ("other" | "o", true) => 0x20,
        _ => return None,
    };
    let id = match tag {
        ACL_USER | ACL_GROUP => name.parse().ok().or_else(|| fields.get(3)?.parse().ok())?,
        _ => u32::MAX,
    };
    let bit = |letter, value| if permissions.contains(letter) { value } else { 0 };
    Some(AclEntry {
        tag,
        permissions: bit('r', 4) | bit('w', 2) | bit('x', 1),
        id,
    })
}

fn acl_to_ext4(entries: impl Iterator<Item = AclEntry>) -> Vec<u8> {
    let mut value = ACL_EXT4_VERSION.to_le_bytes().to_vec();
    for entry in entries {
        value.extend_from_slice(&entry.tag.to_le_bytes());
        value.extend_from_slice(&entry.permissions.to_le_bytes());
        if matches!(entry.tag, ACL_USER | ACL_GROUP) {
            value.extend_from_slice(&entry.id.to_le_bytes());
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key: &str, value: &[u8], expected: &[u8]) {
        let xattrs = from_pax(&[(key.into(), value.to_vec())]).expect("valid attribute");
        assert_eq!(xattrs.stored[0].value, expected, "{key}");
    }

    #[test]
    fn both_forms_of_an_acl_give_the_same_bytes() {
        let expected = [
            [1, 0, 0, 0].as_slice(),
            &[1, 0, 6, 0],
            &[2, 0, 5, 0, 0xe8, 3, 0, 0],
            &[4, 0, 4, 0],
            &[0x10, 0, 5, 0],
            &[0x20, 0, 0, 0],
        ]
        .concat();
        check(
            "SCHILY.acl.access",
            b"user::rw-,user:1000:r-x,group::r--,mask::r-x,other::---",
            &expected,
        );
        check(
            "SCHILY.acl.access",
            b"user::rw-\nuser:bob:r-x:1000\ngroup::r--\nmask::r-x\nother::---\n",
            &expected,
        );
        let entry = |tag: u16, permissions: u16, id: u32| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let binary = [
            2_u32.to_le_bytes().to_vec(),
            entry(1, 6, u32::MAX),
            entry(2, 5, 1000),
            entry(4, 4, u32::MAX),
            entry(0x10, 5, u32::MAX),
            entry(0x20, 0, u32::MAX),
        ]
        .concat();
        check("SCHILY.xattr.system.posix_acl_access", &binary, &expected);
    }

    #[test]
    fn an_acl_with_an_unknown_name_is_refused() {
        for text in ["user:bob:r-x", "user::rwx:", "friend::rwx", "mask:5:rwx", "user"] {
            let result = from_pax(&[(b"SCHILY.acl.access".to_vec(), text.into())]);
            assert_eq!(result.is_err(), text != "user::rwx:", "{text}");
        }
    }

    #[test]
    fn names_that_ext4_cannot_hold_are_ignored() {
        for (name, stored) in [
            ("x".repeat(255), 1),
            ("x".repeat(256), 0),
            ("a\0b".to_owned(), 0),
            (String::new(), 0),
        ] {
            let xattrs =
                from_pax(&[(format!("SCHILY.xattr.user.{name}").into_bytes(), b"v".to_vec())]).expect("no error");
            assert_eq!(
                (xattrs.stored.len(), xattrs.ignored.len()),
                (stored, 1 - stored),
                "{name:?}"
            );
        }
    }

    #[test]
    fn the_last_of_equal_names_wins_and_foreign_namespaces_are_named() {
        let record = |key: &str, value: &str| (key.into(), value.into());
        let xattrs = from_pax(&[
            record("SCHILY.xattr.user.b", "1"),
            record("SCHILY.xattr.com.apple.provenance", "x"),
            record("SCHILY.xattr.user.a", "2"),
            record("SCHILY.xattr.user.b", "3"),
        ])
        .expect("valid attributes");
        let expected = [Xattr::new(1, b"a", b"2".to_vec()), Xattr::new(1, b"b", b"3".to_vec())];
        assert_eq!(xattrs.stored, expected);
        assert_eq!(xattrs.ignored, [b"SCHILY.xattr.com.apple.provenance"]);
    }
}
