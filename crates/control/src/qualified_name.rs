//! A function, one of its versions, or one of its aliases.

use crate::function_record::LATEST;
use crate::{Control, ControlError, FunctionRecord};
use chunk::Account;

/// What most settings hang on.
#[derive(Clone, Copy, Debug)]
pub struct QualifiedName<'a> {
    /// The owner.
    pub account: &'a Account,
    /// The function.
    pub name: &'a str,
    /// `$LATEST` for the function itself, a version or an alias.
    pub qualifier: &'a str,
}

impl<'a> QualifiedName<'a> {
    /// The function itself.
    pub(crate) fn of_function(account: &'a Account, name: &'a str) -> Self {
        Self {
            account,
            name,
            qualifier: LATEST,
        }
    }

    /// A version or an alias; none is the function itself.
    pub(crate) fn version_or_alias(&self) -> Option<&'a str> {
        (self.qualifier != LATEST).then_some(self.qualifier)
    }
}

impl Control {
    /// The version that the name leads to.
    ///
    /// Errors: there is none; of a missing alias Lambda says so in other words than of a missing version.
    pub(crate) async fn qualified(&self, target: &QualifiedName<'_>) -> Result<FunctionRecord, ControlError> {
        let found = self
            .function(target.account, target.name, target.version_or_alias())
            .await;
        found.map_err(|error| match error {
            ControlError::NotFound { .. } if is_alias_name(target.qualifier) => ControlError::not_found(format!(
                "Cannot find alias arn: {}",
                self.qualified_arn(target.account, target.name, Some(target.qualifier))
            )),
            other => other,
        })
    }
}

/// Versions are numbers and aliases are not; `$` is in neither.
fn is_alias_name(qualifier: &str) -> bool {
    !qualifier.contains('$') && !qualifier.bytes().all(|byte| byte.is_ascii_digit())
}
