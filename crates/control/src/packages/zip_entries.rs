//! The entries of a zip that a stranger made, checked before a byte of them is used.
//!
//! The central directory is read first and judged as a whole: names stay inside, no name twice, nothing below what is
//! not a directory, only files, directories and symbolic links. Then contents are inflated one after the other and
//! *counted as they come*: a header that lies about a length is found out at that entry, and no bomb gets further than
//! the limit. A symbolic link is carried as text and never followed.

use std::collections::HashMap;
use std::io::{self, Read, Seek};
use zip::ZipArchive;
use zip::extra_fields::ExtraField;

/// Inflated bytes of a zip, which must stay below. 262,144,000: Lambda's quota for code and layers together.
pub(super) const UNZIPPED_BYTES_MAX: u64 = 262_144_000;

/// Entries of a zip. 100,000 is some ten times what the largest Python environments within the limit of bytes have;
/// more would cost this machine an inode and a header each for nothing. Our own limit: Lambda names none.
pub(super) const ENTRIES_MAX: usize = 100_000;

/// ext4's longest name.
const NAME_BYTES_MAX: usize = 255;

/// Linux's PATH_MAX, less the prefix under which code is mounted.
const PATH_BYTES_MAX: usize = 4_000;

/// Longest target of a link that ext4 holds.
const LINK_BYTES_MAX: u64 = 4_095;

/// Type bits of a Unix mode.
const TYPE_MASK: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    Directory,
    File,
    Link,
}

/// One entry, its name checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ZipEntry {
    /// Relative, of plain components joined by single slashes; never empty.
    pub(super) path: String,
    pub(super) kind: EntryKind,
    /// 0755 or 0644: Lambda's files belong to root and can be read, and run where they could be run, by all.
    pub(super) mode: u32,
    /// Seconds since 1970.
    pub(super) modified: u64,
    /// What the header says; what is inflated is compared with it.
    pub(super) bytes: u64,
    index: usize,
}

/// Why a zip is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ZipFault {
    #[error("Could not unzip uploaded file. Please check your file, then try to upload again.")]
    NotAZip(#[source] Option<zip::result::ZipError>),
    #[error(
        "Could not unzip uploaded file: entry {path:?} {reason}. Please check your file, then try to upload again."
    )]
    Entry { path: String, reason: String },
    #[error("Could not unzip uploaded file: it has {found} entries, and {ENTRIES_MAX} are the most that is taken.")]
    TooMany { found: usize },
    #[error(
        "Could not unzip uploaded file: two of its entries have the same name. Please check your file, then try to upload again."
    )]
    Duplicate,
    #[error("Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes")]
    TooLong,
    /// Whoever takes the entries failed; not the zip's fault.
    #[error("cannot unpack a zip: {0}")]
    Sink(#[source] io::Error),
}

/// Takes the entries of a zip one after the other.
pub(super) trait EntrySink {
    /// Takes an entry; `content` is a file's bytes or a link's target, exactly `entry.bytes` of them.
    fn take(&mut self, entry: &ZipEntry, content: &mut dyn Read) -> io::Result<()>;
}

/// Looks at contents only to count and check them.
pub(super) struct Discard;

impl EntrySink for Discard {
    fn take(&mut self, _entry: &ZipEntry, content: &mut dyn Read) -> io::Result<()> {
        io::copy(content, &mut io::sink()).map(drop)
    }
}

/// A zip whose central directory has been checked.
pub(super) struct CheckedZip<R> {
    archive: ZipArchive<R>,
    entries: Vec<ZipEntry>,
}

impl<R: Read + Seek> CheckedZip<R> {
    /// Reads and judges the central directory.
    pub(super) fn open(zip: R) -> Result<Self, ZipFault> {
        let mut archive = ZipArchive::new(zip).map_err(|error| ZipFault::NotAZip(Some(error)))?;
        if archive.len() > ENTRIES_MAX {
            return Err(ZipFault::TooMany { found: archive.len() });
        }
        if archive.has_duplicate_names() {
            return Err(ZipFault::Duplicate);
        }
        let mut entries = Vec::with_capacity(archive.len());
        for index in 0..archive.len() {
            entries.extend(read_entry(&mut archive, index)?);
        }
        check_tree(&entries)?;
        // Only a hint, for the inflated bytes are counted; but it says so before the work.
        let announced = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
        if announced >= UNZIPPED_BYTES_MAX {
            return Err(ZipFault::TooLong);
        }
        Ok(Self { archive, entries })
    }

    pub(super) fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// Inflates all entries into the sink, in the order of the archive; gives the bytes of all files.
    pub(super) fn unpack(&mut self, sink: &mut impl EntrySink) -> Result<u64, ZipFault> {
        let mut total = 0_u64;
        for entry in &self.entries {
            if entry.kind == EntryKind::Directory {
                sink.take(entry, &mut io::empty()).map_err(ZipFault::Sink)?;
                continue;
            }
            let bad = |error: &dyn std::fmt::Display| refused(&entry.path, &format!("cannot be inflated ({error})"));
            let file = self.archive.by_index(entry.index).map_err(|error| bad(&error))?;
            let mut content = Counted {
                reader: file,
                left: entry.bytes,
                fault: None,
            };
            let taken = sink.take(entry, &mut content).and_then(|()| content.finish());
            if let Some(fault) = content.fault {
                return Err(bad(&fault));
            }
            taken.map_err(ZipFault::Sink)?;
            total += entry.bytes;
        }
        Ok(total)
    }
}

/// Exactly as many bytes as announced, and an error of the archive told from one of the sink.
struct Counted<R> {
    reader: R,
    left: u64,
    fault: Option<String>,
}

impl<R: Read> Counted<R> {
    /// The end of the stream must be where the header says, and its checksum right, which the archive's reader finds
    /// out when it is read at its end.
    fn finish(&mut self) -> io::Result<()> {
        let mut one_more = [0];
        match self.read(&mut one_more)? {
            0 if self.left == 0 => Ok(()),
            _ => Err(self.fail("its length is not what its header says")),
        }
    }

    fn fail(&mut self, reason: &str) -> io::Error {
        self.fault = Some(reason.to_owned());
        io::Error::new(io::ErrorKind::InvalidData, reason.to_owned())
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.reader.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.fail(&error.to_string())),
        };
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(self.fail("it is longer than its header says")),
        }
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(self.fail("it is shorter than its header says"));
        }
        Ok(read)
    }
}

fn read_entry<R: Read + Seek>(archive: &mut ZipArchive<R>, index: usize) -> Result<Option<ZipEntry>, ZipFault> {
    let file = archive
        .by_index_raw(index)
        .map_err(|error| ZipFault::NotAZip(Some(error)))?;
    let name = entry_name(&file)?;
    let Some(path) = checked_path(&name)? else {
        return Ok(None);
    };
    if file.encrypted() {
        return Err(refused(&name, "is encrypted"));
    }
    let unix_mode = file.unix_mode();
    let kind = match unix_mode.map(|mode| mode & TYPE_MASK) {
        _ if name.ends_with('/') => EntryKind::Directory,
        Some(TYPE_DIRECTORY) => EntryKind::Directory,
        Some(TYPE_LINK) => EntryKind::Link,
        Some(TYPE_FILE | 0) | None => EntryKind::File,
        Some(_) => return Err(refused(&name, "is neither a file, a directory nor a symbolic link")),
    };
    let bytes = if kind == EntryKind::Directory { 0 } else { file.size() };
    if kind == EntryKind::Link && !(1..=LINK_BYTES_MAX).contains(&bytes) {
        return Err(refused(
            &name,
            "is a symbolic link of a length that no file system holds",
        ));
    }
    let is_executable = unix_mode.is_some_and(|mode| mode & 0o111 != 0);
    Ok(Some(ZipEntry {
        path,
        kind,
        mode: if is_executable || kind == EntryKind::Directory {
            0o755
        } else {
            0o644
        },
        modified: modified(&file),
        bytes,
        index,
    }))
}

/// UTF-8 where it is that, flagged or not, as most tools write; else what the format says it is.
fn entry_name<R: Read>(file: &zip::read::ZipFile<'_, R>) -> Result<String, ZipFault> {
    if let Ok(name) = std::str::from_utf8(file.name_raw()) {
        return Ok(name.to_owned());
    }
    let name = file.name().map_err(|error| ZipFault::NotAZip(Some(error)))?;
    Ok(name.into_owned())
}

/// The path in plain components; `None` for the directory itself (`./`).
fn checked_path(name: &str) -> Result<Option<String>, ZipFault> {
    if name.starts_with('/') {
        return Err(refused(name, "is an absolute path"));
    }
    if name.contains('\0') {
        return Err(refused(name, "has a NUL in its name"));
    }
    let components: Vec<&str> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    for component in &components {
        if *component == ".." {
            return Err(refused(name, "leads out of the archive"));
        }
        if component.len() > NAME_BYTES_MAX {
            return Err(refused(name, "has a name of more than 255 bytes"));
        }
        // Our layers speak OCI, in which such a name removes another.
        if component.starts_with(".wh.") {
            return Err(refused(
                name,
                "begins with .wh., which stands for a removed file in container layers",
            ));
        }
    }
    let path = components.join("/");
    if path.len() > PATH_BYTES_MAX {
        return Err(refused(name, "has a path of more than 4,000 bytes"));
    }
    Ok((!path.is_empty()).then_some(path))
}

/// No path twice, and nothing below a file or a link. Directories may be named twice.
fn check_tree(entries: &[ZipEntry]) -> Result<(), ZipFault> {
    let mut kinds: HashMap<&str, EntryKind> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let before = kinds.insert(&entry.path, entry.kind);
        let is_repeated_directory = before == Some(EntryKind::Directory) && entry.kind == EntryKind::Directory;
        if before.is_some() && !is_repeated_directory {
            return Err(refused(&entry.path, "stands twice in the archive"));
        }
    }
    for entry in entries {
        let mut path = entry.path.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            if kinds.get(parent).is_some_and(|kind| *kind != EntryKind::Directory) {
                return Err(refused(&entry.path, "lies below an entry that is not a directory"));
            }
            path = parent;
        }
    }
    Ok(())
}

/// The extended timestamp where there is one, for it is in universal time; else DOS's two-second time, taken as
/// universal too.
fn modified<R: Read>(file: &zip::read::ZipFile<'_, R>) -> u64 {
    let extended = file.extra_data_fields().find_map(|field| match field {
        ExtraField::ExtendedTimestamp(times) => times.mod_time(),
        _ => None,
    });
    match (extended, file.last_modified()) {
        (Some(seconds), _) => u64::from(seconds),
        (None, Some(time)) => {
            let days = days_since_1970(time.year(), time.month(), time.day());
            let seconds = u64::from(time.hour()) * 3_600 + u64::from(time.minute()) * 60 + u64::from(time.second());
            days * 86_400 + seconds
        }
        (None, None) => 0,
    }
}

/// Days from 1970-01-01 to a date from 1980 on, in the Gregorian calendar: Howard Hinnant's `days_from_civil`.
fn days_since_1970(year: u16, month: u8, day: u8) -> u64 {
    // A damaged date must not underflow; DOS dates begin in 1980.
    let (year, month, day) = (
        u64::from(year.max(1980)),
        u64::from(month.clamp(1, 12)),
        u64::from(day.max(1)),
    );
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn refused(path: &str, reason: &str) -> ZipFault {
    ZipFault::Entry {
        path: path.chars().take(160).collect(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;
