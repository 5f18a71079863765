//! The tenant that owns images and keys.

use std::fmt;
use std::str::FromStr;

/// A tenant's twelve-digit number, as in AWS. Keys, records and private salts belong to one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(String);

impl Account {
    /// The twelve digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Account({})", self.0)
    }
}

/// A text that is not twelve digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an account: expected 12 digits, as in 123456789012")]
pub struct AccountParseError {
    text: String,
}

impl FromStr for Account {
    type Err = AccountParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(AccountParseError { text: text.to_owned() })
        }
    }
}
