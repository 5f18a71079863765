//! Ages as people write them.

use std::str::FromStr;
use std::time::Duration;

/// A time, written as `90s`, `30m`, `12h` or `7d`; `0` needs no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    pub(crate) time: Duration,
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let number: u64 = digits
            .parse()
            .map_err(|_| "expected a whole number, as in 7d".to_owned())?;
        let unit: u64 = match &text[digits.len()..] {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            "" if number == 0 => 1,
            _ => return Err("expected a number with s, m, h or d, as in 7d".to_owned()),
        };
        let seconds = number
            .checked_mul(unit)
            .ok_or_else(|| "longer than can be counted".to_owned())?;
        Ok(Self {
            time: Duration::from_secs(seconds),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Age;

    #[test]
    fn ages_are_read_with_units() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("90s", Some(90)),
            ("2m", Some(120)),
            ("7d", Some(604_800)),
        ] {
            assert_eq!(
                text.parse::<Age>().ok().map(|age| age.time.as_secs()),
                seconds,
                "{text}"
            );
        }
        for text in ["", "7", "d", "-1d", "1.5h", "7w", "99999999999999999d"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}
