//! One rule about one value.

use super::PatternError;
use super::numeric::Range;
use serde_json::Value;

/// What a value must be.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Equal: a text, a boolean or null.
    Equals(Value),
    /// Equal as a number: 300, 300.0 and 3.0e2 are one.
    Number(f64),
    EqualsIgnoringCase(String),
    Prefix(String),
    Suffix(String),
    Numeric(Range),
    /// There, and no object: or not there.
    Exists(bool),
    /// There, and none of these.
    AnythingBut(Vec<Rule>),
}

impl Rule {
    /// Reads the list of a field.
    pub(super) fn list(name: &str, rules: &[Value]) -> Result<Vec<Self>, PatternError> {
        if rules.is_empty() {
            return Err(PatternError(format!("the list of {name:?} is empty")));
        }
        rules.iter().map(Self::parse).collect()
    }

    fn parse(value: &Value) -> Result<Self, PatternError> {
        let Value::Object(object) = value else {
            return Self::literal(value);
        };
        let mut entries = object.iter();
        let (Some((name, argument)), None) = (entries.next(), entries.next()) else {
            return Err(PatternError(format!("a rule has one name: {value}")));
        };
        match name.as_str() {
            "prefix" => text(name, argument).map(Self::Prefix),
            "suffix" => text(name, argument).map(Self::Suffix),
            "equals-ignore-case" => text(name, argument).map(|text| Self::EqualsIgnoringCase(text.to_lowercase())),
            "numeric" => Range::parse(argument).map(Self::Numeric),
            "exists" => argument
                .as_bool()
                .map(Self::Exists)
                .ok_or_else(|| PatternError::new("exists is true or false")),
            "anything-but" => anything_but(argument).map(Self::AnythingBut),
            other => Err(PatternError(format!("there is no rule {other:?}"))),
        }
    }

    fn literal(value: &Value) -> Result<Self, PatternError> {
        match value {
            Value::Array(_) | Value::Object(_) => Err(PatternError(format!("a value cannot be compared with {value}"))),
            Value::Number(number) => Ok(Self::Number(number.as_f64().unwrap_or(f64::NAN))),
            value => Ok(Self::Equals(value.clone())),
        }
    }

    /// Whether a value meets the rule; none is a field that is not there.
    pub(super) fn matches(&self, value: Option<&Value>) -> bool {
        if let Self::Exists(wanted) = self {
            return *wanted == value.is_some_and(|value| !value.is_object());
        }
        let Some(value) = value else { return false };
        match self {
            Self::Equals(expected) => value == expected,
            Self::Number(expected) => value.as_f64().is_some_and(|number| number.total_cmp(expected).is_eq()),
            Self::EqualsIgnoringCase(expected) => value.as_str().is_some_and(|text| text.to_lowercase() == *expected),
            Self::Prefix(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
            Self::Suffix(suffix) => value.as_str().is_some_and(|text| text.ends_with(suffix)),
            Self::Numeric(range) => value.as_f64().is_some_and(|number| range.holds(number)),
            Self::AnythingBut(rules) => !value.is_object() && !rules.iter().any(|rule| rule.matches(Some(value))),
            Self::Exists(_) => false,
        }
    }
}

/// One value, a list of them, or `{"prefix": …}` and its kin.
fn anything_but(argument: &Value) -> Result<Vec<Rule>, PatternError> {
    match argument {
        Value::Array(values) if !values.is_empty() => values.iter().map(Rule::literal).collect(),
        Value::Object(object)
            if object
                .keys()
                .all(|key| ["prefix", "suffix", "equals-ignore-case"].contains(&key.as_str())) =>
        {
            Ok(vec![Rule::parse(argument)?])
        }
        Value::Array(_) | Value::Object(_) => Err(PatternError(format!(
            "anything-but is not a value or a list: {argument}"
        ))),
        value => Ok(vec![Rule::literal(value)?]),
    }
}

fn text(name: &str, argument: &Value) -> Result<String, PatternError> {
    let text = argument.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| PatternError(format!("{name} needs a text: {argument}")))
}
