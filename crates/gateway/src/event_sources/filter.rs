//! Event patterns: which messages a function wants.
//!
//! A pattern is an object whose leaves are lists of rules; a message matches if every field does, and a field matches if
//! one of its values meets one of its rules. A filter is pure: no clock, no I/O. What Lambda does not document is refused.
//! Source: AWS Lambda Developer Guide, "Using event filtering with an Amazon SQS event source" and "Filter rule syntax".

mod numeric;
mod rule;
#[cfg(test)]
mod tests;

use rule::Rule;
use serde_json::{Map, Value};

/// Deepest pattern, and how many `$or`s lie in one another: far above what a message of use has.
const DEPTH_MAX: usize = 16;

/// A pattern that was read.
#[derive(Clone, Debug)]
pub(crate) struct Pattern(Group);

/// Conditions that must all hold.
#[derive(Clone, Debug, Default)]
struct Group {
    fields: Vec<(String, Condition)>,
    /// Of each list, one group must hold.
    alternatives: Vec<Vec<Group>>,
}

#[derive(Clone, Debug)]
enum Condition {
    /// The field has one of these.
    Rules(Vec<Rule>),
    /// The field is an object, or has one among its elements, that meets these.
    Inside(Group),
}

/// Why a pattern is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PatternError(String);

impl PatternError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Pattern {
    /// Reads a pattern.
    pub(crate) fn parse(text: &str) -> Result<Self, PatternError> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| PatternError(format!("it is no JSON: {error}")))?;
        let object = value
            .as_object()
            .ok_or_else(|| PatternError::new("it is no JSON object"))?;
        Ok(Self(Group::parse(object, 0)?))
    }

    /// Whether an event matches.
    pub(crate) fn matches(&self, event: &Value) -> bool {
        self.0.matches(event)
    }

    /// What a queue's message must be in its body: JSON where the pattern looks into it, a text where it does not.
    pub(crate) fn body(&self) -> BodyForm {
        match self.0.fields.iter().find(|(name, _)| name == "body") {
            None => BodyForm::Any,
            Some((_, Condition::Rules(_))) => BodyForm::Text,
            Some((_, Condition::Inside(_))) => BodyForm::Json,
        }
    }
}

/// What a pattern says of a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyForm {
    /// Nothing, or only within `$or`.
    Any,
    /// It is compared as a text.
    Text,
    /// It is looked into.
    Json,
}

impl Group {
    fn parse(object: &Map<String, Value>, depth: usize) -> Result<Self, PatternError> {
        if depth > DEPTH_MAX {
            return Err(PatternError(format!("it is deeper than {DEPTH_MAX}")));
        }
        let mut group = Self::default();
        for (name, value) in object {
            match value {
                Value::Array(groups) if name == "$or" => group.alternatives.push(alternatives(groups, depth)?),
                Value::Array(rules) => group
                    .fields
                    .push((name.clone(), Condition::Rules(Rule::list(name, rules)?))),
                Value::Object(inner) => {
                    let inside = Self::parse(inner, depth + 1)?;
                    group.fields.push((name.clone(), Condition::Inside(inside)));
                }
                _ => {
                    return Err(PatternError(format!(
                        "the value of {name:?} is neither an object nor a list"
                    )));
                }
            }
        }
        Ok(group)
    }

    fn matches(&self, event: &Value) -> bool {
        let field = |name: &str| event.as_object().and_then(|object| object.get(name));
        let fields = self
            .fields
            .iter()
            .all(|(name, condition)| condition.matches(field(name)));
        let alternatives = || {
            let one = |groups: &Vec<Self>| groups.iter().any(|group| group.matches(event));
            self.alternatives.iter().all(one)
        };
        fields && alternatives()
    }

    /// Whether it holds where there is nothing at all: all that it asks is absence.
    fn matches_nothing(&self) -> bool {
        self.matches(&Value::Null)
    }
}

impl Condition {
    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Rules(rules), Some(Value::Array(elements))) => {
                // An empty list is a field without values.
                let any = |element: &Value| rules.iter().any(|rule| rule.matches(Some(element)));
                elements.iter().any(any) || (elements.is_empty() && rules.iter().any(|rule| rule.matches(None)))
            }
            (Self::Rules(rules), value) => rules.iter().any(|rule| rule.matches(value)),
            (Self::Inside(group), Some(Value::Array(elements))) => elements
                .iter()
                .any(|element| element.is_object() && group.matches(element)),
            (Self::Inside(group), Some(value)) if value.is_object() => group.matches(value),
            (Self::Inside(group), _) => group.matches_nothing(),
        }
    }
}

fn alternatives(groups: &[Value], depth: usize) -> Result<Vec<Group>, PatternError> {
    if groups.len() < 2 {
        return Err(PatternError::new("$or needs at least two patterns"));
    }
    let parse = |group: &Value| {
        let object = group
            .as_object()
            .ok_or_else(|| PatternError::new("$or has something that is no pattern"))?;
        Group::parse(object, depth + 1)
    };
    groups.iter().map(parse).collect()
}
