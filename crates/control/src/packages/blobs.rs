//! Files named by their SHA-256.
//!
//! ```text
//! DIRECTORY/blobs/sha256/HEX     the bytes; mode 0600; never changed
//! DIRECTORY/blobs/unnamed/HEX    nothing names this blob; see `unnamed`
//! ```
//! A blob appears by a rename after its bytes and its digest are certain and on the disk, so what is there is whole.
//! Zips and the registry's blobs share them. [`Blobs::sweep`] alone removes them.

use super::reclaim::Reclaimed;
use super::unnamed::{Claims, Unnamed, file_names};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;
use tempfile::NamedTempFile;

/// Bytes hashed at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Begin of the names of files on their way.
const NEW_PREFIX: &str = ".new-";

/// Hexadecimal digits of a SHA-256.
const HEX_DIGITS: usize = 64;

/// The SHA-256 of a blob; as text `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Blob(String);

/// Content-addressed files. All functions block.
#[derive(Clone, Debug)]
pub struct Blobs {
    directory: Arc<PathBuf>,
    unnamed: Unnamed,
    claims: Claims,
}

/// A file of packages cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct BlobError {
    /// What was tried.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// The system's reason.
    pub source: io::Error,
}

/// A text that is no digest of a blob.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest that is kept here: expected sha256: and 64 lower-case hexadecimal digits")]
pub struct BlobParseError;

impl Blob {
    /// The blob of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(bytes);
        Self(hex::encode(context.finish()))
    }

    /// Reads to the end.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<Self> {
        let mut context = Context::new(&SHA256);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Self(hex::encode(context.finish()))),
                Ok(read) => context.update(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// From the base64 of the digest, as Lambda writes it.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text).ok().filter(|bytes| bytes.len() * 2 == HEX_DIGITS)?;
        Some(Self(hex::encode(bytes)))
    }

    /// From the digits without `sha256:`.
    #[must_use]
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (is_hex && text.len() == HEX_DIGITS).then(|| Self(text.to_owned()))
    }

    /// The digest in base64.
    #[must_use]
    pub fn base64(&self) -> String {
        BASE64.encode(hex::decode(&self.0).expect("a blob is hexadecimal digits"))
    }

    /// The digits without `sha256:`.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "sha256:{}", self.0)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Blob({self})")
    }
}

impl FromStr for Blob {
    type Err = BlobParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").ok_or(BlobParseError)?;
        Self::from_hex(hex).ok_or(BlobParseError)
    }
}

impl Blobs {
    /// Blobs under `DIRECTORY/blobs/sha256`.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        let claims = Claims::default();
        Self {
            unnamed: Unnamed::new(directory.join("blobs/unnamed"), claims.clone()),
            directory: Arc::new(directory),
            claims,
        }
    }

    /// The directory that holds `blobs/sha256`, as an image layout does.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Stores bytes; the same bytes twice are stored once. Whoever names the blob does so soon.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, BlobError> {
        let blob = Blob::of(bytes);
        if self.claim(&blob)?.is_none() {
            write_file(&self.path(&blob), bytes)?;
        }
        Ok(blob)
    }

    /// Takes over a file whose digest the caller has just computed; it must lie on the same file system.
    pub(super) fn adopt(&self, file: &File, path: &Path, blob: &Blob) -> Result<(), BlobError> {
        let target = self.path(blob);
        self.claim(blob)?;
        make_parent(&target)?;
        file.sync_all().map_err(failed("write", path))?;
        fs::rename(path, &target).map_err(failed("create", &target))?;
        sync_parent(&target)
    }

    /// Opens a blob; `None` when there is none.
    pub fn open(&self, blob: &Blob) -> Result<Option<File>, BlobError> {
        found(File::open(self.path(blob))).map_err(failed("read", &self.path(blob)))
    }

    /// Says that a blob is about to be named, so that it is not removed; gives its length, or `None` when there is none.
    pub(super) fn claim(&self, blob: &Blob) -> Result<Option<u64>, BlobError> {
        self.unnamed.claim(blob.hex(), &self.path(blob))
    }

    /// What excludes claims and removals from each other, here and in who names blobs.
    pub(super) fn claims(&self) -> Claims {
        self.claims.clone()
    }

    /// Removes the blobs that nothing has named since `before`, and what was on its way then and never arrived.
    pub(super) fn sweep(&self, before: SystemTime, named: &HashSet<Blob>) -> Result<Reclaimed, BlobError> {
        let directory = self.directory.join("blobs/sha256");
        let (mut freed, mut unnamed) = (Reclaimed::default(), HashSet::new());
        for name in file_names(&directory)? {
            let path = directory.join(&name);
            let Some(blob) = Blob::from_hex(&name) else {
                remove_stale(&name, &path, before)?;
                continue;
            };
            if named.contains(&blob) {
                continue;
            }
            match self.unnamed.expire(&name, &path, before)? {
                Some(bytes) => {
                    freed.blobs += 1;
                    freed.bytes += bytes;
                }
                None => {
                    unnamed.insert(name);
                }
            }
        }
        self.unnamed.keep(|hex| unnamed.contains(hex))?;
        Ok(freed)
    }

    /// Reads a whole blob, checks its digest, and gives `None` when there is none of that name or it is longer than
    /// `bytes_max`.
    pub fn read(&self, blob: &Blob, bytes_max: u64) -> Result<Option<Vec<u8>>, BlobError> {
        let Some(mut file) = self.open(blob)? else {
            return Ok(None);
        };
        let path = self.path(blob);
        let mut bytes = Vec::new();
        let read = (&mut file).take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(failed("read", &path))?;
        if bytes.len() as u64 > bytes_max {
            return Ok(None);
        }
        if Blob::of(&bytes) != *blob {
            let damaged = io::Error::new(
                io::ErrorKind::InvalidData,
                "its bytes do not have the digest in its name",
            );
            return Err(failed("read", &path)(damaged));
        }
        Ok(Some(bytes))
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        self.directory.join("blobs/sha256").join(blob.hex())
    }
}

/// Replaces a file, or makes it: readers see the old bytes or the new ones, and after a crash too. Mode 0600.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BlobError> {
    make_parent(path)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file =
        NamedTempFile::with_prefix_in(NEW_PREFIX, directory).map_err(failed("create a file beside", path))?;
    file.write_all(bytes).map_err(failed("write", path))?;
    file.as_file().sync_all().map_err(failed("write", path))?;
    file.persist(path)
        .map_err(|error| failed("replace", path)(error.error))?;
    sync_parent(path)
}

/// Removes a file that a crash left on its way.
fn remove_stale(name: &str, path: &Path, before: SystemTime) -> Result<(), BlobError> {
    // One that arrives at this moment is no failure.
    let modified = found(fs::metadata(path).and_then(|file| file.modified())).map_err(failed("read", path))?;
    if name.starts_with(NEW_PREFIX) && modified.is_some_and(|modified| modified < before) {
        found(fs::remove_file(path)).map_err(failed("remove", path))?;
    }
    Ok(())
}

/// Reads a small file; `None` when there is none.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, BlobError> {
    found(fs::read(path)).map_err(failed("read", path))
}

/// Makes a directory that only its owner can read.
pub(super) fn make_directory(directory: &Path) -> Result<(), BlobError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(failed("create the directory", directory))
}

/// A new file that only its owner can read.
pub(super) fn create_private(path: &Path) -> Result<File, BlobError> {
    make_parent(path)?;
    let file = File::options().read(true).write(true).create_new(true).open(path);
    let file = file.map_err(failed("create", path))?;
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(failed("protect", path))?;
    Ok(file)
}

/// Names the file in an error.
pub(super) fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> BlobError + 'a {
    move |source| BlobError {
        action,
        path: path.to_owned(),
        source,
    }
}

/// `None` for what does not exist.
pub(super) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Hashes a file from its first byte.
pub(super) fn hash_file(file: &mut File) -> io::Result<Blob> {
    file.rewind()?;
    Blob::of_reader(file)
}

fn make_parent(path: &Path) -> Result<(), BlobError> {
    path.parent().map_or(Ok(()), make_directory)
}

/// So that a rename survives a crash.
fn sync_parent(path: &Path) -> Result<(), BlobError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(failed("write the directory", directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_are_private_checked_and_stored_once() {
        let directory = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(directory.path().join("data"));
        let blob = blobs.put(b"abc").unwrap();
        assert_eq!(
            blob.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Blob::from_base64(&blob.base64()), Some(blob.clone()));
        assert_eq!(blobs.put(b"abc").unwrap(), blob);
        assert_eq!(blobs.read(&blob, 3).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(blobs.read(&blob, 2).unwrap(), None);
        let mode = fs::metadata(blobs.path(&blob)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mode = fs::metadata(directory.path().join("data/blobs"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        fs::write(blobs.path(&blob), b"abd").unwrap();
        assert!(
            blobs
                .read(&blob, 3)
                .unwrap_err()
                .to_string()
                .contains("digest in its name")
        );
        assert_eq!(blobs.read(&Blob::of(b"other"), 3).unwrap(), None);
    }

    #[test]
    fn only_sha256_in_lower_case_is_a_blob() {
        let zeros = "0".repeat(64);
        assert!(format!("sha256:{zeros}").parse::<Blob>().is_ok());
        for text in [
            &zeros,
            "sha256:",
            &format!("sha256:{}", "A".repeat(64)),
            "sha256:../../etc/passwd",
            "sha512:00",
        ] {
            assert_eq!(text.parse::<Blob>(), Err(BlobParseError), "{text}");
        }
    }
}
