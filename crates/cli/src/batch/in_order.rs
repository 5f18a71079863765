//! A journal's results by their numbers, though they were written as they came.
//!
//! Results that lie before the one that is wanted are remembered by their place: since no record is begun more than
//! `WINDOW_RECORDS` after the oldest that is not finished, these are few.

use super::Answer;
use super::journal::parse;
use super::section::Section;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Space of an unnamed journal is given back in steps of this many bytes.
const FORGET_BYTES: u64 = 64 * 1024 * 1024;

/// Reads a journal from its front.
pub(crate) struct InOrder {
    file: Arc<File>,
    reader: BufReader<Section>,
    /// Where the next line begins.
    position: u64,
    /// Where results lie that were met and not taken: offset and length without the newline.
    waiting: BTreeMap<u64, (u64, usize)>,
    forgotten: u64,
}

impl InOrder {
    pub(super) fn new(file: Arc<File>, start: u64, end: u64) -> Self {
        let section = Section {
            file: Arc::clone(&file),
            position: start,
            end,
        };
        Self {
            file,
            reader: BufReader::with_capacity(BUFFER_BYTES, section),
            position: start,
            waiting: BTreeMap::new(),
            forgotten: 0,
        }
    }

    /// The result of a record, none where there is none (yet). Each is given once.
    pub(crate) fn take(&mut self, number: u64) -> Result<Option<Answer>> {
        if let Some((offset, bytes)) = self.waiting.remove(&number) {
            let mut line = vec![0; bytes];
            self.file
                .read_exact_at(&mut line, offset)
                .context("cannot read the journal")?;
            return read(&line).map(Some);
        }
        loop {
            let offset = self.position;
            let Some(line) = self.line()? else { return Ok(None) };
            let answer = read(&line)?;
            if answer.number == number {
                return Ok(Some(answer));
            }
            self.waiting.insert(answer.number, (offset, line.len()));
        }
    }

    /// Whether every result was taken.
    pub(crate) fn is_at_end(&mut self) -> Result<bool> {
        Ok(self.waiting.is_empty() && self.line()?.is_none())
    }

    /// Gives back the space of what was taken. For a file that nobody will read again.
    pub(crate) fn forget(&mut self) -> Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        let first = self.waiting.values().map(|(offset, _)| *offset).min();
        let needed = first.unwrap_or(self.position);
        if needed - self.forgotten < FORGET_BYTES {
            return Ok(());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, self.forgotten, needed - self.forgotten) {
            // A file system that cannot do it keeps the space until the end.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => self.forgotten = needed,
            Err(error) => return Err(error).context("cannot free the space of results that were written"),
        }
        Ok(())
    }

    /// The next whole line without its newline, none at the end. A line without a newline is not there yet.
    pub(super) fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        self.reader
            .read_until(b'\n', &mut line)
            .context("cannot read the journal")?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        self.position += line.len() as u64 + 1;
        Ok(Some(line))
    }
}

fn read(line: &[u8]) -> Result<Answer> {
    let Some(answer) = parse(line) else {
        bail!("the journal changed while it was read: somebody else writes to it");
    };
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::super::journal::tests::{answer, task};

    #[test]
    fn results_come_by_number_also_those_that_are_appended_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&folder.path().join("j"), &task("f")).unwrap();
        let mut all = journal.all();
        assert_eq!(all.take(0).unwrap(), None);
        for number in [2, 0, 3] {
            journal.append(&answer(number)).unwrap();
        }
        assert_eq!(all.take(0).unwrap(), Some(answer(0)));
        assert_eq!(all.take(1).unwrap(), None);
        journal.append(&answer(1)).unwrap();
        for number in 1..=3 {
            assert_eq!(all.take(number).unwrap(), Some(answer(number)));
            assert_eq!(all.take(number).unwrap(), None);
        }
        assert!(all.is_at_end().unwrap());
    }

    #[test]
    fn results_of_earlier_runs_are_those_that_were_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&folder.path().join("j"), &task("f")).unwrap();
        journal.append(&answer(1)).unwrap();
        let mut earlier = journal.earlier();
        journal.append(&answer(0)).unwrap();
        assert_eq!(earlier.take(0).unwrap(), None);
        assert!(!earlier.is_at_end().unwrap());
        assert_eq!(earlier.take(1).unwrap(), Some(answer(1)));
        assert!(earlier.is_at_end().unwrap());
    }

    #[test]
    fn an_unnamed_journal_gives_its_space_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::unnamed(folder.path()).unwrap();
        let mut all = journal.all();
        for number in 0..70 {
            let mut large = answer(number);
            large.result = vec![b'x'; 1024 * 1024];
            journal.append(&large).unwrap();
            assert_eq!(all.take(number).unwrap().unwrap().number, number);
            all.forget().unwrap();
        }
        assert!(all.forgotten >= super::FORGET_BYTES);
        journal.append(&answer(70)).unwrap();
        assert_eq!(all.take(70).unwrap(), Some(answer(70)));
    }
}
