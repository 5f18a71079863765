//! Directories that `lambent up` shares with functions: `--file-system NAME=DIR[:ro]`.
//!
//! Functions name them as they do EFS in Lambda, by the ARN of an access point. Its id is NAME, if that is one
//! (`fsap-` and 17 hexadecimal digits), or made from NAME alone, so that it is the same at every start and on every
//! machine: 68 bits of BLAKE3.

use anyhow::{Context, Result, bail};
use chunk::Account;
use rustix::fs::Access;
use sandbox::SharedAccess;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use worker::FileSystem;

const ID_PREFIX: &str = "fsap-";
/// Digits of an access point's id. Source: FileSystemArn of Lambda's API reference.
const ID_DIGITS: usize = 17;
/// Characters of a name.
const NAME_CHARACTERS_MAX: usize = 64;

/// One directory, as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSystemArgument {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) access: SharedAccess,
}

/// A text that names no directory.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FileSystemError {
    #[error("expected NAME=DIR or NAME=DIR:ro")]
    Form,
    #[error("a name has 1 to 64 letters, digits, `-`, `_` and `.`")]
    Name,
}

impl FromStr for FileSystemArgument {
    type Err = FileSystemError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, place) = text.split_once('=').ok_or(FileSystemError::Form)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.bytes().all(plain) {
            return Err(FileSystemError::Name);
        }
        let (directory, access) = match (place.strip_suffix(":ro"), place.strip_suffix(":rw")) {
            (Some(directory), _) => (directory, SharedAccess::ReadOnly),
            (None, Some(directory)) => (directory, SharedAccess::ReadWrite),
            (None, None) => (place, SharedAccess::ReadWrite),
        };
        if directory.is_empty() {
            return Err(FileSystemError::Form);
        }
        Ok(Self {
            name: name.to_owned(),
            directory: directory.into(),
            access,
        })
    }
}

impl FileSystemArgument {
    fn arn(&self, region: &str, account: &Account) -> String {
        format!(
            "arn:aws:elasticfilesystem:{region}:{account}:access-point/{}",
            id(&self.name)
        )
    }

    /// Where it is, checked as far as that can be done before a function comes.
    fn open(&self) -> Result<FileSystem> {
        let shown = self.directory.display();
        let directory = self.directory.canonicalize();
        let directory = directory.with_context(|| format!("cannot share {shown} with functions"))?;
        let facts = directory
            .metadata()
            .with_context(|| format!("cannot look at {shown}"))?;
        if !facts.is_dir() {
            bail!("cannot share {shown} with functions: it is no directory");
        }
        rustix::fs::access(&directory, Access::READ_OK | Access::EXEC_OK)
            .with_context(|| format!("cannot read {shown}"))?;
        if self.access == SharedAccess::ReadWrite && (facts.uid() == 0 || facts.gid() == 0) {
            bail!(
                "{shown} belongs to root or root's group, and functions would write files as root: give it an owner of its own \
                 (chown 100000:100000 {shown}), or share it read-only ({}={shown}:ro)",
                self.name
            );
        }
        Ok(FileSystem {
            directory,
            access: self.access,
        })
    }
}

/// The directories by the ARNs of their access points.
pub(crate) fn open(
    arguments: &[FileSystemArgument],
    region: &str,
    account: &Account,
) -> Result<BTreeMap<String, FileSystem>> {
    let mut found: BTreeMap<String, FileSystem> = BTreeMap::new();
    for argument in arguments {
        let system = argument.open()?;
        let inside = |outer: &Path, inner: &Path| outer != inner && inner.starts_with(outer);
        for other in found.values() {
            if inside(&other.directory, &system.directory) || inside(&system.directory, &other.directory) {
                let (one, two) = (other.directory.display(), system.directory.display());
                bail!(
                    "cannot share both {one} and {two}: who writes in one could put another directory in the other's place"
                );
            }
        }
        if found.insert(argument.arn(region, account), system).is_some() {
            bail!("--file-system names {} twice", argument.name);
        }
    }
    Ok(found)
}

/// What to say to functions' owners.
pub(crate) fn lines(arguments: &[FileSystemArgument], region: &str, account: &Account) -> Vec<String> {
    let line = |argument: &FileSystemArgument| {
        let access = match argument.access {
            SharedAccess::ReadOnly => "read-only",
            SharedAccess::ReadWrite => "read and written",
        };
        let arn = argument.arn(region, account);
        format!("File system {} ({access}) for FileSystemConfigs: {arn}", argument.name)
    };
    arguments.iter().map(line).collect()
}

fn id(name: &str) -> String {
    let is_id = name.strip_prefix(ID_PREFIX).is_some_and(|digits| {
        digits.len() == ID_DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    });
    if is_id {
        return name.to_owned();
    }
    let hash = blake3::derive_key("lambent file system access point", name.as_bytes());
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).take(ID_DIGITS).collect();
    format!("{ID_PREFIX}{}", &digits[..ID_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_named() {
        let argument = |name: &str, directory: &str, access| {
            Ok(FileSystemArgument {
                name: name.to_owned(),
                directory: directory.into(),
                access,
            })
        };
        for (text, expected) in [
            (
                "models=/srv/models",
                argument("models", "/srv/models", SharedAccess::ReadWrite),
            ),
            (
                "models=/srv/models:ro",
                argument("models", "/srv/models", SharedAccess::ReadOnly),
            ),
            ("a=b=c:rw", argument("a", "b=c", SharedAccess::ReadWrite)),
            ("models", Err(FileSystemError::Form)),
            ("models=", Err(FileSystemError::Form)),
            ("models=:ro", Err(FileSystemError::Form)),
            ("=/srv", Err(FileSystemError::Name)),
            ("a/b=/srv", Err(FileSystemError::Name)),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }

    #[test]
    fn an_id_is_kept_and_a_name_becomes_one() {
        assert_eq!(id("fsap-0123456789abcdef0"), "fsap-0123456789abcdef0");
        let made = id("models");
        assert_eq!(made, id("models"));
        assert_ne!(made, id("model"));
        assert_eq!(made.len(), ID_PREFIX.len() + ID_DIGITS);
        assert_eq!(id(&made), made);
    }

    #[test]
    fn what_cannot_be_shared_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let account: Account = "000000000000".parse().unwrap();
        let check = |text: String| open(&[text.parse().unwrap()], "us-east-1", &account);
        for (text, part) in [
            (format!("a={}", file.display()), "no directory"),
            (format!("a={}/none", folder.path().display()), "cannot share"),
        ] {
            let error = format!("{:#}", check(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
        let found = check(format!("models={}:ro", folder.path().display())).unwrap();
        let arn = found.keys().next().unwrap();
        assert!(arn.starts_with("arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-"));
    }
}
