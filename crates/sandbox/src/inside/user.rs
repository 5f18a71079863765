//! The user of an OCI configuration, looked up in the image's own `/etc/passwd` and `/etc/group`.
//!
//! Both files are hostile input, and are read by the process that is about to become the program, after the root has
//! changed. A mistake here harms nobody else.

use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::Read;

/// Bytes of either file that are looked at. A usual one has below ten KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Groups of one user. Source: `NGROUPS_MAX` is 65536; nobody needs more than a few.
const GROUPS_MAX: usize = 1024;
/// Larger ids have no id on the host.
const ID_MAX: u32 = 65_535;

/// Who a process is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) groups: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UserError {
    #[error("the image's /etc/passwd has no user {0:?}")]
    NoUser(String),
    #[error("the image's /etc/group has no group {0:?}")]
    NoGroup(String),
    #[error("id {0} is above 65535")]
    TooLarge(u32),
}

/// Who `user` is in this root.
pub(super) fn find(user: &str) -> Result<Identity, UserError> {
    // The usual case needs no file: root is root everywhere, and has no further groups here.
    if user.is_empty() {
        return resolve("0:0", "", "");
    }
    resolve(user, &content("/etc/passwd"), &content("/etc/group"))
}

/// A missing file is an empty one. `NONBLOCK`: in a hostile image it may be a pipe that nobody writes to.
fn content(path: &str) -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut bytes = Vec::new();
    if let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) {
        // What could be read before an error still counts.
        let _ = File::from(file).take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As runc does: a number needs no entry, an unnamed group is the entry's or 0, and only a user without a named group
/// gets the further groups that list it. Formats: passwd(5), group(5).
fn resolve(user: &str, passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let number = name.parse().ok();
    let mut entries = passwd.lines().filter_map(passwd_entry);
    let entry = entries.find(|(entry, user, _)| *entry == name || number == Some(*user));
    let id = entry
        .map(|(_, user, _)| user)
        .or(number)
        .ok_or_else(|| UserError::NoUser(name.to_owned()))?;
    let own_group = match group_name {
        Some(wanted) => group_id(group, wanted).ok_or_else(|| UserError::NoGroup(wanted.to_owned()))?,
        None => entry.map_or(0, |(_, _, group)| group),
    };
    let groups = if group_name.is_none() {
        further_groups(group, passwd, id)
    } else {
        Vec::new()
    };
    match [id, own_group].into_iter().find(|id| *id > ID_MAX) {
        Some(id) => Err(UserError::TooLarge(id)),
        None => Ok(Identity {
            user: id,
            group: own_group,
            groups,
        }),
    }
}

/// Name, user and group of a line; a line without a name is none.
fn passwd_entry(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn group_id(group: &str, wanted: &str) -> Option<u32> {
    let named = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        (name == wanted).then_some(id)
    });
    named.or_else(|| wanted.parse().ok())
}

fn further_groups(group: &str, passwd: &str, id: u32) -> Vec<u32> {
    let entries = passwd
        .lines()
        .filter_map(passwd_entry)
        .filter(|(_, user, _)| *user == id);
    let names: Vec<_> = entries.map(|(name, _, _)| name).collect();
    let listing = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let (id, members) = (fields.next()?.parse().ok()?, fields.next()?);
        (id <= ID_MAX && members.split(',').any(|member| names.contains(&member))).then_some(id)
    };
    group.lines().filter_map(listing).take(GROUPS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\n\nbad line\napp:x:1000:1001::/home/app:/bin/sh\nbig:x:70000:0:::\n:x:5:5:::\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\nhuge:x:99999:app\napp:x:1001:\nbroken:x:nan:app\n";

    fn check(user: &str, expected: Result<(u32, u32, &[u32]), UserError>) {
        let expected = expected.map(|(user, group, groups)| Identity {
            user,
            group,
            groups: groups.to_vec(),
        });
        assert_eq!(resolve(user, PASSWD, GROUP), expected, "{user:?}");
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        check("root", Ok((0, 0, &[])));
        check("app", Ok((1000, 1001, &[50])));
        check("1000", Ok((1000, 1001, &[50])));
        check("app:staff", Ok((1000, 50, &[])));
        check("app:", Ok((1000, 1001, &[50])));
        check("1000:7", Ok((1000, 7, &[])));
        check("4242", Ok((4242, 0, &[])));
        check("4242:staff", Ok((4242, 50, &[])));
    }

    #[test]
    fn what_is_not_there_is_named() {
        check("nobody", Err(UserError::NoUser("nobody".to_owned())));
        check("app:wheel", Err(UserError::NoGroup("wheel".to_owned())));
        check("big", Err(UserError::TooLarge(70_000)));
        check("70000", Err(UserError::TooLarge(70_000)));
        check("-1", Err(UserError::NoUser("-1".to_owned())));
        check("99999999999", Err(UserError::NoUser("99999999999".to_owned())));
        check("0:99999", Err(UserError::TooLarge(99_999)));
    }

    #[test]
    fn the_default_user_is_root_without_files() {
        assert_eq!(find("").map(|identity| (identity.user, identity.group)), Ok((0, 0)));
    }
}
