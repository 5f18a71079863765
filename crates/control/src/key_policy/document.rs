//! The policy as it is written, and how it becomes statements.

use super::pattern::{ActionPattern, ResourcePattern};
use serde::Deserialize;
use serde_json::Value;

/// Versions of IAM's language. What the newer one adds, policy variables, is refused.
const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

/// A policy that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyPolicyError {
    /// Beyond the limit.
    #[error("the policy is longer than 6,144 characters")]
    TooLong,
    /// Not of the language's form.
    #[error(
        "the policy is not of IAM's form: {0}; expected \
         {{\"Version\": \"2012-10-17\", \"Statement\": [{{\"Effect\", \"Action\", \"Resource\"}}]}}"
    )]
    Form(serde_json::Error),
    /// Another version of the language.
    #[error("the policy's Version is {found:?}: expected \"2012-10-17\"")]
    Version {
        /// What it says.
        found: String,
    },
    /// Nothing in it.
    #[error("the policy has no statement")]
    Empty,
    /// A statement that says too little, too much, or what is not evaluated.
    #[error("statement {number} of the policy: {problem}")]
    Statement {
        /// From 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Document {
    version: String,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: OneOrMore<WrittenStatement>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    More(Vec<T>),
    One(T),
}

/// Any field is read, so that one which is not evaluated is refused by its name.
type WrittenStatement = serde_json::Map<String, Value>;

/// Allow or Deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// A checked statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    actions: Set<ActionPattern>,
    resources: Set<ResourcePattern>,
}

/// What is named, or what is not.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Set<T> {
    These(Vec<T>),
    AllBut(Vec<T>),
}

impl<T> Set<T> {
    fn has(&self, is: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::These(items) => items.iter().any(is),
            Self::AllBut(items) => !items.iter().any(is),
        }
    }
}

impl<T> OneOrMore<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::More(items) => items,
            Self::One(item) => vec![item],
        }
    }
}

impl Statement {
    pub(super) fn covers(&self, action: &str, resource: &str) -> bool {
        self.actions.has(|pattern| pattern.covers(action)) && self.resources.has(|pattern| pattern.covers(resource))
    }
}

impl Document {
    pub(super) fn statements(self) -> Result<Vec<Statement>, KeyPolicyError> {
        if !VERSIONS.contains(&self.version.as_str()) {
            return Err(KeyPolicyError::Version { found: self.version });
        }
        let written = self.statement.into_vec();
        if written.is_empty() {
            return Err(KeyPolicyError::Empty);
        }
        let numbered = written.into_iter().zip(1..);
        numbered
            .map(|(statement, number)| {
                check(statement).map_err(|problem| KeyPolicyError::Statement { number, problem })
            })
            .collect()
    }
}

fn check(mut written: WrittenStatement) -> Result<Statement, String> {
    if written.remove("Sid").is_some_and(|sid| !sid.is_string()) {
        return Err("Sid is no text".to_owned());
    }
    let effect = match written.remove("Effect") {
        Some(Value::String(text)) if text == "Allow" => Effect::Allow,
        Some(Value::String(text)) if text == "Deny" => Effect::Deny,
        _ => return Err("Effect must be Allow or Deny".to_owned()),
    };
    let actions = set(&mut written, ["Action", "NotAction"], ActionPattern::parse)?;
    let resources = set(&mut written, ["Resource", "NotResource"], ResourcePattern::parse)?;
    match written.keys().next() {
        None => Ok(Statement {
            effect,
            actions,
            resources,
        }),
        Some(key) => Err(format!(
            "{key} is not evaluated here, and is refused rather than ignored; a statement has Sid, Effect, Action or \
             NotAction, Resource or NotResource"
        )),
    }
}

/// Exactly one of the two members, each a text or a list of texts.
fn set<T>(
    written: &mut WrittenStatement,
    [these, all_but]: [&str; 2],
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Set<T>, String> {
    let read = |value: Value, name: &str| -> Result<Vec<T>, String> {
        let texts: OneOrMore<String> =
            serde_json::from_value(value).map_err(|_| format!("{name} must be a text or a list of texts"))?;
        let texts = texts.into_vec();
        if texts.is_empty() {
            return Err(format!("{name} is empty"));
        }
        texts.iter().map(|text| parse(text)).collect()
    };
    match (written.remove(these), written.remove(all_but)) {
        (Some(value), None) => read(value, these).map(Set::These),
        (None, Some(value)) => read(value, all_but).map(Set::AllBut),
        _ => Err(format!("exactly one of {these} and {all_but} must be there")),
    }
}
