//! Times as signatures write them: `YYYYMMDDTHHMMSSZ`.

use crate::calendar::{date, days};

/// Milliseconds since 1970; none if the text is not such a time.
pub(super) fn parse(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse::<u64>().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    Some((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

/// The text of a time, whole seconds.
pub(super) fn format(at_ms: u64) -> String {
    let seconds = at_ms / 1000;
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_texts() {
        for (text, seconds) in [
            ("19700101T000000Z", 0),
            ("20150830T123600Z", 1_440_938_160),
            ("20240229T235959Z", 1_709_251_199),
            ("20261122T055300Z", 1_795_326_780),
        ] {
            assert_eq!(parse(text), Some(seconds * 1000), "{text}");
            assert_eq!(format(seconds * 1000 + 999), text);
        }
    }

    #[test]
    fn no_times() {
        for text in [
            "",
            "20150830",
            "20150830T123600",
            "2015083XT123600Z",
            "20151330T123600Z",
            "+0150830T123600Z",
            "é0150830T12360Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
