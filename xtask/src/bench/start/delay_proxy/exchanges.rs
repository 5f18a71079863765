//! Who spoke when: requests, and how many of them had to wait for one another.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A connection's exchange that is going on. A client that speaks after the server has spoken begins a new one.
#[derive(Default)]
pub(super) struct Exchange(Mutex<Option<Current>>);

struct Current {
    index: usize,
    /// Which list the index is of.
    epoch: u64,
    is_answered: bool,
}

/// All exchanges since they were last taken.
#[derive(Default)]
pub(super) struct Exchanges(Mutex<List>);

#[derive(Default)]
struct List {
    epoch: u64,
    handshakes: u64,
    requests: u64,
    spans: Vec<Span>,
}

/// From the first byte of a request to the last of its answer, or a handshake.
#[derive(Clone)]
pub(super) struct Span {
    pub(super) begin: Instant,
    pub(super) end: Instant,
    /// The request's first line, as much as came at once.
    pub(super) line: String,
}

/// Bytes of a request's first line that are kept.
const LINE_BYTES_MAX: usize = 200;

/// Sums over exchanges.
pub(super) struct Taken {
    pub(super) handshakes: u64,
    pub(super) requests: u64,
    pub(super) rounds: u64,
    pub(super) spans: Vec<Span>,
}

impl Exchanges {
    pub(super) fn handshake(&self, begin: Instant, end: Instant) {
        let mut list = lock(&self.0);
        list.handshakes += 1;
        let line = "handshake".to_owned();
        list.spans.push(Span { begin, end, line });
    }

    /// The client has sent something.
    pub(super) fn asked(&self, exchange: &Exchange, at: Instant, bytes: &[u8]) {
        let mut current = lock(&exchange.0);
        let mut list = lock(&self.0);
        if current.as_ref().is_some_and(|current| !current.is_answered) {
            return;
        }
        list.requests += 1;
        let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let line = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]).into_owned();
        list.spans.push(Span {
            begin: at,
            end: at,
            line,
        });
        *current = Some(Current {
            index: list.spans.len() - 1,
            epoch: list.epoch,
            is_answered: false,
        });
    }

    /// The client gets something.
    pub(super) fn answered(&self, exchange: &Exchange, at: Instant) {
        let mut current = lock(&exchange.0);
        let mut list = lock(&self.0);
        let Some(current) = current.as_mut() else {
            return;
        };
        current.is_answered = true;
        // An exchange that was counted in an earlier list stays there.
        if current.epoch == list.epoch {
            list.spans[current.index].end = at;
        }
    }

    pub(super) fn take(&self) -> Taken {
        let mut list = lock(&self.0);
        let taken = Taken {
            handshakes: list.handshakes,
            requests: list.requests,
            rounds: rounds(&mut list.spans),
            spans: std::mem::take(&mut list.spans),
        };
        *list = List {
            epoch: list.epoch + 1,
            ..List::default()
        };
        taken
    }
}

/// The largest number of spans of which none overlaps another: always the one that ends next.
fn rounds(spans: &mut [Span]) -> u64 {
    spans.sort_by_key(|span| span.end);
    let mut last: Option<Instant> = None;
    let mut rounds = 0;
    for span in spans {
        if last.is_none_or(|last| span.begin >= last) {
            rounds += 1;
            last = Some(span.end);
        }
    }
    rounds
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rounds_are_what_follows_one_another() {
        let cases: [(&[(u64, u64)], u64); 4] = [
            (&[], 0),
            (&[(0, 20), (20, 40), (45, 70)], 3),
            (&[(0, 20), (1, 21), (2, 22)], 1),
            (&[(0, 100), (0, 20), (25, 45), (50, 70)], 3),
        ];
        let zero = Instant::now();
        for (spans, expected) in cases {
            let at = |ms| zero + Duration::from_millis(ms);
            let mut spans: Vec<_> = spans
                .iter()
                .map(|(begin, end)| Span {
                    begin: at(*begin),
                    end: at(*end),
                    line: String::new(),
                })
                .collect();
            assert_eq!(rounds(&mut spans), expected);
        }
    }
}
