//! AWS's cron expressions: minutes, hours, day of month, month, day of week, year.
//!
//! | field | values | also |
//! |---|---|---|
//! | minutes, hours | 0-59, 0-23 | `, - * /` |
//! | day of month | 1-31 | `, - * ? / L W` |
//! | month | 1-12, JAN-DEC | `, - * /` |
//! | day of week | 1-7, SUN-SAT | `, - * ? L #` |
//! | year | 1970-2199 | `, - * /` |
//!
//! One of the two days is `?`. `L` is the month's last day, `15W` the weekday nearest to the 15th, `6L` the last Friday,
//! `3#2` the second Tuesday. Source: "Schedule recurring scaling actions using cron expressions" in Application Auto
//! Scaling's guide.

use jiff::civil::{Date, DateTime, Weekday};

const YEARS: (u16, u16) = (1970, 2199);

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];

const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cron {
    minutes: Values,
    hours: Values,
    days: Days,
    months: Values,
    years: Values,
}

/// Which days of a month.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Days {
    OfMonth(Values),
    Last,
    LastWeekday,
    NearestWeekday(i8),
    /// Sunday is 1.
    OfWeek(Values),
    LastOfWeek(u16),
    NthOfWeek {
        day: u16,
        nth: u16,
    },
}

/// Numbers of a field, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Values(Vec<u16>);

/// Why text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::autoscaling) enum CronError {
    #[error("there are six fields: minutes, hours, day of month, month, day of week, year")]
    Fields,
    #[error("{0} cannot be read; it takes numbers from {1} to {2} with , - * and /")]
    Field(&'static str, u16, u16),
    #[error("one of day of month and day of week must be ?, and the other one not")]
    Days,
}

/// What a field takes.
struct Field {
    name: &'static str,
    range: (u16, u16),
    /// For the range's numbers, in order.
    names: &'static [&'static str],
}

impl Cron {
    pub(super) fn read(text: &str) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, of_month, months, of_week, years] = fields[..] else {
            return Err(CronError::Fields);
        };
        let field = |name, range, names| Field { name, range, names };
        Ok(Self {
            minutes: field("minutes", (0, 59), &[]).read(minutes)?,
            hours: field("hours", (0, 23), &[]).read(hours)?,
            days: Days::read(of_month, of_week)?,
            months: field("month", (1, 12), &MONTHS).read(months)?,
            years: field("year", YEARS, &[]).read(years)?,
        })
    }

    /// The first time at or after a time that it names.
    pub(super) fn next_from(&self, from: DateTime) -> Option<DateTime> {
        let (mut date, mut after) = (from.date(), Some((from.hour(), from.minute())));
        loop {
            let year = u16::try_from(date.year()).ok()?;
            if !self.years.0.contains(&year) {
                let next = self.years.first_from(year + 1)?;
                (date, after) = (Date::new(i16::try_from(next).ok()?, 1, 1).ok()?, None);
            } else if !self.months.has(date.month()) {
                (date, after) = (date.last_of_month().tomorrow().ok()?, None);
            } else if let Some((hour, minute)) = self.time(date, after) {
                return Some(date.at(hour, minute, 0, 0));
            } else {
                (date, after) = (date.tomorrow().ok()?, None);
            }
        }
    }

    /// The first time of a day, at or after a time of it.
    fn time(&self, date: Date, after: Option<(i8, i8)>) -> Option<(i8, i8)> {
        if !self.days.has(date) {
            return None;
        }
        let (hour, minute) = after.unwrap_or((0, 0));
        let first = self.hours.first_from(u16::try_from(hour).ok()?)?;
        let number = |value: u16| i8::try_from(value).ok();
        if number(first)? == hour
            && let Some(minute) = self.minutes.first_from(u16::try_from(minute).ok()?)
        {
            return Some((hour, number(minute)?));
        }
        let from = if number(first)? == hour { first + 1 } else { first };
        Some((number(self.hours.first_from(from)?)?, number(*self.minutes.0.first()?)?))
    }
}

impl Days {
    fn read(of_month: &str, of_week: &str) -> Result<Self, CronError> {
        match (of_month, of_week) {
            ("?", "?") => Err(CronError::Days),
            (of_month, "?") => Self::read_of_month(of_month),
            ("?", of_week) => Self::read_of_week(of_week),
            _ => Err(CronError::Days),
        }
    }

    fn read_of_month(text: &str) -> Result<Self, CronError> {
        let field = Field {
            name: "day of month",
            range: (1, 31),
            names: &[],
        };
        match text {
            "L" => return Ok(Self::Last),
            "LW" => return Ok(Self::LastWeekday),
            _ => {}
        }
        if let Some(day) = text.strip_suffix('W') {
            let day = i8::try_from(field.number(day)?).map_err(|_| field.error())?;
            return Ok(Self::NearestWeekday(day));
        }
        field.read(text).map(Self::OfMonth)
    }

    fn read_of_week(text: &str) -> Result<Self, CronError> {
        let field = Field {
            name: "day of week",
            range: (1, 7),
            names: &WEEKDAYS,
        };
        if let Some((day, nth)) = text.split_once('#') {
            let (day, nth) = (field.number(day)?, nth.parse().map_err(|_| field.error())?);
            return match nth {
                1..=5 => Ok(Self::NthOfWeek { day, nth }),
                _ => Err(field.error()),
            };
        }
        match text.strip_suffix('L') {
            // Of a week, the last day.
            Some("") => Ok(Self::OfWeek(Values(vec![7]))),
            Some(day) => field.number(day).map(Self::LastOfWeek),
            None => field.read(text).map(Self::OfWeek),
        }
    }

    fn has(&self, date: Date) -> bool {
        let weekday = day_of_week(date);
        match self {
            Self::OfMonth(days) => days.has(date.day()),
            Self::Last => date == date.last_of_month(),
            Self::LastWeekday => date == nearest_weekday(date.last_of_month()),
            // Of a month that has no such day there is none.
            Self::NearestWeekday(day) => {
                let named = Date::new(date.year(), date.month(), *day);
                named.is_ok_and(|named| date == nearest_weekday(named))
            }
            Self::OfWeek(days) => days.0.contains(&weekday),
            Self::LastOfWeek(day) => weekday == *day && date.day() > date.days_in_month() - 7,
            Self::NthOfWeek { day, nth } => {
                weekday == *day && (date.day() - 1) / 7 + 1 == i8::try_from(*nth).unwrap_or(0)
            }
        }
    }
}

impl Values {
    fn has(&self, value: i8) -> bool {
        u16::try_from(value).is_ok_and(|value| self.0.binary_search(&value).is_ok())
    }

    fn first_from(&self, from: u16) -> Option<u16> {
        self.0.iter().copied().find(|value| *value >= from)
    }
}

impl Field {
    fn read(&self, text: &str) -> Result<Values, CronError> {
        let mut values = Vec::new();
        for item in text.split(',') {
            let (range, step) = match item.split_once('/') {
                Some((range, step)) => (range, Some(step.parse::<u16>().map_err(|_| self.error())?)),
                None => (item, None),
            };
            let (first, last) = self.range_of(range, step.is_some())?;
            let step = usize::from(step.unwrap_or(1));
            if step == 0 || first > last {
                return Err(self.error());
            }
            values.extend((first..=last).step_by(step));
        }
        values.sort_unstable();
        values.dedup();
        Ok(Values(values))
    }

    fn range_of(&self, text: &str, is_stepped: bool) -> Result<(u16, u16), CronError> {
        if text == "*" {
            return Ok(self.range);
        }
        if let Some((first, last)) = text.split_once('-') {
            return Ok((self.number(first)?, self.number(last)?));
        }
        let first = self.number(text)?;
        // `5/10` goes on from 5 to the end.
        Ok((first, if is_stepped { self.range.1 } else { first }))
    }

    fn number(&self, text: &str) -> Result<u16, CronError> {
        let by_name = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let by_name = by_name
            .and_then(|place| u16::try_from(place).ok())
            .map(|place| place + self.range.0);
        let digits = || {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse().ok())
                .flatten()
        };
        let number = by_name.or_else(digits).ok_or_else(|| self.error())?;
        if (self.range.0..=self.range.1).contains(&number) {
            return Ok(number);
        }
        Err(self.error())
    }

    fn error(&self) -> CronError {
        CronError::Field(self.name, self.range.0, self.range.1)
    }
}

/// Sunday is 1.
fn day_of_week(date: Date) -> u16 {
    u16::try_from(date.weekday().to_sunday_one_offset()).unwrap_or(0)
}

/// The day itself, or the Friday or Monday beside it, within its month.
fn nearest_weekday(date: Date) -> Date {
    let days = match date.weekday() {
        Weekday::Saturday if date.day() == 1 => 2,
        Weekday::Saturday => -1,
        Weekday::Sunday if date == date.last_of_month() => -2,
        Weekday::Sunday => 1,
        _ => 0,
    };
    date.checked_add(jiff::Span::new().days(days)).unwrap_or(date)
}
