//! Sizes as people write them.

use serde::Deserialize;
use std::str::FromStr;

/// A number of bytes, written as `1073741824`, `1024MiB` or `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size {
    pub(crate) bytes: u64,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let unit: u64 = match &text[digits.len()..] {
            "" | "B" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1 << 40,
            _ => return Err("expected a number with B, KiB, MiB, GiB or TiB, as in 10GiB".to_owned()),
        };
        let number: u64 = digits
            .parse()
            .map_err(|_| "expected a whole number, as in 10GiB".to_owned())?;
        let bytes = number
            .checked_mul(unit)
            .ok_or_else(|| "larger than 16 EiB".to_owned())?;
        Ok(Self { bytes })
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("512KiB", Some(512 << 10)),
            ("10GiB", Some(10 << 30)),
            ("3T", Some(3 << 40)),
        ] {
            assert_eq!(text.parse::<Size>().ok().map(|size| size.bytes), bytes, "{text}");
        }
        for text in ["", "GiB", "1.5GiB", "-1", "1GB", "99999999999TiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
