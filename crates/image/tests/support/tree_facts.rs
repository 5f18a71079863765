//! All that can be known of a tree of files, for comparing two of them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One path's facts; two trees are equal when these are, for every path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    device: u64,
    /// First path of the same inode, and how many names it has; nothing for directories.
    links: Option<(PathBuf, u64)>,
    xattrs: BTreeMap<OsString, Vec<u8>>,
    bytes: u64,
    /// Hash of a file's content, or a link's target.
    content: Vec<u8>,
}

/// Reads everything below `root`, and `root` itself as the empty path.
pub(crate) fn facts(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut all = BTreeMap::new();
    let mut first_names = HashMap::new();
    visit(root, Path::new(""), &mut all, &mut first_names);
    all
}

/// Fails with the first differences when the trees differ in anything.
pub(crate) fn assert_equal(found: &Path, expected: &Path) {
    let (found, expected) = (facts(found), facts(expected));
    let mut differences = Vec::new();
    for path in found
        .keys()
        .chain(expected.keys().filter(|path| !found.contains_key(*path)))
    {
        let (left, right) = (found.get(path), expected.get(path));
        if left != right {
            differences.push(format!(
                "{}:\n  found    {left:?}\n  expected {right:?}",
                path.display()
            ));
        }
    }
    let shown = &differences[..differences.len().min(10)];
    assert!(
        differences.is_empty(),
        "{} differences, the first:\n{}",
        differences.len(),
        shown.join("\n")
    );
    assert!(!found.is_empty());
}

fn visit(root: &Path, path: &Path, all: &mut BTreeMap<PathBuf, Facts>, first_names: &mut HashMap<u64, PathBuf>) {
    let full = if path.as_os_str().is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    };
    let metadata = fs::symlink_metadata(&full).expect("metadata");
    let kind = metadata.file_type();
    let content = match () {
        () if kind.is_symlink() => fs::read_link(&full).expect("link").into_os_string().into_vec(),
        () if kind.is_file() => hash(&full),
        () => Vec::new(),
    };
    let links = (!kind.is_dir()).then(|| {
        let first = first_names.entry(metadata.ino()).or_insert_with(|| path.to_owned());
        (first.clone(), metadata.nlink())
    });
    let facts = Facts {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        device: metadata.rdev(),
        links,
        xattrs: xattrs(&full),
        // A directory's own size is the file system's business.
        bytes: if kind.is_dir() { 0 } else { metadata.size() },
        content,
    };
    all.insert(path.to_owned(), facts);
    if kind.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&full)
            .expect("directory")
            .map(|entry| entry.expect("entry").file_name())
            .collect();
        names.sort();
        for name in names {
            visit(root, &path.join(name), all, first_names);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let names = xattr::list(path).expect("attributes");
    names
        .map(|name| {
            (
                name.clone(),
                xattr::get(path, &name).expect("attribute").unwrap_or_default(),
            )
        })
        .collect()
}

fn hash(path: &Path) -> Vec<u8> {
    let mut file = fs::File::open(path).unwrap_or_else(|error| panic!("{:?}: {error}", path.as_os_str().as_bytes()));
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).expect("read") {
            0 => return hasher.finalize().as_bytes().to_vec(),
            bytes => hasher.update(&buffer[..bytes]),
        };
    }
}
