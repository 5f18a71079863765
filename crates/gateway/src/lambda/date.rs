//! Times as Lambda writes them.

use crate::calendar;

/// `2026-11-22T05:53:00.123+0000`: dates of layers.
pub(crate) fn milliseconds(ms: u64) -> String {
    format!("{}.{:03}+0000", text(ms), ms % 1_000)
}

/// `2026-11-22T05:53:00+0000`: dates of provisioned concurrency.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}+0000", text(ms))
}

/// `2026-11-22T05:53:00.123Z`: dates of function URLs.
pub(crate) fn zulu(ms: u64) -> String {
    format!("{}.{:03}Z", text(ms), ms % 1_000)
}

fn text(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (year, month, day) = calendar::date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Expected values: `date -u -d @SECONDS +%FT%T`.
        let check = |ms: u64, expected: &str| assert_eq!(milliseconds(ms), expected, "{ms}");
        check(0, "1970-01-01T00:00:00.000+0000");
        check(951_782_399_999, "2000-02-28T23:59:59.999+0000");
        check(951_782_400_000, "2000-02-29T00:00:00.000+0000");
        check(951_868_800_001, "2000-03-01T00:00:00.001+0000");
        check(1_709_164_800_000, "2024-02-29T00:00:00.000+0000");
        check(1_735_689_599_000, "2024-12-31T23:59:59.000+0000");
        check(4_107_542_400_000, "2100-03-01T00:00:00.000+0000");
        assert_eq!(seconds(1_735_689_599_500), "2024-12-31T23:59:59+0000");
        assert_eq!(zulu(1_735_689_599_500), "2024-12-31T23:59:59.500Z");
    }
}
