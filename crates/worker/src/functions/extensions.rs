//! The external extensions of an environment: the programs in /opt/extensions.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where they are, inside the environment.
pub(crate) const EXTENSIONS_DIRECTORY: &str = "/opt/extensions";

/// Names that are looked at in the directory, so that a huge one delays nobody. Ten can run.
const NAMES_MAX: usize = 1000;

/// File names of the extensions in a root with overlays, sorted.
///
/// The trees are foreign: no link in them is followed, lest one that points out of the tree be taken for a directory
/// of this machine. The processes are started by path inside the environment, so that all that a tree can lie about
/// is names.
pub(crate) fn extension_names(root: &Path, overlays: &[(PathBuf, String)]) -> Vec<String> {
    let Some(directory) = find_directory(root, overlays) else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .take(NAMES_MAX)
        .flatten()
        .filter(|entry| {
            // Of the entry itself, not of what it points at.
            let metadata = entry.metadata();
            metadata.is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
        })
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}

/// The directory on this machine that stands at [`EXTENSIONS_DIRECTORY`]: that of the overlay with the longest target
/// above it, or the root's.
fn find_directory(root: &Path, overlays: &[(PathBuf, String)]) -> Option<PathBuf> {
    let wanted = Path::new(EXTENSIONS_DIRECTORY);
    let above = overlays.iter().filter_map(|(source, target)| {
        let rest = wanted.strip_prefix(target).ok()?;
        Some((target.len(), source.as_path(), rest.to_owned()))
    });
    let own = (0, root, Path::new("opt/extensions").to_owned());
    let (_, base, rest) = above.chain([own]).max_by_key(|(length, ..)| *length)?;
    let mut directory = base.to_owned();
    for part in rest.components() {
        directory.push(part);
        if !directory.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return None;
        }
    }
    Some(directory)
}

#[cfg(test)]
mod tests {
    use super::extension_names;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn executables_of_the_root_are_found() {
        let root = tempfile::tempdir().unwrap();
        program(&root.path().join("opt/extensions/two"));
        program(&root.path().join("opt/extensions/one"));
        fs::write(root.path().join("opt/extensions/readme"), "").unwrap();
        symlink("/bin/sh", root.path().join("opt/extensions/link")).unwrap();
        assert_eq!(extension_names(root.path(), &[]), ["one", "two"]);
    }

    #[test]
    fn layers_cover_the_root() {
        let root = tempfile::tempdir().unwrap();
        program(&root.path().join("opt/extensions/covered"));
        program(&root.path().join("layers/extensions/layer"));
        let overlays = [(root.path().join("layers"), "/opt".to_owned())];
        assert_eq!(extension_names(root.path(), &overlays), ["layer"]);
    }

    #[test]
    fn a_link_out_of_the_tree_is_not_followed() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        program(&outside.path().join("extensions/evil"));
        symlink(outside.path(), root.path().join("opt")).unwrap();
        assert!(extension_names(root.path(), &[]).is_empty());
    }
}
