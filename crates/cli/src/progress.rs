//! Progress on standard error: a bar on a terminal, plain lines elsewhere, nothing where JSON is wanted and nobody looks.

use crate::output::bytes;
use image::push::PushProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use store::GcProgress;

const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// In a log a line every few seconds is enough to see that something moves.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    Terminal,
    Log,
    Nobody,
}

impl Audience {
    pub(crate) fn of(json: bool) -> Self {
        match (std::io::stderr().is_terminal(), json) {
            (true, _) => Self::Terminal,
            (false, false) => Self::Log,
            (false, true) => Self::Nobody,
        }
    }
}

/// What is being shown: done, of how many (0 when not known), and words.
pub(crate) struct Shown {
    done: u64,
    whole: u64,
    words: String,
}

impl Shown {
    /// Bytes that were gone through, of how many (0 when not known), and words.
    pub(crate) fn bytes_of(done: u64, whole: u64, words: String) -> Self {
        Self { done, whole, words }
    }

    /// A number of images, of which nobody knows how many there are.
    pub(crate) fn images(done: u64) -> Self {
        Self {
            done: 0,
            whole: 0,
            words: format!("{done} images done"),
        }
    }
}

/// Runs `work` on this thread while another shows `look`'s view of it.
pub(crate) fn watch<T>(audience: Audience, look: impl Fn() -> Shown + Sync, work: impl FnOnce() -> T) -> T {
    let ended = Ended::default();
    std::thread::scope(|scope| {
        scope.spawn(|| match audience {
            Audience::Terminal => show_bar(&look, &ended),
            Audience::Log => show_lines(&look, &ended),
            Audience::Nobody => {}
        });
        // Ends the other thread also when `work` panics; the scope would wait for ever otherwise.
        let _guard = EndGuard(&ended);
        work()
    })
}

/// How far a push is.
pub(crate) fn push(progress: &PushProgress) -> Shown {
    let Some(whole) = progress.device_bytes.get() else {
        let fetched = progress.unpack.stored_bytes.load(Ordering::Relaxed);
        return Shown {
            done: fetched,
            whole: 0,
            words: "reading layers".to_owned(),
        };
    };
    let written = progress
        .written
        .get()
        .map(|written| written.written())
        .unwrap_or_default();
    let words = format!(
        "{} stored, {} chunks were there",
        bytes(written.bytes_new),
        written.chunks_present
    );
    Shown {
        done: progress.sealed_bytes.load(Ordering::Relaxed),
        whole: *whole,
        words,
    }
}

/// How far a garbage collection is.
pub(crate) fn collection(progress: &GcProgress) -> Shown {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Shown {
        done: count(&progress.bytes_done),
        whole: count(&progress.bytes_live),
        words: format!(
            "looked at, {} chunks moved, {} deleted",
            count(&progress.chunks_moved),
            bytes(count(&progress.bytes_deleted)),
        ),
    }
}

/// How far reading a stored image is.
pub(crate) fn reading(done: &AtomicU64, whole: u64) -> Shown {
    Shown {
        done: done.load(Ordering::Relaxed),
        whole,
        words: String::new(),
    }
}

#[derive(Default)]
struct Ended {
    flag: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Ended {
    /// Waits for the end, at most `interval`; whether it has come.
    fn wait(&self, interval: Duration) -> bool {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.flag.load(Ordering::Acquire) {
            let _ = self.changed.wait_timeout(guard, interval);
        }
        self.flag.load(Ordering::Acquire)
    }
}

struct EndGuard<'a>(&'a Ended);

impl Drop for EndGuard<'_> {
    fn drop(&mut self) {
        let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.flag.store(true, Ordering::Release);
        self.0.changed.notify_all();
    }
}

fn show_bar(look: &impl Fn() -> Shown, ended: &Ended) {
    let bar = ProgressBar::no_length();
    let spinner = ProgressStyle::with_template("{spinner} {binary_bytes} {binary_bytes_per_sec}  {msg}");
    let gauge =
        ProgressStyle::with_template("{bar:32} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}  {msg}");
    let (spinner, gauge) = (
        spinner.expect("the template is valid"),
        gauge.expect("the template is valid").progress_chars("█▉▊▋▌▍▎▏ "),
    );
    bar.set_style(spinner);
    let mut measured = false;
    while !ended.wait(BAR_INTERVAL) {
        let shown = look();
        if shown.whole > 0 && !measured {
            measured = true;
            bar.reset();
            bar.set_style(gauge.clone());
            bar.set_length(shown.whole);
        }
        bar.set_position(shown.done);
        bar.set_message(shown.words);
    }
    bar.finish_and_clear();
}

fn show_lines(look: &impl Fn() -> Shown, ended: &Ended) {
    let start = Instant::now();
    while !ended.wait(LINE_INTERVAL) {
        let Shown { done, whole, words } = look();
        let of = if whole > 0 {
            format!(" of {}", bytes(whole))
        } else {
            String::new()
        };
        eprintln!("{:4.0} s  {}{of}  {words}", start.elapsed().as_secs_f64(), bytes(done));
    }
}
