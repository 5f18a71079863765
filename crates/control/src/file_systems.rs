//! Directories of the operator's that functions share, as FileSystemConfigs name them.
//!
//! The operator names a directory when the endpoint starts; functions name it by the ARN of an access point, as they do
//! EFS in Lambda. It belongs to one account, which stands in the ARN, and functions of that account alone may use it.

use crate::{Configuration, Control, ControlError, FileSystemReference, Settings};
use chunk::Account;
use std::collections::BTreeSet;

/// File systems of one function. Lambda's limit.
const FILE_SYSTEMS_MAX: usize = 1;

/// Where they may be seen. Source: LocalMountPath of Lambda's API reference.
const MOUNT_ROOT: &str = "/mnt/";

impl Control {
    /// Says which file systems functions may name, by the ARNs of their access points. Only the first call counts.
    pub fn offer_file_systems(&self, arns: BTreeSet<String>) {
        let _ = self.inner.file_systems.set(arns);
    }

    /// Checks what a request names.
    pub(crate) fn check_file_systems(&self, account: &Account, settings: &Settings) -> Result<(), ControlError> {
        let asked = settings.file_systems.as_deref().unwrap_or_default();
        if asked.len() > FILE_SYSTEMS_MAX {
            return Err(ControlError::invalid(format!(
                "A function can have at most {FILE_SYSTEMS_MAX} file system."
            )));
        }
        asked.iter().try_for_each(|reference| {
            check_mount_path(&reference.local_mount_path)?;
            self.check_offered(account, reference)
        })
    }

    fn check_offered(&self, account: &Account, reference: &FileSystemReference) -> Result<(), ControlError> {
        let arn = &reference.arn;
        let offered = self.inner.file_systems.get();
        let is_own = arn.split(':').nth(4) == Some(account.as_str());
        if is_own && offered.is_some_and(|offered| offered.contains(arn)) {
            return Ok(());
        }
        Err(ControlError::invalid(format!(
            "EFS access point {arn} does not exist. Name its directory with `lambent up --file-system NAME=DIR`; the \
             endpoint then says its ARN."
        )))
    }
}

/// A snapshot would hold open files of a directory that changes meanwhile. Source: "Improving startup performance with
/// Lambda SnapStart", its unsupported features.
pub(crate) fn check_with_snap_start(configuration: &Configuration) -> Result<(), ControlError> {
    if configuration.snap_start == "None" || configuration.file_systems.is_empty() {
        return Ok(());
    }
    Err(ControlError::invalid(
        "SnapStart is not supported for functions with FileSystemConfigs. Remove one of them from the function.",
    ))
}

/// The model's pattern lets `.` and `..` stand for a name.
fn check_mount_path(path: &str) -> Result<(), ControlError> {
    let name = path.strip_prefix(MOUNT_ROOT).unwrap_or_default();
    if !matches!(name, "" | "." | "..") && !name.contains('/') {
        return Ok(());
    }
    Err(ControlError::invalid(format!(
        "Local mount path {path} is not valid: it must be {MOUNT_ROOT} and one name."
    )))
}

#[cfg(test)]
mod tests {
    use super::check_mount_path;

    #[test]
    fn a_mount_path_is_one_name_below_mnt() {
        for path in ["/mnt/models", "/mnt/a.b-c_d", "/mnt/..."] {
            assert!(check_mount_path(path).is_ok(), "{path}");
        }
        for path in ["/mnt/", "/mnt/.", "/mnt/..", "/mnt/a/b", "/opt/a", "mnt/a", ""] {
            assert!(check_mount_path(path).is_err(), "{path}");
        }
    }
}
