//! Due times by tables. Times are written as they are in UTC.

use super::{ScheduleError, Timetable, TimetableParts};
use jiff::Timestamp;

fn ms(text: &str) -> u64 {
    let time: Timestamp = text.parse().unwrap();
    u64::try_from(time.as_millisecond()).unwrap()
}

fn text(ms: u64) -> String {
    Timestamp::from_millisecond(i64::try_from(ms).unwrap())
        .unwrap()
        .to_string()
}

fn parts<'a>(schedule: &'a str, timezone: Option<&'a str>) -> TimetableParts<'a> {
    TimetableParts {
        schedule,
        timezone,
        start_ms: None,
        end_ms: None,
        created_ms: ms("2026-01-01T00:00:30Z"),
    }
}

fn table(schedule: &str, timezone: &str) -> Timetable {
    Timetable::read(&parts(schedule, Some(timezone))).unwrap()
}

/// The next times after one, each after the one before.
fn check(schedule: &str, timezone: &str, after: &str, expected: &[&str]) {
    let timetable = table(schedule, timezone);
    let mut after = ms(after);
    for expected in expected {
        let due = timetable
            .next_after(after)
            .unwrap_or_else(|| panic!("{schedule}: no {expected}"));
        assert_eq!(text(due), *expected, "{schedule} in {timezone}");
        after = due;
    }
}

fn check_end(schedule: &str, timezone: &str, after: &str) {
    assert_eq!(table(schedule, timezone).next_after(ms(after)), None, "{schedule}");
}

#[test]
fn at_is_due_once() {
    check(
        "at(2026-05-01T08:15:30)",
        "UTC",
        "2026-01-01T00:00:00Z",
        &["2026-05-01T08:15:30Z"],
    );
    check(
        "at(2026-05-01T08:15:30)",
        "Europe/Berlin",
        "2026-01-01T00:00:00Z",
        &["2026-05-01T06:15:30Z"],
    );
    check_end("at(2026-05-01T08:15:30)", "UTC", "2026-05-01T08:15:30Z");
}

#[test]
fn a_skipped_moment_is_due_when_clocks_have_moved_on() {
    check(
        "at(2026-03-29T02:30:00)",
        "Europe/Berlin",
        "2026-03-28T00:00:00Z",
        &["2026-03-29T01:30:00Z"],
    );
}

#[test]
fn rates_count_from_their_making() {
    check(
        "rate(5 minutes)",
        "UTC",
        "2026-01-01T00:00:00Z",
        &["2026-01-01T00:05:30Z", "2026-01-01T00:10:30Z"],
    );
    check("rate(1 hour)", "UTC", "2026-01-02T00:00:30Z", &["2026-01-02T01:00:30Z"]);
    check("rate(2 days)", "UTC", "2026-01-02T00:00:00Z", &["2026-01-03T00:00:30Z"]);
}

#[test]
fn rates_count_from_their_start_which_is_due() {
    let start_ms = Some(ms("2026-02-01T12:00:00Z"));
    let timetable = Timetable::read(&TimetableParts {
        start_ms,
        ..parts("rate(1 day)", None)
    });
    let timetable = timetable.unwrap();
    let first = timetable.next_after(ms("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(text(first), "2026-02-01T12:00:00Z");
    assert_eq!(text(timetable.next_after(first).unwrap()), "2026-02-02T12:00:00Z");
}

#[test]
fn crons_are_awss() {
    let new_year = "2026-01-01T00:00:00Z";
    check(
        "cron(15 10 * * ? *)",
        "UTC",
        new_year,
        &["2026-01-01T10:15:00Z", "2026-01-02T10:15:00Z"],
    );
    check(
        "cron(0/30 8-9 ? * MON-FRI 2026)",
        "UTC",
        "2026-01-02T09:10:00Z",
        &["2026-01-02T09:30:00Z", "2026-01-05T08:00:00Z"],
    );
    check(
        "cron(0 18 L * ? *)",
        "UTC",
        new_year,
        &["2026-01-31T18:00:00Z", "2026-02-28T18:00:00Z"],
    );
    check(
        "cron(0 8 15W * ? *)",
        "UTC",
        "2026-02-01T00:00:00Z",
        &["2026-02-16T08:00:00Z", "2026-03-16T08:00:00Z"],
    );
    check(
        "cron(0 8 1W * ? *)",
        "UTC",
        "2026-07-15T00:00:00Z",
        &["2026-08-03T08:00:00Z"],
    );
    check(
        "cron(0 8 LW * ? *)",
        "UTC",
        "2026-05-02T00:00:00Z",
        &["2026-05-29T08:00:00Z"],
    );
    check("cron(0 8 ? * 6L *)", "UTC", new_year, &["2026-01-30T08:00:00Z"]);
    check("cron(0 8 ? * 3#2 *)", "UTC", new_year, &["2026-01-13T08:00:00Z"]);
    check(
        "cron(0 8 ? * sat,SUN *)",
        "UTC",
        new_year,
        &["2026-01-03T08:00:00Z", "2026-01-04T08:00:00Z"],
    );
    check("cron(0 0 29 FEB ? *)", "UTC", new_year, &["2028-02-29T00:00:00Z"]);
    check(
        "cron(0 0 1 1 ? 2030,2028)",
        "UTC",
        new_year,
        &["2028-01-01T00:00:00Z", "2030-01-01T00:00:00Z"],
    );
    check_end("cron(0 0 31 FEB ? *)", "UTC", new_year);
    check_end("cron(0 0 1 1 ? 1999)", "UTC", new_year);
}

#[test]
fn a_skipped_hour_is_not_made_up_for() {
    check(
        "cron(30 2 * * ? *)",
        "Europe/Berlin",
        "2026-03-28T01:30:00Z",
        &["2026-03-30T00:30:00Z"],
    );
}

#[test]
fn an_hour_that_comes_twice_is_due_once() {
    check(
        "cron(30 2 * * ? *)",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    );
    // Asked within the second one.
    check(
        "cron(30 2 * * ? *)",
        "Europe/Berlin",
        "2026-10-25T01:10:00Z",
        &["2026-10-26T01:30:00Z"],
    );
    check(
        "cron(0/20 * * * ? *)",
        "Europe/Berlin",
        "2026-10-25T00:30:00Z",
        &["2026-10-25T00:40:00Z", "2026-10-25T02:00:00Z"],
    );
}

#[test]
fn nothing_is_due_outside_its_limits() {
    let limited = TimetableParts {
        start_ms: Some(ms("2026-02-01T10:00:00Z")),
        end_ms: Some(ms("2026-02-03T10:00:00Z")),
        ..parts("cron(0 10 * * ? *)", None)
    };
    let timetable = Timetable::read(&limited).unwrap();
    let mut after = ms("2026-01-01T00:00:00Z");
    let mut found = Vec::new();
    while let Some(due) = timetable.next_after(after) {
        found.push(text(due));
        after = due;
    }
    assert_eq!(
        found,
        ["2026-02-01T10:00:00Z", "2026-02-02T10:00:00Z", "2026-02-03T10:00:00Z"]
    );
}

#[test]
fn what_was_missed_is_made_up_for_once_and_a_clock_set_back_repeats_nothing() {
    for schedule in ["cron(0 * * * ? *)", "rate(1 hour)"] {
        let timetable = table(schedule, "UTC");
        let done = ms("2026-01-05T00:30:00Z");
        assert_eq!(timetable.last_due(done, ms("2026-01-05T00:59:59Z")), None, "{schedule}");
        let last = timetable.last_due(done, ms("2026-01-09T05:30:00Z")).unwrap();
        assert!(
            (ms("2026-01-09T05:00:00Z")..=ms("2026-01-09T05:00:30Z")).contains(&last),
            "{schedule}"
        );
        assert_eq!(timetable.last_due(last, ms("2026-01-09T05:30:00Z")), None, "{schedule}");
        assert_eq!(
            timetable.last_due(last, ms("2026-01-07T00:30:00Z")),
            None,
            "{schedule}: the clock was set back"
        );
    }
}

#[test]
fn what_is_no_schedule_is_refused_by_name() {
    let error = |schedule: &str| Timetable::read(&parts(schedule, None)).unwrap_err();
    for schedule in ["", "daily", "at", "at(2026-01-01T00:00:00", "Cron(0 0 * * ? *)"] {
        assert_eq!(error(schedule), ScheduleError::Form, "{schedule}");
    }
    for schedule in [
        "at(2026-01-01)",
        "at(2026-02-30T00:00:00)",
        "at(2026-01-01T00:00:00Z)",
        "at(2026-01-01 00:00:00)",
    ] {
        assert!(matches!(error(schedule), ScheduleError::At(_)), "{schedule}");
    }
    for schedule in [
        "rate(5)",
        "rate(0 minutes)",
        "rate(-1 hours)",
        "rate(5 weeks)",
        "rate(99999999999999999999 days)",
        "rate(18446744073709551615 days)",
    ] {
        assert!(matches!(error(schedule), ScheduleError::Rate(_)), "{schedule}");
    }
    for schedule in [
        "cron(0 0 * * *)",
        "cron(60 0 * * ? *)",
        "cron(0 24 * * ? *)",
        "cron(0 0 * * * *)",
        "cron(0 0 ? * ? *)",
        "cron(0 0 0 * ? *)",
        "cron(0 0 ? * 8 *)",
        "cron(0 0 ? * 2#6 *)",
        "cron(5-1 0 * * ? *)",
        "cron(*/0 0 * * ? *)",
        "cron(0 0 * FOO ? *)",
        "cron(0 0 * * ? 2200)",
        "cron(, 0 * * ? *)",
        "cron(+1 0 * * ? *)",
    ] {
        assert!(matches!(error(schedule), ScheduleError::Cron(_)), "{schedule}");
    }
    let unknown = Timetable::read(&parts("rate(1 day)", Some("Europe/Nowhere"))).unwrap_err();
    assert_eq!(unknown, ScheduleError::Zone("Europe/Nowhere".to_owned()));
}
