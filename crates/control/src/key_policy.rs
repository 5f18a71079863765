//! Policies of access keys: what the holder of a key may do, in the part of IAM's language that decides by action and
//! resource alone.
//!
//! ```text
//! {"Version": "2012-10-17", "Statement": [
//!   {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "arn:aws:lambda:*:*:function:score*"},
//!   {"Effect": "Deny",  "NotAction": ["lambda:Get*", "lambda:List*"], "Resource": "*"}]}
//! ```
//! As IAM evaluates it: nothing is allowed unless a statement allows it, and a statement that denies wins over all that
//! allow. What this cannot evaluate (conditions, principals, policy variables) is refused when the key is made and never
//! ignored: a condition that is not looked at would allow, or not deny, what its author did not mean.
//!
//! Source: "IAM JSON policy elements reference" and "Policy evaluation logic" of IAM's user guide.

mod document;
mod pattern;

pub use document::KeyPolicyError;

use document::{Document, Effect, Statement};
use std::fmt;

/// Characters of a policy. IAM's limit for a managed policy, 6,144.
pub const KEY_POLICY_CHARACTERS_MAX: usize = 6_144;

/// A policy that was checked whole.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    statements: Vec<Statement>,
    /// As it was written.
    text: String,
}

/// What a policy says to one act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    Denied,
    /// No statement says anything to it.
    NotAllowed,
}

impl KeyPolicy {
    /// Reads and checks a policy.
    ///
    /// Errors: it is longer than IAM's limit, no JSON, not of this language, or says something that is not evaluated.
    pub fn parse(text: &str) -> Result<Self, KeyPolicyError> {
        if text.chars().count() > KEY_POLICY_CHARACTERS_MAX {
            return Err(KeyPolicyError::TooLong);
        }
        let document: Document = serde_json::from_str(text).map_err(KeyPolicyError::Form)?;
        Ok(Self {
            statements: document.statements()?,
            text: text.to_owned(),
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it says to an action, such as `lambda:InvokeFunction`, on a resource: an ARN, or `*` for an action that has
    /// no resource.
    #[must_use]
    pub fn decide(&self, action: &str, resource: &str) -> Decision {
        let speaks = |effect: Effect| {
            let mut statements = self.statements.iter();
            statements.any(|statement| statement.effect == effect && statement.covers(action, resource))
        };
        if speaks(Effect::Deny) {
            Decision::Denied
        } else if speaks(Effect::Allow) {
            Decision::Allowed
        } else {
            Decision::NotAllowed
        }
    }
}

impl fmt::Debug for KeyPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
