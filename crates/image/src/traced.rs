//! What starts of an image touch, in words of files.

use crate::file_map::{FileMap, FileMapError};
use crate::images::{ImageError, Images};
use chunk::{BLOCK_BYTES, CHUNK_BYTES, Trace};
use std::collections::{BTreeMap, HashSet};

/// A stored trace, with what it takes to read it.
#[derive(Debug)]
pub struct TracedImage {
    /// What the last starts touched.
    pub trace: Trace,
    /// Which file a block belongs to.
    pub files: FileMap,
    /// Chunks of the device.
    pub chunks: u32,
    /// Bytes of the runs of its start pack, if one was built.
    pub pack_bytes: Option<u64>,
}

/// A file that starts touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedFile {
    /// Its absolute path.
    pub path: Vec<u8>,
    /// Its size.
    pub bytes: u64,
    /// Bytes of it that are touched, in whole blocks.
    pub touched_bytes: u64,
    /// When it is first touched, in milliseconds after the start.
    pub first_ms: u32,
}

/// A directory's share of what starts touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TouchedDirectory {
    /// Its path, without a slash at the end.
    pub path: Vec<u8>,
    /// Files below it that are touched, less those of directories that have a line of their own.
    pub files: u64,
    /// Bytes of them that are touched.
    pub touched_bytes: u64,
}

impl Images {
    /// The trace of an image's starts; `None` when no start was recorded. Reads the image's metadata from the store.
    pub fn trace(&self, name: &str) -> Result<Option<TracedImage>, ImageError> {
        let Some(stored) = self.stored_trace(name)? else {
            return Ok(None);
        };
        let files = FileMap::parse(&stored.metadata);
        Ok(Some(TracedImage {
            trace: stored.trace,
            files: files.map_err(|source: FileMapError| ImageError::FileSystem {
                name: name.to_owned(),
                source,
            })?,
            chunks: stored.chunks,
            pack_bytes: stored.pack_bytes,
        }))
    }
}

impl TracedImage {
    /// The numbers of the chunks that are touched, in order of first use.
    #[must_use]
    pub fn touched_chunks(&self) -> Vec<u32> {
        let blocks = (CHUNK_BYTES / BLOCK_BYTES) as u32;
        let mut seen = HashSet::new();
        let numbers = self.trace.runs.iter().flat_map(|traced| traced.run.numbers());
        numbers
            .map(|block| block / blocks)
            .filter(|chunk| seen.insert(*chunk))
            .collect()
    }

    /// The files that are touched, in order of first use.
    #[must_use]
    pub fn touched_files(&self) -> Vec<TouchedFile> {
        let mut places: BTreeMap<&[u8], usize> = BTreeMap::new();
        let mut files: Vec<TouchedFile> = Vec::new();
        for traced in &self.trace.runs {
            for block in traced.run.numbers() {
                let Some(file) = self.files.file_of(block) else {
                    continue;
                };
                let place = *places.entry(&file.path).or_insert_with(|| {
                    files.push(TouchedFile {
                        path: file.path.clone(),
                        bytes: file.bytes,
                        touched_bytes: 0,
                        first_ms: traced.at_ms,
                    });
                    files.len() - 1
                });
                files[place].touched_bytes += BLOCK_BYTES as u64;
            }
        }
        files
    }
}

/// The directories that hold most of what is touched: at most `lines_max`, found by opening the largest again and
/// again. Sorted by path.
#[must_use]
pub fn touched_directories(files: &[TouchedFile], lines_max: usize) -> Vec<TouchedDirectory> {
    let mut lines = vec![Line {
        depth: 0,
        files: files.iter().collect(),
    }];
    // A line that is opened leaves one line for each directory in it, and keeps the files that lie in it directly.
    while let Some(place) = largest_that_opens(&lines, lines_max) {
        let opened = lines.swap_remove(place).open();
        lines.extend(opened);
    }
    let mut directories: Vec<_> = lines.iter().map(Line::directory).collect();
    directories.sort_by(|one, other| one.path.cmp(&other.path));
    directories
}

/// Files below one directory.
#[derive(Clone)]
struct Line<'a> {
    /// Components of the directory's path.
    depth: usize,
    files: Vec<&'a TouchedFile>,
}

impl<'a> Line<'a> {
    fn touched_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.touched_bytes).sum()
    }

    /// The files by the directory one deeper that they are in; those that are in none of them stay.
    fn open(self) -> Vec<Self> {
        let mut below: BTreeMap<Option<&[u8]>, Vec<&'a TouchedFile>> = BTreeMap::new();
        for file in &self.files {
            let mut parents = components(&file.path);
            parents.pop();
            below.entry(parents.get(self.depth).copied()).or_default().push(file);
        }
        below
            .into_iter()
            .map(|(deeper, files)| Self {
                depth: if deeper.is_some() { self.depth + 1 } else { self.depth },
                files,
            })
            .collect()
    }

    fn opens_into(&self) -> usize {
        let opened = self.clone().open();
        // A line whose files all lie in it directly does not get any smaller.
        if opened.iter().all(|line| line.depth == self.depth) {
            0
        } else {
            opened.len()
        }
    }

    fn directory(&self) -> TouchedDirectory {
        let first = self.files.first().map_or(&[][..], |file| &file.path);
        let path: Vec<&[u8]> = components(first).into_iter().take(self.depth).collect();
        TouchedDirectory {
            path: [b"/", path.join(&b'/').as_slice()].concat(),
            files: self.files.len() as u64,
            touched_bytes: self.touched_bytes(),
        }
    }
}

fn largest_that_opens(lines: &[Line<'_>], lines_max: usize) -> Option<usize> {
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(lines[*place].touched_bytes()));
    let total: u64 = lines.iter().map(Line::touched_bytes).sum();
    order.into_iter().find(|place| {
        let line = &lines[*place];
        // A directory with less than a twentieth is not worth a look inside, unless it is the way to all others.
        let large = line.touched_bytes() * 20 >= total;
        let into = line.opens_into();
        large && into > 0 && (into == 1 || lines.len() + into - 1 <= lines_max)
    })
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|component| !component.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, kib: u64) -> TouchedFile {
        TouchedFile {
            path: path.into(),
            bytes: kib * 1024,
            touched_bytes: kib * 1024,
            first_ms: 0,
        }
    }

    fn lines(files: &[TouchedFile], lines_max: usize) -> Vec<(String, u64, u64)> {
        touched_directories(files, lines_max)
            .into_iter()
            .map(|line| {
                (
                    String::from_utf8(line.path).unwrap(),
                    line.files,
                    line.touched_bytes / 1024,
                )
            })
            .collect()
    }

    #[test]
    fn large_directories_are_opened_and_small_ones_are_not() {
        let files = [
            file("/usr/lib/a/x.so", 400),
            file("/usr/lib/a/y.so", 400),
            file("/usr/lib/b/deep/z.so", 100),
            file("/usr/lib/libc.so", 90),
            file("/etc/one/conf", 5),
            file("/etc/two/conf", 5),
        ];
        let expected = [
            ("/etc", 2, 10),
            ("/usr/lib", 1, 90),
            ("/usr/lib/a", 2, 800),
            ("/usr/lib/b/deep", 1, 100),
        ];
        let expected = expected.map(|(path, files, kib)| (path.to_owned(), files, kib));
        assert_eq!(lines(&files, 10), expected);
        let total: u64 = lines(&files, 3).iter().map(|(_, _, kib)| kib).sum();
        assert_eq!(total, 1000);
        assert!(lines(&files, 3).len() <= 3);
    }

    #[test]
    fn nothing_touched_is_one_empty_line() {
        assert_eq!(lines(&[], 10), [("/".to_owned(), 0, 0)]);
    }
}
