//! When a scheduled action is due: `at(…)`, `rate(…)` and `cron(…)`, as Application Auto Scaling writes them.
//!
//! All of it is arithmetic on given times: no clock is read. Of a time that a change to summer time skips, nothing
//! is due; one that comes twice in autumn is due the first time. Both are EventBridge Scheduler's rules, the only ones
//! that AWS has written down. `at(…)` names one moment, so a skipped one is due when the clocks have moved on.

mod cron;

use cron::{Cron, CronError};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Longest rate, in days: AWS names none; beyond a thousand years nobody can tell.
const RATE_DAYS_MAX: u64 = 365_000;

/// When something is due, again and again or once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Schedule {
    At(DateTime),
    Rate { every_ms: u64 },
    Cron(Cron),
}

/// A schedule within its limits, in its time zone.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    schedule: Schedule,
    zone: TimeZone,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
    /// What a rate counts from where it has no start.
    created_ms: u64,
}

/// Where a timetable comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimetableParts<'a> {
    pub(super) schedule: &'a str,
    pub(super) timezone: Option<&'a str>,
    pub(super) start_ms: Option<u64>,
    pub(super) end_ms: Option<u64>,
    pub(super) created_ms: u64,
}

/// Why text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScheduleError {
    #[error("a schedule is at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(six fields)")]
    Form,
    #[error("at(...) takes a time as 2030-01-31T08:15:00, which is not: {0}")]
    At(String),
    #[error("rate(...) takes a positive number and minute, minutes, hour, hours, day or days, which is not: {0}")]
    Rate(String),
    #[error("cron(...): {0}")]
    Cron(#[from] CronError),
    #[error("there is no time zone {0}; names are such as Europe/Berlin")]
    Zone(String),
}

impl Timetable {
    /// Reads a schedule and its limits.
    pub(super) fn read(parts: &TimetableParts<'_>) -> Result<Self, ScheduleError> {
        let name = parts.timezone.unwrap_or("UTC");
        Ok(Self {
            schedule: Schedule::read(parts.schedule)?,
            zone: TimeZone::get(name).map_err(|_| ScheduleError::Zone(shown(name)))?,
            start_ms: parts.start_ms,
            end_ms: parts.end_ms,
            created_ms: parts.created_ms,
        })
    }

    /// The first time after a time at which it is due, milliseconds since 1970.
    pub(super) fn next_after(&self, after_ms: u64) -> Option<u64> {
        // A start is due itself.
        let after_ms = self
            .start_ms
            .map_or(after_ms, |start| after_ms.max(start.saturating_sub(1)));
        let due = match &self.schedule {
            Schedule::At(at) => self.at(*at).filter(|due| *due > after_ms),
            Schedule::Rate { every_ms } => self.by_rate(*every_ms, after_ms),
            Schedule::Cron(cron) => self.by_cron(cron, after_ms),
        };
        due.filter(|due| self.end_ms.is_none_or(|end| *due <= end))
    }

    /// The last time at which it was due after one time and not after another: what was missed is made up for once.
    pub(super) fn last_due(&self, done_ms: u64, now_ms: u64) -> Option<u64> {
        if let Schedule::Rate { every_ms } = self.schedule {
            return self.last_by_rate(every_ms, done_ms, now_ms);
        }
        let mut last = None;
        let mut after = done_ms;
        while let Some(due) = self.next_after(after).filter(|due| *due <= now_ms) {
            (last, after) = (Some(due), due);
        }
        last
    }

    fn at(&self, at: DateTime) -> Option<u64> {
        let zoned = self.zone.to_ambiguous_zoned(at).compatible().ok()?;
        u64::try_from(zoned.timestamp().as_millisecond()).ok()
    }

    /// Counted from the start, which is due, or from when it was made, which is not.
    fn by_rate(&self, every_ms: u64, after_ms: u64) -> Option<u64> {
        let anchor = self.start_ms.unwrap_or(self.created_ms);
        if after_ms < anchor {
            return match self.start_ms {
                Some(start) => Some(start),
                None => anchor.checked_add(every_ms),
            };
        }
        let passed = (after_ms - anchor) / every_ms + 1;
        anchor.checked_add(passed.checked_mul(every_ms)?)
    }

    fn last_by_rate(&self, every_ms: u64, done_ms: u64, now_ms: u64) -> Option<u64> {
        let first = self.next_after(done_ms)?;
        let until = self.end_ms.map_or(now_ms, |end| end.min(now_ms));
        (first <= until).then(|| first + (until - first) / every_ms * every_ms)
    }

    fn by_cron(&self, cron: &Cron, after_ms: u64) -> Option<u64> {
        let after = Timestamp::from_millisecond(i64::try_from(after_ms).ok()?).ok()?;
        let local = self.zone.to_datetime(after);
        let mut from = local.date().at(local.hour(), local.minute(), 0, 0);
        loop {
            let civil = cron.next_from(from)?;
            if let Some(due) = self.first_of(civil).filter(|due| *due > after_ms) {
                return Some(due);
            }
            // It is skipped, or comes a second time.
            from = civil.checked_add(jiff::Span::new().minutes(1)).ok()?;
        }
    }

    /// The first moment at which clocks show a time; none if they skip it.
    fn first_of(&self, civil: DateTime) -> Option<u64> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        let moment = match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => ambiguous.unambiguous().ok()?,
            AmbiguousOffset::Fold { .. } => ambiguous.earlier().ok()?,
            AmbiguousOffset::Gap { .. } => return None,
        };
        u64::try_from(moment.as_millisecond()).ok()
    }
}

impl Schedule {
    fn read(text: &str) -> Result<Self, ScheduleError> {
        let inner = |kind: &str| text.strip_prefix(kind)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(at) = inner("at") {
            return read_at(at);
        }
        if let Some(rate) = inner("rate") {
            return read_rate(rate);
        }
        let fields = inner("cron").ok_or(ScheduleError::Form)?;
        Ok(Self::Cron(Cron::read(fields)?))
    }
}

fn read_at(text: &str) -> Result<Schedule, ScheduleError> {
    let error = || ScheduleError::At(shown(text));
    // `2030-01-31T08:15:00`: jiff alone would take more forms than AWS does.
    let is_form = text.len() == 19
        && text.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
    if !is_form {
        return Err(error());
    }
    text.parse().map(Schedule::At).map_err(|_| error())
}

fn read_rate(text: &str) -> Result<Schedule, ScheduleError> {
    let error = || ScheduleError::Rate(shown(text));
    let (value, unit) = text.trim().split_once(' ').ok_or_else(error)?;
    let minutes = match unit.trim() {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 24 * 60,
        _ => return Err(error()),
    };
    let value: u64 = value.parse().map_err(|_| error())?;
    let total = value
        .checked_mul(minutes)
        .filter(|total| *total > 0 && *total <= RATE_DAYS_MAX * 24 * 60);
    let every_ms = total.ok_or_else(error)? * 60_000;
    Ok(Schedule::Rate { every_ms })
}

/// What a message shows of text that anybody may have written.
fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests;
