//! The journal of a batch: every result, in the order in which they came.
//!
//! ```text
//! {"lambent_batch":1,"function":"scorer","qualifier":null}
//! NUMBER HASH R|E BILLED_MS MEMORY_MB TRIES CHECK RESULT          one line for each result, text, ended by a newline
//! ```
//! | field | value |
//! |---|---|
//! | NUMBER | the record's, from 0 |
//! | HASH | of the input's line: 16 hexadecimal digits |
//! | R, E | a result, or an error |
//! | CHECK | the first 64 bits of BLAKE3 over all of the line but CHECK itself: 16 hexadecimal digits |
//! | RESULT | the output's line: JSON |
//!
//! Each line is one write, so a process that is killed leaves whole lines. A machine that loses its power may leave
//! anything behind the last flush: the first line whose check is wrong ends the journal, and what follows is cut off and
//! asked again. Text, so that a person can look at what a batch has got so far.

use super::in_order::InOrder;
use super::{Answer, Facts, InputHash};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Of the format above.
const VERSION: u32 = 1;

/// What a journal belongs to. The input is known by its lines' hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) function: String,
    pub(crate) qualifier: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    lambent_batch: u32,
    #[serde(flatten)]
    task: Task,
}

/// An open journal. Nobody else has it open for a batch.
pub(crate) struct Journal {
    file: Arc<File>,
    /// None where no name leads to it.
    path: Option<PathBuf>,
    /// Where the first entry begins.
    start: u64,
    end: u64,
    /// Entries that earlier runs left.
    found: u64,
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Closing it is not enough while a child that another thread has just forked holds a copy.
        let _ = rustix::fs::flock(&*self.file, rustix::fs::FlockOperation::Unlock);
    }
}

impl Journal {
    /// Opens the journal of a task, or makes it.
    ///
    /// Errors: it is another task's, or of a newer version; somebody has it open.
    pub(crate) fn open(path: &Path, task: &Task) -> Result<Self> {
        let shown = path.display();
        let mut options = File::options();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot open the journal {shown}"))?;
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => bail!("another batch writes to {shown}: wait for it, or end it"),
            Err(error) => return Err(error).with_context(|| format!("cannot lock {shown}")),
        }
        let mut journal = Self::over(file, Some(path.to_owned()));
        journal
            .begin(task)
            .with_context(|| format!("cannot go on with the journal {shown}"))?;
        Ok(journal)
    }

    /// A journal that goes with the process, for an output that cannot be gone on with.
    pub(crate) fn unnamed(directory: &Path) -> Result<Self> {
        let file = tempfile::tempfile_in(directory);
        let file = file.with_context(|| format!("cannot make a file in {}", directory.display()))?;
        Ok(Self::over(file, None))
    }

    fn over(file: File, path: Option<PathBuf>) -> Self {
        Self {
            file: Arc::new(file),
            path,
            start: 0,
            end: 0,
            found: 0,
        }
    }

    fn begin(&mut self, task: &Task) -> Result<()> {
        let header = Header {
            lambent_batch: VERSION,
            task: task.clone(),
        };
        let mut expected = serde_json::to_vec(&header)?;
        expected.push(b'\n');
        let mut lines = InOrder::new(Arc::clone(&self.file), 0, u64::MAX);
        let Some(line) = lines.line()? else {
            // Empty, or cut within the first write: nothing is in it.
            self.check_is_ours(&expected)?;
            self.file.set_len(0)?;
            (&*self.file).write_all(&expected)?;
            self.start = expected.len() as u64;
            self.end = self.start;
            return Ok(());
        };
        check_header(&line, task)?;
        self.start = line.len() as u64 + 1;
        self.end = self.start;
        while let Some(line) = lines.line()? {
            if parse(&line).is_none() {
                break;
            }
            self.found += 1;
            self.end += line.len() as u64 + 1;
        }
        self.file.set_len(self.end)?;
        Ok(())
    }

    /// A file without a whole line is a journal only if it is the beginning of one.
    fn check_is_ours(&self, expected: &[u8]) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; expected.len()];
        let count = self.file.read_at(&mut bytes, 0)?;
        if self.file.metadata()?.len() > expected.len() as u64 || !expected.starts_with(&bytes[..count]) {
            bail!("it is no journal of a batch: move it away, or choose another output");
        }
        Ok(())
    }

    /// How many results earlier runs left.
    pub(crate) const fn found(&self) -> u64 {
        self.found
    }

    /// Writes an answer down. From now on it stands.
    pub(crate) fn append(&mut self, answer: &Answer) -> Result<()> {
        let line = line_of(answer);
        let written = (&*self.file).write_all(&line);
        written.with_context(|| format!("cannot write to the journal {}", self.shown()))?;
        self.end += line.len() as u64;
        Ok(())
    }

    /// The results of earlier runs.
    pub(crate) fn earlier(&self) -> InOrder {
        InOrder::new(Arc::clone(&self.file), self.start, self.end)
    }

    /// All results, also those that are still to come.
    pub(crate) fn all(&self) -> InOrder {
        InOrder::new(Arc::clone(&self.file), self.start, u64::MAX)
    }

    /// Removes it: the output is whole.
    pub(crate) fn remove(self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        std::fs::remove_file(path).with_context(|| format!("cannot remove the journal {}", path.display()))
    }

    fn shown(&self) -> String {
        let path = self.path.as_ref();
        path.map_or_else(|| "(unnamed)".to_owned(), |path| path.display().to_string())
    }
}

fn check_header(line: &[u8], task: &Task) -> Result<()> {
    let Ok(header) = serde_json::from_slice::<Header>(line) else {
        bail!("it is no journal of a batch: move it away, or choose another output");
    };
    if header.lambent_batch != VERSION {
        bail!(
            "it has format {}, and this lambent knows {VERSION}: use the lambent that began the batch",
            header.lambent_batch
        );
    }
    if header.task != *task {
        let of = |task: &Task| match &task.qualifier {
            Some(qualifier) => format!("{}:{qualifier}", task.function),
            None => task.function.clone(),
        };
        bail!(
            "it was begun with {}, and not with {}: remove it to begin anew",
            of(&header.task),
            of(task)
        );
    }
    Ok(())
}

fn line_of(answer: &Answer) -> Vec<u8> {
    let (facts, sort) = (answer.facts, if answer.facts.is_error { 'E' } else { 'R' });
    let before = format!(
        "{} {:016x} {sort} {} {} {} ",
        answer.number, answer.hash.0, facts.billed_ms, facts.memory_mb, facts.tries
    );
    let check = check(before.as_bytes(), &answer.result);
    let mut line = before.into_bytes();
    line.extend_from_slice(format!("{check:016x} ").as_bytes());
    line.extend_from_slice(&answer.result);
    line.push(b'\n');
    line
}

/// Reads a line without its newline; none if it is not one that was written whole.
pub(super) fn parse(line: &[u8]) -> Option<Answer> {
    let mut fields = line.splitn(8, |byte| *byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (number, hash, sort) = (text()?, text()?, text()?);
    let (billed_ms, memory_mb, tries, said) = (text()?, text()?, text()?, text()?);
    let result = fields.next()?;
    let before = line.len() - result.len() - said.len() - 1;
    if u64::from_str_radix(said, 16).ok()? != check(&line[..before], result) {
        return None;
    }
    Some(Answer {
        number: number.parse().ok()?,
        hash: InputHash(u64::from_str_radix(hash, 16).ok()?),
        facts: Facts {
            is_error: sort == "E",
            billed_ms: billed_ms.parse().ok()?,
            memory_mb: memory_mb.parse().ok()?,
            tries: tries.parse().ok()?,
        },
        result: result.to_vec(),
    })
}

fn check(before: &[u8], result: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before).update(result);
    InputHash::of(&hasher).0
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn task(function: &str) -> Task {
        Task {
            function: function.to_owned(),
            qualifier: None,
        }
    }

    pub(in super::super) fn answer(number: u64) -> Answer {
        Answer {
            number,
            hash: InputHash(number * 7),
            facts: Facts {
                is_error: number.is_multiple_of(3),
                billed_ms: 12,
                memory_mb: 128,
                tries: 1,
            },
            result: format!("{{\"line\":{number}, \"response\": \"a b\"}}").into_bytes(),
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = line_of(&answer(42));
        assert_eq!(line.last(), Some(&b'\n'));
        assert_eq!(parse(&line[..line.len() - 1]), Some(answer(42)));
    }

    #[test]
    fn every_damage_of_a_line_is_seen() {
        let line = line_of(&answer(7));
        let line = &line[..line.len() - 1];
        for at in 0..line.len() {
            let mut damaged = line.to_vec();
            damaged[at] ^= 1;
            assert_ne!(parse(&damaged), Some(answer(7)), "byte {at}");
            assert!(parse(&damaged).is_none_or(|read| read == answer(7)), "byte {at}");
            assert_eq!(parse(&line[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn what_a_power_cut_left_is_cut_off_and_the_rest_stands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.journal");
        let mut journal = Journal::open(&path, &task("f")).unwrap();
        for number in [1, 0, 2] {
            journal.append(&answer(number)).unwrap();
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        let third = line_of(&answer(2)).len();
        for cut in 1..=third {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            assert_eq!(Journal::open(&path, &task("f")).unwrap().found(), 2);
        }
        let mut zeros = whole.clone();
        zeros.extend_from_slice(&[0; 4096]);
        std::fs::write(&path, &zeros).unwrap();
        let mut journal = Journal::open(&path, &task("f")).unwrap();
        assert_eq!(journal.found(), 3);
        journal.append(&answer(3)).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path, &task("f")).unwrap().found(), 4);
    }

    #[test]
    fn a_header_that_was_cut_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.journal");
        drop(Journal::open(&path, &task("f")).unwrap());
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Journal::open(&path, &task("f")).unwrap().found(), 0);
            assert_eq!(std::fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn what_is_not_this_tasks_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.journal");
        drop(Journal::open(&path, &task("f")).unwrap());
        let refused = |task: &Task| format!("{:#}", Journal::open(&path, task).err().unwrap());
        assert!(refused(&task("g")).contains("begun with f, and not with g"));
        for text in [
            "my notes",
            "my notes\nand more\n",
            "{\"lambent_batch\":2,\"function\":\"f\",\"qualifier\":null}\n",
        ] {
            std::fs::write(&path, text).unwrap();
            refused(&task("f"));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn two_batches_do_not_share_a_journal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.journal");
        let _first = Journal::open(&path, &task("f")).unwrap();
        let error = Journal::open(&path, &task("f")).err().unwrap().to_string();
        assert!(error.contains("another batch writes"), "{error}");
    }
}
