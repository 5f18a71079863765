//! What can be wrong with what a layer says about the tree.

use std::fmt;

/// An entry that cannot be applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {}: {fault}", DisplayPath(path))]
pub struct TreeError {
    /// The entry's path as the archive gives it.
    pub path: Vec<u8>,
    /// What is wrong with it.
    pub fault: TreeFault,
}

/// What is wrong with an entry.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    /// An absolute path.
    #[error("an absolute path escapes the image's root")]
    Absolute,
    /// A path with `..`, or one that a symbolic link leads above the root.
    #[error("it escapes the image's root through `..`{}", .through.as_ref().map(|link| format!(" in the symbolic link {}", DisplayPath(link))).unwrap_or_default())]
    Escapes {
        /// The target of the symbolic link that leads outside, if one does.
        through: Option<Vec<u8>>,
    },
    /// More symbolic links on the way than the kernel follows.
    #[error("more than {links_max} symbolic links lie on its path")]
    TooManyLinks {
        /// The limit.
        links_max: u32,
    },
    /// Something on the way is a file.
    #[error("its parent {} is not a directory", DisplayPath(parent))]
    ParentNotDirectory {
        /// What stands there instead.
        parent: Vec<u8>,
    },
    /// A symbolic link on the way leads nowhere.
    #[error(
        "a symbolic link on its path points to {}, which does not exist",
        DisplayPath(target)
    )]
    DanglingParent {
        /// The link's target.
        target: Vec<u8>,
    },
    /// A name that ext4 cannot hold.
    #[error("a name of {bytes} bytes; a file system holds 1 to {bytes_max}")]
    NameLength {
        /// How long it is.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A NUL in a name or in a symbolic link's target, which only a PAX record can bring.
    #[error("a NUL in its path or target, which no file system holds")]
    NulByte,
    /// A path that no system call can name.
    #[error("a path of {bytes} bytes; at most {bytes_max} are possible")]
    PathLength {
        /// How long it is.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Deeper than any path reaches.
    #[error("more than {depth_max} directories within each other")]
    TooDeep {
        /// The limit.
        depth_max: usize,
    },
    /// The root itself replaced by something else.
    #[error("the image's root must be a directory")]
    RootNotDirectory,
    /// A hard link to nothing.
    #[error(
        "hard link to {}, which does not exist in this or an earlier layer",
        DisplayPath(target)
    )]
    LinkTargetMissing {
        /// What it names.
        target: Vec<u8>,
    },
    /// A hard link to a directory.
    #[error("hard link to {}, which is a directory", DisplayPath(target))]
    LinkToDirectory {
        /// What it names.
        target: Vec<u8>,
    },
    /// More names for one file than ext4 counts.
    #[error("more than {links_max} hard links to {}", DisplayPath(target))]
    TooManyHardLinks {
        /// What it names.
        target: Vec<u8>,
        /// The limit.
        links_max: u32,
    },
    /// A symbolic link's target that ext4 cannot hold.
    #[error("a symbolic link to {bytes} bytes; 1 to {bytes_max} are possible")]
    SymlinkLength {
        /// How long it is.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A whiteout of nothing that could be a name.
    #[error("a whiteout without a file's name")]
    BadWhiteout,
    /// A file larger than ext4's extents reach.
    #[error("a file of {bytes} bytes; at most {bytes_max} are possible")]
    FileTooLarge {
        /// How long it is.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The files together are larger than allowed.
    #[error("the image's files exceed {bytes_max} bytes; raise the limit with --unpacked-max")]
    TooManyBytes {
        /// The limit.
        bytes_max: u64,
    },
    /// More entries than allowed.
    #[error("the image has more than {entries_max} entries; raise the limit with --entries-max")]
    TooManyEntries {
        /// The limit.
        entries_max: u64,
    },
    /// A device that Linux cannot name.
    #[error("device {major}:{minor}; Linux has majors up to 4,095 and minors up to 1,048,575")]
    DeviceNumber {
        /// Which driver.
        major: u32,
        /// Which of its devices.
        minor: u32,
    },
    /// Extended attributes that do not fit.
    #[error("{bytes} bytes of extended attributes; ext4 holds about 4,000 for each file")]
    XattrsTooLarge {
        /// How many there are.
        bytes: usize,
    },
}

/// A path for people: printable text as it is, other bytes escaped, long ones cut.
pub struct DisplayPath<'a>(pub &'a [u8]);

/// Longer paths are cut in messages: a hostile name should not fill a screen.
const DISPLAY_BYTES_MAX: usize = 300;

impl fmt::Display for DisplayPath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(DISPLAY_BYTES_MAX)];
        let cut = if shown.len() < self.0.len() { "…" } else { "" };
        write!(formatter, "`{}{cut}`", shown.escape_ascii())
    }
}
