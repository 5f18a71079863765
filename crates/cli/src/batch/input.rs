//! The input's lines, one at a time, whatever the input is and however long.

use super::parquet::RowsProcess;
use super::{InputHash, Place, Record};
use anyhow::{Context, Result};
use bytes::{Buf, Bytes};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::UserObject;
use tokio::sync::mpsc;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Pieces that are read ahead. An object's pieces are larger than a file's, 8 MiB.
const PIECES_AHEAD: usize = 2;

/// Longest line: Lambda's largest payload of a synchronous invocation.
pub(super) const LINE_BYTES_MAX: usize = 6 * 1024 * 1024;

/// A byte order mark, which some programs put before a file's first line.
const MARK: &[u8] = b"\xEF\xBB\xBF";

/// An input, read from its front.
pub(crate) struct Input {
    pieces: mpsc::Receiver<Result<Bytes>>,
    /// What is not read yet of the newest piece.
    piece: Bytes,
    /// The line that a piece's end cut.
    line: Line,
    lines: u64,
    records: u64,
    /// Bytes so far.
    read: Arc<AtomicU64>,
    /// 0 where nobody knows.
    bytes: u64,
}

#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    hasher: blake3::Hasher,
    /// Longer than [`LINE_BYTES_MAX`]: hashed, and not kept.
    is_too_long: bool,
    has_text: bool,
}

impl Input {
    /// Opens it, and begins to read ahead.
    pub(crate) async fn open(place: &Place, object: impl FnOnce() -> Result<UserObject>) -> Result<Self> {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let bytes = match place {
            Place::Standard => {
                std::thread::spawn(move || read_all(std::io::stdin(), "standard input", &sender));
                0
            }
            Place::File(path) => {
                let name = path.display().to_string();
                let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
                let facts = file.metadata().with_context(|| format!("cannot read {name}"))?;
                std::thread::spawn(move || read_all(file, &name, &sender));
                facts.len()
            }
            Place::Object(_) => {
                let mut reader = object()?.read().await?;
                let bytes = reader.size();
                tokio::spawn(async move {
                    while let Some(piece) = reader.next().await.map_err(Into::into).transpose() {
                        let is_last = piece.is_err();
                        if sender.send(piece).await.is_err() || is_last {
                            return;
                        }
                    }
                });
                bytes
            }
        };
        Ok(Self::of(pieces, bytes))
    }

    /// The rows of a Parquet file, as lines. The name is for messages.
    pub(crate) fn of_parquet(file: File, name: String) -> Result<Self> {
        let mut process = RowsProcess::start(file, name)?;
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let lines = process.lines();
        std::thread::spawn(move || {
            read_all(lines, "the rows of the input", &sender);
            if let Err(error) = process.finish() {
                // Nobody listens where the batch has ended already.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(Self::of(pieces, 0))
    }

    fn of(pieces: mpsc::Receiver<Result<Bytes>>, bytes: u64) -> Self {
        Self {
            pieces,
            piece: Bytes::new(),
            line: Line::default(),
            lines: 0,
            records: 0,
            read: Arc::default(),
            bytes,
        }
    }

    /// Counts the bytes that were read.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// The input's size in bytes, 0 where nobody knows.
    pub(crate) const fn size(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not blank, none at the end. May be dropped while it waits: nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(end) = self.piece.iter().position(|byte| *byte == b'\n') {
                let part = self.piece.split_to(end);
                self.piece.advance(1);
                self.read.fetch_add(part.len() as u64 + 1, Ordering::Relaxed);
                self.line.add(&part);
                if let Some(record) = self.end_line() {
                    return Ok(Some(record));
                }
                continue;
            }
            let part = std::mem::take(&mut self.piece);
            self.read.fetch_add(part.len() as u64, Ordering::Relaxed);
            self.line.add(&part);
            match self.pieces.recv().await.transpose()? {
                Some(piece) => self.piece = piece,
                None => return Ok(self.end_line()),
            }
        }
    }

    fn end_line(&mut self) -> Option<Record> {
        let line = std::mem::take(&mut self.line);
        self.lines += 1;
        if !line.has_text {
            return None;
        }
        let number = self.records;
        self.records += 1;
        Some(Record {
            number,
            line: self.lines,
            hash: InputHash::of(&line.hasher),
            event: (!line.is_too_long).then(|| line.event(self.lines == 1)),
        })
    }
}

impl Line {
    fn add(&mut self, part: &[u8]) {
        self.hasher.update(part);
        self.has_text |= !part.trim_ascii().is_empty();
        self.is_too_long |= self.bytes.len() + part.len() > LINE_BYTES_MAX;
        if self.is_too_long {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(part);
        }
    }

    fn event(self, is_first: bool) -> Bytes {
        let event = Bytes::from(self.bytes);
        let start = if is_first && event.starts_with(MARK) {
            MARK.len()
        } else {
            0
        };
        let end = event.len() - usize::from(event.ends_with(b"\r"));
        event.slice(start.min(end)..end)
    }
}

/// Sends all that a reader has, until nobody listens.
fn read_all(mut reader: impl Read, name: &str, sender: &mpsc::Sender<Result<Bytes>>) {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let piece = match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(Bytes::copy_from_slice(&buffer[..count])),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error).with_context(|| format!("cannot read {name}")),
        };
        let is_last = piece.is_err();
        if sender.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text that comes in pieces of some length.
    async fn records(text: &[u8], piece_bytes: usize) -> Vec<Record> {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let parts: Vec<Bytes> = text.chunks(piece_bytes).map(Bytes::copy_from_slice).collect();
        let send = tokio::spawn(async move {
            for part in parts {
                sender.send(Ok(part)).await.unwrap();
            }
        });
        let mut input = Input::of(pieces, 0);
        let mut found = Vec::new();
        while let Some(record) = input.next().await.unwrap() {
            found.push(record);
        }
        send.await.unwrap();
        assert_eq!(input.counter().load(Ordering::Relaxed), text.len() as u64);
        found
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_arrive() {
        let text = b"\xEF\xBB\xBF{\"a\":1}\r\n\n  \t\r\n[2]\n\"no newline at the end\"";
        for piece_bytes in [1, 2, 3, 7, 1000] {
            let found = records(text, piece_bytes).await;
            let seen: Vec<_> = found.iter().map(|record| (record.number, record.line)).collect();
            assert_eq!(seen, [(0, 1), (1, 4), (2, 5)]);
            let events: Vec<_> = found.into_iter().map(|record| record.event.unwrap()).collect();
            assert_eq!(events, [&b"{\"a\":1}"[..], b"[2]", b"\"no newline at the end\""]);
        }
    }

    #[tokio::test]
    async fn an_empty_input_has_no_record() {
        assert!(records(b"", 1).await.is_empty());
        assert!(records(b"\n\n\n", 2).await.is_empty());
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_kept_and_hides_no_other() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 1];
        text.extend_from_slice(b"\n{}\n");
        let found = records(&text, PIECE_BYTES).await;
        assert_eq!(found.len(), 2);
        assert!(found[0].event.is_none());
        assert_eq!(found[1].event.as_deref(), Some(&b"{}"[..]));
    }

    #[tokio::test]
    async fn another_line_has_another_hash() {
        let found = records(b"{\"a\":1}\n{\"a\":2}\n{\"a\":1}\n", 5).await;
        assert_ne!(found[0].hash, found[1].hash);
        assert_eq!(found[0].hash, found[2].hash);
    }
}
