//! One zip of a directory, the same bytes for the same files.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Lambda's limit for a zip that comes with the request. Source: its quotas page.
const ZIP_BYTES_MAX: usize = 50 * 1024 * 1024;

/// Puts all files under `directory` into a zip, in the order of their paths.
pub(crate) fn zip_directory(directory: &Path) -> Result<Bytes> {
    let mut paths = Vec::new();
    collect(directory, Path::new(""), &mut paths)?;
    paths.sort();
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for path in &paths {
        add(&mut zip, directory, path).with_context(|| format!("cannot zip {}", path.display()))?;
    }
    let bytes = zip.finish().context("cannot finish the zip")?.into_inner();
    if bytes.len() > ZIP_BYTES_MAX {
        bail!(
            "the zip has {:.1} MiB and Lambda takes {} MiB with a request: build a container image with these files and push it \
             to the endpoint's registry, which takes 10 GiB",
            bytes.len() as f64 / f64::from(1 << 20),
            ZIP_BYTES_MAX >> 20
        );
    }
    Ok(bytes.into())
}

fn collect(directory: &Path, inside: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let here = directory.join(inside);
    for entry in fs::read_dir(&here).with_context(|| format!("cannot read {}", here.display()))? {
        let entry = entry?;
        let path = inside.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(directory, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}

fn add(zip: &mut ZipWriter<Cursor<Vec<u8>>>, directory: &Path, path: &Path) -> Result<()> {
    let name = path.to_str().context("the name is not UTF-8")?;
    let file = directory.join(path);
    let metadata = fs::symlink_metadata(&file)?;
    // The format's default time, 1980, for all: a changed time is not a changed function.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(metadata.permissions().mode() & 0o777)
        .large_file(false);
    if metadata.is_symlink() {
        let target = fs::read_link(&file)?;
        zip.add_symlink(
            name,
            target.to_str().context("the link's target is not UTF-8")?,
            options,
        )?;
    } else {
        zip.start_file(name, options)?;
        zip.write_all(&fs::read(&file)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_make_equal_bytes_whatever_their_times() {
        let make = |seconds| {
            let directory = tempfile::tempdir().unwrap();
            fs::create_dir(directory.path().join("package")).unwrap();
            for (name, text) in [("app.py", "handler"), ("package/a.txt", "a"), ("bootstrap", "run")] {
                let path = directory.path().join(name);
                fs::write(&path, text).unwrap();
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
                fs::File::options()
                    .write(true)
                    .open(&path)
                    .unwrap()
                    .set_modified(time)
                    .unwrap();
            }
            let program = directory.path().join("bootstrap");
            fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
            zip_directory(directory.path()).unwrap()
        };
        let zip = make(1_000_000_000);
        assert_eq!(zip, make(1_500_000_000));
        let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
        let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["app.py", "bootstrap", "package/a.txt"]);
        assert_eq!(
            archive.by_name("bootstrap").unwrap().unix_mode().unwrap() & 0o777,
            0o755
        );
    }
}
