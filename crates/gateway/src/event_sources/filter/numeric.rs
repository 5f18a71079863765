//! `numeric`: one or two comparisons of a number.

use super::PatternError;
use serde_json::Value;

/// Comparisons that must all hold.
#[derive(Clone, Debug)]
pub(super) struct Range(Vec<(Comparison, f64)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Range {
    /// Reads `["=", 1]`, `["<", 1]` or `[">", 0, "<=", 5]`.
    pub(super) fn parse(value: &Value) -> Result<Self, PatternError> {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        let wrong = || PatternError(format!("numeric is not as in [\">\", 0, \"<=\", 5]: {value}"));
        let pairs = items
            .chunks_exact(2)
            .map(|pair| Some((Comparison::parse(&pair[0])?, pair[1].as_f64()?)));
        let pairs: Vec<_> = pairs.collect::<Option<_>>().ok_or_else(wrong)?;
        let sound = match &pairs[..] {
            [_] => items.len() == 2,
            [(first, low), (second, high)] => {
                let opposed = matches!(first, Comparison::Greater | Comparison::GreaterOrEqual)
                    && matches!(second, Comparison::Less | Comparison::LessOrEqual);
                items.len() == 4 && opposed && low < high
            }
            _ => false,
        };
        if sound { Ok(Self(pairs)) } else { Err(wrong()) }
    }

    pub(super) fn holds(&self, number: f64) -> bool {
        self.0.iter().all(|(comparison, with)| comparison.holds(number, *with))
    }
}

impl Comparison {
    fn parse(value: &Value) -> Option<Self> {
        match value.as_str()? {
            "=" => Some(Self::Equal),
            "<" => Some(Self::Less),
            "<=" => Some(Self::LessOrEqual),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }

    fn holds(self, number: f64, with: f64) -> bool {
        match self {
            // What was read from the same digits is the same number, bit for bit.
            Self::Equal => number.total_cmp(&with).is_eq() || (number == 0.0 && with == 0.0),
            Self::Less => number < with,
            Self::LessOrEqual => number <= with,
            Self::Greater => number > with,
            Self::GreaterOrEqual => number >= with,
        }
    }
}
