//! Resource policies of functions and of layer versions.
//!
//! A policy hangs on one resource: a function, one of its versions, one of its aliases, or a version of a layer. It
//! has a RevisionId of its own, new with each change; a caller who names one changes the policy only if nobody else did.

mod change;
mod rows;

pub(crate) use change::Known;
pub(crate) use rows::{KIND_FUNCTION, KIND_LAYER, PolicyKey, SCHEMA, delete};

use crate::function_record::LATEST;
use crate::{Control, ControlError, FunctionUrl, NewPermission, PolicyQuestion, QualifiedName, Statement};
use chunk::Account;
use serde::Serialize;

/// A function, a version or an alias, and what the caller knows of its policy.
#[derive(Clone, Copy, Debug)]
pub struct PolicyTarget<'a> {
    /// The owner.
    pub account: &'a Account,
    /// The function.
    pub name: &'a str,
    /// A version or an alias; none is the function itself.
    pub qualifier: Option<&'a str>,
    /// If given, the change is made only if this is the current one.
    pub revision_id: Option<&'a str>,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRecord {
    /// Oldest first.
    pub statements: Vec<Statement>,
    /// New with each change.
    pub revision_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: &'static str,
    id: &'static str,
    statement: &'a [Statement],
}

impl PolicyRecord {
    /// The document as Lambda writes it.
    #[must_use]
    pub fn document(&self) -> String {
        let document = Document {
            version: "2012-10-17",
            id: "default",
            statement: &self.statements,
        };
        serde_json::to_string(&document).expect("strings and maps of strings are always JSON")
    }

    /// Whether a statement says yes.
    #[must_use]
    pub fn allows(&self, question: &PolicyQuestion<'_>) -> bool {
        self.statements.iter().any(|statement| statement.allows(question))
    }
}

impl Control {
    /// Adds a statement to a function's policy and gives it as it was stored.
    ///
    /// Errors: no such function; `$LATEST`, which has no policy; a principal that is none; the statement's name is taken;
    /// another revision; the policy would be too long.
    pub async fn add_permission(
        &self,
        target: &PolicyTarget<'_>,
        permission: &NewPermission,
    ) -> Result<Statement, ControlError> {
        if target.qualifier == Some(LATEST) {
            return Err(ControlError::invalid(
                "We currently do not support adding policies for $LATEST.",
            ));
        }
        let function = self.qualified(&target.name()).await?;
        let resource = self.qualified_arn(target.account, target.name, target.qualifier);
        let statement = permission
            .statement(&resource)
            .map_err(|error| ControlError::invalid(error.to_string()))?;
        let known = Known {
            revision_id: target.revision_id,
            also: Some(&function.revision_id),
            api: "GetPolicy",
        };
        self.add_statement(target.key(), statement.clone(), known).await?;
        Ok(statement)
    }

    /// A function's policy.
    ///
    /// Errors: there is none, in Lambda's words.
    pub async fn function_policy(&self, target: &PolicyTarget<'_>) -> Result<PolicyRecord, ControlError> {
        let found = self.policy(target.key()).await?;
        found.ok_or_else(ControlError::no_such_resource)
    }

    /// Removes a statement; the last one takes the policy with it.
    ///
    /// Errors: no such function, policy or statement; another revision.
    pub async fn remove_permission(&self, target: &PolicyTarget<'_>, statement_id: &str) -> Result<(), ControlError> {
        self.function(target.account, target.name, None)
            .await
            .map_err(|error| {
                error.if_not_found(|| {
                    let arn = self.function_arn(target.account, target.name);
                    ControlError::not_found(format!("No policy found for: {arn}"))
                })
            })?;
        let function = self.qualified(&target.name()).await?;
        let known = Known {
            revision_id: target.revision_id,
            also: Some(&function.revision_id),
            api: "GetFunction/GetAlias",
        };
        self.remove_statement(target.key(), statement_id, known).await
    }

    /// Whether the policy of a function, of one of its versions or of an alias lets another account invoke it. A policy
    /// speaks for that alone on which it hangs: the function's own for calls without a qualifier. Reads the record.
    pub async fn may_invoke(
        &self,
        owner: &Account,
        name: &str,
        qualifier: Option<&str>,
        caller: &Account,
    ) -> Result<bool, ControlError> {
        if qualifier == Some(LATEST) {
            // It can have no policy.
            return Ok(false);
        }
        let target = PolicyTarget {
            account: owner,
            name,
            qualifier,
            revision_id: None,
        };
        let question = PolicyQuestion {
            action: "lambda:InvokeFunction",
            caller: Some(caller),
            url_auth_type: None,
        };
        let policy = self.policy(target.key()).await?;
        Ok(policy.is_some_and(|policy| policy.allows(&question)))
    }

    /// Whether somebody may call through a function URL. A URL of type NONE needs a statement that lets anybody use
    /// `lambda:InvokeFunctionUrl`, as in Lambda; one of type AWS_IAM lets its own account in, and others by statement.
    ///
    /// `caller` is the account whose signature was checked; none is an anonymous caller. Answers from memory as
    /// [`Control::function_url_by_id`] does.
    pub async fn may_invoke_url(&self, url: &FunctionUrl, caller: Option<&Account>) -> Result<bool, ControlError> {
        let (caller, url_auth_type) = match (url.auth_type.as_str(), caller) {
            ("NONE", _) => (None, "NONE"),
            (_, None) => return Ok(false),
            (_, Some(caller)) if *caller == url.account => return Ok(true),
            (_, caller) => (caller, "AWS_IAM"),
        };
        let question = PolicyQuestion {
            action: "lambda:InvokeFunctionUrl",
            caller,
            url_auth_type: Some(url_auth_type),
        };
        let found = self.indexed_url(&url.id).await?;
        Ok(found.is_some_and(|found| found.policy.as_ref().is_some_and(|policy| policy.allows(&question))))
    }
}

impl<'a> PolicyTarget<'a> {
    fn name(&self) -> QualifiedName<'a> {
        QualifiedName {
            account: self.account,
            name: self.name,
            qualifier: self.qualifier.unwrap_or(LATEST),
        }
    }

    fn key(&self) -> PolicyKey<'a> {
        let QualifiedName {
            account,
            name,
            qualifier,
        } = self.name();
        PolicyKey {
            account,
            kind: KIND_FUNCTION,
            name,
            qualifier,
        }
    }
}
