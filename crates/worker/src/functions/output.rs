//! What an environment's processes write, as lines.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;

/// Longest line: CloudWatch's limit for an event. What is longer goes on as the next line.
const LINE_BYTES_MAX: usize = 256 * 1024;

/// Bytes that are read at once: what a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Most that is read before an invocation counts as over, in bytes. A process that writes without end may not delay
/// the end for ever; 4 MiB is far more than pipes hold.
const DRAIN_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// The runtime and the function's code.
    Function,
    /// An external extension.
    Extension,
}

/// The read ends of all processes' standard output and error.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pipes: Vec<Pipe>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Pipe {
    end: Receiver,
    writer: Writer,
    lines: Lines,
}

impl Outputs {
    /// Adds a process.
    pub(crate) fn add(&mut self, end: OwnedFd, writer: Writer) -> io::Result<()> {
        self.buffer.resize(READ_BYTES, 0);
        self.pipes.push(Pipe {
            end: Receiver::from_owned_fd(end)?,
            writer,
            lines: Lines::default(),
        });
        Ok(())
    }

    /// Waits until a process has written, and hands its lines on. Never ends when there is no process. Cancel safe.
    pub(crate) async fn read(&mut self, mut line: impl FnMut(Writer, &str)) {
        std::future::poll_fn(|context| self.poll_read(context, &mut line)).await;
    }

    /// Hands on all that was written until now, without waiting.
    pub(crate) fn drain(&mut self, mut line: impl FnMut(Writer, &str)) {
        for pipe in &mut self.pipes {
            let mut read = 0;
            while read < DRAIN_BYTES_MAX {
                // Not `try_read`: it would not see what came after the reactor last looked.
                match rustix::io::read(&pipe.end, &mut self.buffer) {
                    Ok(bytes) if bytes > 0 => {
                        read += bytes;
                        pipe.lines.push(&self.buffer[..bytes], |text| line(pipe.writer, text));
                    }
                    _ => break,
                }
            }
        }
    }

    /// Hands on all that is there, and what has no newline yet.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(Writer, &str)) {
        self.drain(&mut line);
        for pipe in &mut self.pipes {
            pipe.lines.finish(|text| line(pipe.writer, text));
        }
        self.pipes.clear();
    }

    fn poll_read(&mut self, context: &mut Context<'_>, line: &mut impl FnMut(Writer, &str)) -> Poll<()> {
        let mut index = 0;
        while index < self.pipes.len() {
            let pipe = &mut self.pipes[index];
            match pipe.poll_read(context, &mut self.buffer) {
                Poll::Ready(Ok(bytes)) if bytes > 0 => {
                    pipe.lines.push(&self.buffer[..bytes], |text| line(pipe.writer, text));
                    return Poll::Ready(());
                }
                Poll::Ready(_) => {
                    pipe.lines.finish(|text| line(pipe.writer, text));
                    self.pipes.swap_remove(index);
                }
                Poll::Pending => index += 1,
            }
        }
        Poll::Pending
    }
}

impl Pipe {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.end).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&str)) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.extend(piece, &mut line);
            if pieces.peek().is_some() {
                self.emit(&mut line);
            }
        }
    }

    fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.emit(&mut line);
        }
    }

    fn extend(&mut self, mut piece: &[u8], line: &mut impl FnMut(&str)) {
        while self.partial.len() + piece.len() > LINE_BYTES_MAX {
            let (now, later) = piece.split_at(LINE_BYTES_MAX - self.partial.len());
            self.partial.extend_from_slice(now);
            self.emit(line);
            piece = later;
        }
        self.partial.extend_from_slice(piece);
    }

    fn emit(&mut self, line: &mut impl FnMut(&str)) {
        line(&String::from_utf8_lossy(&self.partial));
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Lines, Outputs, Writer};
    use std::io::Write;

    fn check(pieces: &[&[u8]], expected: &[&str]) {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_owned()));
        }
        lines.finish(|line| found.push(line.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn bytes_become_lines() {
        check(&[], &[]);
        check(&[b"one\ntwo\n"], &["one", "two"]);
        check(&[b"on", b"e\ntw", b"o"], &["one", "two"]);
        check(&[b"\n\n"], &["", ""]);
        check(&[b"a\xffb\n"], &["a\u{fffd}b"]);
    }

    #[test]
    fn long_lines_are_cut() {
        let long = vec![b'x'; LINE_BYTES_MAX * 2 + 5];
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in long.chunks(1000) {
            lines.push(piece, |line| found.push(line.len()));
        }
        lines.push(b"\n", |line| found.push(line.len()));
        assert_eq!(found, [LINE_BYTES_MAX, LINE_BYTES_MAX, 5]);
    }

    #[tokio::test]
    async fn pipes_are_read_to_their_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut outputs = Outputs::default();
        outputs.add(reader.into(), Writer::Function).unwrap();
        let mut lines = Vec::new();
        outputs.drain(|_, line| lines.push(line.to_owned()));
        writer.write_all(b"one\ntwo").unwrap();
        outputs.read(|_, line| lines.push(line.to_owned())).await;
        writer.write_all(b" and a half").unwrap();
        drop(writer);
        outputs.finish(|_, line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two and a half"]);
    }
}
